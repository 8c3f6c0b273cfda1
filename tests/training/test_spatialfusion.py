import numpy as np
import pytest

from spatialdata_builder.shards.codecs import decode_confidence, decode_depth, encode_default_confidence
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.reader import read_record
from spatialdata_builder.shards.recipes import get_recipe
from spatialdata_builder.shards.writer import encode_record
from spatialdata_builder.training.spatialfusion import stream_fusion
from tests.shards.factory import make_sample, make_split

FUSION = get_recipe("spatialfusion")


def test_batches_hold_text_target_metric_depth_and_its_confidence(tmp_path):
    make_split(str(tmp_path), [["s-0", "s-1"], ["s-2", "s-3"]], recipe=FUSION)
    for text, value in (("instruction", "Move it."), ("caption", "two boxes")):
        seen = []
        for batch in stream_fusion(str(tmp_path), text=text, unit="m").batches(2):
            assert batch["text"] == [value, value]
            for row, key in enumerate(batch["key"]):
                members = make_sample(key, recipe=FUSION)
                info = read_record(members["json"]).maps.metric
                depth = decode_depth(members["metric.png"], info)
                np.testing.assert_array_equal(batch["depth"][row], depth)
                assert batch["info"][row] == info
                certain = read_record(members["json"]).maps.confidence
                expected = decode_confidence(members["confidence.png"], certain)
                np.testing.assert_array_equal(batch["confidence"][row], np.where(depth > 0, expected, 0))
                assert batch["certain"][row] == certain
                assert batch["confidence"][row].max() > 2
                assert (info.kind, info.unit) == ("metric", "m")
            assert batch["confidence"].dtype == np.float32
            assert not batch["confidence"][:, :2].any()
            seen += batch["key"]
        assert sorted(seen) == ["s-0", "s-1", "s-2", "s-3"]


def test_the_stream_resumes_where_it_stopped(tmp_path):
    make_split(str(tmp_path), [[f"s-{n}" for n in range(6)]], recipe=FUSION)
    data = stream_fusion(str(tmp_path), seed=4)
    batches = data.batches(2)
    next(batches)
    state = data.state_dict()
    rest = [batch["key"] for batch in batches]
    other = stream_fusion(str(tmp_path), seed=4)
    other.load_state_dict(state)
    assert [batch["key"] for batch in other.batches(2)] == rest


def changed(key, **update):
    record = read_record(make_sample(key, recipe=FUSION)["json"])
    maps = record.maps.model_copy(update={"metric": record.maps.metric.model_copy(update=update.pop("metric", {}))})
    return {key: {"json": encode_record(record.model_copy(update={"maps": maps, **update}))}}


def test_missing_texts_and_wrong_units_give_errors_with_the_sample(tmp_path):
    make_split(str(tmp_path / "a"), [["s-0"]], recipe=FUSION, changes=changed("s-0", caption=""))
    with pytest.raises(BadInput, match="sample s-0 has no caption"):
        next(stream_fusion(str(tmp_path / "a"), text="caption").batches(1))
    assert next(stream_fusion(str(tmp_path / "a")).batches(1))["text"] == ["Move it."]
    make_split(str(tmp_path / "b"), [["s-0"]], recipe=FUSION, changes=changed("s-0", metric={"unit": ""}))
    with pytest.raises(
        BadInput, match=r"s-0 has metric depth without a unit \(estimator test\), but metric depth in m is"
    ):
        next(stream_fusion(str(tmp_path / "b"), unit="m").batches(1))
    assert next(stream_fusion(str(tmp_path / "b")).batches(1))["info"][0].unit == ""
    make_split(str(tmp_path / "c"), [["s-0"]], recipe=get_recipe("spatialedit"))
    with pytest.raises(BadInput, match="lacks confidence, metric"):
        stream_fusion(str(tmp_path / "c"))


def test_exact_depth_has_confidence_1_where_there_is_depth(tmp_path):
    metric = make_sample("s-0")["metric.png"]
    record = read_record(make_sample("s-0")["json"])
    data, info = encode_default_confidence(metric, estimator="renderer", revision="1")
    exact = record.model_copy(update={"maps": record.maps.model_copy(update={"confidence": info})})
    changes = {"s-0": {"confidence.png": data, "json": encode_record(exact)}}
    make_split(str(tmp_path), [["s-0"]], recipe=FUSION, changes=changes)
    batch = next(stream_fusion(str(tmp_path)).batches(1))
    np.testing.assert_array_equal(batch["confidence"], batch["depth"] > 0)
    assert 0 < batch["confidence"].mean() < 1
