"""Run an editor on a benchmark set."""

import time
from dataclasses import asdict
from typing import Any, Final

from ...evaluation.benchmarks import read_benchmark
from ...evaluation.editing import run_editor
from ...evaluation.editors.registry import open_editor
from ..engine.progress_table import duration, plural
from ..terminal import say

_EVERY_S: Final = 10.0
"""Seconds between lines of progress."""
_SHOWN: Final = 5
"""Errors that the summary shows."""


def run_edit(
    folder: str, editor: str, out: str, *, seed: int, workers: int, timeout_s: float, retry: bool, quiet: bool
) -> dict[str, Any]:
    """Edit the samples of the benchmark set in `folder` that `out` lacks. Raises what `run_editor` does."""
    benchmark = read_benchmark(folder)
    benchmark.verify()
    opened = open_editor(editor, benchmark, timeout_s=timeout_s)
    last = time.monotonic()

    def progress(done: int, failed: int, total: int) -> None:
        nonlocal last
        if not quiet and time.monotonic() - last > _EVERY_S:
            last = time.monotonic()
            say(f"{done}/{total} samples, {failed} failed", err=True)

    found = run_editor(benchmark, opened, out, seed=seed, workers=workers, retry=retry, progress=progress)
    return {
        "benchmark": benchmark.name,
        "digest": benchmark.digest,
        "editor": opened.description,
        "seed": seed,
        "out": out,
        "complete": found.complete,
        **asdict(found),
    }


def print_edit(found: dict[str, Any]) -> None:
    kept = f", {found['kept']:,} were there before" if found["kept"] else ""
    say(f"{plural(found['edited'], 'sample')} edited by {found['editor']} in {duration(found['seconds'])}{kept}")
    errors = found["errors"]
    for key, error in list(errors.items())[:_SHOWN]:
        say(f"  {key}: {error}")
    if errors:
        more = f", {_SHOWN} of them above" if len(errors) > _SHOWN else ""
        say(
            f"{plural(len(errors), 'sample')} failed{more}: all are in {found['out']}/errors.jsonl; --retry tries again"
        )
    say(f"predictions: {found['out']}")
