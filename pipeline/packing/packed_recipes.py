"""Record how each recipe was packed, so that lost or damaged shards can be packed again.

Invariant: `shards/.made/<recipe>.json` is written before the first shard of a packing. So the files under
`shards/<recipe>` are from that packing or an older one, and a shard that is missing was lost or not finished.
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
_PACK_AGAIN = "pack again with `spatialdata shard {storage} --recipe {recipe}` and the same options as before"
_STORED_OPTIONS = {"name", "samples_per_shard", "codecs", "duplicates", "licenses"}
"""Options that determine the bytes of the shards. The splits are part of the plan."""


@dataclass(frozen=True)
class Packing:
    """The latest packing of one recipe."""

    options: ShardOptions
    splits: tuple[str, ...]
    """The splits that have samples."""
    duplicates: str = ""
    """Digest of the list of left-out duplicates (`pipeline.packing.duplicates`); empty if none were searched."""


def write_packing(storage: Storage, recipe: str, packing: Packing) -> None:
    """Record how a recipe is packed from now on."""
    options = packing.options.model_dump(mode="json", include=_STORED_OPTIONS)
    content = {"options": options, "splits": packing.splits, "duplicates": packing.duplicates}
    storage.write_file(_name(recipe), json.dumps(content, indent=1, sort_keys=True).encode())


def read_packing(storage: Storage, recipe: str) -> Packing | None:
    """How a recipe was last packed; None if it never was. Raises BadInput if the record is damaged."""
    name = _name(recipe)
    try:
        content = json.loads(storage.read_file(name))
        splits = tuple(split for split in SPLITS if split in content["splits"])
        options = ShardOptions.model_validate(content["options"])
        return Packing(options, splits, str(content.get("duplicates", "")))
    except NotAFile as error:
        raise BadInput(f"{error}: {_PACK_AGAIN.format(storage=storage, recipe=recipe)}") from None
    except FileNotFoundError:
        return None
    except (ValidationError, ValueError, KeyError, TypeError):
        raise BadInput(
            f"{storage.path(name)} is damaged: {_PACK_AGAIN.format(storage=storage, recipe=recipe)}"
        ) from None


def packed_recipes(storage: Storage) -> list[str]:
    """The recipes that have a record of their packing."""
    names = storage.names(FOLDER)
    return [recipe for recipe in RECIPES if f"{recipe}.json" in names]


def _name(recipe: str) -> str:
    return f"{FOLDER}/{recipe}.json"
