"""Computes one unit of one stage; the same code runs in workers and in the driver's process.

Invariants: every sample of the unit that all needed layers accepted becomes a row or a reject in one commit. Of a stage
that spills, the results of a call that returned are not computed again. Results of jobs are small: ids and numbers.
"""

import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ...shards.errors import SpatialdataError, WorkerLost
from ...shards.sample import Columns, Row, Sample
from ...shards.stage import Stage
from ...sources.derived import ORIGIN_REJECTED
from ..store.fingerprints import layer_dirs
from ..store.layers import LayerCorrupt, LayerStore, PartName, Record, Rejected, versions
from ..store.parts import Part, read_part, write_part
from ..store.plan import Plan
from ..store.storage import FULL, disk_full
from .calls import ERROR, call, calls_of, inseparable, last_lines

QUARANTINED = "quarantined"


@dataclass(frozen=True)
class Task:
    """A stage, the folder of its layer, and the folders of the layers that it needs."""

    stage: Stage
    layer_dir: str
    needs: Mapping[str, str]
    """Layer -> folder of the layers that the stage needs."""

    @property
    def layer(self) -> str:
        return self.stage.layer

    @property
    def own_pool(self) -> bool:
        return self.stage.own_pool or self.stage.gpus > 0

    @property
    def faults(self) -> frozenset[str]:
        """Reject reasons whose cause is the machine or another sample, not the sample itself."""
        return self.machine_faults | {ORIGIN_REJECTED}

    @property
    def machine_faults(self) -> frozenset[str]:
        """Reject reasons that may be gone after a restart. Parts hold none: only a commit makes them final."""
        return frozenset({ERROR, *self.stage.faults})

    @property
    def timeout(self) -> float:
        return self.stage.timeout


@dataclass(frozen=True)
class Job:
    """One unit of one layer to compute. With `keys`, a trial of these samples only: nothing is committed."""

    layer: str
    unit: int
    attempt: int = 1
    quarantined: Mapping[str, str] = field(default_factory=dict[str, str])
    """Samples to leave out: key -> why."""
    keys: tuple[str, ...] | None = None


@dataclass(frozen=True)
class UnitSummary:
    """A committed unit, or a trial that the worker survived."""

    layer: str
    unit: int
    rows: int = 0
    bytes: int = 0
    rejects: Mapping[str, int] = field(default_factory=dict[str, int])
    """Count for each reason."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0
    """Seconds times the GPUs of the worker."""
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    rejected: tuple[int, ...] = ()
    """Positions of the rejected samples in the unit."""
    ended: float = 0.0
    """Seconds since 1970."""


@dataclass(frozen=True)
class Damaged:
    """A layer file that the job needs is corrupt. It was set aside and must be recomputed first."""

    layer_dir: str
    unit: int
    message: str


@dataclass(frozen=True)
class Failed:
    """The run, or this worker, cannot continue."""

    message: str
    exit_code: int = 1
    worker_lost: bool = False
    """Only this worker is lost; another one can run the job."""


Outcome = UnitSummary | Damaged | Failed


def tasks_of(stages: Sequence[Stage], plan: str = "") -> list[Task]:
    """The stages with their folders, each after the layers that it needs. Arguments and errors: see `layer_dirs`."""
    dirs = layer_dirs(stages, plan)
    by_layer = {stage.layer: stage for stage in stages}
    return [Task(by_layer[name], dirs[name], {need: dirs[need] for need in by_layer[name].needs}) for name in dirs]


class Runner:
    """Runs jobs of several stages in one process; models are loaded when first needed, and kept.

    Args:
        gpus: GPUs of the process; default: the `gpus` of each stage.
        on_part: called when results of an unfinished unit have been kept.
    """

    def __init__(
        self,
        store: LayerStore,
        plan: Plan,
        tasks: Sequence[Task],
        gpus: float | None = None,
        on_part: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._plan = plan
        self._gpus = gpus
        self._on_part = on_part
        self._tasks = {task.layer: task for task in tasks}
        self._models: dict[str, Any] = {}

    def prepare(self, layers: Sequence[str]) -> Failed | None:
        """Call `setup` of the stages of these layers."""
        for layer in layers:
            try:
                self._model(layer)
            except SpatialdataError as error:
                return Failed(str(error), error.exit_code)
            except Exception as error:  # a stage may raise anything
                return Failed(f"setup of the stage of layer '{layer}' failed: {last_lines(error)}")
        return None

    def do(self, job: Job) -> Outcome:
        """Run one job. Errors are returned, except those that end the process."""
        task = self._tasks[job.layer]
        try:
            failed = self.prepare([job.layer])
            if failed is not None:
                return failed
            gpus = task.stage.gpus if self._gpus is None else self._gpus
            return run_unit(self._store, self._plan, task, self._model(job.layer), job, gpus, self._on_part)
        except LayerCorrupt as error:
            self._store.set_aside(error.layer_dir, error.unit)
            return Damaged(error.layer_dir, error.unit, str(error))
        except WorkerLost as error:
            return Failed(str(error), error.exit_code, worker_lost=True)
        except SpatialdataError as error:
            return Failed(str(error), error.exit_code)
        except OSError as error:
            if error.errno in FULL:
                return Failed(str(disk_full(str(error.filename or self._store), error)))
            return Failed(f"layer '{job.layer}', unit {job.unit}: {last_lines(error)}")
        except Exception as error:  # last handler of the worker process: the driver reports it
            return Failed(f"layer '{job.layer}', unit {job.unit}: {last_lines(error)}")

    def _model(self, layer: str) -> Any:
        if layer not in self._models:
            self._models[layer] = self._tasks[layer].stage.setup()
        return self._models[layer]


def run_unit(
    store: LayerStore,
    plan: Plan,
    task: Task,
    model: Any,
    job: Job,
    gpus: float = 0.0,
    on_part: Callable[[], None] = lambda: None,
) -> UnitSummary:
    """Read the needed layers of a unit, call the stage, and commit, unless the job is a trial or the unit is done.

    Raises LayerCorrupt if a needed layer file is damaged, SpatialdataError if the run cannot continue.
    """
    clock = _Clock(task.stage, model)
    if job.keys is None and store.exists(store.record_name(task.layer_dir, job.unit)):
        return summarize(task.layer, store.record(task.layer_dir, job.unit), plan)
    samples = load_samples(store, plan, task, job.unit)
    kept = _kept_parts(store, task, job, samples) if task.stage.spills else []
    made: list[Part] = []
    for asked, whole in calls_of(task.stage, samples, _wanted(samples, job, kept)):
        made.append(_compute(task.stage, model, asked))
        if task.stage.spills and whole:
            _keep_part(store, plan, task, job.unit, made[-1], asked)
            on_part()
    if job.keys is not None:
        return UnitSummary(task.layer, job.unit)
    merged = _merged([*kept, *made], samples, job.quarantined)
    seconds, cpu_seconds = clock.read()
    seconds += sum(part.seconds for part in kept)
    record = Record(
        unit=job.unit,
        layer=task.layer_dir,
        rejects=merged.rejects,
        counts=merged.counts,
        seconds=round(seconds, 3),
        cpu_seconds=round(cpu_seconds + sum(part.cpu_seconds for part in kept), 3),
        gpus=gpus,
        attempts=job.attempt,
        versions=versions(task.stage.packages),
        host=socket.gethostname(),
        started=(datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="seconds"),
    )
    committed = store.write(task.layer_dir, job.unit, merged.rows, record)
    if task.stage.spills:
        store.remove_parts(task.layer_dir, job.unit)
    return summarize(task.layer, committed, plan)


def _wanted(samples: Sequence[Sample], job: Job, kept: Sequence[Part]) -> set[str]:
    """The samples to compute."""
    asked = {sample.key for sample in samples if job.keys is None or sample.key in job.keys}
    return asked - job.quarantined.keys() - _keys_of(kept)


def _kept_parts(store: LayerStore, task: Task, job: Job, samples: Sequence[Sample]) -> list[Part]:
    """The parts of a unit from earlier jobs, without those of quarantined samples.

    Parts that no job can use are removed: damaged ones, of other samples, or of samples that another part has, too.
    """
    families = [{sample.key for sample in family} for family in inseparable(task.stage, samples)]
    kept: list[Part] = []
    for name in store.parts(task.layer_dir):
        if name.unit != job.unit:
            continue
        part = read_part(store, task.layer_dir, name, versions(task.stage.packages))
        whole = frozenset(key for family in families if part and family <= part.keys for key in family)
        if part is None or part.keys != whole or part.keys & _keys_of(kept):
            store.remove(store.part_name(task.layer_dir, name))
        elif part.keys.isdisjoint(job.quarantined):
            kept.append(part)
    return kept


def _keys_of(parts: Sequence[Part]) -> set[str]:
    return set[str]().union(*(part.keys for part in parts))


def _keep_part(store: LayerStore, plan: Plan, task: Task, unit: int, part: Part, samples: Sequence[Sample]) -> None:
    """Write the results of a call to a file, unless a restart may change them."""
    if task.machine_faults.isdisjoint(reject.reason for reject in part.rejects):
        name = PartName(unit, plan.keys(unit).index(samples[0].key), len(samples))
        write_part(store, task.layer_dir, name, part, versions(task.stage.packages))


def _compute(stage: Stage, model: Any, samples: Sequence[Sample]) -> Part:
    """Call the stage once."""
    clock = _Clock(stage, model)
    rows: dict[str, Columns] = {}
    rejects: list[Rejected] = []
    counts: Counter[str] = Counter()
    for sample, result in zip(samples, call(stage, model, samples), strict=True):
        counts.update(result.counts)
        if isinstance(result, Row):
            rows[sample.key] = result.columns
        else:
            rejects.append(Rejected(sample.key, result.reason, result.score, result.detail, dict(result.scores)))
    return Part(rows, tuple(rejects), dict(counts), *clock.read())


def _merged(parts: Sequence[Part], samples: Sequence[Sample], quarantined: Mapping[str, str]) -> Part:
    """The results of a whole unit, in plan order."""
    rows: dict[str, Columns] = {}
    rejects = {key: Rejected(key, QUARANTINED, detail=why) for key, why in quarantined.items()}
    counts: Counter[str] = Counter()
    for part in parts:
        rows.update(part.rows)
        rejects.update({reject.key: reject for reject in part.rejects})
        counts.update(part.counts)
    keys = [sample.key for sample in samples]
    return Part(
        {key: rows[key] for key in keys if key in rows},
        tuple(rejects[key] for key in keys if key in rejects),
        dict(sorted(counts.items())),
    )


class _Clock:
    """Seconds and CPU seconds since it was made, of this process and of the processes that the stage has started."""

    def __init__(self, stage: Stage, model: Any) -> None:
        self._stage, self._model = stage, model
        self._began, self._cpu = time.monotonic(), self._cpu_now()

    def read(self) -> tuple[float, float]:
        return time.monotonic() - self._began, self._cpu_now() - self._cpu

    def _cpu_now(self) -> float:
        return time.process_time() + self._stage.cpu_seconds(self._model)


def summarize(layer: str, record: Record, plan: Plan) -> UnitSummary:
    """The numbers of a record, with positions in place of keys."""
    keys = {reject.key for reject in record.rejects}
    started = datetime.fromisoformat(record.started).timestamp() if record.started else 0.0
    return UnitSummary(
        layer,
        record.unit,
        record.rows,
        record.bytes,
        rejects=dict(Counter(reject.reason for reject in record.rejects)),
        seconds=record.seconds,
        cpu_seconds=record.cpu_seconds,
        gpu_seconds=record.seconds * record.gpus,
        counts=record.counts,
        rejected=tuple(place for place, key in enumerate(plan.keys(record.unit)) if key in keys) if keys else (),
        ended=started + record.seconds,
    )


def load_samples(store: LayerStore, plan: Plan, task: Task, unit: int) -> list[Sample]:
    """The samples of a unit that every needed layer accepted, in plan order, with the columns of these layers."""
    wanted = task.stage.columns
    layers = {name: store.read(folder, unit, wanted.get(name)) for name, folder in task.needs.items()}
    return [
        Sample(row.key, row.split, row.spec, {name: rows[row.key] for name, rows in layers.items()})
        for row in plan.rows(unit)
        if all(row.key in rows for rows in layers.values())
    ]
