"""Cost of an index of millions of samples: opening, memory, locating a sample, state. Prints figures, or JSON.

    python benchmarks/streaming_index.py --shards 1,100,10000 --samples 1000

Folders have a real manifest and the parquet files of a packed shard, but no tars, since locating a sample (order,
shard, offsets) reads none. All parquet files of a folder are hard links to one file, so that 10,000 shards are created
quickly. `first` is the CPU time per sample while the parquet files are read (in the global order, almost each of the
first thousands of samples is in another shard), `again` when they are in memory. Each size is measured in a fresh
process.
"""

import hashlib
import importlib
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from spatialdata_builder.shards import stream
from spatialdata_builder.shards.index import ShardEntry, pack_shard, parquet_name, write_manifest
from spatialdata_builder.shards.layout import shard_name
from spatialdata_builder.shards.recipes import get_recipe
from spatialdata_builder.shards.streaming.order import make_order
from spatialdata_builder.shards.streaming.places import PlaceTable, open_set
from spatialdata_builder.shards.streaming.steps import Share, steps
from tests.shards.factory import make_sample

BATCH = 16
TOUCHED = 50_000
"""Number of samples to locate in each measurement."""


def make_set(folder: Path, shards: int, samples: int) -> None:
    """A split folder of `shards` x `samples` samples of the recipe spatialdiff, without tars."""
    recipe = get_recipe("spatialdiff")
    folder.mkdir(parents=True)
    members = make_sample("template", side=8)
    chosen = {field: members[field] for field in recipe.fields()}

    def named(i: int) -> tuple[str, dict[str, bytes]]:
        key = f"s-{i:07d}"
        return key, chosen | {"json": chosen["json"].replace(b'"key":"template"', f'"key":"{key}"'.encode())}

    entry = pack_shard(str(folder), "packed-train-00000-of-00001.tar", map(named, range(samples)))
    table = folder / parquet_name(entry.name)
    entries: list[ShardEntry] = []
    for i in range(shards):
        name = shard_name("large", "train", i, shards)
        os.link(table, folder / parquet_name(name))
        entries.append(entry.model_copy(update={"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest()}))
    write_manifest(
        str(folder), name="large", recipe=recipe.name, split="train", members=recipe.fields(), shards=entries
    )


def measure(folder: Path) -> dict[str, Any]:
    importlib.import_module("pyarrow.parquet")  # exclude its import time

    before = _resident()
    began = time.perf_counter()
    opened = stream(folder, "spatialdiff")
    open_s, open_bytes = time.perf_counter() - began, _resident() - before

    set_ = open_set(str(folder), "spatialdiff", "train")
    order = make_order([[shard.samples for shard in set_.shards]], None, "global", 0)
    began = time.process_time()
    drawn = islice(steps(order, Share(BATCH, 0, 1, pad=True), 0, 0, None), TOUCHED // BATCH)
    numbers = [number for step in drawn for number in step.numbers]
    order_s = time.process_time() - began

    table = PlaceTable([set_], ["depth", "json", "source", "target"])
    first_us, again_us = _find(table, numbers), _find(table, numbers)
    return {
        "shards": len(set_.shards),
        "samples": opened.samples,
        "open_s": round(open_s, 3),
        "open_mb": round(open_bytes / 1e6, 1),
        "order_us": round(1e6 * order_s / len(numbers), 2),
        "first_us": round(first_us, 1),
        "again_us": round(again_us, 2),
        "shards_touched": len({table.locate(number)[0] for number in numbers}),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, 1),
        "imports_mb": round(before / 1e6, 1),
        "state_bytes": len(json.dumps(opened.state_dict())),
    }


def _find(table: PlaceTable, numbers: Sequence[int]) -> float:
    """CPU microseconds per sample to get from its number to the locations of its members."""
    began = time.process_time()
    for number in numbers:
        shard, row = table.locate(number)
        table.places(shard)[row].T.tolist()
    return 1e6 * (time.process_time() - began) / len(numbers)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


@click.command()
@click.option("--shards", default="1,100,10000", show_default=True, help="Numbers of shards to try.")
@click.option("--samples", default=1000, show_default=True, help="In each shard.")
@click.option("--json", "as_json", is_flag=True)
def main(shards: str, samples: int, as_json: bool) -> None:
    """Measure datasets of several sizes."""
    found: list[dict[str, Any]] = []
    for count in (int(text) for text in shards.split(",")):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "train"
            make_set(folder, count, samples)
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found.append(pool.apply(measure, (folder,)))
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    for row in found:
        click.echo(f"{row['shards']} shards, {row['samples']} samples: " + ", ".join(_figures(row)))


def _figures(row: dict[str, Any]) -> list[str]:
    return [
        f"open {row['open_s']:.2f} s",
        f"order {row['order_us']:.1f} us per sample",
        f"locations {row['again_us']:.1f} us (first {row['first_us']:.0f} us, {row['shards_touched']} shards)",
        f"peak memory {row['peak_mb']:.0f} MB, of which {row['imports_mb']:.0f} MB before opening",
        f"state {row['state_bytes']} bytes",
    ]


if __name__ == "__main__":
    main()
