"""Moves units through stages until all layers are done: in this process (`inline`), or on Ray.

Invariants: a unit of a stage is started only when the layers that it needs are committed. A committed unit is never
started again. After a run ends for any reason, the same call resumes from the committed units.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from ...shards.errors import SpatialdataError
from ...shards.errors import Stopped as Stopped
from ...shards.stage import Stage
from ..config import EngineOptions
from ..interrupts import interruptible
from ..plug_ins import places
from ..store.layers import LayerCorrupt, LayerStore, versions
from ..store.parts import read_part
from ..store.plan import Plan
from .calls import last_lines
from .progress import Progress, RunSummary
from .progress_table import plural
from .ready_units import ReadyUnits, raise_failed, record_outcome
from .runner import Failed, Runner, Task, tasks_of

Item = TypeVar("Item")
Value = TypeVar("Value")


def run(
    stages: Sequence[Stage],
    store: LayerStore,
    plan: Plan,
    options: EngineOptions,
    progress: Progress | None = None,
    *,
    plan_hash: str = "",
    runtime_env: Mapping[str, Any] | None = None,
    guard: Callable[[], None] | None = None,
) -> RunSummary:
    """Compute every unit of every stage that is not committed yet.

    Args:
        plan_hash: part of the layers' fingerprints (`layer_dirs`).
        runtime_env: passed to `ray.init` if this call connects to Ray (such as `{"working_dir": "."}`).
        guard: called about once a second; may raise to end the run (such as `RunLock.check`).

    Raises:
        Stopped: Ctrl-C or SIGTERM.
        BadInput: the cluster lacks resources, or OUT is on one node of several.
        SpatialdataError: a stage reported that the run cannot continue, the disk is full, or workers cannot start.
    """
    tasks = tasks_of(stages, plan_hash)
    progress = progress or Progress()
    for task in tasks:
        store.sweep(f"layers/{task.layer_dir}")
        store.sweep(store.parts_folder(task.layer_dir))
    units = ReadyUnits(tasks, store, plan)
    progress.start(plan.units, plan.samples, units.found, units.samples, _note(tasks, plan))
    try:
        with interruptible():
            if units.finished:
                pass
            elif options.kind == "inline":
                _run_inline(tasks, store, plan, units, progress, guard or _no_guard)
            else:
                from .ray_engine import run_on_ray

                run_on_ray(tasks, store, plan, options, units, progress, runtime_env, guard or _no_guard)
        for folder in (*(store.parts_folder(task.layer_dir) for task in tasks), "parts"):
            store.remove_empty(folder)
    finally:
        summary = progress.stop()
        units.give_back()
    return summary


def _note(tasks: Sequence[Task], plan: Plan) -> str:
    """Explains what is counted where no stage spills: then nothing changes on screen during a long first unit."""
    if any(task.stage.spills for task in tasks):
        return ""
    return f"a unit has {plural(plan.size(0), 'sample')} and counts once a stage finished all of them"


def _no_guard() -> None:
    return None


def _run_inline(
    tasks: Sequence[Task],
    store: LayerStore,
    plan: Plan,
    units: ReadyUnits,
    progress: Progress,
    guard: Callable[[], None],
) -> None:
    """For debugging: without isolation, a sample that kills the process kills this run and the next one (use Ray)."""

    def show() -> None:
        progress.tick(units.queues, units.samples)

    runner = Runner(store, plan, tasks, on_part=show)
    deepest_first = [task.layer for task in reversed(tasks)]
    while not units.finished:
        guard()
        job = next(filter(None, map(units.take, deepest_first)))
        record_outcome(units, job, runner.do(job), progress)
        show()


def reopen_rejects(
    stages: Sequence[Stage], store: LayerStore, reasons: Sequence[str], plan_hash: str = ""
) -> dict[str, int]:
    """Reopen units with rejects of these reasons, and the same units of dependent layers. Returns the count by layer.

    For samples that failed for a cause that is now fixed: the next run recomputes them. Needs a `RunLock`.
    """
    tasks = tasks_of(stages, plan_hash)
    opened: dict[str, set[int]] = {}
    for task in tasks:
        _remove_rejecting_parts(store, task, reasons)
        own = _rejecting(store, task.layer_dir, reasons)
        opened[task.layer] = own.union(*(opened[need] for need in task.needs))
    for task in reversed(tasks):
        for unit in sorted(opened[task.layer]):
            store.discard(task.layer_dir, unit)
    return {layer: len(units) for layer, units in opened.items()}


def _rejecting(store: LayerStore, layer_dir: str, reasons: Sequence[str]) -> set[int]:
    """Units with rejects of these reasons. A unit with a damaged record is set aside for the next run."""
    while True:
        try:
            done = store.records(layer_dir)
            return {record.unit for record in done if any(reject.reason in reasons for reject in record.rejects)}
        except LayerCorrupt as error:
            store.set_aside(error.layer_dir, error.unit)


def _remove_rejecting_parts(store: LayerStore, task: Task, reasons: Sequence[str]) -> None:
    """Remove parts with rejects of these reasons, of units that are not done."""
    for name in store.parts(task.layer_dir):
        part = read_part(store, task.layer_dir, name, versions(task.stage.packages))
        if part and any(reject.reason in reasons for reject in part.rejects):
            store.remove(store.part_name(task.layer_dir, name))


def map_items(
    function: Callable[[Item], Value],
    items: Iterable[Item],
    options: EngineOptions,
    *,
    name: Callable[[Item], str] = str,
    on_result: Callable[[Item, Value], None] | None = None,
    runtime_env: Mapping[str, Any] | None = None,
) -> list[Value]:
    """`[function(item) for item in items]`, in order; in parallel on Ray with one core each, or in this process.

    Args:
        function: a pure function at the top level of a module (called again for an item whose worker died).
        name: name of an item in errors.
        on_result: called in the driver for each result, in any order (for progress).

    Raises:
        Stopped: Ctrl-C or SIGTERM.
        SpatialdataError (or BadInput): the function raised it; any other exception is reported with the item's name.
    """
    listed = list(items)
    results: dict[int, Value] = {}

    def keep(numbered: tuple[int, Item], result: Any) -> None:
        number, item = numbered
        if isinstance(result, Failed):
            raise_failed(replace(result, message=f"{name(item)}: {result.message}"))
        results[number] = result
        if on_result is not None:
            on_result(item, result)

    with interruptible(), session(options, runtime_env):
        if options.kind == "inline":
            for numbered in enumerate(listed):
                keep(numbered, _guarded(function, numbered))
        elif listed:
            from .ray_cluster import map_on_ray

            map_on_ray(function, list(enumerate(listed)), _guarded, keep)
    return [results[number] for number in range(len(listed))]


def _guarded(function: Callable[[Item], Value], numbered: tuple[int, Item]) -> Value | Failed:
    try:
        return function(numbered[1])
    except SpatialdataError as error:
        return Failed(str(error), error.exit_code)
    except Exception as error:  # last handler of the worker process: the driver reports it
        return Failed(last_lines(error))


@contextmanager
def session(
    options: EngineOptions, runtime_env: Mapping[str, Any] | None = None, stages: Sequence[Stage] = ()
) -> Generator[None]:
    """Connect to Ray (no-op for `inline`), so that several calls share one start of Ray (5 to 14 s).

    Args:
        stages: those that `run` is given inside; workers get the packages of plugged-in ones.

    Raises Stopped on Ctrl-C and SIGTERM inside.
    """
    if options.kind == "inline":
        yield
        return
    from .ray_engine import connected

    # Entered again, because Ray has set its own handler, which ends the process.
    with connected(options, runtime_env, places(stages)), interruptible():
        yield
