"""Which samples of some sets a stream draws: those of a recipe's edits, and, where asked, in buckets of one image size.

Manifests tell at once whether a choice is needed: most streams take all samples, of one size, and read nothing more. A
choice costs one read of each parquet that can differ; shards that were packed before sizes were noted, or that lie
without a parquet, are asked by the headers of their images and their records, two small ranges a sample.
Invariant: a choice follows from the sets and the recipe alone, so every rank and every later run has the same.
"""

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..codecs import CodecError, image_size
from ..errors import BadInput
from ..index import UNKNOWN_SIZE
from ..layout import split_field
from ..reader import BLOCK, ShardError
from ..recipes import get_recipe
from .places import PlaceTable, Shard, ShardSet, Size, read_columns
from .remote import file_at
from .retry import retried

_READERS: Final = 16
HEADER: Final = 4096
"""Bytes that tell an image's size, but for a JPEG with much before it."""
_SHOWN: Final = 5


@dataclass(frozen=True)
class Bucket:
    """Samples that may share a batch."""

    size: Size | None
    """Of all its images; None where nobody asked, or nobody knows."""
    counts: tuple[tuple[int, ...], ...]
    """Samples of each shard, by set."""
    numbers: NDArray[np.int64] | None = None
    """Of each sample of the bucket, its number over all sets; None: the bucket is all of them."""

    @property
    def samples(self) -> int:
        return sum(map(sum, self.counts))


@dataclass(frozen=True)
class Choice:
    """What a stream draws from."""

    buckets: tuple[Bucket, ...]
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])
    """Samples of edits that the recipe does not take, by kind of edit."""

    @property
    def samples(self) -> int:
        return sum(bucket.samples for bucket in self.buckets)


@dataclass(frozen=True)
class _Rows:
    """What a choice needs to know of the samples of a shard; None where it need not, or cannot."""

    edits: Sequence[str] | None = None
    sizes: Sequence[Size] | None = None


def members_of(sets: Sequence[ShardSet], recipe: str, chosen: Sequence[str]) -> tuple[str, ...]:
    """Names without extension of what a batch holds, sorted. Raises BadInput where the sets lack one, or differ."""
    held = [{split_field(name)[0] for name in each.members} for each in sets]
    for each, names in zip(sets, held, strict=True):
        if names != held[0]:
            odd = ", ".join(sorted(names ^ held[0]))
            raise BadInput(f"{each.url} and {sets[0].url} differ in their members ({odd}): stream sets of one recipe")
    wanted = tuple(chosen) or tuple(column.member for column in get_recipe(recipe).columns)
    if recipe == "full" and not chosen:
        wanted = tuple(name for name in wanted if name in held[0])
    missing = sorted({*wanted, "json"} - held[0])
    if missing:
        made = {column.member: column.layer for column in get_recipe("full").columns}
        layers = ", ".join(sorted({made[name] for name in missing if name in made}))
        raise BadInput(
            f"{sets[0].url} lacks {', '.join(missing)}, which recipe {recipe} needs (it has "
            f"{', '.join(sorted(held[0]))}): {f'build {layers}, then ' if layers else ''}pack that recipe with "
            "`spatialdata shard`, or name other members"
        )
    return tuple(sorted(set(wanted)))


def choose(sets: Sequence[ShardSet], recipe: str, *, buckets: bool, skip: bool) -> Choice:
    """The samples of a recipe's edits.

    Args:
        buckets: one bucket for each size of images; else all samples are one.
        skip: keep the samples of a shard whose parquet is damaged, which reading them will tell; else raise.

    Raises:
        BadInput: no sample has such an edit, or images differ in size and `buckets` is False.
        ShardError: a parquet that is needed is damaged, and `skip` is False.
    """
    wanted: set[str] = set(get_recipe(recipe).edits)
    shards = [shard for each in sets for shard in each.shards]
    sizes = {size for shard in shards for size in shard.sizes}
    picks = [not wanted.issuperset(shard.edits) for shard in shards]
    unlike = [len(shard.sizes) > 1 or (buckets and not shard.sizes) for shard in shards]
    table = PlaceTable(sets, ["json", "source"])
    numbers = [number for number in range(len(shards)) if picks[number] or unlike[number]]
    if not numbers and len(sizes) < 2:
        counts = tuple(tuple(shard.samples for shard in each.shards) for each in sets)
        return Choice((Bucket(next(iter(sizes), None), counts),))
    with ThreadPoolExecutor(_READERS) as pool:
        asked = {n: pool.submit(_rows_of, table, skip, n, picks[n], unlike[n]) for n in numbers}
        known = {number: rows.result() for number, rows in asked.items()}
    left_out = Counter(edit for rows in known.values() for edit in rows.edits or () if edit and edit not in wanted)
    kept = {number: _kept(shards[number], rows, wanted) for number, rows in known.items()}
    if left_out.total() == sum(shard.samples for shard in shards):
        raise BadInput(
            f"{_named(sets)} holds no edit that recipe {recipe} takes ({', '.join(sorted(wanted))}): its samples are "
            f"{_counted(left_out)}; choose another recipe, or build with such edits"
        )
    return Choice(_by_size(sets, known, kept, buckets), dict(sorted(left_out.items())))


def choose_all(sets: Sequence[ShardSet], sizes: Mapping[int, Sequence[Size]], *, buckets: bool) -> Choice:
    """All samples of sets whose sizes are known, by the number of their shard. Raises BadInput as `choose`."""
    return Choice(_by_size(sets, {number: _Rows(sizes=each) for number, each in sizes.items()}, {}, buckets))


def tell(sets: Sequence[ShardSet], recipe: str, choice: Choice) -> None:
    """Say what is left out, in one line of the log."""
    if choice.left_out:
        count = sum(choice.left_out.values())
        logging.getLogger(__name__).warning(
            "%s: %d of %d samples are left out, since recipe %s takes %s: %s",
            *(_named(sets), count, count + choice.samples, recipe),
            *(", ".join(get_recipe(recipe).edits), _counted(choice.left_out)),
        )


def mixed_sizes(where: str, sizes: Sequence[Size]) -> BadInput:
    """What to say of images that cannot share a batch."""
    told = [f"{width} x {height}" for width, height in sorted(sizes, reverse=True)]
    if len(told) > _SHOWN + 1:
        told = [*told[:_SHOWN], f"{len(told) - _SHOWN} other sizes"]
    return BadInput(
        f"{where} holds images of {', '.join(told[:-1])} and {told[-1]}, and a batch needs one size: stream them with "
        "buckets=True, so that each batch has one (training: `--set data.buckets=true`; `spatialdata stream`: "
        "`--option buckets=true`), or give sets of one size"
    )


def _rows_of(table: PlaceTable, skip: bool, number: int, edits: bool, sizes: bool) -> _Rows:
    """Edits and sizes of a shard's samples, as far as they are asked for."""
    shard = table.shards[number]
    wanted = [*(["edit"] if edits else []), *(["width", "height"] if sizes else [])]
    try:
        try:
            columns = read_columns(shard, wanted)
            found = {name: columns.column(name).to_pylist() for name in columns.column_names}
        except FileNotFoundError:
            found = {}
        if edits and "edit" not in found:
            found["edit"] = [_edit_in(data) for data in _ranges(table, number, 0, 0)]
        if sizes and not {"width", "height"} <= found.keys():
            return _Rows(found.get("edit"), _sizes_in(table, number))
    except ShardError:
        if not skip:
            raise
        return _Rows()
    return _Rows(found.get("edit"), list(zip(found["width"], found["height"], strict=True)) if sizes else None)


def _edit_in(record: bytes) -> str:
    """The kind of edit in a record; empty where it cannot be read, which reading the sample will tell."""
    try:
        return str(json.loads(record)["edit"]["kind"])
    except (ValueError, KeyError, TypeError):
        return ""


def _sizes_in(table: PlaceTable, number: int) -> list[Size]:
    sizes = [size_in(data) for data in _ranges(table, number, 1, HEADER)]
    return sizes if UNKNOWN_SIZE not in sizes else [size_in(data) for data in _ranges(table, number, 1, 0)]


def size_in(image: bytes) -> Size:
    """Of an image, or of its first bytes; `UNKNOWN_SIZE` where they do not tell."""
    try:
        return image_size(image)
    except CodecError:
        return UNKNOWN_SIZE


def _ranges(table: PlaceTable, number: int, member: int, most: int) -> list[bytes]:
    """The first `most` bytes (0: all) of one member of each sample of a shard."""
    places, url = table.places(number)[:, member].astype(np.int64), table.shards[number].url
    starts = (places[:, 0] * BLOCK).tolist()
    ends = (places[:, 0] * BLOCK + np.minimum(places[:, 1], most or places[:, 1])).tolist()
    fs, path = file_at(url)
    try:
        return retried(lambda: fs.cat_ranges([path] * len(starts), starts, ends, on_error="raise"), url)
    except FileNotFoundError:
        raise ShardError(url, "", "the shard is missing") from None


def _kept(shard: Shard, rows: _Rows, wanted: set[str]) -> NDArray[np.bool_]:
    """Which samples of a shard the recipe takes. What cannot be known is kept: reading it will tell."""
    if rows.edits is None:
        return np.ones(shard.samples, bool)
    return np.array([edit in wanted or not edit for edit in rows.edits], bool)


def _by_size(
    sets: Sequence[ShardSet], known: Mapping[int, _Rows], kept: Mapping[int, NDArray[np.bool_]], buckets: bool
) -> tuple[Bucket, ...]:
    found = _sizes_of([shard for each in sets for shard in each.shards], known, kept)
    if not buckets and len(found) > 1:
        raise mixed_sizes(_named(sets), found)
    return tuple(_in_buckets(sets, known, kept, found))


def _sizes_of(shards: Sequence[Shard], known: Mapping[int, _Rows], kept: Mapping[int, NDArray[np.bool_]]) -> list[Size]:
    """Of all samples that are kept, those that most have first."""
    counts: Counter[Size] = Counter()
    for number, shard in enumerate(shards):
        rows = known.get(number, _Rows())
        if rows.sizes is not None:
            mine = kept.get(number, np.ones(shard.samples, bool))
            counts.update(size for size, keep in zip(rows.sizes, mine, strict=True) if keep)
        elif len(shard.sizes) == 1:
            counts[shard.sizes[0]] += int(kept[number].sum()) if number in kept else shard.samples
    del counts[UNKNOWN_SIZE]
    return sorted((size for size in counts if counts[size]), key=lambda size: (-counts[size], size))


def _in_buckets(
    sets: Sequence[ShardSet],
    known: Mapping[int, _Rows],
    kept: Mapping[int, NDArray[np.bool_]],
    sizes: Sequence[Size],
) -> list[Bucket]:
    """The samples that are kept, by size; those of unknown size are in the first bucket."""
    shards = [shard for each in sets for shard in each.shards]
    firsts = list(accumulate((shard.samples for shard in shards), initial=0))
    ends = list(accumulate((len(each.shards) for each in sets), initial=0))
    parts: list[list[NDArray[np.int64]]] = [[] for _ in sizes or [None]]
    place = {size: at for at, size in enumerate(sizes)}
    for number, shard in enumerate(shards):
        rows = known.get(number, _Rows())
        each = rows.sizes if rows.sizes is not None else [shard.sizes[0] if len(shard.sizes) == 1 else UNKNOWN_SIZE]
        owners = np.broadcast_to(np.array([place.get(size, 0) for size in each]), shard.samples)
        mine = kept.get(number, np.ones(shard.samples, bool))
        for at, part in enumerate(parts):
            part.append(np.flatnonzero(mine & (owners == at)) + firsts[number])
    made: list[Bucket] = []
    for at, part in enumerate(parts):
        counts = [len(numbers) for numbers in part]
        by_set = tuple(tuple(counts[begin:end]) for begin, end in pairwise(ends))
        made.append(
            Bucket(sizes[at] if sizes else None, by_set, np.concatenate(part) if sum(counts) < firsts[-1] else None)
        )
    return made


def _named(sets: Sequence[ShardSet]) -> str:
    return sets[0].url if len(sets) == 1 else ", ".join(each.url for each in sets)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
