"""Rebuild one sample: all layers of its unit, in this process.

Invariant: nothing is removed before every stage is ready, and only under the run lock.
"""

from typing import Any

from ...shards.errors import SpatialdataError
from ...shards.extras import require_all
from ..engine.ready_units import raise_failed
from ..engine.runner import Damaged, Failed, Job, Runner, tasks_of
from ..interrupts import interruptible
from ..opened import open_build
from ..packing.packed_recipes import packed_recipes
from ..planning.samples import check_source
from ..report.why.keys import find_key
from ..secret_values import check_secrets
from ..store.layers import LayerCorrupt, LayerStore
from ..store.lock import RunLock
from ..store.plan import check_rows


@interruptible()
def run_rebuild(out: str, key: str) -> dict[str, Any]:
    """Recompute the unit of a sample. The unit is what is committed, so its other samples are recomputed as well.

    Returns the unit, its samples, `changed`: the layers whose files differ from before, and `recipes`: the packed
    recipes, which should be packed again if a layer changed.

    Raises:
        BadInput: there is no build, or no such key, another run holds OUT, or the source is missing.
        SpatialdataError: a stage failed. If it failed to load, the old files stay; else the next build recomputes the
            missing ones.
    """
    build = open_build(out)
    require_all("rebuilding a sample", ("shapely", "trimesh"), "build")
    unit = find_key(build.plan, key).unit
    store, tasks = build.store, tasks_of(build.stages, build.plan.hash)
    with RunLock(store) as lock:
        check_rows(build.plan)
        check_secrets(build.config.model_dump(mode="json"))
        check_source(build.config, store, build.plan)
        runner = Runner(store, build.plan, tasks)
        if failed := runner.prepare([task.layer for task in tasks]):
            raise_failed(failed)
        before = {task.layer: _digest(store, task.layer_dir, unit) for task in tasks}
        for task in reversed(tasks):
            store.discard(task.layer_dir, unit)
        for task in tasks:
            lock.check()
            outcome = runner.do(Job(task.layer, unit))
            if isinstance(outcome, Failed):
                raise_failed(outcome)
            if isinstance(outcome, Damaged):
                raise SpatialdataError(f"{outcome.message} (check the disk: the file was just written)")
    changed = [task.layer for task in tasks if _digest(store, task.layer_dir, unit) != before[task.layer]]
    about = {"out": str(store), "key": key, "unit": unit, "samples": build.plan.size(unit)}
    return {**about, "changed": changed, "recipes": packed_recipes(store)}


def _digest(store: LayerStore, folder: str, unit: int) -> str:
    """Digest of a layer file and its rejects; empty if there is no record."""
    try:
        record = store.record(folder, unit)
    except LayerCorrupt:
        return ""
    rejects = sorted((reject.key, reject.reason) for reject in record.rejects)
    return f"{record.sha256} {rejects}"
