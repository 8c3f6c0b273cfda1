"""How the law of time steps changes what SpatialDiff learns: the loss by time after overfitting eight samples.

`python benchmarks/time_steps.py SHARDS ... [--steps 400]`

Trains the preset `tiny` on the first eight samples of a set twice from the same weights: with the time steps of UNO,
the default (uniform, shifted by FLUX's rule, text dropout 0.1, warmup 100), and logit-normal without shift, dropout and
warmup. Then measures the loss of the same samples at fixed times, with noise that was not trained on, and prints it
with the ratio. Times near 1 decide the layout of an image.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from spatialdata_builder.shards import stream
from spatialdata_builder.training.recipe import StepRng
from spatialdata_builder.training.spatialdiff.options import TINY_RECIPE, SpatialDiffOptions
from spatialdata_builder.training.spatialdiff.recipe import SpatialDiff

LAWS: dict[str, tuple[dict[str, Any], int]] = {
    "logit-normal": ({"times": "logit_normal", "time_shift": 1.0, "text_drop": 0.0}, 0),
    "UNO": ({}, 100),
}
"""Options of the recipe, and steps of warmup."""
TIMES = (0.1, 0.3, 0.5, 0.7, 0.9, 0.97)
SAMPLES, RATE, EVALUATIONS = 8, 5e-3, 8


def losses_by_time(shards: list[str], options: dict[str, Any], warmup: int, steps: int) -> list[float]:
    recipe = SpatialDiff(SpatialDiffOptions.model_validate({**TINY_RECIPE, **options}))
    batch = next(stream(shards, "spatialdiff", order="stored", **recipe.stream_options).batches(SAMPLES))
    recipe.see(lambda count: batch)
    module = recipe.build(torch.device("cpu"), torch.float32)
    parameters = [value for value in module.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(parameters, RATE)
    keys = tuple(batch["key"])
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = RATE * min(1, (step + 1) / max(1, warmup))
        module(recipe.prepare(batch, StepRng(0, step, keys)))["loss"].mean().backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        return [
            torch.stack(
                [
                    module(recipe.prepare(batch, StepRng(1, number, keys, time)))["flow"].mean()
                    for number in range(EVALUATIONS)
                ]
            )
            .mean()
            .item()
            for time in TIMES
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", nargs="+", help="folders of shards with source, target and depth")
    parser.add_argument("--steps", type=int, default=400)
    arguments = parser.parse_args()
    found = {name: losses_by_time(arguments.shards, *law, arguments.steps) for name, law in LAWS.items()}
    print(f"{'t':>5} " + " ".join(f"{name:>13}" for name in found) + f" {'UNO / logit-normal':>19}")
    for row, time in enumerate(TIMES):
        values = [losses[row] for losses in found.values()]
        print(f"{time:>5} " + " ".join(f"{value:>13.4f}" for value in values) + f" {values[1] / values[0]:>19.2f}")


if __name__ == "__main__":
    main()
