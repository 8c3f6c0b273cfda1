"""Stages of a user's package, named by their import path: `layers: {line: {stage: "mypackage.canny:Canny"}}`.

A plug-in's module is imported when a build creates its stages, so heavy imports belong in `setup`. On a cluster, its
package is sent to the nodes (`places`), without the packages that it depends on.
"""

import importlib
import inspect
import re
import sys
from collections.abc import Iterable
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Final

from ..shards.errors import BadInput
from ..shards.layout import OWN_EXTENSIONS
from ..shards.stage import Stage
from .config import LAYERS, nearest

_PATH: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_DECLARED: Final = ("layer", "needs", "version")
_OURS: Final = __name__.partition(".")[0]


def is_path(stage: str) -> bool:
    """Whether the name of a stage is an import path."""
    return ":" in stage


def path_of(stage: Stage) -> str:
    """The import path of a plugged-in stage, where its class is defined; empty for built-in stages."""
    kind = type(stage)
    return "" if kind.__module__.partition(".")[0] == _OURS else f"{kind.__module__}:{kind.__qualname__}"


def load(layer: str, path: str) -> type[Stage]:
    """Import the class of a stage from `package.module:Class`.

    Raises BadInput if the path is malformed, the module cannot be imported, or the class does not exist or does not fit
    `shards.stage.Stage`.
    """
    where = f"layers.{layer}.stage"
    if not _PATH.fullmatch(path):
        raise BadInput(f"{where}: '{path}' is not an import path: write package.module:Class")
    module, _, name = path.partition(":")
    found = vars(_module(where, module))
    kind = found.get(name)
    if not isinstance(kind, type):
        near = nearest(name, sorted(other for other, value in found.items() if _is_stage(value)))
        raise BadInput(f"{where}: module '{module}' has no class '{name}'{near}")
    if not issubclass(kind, Stage):
        raise BadInput(f"{where}: {path} is not a stage: let it inherit {Stage.__module__}.Stage")
    _check(layer, where, path, kind)
    return kind


def places(stages: Iterable[Stage]) -> tuple[Path, ...]:
    """The locations of the packages of plugged-in stages: folders, or files of modules without a package."""
    names = {path.partition(":")[0].partition(".")[0] for stage in stages if (path := path_of(stage))}
    found: list[Path] = []
    for name in sorted(names):
        module = sys.modules[name]
        inside = [Path(folder) for folder in getattr(module, "__path__", ())]
        found += inside or ([Path(module.__file__)] if module.__file__ else [])
    return tuple(found)


def _module(where: str, name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise BadInput(
                f"{where}: no module '{error.name}': install its package, or add its folder to PYTHONPATH"
            ) from None
        raise BadInput(f"{where}: module '{name}' needs module '{error.name}', which is not installed") from None
    except Exception as error:  # a module may raise anything
        first = (str(error).strip().splitlines() or [""])[0]
        raise BadInput(f"{where}: module '{name}' cannot be imported: {type(error).__name__}: {first}") from error


def _is_stage(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Stage) and not inspect.isabstract(value)


def _check(layer: str, where: str, path: str, kind: type[Stage]) -> None:
    missing = [name for name in _DECLARED if not hasattr(kind, name)]
    missing += sorted(kind.__abstractmethods__)
    if missing:
        raise BadInput(f"{where}: {path} does not fit Stage: it lacks {', '.join(missing)}")
    if "__dataclass_fields__" not in vars(kind) or not is_dataclass(kind):
        raise BadInput(f"{where}: {path} is not a dataclass: decorate it with @dataclass(frozen=True)")
    if kind.layer != layer:
        raise BadInput(f"{where}: {path} computes layer '{kind.layer}': write it under layers.{kind.layer}")
    if layer not in LAYERS and kind.member not in ("", *OWN_EXTENSIONS):
        raise BadInput(f"{where}: {path}.member is '{kind.member}': use one of {', '.join(OWN_EXTENSIONS)}, or ''")
