"""The limits in a card are counted from samples: each appears and disappears with them."""

from collections.abc import Iterator

import pytest

from spatialdata_builder.pipeline.report.card.limits import known_limits
from spatialdata_builder.pipeline.report.census import Census
from spatialdata_builder.shards.reader import read_record
from spatialdata_builder.shards.schema import SampleRecord, Scores
from tests.shards.factory import make_sample


@pytest.fixture
def samples() -> list[SampleRecord]:
    """Enough samples of two splits: measured, verified, judged, with a model's instructions and exact maps."""
    return [*_samples("train", 120), *_samples("val", 100), *_samples("test", 100)]


def _samples(split: str, count: int) -> Iterator[SampleRecord]:
    record = read_record(make_sample("a")["json"])
    exact = {name: info.model_copy(update={"estimator": "renderer"}) for name, info in record.maps if info.kind}
    scores = Scores(**dict.fromkeys(Scores.model_fields, 0.5))
    for number in range(count):
        text = record.instruction.model_copy(update={"text": f"{split} {number}", "method": "vlm", "model": "m"})
        yield record.model_copy(
            update={
                "key": f"{split}-{number}",
                "split": split,
                "instruction": text,
                "scores": scores,
                "maps": record.maps.model_copy(update=exact),
            }
        )


def limits(samples: list[SampleRecord]) -> list[str]:
    census = Census()
    for sample in samples:
        census.add(sample)
    return known_limits(census)


def changed(sample: SampleRecord, **parts: object) -> SampleRecord:
    """A sample with other fields in one of its parts: `instruction={"verified": False}`."""
    updates = {name: getattr(sample, name).model_copy(update=values) for name, values in parts.items()}
    return sample.model_copy(update=updates)


def test_a_complete_dataset_has_only_the_limit_of_rendering(samples):
    (only,) = limits(samples)
    assert "render" in only


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"instruction": {"verified": False}}, "did not confirm the instruction of 2 of 320 samples (0.6%)"),
        ({"instruction": {"method": "template"}}, "The instructions of 2 of 320 samples"),
        ({"edit": {"known": False}}, "The numbers of the edit are not known in 2 of 320 samples"),
    ],
)
def test_some_samples_are_counted(samples, parts, sentence):
    some = [changed(sample, **parts) if index < 2 else sample for index, sample in enumerate(samples)]
    (_, limit) = limits(some)
    assert sentence in limit


def test_unknown_cameras_and_objects(samples):
    view = samples[0].camera.target.model_copy(update={"known": False, "focal": "assumed"})
    things = [item.model_copy(update={"known": False}) for item in samples[0].objects]
    some = [changed(samples[0], camera={"target": view}).model_copy(update={"objects": things}), *samples[1:]]
    found = limits(some)[1:]
    assert [text.split(" in ")[0] for text in found] == [
        "The camera is not known",
        "Sizes, poses and visible fractions of objects are not known",
    ]
    assert "the focal length is assumed" in found[0]


def test_only_unmeasured_scores_are_named(samples):
    judged = ("semantic_consistency", "perceptual_quality", "overall")
    none = [changed(sample, scores=dict.fromkeys((*judged, "box_iou"), -1.0)) for sample in samples]
    found = limits(none)[1:]
    assert "No person and no model judged" in found[0] and all(f"`{name}`" in found[0] for name in judged)
    assert found[1] == "Measured in no sample (-1): `box_iou`."
    assert len(limits([*none[1:], samples[0]])) == 1


def test_estimated_maps_name_their_model_escaped(samples):
    depth = samples[0].maps.depth.model_copy(update={"estimator": "x/<b>Depth</b>"})
    (_, found) = limits([changed(sample, maps={"depth": depth}) for sample in samples])
    assert found == "Estimated by x/&lt;b&gt;Depth&lt;/b&gt;, not ground truth: `depth`."


def test_gaps_small_splits_and_repeated_words(samples):
    found = limits([changed(sample, instruction={"text": "Move it."}) for sample in samples])
    assert "Instructions repeat: 1 different ones in 320 samples" in found[1]
    turned = [changed(sample, edit={"kind": "rotate"}) for sample in _samples("train", 3)]
    assert limits([*samples, *turned])[1:] == [
        "`validation` has no sample of `rotate`.",
        "`test` has no sample of `rotate`.",
    ]
    few = limits([*samples[:120], *_samples("test", 1)])
    assert few[1:] == ["There is no split `validation`.", "`test` has 1 sample: too few to compare two models."]
