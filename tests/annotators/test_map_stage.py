"""How `MapStage` encodes arrays, for each layer."""

import json
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from spatialdata_builder.annotators.map_stage import MapStage
from spatialdata_builder.annotators.xdog import XDoG
from spatialdata_builder.shards import codecs
from spatialdata_builder.shards.errors import BadInput, SpatialdataError
from spatialdata_builder.shards.sample import Reject, Row, Sample
from spatialdata_builder.shards.schema import MapInfo
from spatialdata_builder.shards.stage import members_of

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
GRAY = IMAGE[..., 0]


def sample(data: bytes | None = None) -> Sample:
    given = codecs.encode_image(IMAGE, "webp") if data is None else data
    return Sample("one", "train", {}, {"pair": {"source": given, "target": given}})


def stage(of: str, member: Any, value: Any, **options: Any) -> MapStage:
    """A stage of layer `of` that returns `value` for every image."""

    @dataclass(frozen=True)
    class Constant(MapStage):
        layer: ClassVar[str] = of
        version: ClassVar[int] = 3

        def annotate(self, image: NDArray[np.uint8]) -> Any:
            assert np.array_equal(image, IMAGE)
            return value

    Constant.member = member
    return Constant(**options)


def row_of(stage: MapStage) -> Row:
    (result,) = stage(None, [sample()])
    assert isinstance(result, Row)
    assert set(members_of(stage)) <= set(result.columns)
    return result


def info_of(row: Row, member: str) -> MapInfo:
    info = MapInfo.model_validate(json.loads(str(row.columns["maps"]))[member])
    assert (info.estimator, info.revision) == ("Constant", "3")
    return info


def data_of(row: Row, member: str) -> bytes:
    data = row.columns[member]
    assert isinstance(data, bytes)
    return data


def test_lines_segments_and_normals():
    row = row_of(stage("line", "", GRAY))
    assert np.array_equal(codecs.decode_lines(data_of(row, "source_line")), GRAY)
    assert info_of(row, "line").kind == "lines"
    labels = np.where(GRAY > 99, 7, 3)
    segments = codecs.decode_labels(data_of(row_of(stage("segment", "", labels)), "segment"))
    assert np.array_equal(segments, codecs.relabel(labels))
    normals = np.zeros((24, 32, 3), np.float32)
    normals[..., 2] = -1
    row = row_of(stage("normal", "", normals))
    assert np.abs(codecs.decode_normals(data_of(row, "normal")) - normals).max() < 0.01
    assert info_of(row, "source_normal").kind == "normal"


def test_depths():
    z = (1 + GRAY / 64).astype(np.float32)
    row = row_of(stage("metric", "", z))
    info = info_of(row, "metric")
    assert np.abs(codecs.decode_depth(data_of(row, "metric"), info) - z).max() <= info.scale
    known = MapInfo.model_validate(json.loads(str(row.columns["maps"]))["source_confidence"])
    assert (codecs.decode_confidence(data_of(row, "source_confidence"), known) == 1).all()
    row = row_of(stage("depth", "", 1 / z))
    info = info_of(row, "depth")
    assert info.kind == "relative_inverse"
    assert np.abs(codecs.decode_depth(data_of(row, "depth"), info) - 1 / z).max() <= info.scale


def test_members_of_unknown_layers():
    assert np.array_equal(codecs.decode_labels(data_of(row_of(stage("mine", "png", GRAY)), "mine")), GRAY)
    assert np.array_equal(codecs.decode_image(data_of(row_of(stage("mine", "webp", IMAGE)), "source_mine")), IMAGE)
    row = row_of(stage("mine", "txt", "größer", views=("target",)))
    assert row.columns == {"mine": "größer"}
    row = row_of(stage("mine", "json", {"b": 1, "a": [2]}, views=("source",)))
    assert row.columns == {"source_mine": '{"a": [2], "b": 1}'}
    with pytest.raises(SpatialdataError, match=r"layer 'mine'.*set its `member` to png, webp, txt, json"):
        stage("mine", "", GRAY)(None, [sample()])


def test_views_and_damaged_images():
    with pytest.raises(BadInput, match=r"layers\.line\.views: give source, target or both"):
        stage("line", "", GRAY, views=())
    (found,) = XDoG()(None, [sample(b"no image")])
    assert isinstance(found, Reject)
    assert (found.reason, found.detail.partition(":")[0]) == ("unreadable_image", "the source image")
