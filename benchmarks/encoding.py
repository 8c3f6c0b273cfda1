"""Time to prepare a batch of each recipe's tiny models: encoded one by one, in common calls, and from the cache.

    python benchmarks/encoding.py --batch 4 --side 64 --repeats 20

Prints medians of `prepare` in milliseconds and their ratios to encoding one by one, all measured in turns in one run on
one CPU thread. `step` is the forward and backward pass of the same batch, `read ahead` is what is left of `prepare` if
the entries were read while a step ran. Disk reads come from the page cache. Absolute times mean little on a shared
machine; compare the columns of one run.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from spatialdata_builder.training.caches import CacheSpec, TensorCache
from spatialdata_builder.training.command import read_run
from spatialdata_builder.training.data import first_batch, open_batches
from spatialdata_builder.training.recipe import Batch, StepRng
from tests.shards.factory import make_sample, make_split

CPU = torch.device("cpu")
WAYS = ("one by one", "together", "cached", "read ahead")


def built(name: str, shards: str, side: int, size: int, cache: str = "") -> tuple[Any, Any, Batch]:
    """A recipe with its module, and a batch."""
    settings = {
        "ildm": ["recipe.views=[source, target]"],
        "spatialdiff": [f"recipe.width={side}", f"recipe.height={side}"],
        "spatialedit": [f"recipe.side={side}"],
    }
    overrides = [*settings[name], "recipe.text_drop=0", f"recipe.cache='{cache}'"]
    recipe, config = read_run(name, preset="tiny", overrides=overrides)
    batch = first_batch(open_batches(recipe, config, shards), size)
    return recipe, recipe.build(CPU, torch.float32), batch


def seconds(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def measure(name: str, shards: str, side: int, size: int, repeats: int) -> Mapping[str, float]:
    """Medians in milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        recipe, module, batch = built(name, shards, side, size)
        cached, _, _ = built(name, shards, side, size, folder)
        rng = StepRng(0, 0, tuple(batch["key"]))
        plain_each = TensorCache.each

        def each_alone(self: TensorCache, contents: Any, spec: CacheSpec, make: Any) -> Any:
            return plain_each(self, contents, replace(spec, rows=1), make)

        def one_by_one() -> None:
            TensorCache.each = each_alone
            try:
                recipe.prepare(batch, rng)
            finally:
                TensorCache.each = plain_each

        def step() -> None:
            module(recipe.prepare(batch, rng))["loss"].mean().backward()

        def read_ahead() -> float:
            cached.prefetch(batch)
            return seconds(lambda: cached.prepare(batch, rng))

        found: dict[str, list[float]] = {way: [] for way in (*WAYS, "step")}
        for _ in range(repeats + 1):
            found["one by one"].append(seconds(one_by_one))
            found["together"].append(seconds(lambda: recipe.prepare(batch, rng)))
            found["cached"].append(seconds(lambda: cached.prepare(batch, rng)))
            found["read ahead"].append(read_ahead())
            found["step"].append(seconds(step) - found["together"][-1])
        return {way: 1e3 * statistics.median(times[1:]) for way, times in found.items()}


@click.command(help=__doc__)
@click.option("--batch", "size", default=4, show_default=True)
@click.option("--side", default=64, show_default=True)
@click.option("--repeats", default=20, show_default=True)
def main(size: int, side: int, repeats: int) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        keys = [f"s-{number}" for number in range(size)]
        make_split(folder, [keys], changes={key: make_sample(key, side=side) for key in keys})
        for name in ("ildm", "spatialdiff", "spatialedit"):
            found = measure(name, folder, side, size, repeats)
            parts = [f"{way} {found[way]:.1f} ms ({found[way] / found[WAYS[0]]:.2f})" for way in WAYS]
            print(f"{name}: {', '.join(parts)}; step {found['step']:.1f} ms", flush=True)


if __name__ == "__main__":
    main()
