"""Origin of each layer of a build: stage, model, revision, prompts. For cards and for the comparison of builds."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import PurePath
from typing import Any, Final

from ...annotators.vlm.prompts import FOLDER, read_prompt
from ...shards.stage import Stage
from ..opened import Build
from ..plug_ins import path_of
from ..registry import known_stages
from ..store.fingerprints import plain

_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_OWN_FIELDS: Final = ("class", "model", "revision", "texts")
"""Fields of a stage that `Maker` has own fields for."""


@dataclass(frozen=True)
class Prompt:
    """A prompt of a model."""

    name: str
    """`instruction_system_v1`; for a file of the user's own, that file's name."""
    version: str
    """`v1`; empty for a file of the user's own."""
    sha256: str
    """Of the text; 16 hex digits."""


@dataclass(frozen=True)
class LayerOrigin:
    """The stage that computed one layer."""

    layer: str
    folder: str
    """`<layer>-<fingerprint>`"""
    needs: tuple[str, ...]
    """Layers that it is computed from; if none, it is computed from the plan."""
    stage: str
    """Name in the configuration, such as `depth_anything_v2`."""
    version: int
    model: str
    """Hub id, or the last part of a local path, so that no path of a machine is published."""
    revision: str
    """The requested revision; the records have the loaded one."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """All other fields that the fingerprint covers."""
    prompts: tuple[Prompt, ...] = ()

    @property
    def fingerprint(self) -> str:
        return self.folder.rpartition("-")[2]

    @property
    def address(self) -> str:
        """URL of the model's page on the hub; empty if `model` is not a hub id."""
        return f"https://huggingface.co/{self.model}" if _HUB_ID.fullmatch(self.model) else ""


def layer_origins(build: Build) -> list[LayerOrigin]:
    """The origins of a build's layers, each after the layers that it needs."""
    by_layer = {stage.layer: stage for stage in build.stages}
    known = known_stages(build.config)
    return [_layer_origin(by_layer[layer], folder, known) for layer, folder in build.layers.items()]


def without_place(value: Any) -> Any:
    """A value in which absolute paths are reduced to their last part, so that no path of this machine is published."""
    if isinstance(value, str):
        return PurePath(value).name if value.startswith(("/", "~")) else value
    if isinstance(value, Mapping):
        return {str(name): without_place(part) for name, part in value.items()}
    return [without_place(part) for part in value] if isinstance(value, list | tuple) else value


def _layer_origin(stage: Stage, folder: str, known: Mapping[tuple[str, str], str]) -> LayerOrigin:
    options: dict[str, Any] = plain(stage)
    return LayerOrigin(
        layer=stage.layer,
        folder=folder,
        needs=stage.needs,
        stage=_name(stage, known),
        version=stage.version,
        model=without_place(str(options.get("model", ""))),
        revision=str(options.get("revision", "")),
        options={name: without_place(value) for name, value in options.items() if name not in _OWN_FIELDS},
        prompts=tuple(_prompt(stage, text) for text in options.get("texts", ())),
    )


def _name(stage: Stage, known: Mapping[tuple[str, str], str]) -> str:
    """Name of a stage in the registry, the import path of a plugged-in stage, else the name of its class."""
    path = path_of(stage)
    kind = path or f":{type(stage).__qualname__}"
    named = next((name for (_, name), place in known.items() if place.endswith(kind)), "")
    return named or path or type(stage).__qualname__


def _prompt(stage: Stage, text: str) -> Prompt:
    name = _packaged().get(text, "")
    version = name.rpartition("_")[2] if name else ""
    own = PurePath(stage.prompt).name
    return Prompt(f"{name}.txt" if name else own, version, hashlib.sha256(text.encode()).hexdigest()[:16])


@cache
def _packaged() -> dict[str, str]:
    """The prompts in the package: text -> name."""
    return {read_prompt(file.stem): file.stem for file in sorted(FOLDER.glob("*.txt"))}
