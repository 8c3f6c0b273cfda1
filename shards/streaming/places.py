"""Where the bytes of every sample lie: shards from the manifests at once, offsets from a shard's parquet when touched.

Invariant: opening costs the manifests alone, whatever the number of samples; what is held of offsets is bounded.
"""

import hashlib
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shards.errors import BadInput, SpatialdataError
from shards.index import MANIFEST, Manifest, ShardEntry, parquet_name, read_manifest
from shards.layout import base, filesystem, find_splits, is_local, join, list_shards, open_url, split_field
from shards.reader import ShardError
from shards.schema import SCHEMA_VERSION
from shards.streaming.scan import Scanned, scan

HELD_BYTES: Final = 512 << 20
"""Offsets that are kept in memory; the shards used longest ago are dropped first."""


@dataclass(frozen=True)
class Places:
    """Of each sample of one shard: (samples, members) arrays in the order of the members asked for."""

    offsets: NDArray[np.int64]
    sizes: NDArray[np.int32]
    crcs: NDArray[np.uint32]
    """CRC-32; empty where the shard was scanned."""

    @property
    def nbytes(self) -> int:
        return self.offsets.nbytes + self.sizes.nbytes + self.crcs.nbytes


@dataclass(frozen=True)
class Shard:
    """One tar of a set."""

    url: str
    samples: int
    bytes: int
    sha256: str
    """Empty where there is no manifest."""


@dataclass(frozen=True)
class ShardSet:
    """The shards of one split folder."""

    url: str
    shards: tuple[Shard, ...]
    members: tuple[str, ...]
    """Fields behind the key: `source.webp`, `json`."""
    digest: str
    """What a state is compared with: 16 hex digits over the shards' own."""
    scanned: dict[str, Scanned]
    """By URL, where there is no manifest."""

    @property
    def samples(self) -> int:
        return sum(shard.samples for shard in self.shards)


def open_set(url: str, recipe: str, split: str) -> ShardSet:
    """The set at `url`: a split folder, or a folder above it (then `recipe` and `split` choose).

    Raises BadInput where there are no shards, or several folders fit; SpatialdataError for a damaged manifest.
    """
    folder = _folder(url, recipe, split)
    try:
        manifest = read_manifest(folder)
    except FileNotFoundError:
        return _scanned(folder)
    if manifest.schema_version != SCHEMA_VERSION:
        raise BadInput(
            f"{folder} holds schema {manifest.schema_version}, this version reads {SCHEMA_VERSION}: pack it again"
        )
    return _listed(folder, manifest)


def _folder(url: str, recipe: str, split: str) -> str:
    fs, path = filesystem(url)
    if not fs.isdir(path):
        raise BadInput(f"{url} is not a folder: give a folder of shards, such as OUT/shards/{recipe}/train")
    if fs.exists(join(path, MANIFEST)) or any(str(name).endswith(".tar") for name in fs.ls(path, detail=False)):
        return url
    found = find_splits(url, split=split)
    named = [folder for folder in found if folder.recipe == recipe] or found
    if len(named) > 1:
        raise BadInput(f"{url} holds {', '.join(f.recipe for f in named)}: give the folder of one of them")
    return named[0].url


def _listed(folder: str, manifest: Manifest) -> ShardSet:
    shards = tuple(_shard(folder, entry) for entry in manifest.shards)
    digest = hashlib.sha256("".join(shard.sha256 for shard in shards).encode()).hexdigest()[:16]
    return ShardSet(folder, shards, manifest.members, digest, {})


def _shard(folder: str, entry: ShardEntry) -> Shard:
    return Shard(join(folder, entry.name), entry.samples, entry.bytes, entry.sha256)


def _scanned(folder: str) -> ShardSet:
    """No manifest: read the headers of every tar."""
    urls = list_shards(folder)
    if not urls:
        raise BadInput(f"{folder} holds no shards: run `spatialdata shard`, or give another folder")
    warnings.warn(
        f"{folder} has no {MANIFEST}: scanning the headers of {len(urls)} shards; digests are not checked", stacklevel=2
    )
    found = {url: scan(url) for url in urls}
    fields = {scanned.fields for scanned in found.values()}
    if len(fields) > 1:
        odd = ", ".join(sorted(set.symmetric_difference(*(set(each) for each in sorted(fields)[:2]))))
        raise BadInput(f"the shards of {folder} differ in their members ({odd}): they are not one set")
    shards = tuple(Shard(url, len(scanned.offsets), scanned.bytes, "") for url, scanned in found.items())
    text = "".join(f"{base(shard.url)} {shard.samples} {shard.bytes}" for shard in shards)
    return ShardSet(folder, shards, fields.pop(), hashlib.sha256(text.encode()).hexdigest()[:16], found)


class PlaceTable:
    """The places of chosen members of some sets; loads a shard's when first asked, keeps `HELD_BYTES` of them."""

    def __init__(self, sets: Sequence[ShardSet], members: Sequence[str], held_bytes: int = HELD_BYTES) -> None:
        self._sets = sets
        self._members = list(members)
        self._held_bytes = held_bytes
        self._held: OrderedDict[int, Places] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()
        self.shards = [shard for each in sets for shard in each.shards]
        self._scanned = {url: scanned for each in sets for url, scanned in each.scanned.items()}
        self._ends = np.cumsum([shard.samples for shard in self.shards])

    def locate(self, sample: int) -> tuple[int, int]:
        """The shard of a sample (counted over all sets) and its place in it."""
        shard = int(np.searchsorted(self._ends, sample, side="right"))
        return shard, sample - (int(self._ends[shard - 1]) if shard else 0)

    def places(self, shard: int) -> Places:
        """Raises ShardError where the parquet is missing, damaged, or does not fit the manifest."""
        with self._lock:
            if shard in self._held:
                self._held.move_to_end(shard)
                return self._held[shard]
        found = self._load(self.shards[shard])
        with self._lock:
            if shard not in self._held:
                self._held[shard] = found
                self._bytes += found.nbytes
            while self._bytes > self._held_bytes and len(self._held) > 1:
                self._bytes -= self._held.popitem(last=False)[1].nbytes
        return found

    def _load(self, shard: Shard) -> Places:
        if shard.url in self._scanned:
            return self._of_scan(self._scanned[shard.url])
        try:
            table = _read_columns(
                shard.url, [f"{name}_{what}" for name in self._members for what in ("offset", "size", "crc32")]
            )
        except FileNotFoundError:
            return self._of_scan(scan(shard.url))
        if len(table[f"{self._members[0]}_offset"]) != shard.samples:
            raise ShardError(shard.url, "", "its parquet lists another number of samples than the manifest")
        return Places(
            np.stack([table[f"{name}_offset"] for name in self._members], axis=1).astype(np.int64),
            np.stack([table[f"{name}_size"] for name in self._members], axis=1).astype(np.int32),
            np.stack([table[f"{name}_crc32"] for name in self._members], axis=1).astype(np.uint32),
        )

    def _of_scan(self, scanned: Scanned) -> Places:
        names = [split_field(field)[0] for field in scanned.fields]
        columns = [names.index(name) for name in self._members]
        empty = np.empty((0, 0), np.uint32)
        return Places(scanned.offsets[:, columns], scanned.sizes[:, columns], empty)


def _read_columns(shard: str, columns: Sequence[str]) -> dict[str, NDArray[Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    url = f"{shard.removesuffix(base(shard))}{parquet_name(base(shard))}"
    fs, path = filesystem(url)
    try:
        if is_local(fs):
            table = pq.read_table(path, columns=list(columns), use_threads=False, memory_map=True)
        else:
            with open_url(url) as file:
                table = pq.read_table(pa.BufferReader(file.read()), columns=list(columns), use_threads=False)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise SpatialdataError(f"{url} is not a whole parquet file ({str(error).splitlines()[0]})") from error
    missing = sorted(set(columns) - set(table.column_names))
    if missing:
        raise SpatialdataError(f"{url} has no column {missing[0]}: pack the recipe again with `spatialdata shard`")
    return {name: table.column(name).to_numpy() for name in columns}
