"""Histograms as inline SVG, and bars for named values: accepted samples compared with all samples that have a pair."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from ....shards.colors import PALETTE
from .entry import STATES
from .markup import bar, esc, link, plain
from .measures import Measure
from .samples import ACCEPTED
from .tally import Shares, Spread

MOST: Final = 30
"""Values with a row of their own."""
_WIDTH, _LEFT, _RIGHT = 320, 8, 312
_TOP, _BASE, _HEIGHT = 16, 92, 108
_ROOM: Final = 26
"""Minimum distance between the centers of two axis marks."""
_OUTER: Final = 1.6
"""Width of a bin beyond the edges, with its gap, in inner bins."""


def histograms(spreads: Mapping[str, Spread]) -> str:
    """A figure for each measure that is known for some sample; the others are listed."""
    known = [spread for spread in spreads.values() if any(map(any, spread.counts))]
    absent = [spread for spread in spreads.values() if spread not in known and not sum(spread.unknown)]
    unknown = [spread for spread in spreads.values() if spread not in known and sum(spread.unknown)]
    titles = [f"{spread.measure.title} (of {sum(spread.unknown):,} {spread.measure.of})" for spread in unknown]
    lines = [f"Not known for any sample, so not drawn: {esc('; '.join(titles))}."] if titles else []
    if absent:
        lines.append(f"No sample has: {esc('; '.join(spread.measure.title for spread in absent))}.")
    notes = "".join(f'<p class="faint">{line}</p>' for line in lines)
    return f'<div class="figures">{"".join(map(figure, known))}</div>{notes}'


def figure(spread: Spread) -> str:
    """One histogram with its caption."""
    measure, counts = spread.measure, spread.counts
    accepted, total, unknown = sum(counts[ACCEPTED]), sum(map(sum, counts)), sum(spread.unknown)
    caption = f"{accepted:,} accepted of {total:,} {measure.of}"
    if unknown:
        caption += f'; <span class="unknown">unknown for {unknown:,}</span>'
    unit = f' <span class="faint">({esc(measure.unit)})</span>' if measure.unit else ""
    return (
        f'<figure id="{esc(measure.name)}"><h3>{esc(measure.title)}{unit}</h3>{_drawn(measure, counts)}'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _drawn(measure: Measure, counts: Sequence[Sequence[int]]) -> str:
    sums = [sum(bins) for bins in zip(*counts, strict=True)]
    slots = _slots(measure, sums)
    tallest = max(range(len(sums)), key=lambda index: sums[index])
    parts: list[str] = []
    for index, (start, end) in slots.items():
        parts.append(_stack(measure, index, [bins[index] for bins in counts], (start, end), sums[tallest]))
    parts += [_text(x, _HEIGHT - 4, mark) for x, mark in _axis(measure, slots)]
    middle = sum(slots[tallest]) / 2
    parts.append(_text(middle, _BASE - (_BASE - _TOP) - 4, f"{sums[tallest]:,}", "peak"))
    label = f"{measure.title}: the largest bin, {sums[tallest]:,} of {sum(sums):,}, is {_range(measure, tallest)}"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{esc(label)}">{"".join(parts)}'
        f'<line class="axis" x1="{_LEFT}" y1="{_BASE}" x2="{_RIGHT}" y2="{_BASE}"/></svg>'
    )


def _axis(measure: Measure, slots: Mapping[int, tuple[float, float]]) -> list[tuple[float, str]]:
    """Labels below the bars as x and HTML: names of the drawn outer bins, and the ticks that have enough room."""
    last = len(measure.edges)
    marks = [
        (sum(slots[index]) / 2, f"{sign} {_end(measure, edge)}")
        for index, sign, edge in ((0, "&lt;", 0), (last, "&gt;", -1))
        if index in slots
    ]
    ends = slots[1][0], slots[last - 1][1]
    ticks = [(_place(measure, tick, *ends), _short(tick)) for tick in measure.ticks]
    return marks + [tick for tick in ticks if all(abs(tick[0] - x) > _ROOM for x, _ in marks)]


def _slots(measure: Measure, sums: Sequence[int]) -> dict[int, tuple[float, float]]:
    """Start and end x of each bin; the outer two only if they are not empty."""
    inner = len(measure.edges) - 1
    left, right = _OUTER * (sums[0] > 0), _OUTER * (sums[-1] > 0)
    step = (_RIGHT - _LEFT) / (inner + left + right)
    slots = {index: (_LEFT + (left + index - 1) * step, _LEFT + (left + index) * step) for index in range(1, inner + 1)}
    if left:
        slots[0] = (_LEFT, _LEFT + step)
    if right:
        slots[inner + 1] = (_RIGHT - step, _RIGHT)
    return slots


def _stack(measure: Measure, index: int, numbers: Sequence[int], place: tuple[float, float], most: int) -> str:
    """The stacked bars of one bin, accepted samples at the bottom."""
    if not any(numbers):
        return ""
    start, end = place
    gap = min(1.0, (end - start) * 0.12)
    bottom, drawn = float(_BASE), ""
    for state, number in zip(STATES, numbers, strict=True):
        height = (_BASE - _TOP) * number / most
        if number:
            bottom -= height
            drawn += (
                f'<rect class="{state}" x="{start + gap:.2f}" y="{bottom:.2f}" width="{end - start - 2 * gap:.2f}" '
                f'height="{height:.2f}"/>'
            )
    numbers_text = ", ".join(f"{number:,} {state}" for state, number in zip(STATES, numbers, strict=True) if number)
    return f"<g><title>{esc(_range(measure, index))}: {numbers_text}</title>{drawn}</g>"


def _place(measure: Measure, value: float, first: float, last: float) -> float:
    low, high = measure.edges[0], measure.edges[-1]
    if measure.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return first + (last - first) * (value - low) / (high - low)


def _range(measure: Measure, index: int) -> str:
    """A bin as text: `0.3 to 0.4 m`, `12 words`, `more than 3 m`."""
    unit = f" {measure.unit}" if measure.unit else ""
    if index == 0:
        return f"less than {_end(measure, 0)}{unit}"
    if index == len(measure.edges):
        return f"more than {_end(measure, -1)}{unit}"
    low, high = measure.edges[index - 1], measure.edges[index]
    return f"{(low + high) / 2:.0f}{unit}" if measure.whole else f"{_short(low)} to {_short(high)}{unit}"


def _end(measure: Measure, edge: int) -> str:
    """The first (0) or the last (-1) edge; for whole numbers, the outermost number inside it."""
    inside = (0.5 if edge == 0 else -0.5) if measure.whole else 0
    return _short(measure.edges[edge] + inside)


def _short(value: float) -> str:
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")


def _text(x: float, y: float, text: str, kind: str = "tick") -> str:
    """SVG text at a position, moved inside if it would overlap the edge; `text` is HTML."""
    half = 3.1 * len(text)
    anchor = "start" if x - half < 0 else "end" if x + half > _WIDTH else "middle"
    x = {"start": 1.0, "end": _WIDTH - 1.0, "middle": x}[anchor]
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def shares(title: str, found: Shares[str], *, filters: str = "", none: str = "", swatches: bool = False) -> str:
    """One row for each of the most frequent values, and one for the rest.

    Args:
        filters: the gallery's filter that selects the samples of a value.
        none: label of an empty value.
    """
    ordered = sorted(found.all.items(), key=lambda item: (-item[1], item[0]))
    most = ordered[0][1] if ordered else 1
    rows = [_share(value, found, most, filters, none, swatches) for value, _ in ordered[:MOST]]
    rest = ordered[MOST:]
    if rest:
        accepted, number = sum(found.accepted[value] for value, _ in rest), sum(number for _, number in rest)
        numbers = f"{accepted:,}<small> of {number:,}</small>"
        rows.append(f'<tr class="rest"><th scope="row">{len(rest):,} others</th><td></td><td>{numbers}</td></tr>')
    body = "".join(rows) or '<tr><td class="faint">none</td></tr>'
    return f'<figure class="shares"><h3>{esc(title)}</h3><table><tbody>{body}</tbody></table></figure>'


def _share(value: str, found: Shares[str], most: int, filters: str, none: str, swatches: bool) -> str:
    accepted, number = found.accepted[value], found.all[value]
    label = plain(value) if value else f'<span class="faint">{esc(none)}</span>'
    if filters and value:
        label = link(label, **{filters: value})
    if swatches:
        label = f"{_swatch(value)}{label}"
    drawn = bar((("accepted", accepted / most), ("rejected", (number - accepted) / most)))
    return f'<tr><th scope="row">{label}</th><td>{drawn}</td><td>{accepted:,}<small> of {number:,}</small></td></tr>'


def _swatch(value: str) -> str:
    rgb = PALETTE.get(value)
    style = f' style="background:rgb{rgb}"' if rgb else ""
    return f'<i class="swatch"{style} aria-hidden="true"></i>'
