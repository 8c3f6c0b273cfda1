"""The cost of a run: rates from records, the arithmetic by hand, and errors."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from spatialdata_builder.pipeline.config import Config, load_config
from spatialdata_builder.pipeline.engine.pools import Cluster
from spatialdata_builder.pipeline.engine.runner import tasks_of
from spatialdata_builder.pipeline.opened import RUNS, Build
from spatialdata_builder.pipeline.report.forecast.forecast import forecast
from spatialdata_builder.pipeline.report.forecast.rates import LayerRate, Rates, RecipeRate, measure, read_rates
from spatialdata_builder.pipeline.store.layers import LayerStore, Record, Rejected
from spatialdata_builder.shards.errors import BadInput
from tests.pipeline.command_line import assert_fails, run
from tests.pipeline.toys import Judge, Make, Measure, toy_plan

LAYERS = ("pair", "screen", "metric", "normal", "depth", "segment", "line", "instruction", "checks")
SECONDS = {"pair": 10.0, "checks": 1.0}


def rates(**changes: object) -> Rates:
    layers = {
        name: LayerRate(
            seconds=SECONDS.get(name, 0.0),
            cpu_seconds=2 * SECONDS.get(name, 0.0),
            cpus=1,
            gpus=0,
            bytes=1000,
            reached=1.0,
            settings={},
        )
        for name in LAYERS
    }
    return Rates(
        machine="m",
        cpus=2,
        gpus=0,
        samples=10,
        unit_size=4,
        accepted=0.75,
        startup_s=20,
        pack_start_s=3,
        pack_s=0.5,
        layers=layers,
        recipes={"full": RecipeRate(samples=0.75, bytes=4000)},
    ).model_copy(update=changes)


def config(*settings: str) -> Config:
    return load_config(None, ("unit_size=4", *settings))


def machine(cpus: float, gpus: float = 0, nodes: int = 1) -> Cluster:
    return Cluster(nodes, cpus * nodes, gpus * nodes, cpus, gpus)


def test_wall_time_by_hand():
    found = forecast(config("engine.resources.pair.actors=2"), 400, rates(), machine(4))
    # 100 units of 4 samples; two workers render 50 each, 40 s per unit; the other pool adds 4 s for the last unit.
    # 300 samples are less than one shard of 1,000, which one worker packs.
    assert found["wall_s"] == 50 * 40 + 4 + 20 + 3 + 0.5 * 400
    four = forecast(config("engine.resources.pair.actors=2", "shard.samples_per_shard=50"), 400, rates(), machine(4))
    assert four["wall_s"] == 50 * 40 + 4 + 20 + 3 + 0.5 * 400 / 4
    assert found["bottleneck"] == "pair"
    assert found["bound_by"] == "CPUs"
    assert found["accepted"] == 300
    assert next(stage for stage in found["stages"] if stage["layer"] == "pair")["cpu_hours"] == round(8000 / 3600, 3)


def test_inline_is_one_worker():
    found = forecast(config("engine.kind=inline"), 40, rates(pack_start_s=0.0, pack_s=0.0), machine(4))
    assert found["wall_s"] == 10 * (40 + 4) + 20


def test_the_best_workers_balance_the_pools():
    slow = rates(startup_s=0.0, pack_start_s=0.0, pack_s=0.0)
    found = forecast(config(), 4000, slow, machine(22))
    # 10 s and 1 s per sample: of 22 cores, 20 for one and 2 for the other pool end at the same time.
    assert found["cut"]["actors"] == {"pair": 20, "shared": 2}
    assert found["cut"]["wall_s"] <= 1.05 * found["wall_s"]
    assert found["doubled"]["wall_s"] == pytest.approx(found["cut"]["wall_s"] / 2, rel=0.03)


def test_too_few_gpus_are_the_bottleneck():
    asked = config("render.device=gpu")
    found = forecast(asked, 4000, rates(), machine(64, gpus=2))
    assert found["bound_by"] == "GPUs"
    pair = next(stage for stage in found["stages"] if stage["layer"] == "pair")
    assert (pair["actors"], pair["gpu_hours"]) == (2, round(40000 / 3600, 3))
    with pytest.raises(BadInput, match="0 GPUs"):
        forecast(asked, 4000, rates(), machine(64))


def test_storage_and_shards():
    settings = ("shard.samples_per_shard=100", "shard.recipes=[full, ildm]")
    found = forecast(config(*settings), 1000, rates(), machine(4))
    assert found["storage"]["layers_bytes"] == len(LAYERS) * 1000 * 1000
    # 750 packed: 675, 37.5 and 37.5 in the splits.
    assert found["storage"]["shards"] == {"full": {"bytes": 3_000_000, "shards": 9}}
    assert "recipe ildm was not packed in the measured run: its size is not known" in found["notes"]


def test_differences_from_the_measured_run_are_noted():
    measured = rates()
    pair = measured.layers["pair"].model_copy(update={"settings": {"render.samples": 2}})
    measured = measured.model_copy(update={"layers": measured.layers | {"pair": pair}})
    notes = forecast(config("render.samples=64", "unit_size=8"), 80, measured, machine(2))["notes"]
    assert "layer pair was measured with render.samples 2, this configuration has 64" in notes
    assert "measured with unit_size 4, this configuration has 8" in notes


def measured_at(resolution: list[int], samples: int, **settings: object) -> Rates:
    measured = rates()
    pair = measured.layers["pair"].model_copy(
        update={"settings": {"render.resolution": resolution, "render.samples": samples, **settings}}
    )
    return measured.model_copy(update={"layers": measured.layers | {"pair": pair}})


def test_another_size_is_scaled_by_the_stated_rule():
    size = ("render.resolution=[512, 256]", "render.samples=32")
    found = forecast(config(*size), 400, measured_at([256, 256], 16), machine(4))
    same = forecast(
        config("render.resolution=[256, 256]", "render.samples=16"), 400, measured_at([256, 256], 16), machine(4)
    )
    before, after = ({stage["layer"]: stage for stage in each["stages"]} for each in (same, found))
    # Twice the pixels, 32 + 4 render samples instead of 16 + 4.
    assert (before["pair"]["seconds"], after["pair"]["seconds"]) == (10, 36)
    assert after["pair"]["cpu_hours"] == pytest.approx(3.6 * before["pair"]["cpu_hours"], abs=2e-3)
    assert after["checks"]["seconds"] == 2 * before["checks"]["seconds"] == 2
    assert found["storage"]["layers_bytes"] == 2 * same["storage"]["layers_bytes"]
    assert found["storage"]["shards"]["full"]["bytes"] == 2 * same["storage"]["shards"]["full"]["bytes"]
    (note,) = [note for note in found["notes"] if "scaled" in note]
    assert "256 x 256 with 16 render samples, scaled to 512 x 256 with 32 render samples" in note
    assert "rendering by 3.6 " in note
    assert not [note for note in same["notes"] if "scaled" in note]
    assert not [note for note in found["notes"] if "measured with render.resolution" in note]


@pytest.mark.parametrize(("partial", "target"), [("off", 1.0), ("on", 0.5)])
def test_edits_of_one_scene_share_its_source(partial: str, target: float):
    """Measured with one edit of each scene, without derived samples: two images for a sample."""
    measured = measured_at([256, 256], 16)
    pair = measured.layers["pair"]
    pair = pair.model_copy(update={"settings": {**pair.settings, "render.partial": partial}})
    measured = measured.model_copy(update={"layers": measured.layers | {"pair": pair}})
    edits = "edits={translate: 1, rotate: 1, per_scene: 6}"
    size = ("render.resolution=[256, 256]", "render.samples=16")
    found = forecast(config(*size, edits, "unit_size=6", "samples=6"), 600, measured, machine(4))
    seconds = {stage["layer"]: stage["seconds"] for stage in found["stages"]}
    assert found["samples"] == 2400
    # Each scene: one source and six targets for 24 samples.
    assert seconds["pair"] == pytest.approx(10.0 * (1 + 6 * target) / 24 / (1 + target), abs=1e-4)
    assert seconds["checks"] == 1.0


def test_a_model_keeps_its_time_at_another_size():
    measured = measured_at([256, 256], 32)
    depth = measured.layers["depth"].model_copy(update={"settings": {"model": "some/depth"}, "seconds": 3.0})
    measured = measured.model_copy(update={"layers": measured.layers | {"depth": depth}})
    stages = forecast(config("render.resolution=[512, 512]"), 40, measured, machine(4))["stages"]
    seconds = {stage["layer"]: stage["seconds"] for stage in stages}
    assert (seconds["depth"], seconds["pair"]) == (3.0, 40.0)


def test_missing_cpu_time_of_an_older_file_is_not_guessed():
    old = rates().model_dump()
    for layer in old["layers"].values():
        del layer["cpu_seconds"]
    found = forecast(config(), 40, Rates.model_validate(old), machine(4))
    assert {stage["cpu_hours"] for stage in found["stages"]} == {-1.0}
    assert any(note.startswith("CPU time was not measured for pair") for note in found["notes"])


def test_a_layer_that_was_not_measured_is_an_error():
    with pytest.raises(BadInput, match="layer judge was not measured"):
        forecast(config("layers.judge={stage: viescore, base_url: 'http://localhost:1'}"), 40, rates(), machine(2))


def toy_build(out: Path) -> Build:
    """40 samples in 5 units of three stages, with records like those of a run on two workers."""
    store = LayerStore(str(out))
    plan = toy_plan(store)
    stages = (Make(), Measure(), Judge())
    for task in tasks_of(stages, plan.hash):
        for unit in range(plan.units):
            keys = [row.key for row in plan.rows(unit)]
            rejects = (Rejected(keys[0], "no"),) if task.layer == "checks" and unit == 2 else ()
            warm = unit >= 2
            record = Record(
                unit=unit,
                layer=task.layer_dir,
                rejects=rejects,
                seconds=(8.0 if warm else 24.0) if task.layer == "pair" else 0.8,
                cpu_seconds=12.0 if warm else 30.0,
                started=f"2026-01-01T00:00:{40 if warm else 10:02d}+00:00" if unit < 4 else "2026-01-01T00:00:59+00:00",
            )
            rows = {key: {"x": 1} for key in keys if not rejects or key != keys[0]}
            store.write(task.layer_dir, unit, rows, record)
    return Build(store, Config(), plan, stages)


def test_rates_are_those_of_warm_workers(tmp_path: Path):
    build = toy_build(tmp_path)
    found = measure(build)
    # Units 0 and 1 started before any was done: 8 samples each in 24 s, later ones in 8 s.
    assert found.layers["pair"].seconds == pytest.approx(1.0)
    assert found.layers["pair"].cpu_seconds == pytest.approx(1.5)
    assert found.layers["metric"].seconds == pytest.approx(0.1)
    assert found.layers["pair"].reached == 1.0
    assert found.accepted == 1 - 1 / 40
    assert found.startup_s == found.pack_start_s == found.pack_s == -1
    run_file = {
        "started": "2026-01-01T00:00:00+00:00",
        "pack_seconds": 4.0,
        "stages": {"pair": {"found": 0}},
        "shards": [{"worker_seconds": 1.0, "splits": {"train": {"shards": 1}}}],
    }
    build.store.write_file(f"{RUNS}/one.json", json.dumps(run_file).encode())
    found = measure(build)
    assert found.startup_s == 10 + 16
    assert found.pack_start_s == 3.0
    assert found.pack_s == 1 / 40
    resumed = replace(build)
    run_file["stages"] = {"pair": {"found": 3}}
    build.store.write_file(f"{RUNS}/one.json", json.dumps(run_file).encode())
    assert measure(resumed).startup_s == -1


def test_rates_in_a_file(tmp_path: Path):
    path = tmp_path / "rates.json"
    path.write_text(rates().model_dump_json())
    assert read_rates(str(path)) == rates()
    path.write_text("{}")
    with pytest.raises(BadInput, match="has no rates"):
        read_rates(str(path))
    with pytest.raises(BadInput, match="no such file"):
        read_rates(str(tmp_path / "nothing.json"))


def test_a_build_without_a_complete_unit(tmp_path: Path):
    store = LayerStore(str(tmp_path))
    plan = toy_plan(store)
    with pytest.raises(BadInput, match=r"no unit of .* is complete"):
        measure(Build(store, Config(), plan, (Make(), Measure())))


def test_the_command(out: Path, tmp_path: Path):
    kept = tmp_path / "rates.json"
    settings = ("--set", "source.kind=object3dit", "--set", "source.root=nowhere")
    from_build = run("plan", "--measured", str(out), "--samples", "1000", "--cpus", "8", "--save", str(kept), *settings)
    assert from_build.code == 0, from_build
    assert "wall time" in from_build.out
    again = run("plan", "--measured", str(kept), "--samples", "1000", "--cpus", "8", "--json", *settings)
    assert json.loads(again.out)["cluster"]["cpus"] == 8
    unsized = run("plan", "--measured", str(kept), "--set", "samples=all", *settings)
    assert_fails(unsized, "give --samples")
