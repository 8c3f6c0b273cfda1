"""What sources of surveyed models share: keys, filter by license, stages of the survey, orientation file."""

import socket
from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

from pydantic import Field

from ...shards.errors import BadInput
from ...shards.stage import Stage
from ..assets.asset import Asset
from ..assets.orientations import Orientation, orientation_file, read_orientations
from ..source import NOT_IN_CARD, ModelFiles, Request, SceneSource, SourceOptions, root_lacks
from .appearance import MeasureAppearance, portrait_options
from .geometry import SurveyAssets
from .licenses import Entry, count_licenses, select_licenses


class SurveyedOptions(SourceOptions):
    renamed: ClassVar[Mapping[str, str]] = {"survey": "survey_folder"}

    uids: tuple[str, ...] = Field(
        default=(),
        description="objaverse, models: use these models alone; empty: all there are",
        json_schema_extra=NOT_IN_CARD,
    )
    survey_folder: str = Field(
        default="",
        description="objaverse, models: folder of the asset survey; empty: OUT/survey",
        json_schema_extra=NOT_IN_CARD,
    )
    orientations: str = Field(
        default="",
        description="objaverse, models: file of `spatialdata orient`; empty: orientations.json or .csv in root",
        json_schema_extra=NOT_IN_CARD,
    )


SurveyedKeys = TypeVar("SurveyedKeys", bound=SurveyedOptions)


class SurveyedSource(SceneSource[SurveyedKeys]):
    """A source whose models are files of strangers, which the asset survey measures or rejects."""

    @abstractmethod
    def folder(self, options: SurveyedKeys) -> Path:
        """The folder that `Asset.path` is relative to. Raises BadInput where it does not exist."""

    def orientations(self, options: SurveyedKeys) -> dict[str, Orientation]:
        return read_orientations(orientation_file(self.folder(options), options.orientations))

    def models(self, place: str) -> ModelFiles:
        return local_folder(place).joinpath  # a file may vanish at any time: the renderer checks it

    def check_root(self, options: SurveyedKeys, assets: Sequence[Asset], out: str) -> None:
        root = self.folder(options)
        if not any((root / asset.path).is_file() for asset in assets):
            raise root_lacks(str(root), "models", out, assets[0].path)

    def survey_folder(self, options: SurveyedKeys) -> str:
        return options.survey_folder

    def stages(self, request: Request[SurveyedKeys]) -> tuple[Stage, Stage]:
        """The stages of the survey."""
        licenses, place = request.options.licenses, self.place(request.options, request.render)
        return (
            SurveyAssets(self.kind, place, licences=licenses),
            MeasureAppearance(
                self.kind,
                place,
                licences=licenses,
                render=portrait_options(request.render),
                threads=request.threads,
            ),
        )


def allowed(found: Sequence[Entry], request: Request[SurveyedKeys]) -> list[Entry]:
    """The models that `source.licenses` allows. Says which ones are left out. Raises BadInput where none is left."""
    entries = select_licenses(found, request.options.licenses)
    if len(entries) < len(found):
        others = Counter(entry.licence for entry in found) - Counter(entry.licence for entry in entries)
        held = count_licenses(others.elements())
        request.say(f"{len(found) - len(entries)} of {len(found)} assets are left out by source.licenses: {held}")
    return entries


def local_folder(root: str) -> Path:
    """The root on this node. Raises BadInput where it is no folder."""
    if not Path(root).is_dir():
        raise BadInput(
            f"source.root: {root} is no folder on node {socket.gethostname()}: mount it there, at the same "
            "place on all nodes, or leave that node out of the cluster"
        )
    return Path(root)
