"""The inverse of a pair has its images and facts exchanged; the inverse of the inverse is the pair."""

import pytest

from spatialdata_builder.shards.reader import read_record
from spatialdata_builder.shards.sample import Reject
from spatialdata_builder.shards.schema import MapInfo, Measures, PairFacts
from spatialdata_builder.sources.derived import inverted_columns, origin_rejected, swapped_facts
from tests.shards.factory import make_sample


def info(number: float) -> MapInfo:
    return MapInfo(
        estimator="renderer", revision="", kind="metric", scale=number, offset=0, min=0, max=number, unit="m"
    )


def facts() -> PairFacts:
    record = read_record(make_sample("a")["json"])
    return PairFacts(
        dataset="d",
        edit=record.edit,
        camera=record.camera,
        objects=record.objects,
        metric=info(1),
        source_metric=info(2),
        measures=Measures(visible_source=0.25, visible_target=0.5, displacement_px=3, mask_iou=0.9),
    )


def test_facts_of_the_two_images_are_exchanged():
    before, after = facts(), swapped_facts(facts())
    assert swapped_facts(after) == before
    assert (after.metric, after.source_metric) == (before.source_metric, before.metric)
    assert (after.camera.source, after.camera.target) == (before.camera.target, before.camera.source)
    assert (after.measures.visible_source, after.measures.visible_target) == (0.5, 0.25)
    assert (after.measures.displacement_px, after.measures.mask_iou) == (3, 0.9)
    for one, other in zip(before.objects, after.objects, strict=True):
        assert (one.source_pose, one.source_box, one.source_visible) == (
            other.target_pose,
            other.target_box,
            other.target_visible,
        )
        assert (one.size_m, one.name, one.asset) == (other.size_m, other.name, other.asset)


def test_members_of_the_two_images_are_exchanged():
    names = ("source", "target", "source_instances", "target_instances", "changed", "source_metric", "metric")
    names += ("source_normal", "normal", "source_parts", "parts")
    columns = {name: name.encode() for name in names} | {"facts": "old"}
    back = inverted_columns(columns, facts())
    assert back["source"] == b"target" and back["target"] == b"source"
    assert back["metric"] == b"source_metric" and back["normal"] == b"source_normal"
    assert back["parts"] == b"source_parts" and back["changed"] == b"changed"
    assert PairFacts.model_validate_json(str(back["facts"])) == facts()
    assert inverted_columns(back, facts())["source_instances"] == b"source_instances"


@pytest.mark.parametrize(("origin", "why"), [(Reject("no_valid_scene"), "no_valid_scene"), (None, "quarantined")])
def test_without_its_origin_a_derived_sample_is_rejected(origin: object, why: str):
    rejected = origin_rejected("scene-1", origin)
    assert rejected.reason == "origin_rejected"
    assert "scene-1" in rejected.detail and why in rejected.detail
