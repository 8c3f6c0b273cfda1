"""Shards in the layouts of other projects: `spatialedit.export` and `object3dit.export`."""

from .destination import Exported

__all__ = ["Exported"]
