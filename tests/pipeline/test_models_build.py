"""Every map by a model, through Ray, on rendered scenes; replacing one annotator recomputes only its layer."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.needs import needs

pytest.importorskip("torch", reason="needs the extra annotators")
pytest.importorskip("onnx", reason="needs the extra dev")

from spatialdata_builder.shards.layout import find_shards
from spatialdata_builder.shards.reader import StoredSample, read_record, read_samples
from tests.pipeline.command_line import run
from tests.pipeline.releases import spatialdata
from tests.pipeline.tiny_models import make_models, settings

ESTIMATORS = {
    "depth": "depth",
    "metric": "metric3d:metric3d",
    "normal": "metric3d:metric3d",
    "segment": "sam2",
    "line": "informative-drawings",
}
MODELS = ("depth", "metric", "segment", "line")
SCENES = (
    "samples=4",
    "unit_size=2",
    "source.variants=4",
    "render.resolution=96",
    "render.samples=4",
    "shard.splits={train: 1, val: 0, test: 0}",
    # One worker a layer: each loads torch and a model.
    "engine.resources={" + ", ".join(f"{layer}: {{actors: 1, cpus: 0.1}}" for layer in ("pair", *MODELS)) + "}",
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return make_models(tmp_path_factory.mktemp("models"))


def arguments(out: Path, models: dict[str, str], *more: str) -> list[str]:
    chosen = [part for text in (*SCENES, *more) for part in ("--set", text)]
    return ["build", "--out", str(out), *chosen, *settings(models)]


@pytest.fixture(scope="module")
@needs("blender", "ray")
def built(models: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models-build") / "out"
    done = spatialdata(*arguments(out, models))
    assert done.returncode == 0, done.stderr
    return out


def samples(out: Path) -> list[StoredSample]:
    return [sample for shard in find_shards(str(out), recipe="full") for sample in read_samples(shard)]


def files(out: Path, layer: str) -> dict[str, tuple[float, bytes]]:
    return {
        str(path.relative_to(out)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(out.glob(f"layers/{layer}-*/*"))
    }


def test_every_map_names_its_model(built: Path):
    found = samples(built)
    assert len(found) >= 3
    for sample in found:
        maps = read_record(sample.members["json"]).maps
        for layer, estimator in ESTIMATORS.items():
            for name in (layer, f"source_{layer}"):
                info = getattr(maps, name)
                assert info.estimator.startswith(estimator), (name, info)
                assert info.revision
    assert json.loads(run("verify", built, "--json").out)["problems"] == []


def test_the_audit_compares_them_with_exact_maps(built: Path):
    done = run("audit", built, "--json", "--pictures", built / "audit")
    assert done.code == 0, done
    found = json.loads(done.out)
    figures = {name: layer["metrics"] for name, layer in found["layers"].items()}
    assert figures["metric"]["abs_rel"]["mean"] > 0.05, "random weights cannot be accurate"
    assert figures["normal"]["mean_deg"]["mean"] > 5
    assert {path.stem for path in (built / "audit").glob("*.png")} == set(ESTIMATORS)


def test_replacing_one_annotator_recomputes_nothing_else(built: Path, models: dict[str, str]):
    layers = ("pair", "screen", "instruction", "checks", "metric", "normal", "segment", "line", "depth")
    before = {layer: files(built, layer) for layer in layers}
    lines = {sample.key: sample.members["line"] for sample in samples(built)}
    done = run(*arguments(built, models | {"depth": "exact"}, "engine.kind=inline"))  # the same layers: engines agree
    assert done.code == 0, done
    after = {layer: files(built, layer) for layer in layers}
    for layer in layers[:-1]:
        assert after[layer] == before[layer], layer
    assert len(after["depth"]) == 2 * len(before["depth"]), "the old layer stays beside the new one"
    for sample in samples(built):
        assert read_record(sample.members["json"]).maps.depth.estimator.startswith("renderer")
        assert sample.members["line"] == lines[sample.key]
    assert np.all([path.stat().st_size for path in built.glob("layers/depth-*/*")])
