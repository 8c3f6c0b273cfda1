"""timm's description of a WebDataset: `_info.json` in the recipe's folder, with all splits."""

from collections.abc import Sequence
from typing import Final

from ..index import Manifest, as_json
from .facts import PUBLIC_SPLIT

INFO: Final = "_info.json"


def timm_files(splits: Sequence[Manifest]) -> dict[str, bytes]:
    """`_info.json` by its path in the recipe's folder."""
    content = {
        PUBLIC_SPLIT[split.split]: {
            "name": PUBLIC_SPLIT[split.split],
            "num_samples": split.samples,
            "filenames": [f"{split.split}/{shard.name}" for shard in split.shards],
            "shard_lengths": [shard.samples for shard in split.shards],
        }
        for split in splits
    }
    return {INFO: as_json({"splits": content})}
