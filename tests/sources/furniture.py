"""Procedural furniture with its supports, as furnished rooms take it."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from spatialdata_builder.sources.assets.carriers import AssetSupports
from spatialdata_builder.sources.assets.mesh import read_mesh
from spatialdata_builder.sources.assets.supports import find_supports
from spatialdata_builder.sources.procedural import catalog, write_glb
from spatialdata_builder.sources.scenes.kinds import Furniture


@cache
def furniture(variants: int = 2) -> Furniture:
    assets = catalog(variants)
    found: dict[str, AssetSupports] = {}
    with TemporaryDirectory() as folder:
        for asset in assets:
            supports = find_supports(*read_mesh(asset, write_glb(asset.uid, Path(folder))))
            found[asset.uid] = AssetSupports.of(asset.category, asset.size_m, supports)
    return Furniture(assets, lambda uid: found[uid])
