"""Progress of a run, for users and programs: counts of each stage, rate, time left, rejects.

Invariant: numbers count committed units and samples only.
"""

import sys
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

from ..terminal import say, terminal
from .progress_table import Queue, StageView, duration, left_of, line_of, pace_of, plural, rejections, stages_table
from .runner import UnitSummary

PLAIN_EVERY_S = 60.0
COMMITS = 512
"""Latest commits of each stage that are kept to compute its pace."""


@dataclass
class StageProgress:
    """One stage of one run. Samples, bytes and rejects count this run; `found` units were done before it."""

    layer: str
    units: int
    found: int
    committed: int = 0
    samples: int = 0
    bytes: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    rejects: Counter[str] = field(default_factory=Counter[str])

    @property
    def done(self) -> int:
        return self.found + self.committed

    def to_json(self) -> dict[str, Any]:
        return {
            "units": self.units,
            "done": self.done,
            "found": self.found,
            "samples": self.samples,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "cpu_seconds": round(self.cpu_seconds, 3),
            "rejects": dict(sorted(self.rejects.items())),
        }


@dataclass
class RunSummary:
    """Summary of a run; `to_json` is for `--json`."""

    stages: dict[str, StageProgress] = field(default_factory=dict[str, StageProgress])
    quarantined: list[str] = field(default_factory=list[str])
    """`<layer>/<key>` of samples that killed their worker in this run."""
    notes: list[str] = field(default_factory=list[str])
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "stages": {name: stage.to_json() for name, stage in self.stages.items()},
            "quarantined": self.quarantined,
            "notes": self.notes,
            "seconds": round(self.seconds, 3),
        }


class Progress:
    """Counts without display; base class of the two that display."""

    def __init__(self) -> None:
        self.summary = RunSummary()
        self._began = time.monotonic()
        self._commits: dict[str, deque[tuple[float, int]]] = {}
        self._queues: Mapping[str, Queue] = {}

    def start(self, units: int, found: Mapping[str, int], samples: int = 0) -> None:
        """Start a run: the plan has `units` with `samples`; `found` units of each layer are done, in stage order."""
        self._began = time.monotonic()
        self.summary = RunSummary({name: StageProgress(name, units, done) for name, done in found.items()})
        self._commits = {name: deque([(self._began, 0)], maxlen=COMMITS) for name in found}

    def committed(self, unit: UnitSummary) -> None:
        stage = self.summary.stages[unit.layer]
        stage.committed += 1
        stage.samples += unit.rows
        stage.bytes += unit.bytes
        stage.seconds += unit.seconds
        stage.cpu_seconds += unit.cpu_seconds
        stage.rejects.update(unit.rejects)
        self._commits[unit.layer].append((time.monotonic(), unit.rows + sum(unit.rejects.values())))

    def reopened(self, layer: str) -> None:
        """A unit that was done must be recomputed."""
        self.summary.stages[layer].found -= 1

    def quarantined(self, layer: str, key: str, why: str) -> None:
        self.summary.quarantined.append(f"{layer}/{key}")
        self.note(f"sample {key} is quarantined from layer {layer}: {why}")

    def note(self, text: str) -> None:
        """A message for the user; the run continues."""
        self.summary.notes.append(text)

    def tick(self, queues: Mapping[str, Queue]) -> None:
        """Called about once a second, with the queue of each stage."""
        self._queues = queues

    def views(self) -> tuple[StageView, ...]:
        """The current state of the stages."""
        now = time.monotonic()
        return tuple(
            StageView(
                stage.layer,
                stage.units,
                stage.done,
                pace_of(list(self._commits[stage.layer]), now),
                self._queues.get(stage.layer),
                dict(stage.rejects),
            )
            for stage in self.summary.stages.values()
        )

    def stop(self) -> RunSummary:
        self.summary.seconds = time.monotonic() - self._began
        return self.summary

    def elapsed(self) -> float:
        return time.monotonic() - self._began


class PlainProgress(Progress):
    """Lines for a log: at the start, at most every PLAIN_EVERY_S seconds, and at the end."""

    def __init__(self, stream: TextIO | None = None, every_s: float = PLAIN_EVERY_S) -> None:
        super().__init__()
        self._stream = stream
        self._every = every_s
        self._last = 0.0

    def start(self, units: int, found: Mapping[str, int], samples: int = 0) -> None:
        super().start(units, found, samples)
        done = ", ".join(f"{name} {done:,}" for name, done in found.items())
        self._say(f"{plural(units, 'unit')}; already done: {done}{_unit_note(units, samples)}")

    def tick(self, queues: Mapping[str, Queue]) -> None:
        super().tick(queues)
        if time.monotonic() - self._last >= self._every:
            self._say(self._line())

    def note(self, text: str) -> None:
        super().note(text)
        self._say(text)

    def stop(self) -> RunSummary:
        summary = super().stop()
        self._say(self._line())
        return summary

    def _line(self) -> str:
        return f"after {duration(self.elapsed())}: {line_of(self.views())}"

    def _say(self, text: str) -> None:
        self._last = time.monotonic()
        say(text, err=True, file=self._stream)


class TerminalProgress(Progress):
    """One line per stage, redrawn in place, for a terminal."""

    def __init__(self) -> None:
        super().__init__()
        from rich.live import Live

        self._drawn: Sequence[StageView] = ()
        # Another thread draws, from a tuple that is replaced and never changed.
        self._console = terminal(stderr=True)
        self._live = Live(console=self._console, get_renderable=self._draw, refresh_per_second=2)

    def start(self, units: int, found: Mapping[str, int], samples: int = 0) -> None:
        super().start(units, found, samples)
        self._drawn = self.views()
        self._live.start()
        if samples:
            self._console.print(_unit_note(units, samples).removeprefix("; "), markup=False, highlight=False)

    def tick(self, queues: Mapping[str, Queue]) -> None:
        super().tick(queues)
        self._drawn = self.views()

    def note(self, text: str) -> None:
        super().note(text)
        self._console.print(text, markup=False, highlight=False)

    def stop(self) -> RunSummary:
        self._drawn = self.views()
        self._live.stop()
        return super().stop()

    def _draw(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        left = left_of(self._drawn)
        rest = "" if left == 0 else f" so far, about {duration(left)} left" if left else " so far"
        lines = [f"{duration(self.elapsed())}{rest}", rejections(self._drawn)]
        texts = [Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in lines if line]
        return Group(stages_table(self._drawn, self._console.width), *texts)


def _unit_note(units: int, samples: int) -> str:
    """Explains what is counted, because nothing changes on screen during a long first unit."""
    if not samples:
        return ""
    return f"; a unit has {plural(-(-samples // max(1, units)), 'sample')} and counts once a stage finished all of them"


def make_progress(quiet: bool = False) -> Progress:
    """A table on a terminal, lines elsewhere, nothing if quiet; on stderr."""
    if quiet:
        return Progress()
    return TerminalProgress() if sys.stderr.isatty() else PlainProgress()
