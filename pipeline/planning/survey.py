"""The models of a source, and the asset survey: a build of its own, of a row for each model.

Invariant: what it says of a model depends on that model alone, so builds may share it (`source.survey_folder`). It
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
"""Assets of a unit."""
_ASSET: Final = TypeAdapter(Asset)
_DESCRIPTION: Final = TypeAdapter(Description)
T = TypeVar("T")


def find_assets(config: Config, store: LayerStore, say: Callable[[str], None], progress: Progress) -> list[Asset]:
    """The models of the source that scenes can show. Raises BadInput where there are none."""

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
    """Look at every model, once for a source: a build of two layers, resumable like any other.

    Builds may share its folder (`source.survey_folder`): one looks, the others wait for it. A unit that turns out to be
    damaged is looked at again, once.

    Raises:
        BadInput: no model can be used (the line counts the reasons), or the survey was made with other packages.
    """
    digest = hashlib.sha256(canonical(specs).encode()).hexdigest()[:16]
    kept = LayerStore(f"{survey_folder(config, store).rstrip('/')}/{digest}", **store.options)
    rows = (PlanRow(asset_key(spec["uid"]), "train", spec) for spec in specs)
    with wait_for_lock(kept, say) as lock:
        if kept.exists(PLAN):
            _check_versions(kept)
        plan = write_plan(kept, {"survey": digest}, rows, _UNIT, say=say)
        say(f"looking at {len(specs)} assets")
        assets = mended(
            kept,
            lambda: run(stages, kept, plan, config.engine, progress, guard=lock.check),
            lambda: _usable(kept, plan, stages, say),
            say,
        )
    store.write_file(REJECTED_ASSETS, canonical(_rejected(kept, plan, stages)).encode())
    return assets


def survey_folder(config: Config, store: LayerStore) -> str:
    """Folder of the asset surveys of a build, one in it for each list of models."""
    return absolute(get_source(config.source.kind).survey_folder(config.source)) or f"{store.url.rstrip('/')}/survey"


def read_planned(store: LayerStore, folder: str, unit: int, keys: Collection[str]) -> dict[str, dict[str, Value]]:
    """As `LayerStore.read`, of a layer whose fingerprint does not cover the plan; `keys` are the samples asked for.

    Raises LayerCorrupt where its samples are others, too: the files may be of another folder.
    """
    rows = store.read(folder, unit)
    if {*rows, *(reject.key for reject in store.record(folder, unit).rejects)} != set(keys):
        what = f"layer file {store.path(store.data_name(folder, unit))} holds other samples than planned"
        raise LayerCorrupt(f"{what}: run the same command again", folder, unit)
    return rows


def mended(store: LayerStore, make: Callable[[], object], read: Callable[[], T], say: Callable[[str], None]) -> T:
    """What `read` gives once all is made; a unit that turns out to be damaged is made again, once."""
    places: set[tuple[str, int]] = set()
    while True:
        make()
        try:
            return read()
        except LayerCorrupt as error:
            place = (error.layer_dir, error.unit)
            if place in places:
                raise
            places.add(place)
            say(f"{str(error).split(': run ')[0]}: moved aside, made again")
            store.set_aside(*place)


def _check_versions(kept: LayerStore) -> None:
    """Raise BadInput where other packages looked at the models: they may have seen other shapes and colours."""
    try:
        old, new = dict(read_plan(kept).versions), versions()
    except PlanDamaged:
        return  # it is made again
    changed = [
        f"{name} {old.get(name)} -> {new.get(name)}" for name in sorted(old | new) if old.get(name) != new.get(name)
    ]
    if changed:
        raise BadInput(
            f"source.survey_folder: the asset survey in {kept} was made with other packages ({', '.join(changed)}): "
            "remove that folder, or set source.survey_folder to another one, and the models are surveyed again"
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
            keys = list(rows)  # what one rejects the next is not asked
        assets += [_ASSET.validate_json(str(row["asset"])) for row in rows.values()]
        descriptions += [_DESCRIPTION.validate_json(str(row["identity"])) for row in rows.values()]
    counted = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
    if not assets:
        first = "; ".join(f"{asset['uid']}: {asset['detail']}" for asset in _rejected(store, plan, stages)[:3])
        raise BadInput(
            f"source.root: none of the {plan.samples} assets can be used: {counted} ({first}); give a root with sound "
            f"models (the record of each is under {store})"
        )
    if reasons:
        say(f"{reasons.total()} of {plan.samples} assets cannot be used: {counted} ({REJECTED_ASSETS} names them)")
    if noted := [asset for asset in assets if asset.size_note]:
        say(f"{len(noted)} known sizes are not plain meters, such as {noted[0].size_note} (asset {noted[0].uid})")
    assets = identify(assets, descriptions)
    models, shapes = len({asset.model for asset in assets}), len({asset.family for asset in assets})
    if shapes < len(assets):
        say(
            f"{len(assets)} assets are {models} different models of {shapes} shapes: those of one shape are in one "
            "split, and no scene holds a model twice"
        )
    return assets


def _rejected(kept: LayerStore, plan: Plan, stages: Sequence[Stage]) -> list[dict[str, str]]:
    """What the survey rejected (uid, reason, detail), by uid."""
    uids = {row.key: str(row.spec["uid"]) for unit in range(plan.units) for row in plan.rows(unit)}
    found = [
        {"uid": uids[reject.key], "reason": reject.reason, "detail": reject.detail}
        for folder in layer_dirs(stages).values()
        for record in kept.records(folder)
        for reject in record.rejects
    ]
    return sorted(found, key=lambda asset: asset["uid"])


def rejected_assets(store: LayerStore) -> list[dict[str, str]]:
    """The assets that a build's survey rejected (uid, reason, detail); none where there is no readable list."""
    try:
        found: list[dict[str, str]] = json.loads(store.read_file(REJECTED_ASSETS))
    except (FileNotFoundError, ValueError):
        return []
    return found


def asset_key(uid: str) -> str:
    """A uid as a key of the survey's plan: as it is where it fits, else its hash."""
    plain = uid.lower()
    fits = plain == uid and plain.replace("-", "").isalnum() and plain.isascii() and len(plain) <= 80
    return plain if fits else hashlib.sha256(uid.encode()).hexdigest()[:32]


def absolute(path: str) -> str:
    """The same on every node, whatever folder its workers run in; URLs and nothing stay as they are."""
    return path if not path or "://" in path else str(Path(path).expanduser().absolute())
