"""What a person sees of a run, and what a program gets: counts of each stage, rate, time left, rejects.

Invariant: numbers count committed units and samples only.
"""

import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TextIO

from pipeline.runner import UnitSummary

PLAIN_EVERY_S = 30.0


class Queue(NamedTuple):
    """Units of a stage that wait for a worker, and that a worker has."""

    ready: int
    in_flight: int


@dataclass
class StageProgress:
    """One stage of one run. Samples, bytes and rejects are of this run; `found` units were done before it."""

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
    """What a run did; `to_json` is for `--json`."""

    stages: dict[str, StageProgress] = field(default_factory=dict[str, StageProgress])
    quarantined: list[str] = field(default_factory=list[str])
    """`<layer>/<key>` of samples that killed their worker, found in this run."""
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
    """Counts, and shows nothing: the base of the two that do."""

    def __init__(self) -> None:
        self.summary = RunSummary()
        self._began = time.monotonic()

    def start(self, units: int, found: Mapping[str, int]) -> None:
        """A run begins: `units` in the plan, `found` of each layer done before, in the order of the stages."""
        self._began = time.monotonic()
        self.summary = RunSummary({name: StageProgress(name, units, done) for name, done in found.items()})

    def committed(self, unit: UnitSummary) -> None:
        stage = self.summary.stages[unit.layer]
        stage.committed += 1
        stage.samples += unit.rows
        stage.bytes += unit.bytes
        stage.seconds += unit.seconds
        stage.cpu_seconds += unit.cpu_seconds
        stage.rejects.update(unit.rejects)

    def reopened(self, layer: str) -> None:
        """A unit that was done must be made again."""
        self.summary.stages[layer].found -= 1

    def quarantined(self, layer: str, key: str, why: str) -> None:
        self.summary.quarantined.append(f"{layer}/{key}")
        self.note(f"sample {key} is quarantined from layer {layer}: {why}")

    def note(self, text: str) -> None:
        """Something that a person should know; the run goes on."""
        self.summary.notes.append(text)

    def tick(self, queues: Mapping[str, Queue]) -> None:
        """Called about once a second, with the queue of each stage."""

    def stop(self) -> RunSummary:
        self.summary.seconds = time.monotonic() - self._began
        return self.summary

    def elapsed(self) -> float:
        return time.monotonic() - self._began


class PlainProgress(Progress):
    """Lines for a log: one at the start, one at most every PLAIN_EVERY_S seconds, one at the end."""

    def __init__(self, stream: TextIO | None = None, every_s: float = PLAIN_EVERY_S) -> None:
        super().__init__()
        self._stream = stream or sys.stderr
        self._every = every_s
        self._last = 0.0

    def start(self, units: int, found: Mapping[str, int]) -> None:
        super().start(units, found)
        self._say(f"{units} units; done before: " + ", ".join(f"{name} {done}" for name, done in found.items()))

    def tick(self, queues: Mapping[str, Queue]) -> None:
        if time.monotonic() - self._last >= self._every:
            self._say(self._line())

    def note(self, text: str) -> None:
        super().note(text)
        self._say(text)

    def stop(self) -> RunSummary:
        summary = super().stop()
        self._say(f"{self._line()} in {summary.seconds:.0f} s")
        return summary

    def _line(self) -> str:
        return "; ".join(_describe(stage, self.elapsed()) for stage in self.summary.stages.values())

    def _say(self, text: str) -> None:
        self._last = time.monotonic()
        self._stream.write(text + "\n")
        self._stream.flush()


class BarProgress(Progress):
    """One bar a stage, for a terminal."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self._bars = Bars(
            TextColumn("{task.description:>12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("units"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}"),
            console=Console(stderr=True),
            refresh_per_second=4,
        )
        self._ids: dict[str, Any] = {}

    def start(self, units: int, found: Mapping[str, int]) -> None:
        super().start(units, found)
        for name, done in found.items():
            self._ids[name] = self._bars.add_task(name, total=units, completed=done, detail="")
        self._bars.start()

    def committed(self, unit: UnitSummary) -> None:
        super().committed(unit)
        self._show(unit.layer)

    def reopened(self, layer: str) -> None:
        super().reopened(layer)
        self._show(layer)

    def note(self, text: str) -> None:
        super().note(text)
        self._bars.console.print(text, markup=False, highlight=False)

    def stop(self) -> RunSummary:
        self._bars.stop()
        return super().stop()

    def _show(self, layer: str) -> None:
        stage = self.summary.stages[layer]
        rejects = f", {stage.rejects.total()} rejected" if stage.rejects else ""
        rate = stage.samples / max(self.elapsed(), 1e-3)
        self._bars.update(self._ids[layer], completed=stage.done, detail=f"{rate:.1f} samples/s{rejects}")


def make_progress(quiet: bool = False) -> Progress:
    """Bars on a terminal, lines elsewhere, nothing when quiet; all of it on stderr."""
    if quiet:
        return Progress()
    return BarProgress() if sys.stderr.isatty() else PlainProgress()


def _describe(stage: StageProgress, elapsed: float) -> str:
    text = f"{stage.layer} {stage.done}/{stage.units} units"
    if stage.committed:
        text += f", {stage.samples / max(elapsed, 1e-3):.2f} samples/s"
    if stage.committed and stage.done < stage.units:
        left = (stage.units - stage.done) * elapsed / stage.committed
        text += f", {_duration(left)} left"
    if stage.rejects:
        reasons = ", ".join(f"{count} {reason}" for reason, count in stage.rejects.most_common(3))
        text += f", {stage.rejects.total()} rejected ({reasons})"
    return text


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
