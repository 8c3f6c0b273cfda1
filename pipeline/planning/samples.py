"""What a build's samples are: asks the source, and freezes the answer.

Invariant: once `plan.json` is there, the asset table and the rows under OUT are the truth; the source is only looked
at again to read what they name.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...shards.errors import BadInput
from ...shards.interop.object3dit import TASKS
from ...shards.layout import base, filesystem, join
from ...shards.schema import Split
from ...sources.assets.asset import Asset
from ...sources.assets.orientations import orientation_file, oriented, read_orientations
from ...sources.assets.table import FEWEST_MODELS, AssetTable, divide, table_of
from ...sources.objaverse.cache import resolve_root
from ...sources.object3dit import scan
from ...sources.procedural import catalogue
from ..config import Config
from ..engine.progress import make_progress
from ..engine.render_device import Kind, check_device, gpus_of, settle, settled
from ..registry import build_stages
from ..store.families import unit_rows, with_inverse
from ..store.fingerprints import layer_dirs
from ..store.layers import LayerStore
from ..store.plan import Plan, PlanDamaged, PlanRow, check_rows, damaged_plan, find_plan, write_plan
from .scene_rows import plan_scenes
from .survey import absolute, survey

ASSETS = "plan/assets.parquet"
INDEXES = "plan/archives"


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
    if config.source.kind == "object3dit":
        return _plan_released(config, store, say, foreign)
    return _plan_scenes(config, store, say, quiet, foreign)


def plan_config(config: Config) -> dict[str, Any]:
    """What decides which samples exist. The root is not in it: a source may be mounted elsewhere tomorrow."""
    source = config.source.model_dump(mode="json", exclude={"root", "survey_folder", "fetch", "orientations"})
    if config.source.kind == "object3dit":
        source = {"kind": "object3dit"}
    elif config.source.kind == "procedural":
        source = {"kind": "procedural", "variants": config.source.variants}
    else:
        source.pop("variants")
    return {
        "source": source,
        "samples": config.samples,
        "edits": dict(sorted(config.edits.weights.items())) | _derived(config),
        "shard": {"splits": config.shard.splits.model_dump(mode="json")},
    }


def _derived(config: Config) -> dict[str, bool]:
    """What is derived, if anything: plans of earlier versions say nothing of it."""
    return {name: True for name in ("invert", "compose") if getattr(config.edits, name)}


def _plan_scenes(config: Config, store: LayerStore, say: Callable[[str], None], quiet: bool, foreign: bool) -> Plan:
    digest = _settle_assets(config, store, say, quiet, foreign)
    samples = config.samples if isinstance(config.samples, int) else 0
    edits = {str(kind): weight for kind, weight in config.edits.weights.items()}
    splits = {str(split): fraction for split, fraction in config.shard.splits.fractions().items()}
    prefix = f"{config.source.kind}-{config.seed}"
    invert, compose = config.edits.invert, config.edits.compose
    rows = plan_scenes(samples, config.seed, edits, splits, prefix, invert=invert, compose=compose)
    content = plan_config(config) | {"assets": digest}
    plan = write_plan(store, content, rows, unit_rows(config), config.seed, say, foreign=foreign)
    settle(config, store, lambda: _rendered_on(config, store, plan))
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
    if config.source.kind == "object3dit":
        return {"root": _released_root(config), "indexes": _inside(store, INDEXES)}
    root = ""
    if config.source.kind == "objaverse":
        root = str(Path(config.source.root or "~/.objaverse").expanduser().absolute())
    render = settled(config, store)
    return {
        "source": config.source.kind,
        "dataset": config.source.kind,
        "assets": _inside(store, ASSETS),
        "assets_sha256": plan.config["assets"] if plan is not None else "",
        "root": root,
        "scene": config.scene,
        "render": render,
        "gpus": gpus_of(render),
        # Inline, one Blender has the machine to itself.
        "threads": os.cpu_count() or 1 if config.engine.kind == "inline" else 0,
    }


def check_source(config: Config, store: LayerStore, plan: Plan) -> None:
    """Look whether samples of the plan can be made: another source would reject them one by one, for good.

    Raises BadInput where the source lacks what was planned or the device that it was begun on is not here,
    SpatialdataError where the asset table is damaged.
    """
    if config.source.kind == "object3dit":
        _check_release(store, plan, _released_root(config))
        return
    check_device(config, store)
    if _held_assets(store) != plan.config["assets"]:
        raise PlanDamaged(damaged_plan(store, f"{ASSETS} is not the table that was planned with"))
    if config.source.kind == "objaverse":
        _check_root(store, str(resolve_root(config.source.root)))


def _inside(store: LayerStore, name: str) -> str:
    """The path or URL of a file under OUT, for those who open it themselves."""
    return store.path(name) if store.is_local else f"{store.url.rstrip('/')}/{name}"


def _settle_assets(config: Config, store: LayerStore, say: Callable[[str], None], quiet: bool, foreign: bool) -> str:
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
    data, count = _make_assets(config, store, say, quiet)
    digest = hashlib.sha256(data).hexdigest()
    if plan and digest != planned:
        check_rows(plan)  # else the plan may be of another folder, which is for `write_plan` to settle
        what = f"{ASSETS} is not the table that was planned with, and the source gives another one now"
        raise PlanDamaged(f"{damaged_plan(store, what)} where the source is as it was")
    if digest != held:
        store.write_file(ASSETS, data)
    say(f"{ASSETS} was damaged: made again, as it was" if plan else f"{count} assets to draw from")
    return digest


def _held_assets(store: LayerStore) -> str:
    """sha256 of the table of assets; empty where there is none that can be read."""
    try:
        data = store.read_file(ASSETS)
        pq.ParquetFile(pa.BufferReader(data))
    except (OSError, pa.ArrowException):
        return ""
    return hashlib.sha256(data).hexdigest()


def _make_assets(config: Config, store: LayerStore, say: Callable[[str], None], quiet: bool) -> tuple[bytes, int]:
    """The table of the assets that scenes may draw, and their number."""
    if config.source.kind == "procedural":
        assets = catalogue(config.source.variants, config.seed)
    else:
        surveyed = survey(config, store, say, make_progress(quiet))
        assets = oriented(
            surveyed, read_orientations(orientation_file(resolve_root(config.source.root), config.source.orientations))
        )
    splits = divide(assets, config.shard.splits.fractions(), config.seed)
    for line in _told_of_splits(assets, splits):
        say(line)
    table = table_of(assets, splits)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes(), len(assets)


def _told_of_splits(assets: Sequence[Asset], splits: Mapping[str, Split]) -> Iterator[str]:
    """Which splits hold too few models for a scene, a line each."""
    held: dict[Split, set[str]] = {}
    for asset in assets:
        held.setdefault(splits[asset.uid], set()).add(asset.model or asset.uid)
    for split, found in sorted(held.items()):
        if len(found) < FEWEST_MODELS:
            yield (
                f"{split} has one model alone, and a scene needs {FEWEST_MODELS} different ones: its samples will be "
                "rejected; give more models, or fewer splits"
            )


def _check_root(store: LayerStore, root: str) -> None:
    """Some of the planned models must be under the root: another cache would fail sample by sample."""
    table = AssetTable.read(_inside(store, ASSETS))
    looked = [asset for split in sorted(table.pools) for asset in table.candidates(split, 0, 0)[:4]]
    if not any((Path(root) / asset.path).is_file() for asset in looked):
        raise BadInput(
            f"source.root: {root} holds none of the models that {store} was planned with (such as {looked[0].path}): "
            "give the root of then, or build into another --out"
        )


def _check_release(store: LayerStore, plan: Plan, root: str) -> None:
    """Some of the planned pairs must be under the root."""
    fs, path = filesystem(root)
    specs = [row.spec for row in plan.rows(0)[:4]]
    names = [str(spec.get("path") or spec["archive"]) for spec in specs]
    if not any(fs.exists(join(path, name)) or (fs.isfile(path) and base(path) == name) for name in names):
        raise BadInput(
            f"source.root: {root} holds none of the pairs that {store} was planned with (such as {names[0]}): "
            "give the root of then, or build into another --out"
        )


def _plan_released(config: Config, store: LayerStore, say: Callable[[str], None], foreign: bool) -> Plan:
    def rows() -> Iterator[PlanRow]:
        invert, kinds = config.edits.invert, set(config.edits.weights)
        for forwards, *backwards in TASKS.values():
            if invert and forwards in kinds:
                kinds -= set(backwards)  # the inverse of a released removal is that insertion
        found = scan(_released_root(config), _inside(store, INDEXES), kinds=kinds)
        for row in islice(found.rows, None if config.samples == "all" else config.samples):
            planned = PlanRow(row.key, row.split, row.spec)
            yield from with_inverse(planned) if invert else (planned,)
        for note in found.notes:
            say(note)

    return write_plan(store, plan_config(config), rows(), unit_rows(config), config.seed, say, foreign=foreign)


def _released_root(config: Config) -> str:
    root = config.source.root
    if not root:
        raise BadInput(
            "source.root: give the folder that holds OBJECT-3DIT's tasks: --set source.root=/data/object3dit"
        )
    return absolute(root)
