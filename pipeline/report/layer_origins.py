"""Who made each layer of a build: stage, model, revision, prompts. For cards, and to say what two builds differ in."""

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
_TOLD: Final = ("class", "model", "revision", "texts")
"""Fields of a stage that stand in a place of their own."""


@dataclass(frozen=True)
class Prompt:
    """A text that a model was asked with."""

    name: str
    """`instruction_system_v1`; for a file of the user's own, that file's name."""
    version: str
    """`v1`; empty for a file of the user's own."""
    sha256: str
    """16 hex digits, of the text."""


@dataclass(frozen=True)
class Maker:
    """What made one layer."""

    layer: str
    folder: str
    """`<layer>-<fingerprint>`"""
    needs: tuple[str, ...]
    """Layers that it is made from; of none, it answers the plan."""
    stage: str
    """As the configuration calls it: `depth_anything_v2`."""
    version: int
    model: str
    """Hub id, or the last part of a local path: where something lay on a machine is nobody's business."""
    revision: str
    """As it was asked for; what was loaded stands in the records."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """All else that the fingerprint covers."""
    prompts: tuple[Prompt, ...] = ()

    @property
    def fingerprint(self) -> str:
        return self.folder.rpartition("-")[2]

    @property
    def address(self) -> str:
        """Of the model's page on the hub; empty where it is no hub id."""
        return f"https://huggingface.co/{self.model}" if _HUB_ID.fullmatch(self.model) else ""


def makers_of(build: Build) -> list[Maker]:
    """The layers of a build, each after those that it needs."""
    by_layer = {stage.layer: stage for stage in build.stages}
    known = known_stages(build.config)
    return [_maker(by_layer[layer], folder, known) for layer, folder in build.layers.items()]


def without_place(value: Any) -> Any:
    """A value without the folders of this machine: of an absolute path, its last part."""
    if isinstance(value, str):
        return PurePath(value).name if value.startswith(("/", "~")) else value
    if isinstance(value, Mapping):
        return {str(name): without_place(part) for name, part in value.items()}
    return [without_place(part) for part in value] if isinstance(value, list | tuple) else value


def _maker(stage: Stage, folder: str, known: Mapping[tuple[str, str], str]) -> Maker:
    options: dict[str, Any] = plain(stage)
    return Maker(
        layer=stage.layer,
        folder=folder,
        needs=stage.needs,
        stage=_name(stage, known),
        version=stage.version,
        model=without_place(str(options.get("model", ""))),
        revision=str(options.get("revision", "")),
        options={name: without_place(value) for name, value in options.items() if name not in _TOLD},
        prompts=tuple(_prompt(stage, text) for text in options.get("texts", ())),
    )


def _name(stage: Stage, known: Mapping[tuple[str, str], str]) -> str:
    """The registry's name of a stage, the import path of one that was plugged in, else its class's."""
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
    """The package's prompts: text -> name."""
    return {read_prompt(file.stem): file.stem for file in sorted(FOLDER.glob("*.txt"))}
