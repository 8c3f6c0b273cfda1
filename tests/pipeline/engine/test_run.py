"""After a run ends for any reason, the same call resumes with identical output. Real workers and drivers are killed."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from spatialdata_builder.pipeline.config import EngineOptions
from spatialdata_builder.pipeline.engine import part_counts, ray_engine
from spatialdata_builder.pipeline.engine.pools import Cluster
from spatialdata_builder.pipeline.engine.progress import Progress, RunSummary
from spatialdata_builder.pipeline.engine.ray_cluster import check_reachable
from spatialdata_builder.pipeline.engine.run import Stopped, map_items, reopen_rejects, run, session
from spatialdata_builder.pipeline.engine.runner import tasks_of
from spatialdata_builder.pipeline.planning.scene_rows import plan_scenes
from spatialdata_builder.pipeline.store.layers import LayerStore, PartName, versions
from spatialdata_builder.pipeline.store.parts import Part, write_part
from spatialdata_builder.pipeline.store.plan import write_plan
from spatialdata_builder.shards.errors import BadInput, SpatialdataError
from spatialdata_builder.shards.sample import Reject, Result, Sample
from spatialdata_builder.sources.derived import is_derived, origin_rejected
from tests.needs import needs
from tests.pipeline.releases import files_of
from tests.pipeline.test_models_source import build as build_models
from tests.pipeline.test_models_source import root
from tests.pipeline.toys import (
    EDITS,
    SPLITS,
    Judge,
    Make,
    Measure,
    Scenes,
    calls,
    hashes,
    key,
    scenes_plan,
    toy_plan,
    toy_run,
)

__all__ = ["root"]

INLINE, RAY = EngineOptions(kind="inline"), EngineOptions(kind="ray")
ON_RAY = pytest.param("ray", marks=pytest.mark.ray)
KILLS = [
    ("inline", "SIGKILL"),
    pytest.param("ray", "SIGKILL", marks=pytest.mark.ray),
    pytest.param("ray", "SIGINT", marks=pytest.mark.ray),
]


@pytest.fixture(scope="module")
@needs("ray")
def ray_cluster() -> Iterator[None]:
    """One local Ray of two cores for the whole module: each start costs 5 to 14 s."""
    import ray

    ray.init(address="local", num_cpus=2, include_dashboard=False, object_store_memory=100 << 20, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Hashes of an inline run of 40 samples in units of 8."""
    out = tmp_path_factory.mktemp("undisturbed")
    toy_run(out, [Make(), Measure(), Judge()])
    return hashes(out)


def ray_run(out: Path, stages: list[Any], progress: Progress | None = None, **options: Any) -> RunSummary:
    store = LayerStore(str(out))
    return run(stages, store, toy_plan(store), EngineOptions(kind="ray", **options), progress)


def test_layers_flow_and_a_second_run_does_nothing(tmp_path: Path):
    summary = toy_run(tmp_path, [Judge(), Measure(), Make(ills={key(3): "raise", key(5): "reject"})])
    stages = {name: stage.to_json() for name, stage in summary.stages.items()}
    assert stages["pair"]["rejects"] == {"error": 1, "too_dark": 1}
    assert stages["pair"]["samples"] == stages["metric"]["samples"] == 38
    assert stages["metric"]["samples"] == stages["checks"]["samples"] + stages["checks"]["rejects"]["divisible"]
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "layers").rglob("*.*")}
    again = toy_run(tmp_path, [Judge(), Measure(), Make()])
    assert all((stage.found, stage.committed) == (5, 0) for stage in again.stages.values())
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "layers").rglob("*.*")} == before


def test_a_changed_layer_recomputes_only_its_dependents(tmp_path: Path):
    toy_run(tmp_path, [Make(), Measure(), Judge()])
    again = toy_run(tmp_path, [Make(), Measure(factor=2), Judge()])
    assert {name: stage.committed for name, stage in again.stages.items()} == {"pair": 0, "metric": 5, "checks": 5}


@pytest.mark.parametrize("kind", ["inline", ON_RAY])
def test_a_damaged_layer_file_is_recomputed(tmp_path: Path, kind: str, undisturbed: dict[str, str], request: Any):
    if kind == "ray":
        request.getfixturevalue("ray_cluster")
    toy_run(tmp_path, [Make(), Measure()])
    bad = next(tmp_path.glob("layers/pair-*/00000002.parquet"))
    bad.write_bytes(bad.read_bytes()[:-1] + b"!")
    summary = toy_run(tmp_path, [Make(), Measure(), Judge()], kind)
    assert len(summary.notes) == 1
    assert "00000002.parquet" in summary.notes[0]
    assert summary.stages["pair"].done == 5
    assert hashes(tmp_path) == undisturbed
    assert bad.with_name(bad.name + ".corrupt").exists()


def test_an_object_store_holds_the_same_bytes(tmp_path: Path, s3: dict[str, Any], undisturbed: dict[str, str]):
    store = LayerStore(f"s3://bucket/{tmp_path.name}", **s3)
    stages = [Make(), Measure(), Judge()]
    run(stages, store, toy_plan(store), INLINE)
    names = {name: hashlib.sha256(store.read_file(name)).hexdigest() for name in undisturbed}
    assert names == undisturbed
    bad = next(name for name in undisturbed if "pair" in name)
    store.write_file(bad, store.read_file(bad)[:-1])
    again = run([Make(), Measure(factor=2)], store, toy_plan(store), INLINE)
    assert again.stages["pair"].committed == 1
    assert hashlib.sha256(store.read_file(bad)).hexdigest() == undisturbed[bad]


def test_a_stage_that_always_fails_stops_the_run_and_keeps_nothing(tmp_path: Path, undisturbed: dict[str, str]):
    broken = Make(ills={key(number): "raise" for number in range(40)})
    with pytest.raises(SpatialdataError, match=r"'pair': all of the first .* 'ValueError: cannot make scene-"):
        toy_run(tmp_path, [broken, Measure(), Judge()])
    toy_run(tmp_path, [Make(), Measure(), Judge()])
    assert hashes(tmp_path) == undisturbed


@dataclass(frozen=True)
class Unlucky(Make):
    """Fails like a broken machine, so that derived samples fail as well."""

    faults: ClassVar[frozenset[str]] = frozenset({"lost"})

    def _one(self, sample: Sample) -> Result:
        if is_derived(sample):
            return origin_rejected(sample.key.removesuffix("-inv"), Reject("lost"))
        return Reject("lost", detail="no display")


def test_derived_samples_do_not_hide_a_broken_machine(tmp_path: Path):
    store = LayerStore(str(tmp_path))
    plan = write_plan(store, {}, plan_scenes(40, 0, EDITS, SPLITS, invert=True), 8)
    with pytest.raises(SpatialdataError, match=r"all of the first .* such as scene-\d+ with 'no display'"):
        run([Unlucky()], store, plan, INLINE)


def test_rejects_are_retried_on_request(tmp_path: Path, undisturbed: dict[str, str]):
    stages = [Make(), Measure(), Judge()]
    toy_run(tmp_path, [Make(ills={key(3): "raise", key(20): "reject"}), *stages[1:]])
    assert reopen_rejects(stages, LayerStore(str(tmp_path)), ["error"]) == {"pair": 1, "metric": 1, "checks": 1}
    assert toy_run(tmp_path, stages).stages["metric"].committed == 1
    assert reopen_rejects(stages, LayerStore(str(tmp_path)), ["too_dark"]) == {"pair": 1, "metric": 1, "checks": 1}
    toy_run(tmp_path, stages)
    assert hashes(tmp_path) == undisturbed
    for record in (min(tmp_path.glob("layers/metric-*/*.json")), max(tmp_path.glob("layers/metric-*/*.json"))):
        record.write_text("{")
    assert reopen_rejects(stages, LayerStore(str(tmp_path)), ["too_dark"]) == {"pair": 0, "metric": 0, "checks": 0}
    assert toy_run(tmp_path, stages).stages["metric"].committed == 2


def test_a_stage_can_stop_the_run(tmp_path: Path):
    with pytest.raises(SpatialdataError, match="no model for scene-00000009"):
        toy_run(tmp_path, [Make(ills={key(9): "fatal"})])
    assert toy_run(tmp_path, [Make()]).stages["pair"].found == 1


def test_a_worker_that_lost_its_device_rejects_nothing(tmp_path: Path, ray_cluster: None, undisturbed: Any):
    stages = [Make(ills={key(9): f"lost-once:{tmp_path / 'mark'}"}), Measure(), Judge()]
    with pytest.raises(SpatialdataError, match="no GPU for scene-00000009"):
        toy_run(tmp_path / "inline", stages)  # there is no other worker
    (tmp_path / "mark").unlink()
    summary = ray_run(tmp_path / "ray", stages)
    assert len(summary.notes) == 1 and "its worker died" in summary.notes[0]
    assert hashes(tmp_path / "ray") == undisturbed
    assert hashes(tmp_path / "inline").items() < undisturbed.items()
    toy_run(tmp_path / "inline", stages)
    assert hashes(tmp_path / "inline") == undisturbed


def test_a_failing_setup_is_reported(tmp_path: Path):
    with pytest.raises(SpatialdataError, match=r"(?s)setup of the stage of layer 'pair'.*cannot make setup"):
        toy_run(tmp_path, [Make(ills={"setup": "raise"})])


def test_ray_gives_the_same_bytes_and_isolates_failing_samples(tmp_path: Path, ray_cluster: None, undisturbed: Any):
    ray_run(tmp_path / "a", [Make(), Measure(), Judge()])
    assert hashes(tmp_path / "a") == undisturbed
    faults = {key(3): "raise", key(5): "reject"}
    ray_run(tmp_path / "b", [Make(ills=faults), Measure(), Judge()])
    toy_run(tmp_path / "c", [Make(ills=faults), Measure(), Judge()])
    assert hashes(tmp_path / "b") == hashes(tmp_path / "c")


@pytest.mark.blender
def test_a_folder_of_models_gives_the_same_bytes(root: Path, tmp_path: Path, ray_cluster: None):
    """Survey, conversion and renders of source `models`, on Ray as in the process."""
    for kind in ("inline", "ray"):
        cache = f"source.cache={tmp_path / kind}-cache"
        result = build_models(root, tmp_path / kind, cache, "source.license=cc0", f"engine.kind={kind}")
        assert result.code == 0, result
    made = [files_of(tmp_path / kind) for kind in ("inline", "ray")]
    for folder in ("plan", "survey", "layers", "shards"):
        inline, on_ray = ({name: files[name] for name in files if name.startswith(f"{folder}/")} for files in made)
        assert inline and inline == on_ray


def test_a_killed_worker_is_replaced_and_its_unit_recomputed(tmp_path: Path, ray_cluster: None, undisturbed: Any):
    (marks := tmp_path / "marks").mkdir()

    def kill_a_worker() -> None:
        while True:
            for mark in marks.iterdir():
                os.kill(int(mark.name.split("-")[2]), signal.SIGKILL)
                return
            time.sleep(0.01)

    killer = threading.Thread(target=kill_a_worker)
    killer.start()
    summary = ray_run(tmp_path / "out", [Make(seconds=0.05, marks=str(marks)), Measure(), Judge()])
    killer.join()
    assert any("attempt 1: its worker died" in note for note in summary.notes)
    assert not summary.quarantined
    assert hashes(tmp_path / "out") == undisturbed
    records = LayerStore(str(tmp_path / "out")).records(next((tmp_path / "out" / "layers").glob("pair-*")).name)
    assert sorted(record.attempts for record in records) == [1, 1, 1, 1, 2]


def test_samples_that_kill_or_hang_are_found_and_left_out(tmp_path: Path, ray_cluster: None):
    (marks := tmp_path / "marks").mkdir()
    store = LayerStore(str(tmp_path))
    plan = toy_plan(store, samples=7, unit_size=4)
    summary = run(
        [Make(ills={key(2): "exit", key(5): "hang"}, marks=str(marks), timeout=5), Measure()], store, plan, RAY
    )
    assert sorted(summary.quarantined) == [f"pair/{key(2)}", f"pair/{key(5)}"]
    assert summary.stages["pair"].rejects == Counter(quarantined=2)
    assert summary.stages["metric"].samples == 5
    assert max(calls(marks).values()) <= 16
    assert run([Make(), Measure()], store, plan, INLINE).stages["pair"].committed == 0


def test_a_setup_that_kills_its_worker_ends_the_run(tmp_path: Path, ray_cluster: None):
    with pytest.raises(SpatialdataError, match="died 3 times while starting"):
        ray_run(tmp_path, [Make(ills={"setup": "exit"})])
    with pytest.raises(SpatialdataError, match="no model for setup"):
        ray_run(tmp_path, [Make(ills={"setup": "fatal"})])


def test_resources_that_do_not_exist_are_an_error_at_once(tmp_path: Path, ray_cluster: None):
    with pytest.raises(BadInput, match=r"the stages need 8 CPUs .*the cluster has 2 CPUs"):
        ray_run(tmp_path, [Make()], resources={"pair": {"actors": 4, "cpus": 2}})
    with pytest.raises(BadInput, match=r"1 GPUs .*0 GPUs"):
        ray_run(tmp_path, [Make(gpus=1)])


def test_out_on_one_node_of_several_is_an_error(tmp_path: Path):
    cluster = Cluster(3, 12, 0, 4, 0)
    with pytest.raises(BadInput, match="3: use a URL"):
        check_reachable(LayerStore(str(tmp_path)), RAY, cluster)
    check_reachable(LayerStore(str(tmp_path)), EngineOptions(kind="ray", shared_fs=True), cluster)
    with pytest.raises(BadInput, match="inline"):
        check_reachable(LayerStore("memory://x"), RAY, cluster)


def test_a_full_cluster_ends_the_run(tmp_path: Path, ray_cluster: None, monkeypatch: pytest.MonkeyPatch):
    import ray

    class Greedy:
        def ping(self) -> int:
            return 1

    greedy: Any = ray.remote(Greedy).options(num_cpus=2).remote()  # type: ignore[attr-defined]
    ray.get(greedy.ping.remote())
    monkeypatch.setattr(ray_engine, "PLACE_S", 1.5)
    try:
        with pytest.raises(SpatialdataError, match="could be placed"):
            ray_run(tmp_path, [Make()])
    finally:
        ray.kill(greedy)


@pytest.mark.slow
def test_no_cluster_at_the_address():
    code = (
        "from spatialdata_builder.pipeline.engine.run import session\n"
        "from spatialdata_builder.pipeline.config import EngineOptions\n"
        "with session(EngineOptions(kind='ray', address='127.0.0.1:1')): pass"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert "BadInput: cannot reach Ray at '127.0.0.1:1'" in found.stderr


def square(number: int) -> int:
    if number == 13:
        raise ValueError("unlucky")
    if number == 14:
        raise BadInput("too big")
    if number == 15:
        os._exit(1)
    return number * number


@pytest.mark.parametrize("kind", ["inline", ON_RAY])
def test_map_keeps_order_and_names_the_item(kind: str, request: Any):
    if kind == "ray":
        request.getfixturevalue("ray_cluster")
    options = EngineOptions(kind=kind)  # type: ignore[arg-type]
    seen: list[int] = []
    assert map_items(square, range(6), options, on_result=lambda _, value: seen.append(value)) == [0, 1, 4, 9, 16, 25]
    assert sorted(seen) == [0, 1, 4, 9, 16, 25]
    with pytest.raises(SpatialdataError, match=r"(?s)shard 13: .*unlucky"):
        map_items(square, [1, 13], options, name=lambda number: f"shard {number}")
    with pytest.raises(BadInput, match="14: too big"):
        map_items(square, [14], options)
    if kind == "ray":
        with pytest.raises(SpatialdataError, match="15: its worker died"):
            map_items(square, [15], options)


def test_a_guard_ends_the_run(tmp_path: Path):
    def lost() -> None:
        raise SpatialdataError("taken over")

    store = LayerStore(str(tmp_path))
    with pytest.raises(SpatialdataError, match="taken over"):
        run([Make()], store, toy_plan(store), INLINE, guard=lost)


def test_ctrl_c_in_this_process(tmp_path: Path):
    store = LayerStore(str(tmp_path))
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped, match="rerun the command"):
        run([Make()], store, toy_plan(store), INLINE, guard=lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert signal.getsignal(signal.SIGTERM) == before
    with session(INLINE):
        pass


def start(out: Path, kind: str, marks: Path, *what: str) -> "subprocess.Popen[str]":
    marks.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.pipeline.kill_me", str(out), kind, str(marks), *what]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_records(out: Path, count: int) -> None:
    deadline = time.monotonic() + 90
    while len(list(out.glob("layers/pair-*/*.json"))) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(("kind", "number"), KILLS)
@pytest.mark.slow
def test_a_killed_driver_resumes(tmp_path: Path, kind: str, number: str, whole: dict[str, str]):
    out, marks = tmp_path / "out", tmp_path / "marks"
    driver = start(out, kind, marks)
    wait_for_records(out, 3)
    driver.send_signal(getattr(signal, number))
    stdout, stderr = driver.communicate(timeout=60)
    assert driver.returncode == (-signal.SIGKILL if number == "SIGKILL" else 130), stderr
    if number == "SIGINT":
        assert "stopped; rerun the command to resume" in stdout
    workers = {int(file.name.split("-")[2]) for file in marks.iterdir()}
    wait_until_gone(workers)
    done = {file.stem for file in out.glob("layers/pair-*/*.json")}
    assert 3 <= len(done) < 10
    rerun = start(out, "inline", tmp_path / "second")
    _, stderr = rerun.communicate(timeout=60)
    assert rerun.returncode == 0, stderr
    assert hashes(out) == whole
    assert len(calls(tmp_path / "second")) == 4 * (10 - len(done))


@pytest.mark.slow
def test_a_driver_that_is_killed_within_a_unit_loses_one_scene(tmp_path: Path):
    out, marks = tmp_path / "out", tmp_path / "marks"
    for kept in (2, 7):  # parts at which the run is killed: within the first unit, and again within the second
        driver = start(out, "inline", marks, "scenes")
        deadline = time.monotonic() + 90
        while len(list(out.glob("parts/pair-*/*.part"))) + 5 * len(list(out.glob("layers/pair-*/*.json"))) < kept:
            assert driver.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        driver.kill()
        driver.communicate(timeout=60)
    rerun = start(out, "inline", marks, "scenes")
    _, stderr = rerun.communicate(timeout=60)
    assert rerun.returncode == 0, stderr
    computed = calls(marks)
    assert len(computed) == 40
    twice = {name.removesuffix("-inv") for name, times in computed.items() if times > 1}
    assert len(twice) <= 2
    assert max(computed.values()) <= 3
    assert not (out / "parts").exists()
    store = LayerStore(str(tmp_path / "whole"))
    run([Scenes(), Measure(), Judge()], store, scenes_plan(store), INLINE)
    assert hashes(out) == hashes(tmp_path / "whole")


def test_a_scene_that_kills_its_worker_is_found_without_computing_others_again(tmp_path: Path, ray_cluster: None):
    (marks := tmp_path / "marks").mkdir()
    store = LayerStore(str(tmp_path))
    plan = scenes_plan(store, scenes=4, unit_size=8)
    keys = plan.keys(0)
    deadly = keys[4]
    summary = run([Scenes(ills={deadly: "exit"}, marks=str(marks))], store, plan, RAY)
    assert summary.quarantined == [f"pair/{deadly}"]
    assert summary.stages["pair"].rejects == Counter(quarantined=1)
    assert (summary.stages["pair"].samples_done, summary.stages["pair"].samples) == (8, 7)
    computed = calls(marks)
    assert {name: computed[name] for name in keys if not name.startswith(deadly)} == dict.fromkeys(
        [name for name in keys if not name.startswith(deadly)], 1
    )
    assert not (tmp_path / "parts").exists()


class Recorder(Progress):
    """Remembers the finished samples of layer `pair`."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def tick(self, queues: Any, samples_done: Any) -> None:
        super().tick(queues, samples_done)
        self.seen.append(self.summary.stages["pair"].samples_done)


def test_progress_counts_scenes_of_units_that_are_not_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(part_counts, "LOCAL_S", 0.0)
    store = LayerStore(str(tmp_path))
    plan = scenes_plan(store, scenes=4, unit_size=4)
    faulty, recorder = Scenes(ills={plan.keys(1)[2]: "fatal"}), Recorder()
    with pytest.raises(SpatialdataError, match="no model for"):
        run([faulty], store, plan, INLINE, recorder)
    assert recorder.seen == [2, 4, 4, 6]
    recorder = Recorder()
    summary = run([Scenes()], store, plan, INLINE, recorder)
    assert recorder.seen == [8, 8]
    assert summary.stages["pair"].to_json().items() >= {"samples_planned": 8, "samples_done": 8, "found": 1}.items()


def test_parts_of_committed_units_are_removed_by_the_next_run(tmp_path: Path):
    store = LayerStore(str(tmp_path))
    plan = scenes_plan(store, scenes=4, unit_size=4)
    run([Scenes()], store, plan, INLINE)
    layer_dir = tasks_of([Scenes()])[0].layer_dir
    write_part(store, layer_dir, PartName(1, 2, 2), Part({"a": {"x": 1}}), versions())
    recorder = Recorder()
    run([Scenes()], store, plan, INLINE, recorder)
    assert recorder.summary.stages["pair"].samples_done == 8
    assert store.parts(layer_dir) == []


def test_parts_with_rejects_are_retried_on_request(tmp_path: Path):
    store = LayerStore(str(tmp_path))
    plan = scenes_plan(store, scenes=3, unit_size=6)
    keys = plan.keys(0)
    with pytest.raises(SpatialdataError, match="no model for"):
        run([Scenes(ills={keys[0]: "reject", keys[4]: "fatal"})], store, plan, INLINE)
    (layer_dir,) = (task.layer_dir for task in tasks_of([Scenes()]))
    assert [part.first for part in store.parts(layer_dir)] == [0, 2]
    assert reopen_rejects([Scenes()], store, ["too_dark"]) == {"pair": 0}
    assert [part.first for part in store.parts(layer_dir)] == [2]
    assert run([Scenes()], store, plan, INLINE).stages["pair"].samples == 6


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Hashes of the output of `kill_me` if it is not killed."""
    out = tmp_path_factory.mktemp("whole")
    store = LayerStore(str(out))
    run([Make(), Measure(), Judge()], store, toy_plan(store, samples=40, unit_size=4), INLINE)
    return hashes(out)


def wait_until_gone(pids: set[int]) -> None:
    """Wait for the processes to end: a local Ray ends with its driver."""
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)
