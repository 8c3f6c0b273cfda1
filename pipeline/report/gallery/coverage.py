"""Coverage tables of a dataset: accepted samples by kind of edit and split, kind of scene, support, depth estimator or
category.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from ....shards.schema import EDIT_KINDS, SPLITS, objects_edited
from .facts import NO_DEPTH
from .markup import esc, link, plain, table
from .tally import Shares, Tally

MOST: Final = 200
"""Most categories with their own row."""
MOST_DEPTHS: Final = 6
"""Most depth estimators with their own table of categories."""

_UNEDITED: Final = frozenset(kind for kind in EDIT_KINDS if not objects_edited(kind))
"""Kinds of edit that change no object."""


def coverage(tally: Tally, planned: Iterable[str]) -> str:
    """The tables as HTML. `planned`: kinds of edit to show even if no sample has them."""
    kinds = in_order({*planned, *(kind for kind, _ in tally.splits.all)})
    edited = [kind for kind in kinds if kind not in _UNEDITED]
    return "".join(
        (
            _splits(tally, kinds),
            _crossed("scene", "Scene and edit", tally.scenes, kinds),
            _crossed("support", "What the edited object stands on, and edit", tally.supports, edited),
            _depths(tally, kinds),
            _categories(tally, kinds),
        )
    )


def in_order(kinds: Iterable[str]) -> list[str]:
    """Kinds in the order of the schema, then unknown ones by name."""
    known = {kind: place for place, kind in enumerate(EDIT_KINDS)}
    return sorted(kinds, key=lambda kind: (known.get(kind, len(known)), kind))


def _splits(tally: Tally, kinds: Sequence[str]) -> str:
    found = tally.splits
    others = sorted({split for _, split in found.all}.difference(SPLITS))
    splits = [*SPLITS, *others]
    most = max(found.accepted.values(), default=0)

    def cell(kind: str, split: str) -> str:
        accepted, planned = found.accepted[kind, split], found.all[kind, split]
        what = f"{kind}, {split}: {accepted:,} of {planned:,} planned are accepted"
        return _cell(accepted, most, what, planned, edit=kind, split=split)

    head = ["edit", *map(esc, splits), "all"]
    rows = [
        _row(
            link(esc(kind), edit=kind),
            [cell(kind, split) for split in splits],
            sum(found.accepted[kind, split] for split in splits),
        )
        for kind in kinds
    ]
    sums = [sum(found.accepted[kind, split] for kind in kinds) for split in splits]
    return _figure("Edit and split", table(head, rows, label="Edit and split", kind="matrix", foot=_sums("all", sums)))


def _crossed(name: str, title: str, found: Shares[tuple[str, str]], kinds: Sequence[str]) -> str:
    """Samples by a filter of the gallery (rows, the most frequent value first) and kind of edit; empty without samples.

    Args:
        name: of the filter.
    """
    totals: dict[str, int] = {}
    for (_, value), pairs in found.all.items():
        totals[value] = totals.get(value, 0) + pairs
    values = sorted(totals, key=lambda value: (-totals[value], value))
    most = max(found.accepted.values(), default=0)

    def cell(kind: str, value: str) -> str:
        accepted, pairs = found.accepted[kind, value], found.all[kind, value]
        what = f"{kind}, {value}: {accepted:,} accepted of {pairs:,} pairs"
        return _cell(accepted, most, what, pairs, edit=kind, **{name: value})

    rows = [
        _row(
            link(plain(value), **{name: value}),
            [cell(kind, value) for kind in kinds],
            sum(found.accepted[kind, value] for kind in kinds),
        )
        for value in values
    ]
    head = [name, *(link(esc(kind), edit=kind) for kind in kinds), "all"]
    sums = [sum(found.accepted[kind, value] for value in values) for kind in kinds]
    drawn = table(head, rows, label=title, kind="matrix", foot=_sums("all", sums))
    return _figure(title, drawn, "wide") if rows else ""


def _depths(tally: Tally, kinds: Sequence[str]) -> str:
    makers = _makers(tally)
    if len(makers) < 2:
        text = f"All accepted samples have the same depth estimators: {plain(makers[0])}." if makers else ""
        text = "No accepted sample has depth maps." if makers == [NO_DEPTH] else text
        return f'<p class="faint">{text}</p>' if text else ""
    most = max(tally.depths.values())

    def cell(kind: str, maker: str) -> str:
        accepted = tally.depths[kind, maker]
        return _cell(accepted, most, f"{kind}, {maker}: {accepted:,} accepted", 0)

    rows = [
        _row(
            link(esc(kind), edit=kind),
            [cell(kind, maker) for maker in makers],
            sum(tally.depths[kind, maker] for maker in makers),
        )
        for kind in kinds
    ]
    sums = [sum(tally.depths[kind, maker] for kind in kinds) for maker in makers]
    head = ["edit", *map(plain, makers), "all"]
    return _figure(
        "Edit and depth layers",
        table(head, rows, label="Edit and depth layers", kind="matrix", foot=_sums("all", sums)),
    )


def _categories(tally: Tally, kinds: Sequence[str]) -> str:
    """One table for all depth estimators and one for each; the reader chooses."""
    pairs: Mapping[tuple[str, str], int] = tally.kinds.all
    edited = [kind for kind in kinds if kind not in _UNEDITED and not tally.unedited.all[kind]]
    left = [
        f"{tally.unedited.accepted[kind]:,} accepted edits of kind {esc(kind)} change no object"
        for kind in kinds
        if kind not in edited
    ]
    if not pairs:
        return _figure("Edit and category", '<p class="faint">There is no pair with an edited object yet.</p>')
    ordered = sorted(tally.categories.all.items(), key=lambda item: (-item[1], item[0]))
    categories = [category for category, _ in ordered]
    makers = _makers(tally)
    chosen = makers[:MOST_DEPTHS] if len(makers) > 1 else []
    total = tally.kinds.accepted
    parts = [_matrix(edited, categories, lambda kind, category: total[kind, category], pairs, "")]
    for maker in chosen:
        parts.append(_matrix(edited, categories, lambda k, c, maker=maker: tally.cells[k, c, maker], pairs, maker))
    notes = "".join(f'<p class="faint">{text}.</p>' for text in left)
    return _figure("Edit and category", _choice(["all depth layers", *chosen], parts) + notes, "wide")


def _matrix(
    kinds: Sequence[str],
    categories: Sequence[str],
    accepted: Callable[[str, str], int],
    pairs: Mapping[tuple[str, str], int],
    maker: str,
) -> str:
    """Accepted samples by category (rows) and kind of edit (columns).

    Args:
        pairs: samples with a pair, by kind and category.
        maker: depth estimator of the counted samples; empty: all.
    """
    numbers = {(kind, category): accepted(kind, category) for category in categories for kind in kinds}
    most = max(numbers.values(), default=0)
    holes = {kind: sum(not numbers[kind, category] for category in categories) for kind in kinds}
    where = f" with {maker}" if maker else ""

    def cell(kind: str, category: str) -> str:
        number, tried = numbers[kind, category], pairs.get((kind, category), 0)
        what = f"{kind}, {category or 'unknown category'}{where}: {number:,} accepted of {tried:,} pairs"
        return _cell(number, most, what, tried, edit=kind, **({"category": category} if category else {}))

    rows = [
        _row(link(plain(category), category=category) if category else "unknown", [cell(k, category) for k in kinds])
        for category in categories[:MOST]
    ]
    if rest := categories[MOST:]:
        sums = "".join(f"<td>{sum(numbers[kind, category] for category in rest):,}</td>" for kind in kinds)
        rows.append(f'<tr class="rest"><th scope="row">{len(rest):,} others</th>{sums}</tr>')
    empty = "".join(f"<td>{holes[kind]:,} of {len(categories):,}</td>" for kind in kinds)
    foot = f'<tr><th scope="row">none in</th>{empty}</tr>'
    head = ["category", *(link(esc(kind), edit=kind) for kind in kinds)]
    summary = f"{sum(holes.values()):,} of {len(kinds) * len(categories):,} cells are empty."
    label = f"Accepted samples by category and edit{where}"
    return f"<p>{summary}</p>{table(head, rows, label=label, kind='matrix', foot=foot)}"


def _choice(names: Sequence[str], parts: Sequence[str]) -> str:
    """One of several parts, chosen by radio buttons, without a script."""
    if len(parts) == 1:
        return parts[0]
    inputs = "".join(
        f'<input type="radio" name="depth" id="depth{number}"{" checked" if not number else ""}>'
        f'<label for="depth{number}">{plain(text)}</label>'
        for number, text in enumerate(names)
    )
    shown = "".join(f"#depth{number}:checked~.part{number}{{display:block}}" for number in range(len(parts)))
    bodies = "".join(f'<div class="part part{number}">{part}</div>' for number, part in enumerate(parts))
    return f'<style>{shown}</style><div class="choice" role="group" aria-label="Depth layers">{inputs}{bodies}</div>'


def _makers(tally: Tally) -> list[str]:
    """The depth estimators of accepted samples, the most frequent first."""
    counts = {maker: 0 for _, maker in sorted(tally.depths)}
    for (_, maker), number in tally.depths.items():
        counts[maker] += number
    return sorted(counts, key=lambda maker: -counts[maker])


def _cell(number: int, most: int, what: str, tried: int, **filters: str) -> str:
    """A cell with a count, colored by its share of the largest count, or `none`.

    Args:
        tried: number of samples that could have been accepted; if above 0, `none` links to the rejected ones.
    """
    if not number:
        inner = link('<span class="none">none</span>', state="rejected", **filters) if tried and filters else ""
        return f'<td class="hole" title="{esc(f"none: {what}")}">{inner or NONE}</td>'
    heat = (number / most) ** 0.5
    inner = link(f"{number:,}", state="accepted", **filters) if filters else f"{number:,}"
    return f'<td style="--heat:{heat:.2f}" title="{esc(what)}">{inner}</td>'


NONE: Final = '<span class="none">none</span>'


def _row(label: str, cells: Sequence[str], total: int | None = None) -> str:
    last = "" if total is None else f'<td class="total">{total:,}</td>'
    return f'<tr><th scope="row">{label}</th>{"".join(cells)}{last}</tr>'


def _sums(label: str, numbers: Sequence[int]) -> str:
    cells = "".join(f"<td>{number:,}</td>" for number in numbers)
    return f'<tr><th scope="row">{label}</th>{cells}<td>{sum(numbers):,}</td></tr>'


def _figure(title: str, content: str, kind: str = "") -> str:
    return f'<figure class="{kind}"><h3>{esc(title)}</h3>{content}</figure>'
