"""The audit of a build: compares each estimated map with the renderer's exact map of the same image.

Invariant: every map has its own row in `OUT/audit/audit.csv`, from which users choose samples to reject. Layers are
read unit by unit; only the figures of each map (4 bytes per figure) and the names of the worst maps are kept.

A build of exact maps is compared with itself: perfect, except for the rounding of stored depth.
"""

import csv
import os
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeVar

import numpy as np
from rich.box import SIMPLE
from rich.progress import track
from rich.table import Table

from ....annotators.agreement import METRICS, NotComparable
from ....annotators.estimated import ViewName
from ....shards.codecs import CodecError
from ....shards.errors import BadInput
from ....shards.layout import join
from ....shards.sample import Columns
from ....shards.schema import PairFacts
from ....shards.stage import member_views
from ...config import LAYERS
from ...opened import Build, open_build
from ...terminal import terminal
from .map_pairs import AUDITED, PRIMARY, Estimate, Scene, exact_columns, figures, is_worse
from .pictures import draw_sheet

TABLE: Final = "audit/audit.csv"
COMPARED, WITHOUT_EXACT, DAMAGED = "compared", "without exact map", "damaged map"
NAMED: Final = 20
"""Samples without exact maps that a report lists by key; the table has all of them."""
VIEWS: Final[tuple[ViewName, ...]] = ("source", "target")

Item = TypeVar("Item")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Finding:
    """Result for one map."""

    unit: int
    key: str
    view: ViewName
    layer: str
    estimator: str
    revision: str
    state: str
    """`compared`, or the reason why not."""
    figures: Mapping[str, float] = field(default_factory=dict[str, float])
    is_exact: bool = False
    """Whether the map is the exact map itself."""

    @property
    def badness(self) -> tuple[float, str, str]:
        """Sort key: the worst map of a layer comes first."""
        primary = PRIMARY[self.layer]
        return -is_worse(primary, self.figures[primary]), self.key, self.view


@dataclass
class _Tally:
    """Statistics of the findings of a layer."""

    keep: int
    """Number of worst maps to keep."""
    values: "dict[str, array[float]]" = field(default_factory=dict[str, Any])
    worst: dict[str, Finding] = field(default_factory=dict[str, Finding])
    """The worst finding by metric."""
    worst_maps: list[Finding] = field(default_factory=list[Finding])
    estimators: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    states: Counter[str] = field(default_factory=Counter[str])
    without_exact: list[str] = field(default_factory=list[str])
    estimated: int = 0

    def add(self, finding: Finding) -> None:
        self.states[finding.state] += 1
        self.estimated += not finding.is_exact
        if finding.state == WITHOUT_EXACT and finding.key not in self.without_exact[-1:]:
            self.without_exact += [finding.key] if len(self.without_exact) < NAMED else []
        self.estimators[finding.estimator, finding.revision] += 1
        if finding.state != COMPARED:
            return
        for metric, value in finding.figures.items():
            self.values.setdefault(metric, array("f")).append(value)
            worst = self.worst.get(metric)
            if worst is None or is_worse(metric, value) > is_worse(metric, worst.figures[metric]):
                self.worst[metric] = finding
        self.worst_maps = sorted([*self.worst_maps, finding], key=lambda other: other.badness)[: self.keep]

    def summary(self, folder: str) -> dict[str, Any]:
        others = {
            state: count for state, count in sorted(self.states.items()) if state not in (COMPARED, WITHOUT_EXACT)
        }
        return {
            "folder": folder,
            "exact": not self.estimated and self.states[COMPARED] > 0,
            "maps": self.states[COMPARED],
            "without_exact": self.states[WITHOUT_EXACT],
            "without_exact_keys": self.without_exact,
            "not_compared": others,
            "estimators": [
                {"estimator": estimator, "revision": revision, "maps": count}
                for (estimator, revision), count in sorted(self.estimators.items())
            ],
            "metrics": {metric: self._metric(metric) for metric in METRICS if metric in self.values},
        }

    def _metric(self, metric: str) -> dict[str, Any]:
        values, worst = np.frombuffer(self.values[metric], np.float32), self.worst[metric]
        return {
            "mean": float(values.mean(dtype=np.float64)),
            "median": float(np.median(values)),
            "worst": worst.figures[metric],
            "worst_key": worst.key,
            "worst_view": worst.view,
            "better": METRICS[metric].better,
            "unit": METRICS[metric].unit,
        }


def run_audit(out: str, *, pictures: str = "", worst: int = 12, limit: int = 0, quiet: bool = False) -> dict[str, Any]:
    """Compare every estimated map of a build with the exact one. Returns figures by layer, writes `audit/audit.csv`.

    Works while a build runs, on committed units.

    Args:
        pictures: local folder for one sheet per layer, `<layer>.png`, of its worst maps.
        worst: maps per sheet.
        limit: maximum number of samples, from units spread evenly over the plan; 0: all.

    Raises BadInput if there is no build, none of its layers has maps, or `pictures` cannot be a folder.
    """
    build = open_build(out)
    auditor = _Auditor(build)
    folder = _picture_folder(pictures)
    tallies = {layer: _Tally(worst) for layer in auditor.layers}
    samples = 0
    with TemporaryDirectory(dir=build.store.workplace(), prefix=".audit-", suffix=".tmp") as place:
        table = Path(place) / "audit.csv"
        with table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("key", "view", "layer", "estimator", "revision", "state", *METRICS))
            for count, findings in auditor.run(limit, quiet):
                samples += count
                for finding in findings:
                    tallies[finding.layer].add(finding)
                    writer.writerow(_cells(finding))
        build.store.publish_file(TABLE, table)
    layers = {layer: tally.summary(build.layers[layer]) for layer, tally in tallies.items()}
    chosen = {layer: tally.worst_maps for layer, tally in tallies.items() if tally.worst_maps}
    drawn = [str(auditor.draw(found, folder / f"{layer}.png")) for layer, found in chosen.items()] if folder else []
    table_url = join(build.store.url, TABLE)
    own = {"own": auditor.own()} if auditor.has_own else {}
    return {"out": str(build.store), "samples": samples, "layers": layers, "table": table_url, "pictures": drawn, **own}


class _Auditor:
    """Reads the layers of one build."""

    def __init__(self, build: Build) -> None:
        self._build = build
        stages = {stage.layer: stage for stage in build.stages}
        self.layers = [layer for layer in AUDITED if layer in stages]
        if not self.layers:
            raise BadInput(f"{build.store} has no layer with maps ({', '.join(AUDITED)}): add one to `layers`")
        self._views = {layer: member_views(stages[layer]) for layer in self.layers}
        own = [layer for layer in stages if layer not in LAYERS]
        self._own = {layer: build.store.done_units(build.layers[layer]) for layer in own}
        self._done = {layer: set(build.store.done_units(build.layers[layer])) for layer in ("pair", *self.layers)}

    @property
    def has_own(self) -> bool:
        """Whether the build has a user's own layers."""
        return bool(self._own)

    def own(self) -> dict[str, Any]:
        """For each of the user's own layers: the type of its member, its folder, and its committed samples."""
        store, folders = self._build.store, self._build.layers
        return {
            stage.layer: {
                "type": stage.member,
                "folder": folders[stage.layer],
                "samples": sum(store.record(folders[stage.layer], unit).rows for unit in self._own[stage.layer]),
            }
            for stage in self._build.stages
            if stage.layer in self._own
        }

    def run(self, limit: int, quiet: bool) -> Iterator[tuple[int, list[Finding]]]:
        """Number of samples and findings of each unit, in plan order."""
        units = sorted(unit for unit in self._done["pair"] if any(unit in self._done[layer] for layer in self.layers))
        size = self._build.plan.unit_size
        if limit and limit < len(units) * size:
            places = np.linspace(0, len(units) - 1, min(len(units), -(-limit // size)))
            units = [units[place] for place in np.rint(places).astype(int)]
        left = limit or len(units) * size
        progress = terminal(stderr=True)
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
            results = _in_order(
                threads, self._unit, [(unit, min(size, left - size * n)) for n, unit in enumerate(units)]
            )
            yield from track(results, "auditing units", len(units), console=progress, transient=True, disable=quiet)

    def _unit(self, job: tuple[int, int]) -> tuple[int, list[Finding]]:
        unit, limit = job
        pairs, rows = self._read(unit, self.layers, ())
        findings: list[Finding] = []
        keys = list(islice(pairs, limit))
        for key in keys:
            facts = PairFacts.model_validate_json(str(pairs[key]["facts"]))
            for view in VIEWS:
                scene = Scene(pairs[key], facts, view)
                chosen = [layer for layer in rows if key in rows[layer] and view in self._views[layer]]
                findings += [_examine(unit, key, scene, Estimate.of(layer, rows[layer][key], view)) for layer in chosen]
        return len(keys), findings

    def _read(
        self, unit: int, layers: Sequence[str], more: Sequence[str]
    ) -> tuple[dict[str, Any], dict[str, dict[str, Columns]]]:
        """Rows of layer `pair` (with `more` columns), and of each layer in `layers`, by key."""
        store, folders = self._build.store, self._build.layers
        wanted = {column for layer in layers for view in self._views[layer] for column in exact_columns(layer, view)}
        pairs = store.read(folders["pair"], unit, ["facts", *sorted(wanted), *more])
        rows: dict[str, dict[str, Columns]] = {}
        for layer in layers:
            if unit in self._done[layer]:
                members = [layer if view == "target" else f"source_{layer}" for view in self._views[layer]]
                rows[layer] = {**store.read(folders[layer], unit, ["maps", *members])}
        return pairs, rows

    def draw(self, findings: Sequence[Finding], path: Path) -> Path:
        """Draw a sheet of maps of one layer, reading them one by one."""
        draw_sheet(path, findings[0].layer, map(self._pictured, findings))
        return path

    def _pictured(self, finding: Finding) -> tuple[Scene, Estimate, str]:
        pairs, rows = self._read(finding.unit, [finding.layer], VIEWS)
        pair = pairs[finding.key]
        scene = Scene(pair, PairFacts.model_validate_json(str(pair["facts"])), finding.view)
        primary = PRIMARY[finding.layer]
        caption = f"{finding.key}  {finding.view}  {primary} {finding.figures[primary]:.4g}{METRICS[primary].unit}"
        return scene, Estimate.of(finding.layer, rows[finding.layer][finding.key], finding.view), caption


def _examine(unit: int, key: str, scene: Scene, estimate: Estimate) -> Finding:
    layer, info = estimate.layer, estimate.info
    measured: Mapping[str, float] = {}
    try:
        exact = scene.exact(layer)
        state = WITHOUT_EXACT if exact is None else COMPARED
        if exact is not None:
            measured = figures(layer, exact, estimate.decode())
    except NotComparable as error:
        state = str(error)
    except CodecError:
        state = DAMAGED
    return Finding(unit, key, scene.view, layer, info.estimator, info.revision, state, measured, scene.is_own(info))


def _cells(finding: Finding) -> list[str]:
    measured = [f"{finding.figures[metric]:.6g}" if metric in finding.figures else "" for metric in METRICS]
    names = [finding.key, finding.view, finding.layer, finding.estimator, finding.revision, finding.state]
    return [*names, *measured]


def _in_order(
    threads: ThreadPoolExecutor, function: Callable[[Item], Value], items: Iterable[Item], ahead: int = 16
) -> Iterator[Value]:
    """Like `map`, with at most `ahead` results waiting."""
    waiting: deque[Future[Value]] = deque()
    for item in items:
        waiting.append(threads.submit(function, item))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _picture_folder(pictures: str) -> Path | None:
    if not pictures:
        return None
    folder = Path(pictures).expanduser()
    if "://" in pictures or (folder.exists() and not folder.is_dir()):
        raise BadInput(f"--pictures {pictures}: give a folder on this machine")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def print_audit(found: dict[str, Any]) -> None:
    """Print the result of `run_audit` as a table."""
    console = terminal()
    table = Table(box=SIMPLE)
    for name in ("layer", "metric", "mean", "median", "worst"):
        table.add_column(name, no_wrap=True, justify="left" if name in ("layer", "metric") else "right")
    table.add_column("worst sample", overflow="fold")
    for layer, values in found["layers"].items():
        if values["exact"]:
            metric = PRIMARY[layer]
            arrow = "↓" if METRICS[metric].better == "lower" else "↑"
            table.add_row(layer, f"{metric} {arrow}", "exact", "", "", "maps of the renderer")
            table.add_section()
            continue
        for number, (metric, figure) in enumerate(values["metrics"].items()):
            arrow = "↓" if figure["better"] == "lower" else "↑"
            numbers = [f"{figure[name]:.3g}{figure['unit']}" for name in ("mean", "median", "worst")]
            sample = f"{figure['worst_key']} {figure['worst_view']}"
            table.add_row("" if number else layer, f"{metric} {arrow}", *numbers, sample)
        table.add_section()
    console.print(table)
    for line in _remarks(found):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _remarks(found: dict[str, Any]) -> Iterator[str]:
    for layer, values in found["layers"].items():
        counts = [f"{entry['maps']} by {entry['estimator']} {entry['revision']}" for entry in values["estimators"]]
        yield f"{layer}: {values['maps']} maps compared; {', '.join(counts) or 'no maps'}"
        if values["without_exact"]:
            keys = values["without_exact_keys"]
            named = ", ".join(keys[:3]) + (" ..." if len(keys) > 3 else "")
            yield f"{layer}: {values['without_exact']} without exact maps: {named}"
        for reason, count in values["not_compared"].items():
            yield f"{layer}: {count} not compared: {reason}"
    for layer, values in found.get("own", {}).items():
        what = f"{values['samples']} samples with a member of type {values['type']}" if values["type"] else "no member"
        yield f"{layer}: {what}; there is no exact map to compare with"
    yield f"{found['samples']} samples; every map is a row of {found['table']}"
    for picture in found["pictures"]:
        yield f"worst maps: {picture}"
