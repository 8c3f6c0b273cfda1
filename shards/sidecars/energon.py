"""Files that megatron-energon reads beside plain tars, so that `energon prepare` is not needed.

The recipe's folder is the dataset; its splits are energon's. `.nv-meta/` lists the shards, and `<shard>.tar.idx`
(`shards.index`) gives the offsets of their samples. Samples are not decoded, since energon's image decoders convert
16-bit depth to 8 bits. Joining datasets and access by key also need `index.sqlite`, which `energon prepare` adds.
"""

from collections.abc import Sequence
from typing import Any, Final

import yaml

from ..index import Manifest, as_json

INFO: Final = ".nv-meta/.info.json"
SPLIT: Final = ".nv-meta/split.yaml"
DATASET: Final = ".nv-meta/dataset.yaml"
FORMAT_VERSION: Final = "7.4.1"
"""The release of energon that defines this format."""


def energon_files(splits: Sequence[Manifest]) -> dict[str, bytes]:
    """The files of `.nv-meta/` by their path in the recipe's folder."""
    counts = {_path(split, shard.name): shard.samples for split in splits for shard in split.shards}
    parts = {split.split: [_path(split, shard.name) for shard in split.shards] for split in splits}
    return {
        SPLIT: _as_yaml({"split_parts": parts, "exclude": []}),
        DATASET: _as_yaml({"__module__": "megatron.energon", "__class__": "CrudeWebdataset", "decoder": None}),
        INFO: as_json({"energon_version": FORMAT_VERSION, "shard_counts": counts}),
    }


def _path(split: Manifest, shard: str) -> str:
    return f"{split.split}/{shard}"


def _as_yaml(value: dict[str, Any]) -> bytes:
    return yaml.safe_dump(value, sort_keys=False).encode()
