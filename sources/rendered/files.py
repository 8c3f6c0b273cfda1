"""The file of an asset that is to be rendered."""

from pathlib import Path

from ..assets.asset import Asset
from ..assets.glb import GlbError
from ..blender.render import AssetError
from ..source import ModelFiles


def located(files: ModelFiles, asset: Asset) -> Path:
    """The file of an asset on this node. Raises AssetError where it cannot be made."""
    try:
        return files(asset.path)
    except GlbError as error:
        raise AssetError(f"{asset.path}: {error.detail}", uid=asset.uid) from None
