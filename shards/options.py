"""Base class of every typed configuration section (immutable, unknown keys are errors), and reading YAML files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, cast

import yaml
from pydantic import BaseModel, ConfigDict, model_validator

from .errors import BadInput
from .layout import open_url

MAX_CHARACTERS: Final = 4_000_000
MAX_VALUES: Final = 200_000
"""Enough for a list of a hundred thousand models."""


class Options(BaseModel):
    """A section of the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
    renamed: ClassVar[Mapping[str, str]] = {}
    """Old key: new key. An old key is still read, and names the value in fingerprints, which so stay what they were."""

    @model_validator(mode="before")
    @classmethod
    def _old_keys(cls, given: Any) -> Any:
        return with_new_keys(cast("Mapping[str, Any]", given), cls.renamed) if isinstance(given, Mapping) else given


def with_new_keys(given: Mapping[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    """`given` with old keys replaced by new ones.

    Raises ValueError where both the old and the new key are given.
    """
    for old, new in renamed.items():
        if old in given and new in given:
            raise ValueError(f"{old} is the old name of {new}: remove one of the two")
    return {renamed.get(key, key): value for key, value in given.items()}


def read_yaml(path: Path | str) -> dict[str, Any]:
    """The keys of a configuration file at a path or any fsspec URL; an empty file has none.

    Raises BadInput where there is no such file, it is not a YAML mapping, or it is too large.
    """
    try:
        text = _text(path)
    except FileNotFoundError:
        raise BadInput(f"no configuration file {path}") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot read configuration file {path}: {error}") from None
    values = parse_yaml(text, str(path))
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise BadInput(f"{path}: a configuration must be a mapping of keys, not a {type(values).__name__}")
    return values


def _text(path: Path | str) -> str:
    """At most one character more than the allowed size."""
    with Path(path).open("rb") if "://" not in str(path) else open_url(str(path)) as file:
        return file.read(MAX_CHARACTERS + 1).decode()


def parse_yaml(text: str, origin: str) -> Any:
    """Plain values. Raises BadInput, starting with `origin`, for invalid YAML and too many, deep or cyclic values."""
    if len(text) > MAX_CHARACTERS:
        raise BadInput(f"{origin} has more than {MAX_CHARACTERS:,} characters: too large for a configuration")
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        if _size(root) > MAX_VALUES:
            raise BadInput(f"{origin} has more than {MAX_VALUES:,} values, or an alias that contains itself")
        return loader.construct_document(root)
    except yaml.YAMLError as error:
        raise BadInput(f"{origin} is not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise BadInput(f"{origin} is nested too deeply for a configuration") from None
    except ValueError as error:  # an invalid date, a number of thousands of digits
        raise BadInput(f"{origin} has an invalid value: {' '.join(str(error).split())}") from None


def shortened(text: str) -> str:
    """A text of the command line, shortened for an error message."""
    return text if len(text) <= 80 else f"{text[:77]}..."


def _size(node: yaml.Node) -> float:
    """Number of values with all aliases expanded; infinite where one contains itself."""
    sizes: dict[int, float] = {}

    def count(node: yaml.Node) -> float:
        if id(node) not in sizes:
            sizes[id(node)] = float("inf")  # until it is known: only a node inside this one can read it before
            parts = node.value if isinstance(node, yaml.CollectionNode) else ()
            inner = (part for item in parts for part in (item if isinstance(item, tuple) else (item,)))
            sizes[id(node)] = 1 + sum(map(count, inner))
        return sizes[id(node)]

    return count(node)
