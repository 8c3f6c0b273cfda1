"""The file and the mesh of an asset that is to be rendered."""

from pathlib import Path

from ..assets.asset import Asset
from ..assets.glb import GlbError
from ..assets.mesh import read_mesh
from ..blender.render import AssetError
from ..scenes.convex import Mesh
from ..source import ModelFiles


def located(files: ModelFiles, asset: Asset) -> Path:
    """The file of an asset on this node. Raises AssetError where it cannot be made."""
    try:
        return files(asset.path)
    except GlbError as error:
        raise AssetError(f"{asset.path}: {error.detail}", uid=asset.uid) from None


def mesh_of_asset(files: ModelFiles, asset: Asset) -> Mesh:
    """The triangles of an asset, object frame, meters. Raises AssetError if they cannot be read."""
    try:
        return Mesh(*read_mesh(asset, located(files, asset)))
    except GlbError as error:
        raise AssetError(f"{asset.path}: {error.detail}", uid=asset.uid) from None
