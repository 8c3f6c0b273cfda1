"""`status --watch`: follow a build from another terminal, also a Ray job on a cluster, by its records and run lock.

The build itself is not contacted: only what it has kept is shown, committed units and parts.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from ...engine.part_counts import PartCounts, samples_done
from ...engine.progress_table import Meter, StageView, duration, left_of, line_of, rejections, stages_table
from ...engine.summaries import LayerSummary, summarize_layers
from ...opened import Build, open_build, open_out
from ...store.lock import Holder, LockWatcher
from ...terminal import say, terminal

EVERY_S = 3.0
PLAIN_EVERY_S = 60.0


@dataclass(frozen=True)
class BuildState:
    """The state of a build at one moment."""

    out: str
    samples: int
    accepted: int
    stages: tuple[StageView, ...]
    holder: Holder | None
    quiet_s: float | None
    """Seconds since the latest commit; None if there is none."""
    note: str = ""
    """Which configuration this is, if OUT holds two."""

    @property
    def finished(self) -> bool:
        """All layers are computed, and no run is packing."""
        return self.holder is None and all(stage.done >= stage.units for stage in self.stages)

    @property
    def state(self) -> str:
        """Which run holds the build, and when the last unit was committed."""
        quiet = "nothing is committed yet"
        if self.quiet_s is not None:
            quiet = f"the last unit was committed {duration(self.quiet_s)} ago"
        if self.finished:
            return f"finished: {self.accepted:,} of {self.samples:,} samples are accepted"
        if self.holder is None:
            return f"stopped: no run holds it, {quiet}; rerun the build to resume"
        left = left_of(self.stages)
        if left == 0.0:
            return f"packing: {self.holder}"
        rest = f", about {duration(left)} left" if left else ""
        return f"running: {self.holder}; {quiet}{rest}"

    def to_json(self) -> dict[str, Any]:
        stages = {
            stage.layer: {
                "units": stage.units,
                "done": stage.done,
                "samples_planned": stage.samples,
                "samples_done": stage.samples_done,
                "samples_per_second": round(stage.pace, 4),
                "seconds_left": None if stage.left_s is None else round(stage.left_s, 1),
                "rejects": dict(stage.rejects),
            }
            for stage in self.stages
        }
        return {
            "out": self.out,
            "note": self.note,
            "finished": self.finished,
            "running": asdict(self.holder) if self.holder else None,
            "seconds_since_commit": None if self.quiet_s is None else round(self.quiet_s, 1),
            "accepted": self.accepted,
            "stages": stages,
        }


@dataclass
class Watcher:
    """What is remembered of a build from one look at it to the next."""

    lock: LockWatcher
    meters: dict[str, Meter] = field(default_factory=dict[str, Meter])
    """By the folder of a layer, like `parts`."""
    parts: dict[str, PartCounts] = field(default_factory=dict[str, PartCounts])


def read_state(out: str, watcher: Watcher | None = None) -> BuildState:
    """The current state of the build under `out`. Raises BadInput if there is none.

    Args:
        watcher: the same for all calls of one observer.
    """
    build = open_build(out, running=True)
    watcher = watcher or Watcher(LockWatcher(build.store))
    # Before the records: a build that ends meanwhile is finished, not stopped.
    holder = watcher.lock.holder()
    summary = summarize_layers(build.store, build.plan, build.layers)
    now = time.time()
    stages = tuple(_view(build, layer, found, now, holder, watcher) for layer, found in summary.layers.items())
    ends = [found.recent[-1].ended for found in summary.layers.values() if found.recent]
    quiet = max(0.0, now - max(ends)) if ends else None
    return BuildState(str(build.store), build.plan.samples, summary.accepted, stages, holder, quiet, build.note)


def _view(
    build: Build, layer: str, found: LayerSummary, now: float, holder: Holder | None, watcher: Watcher
) -> StageView:
    plan, folder, units = build.plan, build.layers[layer], found.totals.units
    if any(stage.layer == layer and stage.spills for stage in build.stages) and folder not in watcher.parts:
        watcher.parts[folder] = PartCounts(build.store, plan, folder)
    done = samples_done(build.store, plan, folder, units, watcher.parts.get(folder))
    if folder not in watcher.meters:
        since = done - samples_done(build.store, plan, folder, units, None)
        commits = [(commit.ended, plan.size(commit.unit)) for commit in found.recent]
        watcher.meters[folder] = Meter([*commits, (now, since)])
    watcher.meters[folder].observe(done, now)
    pace = watcher.meters[folder].pace(now) if holder else 0.0
    return StageView(layer, plan.units, units, plan.samples, done, pace, rejects=found.totals.rejects)


def watch(out: str, *, as_json: bool = False, pause: Callable[[float], None] = time.sleep) -> None:
    """Show the build under `out` until it is finished: redrawn on a terminal, else one line per minute.

    With `as_json`, one object per line. KeyboardInterrupt ends it at any time; the last state stays on the screen.
    """
    console = terminal()
    watcher = Watcher(LockWatcher(open_out(out)))
    seen = read_state(out, watcher)
    if as_json or not console.is_terminal:
        printed, last = "", 0.0
        while True:
            line = json.dumps(seen.to_json(), sort_keys=True) if as_json else _line(seen)
            due = time.monotonic() - last >= (EVERY_S if as_json else PLAIN_EVERY_S)
            if line != printed and (due or seen.finished or not printed):
                printed, last = line, time.monotonic()
                say(line)
            if seen.finished:
                return
            pause(EVERY_S)
            seen = read_state(out, watcher)
    with Live(_drawn(seen, console), console=console, auto_refresh=False) as live:
        while not seen.finished:
            pause(EVERY_S)
            seen = read_state(out, watcher)
            live.update(_drawn(seen, console), refresh=True)


def _line(seen: BuildState) -> str:
    note = f"; {seen.note}" if seen.note else ""
    return f"{seen.state}; {line_of(seen.stages)}{note}"


def _drawn(seen: BuildState, console: Console) -> Group:
    style = "green" if seen.finished else "yellow" if seen.holder is None else ""
    lines = [Text(seen.out, style="bold", overflow="ellipsis", no_wrap=True), Text(seen.state, style=style)]
    lines += [Text(seen.note, style="dim")] if seen.note else []
    below = rejections(seen.stages)
    tail = [Text(below, style="dim", no_wrap=True, overflow="ellipsis")] if below else []
    return Group(*lines, stages_table(seen.stages, console.width), *tail)
