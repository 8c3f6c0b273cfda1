"""Procedural furniture with its supports, as furnished rooms take it."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import trimesh

from spatialdata_builder.sources.assets.asset import Asset
from spatialdata_builder.sources.assets.carriers import AssetSupports
from spatialdata_builder.sources.assets.mesh import read_mesh
from spatialdata_builder.sources.assets.supports import find_supports
from spatialdata_builder.sources.procedural import catalog, write_glb
from spatialdata_builder.sources.scenes.convex import Mesh
from spatialdata_builder.sources.scenes.kinds import Furniture


@cache
def furniture(variants: int = 2) -> Furniture:
    assets = {asset.uid: asset for asset in catalog(variants, furnishings=True)}
    return Furniture(list(assets.values()), lambda uid: supports_of(assets[uid]))


def with_physics(variants: int = 2) -> Furniture:
    return replace(furniture(variants), mesh_of=mesh_of)


@cache
def supports_of(asset: Asset) -> AssetSupports:
    """Searched when a test needs them: the search takes up to a second."""
    mesh = mesh_of(asset)
    return AssetSupports.of(asset.category, asset.size_m, find_supports(mesh.vertices, mesh.faces))


@cache
def mesh_of(asset: Asset) -> Mesh:
    with TemporaryDirectory() as folder:
        return Mesh(*read_mesh(asset, write_glb(asset.uid, Path(folder))))


def solid(mesh: trimesh.Trimesh) -> Mesh:
    """The same triangles as a mesh of this project."""
    return Mesh(np.array(mesh.vertices), np.array(mesh.faces))
