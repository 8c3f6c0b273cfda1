"""`status` of a million units, and `why` of one key among a million: time and memory.

The build is simulated: its plan is real (procedural scenes, nine layers), but nothing is computed. All blocks of units
except the last are in the layers' summaries in the format of `SummaryKeeper`, with random numbers (a few distinct
blocks, repeated). Their record files do not exist, since `status` neither lists nor opens them. The records of the last
block, half of which is done, are real files. The time to read every record, as without summaries, is extrapolated from
RECORDS real files.
"""

import dataclasses
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from spatialdata_builder.pipeline.config import load_config
from spatialdata_builder.pipeline.engine.runner import UnitSummary, summarize
from spatialdata_builder.pipeline.engine.summaries import (
    BLOCK,
    SummaryFile,
    commit_of,
    latest,
    sum_block,
    write_summary,
)
from spatialdata_builder.pipeline.engine.summary_keeper import SummaryKeeper
from spatialdata_builder.pipeline.opened import open_build
from spatialdata_builder.pipeline.planning.configurations import BUILD
from spatialdata_builder.pipeline.planning.samples import plan_build
from spatialdata_builder.pipeline.planning.scene_rows import plan_scenes
from spatialdata_builder.pipeline.report.why.keys import find_key
from spatialdata_builder.pipeline.store.layers import LayerStore, Record, Rejected
from spatialdata_builder.pipeline.store.plan import Plan, write_plan
from spatialdata_builder.shards.errors import BadInput

RECORDS = 20_000
DISTINCT = 8
REJECTED_SHARE = 0.04
LAYER = "pair-0000000000000000"


def random_record(plan: Plan, folder: str, unit: int, draw: random.Random) -> Record:
    keys = [key for key in plan.keys(unit) if draw.random() < REJECTED_SHARE]
    return Record(
        unit,
        folder,
        rejects=tuple(Rejected(key, draw.choice(["too_small", "hidden", "blurred"]), 0.5, "a number") for key in keys),
        counts={"collides": draw.randrange(9), "out_of_frame": draw.randrange(9)},
        seconds=round(draw.uniform(50, 100), 3),
        cpu_seconds=round(draw.uniform(50, 100), 3),
        gpus=0.5,
        host="node-7",
        started="2026-01-01T00:00:00+00:00",
        rows=plan.size(unit) - len(keys),
        bytes=draw.randrange(10**8),
        sha256=f"{draw.getrandbits(256):064x}",
    )


def write_record(store: LayerStore, record: Record) -> None:
    path = store.local(store.record_name(record.layer, record.unit))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(record.to_json())


def simulate(out: str, units: int, unit_size: int) -> None:
    """Write a build whose last block is half done."""
    settings = [f"samples={units * unit_size}", f"unit_size={unit_size}", "engine.kind=inline"]
    config = load_config(None, settings)
    store = LayerStore(out)
    plan = plan_build(config, store, lambda _: None, True)
    store.write_file(BUILD, config.model_dump_json().encode())
    draw = random.Random(0)
    blocks = units // BLOCK
    for layer, folder in open_build(out).layers.items():
        distinct = [
            sum_block((summarize(layer, random_record(plan, folder, unit, draw), plan) for unit in range(BLOCK)), plan)
            for _ in range(DISTINCT)
        ]
        summed = {number: distinct[number % DISTINCT] for number in range(blocks - 1)}
        last = [random_record(plan, folder, unit, draw) for unit in range(units - BLOCK, units - BLOCK // 2)]
        for record in last:
            write_record(store, record)
        recent = latest(commit_of(summarize(layer, record, plan)) for record in last)
        write_summary(store, folder, plan, SummaryFile(summed, BLOCK, blocks, tuple(recent), "simulated"))


def status(out: str) -> dict[str, float]:
    """Run the command in a separate process."""
    command = [sys.executable, "-m", "spatialdata_builder.pipeline.cli", "status", out, "--json"]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    seconds = time.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = json.loads(done.stdout)
    layers = found["layers"].values()
    assert all(layer["done"] == found["units"] - BLOCK // 2 for layer in layers)
    size = sum(file.stat().st_size for file in Path(out, "summaries").iterdir())
    return {
        "units": found["units"],
        "layers": len(layers),
        "accepted": found["accepted"],
        "seconds": seconds,
        "megabytes": used.ru_maxrss / 1e3,
        "summaries_megabytes": size / 1e6,
    }


def reread(unit_size: int) -> float:
    """Seconds per record, when reading record files one by one."""
    with tempfile.TemporaryDirectory() as folder:
        store = LayerStore(folder)
        plan = scenes(store, RECORDS * unit_size, unit_size)
        draw = random.Random(0)
        for unit in range(RECORDS):
            write_record(store, random_record(plan, LAYER, unit, draw))
        began = time.monotonic()
        assert sum(1 for _ in store.records(LAYER)) == RECORDS
        return (time.monotonic() - began) / RECORDS


def keep(unit_size: int) -> float:
    """CPU seconds per unit that the driver spends on the summary, including writing the file."""
    with tempfile.TemporaryDirectory() as folder:
        store = LayerStore(folder)
        plan = scenes(store, 10 * BLOCK * unit_size, unit_size)
        draw = random.Random(0)
        done: list[UnitSummary] = [
            dataclasses.replace(summarize("pair", random_record(plan, LAYER, unit, draw), plan), unit=unit)
            for unit in range(10 * BLOCK)
        ]
        keeper = SummaryKeeper(store, plan, "pair", LAYER)
        began = time.process_time()
        for unit in done:
            keeper.touch(unit.unit)
            keeper.commit(unit)
        return (time.process_time() - began) / len(done)


def lookup(samples: int) -> dict[str, float]:
    """Seconds to find the last key of a plan, and to list the closest keys for a key that is not in it."""
    with tempfile.TemporaryDirectory() as folder:
        plan = scenes(LayerStore(folder), samples, 64)
        key = plan.keys(plan.units - 1)[-1]
        began = time.monotonic()
        find_key(plan, key)
        found = time.monotonic() - began
        began = time.monotonic()
        try:
            find_key(plan, key.replace("0", "", 1) + "x")
        except BadInput:
            return {"keys": samples, "found_seconds": found, "not_found_seconds": time.monotonic() - began}
        raise AssertionError


def scenes(store: LayerStore, samples: int, unit_size: int) -> Plan:
    return write_plan(store, {"samples": samples}, plan_scenes(samples, 0, {"remove": 1.0}, {"train": 1.0}), unit_size)


@click.command()
@click.option("--units", default=1_000_000, show_default=True)
@click.option("--unit-size", default=64, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(units: int, unit_size: int, as_json: bool) -> None:
    """Measure `status` and `why`."""
    with tempfile.TemporaryDirectory() as out:
        simulate(out, units, unit_size)
        found = status(out)
    each = reread(unit_size)
    found["reread_seconds"] = each * found["units"] * found["layers"]
    found["ratio"] = found["reread_seconds"] / found["seconds"]
    found["keeping_microseconds_a_unit"] = 1e6 * keep(unit_size)
    found |= lookup(1_000_000)
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    lines = [
        ("status", f"{found['seconds']:.2f} s, {found['megabytes']:.0f} MB"),
        ("of", f"{found['units']:,} units of {unit_size} in {found['layers']} layers (simulated)"),
        ("summaries", f"{found['summaries_megabytes']:.1f} MB"),
        (
            "reading all records",
            f"{found['reread_seconds']:.0f} s ({1e6 * each:.0f} us each, of {RECORDS:,})",
        ),
        ("ratio", f"{found['ratio']:.0f} x"),
        ("cost in the driver", f"{found['keeping_microseconds_a_unit']:.0f} us of CPU per unit and layer"),
        ("a key of 1,000,000", f"{found['found_seconds']:.2f} s; missing key: {found['not_found_seconds']:.2f} s"),
    ]
    for name, value in lines:
        click.echo(f"{name:<22}{value}")


if __name__ == "__main__":
    main()
