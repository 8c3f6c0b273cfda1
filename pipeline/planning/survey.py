"""The assets of a source, and the asset survey: a separate build with one row for each model.

Invariant: the result for a model depends only on that model, so builds may share a survey (`source.survey_folder`). It
is resumed and rebuilt like any other build.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter

from ...shards.errors import BadInput
from ...shards.sample import Value
from ...shards.stage import Stage
from ...sources.assets.asset import Asset
from ...sources.assets.identity import Description, identify
from ...sources.registry import get_scene_source, get_source
from ..config import Config
from ..engine.progress import Progress
from ..engine.run import run
from ..store.fingerprints import canonical, layer_dirs
from ..store.layers import LayerCorrupt, LayerStore, versions
from ..store.lock import wait_for_lock
from ..store.plan import PLAN, Plan, PlanDamaged, PlanRow, read_plan, write_plan
from .request import request_of

REJECTED_ASSETS: Final = "plan/rejected_assets.json"
_UNIT: Final = 16
"""Assets per unit."""
_ASSET: Final = TypeAdapter(Asset)
_DESCRIPTION: Final = TypeAdapter(Description)
T = TypeVar("T")


def find_assets(config: Config, store: LayerStore, say: Callable[[str], None], progress: Progress) -> list[Asset]:
    """The assets of the source that scenes can show. Raises BadInput if there are none."""

    def survey(specs: Sequence[Mapping[str, Any]], stages: Sequence[Stage]) -> list[Asset]:
        return _survey(config, store, specs, stages, say, progress)

    return get_scene_source(config.source.kind).assets(request_of(config, store, say), survey)


def _survey(
    config: Config,
    store: LayerStore,
    specs: Sequence[Mapping[str, Any]],
    stages: Sequence[Stage],
    say: Callable[[str], None],
    progress: Progress,
) -> list[Asset]:
    """Survey every model of a source once: a build of two layers that resumes like any other.

    Builds may share its folder (`source.survey_folder`): one runs the survey, the others wait for it. A damaged unit is
    recomputed once.

    Raises:
        BadInput: no model can be used (the message counts the reasons), or the survey was made with other packages.
    """
    rows = [PlanRow(asset_key(spec["uid"]), "train", spec) for spec in specs]

    def read(survey_store: LayerStore, plan: Plan) -> tuple[list[Asset], list[dict[str, str]]]:
        return _usable(survey_store, plan, stages, say), _rejected(survey_store, plan, stages)

    assets, rejected = look_at(config, store, "survey", rows, stages, read, say, progress)
    store.write_file(REJECTED_ASSETS, canonical(rejected).encode())
    return assets


def look_at(
    config: Config,
    store: LayerStore,
    what: str,
    rows: Sequence[PlanRow],
    stages: Sequence[Stage],
    read: Callable[[LayerStore, Plan], T],
    say: Callable[[str], None],
    progress: Progress,
) -> T:
    """Run stages over models, in a folder of its own for each list of models (`survey_folder`); see `_survey`.

    Args:
        what: name of the list's digest in the plan.
        read: reads the layers; may raise LayerCorrupt.
    """
    digest = hashlib.sha256(canonical([row.spec for row in rows]).encode()).hexdigest()[:16]
    survey_store = LayerStore(f"{survey_folder(config, store).rstrip('/')}/{digest}", **store.options)
    with wait_for_lock(survey_store, say) as lock:
        if survey_store.exists(PLAN):
            _check_versions(survey_store)
        plan = write_plan(survey_store, {what: digest}, rows, _UNIT, say=say)
        say(f"surveying {len(rows)} assets")
        return rebuild_damaged(
            survey_store,
            lambda: run(stages, survey_store, plan, config.engine, progress, guard=lock.check),
            lambda: read(survey_store, plan),
            say,
        )


def survey_folder(config: Config, store: LayerStore) -> str:
    """Folder of a build's asset surveys. It has one subfolder for each list of models."""
    return absolute(get_source(config.source.kind).survey_folder(config.source)) or f"{store.url.rstrip('/')}/survey"


def read_planned(store: LayerStore, folder: str, unit: int, keys: Collection[str]) -> dict[str, dict[str, Value]]:
    """Like `LayerStore.read`, for a layer whose fingerprint does not cover the plan.

    Args:
        keys: the samples that the unit must have.

    Raises LayerCorrupt also if the unit has other samples: the files may belong to another folder.
    """
    rows = store.read(folder, unit)
    if {*rows, *(reject.key for reject in store.record(folder, unit).rejects)} != set(keys):
        what = f"layer file {store.path(store.data_name(folder, unit))} holds other samples than planned"
        raise LayerCorrupt(f"{what}: run the same command again", folder, unit)
    return rows


def rebuild_damaged(
    store: LayerStore, make: Callable[[], object], read: Callable[[], T], say: Callable[[str], None]
) -> T:
    """Run `make` and return the result of `read`. If `read` finds a damaged unit, recompute that unit once."""
    rebuilt: set[tuple[str, int]] = set()
    while True:
        make()
        try:
            return read()
        except LayerCorrupt as error:
            place = (error.layer_dir, error.unit)
            if place in rebuilt:
                raise
            rebuilt.add(place)
            say(f"{str(error).split(': run ')[0]}: set aside, recomputing it")
            store.set_aside(*place)


def _check_versions(survey_store: LayerStore) -> None:
    """Raise BadInput if the survey was made with other packages, which may measure other shapes and colors."""
    try:
        old, new = dict(read_plan(survey_store).versions), versions()
    except PlanDamaged:
        return  # the plan is written again
    changed = [
        f"{name} {old.get(name)} -> {new.get(name)}" for name in sorted(old | new) if old.get(name) != new.get(name)
    ]
    if changed:
        raise BadInput(
            f"source.survey_folder: the asset survey in {survey_store} was made with other packages "
            f"({', '.join(changed)}): remove that folder, or set source.survey_folder to another one, to survey the "
            "models again"
        )


def _usable(store: LayerStore, plan: Plan, stages: Sequence[Stage], say: Callable[[str], None]) -> list[Asset]:
    folders = layer_dirs(stages)
    assets: list[Asset] = []
    descriptions: list[Description] = []
    reasons: Counter[str] = Counter()
    for unit in range(plan.units):
        keys = plan.keys(unit)
        rows: dict[str, dict[str, Value]] = {}
        for stage in stages:
            rows = read_planned(store, folders[stage.layer], unit, keys)
            reasons.update(reject.reason for reject in store.record(folders[stage.layer], unit).rejects)
            keys = list(rows)  # the next stage does not get the rejects of this one
        assets += [_ASSET.validate_json(str(row["asset"])) for row in rows.values()]
        descriptions += [_DESCRIPTION.validate_json(str(row["identity"])) for row in rows.values()]
    counted = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
    if not assets:
        first = "; ".join(f"{asset['uid']}: {asset['detail']}" for asset in _rejected(store, plan, stages)[:3])
        raise BadInput(
            f"source.root: none of the {plan.samples} assets can be used: {counted} ({first}); use a root with intact "
            f"models (the records are under {store})"
        )
    if reasons:
        say(f"{reasons.total()} of {plan.samples} assets cannot be used: {counted} ({REJECTED_ASSETS} names them)")
    if unclear := [asset for asset in assets if asset.size_note]:
        say(f"{len(unclear)} known sizes are not plain meters, such as {unclear[0].size_note} (asset {unclear[0].uid})")
    assets = identify(assets, descriptions)
    models, shapes = len({asset.model for asset in assets}), len({asset.family for asset in assets})
    if shapes < len(assets):
        say(
            f"{len(assets)} assets are {models} different models of {shapes} shapes: assets of one shape are in one "
            "split, and no scene has a model twice"
        )
    return assets


def _rejected(survey_store: LayerStore, plan: Plan, stages: Sequence[Stage]) -> list[dict[str, str]]:
    """The assets that the survey rejected (uid, reason, detail), sorted by uid."""
    uids = {row.key: str(row.spec["uid"]) for unit in range(plan.units) for row in plan.rows(unit)}
    found = [
        {"uid": uids[reject.key], "reason": reject.reason, "detail": reject.detail}
        for folder in layer_dirs(stages).values()
        for record in survey_store.records(folder)
        for reject in record.rejects
    ]
    return sorted(found, key=lambda asset: asset["uid"])


def rejected_assets(store: LayerStore) -> list[dict[str, str]]:
    """The assets that a build's survey rejected (uid, reason, detail); empty if there is no readable list."""
    try:
        found: list[dict[str, str]] = json.loads(store.read_file(REJECTED_ASSETS))
    except (FileNotFoundError, ValueError):
        return []
    return found


def asset_key(uid: str) -> str:
    """The key of a uid in the survey's plan: the uid itself if it is a valid key, else its hash."""
    plain = uid.lower()
    fits = plain == uid and plain.replace("-", "").isalnum() and plain.isascii() and len(plain) <= 80
    return plain if fits else hashlib.sha256(uid.encode()).hexdigest()[:32]


def absolute(path: str) -> str:
    """An absolute path, since workers run in other folders. URLs and an empty path are unchanged."""
    return path if not path or "://" in path else str(Path(path).expanduser().absolute())
