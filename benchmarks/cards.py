"""Cost of commands that read every sample without its pixels, on an existing build: `shard --licenses`, `card`, `diff`,
and the funnel page.

    python benchmarks/cards.py OUT [--recipe full] [--repeat 5]

Prints CPU time per sample, extrapolated to 500,000 samples on one core. Small units cost more, since the file of each
unit is opened.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from spatialdata_builder.pipeline.opened import Build, open_build
from spatialdata_builder.pipeline.packing.license_filter import find_unlicensed
from spatialdata_builder.pipeline.report.card.facts import gather
from spatialdata_builder.pipeline.report.census import take_census
from spatialdata_builder.pipeline.report.diff.verdicts import scores_of, verdicts_of
from spatialdata_builder.pipeline.report.gallery.funnel_page import facts_of_build, facts_of_shards, page
from spatialdata_builder.shards.layout import join

LARGE = 500_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--recipe", default="full")
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    build = open_build(arguments.out)
    folder = join(build.store.url, "shards", arguments.recipe)
    planned, packed = build.plan.samples, take_census(folder).samples
    print(f"{planned} samples in units of {build.plan.unit_size}, {packed} in shards: CPU")

    def measure(name: str, work: Callable[[], object], samples: int) -> None:
        work()
        start = time.process_time()
        for _ in range(arguments.repeat):
            work()
        each = (time.process_time() - start) / arguments.repeat / samples
        print(f"  {name:<34} {each * 1e6:7.0f} us per sample {each * LARGE:6.0f} s for {LARGE:,}")

    measure("licenses of the visible models", lambda: _licenses(build), planned)
    measure("census of the shards' records", lambda: take_census(folder), packed)
    measure("content of a card", lambda: gather(build, arguments.recipe), packed)
    measure("funnel page of a build", lambda: page(facts_of_build(arguments.out)), planned)
    measure("funnel page of its shards", lambda: page(facts_of_shards(folder)), packed)
    measure("verdicts and scores of one build", lambda: (verdicts_of(build), scores_of(build)), planned)


def _licenses(build: Build) -> object:
    return find_unlicensed(build.store, build.plan, build.layers["pair"], ("cc0",))


if __name__ == "__main__":
    main()
