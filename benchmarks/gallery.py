"""A gallery of many samples: made from the layers of a build and from shards, opened, sorted and filtered in Chromium.

    python benchmarks/gallery.py OUT [--samples 10000] [--scratch DIR] [--no-browser]

OUT is a finished build of a few samples. Their rows are repeated under new keys, in units of 64, until there are
enough, so every sample has the cost of a real one. All files are deleted afterwards: about 9 GB at 256 x 256.
Page times: from navigation until the first tiles are shown with decoded images; from an input event until its result is
painted. The files are in the page cache.
"""

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from spatialdata_builder.pipeline.commands.view import run_gallery
from spatialdata_builder.pipeline.opened import Build, open_build
from spatialdata_builder.pipeline.planning.configurations import BUILD
from spatialdata_builder.pipeline.store.layers import LayerStore, Record
from spatialdata_builder.pipeline.store.plan import PlanRow, write_plan
from spatialdata_builder.shards.index import pack_shard, write_manifest
from spatialdata_builder.shards.layout import shard_name
from spatialdata_builder.shards.reader import read_record, read_samples
from spatialdata_builder.shards.writer import encode_record
from tests.chromium import find_chromium, open_browser

FIRST = """() => [...document.querySelectorAll('.tile img')].filter((image) => {
  const box = image.getBoundingClientRect();
  return box.top < innerHeight && box.bottom > 0 && !(image.complete && image.naturalWidth);
}).length === 0 && document.querySelectorAll('.tile').length > 0 ? performance.now() : 0"""
PAINTED = """() => new Promise((resolve) => {
  const began = performance.now();
  %s;
  requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - began)));
})"""
FILTERS = {
    "one edit": "document.querySelector('.value[data-value=' + spatialdata.set.kinds[0] + ']').click()",
    "text": "const box = document.getElementById('search'); box.value = 'the'; box.dispatchEvent(new Event('input'))",
    "all again": "document.getElementById('clear').click()",
    "sort by a score": "const sort = document.getElementById('sort'); sort.value = sort.options[3].value; "
    "sort.dispatchEvent(new Event('change'))",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--scratch", default=None)
    parser.add_argument("--no-browser", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.scratch, prefix="gallery-") as scratch:
        made = Path(scratch) / "out"
        repeat_build(open_build(arguments.out), LayerStore(str(made)), arguments.samples)
        page = measure("layers", str(made), Path(scratch) / "gallery")
        if not arguments.no_browser:
            browse(page)
        # Nothing is deleted in between: after many deletions, ext4 creates files slowly for a while.
        shards = Path(scratch) / "shards"
        repeat_shards(Path(arguments.out), shards, arguments.samples)
        measure("shards", str(shards), Path(scratch) / "gallery-of-shards")


def measure(what: str, path: str, folder: Path) -> Path:
    """Make the gallery; returns the path of its page."""
    began, cpu = time.monotonic(), time.process_time()
    found = run_gallery(path, str(folder), quiet=True)
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    size = found["bytes"] / found["samples"]
    index = (folder / "data" / "index.js").stat().st_size
    print(
        f"from {what}: {found['samples']} samples, {size / 1e3:.0f} kB of images each: {seconds:.1f} s, "
        f"{found['samples'] / cpu:.0f} samples per CPU second; index {index / 1e6:.1f} MB"
    )
    return folder / "index.html"


def repeat_build(build: Build, store: LayerStore, samples: int) -> None:
    """Write a build of many samples by repeating the rows of a small one."""
    rows = [row for unit in range(build.plan.units) for row in build.plan.rows(unit)]
    columns = {layer: _rows(build, folder) for layer, folder in build.layers.items()}
    held = [row for row in rows if all(row.key in found for found in columns.values())]
    chosen = list(itertools.islice(itertools.cycle(held), samples))
    planned = [PlanRow(f"sample-{index:08d}", row.split, row.spec) for index, row in enumerate(chosen)]
    config = dict(build.plan.config)
    write_plan(store, config, planned, 64, build.plan.seed)
    store.write_file(BUILD, build.config.model_copy(update={"unit_size": 64}).model_dump_json().encode())
    made = open_build(store.url)
    for unit in range(made.plan.units):
        part = range(unit * 64, min(samples, unit * 64 + 64))
        for layer, folder in made.layers.items():
            data = {planned[index].key: columns[layer][chosen[index].key] for index in part}
            store.write(folder, unit, data, Record(unit, folder))


def _rows(build: Build, folder: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for unit in build.store.done_units(folder):
        found |= build.store.read(folder, unit)
    return found


def repeat_shards(out: Path, folder: Path, samples: int) -> None:
    """Write shards of 1,000 samples by repeating the members of a few."""
    held = [sample for tar in sorted(out.glob("shards/full/train/*.tar")) for sample in read_samples(str(tar))]
    count, target = -(-samples // 1000), folder / "full" / "train"
    target.mkdir(parents=True)

    def renamed(part: range) -> Iterator[tuple[str, dict[str, bytes]]]:
        for index in part:
            sample = held[index % len(held)]
            record = read_record(sample.members["json"]).model_copy(update={"key": f"sample-{index:08d}"})
            fields = {
                f"{name}.{sample.extensions[name]}": data for name, data in sample.members.items() if name != "json"
            }
            yield record.key, fields | {"json": encode_record(record)}

    entries = [
        pack_shard(
            str(target),
            shard_name("many", "train", index, count),
            renamed(range(index * 1000, min(samples, index * 1000 + 1000))),
        )
        for index in range(count)
    ]
    members = sorted({*(f"{name}.{end}" for name, end in held[0].extensions.items() if name != "json"), "json"})
    write_manifest(str(target), name="many", recipe="full", split="train", members=members, shards=entries)


def browse(page: Path) -> None:
    if find_chromium() is None:
        print("Chromium is not on PATH: skipping the page measurements")
        return
    with open_browser() as browser:
        first: list[float] = []
        for _ in range(5):
            tab = browser.new_page(viewport={"width": 1400, "height": 900})
            tab.goto(page.as_uri(), wait_until="commit")
            first.append(tab.wait_for_function(FIRST, polling=10).json_value())
            tab.close()
        print(f"first page with all images: {_summary(first)}")
        tab = browser.new_page(viewport={"width": 1400, "height": 900})
        tab.goto(page.as_uri())
        for name, act in FILTERS.items():
            tab.evaluate(PAINTED % act)  # warm up the JavaScript compiler
            times: list[float] = []
            for _ in range(6):
                tab.evaluate(PAINTED % FILTERS["all again"])
                times.append(tab.evaluate(PAINTED % act))
            print(f"{name}: {_summary(times)}")


def _summary(times: list[float]) -> str:
    return f"median {statistics.median(times):.0f} ms, maximum {max(times):.0f} ms"


if __name__ == "__main__":
    main()
