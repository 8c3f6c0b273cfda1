"""Evaluate the predictions of editors on a benchmark set."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.box import SIMPLE
from rich.progress import Progress
from rich.table import Table

from ...evaluation.benchmarks import read_benchmark
from ...evaluation.evaluate import Images, Item, evaluate
from ...evaluation.metrics.metric import METRICS, Metric
from ...evaluation.predictions import read_predictions
from ...evaluation.report import Pictures, check_place, number, write_page, write_tables
from ...evaluation.truth import Truth
from ..engine.progress_table import duration, plural
from ..terminal import say, terminal

_SHOWN: Final = 3
"""Names of files that the summary shows."""


def run_evaluate(bench: str, folders: Sequence[str], out: str, *, quiet: bool = False) -> dict[str, Any]:
    """Judge the predictions in `folders` (of one editor, or of two to compare) and write the report to `out`.

    Returns the content of `report.json`, without the values of each key. Raises BadInput if the set or the predictions
    do not fit, or `out` has other content.
    """
    began, place = time.monotonic(), Path(out).expanduser()
    check_place(place)
    benchmark = read_benchmark(bench)
    editors = [read_predictions(folder, benchmark) for folder in folders]
    place.mkdir(parents=True, exist_ok=True)
    pictures, console = Pictures(place), terminal(stderr=True)
    with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task("judging", total=len(benchmark.keys))

        def done(truth: Truth, item: Item, images: Images) -> None:
            pictures.add(truth, item, images)
            progress.advance(task)

        found = evaluate(benchmark, editors, done=done)
    content = write_tables(found, place)
    write_page(found, pictures.keys(), place)
    del content["keys"]
    return content | {"out": str(place), "seconds": round(time.monotonic() - began, 3)}


def print_evaluate(found: dict[str, Any]) -> None:
    """Print the result of `run_evaluate`: the table of all samples, and what is not in it."""
    editors = found["editors"]
    table = Table(box=SIMPLE)
    table.add_column("metric", no_wrap=True)
    for name in ("copy", *(editor["editor"] for editor in editors), "oracle", "normalized"):
        table.add_column(name, justify="right", no_wrap=True)
    cells = [editor["groups"]["all"]["all"] for editor in editors]
    for name, first in cells[0].items():
        metric = METRICS[name]
        share = ", ".join(f"{each[name]['normalized'] + 0.0:.2f}" for each in cells if "normalized" in each[name])
        copy, oracle = (number(metric, first[end]) for end in ("copy", "oracle"))
        table.add_row(_named(metric), copy, *(_interval(metric, each[name]) for each in cells), oracle, share)
    console = terminal()
    # A pipe has no width: 80 columns would cut the intervals.
    console.width = max(console.width, 80 if console.is_terminal else 160)
    console.print(table)
    for editor in editors:
        _print_failures(editor)
    say(f"absent: {', '.join(found['absent'])} (the report says why)")
    say(f"{plural(found['benchmark']['samples'], 'sample')} in {duration(found['seconds'])}: {found['out']}/index.html")


def _named(metric: Metric) -> str:
    unit = f" {metric.unit}" if metric.unit else ""
    return f"{metric.name}{unit} {'↑' if metric.better == 'higher' else '↓'}"


def _interval(metric: Metric, cell: dict[str, Any]) -> str:
    mean = cell["failures_worst"]
    shown = [number(metric, mean[part]) for part in ("mean", "low", "high")]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"


def _print_failures(editor: dict[str, Any]) -> None:
    for reason, count in editor["failures"].items():
        say(f"{editor['editor']}: {count} {reason}, counted as the worst score")
    if editor["resized"]:
        say(f"{editor['editor']}: {plural(editor['resized'], 'image')} resized to the target's size")
    if editor["extra"]:
        named = ", ".join(editor["extra_files"][:_SHOWN])
        say(f"{editor['editor']}: {plural(editor['extra'], 'image')} of no sample of the set ignored ({named})")
