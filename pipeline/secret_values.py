"""Configuration values with a secret part: files store them without it, the environment completes them.

Invariant: no file of OUT holds a secret. Where a file has `shards.redact.HIDDEN` in its place, the environment variable
named after the key holds the complete value.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, cast

from ..shards.errors import BadInput
from ..shards.redact import HIDDEN


def secret_variable(key: str) -> str:
    """The environment variable for the complete value of a key, such as SPATIALDATA_LAYERS_JUDGE_BASE_URL."""
    return f"SPATIALDATA_{re.sub('[^A-Z0-9]+', '_', key.upper())}"


def restored(values: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values of a configuration, with their secrets filled in from the environment if it has them."""
    found = deepcopy(dict(values))
    for path, value in _texts(found, ()):
        if HIDDEN in value and (complete := os.environ.get(secret_variable(_key(path)))):
            inner: Any = found
            for part in path[:-1]:
                inner = inner[part]
            inner[path[-1]] = complete
    return found


def check_secrets(values: Mapping[str, Any]) -> None:
    """Raise BadInput if a value of a configuration still lacks its secret part. Called before work that may need it."""
    for path, value in _texts(values, ()):
        if HIDDEN in value:
            key = _key(path)
            raise BadInput(
                f"{key} is stored without its password or token ({value}): set the environment variable "
                f"{secret_variable(key)} to the complete value, here and on the workers, and rerun the command"
            )


def _texts(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Each string within a value, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for name, part in cast("Mapping[Any, Any]", value).items():
            yield from _texts(part, (*path, name))
    elif isinstance(value, list | tuple):
        for index, part in enumerate(cast("Sequence[Any]", value)):
            yield from _texts(part, (*path, index))


def _key(path: Sequence[Any]) -> str:
    """The key as a user writes it: the options of a layer are siblings of its `stage`."""
    parts = [str(part) for part in path]
    if parts[0] == "layers" and parts[2:3] == ["options"]:
        del parts[2]
    return ".".join(parts)
