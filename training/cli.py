"""`spatialdata train`: a command for each recipe, and `sample`. Imports what a command needs when it runs.

Under `accelerate launch` or `torchrun` it is started as a module: `accelerate launch -m training.cli spatialdiff ...`.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import click

from ..shards.errors import SpatialdataError
from .registry import RECIPES

_SHOW_EVERY_S: Final = 5.0
_TITLES: Final = {
    "spatialdiff": "Train SpatialDiff (FLUX.1-Kontext with geometry tokens and latent depth).",
    "ildm": "Train I-LDM (image and intrinsics denoised together).",
    "spatialedit": "Train a LoRA of SpatialEdit-16B.",
}


@click.group(name="train", context_settings={"help_option_names": ["-h", "--help"]})
def train() -> None:
    """Train one of the systems on shards; run the same command again to go on after a stop."""


def _command(name: str) -> Callable[..., None]:
    @click.option("--config", "-c", type=click.Path(), help="YAML file; without it, the paper's values.")
    @click.option("--shards", "-s", multiple=True, required=True, metavar="URL", help="Folder of shards; repeatable.")
    @click.option("--out", "-o", required=True, type=click.Path(), help="Folder of the run.")
    @click.option("--preset", default="", help="`tiny`: a small random model that trains on a CPU in a minute.")
    @click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override one key; may be repeated.")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
    def command(
        config: str | None, shards: Sequence[str], out: str, preset: str, overrides: Sequence[str], as_json: bool
    ) -> None:
        from .command import run_train

        on_step = None if as_json else _progress()
        done = run_train(name, shards, out, config=config, preset=preset, overrides=overrides, on_step=on_step)
        if int(os.environ.get("RANK", "0")) == 0:
            _tell(done, as_json)

    return command


for _name in RECIPES:
    train.command(_name, help=_TITLES[_name])(_command(_name))


@train.command()
@click.argument("out", type=click.Path())
@click.option("--shards", "-s", multiple=True, required=True, metavar="URL", help="Folder of shards; repeatable.")
@click.option("--to", default="", help="PNG to write; default: in OUT/samples.")
@click.option("--step", type=int, help="Of the checkpoint; default: the newest.")
@click.option("--count", default=8, show_default=True, type=click.IntRange(1), help="Samples.")
@click.option("--split", default="", help="Of the shards; default: val, or train where there is none.")
@click.option("--seed", default=0, show_default=True, help="Of the noise.")
def sample(out: str, shards: Sequence[str], to: str, step: int | None, count: int, split: str, seed: int) -> None:
    """Write a picture of what the run in OUT has learned: source, target, prediction, depth, a row a sample."""
    from .command import run_sample

    click.echo(run_sample(out, shards, to=to, step=step, count=count, split=split, seed=seed))


def _progress() -> Callable[[Mapping[str, float]], None]:
    """Writes a line to stderr for the first step, and then every few seconds."""
    shown = 0.0

    def show(values: Mapping[str, float]) -> None:
        nonlocal shown
        if time.monotonic() - shown < _SHOW_EVERY_S:
            return
        shown = time.monotonic()
        told = [f"loss {values['loss']:.4f}", f"{values['seconds']:.2f} s a step", f"data {values['waiting']:.0%}"]
        click.echo(f"step {values['step']:.0f}: {', '.join(told)}", err=True)

    return show


def _tell(done: Any, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(done), default=str))
        return
    resumed = f" (went on from step {done.resumed})" if done.resumed else ""
    left_out = f" ({done.left_out:,} of other edits left out)" if done.left_out else ""
    click.echo(f"trained to step {done.step}{resumed} on {done.samples:,} samples{left_out}: {done.checkpoint}")


if __name__ == "__main__":
    try:
        train(prog_name="python -m spatialdata_builder.training.cli")
    except SpatialdataError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
