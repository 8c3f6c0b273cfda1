"""`spatialdata train`: one command per recipe, and `sample`. Heavy packages are imported when a command runs.

With `accelerate launch` or `torchrun`, start it as a module:
`accelerate launch -m spatialdata_builder.training.cli spatialdiff ...`.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import click

from ..shards.errors import BadInput, SpatialdataError, Stopped
from .registry import RECIPES
from .stop import exit_code

_PROGRESS_EVERY_S: Final = 5.0
_TITLES: Final = {
    "spatialdiff": "FLUX.1-Kontext with geometry tokens.",
    "ildm": "Images together with their intrinsics.",
    "spatialedit": "LoRA on JoyAI-Image-Edit.",
    "spatialfusion": "Depth of the target, then the edit.",
}


@click.group(name="train", context_settings={"help_option_names": ["-h", "--help"]})
def train() -> None:
    """Train a model on shards. Rerun the same command to resume a stopped run."""


def _command(name: str) -> Callable[..., None]:
    @click.option("--config", "-c", type=click.Path(), help="YAML file. Default: the recipe's values.")
    @click.option("--shards", "-s", multiple=True, required=True, metavar="URL", help="Folder of shards. Repeatable.")
    @click.option("--out", "-o", required=True, type=click.Path(), help="Folder of the run.")
    @click.option("--preset", default="", help="`tiny`: a small random model that trains on a CPU in about a minute.")
    @click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override one key. Repeatable.")
    @click.option("--push", default="", metavar="REPO", help="Upload the result to this model repository of the hub.")
    @click.option("--encode-only", is_flag=True, help="Encode all samples into recipe.cache, and do not train.")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
    def command(
        config: str | None,
        shards: Sequence[str],
        out: str,
        preset: str,
        overrides: Sequence[str],
        encode_only: bool,
        push: str,
        as_json: bool,
    ) -> None:
        from .command import run_encode, run_train

        if encode_only:
            on_progress = None if as_json else _encode_progress()
            found = run_encode(
                name, shards, out, config=config, preset=preset, overrides=overrides, on_progress=on_progress
            )
            if int(os.environ.get("RANK", "0")) == 0:
                _print_encoded(found, as_json)
            return
        on_step = None if as_json else _progress()
        done = run_train(name, shards, out, config=config, preset=preset, overrides=overrides, on_step=on_step)
        if int(os.environ.get("RANK", "0")) == 0:
            _print_summary(done, as_json)
            if push and not done.stopped:
                _push(out, push, shards, as_json=as_json)
        if code := exit_code(done.stopped):
            sys.exit(code)

    return command


for _name in RECIPES:
    train.command(_name, help=_TITLES[_name])(_command(_name))


@train.command()
@click.argument("out", type=click.Path())
@click.option("--shards", "-s", multiple=True, required=True, metavar="URL", help="Folder of shards. Repeatable.")
@click.option("--to", default="", help="PNG to write. Default: a file in OUT/samples.")
@click.option("--step", type=int, help="Step of the checkpoint. Default: the newest.")
@click.option("--count", default=8, show_default=True, type=click.IntRange(1), help="Number of samples.")
@click.option("--split", default="", help="Split of the shards. Default: that of the run's validation, val.")
@click.option("--seed", default=0, show_default=True, help="Seed of the noise.")
def sample(out: str, shards: Sequence[str], to: str, step: int | None, count: int, split: str, seed: int) -> None:
    """Write an image of predictions of the run in OUT.

    It has one row per sample: source, target, prediction, depth.
    """
    from .command import run_sample

    click.echo(run_sample(out, shards, to=to, step=step, count=count, split=split, seed=seed))


@train.command(name="push")
@click.argument("out", type=click.Path())
@click.argument("repository", metavar="REPO")
@click.option("--shards", "-s", multiple=True, required=True, metavar="URL", help="Folder of shards. Repeatable.")
@click.option("--step", type=int, help="Step of the checkpoint. Default: the newest.")
@click.option("--private", is_flag=True, help="Make a new repository private.")
def push_run(out: str, repository: str, shards: Sequence[str], step: int | None, private: bool) -> None:
    """Upload the weights of the run in OUT to the hub, with a model card."""
    _push(out, repository, shards, step=step, private=private)


def _push(out: str, repository: str, shards: Sequence[str], *, as_json: bool = False, **options: Any) -> None:
    from .card import push

    click.echo(push(out, repository, shards, **options), err=as_json)


def _progress() -> Callable[[Mapping[str, float]], None]:
    """A callback that prints one line to stderr for the first step, and then every few seconds."""
    printed = 0.0

    def report(values: Mapping[str, float]) -> None:
        nonlocal printed
        if time.monotonic() - printed < _PROGRESS_EVERY_S:
            return
        printed = time.monotonic()
        parts = [
            f"loss {values['loss']:.4f}",
            f"{values['seconds']:.2f} s per step",
            f"waiting for data {values['waiting']:.0%}",
        ]
        click.echo(f"step {values['step']:.0f}: {', '.join(parts)}", err=True)

    return report


def _encode_progress() -> Callable[[int, int], None]:
    """A callback that prints one line to stderr every few seconds."""
    printed = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal printed
        if time.monotonic() - printed >= _PROGRESS_EVERY_S:
            printed = time.monotonic()
            click.echo(f"encoded {done:,} of {total:,} samples of this process", err=True)

    return report


def _print_encoded(found: Any, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(found)))
        return
    click.echo(
        f"{found.samples:,} samples: {found.encoded:,} entries encoded ({found.bytes / 1e6:,.1f} MB), {found.cached:,} "
        "already cached"
    )
    if found.evicted:
        click.echo(
            f"{found.evicted:,} entries were removed, since the cache is full: raise recipe.cache_bytes if they are "
            "of this run",
            err=True,
        )


def _print_summary(done: Any, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(done), default=str))
        return
    resumed = f" (resumed from step {done.resumed})" if done.resumed else ""
    left_out = f" ({done.left_out:,} samples with other edits left out)" if done.left_out else ""
    click.echo(f"trained to step {done.step}{resumed} on {done.samples:,} samples{left_out}: {done.checkpoint}")
    if done.stopped:
        click.echo(f"stopped by {done.stopped} before the last step: rerun the command to resume", err=True)


def _main() -> None:
    """The command as a module. Only the first process prints what all of them know."""
    message, code = "", 0
    try:
        train(prog_name="python -m spatialdata_builder.training.cli", standalone_mode=False)
    except click.ClickException as error:
        message, code = f"error: {error.format_message()}", error.exit_code
    except Stopped as error:
        message, code = str(error), error.exit_code
    except SpatialdataError as error:
        message, code = f"error: {error}", error.exit_code
    except KeyboardInterrupt:
        message, code = "stopped: nothing saved yet; rerun the command to start again", Stopped.exit_code
    if message and (code not in (BadInput.exit_code, Stopped.exit_code) or int(os.environ.get("RANK", "0")) == 0):
        click.echo(message, err=True)
    sys.exit(code)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _main()
