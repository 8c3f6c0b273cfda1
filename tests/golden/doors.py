"""What has no door on disk or on the command line: the only place here that imports the product.

When modules move, change the imports; what the functions give must stay.
"""

import json
from pathlib import Path

from spatialdata_builder.pipeline.commands.orient import make_vote
from spatialdata_builder.pipeline.config import load_config
from spatialdata_builder.pipeline.planning.samples import pair_arguments
from spatialdata_builder.pipeline.registry import build_stages
from spatialdata_builder.pipeline.store.fingerprints import layer_dirs
from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.sources.assets.table import AssetTable
from spatialdata_builder.sources.edits.groups import Proposal, propose_group
from spatialdata_builder.sources.edits.proposals import Rejection, propose
from spatialdata_builder.sources.rendered.portraits import SIDE, RenderPortraits, portrait_options
from spatialdata_builder.sources.scenes.spec import SceneOptions, SceneSpec, to_json
from tests.golden.reading import digest


def fingerprints(settings: tuple[str, ...], out: Path) -> dict[str, str]:
    """Layer: its folder for a configuration, of no plan. No weights are loaded."""
    config = load_config(None, settings)
    store = LayerStore(str(out))
    return dict(sorted(layer_dirs(build_stages(config, pair_arguments(config, store), store.url)).items()))


def orient_fingerprints(settings: tuple[str, ...], out: Path) -> dict[str, str]:
    """The layers of `spatialdata orient`."""
    config = load_config(None, settings)
    portraits = RenderPortraits("objaverse", "/data", portrait_options(config.render, SIDE))
    return dict(sorted(layer_dirs((portraits, make_vote(config, config.orient, str(out)))).items()))


def proposals(out: Path, kinds: tuple[str, ...], twos: tuple[tuple[str, str], ...]) -> dict[str, list[str]]:
    """Sampled scenes, from the asset table of a build: what stands where, floor, walls, light, camera, edit; or why
    there is none. By kind (or two kinds) of edit, for some seeds and attempts."""
    table = AssetTable.read(str(out / "plan" / "assets.parquet"))
    options, size = SceneOptions(), (96, 96)
    tried = [(seed, attempt) for seed in range(4) for attempt in (0, 1, 5)]

    def drawn(seed: int, attempt: int):
        return table.candidates("train", seed, attempt // 5)

    found = {
        kind: [_told(propose(drawn(*one), kind, options, size, *one)) for one in tried]  # type: ignore[arg-type]
        for kind in kinds
    }
    for two in twos:
        found["+".join(two)] = [_told(propose_group(drawn(*one), two, options, size, *one)) for one in tried]  # type: ignore[arg-type]
    return found


def _told(found: Rejection | SceneSpec | Proposal) -> str:
    if isinstance(found, Rejection):
        return found.reason
    specs = found.specs if isinstance(found, Proposal) else (found,)
    return digest(json.dumps([to_json(spec) for spec in specs], sort_keys=True))
