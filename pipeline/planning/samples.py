"""What a build's samples are: asks the source, and freezes the answer.

Invariant: once `plan.json` is there, the asset table and the rows under OUT are the truth; the source is only looked
at again to read what they name.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...shards.schema import Split
from ...sources.assets.asset import Asset
from ...sources.assets.orientations import apply_orientations
from ...sources.assets.table import MIN_MODELS, AssetTable, split_assets, table_of
from ...sources.registry import get_source
from ...sources.source import PairSource, SceneSource
from ..config import Config
from ..engine.progress import make_progress
from ..engine.render_device import Kind, check_device, resolve_device
from ..registry import build_stages
from ..store.families import unit_rows, with_inverse
from ..store.fingerprints import layer_dirs
from ..store.layers import LayerStore
from ..store.plan import Plan, PlanDamaged, check_rows, damaged_plan, find_plan, write_plan
from .request import ASSETS, request_of, resolved_request
from .scene_rows import plan_scenes
from .survey import find_assets

_LOOKED_FOR = 4
"""Of the planned pairs, or of the planned models of each split, those that must be under the root."""


def plan_build(
    config: Config, store: LayerStore, say: Callable[[str], None], quiet: bool = False, *, foreign: bool = False
) -> Plan:
    """The plan of a build: the one that is under OUT if it is of this configuration, else a new one.

    Args:
        say: told what a person should know, a line each.
        foreign: the plan.json under OUT is known to be of another OUT (`configurations.check_replanned`).

    Raises:
        BadInput: OUT holds another plan, or the source cannot give what is asked.
    """
    if (rows := unit_rows(config)) != config.unit_size:
        say(
            f"unit_size: a unit has {config.unit_size} samples of the source and those derived from them, {rows} in all"
        )
    source = get_source(config.source.kind)
    if isinstance(source, PairSource):
        return _plan_pairs(config, source, store, say, foreign)
    return _plan_scenes(config, source, store, say, quiet, foreign)


def plan_config(config: Config) -> dict[str, Any]:
    """What decides which samples exist. The root is not in it: a source may be mounted elsewhere tomorrow."""
    kind = config.source.kind
    return {
        "source": {"kind": kind, **config.source.model_dump(mode="json", include=set(get_source(kind).planned))},
        "samples": config.samples,
        "edits": dict(sorted(config.edits.weights.items())) | _derived(config),
        "shard": {"splits": config.shard.splits.model_dump(mode="json")},
    }


def _derived(config: Config) -> dict[str, bool]:
    """What is derived, if anything: plans of earlier versions say nothing of it."""
    return {name: True for name in ("invert", "compose") if getattr(config.edits, name)}


def _plan_scenes(
    config: Config,
    source: SceneSource[Any],
    store: LayerStore,
    say: Callable[[str], None],
    quiet: bool,
    foreign: bool,
) -> Plan:
    digest = _settle_assets(config, source, store, say, quiet, foreign)
    samples = config.samples if isinstance(config.samples, int) else 0
    edits = {str(kind): weight for kind, weight in config.edits.weights.items()}
    splits = {str(split): fraction for split, fraction in config.shard.splits.fractions().items()}
    prefix = f"{source.kind}-{config.seed}"
    invert, compose = config.edits.invert, config.edits.compose
    rows = plan_scenes(samples, config.seed, edits, splits, prefix, invert=invert, compose=compose)
    content = plan_config(config) | {"assets": digest}
    plan = write_plan(store, content, rows, unit_rows(config), config.seed, say, foreign=foreign)
    resolve_device(config, store, lambda: _rendered_on(config, store, plan))
    return plan


def _rendered_on(config: Config, store: LayerStore, plan: Plan) -> Kind | None:
    """On what kind of device the images were rendered that the build has; None where it has none."""
    for kind in ("cpu", "gpu"):
        chosen = config.model_copy(update={"render": config.render.model_copy(update={"device": kind})})
        stages = build_stages(chosen, pair_arguments(chosen, store, plan), store.url)
        if store.names(f"layers/{layer_dirs(stages, plan.hash)['pair']}"):
            return kind
    return None


def pair_arguments(config: Config, store: LayerStore, plan: Plan | None = None) -> dict[str, Any]:
    """The fields of the pair stage that the plan and the source settle; without a plan, those known so far.

    Looks at nothing but OUT: a finished build can be packed where its source, or its GPU, is not. `check_source` does.
    """
    return get_source(config.source.kind).pair_arguments(resolved_request(config, store, plan))


def check_source(config: Config, store: LayerStore, plan: Plan) -> None:
    """Look whether samples of the plan can be made: another source would reject them one by one, for good.

    Raises BadInput where the source lacks what was planned or the device that it was begun on is not here,
    SpatialdataError where the asset table is damaged.
    """
    source = get_source(config.source.kind)
    if isinstance(source, PairSource):
        source.check_root(config.source, [row.spec for row in plan.rows(0)[:_LOOKED_FOR]], str(store))
        return
    check_device(config, store)
    if _held_assets(store) != plan.config["assets"]:
        raise PlanDamaged(damaged_plan(store, f"{ASSETS} is not the table that was planned with"))
    table = AssetTable.read(request_of(config, store).assets)
    looked = [asset for split in sorted(table.pools) for asset in table.candidates(split, 0, 0)[:_LOOKED_FOR]]
    source.check_root(config.source, looked, str(store))


def _settle_assets(
    config: Config,
    source: SceneSource[Any],
    store: LayerStore,
    say: Callable[[str], None],
    quiet: bool,
    foreign: bool,
) -> str:
    """Write the table of the assets that scenes may draw, unless it is there; its sha256, which the plan keeps.

    Raises PlanDamaged where the table is damaged and the source gives another one now.
    """
    damaged, plan = foreign, None
    try:
        plan = None if foreign else find_plan(store)
    except PlanDamaged:
        damaged = True
    planned = str(plan.config.get("assets", "")) if plan else ""
    held = _held_assets(store)
    if held and (held == planned or damaged):
        return held
    assets = apply_orientations(
        find_assets(config, store, say, make_progress(quiet)), source.orientations(config.source)
    )
    data = _table(config, assets, say)
    digest = hashlib.sha256(data).hexdigest()
    if plan and digest != planned:
        check_rows(plan)  # else the plan may be of another folder, which is for `write_plan` to settle
        what = f"{ASSETS} is not the table that was planned with, and the source gives another one now"
        raise PlanDamaged(f"{damaged_plan(store, what)} where the source is as it was")
    if digest != held:
        store.write_file(ASSETS, data)
    say(f"{ASSETS} was damaged: made again, as it was" if plan else f"{len(assets)} assets to draw from")
    return digest


def _held_assets(store: LayerStore) -> str:
    """sha256 of the table of assets; empty where there is none that can be read."""
    try:
        data = store.read_file(ASSETS)
        pq.ParquetFile(pa.BufferReader(data))
    except (OSError, pa.ArrowException):
        return ""
    return hashlib.sha256(data).hexdigest()


def _table(config: Config, assets: Sequence[Asset], say: Callable[[str], None]) -> bytes:
    """The table of the assets that scenes may draw."""
    splits = split_assets(assets, config.shard.splits.fractions(), config.seed)
    for line in _told_of_splits(assets, splits):
        say(line)
    table = table_of(assets, splits)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def _told_of_splits(assets: Sequence[Asset], splits: Mapping[str, Split]) -> Iterator[str]:
    """Which splits hold too few models for a scene, a line each."""
    held: dict[Split, set[str]] = {}
    for asset in assets:
        held.setdefault(splits[asset.uid], set()).add(asset.model or asset.uid)
    for split, found in sorted(held.items()):
        if len(found) < MIN_MODELS:
            yield (
                f"{split} has one model alone, and a scene needs {MIN_MODELS} different ones: its samples will be "
                "rejected; give more models, or fewer splits"
            )


def _plan_pairs(
    config: Config, source: PairSource[Any], store: LayerStore, say: Callable[[str], None], foreign: bool
) -> Plan:
    found = source.rows(request_of(config, store, say))
    rows = (planned for row in found for planned in (with_inverse(row) if config.edits.invert else (row,)))
    return write_plan(store, plan_config(config), rows, unit_rows(config), config.seed, say, foreign=foreign)
