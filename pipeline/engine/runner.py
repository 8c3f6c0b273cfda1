"""Computes one unit of one stage; the same code runs in workers and in the driver's process.

Invariants: every sample of the unit that all needed layers accepted becomes a row or a reject in one commit. An
exception of a stage rejects one sample (and its derived samples); SpatialdataError stops the run. Results are small:
ids and numbers.
"""

import os
import socket
import time
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from ...shards.errors import SpatialdataError, WorkerLost
from ...shards.redact import redact
from ...shards.sample import Columns, Reject, Result, Row, Sample
from ...shards.stage import Stage, members_of
from ...sources.derived import ORIGIN_REJECTED
from ..store.families import family_of
from ..store.fingerprints import layer_dirs
from ..store.layers import LayerCorrupt, LayerStore, Record, Rejected, versions
from ..store.plan import Plan
from ..store.storage import FULL, disk_full

ERROR, QUARANTINED = "error", "quarantined"


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
        return frozenset({ERROR, ORIGIN_REJECTED, *self.stage.faults})

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
    """

    def __init__(self, store: LayerStore, plan: Plan, tasks: Sequence[Task], gpus: float | None = None) -> None:
        self._store = store
        self._plan = plan
        self._gpus = gpus
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
            return run_unit(self._store, self._plan, task, self._model(job.layer), job, gpus)
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


def run_unit(store: LayerStore, plan: Plan, task: Task, model: Any, job: Job, gpus: float = 0.0) -> UnitSummary:
    """Read the needed layers of a unit, call the stage, and commit, unless the job is a trial or the unit is done.

    Raises LayerCorrupt if a needed layer file is damaged, SpatialdataError if the run cannot continue.
    """
    began, cpu = time.monotonic(), _cpu_seconds(task.stage, model)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    if job.keys is None and store.exists(store.record_name(task.layer_dir, job.unit)):
        return summarize(task.layer, store.record(task.layer_dir, job.unit), plan)
    samples = load_samples(store, plan, task, job.unit)
    if job.keys is not None:
        samples = [sample for sample in samples if sample.key in job.keys]
    wanted = [sample for sample in samples if sample.key not in job.quarantined]
    results = dict(zip((sample.key for sample in wanted), _call_all(task.stage, model, wanted), strict=True))
    if job.keys is not None:
        return UnitSummary(task.layer, job.unit)
    rows: dict[str, Columns] = {}
    rejects: list[Rejected] = []
    counts: Counter[str] = Counter()
    for sample in samples:
        result = results.get(sample.key) or Reject(QUARANTINED, detail=job.quarantined.get(sample.key, ""))
        counts.update(result.counts)
        if isinstance(result, Row):
            rows[sample.key] = result.columns
        else:
            rejects.append(Rejected(sample.key, result.reason, result.score, result.detail, dict(result.scores)))
    record = Record(
        unit=job.unit,
        layer=task.layer_dir,
        rejects=tuple(rejects),
        counts=dict(sorted(counts.items())),
        seconds=round(time.monotonic() - began, 3),
        cpu_seconds=round(_cpu_seconds(task.stage, model) - cpu, 3),
        gpus=gpus,
        attempts=job.attempt,
        versions=versions(task.stage.packages),
        host=socket.gethostname(),
        started=started,
    )
    return summarize(task.layer, store.write(task.layer_dir, job.unit, rows, record), plan)


def _cpu_seconds(stage: Stage, model: Any) -> float:
    """CPU seconds so far of this process and of the processes that the stage has started."""
    return time.process_time() + stage.cpu_seconds(model)


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


def _call_all(stage: Stage, model: Any, samples: Sequence[Sample]) -> list[Result]:
    size = max(1, stage.samples_per_call or stage.batch_size)
    results: list[Result] = []
    parts = _inseparable(stage, samples)
    for first in range(0, len(parts), size):
        results += _call(stage, model, [sample for part in parts[first : first + size] for sample in part])
    return results


def _inseparable(stage: Stage, samples: Sequence[Sample]) -> list[list[Sample]]:
    """Groups of samples that one call must get together: families if the stage asks for them, else single samples."""
    if not stage.families:
        return [[sample] for sample in samples]
    return [list(family) for _, family in groupby(samples, lambda sample: family_of(sample.key, sample.spec))]


def _call(stage: Stage, model: Any, samples: Sequence[Sample]) -> list[Result]:
    """Call the stage on a batch; after an exception, sample by sample, rejecting those that fail with a traceback."""
    try:
        results = list(stage(model, samples))
    except SpatialdataError:
        raise
    except Exception as error:  # a stage may raise anything
        if isinstance(error, OSError) and error.errno in FULL:
            raise disk_full(str(error.filename or os.environ.get("TMPDIR", "/tmp")), error) from error
        if len(parts := _inseparable(stage, samples)) > 1:
            return [result for part in parts for result in _call(stage, model, part)]
        return [Reject(ERROR, detail=last_lines(error, lines=12)) for _ in samples]
    _check_results(stage, samples, results)
    return results


def _check_results(stage: Stage, samples: Sequence[Sample], results: Sequence[object]) -> None:
    name = f"stage {type(stage).__name__} (layer '{stage.layer}')"
    rule = "a stage must return one Row or Reject for each sample, in order"
    if len(results) != len(samples):
        raise SpatialdataError(
            f"{name} returned {len(results)} results for {len(samples)} samples (from '{samples[0].key}'): {rule}"
        )
    for sample, result in zip(samples, results, strict=True):
        if not isinstance(result, Row | Reject):
            raise SpatialdataError(f"{name} returned a {type(result).__name__} for sample '{sample.key}': {rule}")
        if isinstance(result, Row):
            for column, kind in members_of(stage).items():
                if not isinstance(result.columns.get(column), kind):
                    raise SpatialdataError(
                        f"{name} returned no {kind.__name__} in column '{column}' for sample '{sample.key}': {rule}, "
                        "with the member of each image in its `views`"
                    )


def last_lines(error: BaseException, lines: int = 4) -> str:
    """The last lines of a traceback, with secrets removed."""
    text = redact("".join(traceback.format_exception(error))).strip().splitlines()
    return "\n".join(text[-lines:])[-2000:]
