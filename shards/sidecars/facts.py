"""Data for the files beside the splits of a recipe: the manifests, and counts over the parquets' rows."""

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from ..errors import SpatialdataError
from ..index import LIST_SEPARATOR, REBUILD_HINT, Manifest, read_manifest
from ..layout import filesystem, join, open_url
from ..schema import SPLITS, Split

PUBLIC_SPLIT: Final[Mapping[Split, str]] = {"train": "train", "val": "validation", "test": "test"}
"""The names of our splits in Hugging Face `datasets` and timm."""
_COUNTED: Final = ("edit", "licences")
_READERS: Final = 16


@dataclass(frozen=True)
class RecipeFacts:
    """One recipe's folder."""

    splits: tuple[Manifest, ...]
    """The existing splits in the order train, val, test; at least one, all with the same members."""
    edits: Mapping[Split, Mapping[str, int]]
    """Number of samples by edit kind, for each split."""
    licences: Mapping[str, int]
    """Number of samples that show an object under a license; the empty text counts samples that name none."""

    @property
    def name(self) -> str:
        """The name of the shards, such as `spatialdata` or `my-set`."""
        return self.splits[0].name

    @property
    def recipe(self) -> str:
        return self.splits[0].recipe

    @property
    def members(self) -> tuple[str, ...]:
        return self.splits[0].members

    @property
    def samples(self) -> int:
        return sum(split.samples for split in self.splits)


def read_splits(folder: str) -> tuple[Manifest, ...]:
    """The manifests of the splits in a recipe's folder (any fsspec URL), in the order of `SPLITS`.

    Raises FileNotFoundError where a split is unfinished, and SpatialdataError where splits do not fit together.
    """
    fs, path = filesystem(folder)
    manifests = tuple(read_manifest(join(folder, split)) for split in SPLITS if fs.isdir(join(path, split)))
    if not manifests:
        raise SpatialdataError(f"{folder} contains none of {', '.join(SPLITS)}: run `spatialdata shard`")
    for manifest in manifests[1:]:
        if manifest.members != manifests[0].members:
            names = f"{manifests[0].split} and {manifest.split}"
            raise SpatialdataError(f"{folder}: {names} have different members: rerun `spatialdata shard`")
    return manifests


def read_facts(folder: str) -> RecipeFacts:
    """Read two columns of every parquet in a recipe's folder.

    Raises the errors of `read_splits`, and SpatialdataError for a damaged parquet.
    """
    splits = read_splits(folder)
    owners: list[Split] = [split.split for split in splits for _ in split.shards]
    urls = [join(folder, split.split, shard.parquet) for split in splits for shard in split.shards]
    edits: dict[Split, Counter[str]] = {split.split: Counter() for split in splits}
    licences: Counter[str] = Counter()
    with ThreadPoolExecutor(_READERS) as threads:
        for split, (kinds, texts) in zip(owners, threads.map(_count, urls), strict=True):
            edits[split].update(kinds)
            for text, count in texts.items():
                licences.update(dict.fromkeys(text.split(LIST_SEPARATOR), count))
    return RecipeFacts(
        splits, {split: dict(sorted(kinds.items())) for split, kinds in edits.items()}, dict(sorted(licences.items()))
    )


def _count(url: str) -> list[dict[str, int]]:
    """The number of occurrences of each value in the counted columns of a parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open_url(url) as file:
            table = pq.read_table(file, columns=list(_COUNTED), use_threads=False, pre_buffer=False)
        return [
            {row["values"]: row["counts"] for row in table.column(name).value_counts().to_pylist()} for name in _COUNTED
        ]
    except pa.ArrowException as error:
        what = f"{url}: not a parquet file ({str(error).splitlines()[0]})"
        raise SpatialdataError(f"{what}: {REBUILD_HINT}") from error
