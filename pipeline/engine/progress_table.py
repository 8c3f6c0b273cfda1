"""The table of a running build: one line per stage, in the build's terminal and in `status --watch`."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rich.table import Table

WINDOW_S = 120.0
LEAST = 8
"""Steps that are used even if they are older than WINDOW_S."""
STEPS = 512
"""Latest steps that are kept."""
WIDEST = 100


class Queue(NamedTuple):
    """Units of a stage that wait for a worker, and that are with a worker."""

    ready: int
    in_flight: int


def pace_of(steps: Sequence[tuple[float, int]], now: float) -> float:
    """Samples per second over the latest steps (time in seconds and samples, in order of time); 0 if not known.

    Measured from the first step of the last WINDOW_S seconds, or over the last LEAST steps if these reach further back,
    until now. So the pace of a stage without new steps drops.
    """
    late = next((index for index, (when, _) in enumerate(steps) if now - when <= WINDOW_S), len(steps))
    seen = steps[max(0, min(late, len(steps) - LEAST)) :]
    if len(seen) < 2:
        return 0.0
    return sum(samples for _, samples in seen[1:]) / max(now - seen[0][0], 1e-3)


class Meter:
    """The finished samples of a stage, observed again and again, and its pace."""

    def __init__(self, steps: Iterable[tuple[float, int]] = ()) -> None:
        """`steps`: time and samples of earlier steps; the samples of the first do not count (`pace_of`)."""
        self._steps = deque(steps, maxlen=STEPS)
        self._done: int | None = None

    @property
    def done(self) -> int:
        """The most samples that were observed: while a unit is committed, its parts are gone before it counts."""
        return self._done or 0

    def observe(self, done: int, now: float) -> None:
        if self._done is not None and done > self._done:
            self._steps.append((now, done - self._done))
        self._done = max(done, self.done)

    def forget(self) -> None:
        """Samples that were done are no longer."""
        self._done = None

    def pace(self, now: float) -> float:
        """Samples per second."""
        return pace_of(list(self._steps), now)


@dataclass(frozen=True)
class StageView:
    """The displayed values of one stage."""

    layer: str
    units: int
    done: int
    """Units that are committed."""
    samples: int
    samples_done: int
    """Samples of the plan: all, and those that are finished, also in units that are not committed yet."""
    pace: float = 0.0
    """Samples per second; 0 if not known."""
    queue: Queue | None = None
    rejects: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def left_s(self) -> float | None:
        """Seconds until it is done at this pace; None if not known."""
        if self.done >= self.units:
            return 0.0
        return (self.samples - self.samples_done) / self.pace if self.pace else None


def left_of(stages: Sequence[StageView]) -> float | None:
    """Seconds until the last stage is done; None if a stage has no pace."""
    left = [stage.left_s for stage in stages]
    known = [seconds for seconds in left if seconds is not None]
    return max(known, default=0.0) if len(known) == len(left) else None


def stages_table(stages: Sequence[StageView], width: int) -> "Table":
    """One row per stage, for a terminal of `width` columns."""
    from rich import box
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, width=min(width, WIDEST), padding=(0, 1), pad_edge=False, show_edge=False)
    table.add_column("stage", no_wrap=True)
    table.add_column("", ratio=1, min_width=4)
    for name in ("samples", "samples/s"):
        table.add_column(name, justify="right", no_wrap=True)
    # As wide as most times, so that the bars do not jump.
    table.add_column("left", justify="right", no_wrap=True, min_width=11 if width >= WIDEST else None)
    queued = any(stage.queue is not None for stage in stages)
    if queued:
        table.add_column("ready+working", justify="right", no_wrap=True)
    table.add_column("rejected", justify="right", no_wrap=True)
    for stage in stages:
        done = stage.done >= stage.units
        queue = stage.queue or Queue(0, 0)
        samples = f"{count(stage.samples_done)}/{count(stage.samples)}"
        cells = [samples, "" if done else rate(stage.pace), _left(stage)]
        if queued:
            cells.append(f"{count(queue.ready)}+{queue.in_flight}" if any(queue) and not done else "")
        cells.append(count(sum(stage.rejects.values())) if stage.rejects else "")
        bar = ProgressBar(total=max(1, stage.samples), completed=stage.samples_done, width=None)
        table.add_row(stage.layer, bar, *cells)
    return table


def rejections(stages: Sequence[StageView], most: int = 3) -> str:
    """The most frequent reasons of all stages in one line; empty if nothing was rejected."""
    reasons = Counter({f"{stage.layer} {name}": count for stage in stages for name, count in stage.rejects.items()})
    listed = ", ".join(f"{name} {count:,}" for name, count in reasons.most_common(most))
    more = len(reasons) - most
    rest = f" and {plural(more, 'other reason')}" if more > 0 else ""
    return f"rejected: {listed}{rest}" if listed else ""


def line_of(stages: Sequence[StageView]) -> str:
    """The stages as text, for a log. Idle stages without rejects and with equal counts share one entry."""
    groups: dict[object, list[StageView]] = {}
    for stage in stages:
        idle = not stage.rejects and (stage.done == stage.units or stage.queue in (None, Queue(0, 0)))
        groups.setdefault((stage.done, stage.samples_done) if idle else stage.layer, []).append(stage)
    return "; ".join(_stage_text(group[0], [stage.layer for stage in group]) for group in groups.values())


def _stage_text(stage: StageView, layers: Sequence[str]) -> str:
    text = (
        f"{', '.join(layers)} {stage.samples_done:,}/{stage.samples:,} samples ({stage.done:,}/{stage.units:,} units)"
    )
    if stage.done < stage.units:
        if stage.pace:
            text += f", {rate(stage.pace)} samples/s"
        if stage.left_s is not None:
            text += f", {duration(stage.left_s)} left"
        if stage.queue is not None:
            text += f", {stage.queue.ready:,} ready, {stage.queue.in_flight} in progress"
    if stage.rejects:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in Counter(stage.rejects).most_common(3))
        text += f", {sum(stage.rejects.values()):,} rejected ({reasons})"
    return text


def count(number: int) -> str:
    """All digits up to 99,999, then four significant digits: 123.4k, 63.97M."""
    if number < 100_000:
        return f"{number:,}"
    value, unit = (number / 1e6, "M") if number >= 1_000_000 else (number / 1e3, "k")
    return f"{value:,.4g}{unit}" if value < 1e4 else f"{value:,.0f}{unit}"


def rate(value: float) -> str:
    """Three significant digits: 0.0123, 1.23, 123."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.{1 if value >= 10 else 2}f}" if value >= 1 else f"{value:.3g}" if value else "-"


def cost(seconds: float) -> str:
    """Time per sample: 1.2 ms, 0.45 s, 12.3 s."""
    return f"{1e3 * seconds:.2g} ms" if seconds < 0.1 else f"{rate(seconds)} s"


def duration(seconds: float) -> str:
    """The two largest units: 4 s, 3 min 05 s, 2 h 09 min, 3 d 04 h."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24:,} d {hours % 24:02d} h" if hours < 2400 else f"{hours // 24:,} d"
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def spent(seconds: float) -> str:
    """Like `duration`; below one second, like `cost`."""
    return duration(seconds) if seconds >= 1 else cost(seconds)


def plural(number: int, noun: str) -> str:
    """`1 shard`, `2,000 shards`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _left(stage: StageView) -> str:
    if stage.done >= stage.units:
        return "done"
    return "-" if stage.left_s is None else duration(stage.left_s)
