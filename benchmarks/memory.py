"""Memory of a long run: it grows neither with samples in the driver nor with units in workers. Prints ratios, or JSON.

    python benchmarks/memory.py --samples 2000 --times 10

Two runs on Ray in fresh processes, the second with `times` as many samples. The row of each sample holds `--kilobytes`
of noise, about the size of a pair's images, and a second stage reads it. Workers write their peak memory to their rows.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from spatialdata_builder.pipeline.config import EngineOptions
from spatialdata_builder.pipeline.engine.run import run, session
from spatialdata_builder.pipeline.engine.runner import tasks_of
from spatialdata_builder.pipeline.planning.scene_rows import plan_scenes
from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.pipeline.store.plan import write_plan
from spatialdata_builder.shards.sample import Result, Row, Sample
from spatialdata_builder.shards.schema import EDIT_KINDS


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


@dataclass(frozen=True)
class Make:
    """Layer `pair`: noise of the size of one sample."""

    layer: ClassVar[str] = "pair"
    needs: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[int] = 1
    bytes: int
    batch_size: int = 8
    cpus: float = 1
    gpus: float = 0

    def setup(self) -> None:
        return None

    def __call__(self, model: None, samples: Sequence[Sample]) -> Sequence[Result]:
        return [Row({"noise": os.urandom(self.bytes), "peak": peak_megabytes()}) for _ in samples]


@dataclass(frozen=True)
class Look:
    """Layer `checks`: reads what `Make` wrote."""

    layer: ClassVar[str] = "checks"
    needs: ClassVar[tuple[str, ...]] = ("pair",)
    version: ClassVar[int] = 1
    batch_size: int = 8
    cpus: float = 1
    gpus: float = 0

    def setup(self) -> None:
        return None

    def __call__(self, model: None, samples: Sequence[Sample]) -> Sequence[Result]:
        return [Row({"length": len(str(sample["pair"]["noise"])), "peak": peak_megabytes()}) for sample in samples]


def measure(samples: int, kilobytes: int, unit_size: int) -> dict[str, float]:
    """One run in this process; peaks in MB."""
    options = EngineOptions(kind="ray")
    stages = [Make(kilobytes << 10), Look()]
    with tempfile.TemporaryDirectory() as folder:
        store = LayerStore(folder)
        rows = plan_scenes(samples, 0, dict.fromkeys(EDIT_KINDS, 1.0), {"train": 1.0})
        plan = write_plan(store, {"samples": samples}, rows, unit_size)
        with session(options):
            run(stages, store, plan, options)
        driver = peak_megabytes()
        peaks = [
            float(row["peak"])
            for task in tasks_of(stages)
            for unit in range(plan.units)
            for row in store.read(task.layer_dir, unit, ["peak"]).values()
        ]
    return {"samples": samples, "units": plan.units, "driver_megabytes": driver, "worker_megabytes": max(peaks)}


def in_fresh_process(samples: int, kilobytes: int, unit_size: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--only", "--samples", str(samples)]
    command += ["--kilobytes", str(kilobytes), "--unit-size", str(unit_size)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@click.command()
@click.option("--samples", default=2000, show_default=True)
@click.option("--times", default=10, show_default=True)
@click.option("--kilobytes", default=128, show_default=True, help="Size of one sample.")
@click.option("--unit-size", default=16, show_default=True)
@click.option("--json", "as_json", is_flag=True)
@click.option("--only", is_flag=True, hidden=True)
def main(samples: int, times: int, kilobytes: int, unit_size: int, as_json: bool, only: bool) -> None:
    """Measure memory growth."""
    if only:
        click.echo(json.dumps(measure(samples, kilobytes, unit_size)))
        return
    short = in_fresh_process(samples, kilobytes, unit_size)
    long = in_fresh_process(samples * times, kilobytes, unit_size)
    if as_json:
        click.echo(json.dumps({"short": short, "long": long}, indent=1))
        return
    for name in ("driver", "worker"):
        before, after = short[f"{name}_megabytes"], long[f"{name}_megabytes"]
        click.echo(
            f"{name:<8}{before:.0f} MB after {short['samples']:,.0f} samples, {after:.0f} MB after "
            f"{long['samples']:,.0f}: {after / before:.2f} x"
        )
    click.echo(f"one unit holds {unit_size * kilobytes / 1024:.0f} MB of samples")


if __name__ == "__main__":
    main()
