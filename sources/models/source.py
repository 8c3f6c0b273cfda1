"""Source `models`: a folder of model files, looked at by the asset survey."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from ...shards.errors import BadInput
from ..assets.asset import Asset
from ..assets.orientations import Orientation
from ..blender.environment import cache_folder
from ..scenes.spec import RenderOptions
from ..source import LIGHT, NOT_IN_CARD, ModelFiles, Request, SourceOptions, Survey
from ..survey.source import SurveyedOptions, SurveyedSource, allowed, local_folder
from .catalog import DIRECT, ModelEntry, list_models
from .conversion import Converter
from .provenance import CITATION, is_identifier
from .table import TABLE


class ModelsOptions(SurveyedOptions):
    license: str = Field(default="", description="models: license of the models for which no table names one")
    creator: str = Field(default="", description="models: creator of the models for which no table names one")
    cache: str = Field(
        default="",
        description="models: folder of converted models; empty: spatialdata/models in the user's cache",
        json_schema_extra=NOT_IN_CARD,
    )


class Models(SurveyedSource[ModelsOptions]):
    kind: ClassVar[str] = "models"
    options: ClassVar[type[SourceOptions]] = ModelsOptions
    planned: ClassVar[tuple[str, ...]] = ("licenses", "uids", "license", "creator")
    summary: ClassVar[str] = "Scenes of models from a folder, composed and edited by arithmetic from a seed"
    terms: ClassVar[str] = f"Models keep the licenses that the tables of their folder, or its owner, state. {LIGHT}"
    citation: ClassVar[str] = ""

    def root(self, options: ModelsOptions) -> str:
        if not options.root:
            raise BadInput("source.root: give the folder of the models: --set source.root=/data/models")
        return options.root if "://" in options.root else str(Path(options.root).expanduser().absolute())

    def folder(self, options: ModelsOptions) -> Path:
        root = self.root(options)
        if "://" in root:
            raise BadInput(f"source.root: {root} is a URL; models must be in a local folder")
        if not Path(root).is_dir():
            raise BadInput(f"source.root: no folder {root}; give the folder of the models")
        return Path(root)

    def assets(self, request: Request[ModelsOptions], survey: Survey) -> list[Asset]:
        entries = self._chosen(request.options, request.say)
        _check_licenses(entries, request, self.folder(request.options))
        return survey([entry.spec() for entry in allowed(entries, request)], self.stages(request))

    def orientations(self, options: ModelsOptions) -> dict[str, Orientation]:
        said: list[str] = []
        entries = self._chosen(options, said.append)  # `assets` says the same
        found = super().orientations(options)
        for entry in entries:
            if entry.front_deg is not None:
                voted = found.get(entry.uid, Orientation())
                found[entry.uid] = voted.model_copy(update={"front_deg": entry.front_deg % 360})
        return found

    def place(self, options: ModelsOptions, render: RenderOptions) -> str:
        cache = str(Path(options.cache).expanduser().absolute()) if options.cache else ""
        place = {"root": self.root(options), "cache": cache, "blender": render.blender, "timeout_s": render.timeout_s}
        return json.dumps(place)

    def models(self, place: str) -> ModelFiles:
        found = json.loads(place)
        root = local_folder(found["root"])
        cache = Path(found["cache"] or cache_folder() / "models")
        converter = Converter(root, cache, found["blender"], found["timeout_s"])

        def file_of(path: str) -> Path:
            return root / path if Path(path).suffix.lower() in DIRECT else converter.converted(path)

        return file_of

    def citations(self, uids: Iterable[str]) -> tuple[str, ...]:
        return (CITATION,) if any(map(is_identifier, uids)) else ()

    def asset_page(self, uid: str) -> str:
        return uid if is_identifier(uid) else ""

    def _chosen(self, options: ModelsOptions, say: Callable[[str], None]) -> list[ModelEntry]:
        """The entries of `source.uids`, or all."""
        entries = list_models(self.folder(options), options.license, options.creator, say)
        if missing := set(options.uids) - {entry.uid for entry in entries}:
            raise BadInput(f"source.uids: {min(missing)} is not below {self.root(options)}: give paths relative to it")
        return [entry for entry in entries if entry.uid in options.uids] if options.uids else entries


def _check_licenses(entries: list[ModelEntry], request: Request[ModelsOptions], root: Path) -> None:
    """Say how many models have no license. Raises BadInput where all of them have none, and none is needed."""
    without = sum(entry.licence == "unknown" for entry in entries)
    advice = f"add a column license to {root / TABLE}, or state one for all of them, such as --set source.license=cc0"
    if without == len(entries) and "unknown" not in request.options.licenses:
        raise BadInput(
            f"source.license: none of the {without} models in {root} has a license: {advice}; "
            "--set source.licenses='[unknown]' uses them without one, and the result cannot be shared"
        )
    if without:
        request.say(f"{without} of {len(entries)} models have no license, and count as unknown: {advice}")
