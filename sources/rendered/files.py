"""The file and the mesh of an asset that is to be rendered."""

from pathlib import Path

from ..assets.asset import Asset
from ..assets.glb import GlbError
from ..assets.mesh import read_mesh
from ..blender.render import AssetError
from ..scenes.loose import Mesh
from ..source import ModelFiles


def located(files: ModelFiles, asset: Asset) -> Path:
    """The file of an asset on this node. Raises AssetError where it cannot be made."""
    try:
        return files(asset.path)
    except GlbError as error:
        raise AssetError(f"{asset.path}: {error.detail}", uid=asset.uid) from None


def mesh_of_asset(files: ModelFiles, asset: Asset) -> Mesh:
    """Vertices (n, 3) in the object frame, meters, and triangles (m, 3). Raises AssetError where it cannot be read."""
    try:
        return read_mesh(asset, located(files, asset))
    except GlbError as error:
        raise AssetError(f"{asset.path}: {error.detail}", uid=asset.uid) from None
