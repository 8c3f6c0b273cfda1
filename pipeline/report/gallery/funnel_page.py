"""`DIR/funnel.html`: the funnel, coverage and distributions of a dataset; see docs/operations.md.

Invariant: all samples of the dataset are counted, not only those that the gallery shows: for a build from the plan,
records and texts of layers, for shards from their records. The page needs no script and no server; its numbers are in
`funnel.json` beside it.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ....shards.layout import SplitFolder, base, find_splits, join
from ....shards.writer import publish_bytes
from ....sources.registry import get_source
from ...engine.progress_table import plural
from ...engine.summaries import summarize_layers
from ...opened import open_build, planned_edits
from ...planning.configurations import holds_build
from ...store.layers import LayerStore
from ..funnel import funnel_rows, left_out
from .coverage import coverage
from .entry import STATES
from .families import FAMILIES_PAGE
from .histograms import histograms, shares
from .markup import PAGE, esc
from .samples import BuildReader, read_shards
from .stages import proposals, stages
from .tally import Tally

FUNNEL_PAGE: Final = "funnel.html"
FUNNEL_JSON: Final = "funnel.json"


@dataclass(frozen=True)
class FunnelFacts:
    """The content of the page."""

    title: str
    place: str
    tally: Tally
    kinds: tuple[str, ...]
    """The planned kinds of edit."""
    funnel: tuple[dict[str, Any], ...] = ()
    """The rows of `pipeline.report.funnel`; empty for shards."""
    counts: dict[str, int] = field(default_factory=dict[str, int])
    """Proposals that layer `pair` rejected, by reason."""
    notes: tuple[str, ...] = ()


def write_funnel_page(source: str, folder: Path, recipe: str = "", *, families: bool = False) -> None:
    """Write the page and its numbers into the folder of a gallery.

    Args:
        source: OUT of a build, finished or not, or a folder of shards.
        recipe: count the shards of this recipe, not the layers of OUT.
        families: link to the page of families as well.

    Raises BadInput if there is no build and no shard, SpatialdataError if a plan or a manifest is damaged.
    """
    is_build = not recipe and holds_build(LayerStore(source))
    facts = facts_of_build(source) if is_build else facts_of_shards(source, recipe)
    place = str(folder)
    publish_bytes(f"{json.dumps(numbers(facts), ensure_ascii=True)}\n".encode(), join(place, FUNNEL_JSON))
    publish_bytes(page(facts, families=families).encode(), join(place, FUNNEL_PAGE))


def facts_of_build(out: str) -> FunnelFacts:
    """Count the samples of a build."""
    build = open_build(out, running=True)
    summary = summarize_layers(build.store, build.plan, build.layers)
    duplicates = left_out(build, summary)
    rows, _ = funnel_rows(build, summary, duplicates)
    reader, tally = BuildReader(build, summary, duplicates), Tally()
    for samples in reader:
        tally.add(samples)
    notes = [build.note] if build.note else []
    units = {layer: found.totals.units for layer, found in summary.layers.items()}
    if left := [f"{layer} {build.plan.units - done:,}" for layer, done in units.items() if done < build.plan.units]:
        notes.append(f"The build is not finished. Units left, of {build.plan.units:,}: {', '.join(left)}.")
    damaged = len(reader.damaged) + sum(len(found.damaged) for found in summary.layers.values())
    if damaged:
        notes.append(
            f"{plural(damaged, 'layer file')} could not be read and are not counted: rerun `spatialdata build`."
        )
    released = get_source(build.config.source.kind).released
    return FunnelFacts(
        title=build.config.shard.name,
        place=str(build.store),
        tally=tally,
        kinds=() if released else tuple(planned_edits(build.config)),
        funnel=tuple(rows),
        counts=dict(summary.layers["pair"].totals.counts),
        notes=tuple(notes),
    )


def facts_of_shards(url: str, recipe: str = "") -> FunnelFacts:
    """Count the samples in the shards of `recipe`, else of `full` if it exists, else of the first recipe."""
    found = find_splits(url, recipe=recipe or None)
    recipes = sorted({split.recipe for split in found})
    chosen = recipe or ("full" if "full" in recipes else recipes[0])
    splits = [split for split in found if split.recipe == chosen]
    tally, notes, damaged = Tally(), list[str](), list[str]()
    for split in splits:
        if not _count(split, tally, damaged):
            notes.append(f"Split {split.split} is not finished and not counted: rerun `spatialdata shard`.")
    if damaged:
        what = f"{plural(len(damaged), 'shard')} could not be read, such as {base(damaged[0])}"
        notes.append(f"{what}, and are not counted: run `spatialdata verify`.")
    return FunnelFacts(title=f"recipe {chosen}", place=url, tally=tally, kinds=(), notes=tuple(notes))


def _count(split: SplitFolder, tally: Tally, damaged: list[str]) -> bool:
    """Count a split. Returns False if it is not finished."""
    try:
        for samples in read_shards(split.url, damaged):
            tally.add(samples)
    except FileNotFoundError:
        return False
    return True


def numbers(facts: FunnelFacts) -> dict[str, Any]:
    """The content of `funnel.json`."""
    return {
        "source": facts.place,
        "funnel": list(facts.funnel),
        "proposals_refused": dict(sorted(facts.counts.items())),
        "notes": list(facts.notes),
        **facts.tally.to_json(),
    }


def page(facts: FunnelFacts, *, families: bool = False) -> str:
    """The whole page as HTML."""
    tally = facts.tally
    notes = "".join(f'<p class="note">{esc(note)}</p>' for note in facts.notes)
    sections = [
        _section("funnel", "Funnel", _funnel(facts)),
        _section("coverage", "Coverage", f'<div class="tables">{coverage(tally, facts.kinds)}</div>'),
        _section("measures", "Distributions", f"{_legend(tally)}{histograms(tally.spreads)}"),
        _section("objects", "Edited objects", _objects(tally)),
    ]
    if not any(tally.pairs):
        text = "There are no pairs yet." if facts.funnel else "There are no samples."
        sections[1:] = [f'<p class="faint">{text}</p>']
    pages = {PAGE: "Samples", **({FAMILIES_PAGE: "Families"} if families else {})}
    return _PAGE.format(
        title=esc(facts.title),
        pages="".join(f'<a href="{name}">{title}</a>' for name, title in pages.items()),
        notes=notes,
        head=_head(facts),
        sections="".join(sections),
    )


def _funnel(facts: FunnelFacts) -> str:
    tally = facts.tally
    if not facts.funnel:
        return '<p class="faint">Shards contain only accepted samples. Open the gallery of OUT to see the funnel.</p>'
    return stages(facts.funnel, sum(tally.states), tally.states[0]) + proposals(facts.counts)


def _objects(tally: Tally) -> str:
    categories = shares("Categories", tally.categories, filters="category", none="unknown")
    colors = shares("Colors", tally.colors, none="several colors, or unknown", swatches=True)
    return f'<div class="things">{categories}{colors}</div>'


def _head(facts: FunnelFacts) -> str:
    """The totals, in one line."""
    tally = facts.tally
    totals = [("planned", sum(tally.states)), ("pairs", sum(tally.pairs))] if facts.funnel else []
    totals += [
        (state, number) for state, number in zip(STATES, tally.states, strict=True) if number or state == "accepted"
    ]
    items = "".join(f"<div><dt>{label}</dt><dd>{number:,}</dd></div>" for label, number in totals)
    return f'<p class="place"><bdi>{esc(facts.place)}</bdi></p><dl class="sums">{items}</dl>'


def _legend(tally: Tally) -> str:
    """The colors of the bars, for the states that occur."""
    there: Iterable[str] = (state for state, number in zip(STATES, tally.pairs, strict=True) if number)
    marks = "".join(f'<span><i class="swatch {state}" aria-hidden="true"></i>{state}</span>' for state in there)
    return f'<p class="legend">{marks}<span class="faint">{sum(tally.pairs):,} pairs</span></p>'


def _section(name: str, title: str, content: str) -> str:
    return f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{title}</h2>{content}</section>'


_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; script-src 'self' file:; \
style-src 'self' file: 'unsafe-inline'">
<title>Funnel: {title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="theme.css">
<link rel="stylesheet" href="funnel.css">
<script src="theme.js"></script>
</head>
<body>
<header class="topbar">
<h1>{title}</h1>
<nav aria-label="Pages">{pages}<a href="funnel.html" aria-current="page">Funnel</a>\
<a href="funnel.json">JSON</a></nav>
<span class="grow"></span>
<button class="button" id="theme" type="button">◐</button>
</header>
{notes}
<main>
{head}
{sections}
</main>
</body>
</html>
"""
