"""Base of every typed configuration section: immutable, and an unknown key is an error. And the file they come from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, cast

import yaml
from pydantic import BaseModel, ConfigDict, model_validator

from .errors import BadInput
from .layout import open_url

LARGEST: Final = 4_000_000
MOST_VALUES: Final = 200_000
"""Room for a list of a hundred thousand models."""


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
    """The keys of a configuration file, a path or any fsspec URL; none of an empty one.

    Raises BadInput where there is no such file, or it is not a YAML mapping of a configuration's size.
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
        raise BadInput(f"{path}: a configuration is a mapping of keys, not a {type(values).__name__}")
    return values


def _text(path: Path | str) -> str:
    """As much of a file as a configuration may be, and one character more."""
    with Path(path).open("rb") if "://" not in str(path) else open_url(str(path)) as file:
        return file.read(LARGEST + 1).decode()


def parse_yaml(text: str, origin: str) -> Any:
    """Plain values. Raises BadInput, beginning with `origin`, for what is not YAML, or too large, deep or repeated."""
    if len(text) > LARGEST:
        raise BadInput(f"{origin} has more than {LARGEST:,} characters: that is no configuration")
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        if _size(root) > MOST_VALUES:
            raise BadInput(f"{origin} has more than {MOST_VALUES:,} values, or aliases that hold themselves")
        return loader.construct_document(root)
    except yaml.YAMLError as error:
        raise BadInput(f"{origin} is not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise BadInput(f"{origin} is nested too deeply for a configuration") from None
    except ValueError as error:  # a date that is none, a number of thousands of digits
        raise BadInput(f"{origin} has a value that cannot be: {' '.join(str(error).split())}") from None


def shortened(text: str) -> str:
    """A text of the command line, for an error."""
    return text if len(text) <= 80 else f"{text[:77]}..."


def _size(node: yaml.Node) -> float:
    """Number of values with each alias written out, whatever it stands for; infinite where one holds itself."""
    sizes: dict[int, float] = {}

    def count(node: yaml.Node) -> float:
        if id(node) not in sizes:
            sizes[id(node)] = float("inf")  # until it is known: who meets it again meanwhile is inside of it
            parts = node.value if isinstance(node, yaml.CollectionNode) else ()
            inner = (part for item in parts for part in (item if isinstance(item, tuple) else (item,)))
            sizes[id(node)] = 1 + sum(map(count, inner))
        return sizes[id(node)]

    return count(node)
