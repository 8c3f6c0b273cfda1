"""Configuration values of which a part is secret: kept without it, whole again from the environment.

Invariant: what is read from a file of OUT holds no secret; where it stands for one (`shards.redact.HIDDEN`), the
environment variable that bears the key's name holds the whole value.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, cast

from ..shards.errors import BadInput
from ..shards.redact import HIDDEN


def secret_variable(key: str) -> str:
    """The environment variable for the whole value of a key: SPATIALDATA_LAYERS_JUDGE_BASE_URL."""
    return f"SPATIALDATA_{re.sub('[^A-Z0-9]+', '_', key.upper())}"


def restored(values: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values of a configuration, those whole again that the environment holds."""
    found = deepcopy(dict(values))
    for path, value in _texts(found, ()):
        if HIDDEN in value and (whole := os.environ.get(secret_variable(_key(path)))):
            inner: Any = found
            for part in path[:-1]:
                inner = inner[part]
            inner[path[-1]] = whole
    return found


def check_secrets(values: Mapping[str, Any]) -> None:
    """Raise BadInput where a value of a configuration lacks the part that is not kept: before work that may need it."""
    for path, value in _texts(values, ()):
        if HIDDEN in value:
            key = _key(path)
            raise BadInput(
                f"{key} is kept without its password or token ({value}): set the environment variable "
                f"{secret_variable(key)} to the whole value, here and on the workers, and run the command again"
            )


def _texts(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Each text within a value, with where it is."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for name, part in cast("Mapping[Any, Any]", value).items():
            yield from _texts(part, (*path, name))
    elif isinstance(value, list | tuple):
        for index, part in enumerate(cast("Sequence[Any]", value)):
            yield from _texts(part, (*path, index))


def _key(path: Sequence[Any]) -> str:
    """As a person writes it: the options of a layer stand beside its stage."""
    parts = [str(part) for part in path]
    if parts[0] == "layers" and parts[2:3] == ["options"]:
        del parts[2]
    return ".".join(parts)
