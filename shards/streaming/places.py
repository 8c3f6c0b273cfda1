"""Byte offsets of all samples: shards come from the manifests, offsets from a shard's parquet when it is first used.

Invariant: opening a set reads only manifests, whatever the number of samples; the memory for offsets is bounded.
"""

import hashlib
import warnings
from bisect import bisect_right
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import BadInput
from ..index import MANIFEST, Manifest, ShardEntry, parquet_name, read_manifest
from ..layout import base, filesystem, find_splits, is_local, join, list_shards, split_field
from ..reader import BLOCK, ShardError
from ..recipes import RECIPES
from ..schema import EDIT_KINDS, READABLE_VERSIONS, EditKind
from .handles import LazyCache
from .remote import read_whole
from .scan import Scanned, scan

CACHE_BYTES: Final = 512 << 20
"""Limit of the offsets kept in memory; the least recently used shards are evicted first."""
_SCANS: Final = 16
"""Number of shards without a manifest that are scanned concurrently."""

Places = NDArray[np.uint32]
"""Offsets of one shard, (samples, members, 3): start of the bytes in blocks of 512, size in bytes, and CRC-32;
(samples, members, 2), without the CRC-32, where the shard was scanned."""


Size = tuple[int, int]
"""Width and height of a sample's images."""


@dataclass(frozen=True)
class Shard:
    """One tar of a set."""

    url: str
    samples: int
    bytes: int
    members: tuple[str, ...]
    """Fields after the key: `source.webp`, `json`; two sets may have the same members in different formats."""
    sha256: str = ""
    parquet_sha256: str = ""
    """Both digests are empty where there is no manifest."""
    edits: tuple[EditKind, ...] = EDIT_KINDS
    """Edit kinds that its samples may have."""
    sizes: tuple[Size, ...] = ()
    """(width, height) of its images, each once; empty where unknown."""


@dataclass(frozen=True)
class ShardSet:
    """The shards of one split folder."""

    url: str
    shards: tuple[Shard, ...]
    members: tuple[str, ...]
    """Fields after the key: `source.webp`, `json`."""
    digest: str
    """Identifies the set in a state: 16 hex digits of a hash over the shards' digests."""
    scanned: dict[str, Scanned]
    """Scanned headers by URL, where there is no manifest."""

    @property
    def samples(self) -> int:
        return sum(shard.samples for shard in self.shards)


def open_set(url: str, recipe: str, split: str) -> ShardSet:
    """The set at `url`: a split folder, or a parent folder from which `recipe` and `split` select.

    Raises BadInput where there are no shards, or several folders match; SpatialdataError for a damaged manifest.
    """
    url = _absolute(url)
    try:  # The manifest first, since checking whether a folder exists in an object store lists all of it.
        return _from_manifest(url, read_manifest(url))
    except (FileNotFoundError, NotADirectoryError):
        folder = _find_folder(url, recipe, split)
    try:
        return _from_manifest(folder, read_manifest(folder))
    except FileNotFoundError:
        return _from_headers(folder)


def has_split(url: str, recipe: str, split: str) -> bool:
    """Whether `url` is the folder of a split, or holds one that `open_set` would select. Raises BadInput if it is no
    folder."""
    try:
        return read_manifest(url).split == split
    except (FileNotFoundError, NotADirectoryError):
        pass
    fs, path = filesystem(url)
    if not fs.isdir(path):
        raise BadInput(f"{url} is not a folder: use a folder of shards, such as OUT/shards/{recipe}/train")
    if any(str(name).endswith(".tar") for name in fs.ls(path, detail=False)):
        return base(str(path).rstrip("/")) == split
    try:
        return bool(find_splits(url, split=split))
    except BadInput:
        return False


def _absolute(url: str) -> str:
    """An absolute local path, so that the process may change its working directory; other URLs stay as they are."""
    fs, path = filesystem(url)
    return str(path) if is_local(fs) else url


def _find_folder(url: str, recipe: str, split: str) -> str:
    fs, path = filesystem(url)
    if not fs.isdir(path):
        raise BadInput(f"{url} is not a folder: use a folder of shards, such as OUT/shards/{recipe}/train")
    if any(str(name).endswith(".tar") for name in fs.ls(path, detail=False)):
        return url
    found = find_splits(url, split=split)
    matching = [folder for folder in found if folder.recipe == recipe] or found
    if len(matching) > 1:
        raise BadInput(f"{url} has several recipes, {', '.join(f.recipe for f in matching)}: use the folder of one")
    return matching[0].url


def _from_manifest(folder: str, manifest: Manifest) -> ShardSet:
    if manifest.schema_version not in READABLE_VERSIONS:
        known = ", ".join(map(str, READABLE_VERSIONS))
        raise BadInput(
            f"{folder} has schema version {manifest.schema_version}, but this version reads {known}: pack it again"
        )
    shards = tuple(_shard(folder, entry, manifest) for entry in manifest.shards)
    digest = hashlib.sha256("".join(shard.sha256 for shard in shards).encode()).hexdigest()[:16]
    return ShardSet(folder, shards, manifest.members, digest, {})


def _shard(folder: str, entry: ShardEntry, manifest: Manifest) -> Shard:
    return Shard(
        join(folder, entry.name),
        entry.samples,
        entry.bytes,
        manifest.members,
        entry.sha256,
        entry.parquet_sha256,
        entry.edits or (RECIPES[manifest.recipe].edits if manifest.recipe in RECIPES else EDIT_KINDS),
        entry.sizes,
    )


def _from_headers(folder: str) -> ShardSet:
    """The set of a folder without a manifest, from the headers of its tars."""
    urls = list_shards(folder)
    if not urls:
        raise BadInput(f"{folder} has no shards: run `spatialdata shard`, or use another folder")
    warnings.warn(
        f"{folder} has no {MANIFEST}: scanning the headers of {len(urls)} shards; digests are not checked", stacklevel=2
    )
    with ThreadPoolExecutor(_SCANS) as pool:
        found = {url: scanned for url, scanned in zip(urls, pool.map(scan, urls), strict=True) if len(scanned.offsets)}
    fields = {scanned.fields for scanned in found.values()}
    if not fields:
        raise BadInput(f"the shards of {folder} have no samples: run `spatialdata shard`, or use another folder")
    if len(fields) > 1:
        difference = ", ".join(sorted(set.symmetric_difference(*(set(each) for each in sorted(fields)[:2]))))
        raise BadInput(f"the shards of {folder} have different members ({difference}): they are not one set")
    members = fields.pop()
    shards = tuple(Shard(url, len(scanned.offsets), scanned.bytes, members) for url, scanned in found.items())
    text = "".join(f"{base(shard.url)} {shard.samples} {shard.bytes}" for shard in shards)
    return ShardSet(folder, shards, members, hashlib.sha256(text.encode()).hexdigest()[:16], found)


class PlaceTable:
    """Offsets of selected members of some sets; loads those of a shard on first use, caches up to `cache_bytes`.

    Args:
        members: names without extension, in the order of the second axis of `Places`.
    """

    def __init__(self, sets: Sequence[ShardSet], members: Sequence[str], cache_bytes: int = CACHE_BYTES) -> None:
        self._members = list(members)
        self.shards = [shard for each in sets for shard in each.shards]
        self._scans = {url: scanned for each in sets for url, scanned in each.scanned.items()}
        self._ends = list(accumulate(shard.samples for shard in self.shards))
        self._cache = LazyCache(self._load, lambda places: places.nbytes, cache_bytes)

    def locate(self, sample: int) -> tuple[int, int]:
        """The shard of a sample (numbered over all sets) and its index in the shard."""
        shard = bisect_right(self._ends, sample)
        return shard, sample - (self._ends[shard - 1] if shard else 0)

    def places(self, shard: int) -> Places:
        """Raises ShardError where the parquet is damaged, or does not fit the manifest."""
        return self._cache(shard)

    def _load(self, number: int) -> Places:
        shard = self.shards[number]
        if shard.url in self._scans:
            return self._places_of_scan(self._scans[shard.url])
        names = [f"{name}_{what}" for name in self._members for what in _COLUMNS]
        try:
            table = read_columns(shard, names)
        except FileNotFoundError:
            return self._rescan(shard)
        if missing := sorted(set(names) - set(table.column_names)):
            raise ShardError(shard.url, "", f"its parquet has no column {missing[0]}")
        columns = [table.column(name).to_numpy().astype(np.int64) for name in names]
        places = np.stack(columns, axis=1).reshape(shard.samples, len(self._members), len(_COLUMNS))
        if (places[..., 0] % BLOCK).any():
            raise ShardError(shard.url, "", "its parquet has offsets that are not multiples of the tar block size")
        places[..., 0] //= BLOCK
        return places.astype(np.uint32)

    def _rescan(self, shard: Shard) -> Places:
        warnings.warn(f"{shard.url} has no parquet: scanning its headers; CRC-32s are not checked", stacklevel=2)
        try:
            scanned = scan(shard.url)
        except FileNotFoundError:
            raise ShardError(shard.url, "", "the shard is missing") from None
        if (len(scanned.offsets), scanned.bytes) != (shard.samples, shard.bytes):
            raise ShardError(shard.url, "", "its samples or bytes differ from the manifest: it is truncated or newer")
        return self._places_of_scan(scanned)

    def _places_of_scan(self, scanned: Scanned) -> Places:
        names = [split_field(field)[0] for field in scanned.fields]
        columns = [names.index(name) for name in self._members]
        return np.stack([scanned.offsets[:, columns] // BLOCK, scanned.sizes[:, columns]], axis=2).astype(np.uint32)


_COLUMNS: Final = ("offset", "size", "crc32")


def read_columns(shard: Shard, names: Sequence[str]) -> Any:
    """Those of the named columns that a shard's parquet has, as a `pyarrow.Table` with a row for each sample.

    Raises FileNotFoundError where there is no parquet, ShardError where it is damaged or belongs to another shard.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    url = f"{shard.url.removesuffix(base(shard.url))}{parquet_name(base(shard.url))}"
    data = read_whole(url)
    if shard.parquet_sha256 and hashlib.sha256(data).hexdigest() != shard.parquet_sha256:
        raise ShardError(shard.url, "", f"{base(url)} is damaged, or not the one in the manifest (its sha256 differs)")
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        existing = set(file.schema_arrow.names)
        table: Any = file.read([name for name in names if name in existing], use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ShardError(shard.url, "", f"its parquet cannot be read ({str(error).splitlines()[0]})") from error
    if table.num_rows != shard.samples and table.num_columns:
        raise ShardError(shard.url, "", "its parquet has a different number of samples than the manifest")
    return table
