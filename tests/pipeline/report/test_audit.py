"""Audits of builds with exact maps, and of builds whose maps are disturbed by a known amount."""

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from spatialdata_builder.annotators import agreement
from spatialdata_builder.annotators.lines import draw_lines
from spatialdata_builder.pipeline.config import load_config
from spatialdata_builder.pipeline.opened import Build, open_build
from spatialdata_builder.pipeline.planning.configurations import BUILD
from spatialdata_builder.pipeline.planning.scene_rows import plan_scenes
from spatialdata_builder.pipeline.report.audit.audit import print_audit, run_audit
from spatialdata_builder.pipeline.report.audit.map_pairs import AUDITED
from spatialdata_builder.pipeline.store.layers import LayerStore, Record
from spatialdata_builder.pipeline.store.plan import write_plan
from spatialdata_builder.shards import codecs
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.geometry import matrix3
from spatialdata_builder.shards.sample import Row, Sample
from spatialdata_builder.shards.schema import MapInfo, PairFacts
from tests.annotators.factory import SIDE, random_facts
from tests.annotators.pictures import draw
from tests.pipeline.toys import EDITS, SPLITS

MODEL = {"estimator": "a-model", "revision": "abc123"}
Disturb = Callable[[int, np.ndarray], np.ndarray]
"""(number of the sample, its map) -> the map of an estimator."""


def exact_maps(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Planar z and normals of a slanted floor with objects on it that face the camera; empty background above."""
    rows = np.mgrid[:SIDE, :SIDE][0]
    z = np.where((rows > 20) | (labels > 0), 300 / (rows + 30.0), 0).astype(np.float32)
    normals = np.zeros((SIDE, SIDE, 3), np.float32)
    normals[21:] = (0, -0.6, -0.8)
    normals[labels > 0], z[labels > 0] = (0, 0, -1), z[labels > 0] * 0.8
    return z, normals


def pair_of(seed: int) -> dict[str, Any]:
    """A row of layer `pair`, with exact maps."""
    facts, members = draw(random_facts(seed, "translate"))
    infos: dict[str, Any] = {}
    for view, prefix in (("source", "source_"), ("target", "")):
        z, normals = exact_maps(codecs.decode_labels(members[f"{view}_instances"]))
        members[f"{prefix}metric"], infos[f"{prefix}metric"] = codecs.encode_metric(z, estimator="r", revision="1")
        members[f"{prefix}normal"] = codecs.encode_normals(normals)
        infos[f"{prefix}normal"] = codecs.map_info("normal", estimator="r", revision="1")
    return {**members, "facts": facts.model_copy(update=infos).model_dump_json()}


def make_build(
    out: Path, disturb: Mapping[str, Disturb] = {}, settings: tuple[str, ...] = (), samples: int = 4
) -> Build:
    """Write a plan, layer `pair` and the layers of maps: exact maps, or disturbed ones for layers in `disturb`."""
    store = LayerStore(str(out))
    chosen = (f"samples={samples}", "unit_size=2", "engine.kind=inline", "render.device=cpu", *settings)
    store.write_file(BUILD, load_config(None, chosen).model_dump_json().encode())
    write_plan(store, {"assets": "none"}, plan_scenes(samples, 1, EDITS, SPLITS), 2)
    build = open_build(str(out))
    for unit in range(build.plan.units):
        keys = [row.key for row in build.plan.rows(unit)]
        pairs = {key: pair_of(3 + 2 * unit + n) for n, key in enumerate(keys)}
        store.write(build.layers["pair"], unit, pairs, Record(unit, build.layers["pair"]))
        for stage in build.stages:
            if stage.layer not in AUDITED:
                continue
            given = [Sample(key, "train", {}, {"pair": pairs[key]}) for key in keys]
            results = stage(stage.setup(), given)
            assert all(isinstance(result, Row) for result in results)
            rows = {key: dict(result.columns) for key, result in zip(keys, results, strict=True)}
            if stage.layer in disturb:
                numbered = enumerate(rows.items(), 2 * unit)
                rows = {key: estimated(stage.layer, row, disturb[stage.layer], n) for n, (key, row) in numbered}
            store.write(build.layers[stage.layer], unit, rows, Record(unit, build.layers[stage.layer]))
    return build


def estimated(layer: str, row: Mapping[str, Any], disturb: Disturb, number: int) -> dict[str, Any]:
    """A layer's row, decoded, disturbed and encoded again."""

    def change(pixels: np.ndarray) -> np.ndarray:
        return disturb(number, pixels)

    changed, infos = dict(row), json.loads(row["maps"])
    for member, given in infos.items():
        info = MapInfo.model_validate(given)
        if info.kind == "confidence":  # layer metric has it beside its map; it is not compared
            continue
        match layer:
            case "metric":
                changed[member], new = codecs.encode_metric(change(codecs.decode_depth(row[member], info)), **MODEL)
            case "depth":
                changed[member], new = codecs.encode_relative(change(codecs.decode_depth(row[member], info)), **MODEL)
            case "normal":
                changed[member] = codecs.encode_normals(change(codecs.decode_normals(row[member])))
                new = codecs.map_info("normal", **MODEL)
            case "segment":
                changed[member] = codecs.encode_labels(change(codecs.decode_labels(row[member])))
                new = codecs.map_info("segments", **MODEL)
            case _:
                changed[member] = codecs.encode_lines(change(codecs.decode_lines(row[member])))
                new = codecs.map_info("lines", **MODEL)
        infos[member] = new.model_dump()
    return {**changed, "maps": json.dumps(infos)}


def table_of(found: dict[str, Any]) -> list[dict[str, str]]:
    with Path(found["table"]).open(newline="") as file:
        return list(csv.DictReader(file))


def pairs_of(build: Build) -> list[dict[str, Any]]:
    return [row for unit in range(build.plan.units) for row in build.store.read(build.layers["pair"], unit).values()]


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exact") / "out"
    make_build(out)
    return out


class TestExactAgainstItself:
    @pytest.fixture(scope="class")
    def found(self, exact: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
        return run_audit(str(exact), pictures=str(tmp_path_factory.mktemp("pictures")), worst=3, quiet=True)

    def test_is_perfect(self, found: dict[str, Any]):
        assert list(found["layers"]) == list(AUDITED)
        assert found["samples"] == 4
        ideal = {"lower": 0.0, "higher": 1.0}
        for layer, values in found["layers"].items():
            assert (values["maps"], values["without_exact"], values["not_compared"]) == (8, 0, {}), layer
            assert values["estimators"] == [{"estimator": "r", "revision": "1", "maps": 8}]
            for metric, figure in values["metrics"].items():
                best = 100.0 if figure["unit"] == "%" else ideal[figure["better"]]
                # Relative depth is stored in 65536 steps of the map's own range.
                slack = 1e-4 if (layer, metric) == ("depth", "abs_rel") else 0.0
                for name in ("mean", "median", "worst"):
                    assert figure[name] == pytest.approx(best, abs=slack), (layer, metric)

    def test_every_map_is_a_row_of_the_table(self, found: dict[str, Any]):
        rows = table_of(found)
        assert len({(row["key"], row["view"], row["layer"]) for row in rows}) == len(rows) == 4 * 2 * 5
        assert {row["state"] for row in rows} == {"compared"}
        assert all(row["f1"] == "1" for row in rows if row["layer"] == "line")
        assert all(row["f1"] == "" for row in rows if row["layer"] != "line")

    def test_a_sheet_for_each_layer(self, found: dict[str, Any]):
        assert [Path(path).name for path in found["pictures"]] == [f"{layer}.png" for layer in AUDITED]
        for path in found["pictures"]:
            with Image.open(path) as sheet:
                assert sheet.width > 4 * 200 and sheet.height > 3 * 200
                assert len(np.unique(np.asarray(sheet.convert("L")))) > 20

    def test_a_rerun_gives_the_same_table(self, found: dict[str, Any], exact: Path):
        first = Path(found["table"]).read_bytes()
        again = run_audit(str(exact), quiet=True)
        assert again["pictures"] == []
        assert Path(again["table"]).read_bytes() == first
        assert again["layers"] == found["layers"]
        assert not list(exact.rglob("*.tmp"))


class TestDisturbedMaps:
    def metrics(self, out: Path, disturb: Mapping[str, Disturb]) -> tuple[Build, dict[str, Any]]:
        build = make_build(out, disturb)
        (layer,) = disturb
        values = run_audit(str(out), quiet=True)["layers"][layer]
        assert values["estimators"] == [{"estimator": "a-model", "revision": "abc123", "maps": 8}]
        return build, values["metrics"]

    def test_metric_depth_a_tenth_too_far(self, tmp_path: Path):
        _, metrics = self.metrics(tmp_path, {"metric": lambda _, z: z * np.float32(1.1)})
        for name in ("mean", "median", "worst"):
            assert metrics["abs_rel"][name] == pytest.approx(0.1, abs=1e-4)
            assert metrics["delta1"][name] == metrics["coverage"][name] == 1

    def test_relative_depth_in_other_units(self, tmp_path: Path):
        _, metrics = self.metrics(tmp_path, {"depth": lambda n, d: (n + 1) * 40 * d + np.float32(7)})
        assert metrics["abs_rel"]["worst"] == pytest.approx(0, abs=1e-4)
        assert metrics["delta1"]["worst"] == 1

    def test_normals_turned_by_ten_degrees(self, tmp_path: Path):
        cos, sin = np.cos(np.deg2rad(10)), np.sin(np.deg2rad(10))
        turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]], np.float32)
        _, metrics = self.metrics(tmp_path, {"normal": lambda _, n: (n @ turn.T).astype(np.float32)})
        # Eight bits a channel move a unit vector by up to 0.4 degrees.
        assert metrics["mean_deg"]["mean"] == pytest.approx(10, abs=0.4)
        assert metrics["median_deg"]["worst"] == pytest.approx(10, abs=0.4)
        assert (metrics["within_11_25"]["worst"], metrics["coverage"]["worst"]) == (100, 1)

    def test_segments_merged_into_one(self, tmp_path: Path):
        build, metrics = self.metrics(tmp_path, {"segment": lambda _, labels: (labels > 0).astype(np.uint8)})
        ious: list[float] = []
        for pair in pairs_of(build):
            for view in ("source", "target"):
                areas = np.bincount(codecs.decode_labels(pair[f"{view}_instances"]).ravel())[1:]
                large = areas[areas >= SIDE * SIDE / 1000]
                ious.append(float(np.mean(large / areas.sum())))
        assert metrics["best_iou"]["mean"] == pytest.approx(np.mean(ious), rel=1e-5)
        assert metrics["best_iou"]["worst"] == pytest.approx(min(ious), rel=1e-5)

    @pytest.mark.parametrize("shift", [1, 5])
    def test_shifted_lines(self, tmp_path: Path, shift: int):
        def moved(_: int, lines: np.ndarray) -> np.ndarray:
            return np.pad(lines, ((0, 0), (shift, 0)), constant_values=255)[:, :-shift]

        build, metrics = self.metrics(tmp_path, {"line": moved})
        scores: list[float] = []
        for pair in pairs_of(build):
            facts = PairFacts.model_validate_json(pair["facts"])
            for view, prefix, camera in (
                ("source", "source_", facts.camera.source),
                ("target", "", facts.camera.target),
            ):
                labels = codecs.decode_labels(pair[f"{view}_instances"])
                z = codecs.decode_depth(pair[f"{prefix}metric"], getattr(facts, f"{prefix}metric"))
                normals = codecs.decode_normals(pair[f"{prefix}normal"])
                lines = draw_lines(labels, z, normals, matrix3(camera.K))
                scores.append(f1_by_distance(lines, moved(0, lines)))
        assert metrics["f1"]["mean"] == pytest.approx(np.mean(scores), abs=1e-5)
        assert metrics["f1"]["worst"] == pytest.approx(min(scores), abs=1e-5)
        # One pixel is within tolerance (except at the border), five are not (except on horizontal lines).
        assert (metrics["f1"]["worst"] > 0.99) is (shift == 1)
        assert shift == 1 or metrics["f1"]["mean"] < 0.8

    def test_the_worst_sample_is_named_and_drawn_first(self, tmp_path: Path):
        build = make_build(tmp_path / "out", {"metric": lambda n, z: z * np.float32(3 if n == 2 else 1.01)})
        found = run_audit(str(tmp_path / "out"), pictures=str(tmp_path / "sheets"), worst=2, quiet=True)
        figure = found["layers"]["metric"]["metrics"]["abs_rel"]
        worst = build.plan.rows(1)[0].key
        assert figure["worst_key"] == worst
        assert figure["worst"] == pytest.approx(2, abs=1e-3)
        assert figure["median"] == pytest.approx(0.01, abs=1e-3)
        rejected = {row["key"] for row in table_of(found) if row["layer"] == "metric" and float(row["abs_rel"]) > 0.2}
        assert rejected == {worst}
        assert (tmp_path / "sheets" / "metric.png").stat().st_size > 5000


class TestMapsThatCannotBeCompared:
    def test_is_counted_by_reason_without_an_error(self, tmp_path: Path):
        disturb: dict[str, Disturb] = {
            "metric": lambda n, z: np.zeros_like(z) if n == 0 else z,
            "segment": lambda n, labels: labels[:-1] if n == 1 else labels,
        }
        make_build(tmp_path, disturb)
        layers = run_audit(str(tmp_path), quiet=True)["layers"]
        assert layers["metric"]["not_compared"] == {"no depth in common": 2}
        assert layers["segment"]["not_compared"] == {"sizes differ": 2}
        assert layers["metric"]["maps"] == layers["segment"]["maps"] == 6
        assert layers["line"]["maps"] == 8

    def test_a_damaged_map(self, tmp_path: Path):
        build = make_build(tmp_path)
        folder = build.layers["normal"]
        rows = build.store.read(folder, 0)
        next(iter(rows.values()))["source_normal"] = b"no picture"
        build.store.discard(folder, 0)
        build.store.write(folder, 0, rows, Record(0, folder))
        normals = run_audit(str(tmp_path), quiet=True)["layers"]["normal"]
        assert (normals["maps"], normals["not_compared"]) == (7, {"damaged map": 1})

    def test_released_pairs_have_only_masks(self, out: Path, capsys: pytest.CaptureFixture[str]):
        found = run_audit(str(out), quiet=True)
        assert list(found["layers"]) == ["segment", "line"]
        segments, lines = found["layers"]["segment"], found["layers"]["line"]
        assert segments["metrics"]["best_iou"]["worst"] == 1
        assert (lines["maps"], lines["without_exact"], lines["metrics"]) == (0, segments["maps"], {})
        rows = [row for row in table_of(found) if row["layer"] == "line"]
        assert {row["state"] for row in rows} == {"without exact map"}
        assert set(lines["without_exact_keys"]) == {row["key"] for row in rows}
        print_audit(found)
        result = capsys.readouterr().out
        assert f"line: {lines['without_exact']} without exact maps: {lines['without_exact_keys'][0]}" in result

    def test_one_view_and_layers_left_out(self, tmp_path: Path):
        make_build(tmp_path, settings=("layers.line.views=[target]", "layers.depth=none"))
        layers = run_audit(str(tmp_path), quiet=True)["layers"]
        assert {layer: values["maps"] for layer, values in layers.items()} == {
            "metric": 8, "normal": 8, "segment": 8, "line": 4,
        }  # fmt: skip

    def test_a_build_that_is_not_finished(self, tmp_path: Path):
        build = make_build(tmp_path)
        build.store.discard(build.layers["normal"], 1)
        layers = run_audit(str(tmp_path), quiet=True)["layers"]
        assert (layers["normal"]["maps"], layers["metric"]["maps"]) == (4, 8)


def test_a_limit_takes_units_from_all_over_the_plan(tmp_path: Path):
    build = make_build(
        tmp_path, samples=10, settings=tuple(f"layers.{name}=none" for name in AUDITED if name != "metric")
    )
    found = run_audit(str(tmp_path), limit=3, quiet=True)
    assert found["samples"] == 3
    keys = [row["key"] for row in table_of(found) if row["view"] == "target"]
    assert keys == [build.plan.rows(0)[0].key, build.plan.rows(0)[1].key, build.plan.rows(4)[0].key]
    assert run_audit(str(tmp_path), limit=50, quiet=True)["samples"] == 10


def test_the_printed_table(exact: Path, capsys: pytest.CaptureFixture[str]):
    print_audit(run_audit(str(exact), quiet=True))
    result = capsys.readouterr().out
    for word in ("abs_rel ↓", "best_iou ↑", "line: 8 maps compared; 8 by r 1", "audit.csv"):
        assert word in result
    # An exact layer has one row that says so, not a row of zeros and ones for each figure.
    (row,) = [line for line in result.splitlines() if line.strip().startswith("metric ")]
    assert row.split()[1:4] == ["abs_rel", "↓", "exact"]
    assert "delta1" not in result


class TestBadInput:
    def test_no_build(self, tmp_path: Path):
        with pytest.raises(BadInput, match="no build"):
            run_audit(str(tmp_path), quiet=True)

    def test_no_maps(self, tmp_path: Path):
        make_build(tmp_path, settings=tuple(f"layers.{name}=none" for name in AUDITED))
        with pytest.raises(BadInput, match="no layer with maps"):
            run_audit(str(tmp_path), quiet=True)

    @pytest.mark.parametrize("pictures", ["s3://bucket/pictures", __file__])
    def test_pictures_need_a_local_folder(self, exact: Path, pictures: str):
        with pytest.raises(BadInput, match="give a folder"):
            run_audit(str(exact), pictures=pictures, quiet=True)


def f1_by_distance(exact: np.ndarray, other: np.ndarray) -> float:
    """Line F1 at 2 px by OpenCV's exact distance transform."""
    masks = [lines < agreement.INK for lines in (exact, other)]
    away = [cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for mask in masks]
    precision, recall = float((away[0][masks[1]] <= 2).mean()), float((away[1][masks[0]] <= 2).mean())
    return 2 * precision * recall / (precision + recall)
