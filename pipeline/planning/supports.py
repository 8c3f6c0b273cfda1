"""The table of supports of a plan: what the planned assets carry others with. Only some scenes need it.

Supports are found once for each list of models, in the folder of the asset survey, by a build of one layer. So builds
may share them (`source.survey_folder`), and a new version of the search recomputes nothing else.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from ...sources.assets.asset import Asset
from ...sources.assets.carriers import AssetSupports, may_carry
from ...sources.assets.supports import from_json
from ...sources.assets.table import SUPPORTS, AssetTable, supports_table
from ...sources.registry import get_scene_source
from ...sources.rendered.supports import FindSupports
from ..config import Config
from ..engine.progress import Progress
from ..store.fingerprints import layer_dirs
from ..store.layers import LayerStore
from ..store.plan import Plan, PlanDamaged, PlanRow, damaged_plan
from .request import request_of
from .survey import asset_key, look_at, read_planned

FILE: Final = f"plan/{SUPPORTS}"
_ASSET: Final = TypeAdapter(Asset)


def settle_supports(
    config: Config, store: LayerStore, planned: str, say: Callable[[str], None], progress: Progress
) -> str:
    """Write the table of supports of the plan's assets, unless it exists; return its sha256.

    Args:
        planned: the sha256 that an existing plan names; empty if there is none.

    Raises:
        PlanDamaged: the table is damaged, and the models now have other supports.
    """
    held = held_supports(store)
    if held and held == planned:
        return held
    assets = AssetTable.read(request_of(config, store).assets).all()
    sink = pa.BufferOutputStream()
    pq.write_table(supports_table(_find(config, store, assets, say, progress)), sink, compression="zstd")
    data = sink.getvalue().to_pybytes()
    digest = hashlib.sha256(data).hexdigest()
    if planned and digest != planned:
        what = f"{FILE} is not the table that was planned with, and the models have other supports now"
        raise PlanDamaged(f"{damaged_plan(store, what)} where the source is as it was")
    if digest != held:
        store.write_file(FILE, data)
    return digest


def held_supports(store: LayerStore) -> str:
    """sha256 of the table of supports; empty if there is none."""
    try:
        return hashlib.sha256(store.read_file(FILE)).hexdigest()
    except OSError:
        return ""


def _find(
    config: Config, store: LayerStore, assets: list[Asset], say: Callable[[str], None], progress: Progress
) -> dict[str, AssetSupports]:
    """The supports of the assets that carry others, by uid."""
    carriers = {asset_key(asset.uid): asset for asset in assets if may_carry(asset.category)}
    source = get_scene_source(config.source.kind)
    stage = FindSupports(source=source.kind, place=source.place(config.source, config.render))
    folder = layer_dirs([stage])[stage.layer]

    def read(kept: LayerStore, plan: Plan) -> dict[str, AssetSupports]:
        found: dict[str, AssetSupports] = {}
        for unit in range(plan.units):
            for key, row in read_planned(kept, folder, unit, plan.keys(unit)).items():
                asset = carriers[key]
                one = AssetSupports.of(asset.category, asset.size_m, from_json(str(row["supports"])))
                if one.supports:
                    found[asset.uid] = one
        return found

    if not carriers:
        return {}
    rows = [PlanRow(key, "train", json.loads(_ASSET.dump_json(asset))) for key, asset in carriers.items()]
    found = look_at(config, store, "supports", rows, [stage], read, say, progress)
    say(f"{len(found)} of {len(assets)} assets can carry others")
    return found
