"""Where the model files of assets are on this machine."""

import weakref
from pathlib import Path
from tempfile import gettempdir
from typing import Literal

from ..assets.asset import Asset
from ..scratch import HeldFolder

MADE_PREFIX = "spatialdata-assets-"


class AssetFiles:
    """Where the model file of an asset is on this machine. Procedural assets are made on first use."""

    def __init__(self, source: Literal["procedural", "objaverse"], root: str) -> None:
        self._source = source
        self._root = root
        self._made: HeldFolder | None = None
        if source == "procedural":
            self._made = HeldFolder(MADE_PREFIX, Path(gettempdir()))
            weakref.finalize(self, self._made.remove)

    def path(self, asset: Asset) -> Path:
        """A GLB file. Existence of a cached file is the renderer's to check: it may vanish at any time."""
        if self._made is None:
            return Path(self._root) / asset.path
        from ..procedural import make

        return make(asset.uid, self._made.path)
