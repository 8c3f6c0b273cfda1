"""Source `objaverse`: the cache of the `objaverse` package, looked at by the asset survey."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from ..assets.asset import Asset
from ..assets.sketchfab import model_page
from ..source import LIGHT, NOT_IN_CARD, Request, SourceOptions, Survey
from ..survey.source import SurveyedOptions, SurveyedSource, allowed
from .cache import read_cache, resolve_root


class ObjaverseOptions(SurveyedOptions):
    fetch: bool = Field(
        default=False,
        description="objaverse: fetch what the cache lacks (needs uids)",
        json_schema_extra=NOT_IN_CARD,
    )


class Objaverse(SurveyedSource[ObjaverseOptions]):
    kind: ClassVar[str] = "objaverse"
    options: ClassVar[type[SourceOptions]] = ObjaverseOptions
    planned: ClassVar[tuple[str, ...]] = ("licenses", "uids")
    summary: ClassVar[str] = "Scenes of Objaverse models, composed and edited by arithmetic from a seed"
    terms: ClassVar[str] = LIGHT
    citation: ClassVar[str] = (
        "Deitke et al., Objaverse: A Universe of Annotated 3D Objects, CVPR 2023, arXiv 2212.08051"
    )

    def root(self, options: ObjaverseOptions) -> str:
        return str(Path(options.root or "~/.objaverse").expanduser().absolute())

    def folder(self, options: ObjaverseOptions) -> Path:
        return resolve_root(options.root)

    def assets(self, request: Request[ObjaverseOptions], survey: Survey) -> list[Asset]:
        options = request.options
        entries = allowed(list(read_cache(options.root, options.uids or None, options.fetch)), request)
        return survey([entry.spec() for entry in entries], self.stages(request))

    def asset_page(self, uid: str) -> str:
        return model_page(uid)
