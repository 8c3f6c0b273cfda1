"""Source `objaverse`: the cache of the `objaverse` package, looked at by the asset survey."""

import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from ...shards.errors import BadInput
from ..assets.asset import Asset
from ..assets.orientations import Orientation, orientation_file, read_orientations
from ..assets.sketchfab import model_page
from ..source import LIGHT, NOT_IN_CARD, Request, SceneSource, SourceOptions, Survey, root_lacks
from .appearance import MeasureAppearance, portrait_options
from .cache import count_licenses, read_cache, resolve_root, select_licenses
from .survey import SurveyAssets


class ObjaverseOptions(SourceOptions):
    renamed: ClassVar[Mapping[str, str]] = {"survey": "survey_folder"}

    uids: tuple[str, ...] = Field(
        default=(),
        description="objaverse: use these models alone; empty: all there are",
        json_schema_extra=NOT_IN_CARD,
    )
    fetch: bool = Field(
        default=False,
        description="objaverse: fetch what the cache lacks (needs uids)",
        json_schema_extra=NOT_IN_CARD,
    )
    survey_folder: str = Field(
        default="",
        description="objaverse: folder of the asset survey; empty: OUT/survey",
        json_schema_extra=NOT_IN_CARD,
    )
    orientations: str = Field(
        default="",
        description="objaverse: file of `spatialdata orient`; empty: orientations.json or .csv in root",
        json_schema_extra=NOT_IN_CARD,
    )


class Objaverse(SceneSource[ObjaverseOptions]):
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

    def assets(self, request: Request[ObjaverseOptions], survey: Survey) -> list[Asset]:
        options = request.options
        found = list(read_cache(options.root, options.uids or None, options.fetch))
        entries = select_licenses(found, options.licenses)
        if len(entries) < len(found):
            others = Counter(entry.licence for entry in found) - Counter(entry.licence for entry in entries)
            held = count_licenses(others.elements())
            request.say(f"{len(found) - len(entries)} of {len(found)} assets are left out by source.licenses: {held}")
        root = str(resolve_root(options.root).absolute())
        stages = (
            SurveyAssets(root=root, licences=options.licenses),
            MeasureAppearance(
                root=root,
                licences=options.licenses,
                render=portrait_options(request.render),
                threads=request.threads,
            ),
        )
        return survey([entry.spec() for entry in entries], stages)

    def orientations(self, options: ObjaverseOptions) -> dict[str, Orientation]:
        return read_orientations(orientation_file(resolve_root(options.root), options.orientations))

    def models(self, root: str) -> Callable[[Asset], Path]:
        if not Path(root).is_dir():
            raise BadInput(
                f"source.root: {root} is no folder on node {socket.gethostname()}: mount it there, at the same "
                "place on all nodes, or leave that node out of the cluster"
            )
        return lambda asset: Path(root) / asset.path  # a cached file may vanish at any time: the renderer checks it

    def check_root(self, options: ObjaverseOptions, assets: Sequence[Asset], out: str) -> None:
        root = str(resolve_root(options.root))
        if not any((Path(root) / asset.path).is_file() for asset in assets):
            raise root_lacks(root, "models", out, assets[0].path)

    def survey_folder(self, options: ObjaverseOptions) -> str:
        return options.survey_folder

    def asset_page(self, uid: str) -> str:
        return model_page(uid)
