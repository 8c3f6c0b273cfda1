"""Progress of a run, for users and programs: counts of each stage, rate, time left, rejects.

Invariant: numbers count what a run that is killed now would keep: committed units, and samples in them or in parts.
"""

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

from ..terminal import say, terminal
from .progress_table import Meter, Queue, StageView, duration, left_of, line_of, plural, rejections, stages_table
from .runner import UnitSummary

PLAIN_EVERY_S = 60.0


@dataclass
class StageProgress:
    """One stage of one run. Samples, bytes and rejects count this run; `found` units were done before it."""

    layer: str
    units: int
    found: int
    samples_planned: int
    samples_done: int
    """Samples of the plan that are finished, whenever that was, also in units that are not committed yet."""
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
            "samples_planned": self.samples_planned,
            "samples_done": self.samples_done,
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
        self._meters: dict[str, Meter] = {}
        self._queues: Mapping[str, Queue] = {}

    def start(
        self, units: int, samples: int, found: Mapping[str, int], samples_found: Mapping[str, int], note: str = ""
    ) -> None:
        """Start a run.

        Args:
            units, samples: of the plan.
            found, samples_found: units of each layer that are committed, and its samples that are finished, in stage
                order.
            note: for the first line: what is counted.
        """
        self._began = time.monotonic()
        self.summary = RunSummary(
            {name: StageProgress(name, units, done, samples, samples_found[name]) for name, done in found.items()}
        )
        self._meters = {name: Meter([(self._began, 0)]) for name in found}
        self._observe(samples_found)

    def committed(self, unit: UnitSummary) -> None:
        stage = self.summary.stages[unit.layer]
        stage.committed += 1
        stage.samples += unit.rows
        stage.bytes += unit.bytes
        stage.seconds += unit.seconds
        stage.cpu_seconds += unit.cpu_seconds
        stage.rejects.update(unit.rejects)

    def reopened(self, layer: str) -> None:
        """A unit that was done must be recomputed."""
        self.summary.stages[layer].found -= 1
        self._meters[layer].forget()

    def quarantined(self, layer: str, key: str, why: str) -> None:
        self.summary.quarantined.append(f"{layer}/{key}")
        self.note(f"sample {key} is quarantined from layer {layer}: {why}")

    def note(self, text: str) -> None:
        """A message for the user; the run continues."""
        self.summary.notes.append(text)

    def tick(self, queues: Mapping[str, Queue], samples_done: Mapping[str, int]) -> None:
        """Called about once a second, with the queue and the finished samples of each stage."""
        self._queues = queues
        self._observe(samples_done)

    def _observe(self, samples_done: Mapping[str, int]) -> None:
        now = time.monotonic()
        for layer, done in samples_done.items():
            self._meters[layer].observe(done, now)
            self.summary.stages[layer].samples_done = self._meters[layer].done

    def views(self) -> tuple[StageView, ...]:
        """The current state of the stages."""
        now = time.monotonic()
        return tuple(
            StageView(
                stage.layer,
                stage.units,
                stage.done,
                stage.samples_planned,
                stage.samples_done,
                self._meters[stage.layer].pace(now),
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

    def start(
        self, units: int, samples: int, found: Mapping[str, int], samples_found: Mapping[str, int], note: str = ""
    ) -> None:
        super().start(units, samples, found, samples_found, note)
        done = ", ".join(f"{name} {done:,}" for name, done in samples_found.items())
        rest = f"; {note}" if note else ""
        self._say(f"{plural(samples, 'sample')} in {plural(units, 'unit')}; already done: {done}{rest}")

    def tick(self, queues: Mapping[str, Queue], samples_done: Mapping[str, int]) -> None:
        super().tick(queues, samples_done)
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

    def start(
        self, units: int, samples: int, found: Mapping[str, int], samples_found: Mapping[str, int], note: str = ""
    ) -> None:
        super().start(units, samples, found, samples_found, note)
        self._drawn = self.views()
        self._live.start()
        if note:
            self._console.print(note, markup=False, highlight=False)

    def tick(self, queues: Mapping[str, Queue], samples_done: Mapping[str, int]) -> None:
        super().tick(queues, samples_done)
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


def make_progress(quiet: bool = False) -> Progress:
    """A table on a terminal, lines elsewhere, nothing if quiet; on stderr."""
    if quiet:
        return Progress()
    return TerminalProgress() if sys.stderr.isatty() else PlainProgress()
