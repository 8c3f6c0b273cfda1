"""Source `procedural`: models made by code. The default; nothing is downloaded."""

import weakref
from collections.abc import Sequence
from pathlib import Path
from tempfile import gettempdir
from typing import ClassVar, Final

from pydantic import Field

from ..assets.asset import Asset
from ..assets.orientations import Orientation
from ..scenes.kinds import needs_supports
from ..scratch import LockedFolder
from ..source import LIGHT, ModelFiles, Request, SceneSource, SourceOptions, Survey
from . import catalog, write_glb

MADE_PREFIX: Final = "spatialdata-assets-"


class ProceduralOptions(SourceOptions):
    variants: int = Field(default=24, ge=1, le=1000, description="procedural: variants of each kind of object")


class Procedural(SceneSource[ProceduralOptions]):
    kind: ClassVar[str] = "procedural"
    options: ClassVar[type[SourceOptions]] = ProceduralOptions
    planned: ClassVar[tuple[str, ...]] = ("variants",)
    summary: ClassVar[str] = "Scenes of models made by code, composed and edited from a seed"
    terms: ClassVar[str] = f"Procedural models are made by this project's code, and are CC0. {LIGHT}"
    citation: ClassVar[str] = ""

    def root(self, options: ProceduralOptions) -> str:
        return ""

    def assets(self, request: Request[ProceduralOptions], survey: Survey) -> list[Asset]:
        return catalog(request.options.variants, request.seed, needs_supports(request.scene))

    def orientations(self, options: ProceduralOptions) -> dict[str, Orientation]:
        return {}

    def models(self, place: str) -> ModelFiles:
        return MadeModels().path

    def check_root(self, options: ProceduralOptions, assets: Sequence[Asset], out: str) -> None:
        pass


class MadeModels:
    """Models that are made on first use, in a temporary folder of this process."""

    def __init__(self) -> None:
        self._folder = LockedFolder(MADE_PREFIX, Path(gettempdir()))
        weakref.finalize(self, self._folder.remove)

    def path(self, uid: str) -> Path:
        return write_glb(uid, self._folder.path)
