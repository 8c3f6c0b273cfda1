"""Plan the samples of a build: ask the source once, and store the result under OUT.

Invariant: once `plan.json` exists, the asset table and the rows under OUT decide which samples exist. The source is
then used only to read what they name.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...shards.errors import BadInput
from ...shards.schema import Split
from ...sources.assets.asset import Asset
from ...sources.assets.orientations import apply_orientations
from ...sources.assets.table import MIN_MODELS, AssetTable, split_assets, table_of
from ...sources.registry import get_source
from ...sources.scenes.kinds import needs_supports
from ...sources.scenes.physics import is_installed, need_mujoco
from ...sources.source import PairSource, SceneSource
from ..config import Config
from ..engine.progress import make_progress
from ..engine.render_device import Kind, check_device, resolve_device
from ..registry import build_stages
from ..store.families import unit_rows, with_inverse
from ..store.fingerprints import layer_dirs
from ..store.layers import LayerStore
from ..store.plan import Plan, PlanDamaged, check_rows, damaged_plan, find_plan, write_plan
from .materials import settle_materials, table_digest
from .orbit_rows import plan_orbits
from .request import ASSETS, MATERIALS, request_of, resolved_request
from .scene_rows import plan_scenes
from .supports import FILE as SUPPORTS
from .supports import held_supports, settle_supports
from .survey import find_assets
from .templates import FILE as TEMPLATES
from .templates import held_templates, settle_templates

_CHECKED = 4
"""How many planned pairs, or planned models of each split, `check_source` looks for under the root."""


def plan_build(
    config: Config, store: LayerStore, say: Callable[[str], None], quiet: bool = False, *, foreign: bool = False
) -> Plan:
    """The plan of a build: the existing plan under OUT if it has this configuration, else a new one.

    Args:
        say: called with each line for the user.
        foreign: whether the plan.json under OUT belongs to another OUT (`configurations.is_plan_foreign`).

    Raises:
        BadInput: OUT holds another plan, or the source cannot provide the samples.
    """
    if (rows := unit_rows(config)) != config.unit_size:
        say(
            f"unit_size: a unit has {config.unit_size} samples of the source and their derived samples, {rows} in total"
        )
    source = get_source(config.source.kind)
    if isinstance(source, PairSource):
        return _plan_pairs(config, source, store, say, foreign)
    return _plan_scenes(config, source, store, say, quiet, foreign)


def plan_config(config: Config) -> dict[str, Any]:
    """The configuration that decides which samples exist. It lacks the root, since the source may be moved."""
    kind = config.source.kind
    return {
        "source": {"kind": kind, **config.source.model_dump(mode="json", include=set(get_source(kind).planned))},
        "samples": config.samples,
        "edits": dict(sorted(config.edits.weights.items())) | _derived(config),
        "shard": {"splits": config.shard.splits.model_dump(mode="json")},
    }


def _derived(config: Config) -> dict[str, Any]:
    """Which derived samples are planned. Keys that are off are left out, as in plans of earlier versions."""
    edits = config.edits
    if edits.orbit is not None:
        each = {"per_scene": edits.rendered_per_scene, "pairs_per_scene": edits.orbit_pairs}
        return {**each, "orbit": edits.orbit.model_dump(mode="json")}
    found: dict[str, Any] = {name: True for name in ("invert", "compose") if edits.derived.get(name)}
    if edits.per_scene > 2 or edits.pairs_per_scene is not None:
        found |= {
            "per_scene": edits.per_scene,
            "pairs_per_scene": unit_rows(config) * edits.per_scene // config.unit_size,
        }
    return found


def _plan_scenes(
    config: Config,
    source: SceneSource[Any],
    store: LayerStore,
    say: Callable[[str], None],
    quiet: bool,
    foreign: bool,
) -> Plan:
    held = None if foreign else _planned(store)
    _check_kinds(config, store, held)
    physics = _resolved_physics(config, held, say) if needs_supports(config.scene) else ""
    digest = _write_assets(config, source, store, say, quiet, foreign)
    samples = config.samples if isinstance(config.samples, int) else 0
    splits = {str(split): fraction for split, fraction in config.shard.splits.fractions().items()}
    prefix = f"{source.kind}-{config.seed}"
    if config.edits.orbit is not None:
        rows = plan_orbits(samples, config.seed, config.edits.orbit, config.edits.orbit_pairs, splits, prefix)
    else:
        rows = plan_scenes(
            samples,
            config.seed,
            {str(kind): weight for kind, weight in config.edits.weights.items()},
            splits,
            prefix,
            invert=config.edits.invert,
            per_scene=config.edits.per_scene,
            pairs_per_scene=config.edits.pairs_per_scene,
        )
    content = plan_config(config) | {"assets": digest}
    planned = held.config if held else {}
    if _resolved_partial(config, held) == "on":
        content["partial"] = "on"
    if _resolved_light_tree(config, held) == "off":
        content["light_tree"] = "off"
    if needs_supports(config.scene):
        content["supports"] = settle_supports(
            config, store, str(planned.get("supports", "")), say, make_progress(quiet)
        )
        content["physics"] = physics
        if templates := settle_templates(config, store, held):
            content["templates"] = templates
    if found := settle_materials(config, store, str(planned.get("materials", "")), say):
        content["materials"] = found
    plan = write_plan(store, content, rows, unit_rows(config), config.seed, say, foreign=foreign)
    resolve_device(config, store, lambda: _device_of_renders(config, store, plan))
    return plan


def _check_kinds(config: Config, store: LayerStore, held: Plan | None) -> None:
    """Raise BadInput if only one of the held plan and this one has open scenes only, since only others hold supports.

    This is checked before anything of the new plan is written.
    """
    if held and needs_supports(config.scene) != ("supports" in held.config):
        old = "scenes of other kinds than open" if "supports" in held.config else "open scenes only"
        kinds = ", ".join(config.scene.kinds)
        raise BadInput(
            f"scene.kinds: {store} holds a plan with {old}, and this build has {kinds}: use another --out, or the old "
            "scene.kinds"
        )


def _resolved_physics(config: Config, held: Plan | None, say: Callable[[str], None]) -> str:
    """`scene.physics` as planned: `auto` is on where MuJoCo is installed when the plan is made.

    Raises BadInput where it is asked for and not installed.
    """
    if config.scene.physics == "on":
        need_mujoco()
    if config.scene.physics != "auto":
        return config.scene.physics
    if held and "physics" in held.config:
        return str(held.config["physics"])
    if not is_installed():
        say("scene.physics: auto is off, because MuJoCo is not installed (pip install 'spatialdata-builder[physics]')")
        return "off"
    return "on"


def _resolved_partial(config: Config, held: Plan | None) -> str:
    """`render.partial` as planned: `auto` is on in new plans, and off in plans made before the option existed."""
    if config.render.partial != "auto":
        return config.render.partial
    return str(held.config.get("partial", "off")) if held else "on"


def _resolved_light_tree(config: Config, held: Plan | None) -> str:
    """`render.light_tree` as planned: `auto` is off in new plans, and on in plans made before the option existed."""
    if config.render.light_tree != "auto":
        return config.render.light_tree
    return str(held.config.get("light_tree", "on")) if held else "off"


def _planned(store: LayerStore) -> Plan | None:
    """The plan under OUT; None if there is none, or it is damaged."""
    try:
        return find_plan(store)
    except PlanDamaged:
        return None


def _device_of_renders(config: Config, store: LayerStore, plan: Plan) -> Kind | None:
    """The kind of device that rendered the existing images; None if there are none."""
    for kind in ("cpu", "gpu"):
        chosen = config.model_copy(update={"render": config.render.model_copy(update={"device": kind})})
        stages = build_stages(chosen, pair_arguments(chosen, store, plan), store.url)
        if store.names(f"layers/{layer_dirs(stages, plan.hash)['pair']}"):
            return kind
    return None


def pair_arguments(config: Config, store: LayerStore, plan: Plan | None = None) -> dict[str, Any]:
    """The fields of the pair stage that follow from the plan and the source; without a plan, those known so far.

    Reads only OUT, so that a finished build can be packed without its source or GPU. `check_source` looks for them.
    """
    return get_source(config.source.kind).pair_arguments(resolved_request(config, store, plan))


def check_source(config: Config, store: LayerStore, plan: Plan) -> None:
    """Check that the samples of the plan can be made: with a wrong source, each of them would become a reject.

    Raises BadInput if the source lacks what was planned or the render device of the build is missing, PlanDamaged if
    the asset table is damaged.
    """
    source = get_source(config.source.kind)
    if isinstance(source, PairSource):
        source.check_root(config.source, [row.spec for row in plan.rows(0)[:_CHECKED]], str(store))
        return
    check_device(config, store)
    if _table_digest(store) != plan.config["assets"]:
        raise PlanDamaged(damaged_plan(store, f"{ASSETS} is not the table of the plan"))
    if held_supports(store) != plan.config.get("supports", ""):
        raise PlanDamaged(damaged_plan(store, f"{SUPPORTS} is not the table of the plan"))
    if "materials" in plan.config and table_digest(store) != plan.config["materials"]:
        raise PlanDamaged(damaged_plan(store, f"{MATERIALS} is not the table of the plan"))
    templates = plan.config.get("templates", "")
    if templates and held_templates(store) != templates:
        raise PlanDamaged(damaged_plan(store, f"{TEMPLATES} is not what was planned with"))
    table = AssetTable.read(request_of(config, store).assets)
    checked = [asset for split in sorted(table.pools) for asset in table.candidates(split, 0, 0)[:_CHECKED]]
    source.check_root(config.source, checked, str(store))


def _write_assets(
    config: Config,
    source: SceneSource[Any],
    store: LayerStore,
    say: Callable[[str], None],
    quiet: bool,
    foreign: bool,
) -> str:
    """Write the table of the assets that scenes may draw, unless it exists. Returns its sha256, for the plan.

    Raises PlanDamaged if the table is damaged and the source now gives another one.
    """
    damaged, plan = foreign, None
    try:
        plan = None if foreign else find_plan(store)
    except PlanDamaged:
        damaged = True
    planned = str(plan.config.get("assets", "")) if plan else ""
    table_digest = _table_digest(store)
    if table_digest and (table_digest == planned or damaged):
        return table_digest
    assets = apply_orientations(
        find_assets(config, store, say, make_progress(quiet)), source.orientations(config.source)
    )
    data = _encode_table(config, assets, say)
    digest = hashlib.sha256(data).hexdigest()
    if plan and digest != planned:
        check_rows(plan)  # raises if the plan may belong to another folder
        what = f"{ASSETS} is not the table of the plan, and the source now gives another one"
        raise PlanDamaged(f"{damaged_plan(store, what)}, with the original source")
    if digest != table_digest:
        store.write_file(ASSETS, data)
    say(f"{ASSETS} was damaged: rebuilt without changes" if plan else f"{len(assets)} assets to draw from")
    return digest


def _table_digest(store: LayerStore) -> str:
    """sha256 of the table of assets; empty if there is no readable table."""
    try:
        data = store.read_file(ASSETS)
        pq.ParquetFile(pa.BufferReader(data))
    except (OSError, pa.ArrowException):
        return ""
    return hashlib.sha256(data).hexdigest()


def _encode_table(config: Config, assets: Sequence[Asset], say: Callable[[str], None]) -> bytes:
    """The table of the assets that scenes may draw, as a Parquet file."""
    splits = split_assets(assets, config.shard.splits.fractions(), config.seed)
    for line in _small_split_warnings(assets, splits):
        say(line)
    table = table_of(assets, splits)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def _small_split_warnings(assets: Sequence[Asset], splits: Mapping[str, Split]) -> Iterator[str]:
    """One line for each split that has too few models for a scene."""
    models: dict[Split, set[str]] = {}
    for asset in assets:
        models.setdefault(splits[asset.uid], set()).add(asset.model or asset.uid)
    for split, found in sorted(models.items()):
        if len(found) < MIN_MODELS:
            yield (
                f"{split} has only one model, but a scene needs {MIN_MODELS} different models: its samples will be "
                "rejected; add models or use fewer splits"
            )


def _plan_pairs(
    config: Config, source: PairSource[Any], store: LayerStore, say: Callable[[str], None], foreign: bool
) -> Plan:
    found = source.rows(request_of(config, store, say))
    rows = (planned for row in found for planned in (with_inverse(row) if config.edits.invert else (row,)))
    return write_plan(store, plan_config(config), rows, unit_rows(config), config.seed, say, foreign=foreign)
