import json
from dataclasses import replace

import numpy as np
import pytest

from spatialdata_builder.annotators.checks import GeometryChecks
from spatialdata_builder.annotators.exact import ExactDepth, ExactLines, ExactMetric, ExactNormal, ExactSegments
from spatialdata_builder.annotators.templates import TemplateInstruction
from spatialdata_builder.shards import codecs
from spatialdata_builder.shards.sample import Reject, Row, Sample
from spatialdata_builder.shards.schema import MapInfo, PairFacts
from spatialdata_builder.shards.stage import Stage
from tests.annotators.factory import SIDE, random_facts
from tests.annotators.pictures import draw, sample

STAGES = (ExactMetric, ExactNormal, ExactDepth, ExactSegments, ExactLines)


def members_of(kind) -> set[str]:
    return {"metric", "confidence"} if kind is ExactMetric else {kind.layer}


@pytest.fixture(scope="module")
def rendered() -> Sample:
    """A pair with exact maps: a slanted plane with open background above it."""
    facts, members = draw(random_facts(3, "translate"))
    rows = np.mgrid[:SIDE, :SIDE][0]
    z = np.where(rows > 20, 40 / (rows + 1e-3), 0).astype(np.float32)
    normals = np.zeros((SIDE, SIDE, 3), np.float32)
    normals[21:] = (0, -0.6, -0.8)
    metric, info = codecs.encode_metric(z, estimator="renderer", revision="blender-5.0.1")
    _, other = codecs.encode_metric(z + 1, estimator="renderer", revision="blender-5.0.1")
    normal = codecs.map_info("normal", estimator="renderer", revision="blender-5.0.1")
    facts = facts.model_copy(update={"metric": info, "source_metric": other, "normal": normal, "source_normal": normal})
    members |= {"metric": metric, "normal": codecs.encode_normals(normals)}
    members |= {"source_metric": codecs.encode_metric(z + 1, estimator="", revision="")[0]}
    members |= {"source_normal": codecs.encode_normals(-normals * (1, 1, -1))}
    return sample(facts, members)


def run(stage, given: Sample) -> tuple[dict, dict[str, MapInfo]]:
    result = stage(stage.setup(), [given])[0]
    assert isinstance(result, Row), result
    maps = {name: MapInfo.model_validate(info) for name, info in json.loads(str(result.columns["maps"])).items()}
    assert set(result.columns) == {*maps, "maps"}
    return dict(result.columns), maps


@pytest.mark.parametrize("kind", STAGES)
def test_are_stages_that_map_the_target_or_both(kind, rendered):
    assert isinstance(kind(), Stage) and kind.needs == ("pair",)
    columns, maps = run(kind(views=("target",)), rendered)
    assert set(maps) == members_of(kind)
    both, _ = run(kind(), rendered)
    assert set(both) == {view + name for view in ("", "source_") for name in members_of(kind)} | {"maps"}
    assert both[kind.layer] == columns[kind.layer]
    assert maps[kind.layer].estimator == "renderer" and maps[kind.layer].revision == "blender-5.0.1"


@pytest.mark.parametrize("views", [("target",), ("source",), ("source", "target")])
@pytest.mark.parametrize("kind", [*STAGES, TemplateInstruction, GeometryChecks])
def test_only_declared_columns_are_read(kind, views, rendered):
    stage = kind(views=views) if kind in STAGES else kind()
    written = TemplateInstruction()(None, [rendered])[0]
    rendered = replace(rendered, layers={**rendered.layers, "instruction": written.columns})
    declared = {name: rendered["pair"][name] for name in stage.columns["pair"]}
    assert set(declared) < set(rendered["pair"])
    given = replace(rendered, layers={**rendered.layers, "pair": declared})
    assert stage(None, [given]) == stage(None, [rendered])


def test_metric_and_normals_pass_through(rendered):
    for kind in (ExactMetric, ExactNormal):
        columns, maps = run(kind(views=("target", "source")), rendered)
        facts = PairFacts.model_validate_json(rendered["pair"]["facts"])
        for member in (kind.layer, f"source_{kind.layer}"):
            assert columns[member] == rendered["pair"][member] and maps[member] == getattr(facts, member)


def test_exact_depth_has_confidence_one(rendered):
    columns, maps = run(ExactMetric(), rendered)
    for view in ("source_", ""):
        z = codecs.decode_depth(columns[f"{view}metric"], maps[f"{view}metric"])
        confidence = codecs.decode_confidence(columns[f"{view}confidence"], maps[f"{view}confidence"])
        np.testing.assert_array_equal(confidence, z > 0)
    assert not (z > 0).all()
    assert (maps["confidence"].kind, maps["confidence"].estimator) == ("confidence", "renderer")


def test_relative_depth_is_the_inverse_of_the_metric(rendered):
    columns, maps = run(ExactDepth(), rendered)
    facts = PairFacts.model_validate_json(rendered["pair"]["facts"])
    z = codecs.decode_depth(rendered["pair"]["metric"], facts.metric)
    inverse = codecs.decode_depth(columns["depth"], maps["depth"])
    assert maps["depth"].kind == "relative_inverse" and maps["depth"].min == 0
    assert (inverse[z == 0] == 0).all()
    assert np.allclose(inverse[z > 0], 1 / z[z > 0], atol=1e-4 * inverse.max())


def with_parts(rendered: Sample, parts: np.ndarray, instances: np.ndarray) -> Sample:
    columns = {"parts": codecs.encode_labels(parts), "target_instances": codecs.encode_labels(instances)}
    return Sample("b-3", "train", {}, {"pair": {**rendered["pair"], **columns}})


def segments_of(given: Sample) -> np.ndarray:
    columns, maps = run(ExactSegments(views=("target",)), given)
    segments = codecs.decode_labels(columns["segment"])
    areas = np.bincount(segments.ravel())[1:]
    assert (areas > 0).all() and (np.diff(areas.astype(int)) <= 0).all() and maps["segment"].max == len(areas)
    return segments


def test_segments_are_parts_floor_and_walls_but_not_the_sky(rendered):
    """A chair with seat and legs on a floor, in front of a wall, under the sky."""
    parts, instances = np.zeros((80, 80), np.uint16), np.zeros((80, 80), np.uint8)
    parts[10:40], parts[40:] = 3, 7
    parts[30:40, 20:60], parts[40:60, 20:26], parts[40:60, 54:60] = 300, 5, 5
    instances[np.isin(parts, (300, 5))] = 1
    segments = segments_of(with_parts(rendered, parts, instances))
    assert np.array_equal(segments == 0, parts == 0)
    assert len(np.unique(np.stack([parts, segments])[:, parts > 0], axis=1).T) == 4  # one label for each part
    assert segments[70, 40] == 1 and segments[15, 5] == 2 and segments[35, 40] == 3 and segments[50, 57] == 4


def test_small_thin_and_interwoven_parts_join_the_largest(rendered):
    parts, instances = np.full((80, 80), 1, np.uint8), np.zeros((80, 80), np.uint8)
    instances[20:60, 20:60] = 2
    parts[20:60, 20:60] = 2
    parts[20:22, 20:60] = 3  # a seam
    parts[30, 30] = 4  # a screw
    rows, columns = np.mgrid[:80, :80]
    parts[(rows >= 40) & (rows < 60) & (columns >= 40) & (columns < 60) & ((rows + columns) % 2 == 0)] = 5
    parts[24:30, 24:34] = 6  # a label that is a separate part
    instances[70, 70], parts[70, 70] = 3, 9  # an object of one pixel is still an object
    segments = segments_of(with_parts(rendered, parts, instances))
    assert len(np.unique(segments)) == 4
    body = segments[50, 22]
    assert {segments[20, 30], segments[30, 30], segments[50, 50], segments[50, 51]} == {body}
    assert len({body, segments[26, 28], segments[70, 70], segments[0, 0]}) == 4


def test_segments_are_the_instances_by_area(rendered):
    columns, maps = run(ExactSegments(), rendered)
    segments = codecs.decode_labels(columns["segment"])
    instances = codecs.decode_labels(rendered["pair"]["target_instances"])
    assert ((segments > 0) == (instances > 0)).all()
    areas = np.bincount(segments.ravel())[1:]
    assert (areas > 0).all() and (np.diff(areas.astype(int)) <= 0).all()
    assert maps["segment"].max == len(areas) == len(np.unique(instances)) - 1
    for label in range(1, len(areas) + 1):
        assert len(np.unique(instances[segments == label])) == 1


def test_lines_are_dark_on_white(rendered):
    columns, maps = run(ExactLines(), rendered)
    lines = codecs.decode_lines(columns["line"])
    assert maps["line"].kind == "lines" and np.median(lines) == 255 and lines.min() < 60


def test_released_pairs_have_segments_and_outlines_only(rendered):
    released = Sample("b-1", "train", {}, {"pair": {**rendered["pair"], **dict.fromkeys(("metric", "normal"), b"")}})
    for kind in (ExactMetric, ExactNormal, ExactDepth):
        result = kind()(None, [released])[0]
        assert isinstance(result, Reject) and result.reason == "no_exact_map"
        assert f"layer `{kind.layer}`" in result.detail and "leave it out" in result.detail
    for kind in (ExactSegments, ExactLines):
        _, maps = run(kind(), released)
        assert maps[kind.layer].estimator == "masks"


def test_the_view_without_a_map_is_named(rendered):
    half = Sample("b-2", "train", {}, {"pair": {**rendered["pair"], "source_metric": b""}})
    assert isinstance(ExactDepth(views=("target",))(None, [half])[0], Row)
    result = ExactDepth()(None, [half])[0]
    assert isinstance(result, Reject) and "source image" in result.detail


def test_output_is_deterministic(rendered):
    for kind in STAGES:
        assert kind()(None, [rendered])[0] == kind()(None, [rendered])[0]
