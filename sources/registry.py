"""The sources of the package, one line each. A source is imported when a configuration is read."""

import importlib
from collections.abc import Iterator
from functools import cache
from typing import Any, Final, Literal, TypeAlias

from pydantic import create_model

from ..shards.errors import SpatialdataError
from .source import PairSource, SceneSource, SourceOptions

SOURCES: Final[dict[str, str]] = {
    "procedural": "spatialdata_builder.sources.procedural.source:Procedural",
    "objaverse": "spatialdata_builder.sources.objaverse.source:Objaverse",
    "models": "spatialdata_builder.sources.models.source:Models",
    "object3dit": "spatialdata_builder.sources.object3dit.source:Object3dit",
}
"""Kind -> `package.module:Class`. The first one is the default of `source.kind`."""


AnySource: TypeAlias = PairSource[Any] | SceneSource[Any]


def get_source(kind: str) -> AnySource:
    """The source of a valid `source.kind`. Raises SpatialdataError if its class does not implement the protocol."""
    return _load(kind, SOURCES[kind])


def get_scene_source(kind: str) -> SceneSource[Any]:
    """Like `get_source`, for workers that open 3D models. Raises SpatialdataError if the source has no models."""
    source = get_source(kind)
    if not isinstance(source, SceneSource):
        raise SpatialdataError(f"source '{kind}' has no 3D models")
    return source


def all_sources() -> Iterator[AnySource]:
    """All sources, in the order of the registry."""
    return map(get_source, SOURCES)


def source_options() -> type[SourceOptions]:
    """The section `source` of a configuration: the keys of all sources, in the order of the registry.

    Loads every source, so that each command that reads a configuration reports an incomplete source.
    """
    return _composed(tuple(SOURCES.items()))


@cache
def _load(kind: str, place: str) -> AnySource:
    module, _, name = place.partition(":")
    found = getattr(importlib.import_module(module), name)
    if missing := missing_parts(kind, found):
        raise SpatialdataError(f"source '{kind}' ({place}): {missing}; see spatialdata_builder/sources/source.py")
    return found()


def missing_parts(kind: str, source: type[Any]) -> str:
    """What a class lacks of the protocol, as text for a message; empty if it is complete."""
    if not issubclass(source, (PairSource, SceneSource)):
        return "it is neither a PairSource nor a SceneSource"
    declared = {name for base in source.__mro__ for name in vars(base).get("__annotations__", ())}
    missing = {name for name in declared if not hasattr(source, name)} | source.__abstractmethods__
    if missing:
        return f"it lacks {', '.join(sorted(missing))}"
    if source.kind != kind:
        return f"its kind is '{source.kind}'"
    if unknown := set(source.planned) - source.options.model_fields.keys():
        return f"`planned` has {', '.join(sorted(unknown))}, which its options do not have"
    return ""


@cache
def _composed(sources: tuple[tuple[str, str], ...]) -> type[SourceOptions]:
    sections = dict.fromkeys(_load(kind, place).options for kind, place in sources)
    owners: dict[str, type[SourceOptions]] = {}
    for section in sections:
        for name in section.model_fields.keys() - SourceOptions.model_fields.keys():
            owner = next(base for base in section.__mro__ if name in vars(base).get("__annotations__", ()))
            other = owners.setdefault(name, owner)
            if not (issubclass(owner, other) or issubclass(other, owner)):
                raise SpatialdataError(f"source.{name} is a key of {other.__name__} and of {section.__name__}")
    # Leave out classes that others derive from. pydantic takes keys from the last base first.
    bases = [one for one in sections if not any(one is not other and issubclass(other, one) for other in sections)]
    kinds: Any = Literal[tuple(kind for kind, _ in sources)]
    section = create_model("SourceOptions", __base__=tuple(reversed(bases)), kind=(kinds, sources[0][0]))
    section.renamed = {old: new for base in bases for old, new in base.renamed.items()}
    return section
