"""How each recipe was packed: what a lost or damaged shard is made again from.

Invariant: `shards/.made/<recipe>.json` is written before the first shard of a packing, so whatever lies under
`shards/<recipe>` is of that packing or older, and what it names and is not there was lost or not finished.
"""

import json
from dataclasses import dataclass

from pydantic import ValidationError

from ...shards.errors import BadInput
from ...shards.layout import NotAFile
from ...shards.recipes import RECIPES
from ...shards.schema import SPLITS
from ..config import ShardOptions
from ..store.storage import Storage

FOLDER = "shards/.made"
_AGAIN = "pack again with `spatialdata shard {storage} --recipe {recipe}` and the options of then"
_KEPT = {"name", "samples_per_shard", "codecs", "duplicates", "licenses"}
"""Options that decide the bytes of the shards; the splits are the plan's."""


@dataclass(frozen=True)
class Packing:
    """The latest packing of one recipe."""

    options: ShardOptions
    splits: tuple[str, ...]
    """Those that have samples."""
    duplicates: str = ""
    """Digest of the note of what was left out (`pipeline.packing.duplicates`); empty where nothing is compared."""


def write_packing(storage: Storage, recipe: str, packing: Packing) -> None:
    """Note how a recipe is packed from now on."""
    options = packing.options.model_dump(mode="json", include=_KEPT)
    content = {"options": options, "splits": packing.splits, "duplicates": packing.duplicates}
    storage.write_file(_name(recipe), json.dumps(content, indent=1, sort_keys=True).encode())


def read_packing(storage: Storage, recipe: str) -> Packing | None:
    """How a recipe was packed last, or None where it never was. Raises BadInput when the note is damaged."""
    name = _name(recipe)
    try:
        content = json.loads(storage.read_file(name))
        splits = tuple(split for split in SPLITS if split in content["splits"])
        options = ShardOptions.model_validate(content["options"])
        return Packing(options, splits, str(content.get("duplicates", "")))
    except NotAFile as error:
        raise BadInput(f"{error}: {_AGAIN.format(storage=storage, recipe=recipe)}") from None
    except FileNotFoundError:
        return None
    except (ValidationError, ValueError, KeyError, TypeError):
        raise BadInput(f"{storage.path(name)} is damaged: {_AGAIN.format(storage=storage, recipe=recipe)}") from None


def packed_recipes(storage: Storage) -> list[str]:
    """The recipes that were packed, by what is noted."""
    names = storage.names(FOLDER)
    return [recipe for recipe in RECIPES if f"{recipe}.json" in names]


def _name(recipe: str) -> str:
    return f"{FOLDER}/{recipe}.json"
