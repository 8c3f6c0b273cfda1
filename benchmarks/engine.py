"""The engine compared with a bare loop: speedup, overhead, start of a large plan, memory. Prints ratios, or JSON.

    python benchmarks/engine.py --samples 2400 --milliseconds 50

Both do the same CPU work per sample (calibrated hashing). Run it on an otherwise idle machine. CPU time is the sum over
all processes of the run (driver, Ray, workers), read from /proc.
"""

import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from spatialdata_builder.pipeline.config import EngineOptions
from spatialdata_builder.pipeline.engine.ready_units import ReadyUnits
from spatialdata_builder.pipeline.engine.run import run, session
from spatialdata_builder.pipeline.engine.runner import tasks_of
from spatialdata_builder.pipeline.planning.scene_rows import plan_scenes
from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.pipeline.store.plan import Plan, write_plan
from spatialdata_builder.shards.sample import Result, Row, Sample
from spatialdata_builder.shards.schema import EDIT_KINDS

TICK = 100.0  # USER_HZ
BLOCK = bytes(1 << 16)


def burn(rounds: int) -> bytes:
    digest = hashlib.sha256()
    for _ in range(rounds):
        digest.update(BLOCK)
    return digest.digest()


@dataclass(frozen=True)
class Burn:
    """Layer `pair`: `rounds` rounds of hashing per sample."""

    layer: ClassVar[str] = "pair"
    needs: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[int] = 1
    rounds: int
    batch_size: int = 8
    cpus: float = 1
    gpus: float = 0

    def setup(self) -> None:
        return None

    def __call__(self, model: None, samples: Sequence[Sample]) -> Sequence[Result]:
        return [Row({"digest": burn(self.rounds)}) for _ in samples]


def make_plan(store: LayerStore, samples: int, unit_size: int) -> Plan:
    rows = plan_scenes(samples, 0, dict.fromkeys(EDIT_KINDS, 1.0), {"train": 1.0})
    return write_plan(store, {"samples": samples}, rows, unit_size)


class TreeCpu:
    """CPU seconds of this process and all its descendants, including those that have ended; excludes the time of the
    polling thread itself."""

    def __init__(self) -> None:
        self._cpu: dict[tuple[int, str], float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "TreeCpu":
        self._before = self._poll()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.seconds = self._poll() - self._before - self._polling

    def _watch(self) -> None:
        while not self._ended.wait(0.5):
            self._poll()
        self._polling = time.thread_time()

    def _poll(self) -> float:
        processes: dict[int, tuple[int, str, float]] = {}
        for file in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = file.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            processes[int(file.parent.name)] = (int(fields[1]), fields[19], (int(fields[11]) + int(fields[12])) / TICK)
        root = int(Path("/proc/self").readlink().name)
        for pid, (_, started, cpu) in processes.items():
            ancestor = pid
            while ancestor != root and ancestor in processes:
                ancestor = processes[ancestor][0]
            if ancestor == root:
                self._cpu[pid, started] = cpu
        return sum(self._cpu.values())


def calibrate(milliseconds: float) -> int:
    began = time.process_time()
    burn(2000)
    return max(1, round(2000 * milliseconds / 1e3 / (time.process_time() - began)))


def side_by_side(rounds: int, samples: int, loops: int = 2) -> float:
    """CPU seconds of the same work in several concurrent bare loops, which share caches and memory bandwidth."""
    code = f"import sys, time; sys.path.insert(0, {str(Path(__file__).parent)!r}); from engine import burn\n"
    code += f"began = time.process_time()\nfor _ in range({samples // loops}):\n    burn({rounds})\n"
    code += "print(time.process_time() - began)"
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(loops)]
    return sum(float(process.communicate()[0]) for process in running)


def speed(samples: int, milliseconds: float, unit_size: int) -> dict[str, float]:
    rounds = calibrate(milliseconds)
    began, cpu = time.monotonic(), time.process_time()
    for _ in range(samples):
        burn(rounds)
    bare, bare_cpu = time.monotonic() - began, time.process_time() - cpu
    beside_cpu = side_by_side(rounds, samples)
    options = EngineOptions(kind="ray")
    with tempfile.TemporaryDirectory() as folder:
        store = LayerStore(folder)
        plan = make_plan(store, samples, unit_size)
        began = time.monotonic()
        with session(options):
            started = time.monotonic() - began
            began = time.monotonic()
            with TreeCpu() as tree:
                run([Burn(rounds)], store, plan, options)
                wall = time.monotonic() - began
        records = list(store.records(tasks_of([Burn(rounds)])[0].layer_dir))
    in_stages = sum(record.cpu_seconds for record in records)
    return {
        "samples": samples,
        "milliseconds_a_sample": 1e3 * bare_cpu / samples,
        "bare_seconds": bare,
        "bare_cpu_seconds": bare_cpu,
        "run_seconds": wall,
        "speed_up": bare / wall,
        "run_cpu_seconds": tree.seconds,
        "stage_cpu_seconds": in_stages,
        "overhead_all_processes": tree.seconds / bare_cpu - 1,
        "side_by_side_cpu_seconds": beside_cpu,
        "overhead_over_side_by_side": tree.seconds / beside_cpu - 1,
        "overhead_against_same_work": (tree.seconds - in_stages) / in_stages,
        "ray_start_seconds": started,
    }


def start(units: int, unit_size: int) -> dict[str, float]:
    """Plan `units` units and schedule the first one, in this process."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        store = LayerStore(folder)
        plan = make_plan(store, units * unit_size, unit_size)
        tasks = tasks_of([Burn(1)])
        units = ReadyUnits(tasks, store, plan)
        job = units.take("pair")
        assert job is not None
        plan.rows(job.unit)
        seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {"units": plan.units, "seconds": seconds, "cpu_seconds": time.process_time(), "megabytes": peak}


def describe(found: dict[str, float]) -> str:
    return f"{found['seconds']:.2f} s ({found['cpu_seconds']:.2f} s of CPU), {found['megabytes']:.0f} MB"


def in_fresh_process(units: int, unit_size: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--start-only", str(units), "--unit-size", str(unit_size)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@click.command()
@click.option("--samples", default=2400, show_default=True)
@click.option("--milliseconds", default=50.0, show_default=True)
@click.option("--unit-size", default=16, show_default=True, help="For the speedup; the start of a plan uses 64.")
@click.option("--json", "as_json", is_flag=True)
@click.option("--start-only", default=0, hidden=True)
def main(samples: int, milliseconds: float, unit_size: int, as_json: bool, start_only: int) -> None:
    """Measure the engine."""
    if start_only:
        click.echo(json.dumps(start(start_only, unit_size)))
        return
    small, large = in_fresh_process(1_000, 64), in_fresh_process(100_000, 64)
    found = {"speed": speed(samples, milliseconds, unit_size), "start_small": small, "start_large": large}
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    fast = found["speed"]
    lines = [
        ("bare loop, one core", f"{fast['bare_seconds']:.1f} s ({fast['milliseconds_a_sample']:.1f} ms per sample)"),
        ("run on Ray", f"{fast['run_seconds']:.1f} s (Ray itself started in {fast['ray_start_seconds']:.1f} s)"),
        ("speedup", f"{fast['speed_up']:.2f} x"),
        ("CPU over the bare loop", f"{100 * fast['overhead_all_processes']:.1f} % (all processes)"),
        ("CPU over two bare loops", f"{100 * fast['overhead_over_side_by_side']:.1f} % (side by side, all processes)"),
        ("CPU over the stage's own", f"{100 * fast['overhead_against_same_work']:.1f} % (all processes)"),
        (
            "start of 1,000 units",
            f"{small['seconds']:.2f} s ({small['cpu_seconds']:.2f} s CPU), {small['megabytes']:.0f} MB",
        ),
        (
            "start of 100,000 units",
            f"{large['seconds']:.2f} s ({large['cpu_seconds']:.2f} s CPU), {large['megabytes']:.0f} MB",
        ),
    ]
    for name, value in lines:
        click.echo(f"{name:<26}{value}")


if __name__ == "__main__":
    main()
