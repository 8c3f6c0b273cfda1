"""Base of every typed configuration section: immutable, and an unknown key is an error. And the file they come from."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from shards.errors import BadInput
from shards.layout import open_url


class Options(BaseModel):
    """A section of the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def read_yaml(path: Path | str) -> dict[str, Any]:
    """The keys of a configuration file, a path or any fsspec URL; none of an empty one.

    Raises BadInput where there is no such file, or it is not a YAML mapping.
    """
    try:
        values = yaml.safe_load(_text(path))
    except FileNotFoundError:
        raise BadInput(f"no configuration file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read configuration file {path}: {error}") from None
    except yaml.YAMLError as error:
        raise BadInput(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise BadInput(f"{path}: a configuration is a mapping of keys, not a {type(values).__name__}")
    return values


def _text(path: Path | str) -> str:
    if "://" not in str(path):
        return Path(path).read_text(encoding="utf-8")
    with open_url(str(path)) as file:
        return file.read().decode()
