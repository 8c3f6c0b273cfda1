"""Models that are generated on this machine: what `spatialdata assets` runs."""

import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from ...shards.errors import BadInput
from ...shards.licenses import LICENSES
from ...shards.options import nearest
from ...sources.infinigen.cache import RECORDS, AssetCache, AssetRecord, AssetTerms
from ...sources.infinigen.factories import FACTORIES, LEFT_OUT, choose_factories
from ...sources.infinigen.generate import DOWNLOAD, VERSION, Limits, Task, generate, is_installed, worker_command
from ..engine.progress_table import cost, duration, plural
from ..interrupts import interruptible
from ..terminal import say, terminal

_PLAIN_EVERY_S: Final = 30.0
_MEGABYTE: Final = 1e6
_SMALLEST_DISK: Final = 4e9
"""Bytes that the environment of Infinigen takes when it is installed, with the downloads."""


def list_factories() -> dict[str, Any]:
    """`factories`: name, category, size and front of each; `left_out`: why others are not used."""
    return {"factories": [asdict(factory) for factory in FACTORIES.values()], "left_out": dict(LEFT_OUT)}


def print_factories(found: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("factory", "category", "size (m)", "front", box=None, pad_edge=False)
    for factory in found["factories"]:
        size = " x ".join(f"{side:.2f}" for side in factory["size_m"])
        table.add_row(factory["name"], factory["category"], size, "yes" if factory["front_deg"] is not None else "none")
    terminal(width=100).print(table)
    for name, why in found["left_out"].items():
        say(f"not used: {name}: {why}")


@interruptible()
def run_infinigen(
    to: str,
    factories: Sequence[str],
    seeds: range,
    limits: Limits,
    *,
    license: str,
    jobs: int,
    retry_failed: bool,
    quiet: bool = False,
) -> dict[str, Any]:
    """Generate the assets that the folder `to` does not have. Resumes after a stop.

    Args:
        factories: names; empty: all.
        license: of the generated models.
        retry_failed: try again what failed before.

    Returns:
        `to`; numbers of assets: `complete` of those asked for, and of them `generated` by this run; `failures`, also of
        former runs: factory, seed, reason, detail; `cpu_s` and `bytes` of the generated ones.

    Raises:
        BadInput: an unknown factory or license, a folder that cannot be used, no environment for Infinigen.
        Stopped: on Ctrl-C and SIGTERM; complete assets are kept.
    """
    chosen = choose_factories(factories)
    if license not in LICENSES or license == "unknown":
        allowed = [name for name in LICENSES if name != "unknown"]
        raise BadInput(f"--license {license}: not known{nearest(license, allowed)}; allowed: {', '.join(allowed)}")
    root = Path(to).expanduser().absolute()
    cache = AssetCache(root)
    terms = AssetTerms(license, f"generated with Infinigen {VERSION}")
    try:
        cache.complete_table(FACTORIES, terms)
        # All factories with one seed, then with the next: a stopped run has some of each.
        wanted = [Task(factory, seed) for seed in seeds for factory in chosen]
        todo = [
            task
            for task in wanted
            if not cache.has(task.factory.name, task.seed)
            and (retry_failed or cache.failure(task.factory.name, task.seed) is None)
        ]
        made: list[AssetRecord] = []
        if todo:
            _announce(len(todo), len(wanted), quiet)
            command = worker_command()
            with _Progress(len(todo), quiet) as progress:
                for ended in generate(command, cache, todo, limits, jobs):
                    if ended is not None:
                        task, record = ended
                        made.append(cache.add(task.factory, record, terms))
                        progress.ended(made[-1])
                    progress.show()
        failures = [cache.failure(task.factory.name, task.seed) for task in wanted]
    finally:
        cache.close()
    kept = [record for record in made if not record.reason]
    return {
        "to": str(root),
        "complete": sum(failure is None for failure in failures),
        "generated": len(kept),
        "failures": [
            {"factory": failure.factory, "seed": failure.seed, "reason": failure.reason, "detail": failure.detail}
            for failure in failures
            if failure is not None
        ],
        "cpu_s": round(sum(record.cpu_s for record in kept), 1),
        "bytes": sum(record.bytes for record in kept),
    }


def print_infinigen(found: dict[str, Any]) -> None:
    made = found["generated"]
    each = f": {cost(found['cpu_s'] / made)} of CPU and {found['bytes'] / made / _MEGABYTE:.2f} MB each" if made else ""
    say(f"{plural(found['complete'], 'asset')} in {found['to']}, {made:,} of them generated now{each}")
    failures = found["failures"]
    if failures:
        say(f"{plural(len(failures), 'asset')} failed ({found['to']}/{RECORDS}; --retry-failed tries again):")
    for failure in failures:
        say(f"  {failure['factory']} {failure['seed']}: {failure['reason']}: {failure['detail']}")
    if found["complete"]:
        say(f"next: spatialdata build --config examples/models.yaml --set source.root={found['to']} --out OUT")


def _announce(todo: int, wanted: int, quiet: bool) -> None:
    """Say what is going to be done, and check the disk before a large download."""
    if not is_installed():
        from ...sources.blender.environment import cache_folder

        home = cache_folder()
        if (free := shutil.disk_usage(home).free) < _SMALLEST_DISK:
            raise BadInput(
                f"{home}: {free / 1e9:.1f} GB are free, and Infinigen needs {_SMALLEST_DISK / 1e9:.0f} GB there: free "
                "some, or set XDG_CACHE_HOME to another disk"
            )
        _say(f"installing Infinigen {VERSION} into {home}; downloads up to {DOWNLOAD}", quiet)
    _say(f"generating {todo:,} of {plural(wanted, 'asset')}", quiet)


def _say(text: str, quiet: bool) -> None:
    if not quiet:
        say(text, err=True)


class _Progress:
    """One line, redrawn on a terminal, and printed at most every `_PLAIN_EVERY_S` seconds elsewhere."""

    def __init__(self, todo: int, quiet: bool) -> None:
        self._todo, self._quiet = todo, quiet
        self._began = self._printed = time.monotonic()
        self._reasons: Counter[str] = Counter()
        self._cpu_s, self._last = 0.0, ""
        self._status = None
        console = terminal(stderr=True)
        if console.is_terminal and not quiet:
            self._status = console.status(self._line())

    def __enter__(self) -> "_Progress":
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()
        _say(self._line(), self._quiet)

    def ended(self, record: AssetRecord) -> None:
        self._reasons[record.reason] += 1
        self._cpu_s += record.cpu_s
        self._last = f"{record.factory} {record.seed}"

    def show(self) -> None:
        if self._status is not None:
            self._status.update(self._line())
        elif time.monotonic() - self._printed >= _PLAIN_EVERY_S:
            self._printed = time.monotonic()
            _say(self._line(), self._quiet)

    def _line(self) -> str:
        done, passed = self._reasons.total(), time.monotonic() - self._began
        parts = [f"{done:,} of {plural(self._todo, 'asset')} after {duration(passed)}"]
        if failed := done - self._reasons[""]:
            parts.append(f"{failed:,} failed")
        if self._last:
            parts.append(f"last {self._last}")
        if 0 < done < self._todo:
            parts.append(f"about {duration(passed / done * (self._todo - done))} left")
        return ", ".join(parts)
