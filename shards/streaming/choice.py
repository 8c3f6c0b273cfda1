"""Selects the samples that a stream draws: those with a recipe's edits, optionally in buckets of one image size.

The manifests show whether a selection is needed: most streams use all samples, of one size, and read nothing else. For
one sample of each family, every parquet is read.
Otherwise each parquet that may matter is read once. For shards without a parquet, or packed by a version that did not
record sizes, the records and the headers of the images are read: two small ranges per sample.
Invariant: a choice depends only on the sets and the recipe, so it is the same on every rank and in every later run.
"""

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..codecs import CodecError, image_size
from ..errors import BadInput
from ..index import UNKNOWN_SIZE
from ..layout import split_field
from ..reader import BLOCK, ShardError
from ..recipes import get_recipe
from .families import group, number_families
from .places import PlaceTable, Shard, ShardSet, Size, read_columns
from .remote import file_at
from .retry import call_with_retries

_READERS: Final = 16
HEADER: Final = 4096
"""Leading bytes that contain the size of an image, except for a JPEG with large metadata."""
_MAX_LISTED_SIZES: Final = 5


@dataclass(frozen=True)
class Bucket:
    """Samples that may share a batch."""

    size: Size | None
    """Size of all its images; None where it was not requested or is unknown."""
    counts: tuple[tuple[int, ...], ...]
    """Number of samples in each shard, by set; with `families`, of families whose first sample it holds."""
    numbers: NDArray[np.int64] | None = None
    """Numbers of the bucket's samples, counted over all sets; None: the bucket contains all samples, in order."""
    families: tuple[NDArray[np.int64], ...] = ()
    """Sizes of the families of each set, whose samples are adjacent in `numbers`; empty: all samples are drawn in each
    epoch, not one of each family."""

    @property
    def draws(self) -> int:
        """Number of samples of one epoch."""
        return sum(map(sum, self.counts))

    @property
    def samples(self) -> int:
        return sum(int(sizes.sum()) for sizes in self.families) if self.families else self.draws


@dataclass(frozen=True)
class Choice:
    """The samples that a stream draws from."""

    buckets: tuple[Bucket, ...]
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])
    """Number of samples with edits that the recipe does not include, by edit kind."""

    @property
    def samples(self) -> int:
        return sum(bucket.samples for bucket in self.buckets)


@dataclass(frozen=True)
class _Rows:
    """Edits, sizes and families of a shard's samples; None where they are not needed or unknown."""

    edits: Sequence[str] | None = None
    sizes: Sequence[Size] | None = None
    families: Any | None = None
    """`pyarrow.ChunkedArray` of their names; None also if each sample is a family."""


def members_of(sets: Sequence[ShardSet], recipe: str, chosen: Sequence[str]) -> tuple[str, ...]:
    """Member names of a batch, without extension, sorted. Raises BadInput where a set lacks one or the sets differ."""
    available = [{split_field(name)[0] for name in each.members} for each in sets]
    for each, names in zip(sets, available, strict=True):
        if names != available[0]:
            difference = ", ".join(sorted(names ^ available[0]))
            raise BadInput(
                f"{each.url} and {sets[0].url} have different members ({difference}): stream sets of one recipe"
            )
    wanted = tuple(chosen) or tuple(column.member for column in get_recipe(recipe).columns)
    if recipe == "full" and not chosen:
        wanted = tuple(name for name in wanted if name in available[0])
    missing = sorted({*wanted, "json"} - available[0])
    if missing:
        layer_of = {column.member: column.layer for column in get_recipe("full").columns}
        layers = ", ".join(sorted({layer_of[name] for name in missing if name in layer_of}))
        raise BadInput(
            f"{sets[0].url} lacks {', '.join(missing)}, which recipe {recipe} needs (it has "
            f"{', '.join(sorted(available[0]))}): {f'build {layers}, then ' if layers else ''}pack that recipe with "
            "`spatialdata shard`, or select other members"
        )
    return tuple(sorted(set(wanted)))


def choose(sets: Sequence[ShardSet], recipe: str, *, buckets: bool, skip: bool, one_per_family: bool = False) -> Choice:
    """Select the samples with a recipe's edits.

    Args:
        buckets: make one bucket for each image size; otherwise all samples form one bucket.
        skip: keep the samples of a shard whose parquet is damaged (reading them reports the damage); otherwise raise.
        one_per_family: group the samples by family. A family has only its selected samples; in each bucket, those of
            that bucket.

    Raises:
        BadInput: no sample has such an edit, images differ in size and `buckets` is False, or the families of derived
            samples are not recorded.
        ShardError: a required parquet is damaged, and `skip` is False.
    """
    wanted: set[str] = set(get_recipe(recipe).edits)
    shards = [shard for each in sets for shard in each.shards]
    sizes = {size for shard in shards for size in shard.sizes}
    read_edits = [not wanted.issuperset(shard.edits) for shard in shards]
    read_sizes = [len(shard.sizes) > 1 or (buckets and not shard.sizes) for shard in shards]
    table = PlaceTable(sets, ["json", "source"])
    columns = {
        number: [
            *(["edit"] if read_edits[number] else []),
            *(["width", "height"] if read_sizes[number] else []),
            *(["family", "derived"] if one_per_family else []),
        ]
        for number in range(len(shards))
        if read_edits[number] or read_sizes[number] or one_per_family
    }
    if not columns and len(sizes) < 2:
        counts = tuple(tuple(shard.samples for shard in each.shards) for each in sets)
        return Choice((Bucket(next(iter(sizes), None), counts),))
    with ThreadPoolExecutor(_READERS) as pool:
        pending = {number: pool.submit(_rows_of, table, skip, number, names) for number, names in columns.items()}
        known = {number: rows.result() for number, rows in pending.items()}
    left_out = Counter(edit for rows in known.values() for edit in rows.edits or () if edit and edit not in wanted)
    kept = {number: _selected(shards[number], rows, wanted) for number, rows in known.items()}
    if left_out.total() == sum(shard.samples for shard in shards):
        raise BadInput(
            f"{_describe(sets)} has no sample with an edit of recipe {recipe} ({', '.join(sorted(wanted))}), only "
            f"{_format_counts(left_out)}: use another recipe, or build with such edits"
        )
    named = {number: rows.families for number, rows in known.items() if rows.families is not None}
    families = number_families(sets, named) if named else None
    return Choice(_by_size(sets, known, kept, buckets, families), dict(sorted(left_out.items())))


def choose_all(sets: Sequence[ShardSet], sizes: Mapping[int, Sequence[Size]], *, buckets: bool) -> Choice:
    """All samples of sets with known sizes; `sizes` is by shard number. Raises BadInput like `choose`."""
    return Choice(_by_size(sets, {number: _Rows(sizes=each) for number, each in sizes.items()}, {}, buckets))


def log_left_out(sets: Sequence[ShardSet], recipe: str, choice: Choice) -> None:
    """Log what is left out, in one line."""
    if choice.left_out:
        count = sum(choice.left_out.values())
        logging.getLogger(__name__).warning(
            "%s: %d of %d samples are left out, since recipe %s includes only %s: %s",
            *(_describe(sets), count, count + choice.samples, recipe),
            *(", ".join(get_recipe(recipe).edits), _format_counts(choice.left_out)),
        )


def mixed_sizes_error(where: str, sizes: Sequence[Size]) -> BadInput:
    """The error for images of different sizes, which cannot share a batch."""
    listed = [f"{width} x {height}" for width, height in sorted(sizes, reverse=True)]
    if len(listed) > _MAX_LISTED_SIZES + 1:
        listed = [*listed[:_MAX_LISTED_SIZES], f"{len(listed) - _MAX_LISTED_SIZES} other sizes"]
    return BadInput(
        f"{where} has images of {', '.join(listed[:-1])} and {listed[-1]}, but a batch needs one size: stream with "
        "buckets=True, so that each batch has one size (training: `--set data.buckets=true`; `spatialdata stream`: "
        "`--option buckets=true`), or use sets of one size"
    )


def _rows_of(table: PlaceTable, skip: bool, number: int, names: Sequence[str]) -> _Rows:
    """What the named columns of a shard's parquet say of its samples, or their records and images."""
    shard, sizes = table.shards[number], None
    try:
        try:
            columns = read_columns(shard, names)
            found = {name: columns.column(name) for name in columns.column_names}
            lacking = {"edit"} & (set(names) - found.keys())
        except FileNotFoundError:
            found, lacking = {}, {"edit", "family", "derived"} & set(names)
        if lacking:
            read = _in_records(_ranges(table, number, 0, 0))
            found |= {name: read[name] for name in lacking & read.keys()}
        if "width" in names and {"width", "height"} <= found.keys():
            sizes = list(zip(found["width"].to_pylist(), found["height"].to_pylist(), strict=True))
        elif "width" in names:
            sizes = _sizes_in(table, number)
    except ShardError:
        if not skip:
            raise
        return _Rows()
    families = found.get("family")
    if families is None and "derived" in found and any(found["derived"].unique().to_pylist()):
        raise BadInput(
            f"{shard.url} has samples that were derived from others, but does not say which samples share a scene, as "
            "one_per_family needs: stream without one_per_family, or build with edits.per_scene above 2 and pack again"
        )
    return _Rows(found["edit"].to_pylist() if "edit" in found else None, sizes, families)


def _in_records(records: Sequence[bytes]) -> dict[str, Any]:
    """The columns `edit`, `derived` and, if a record has it, `family`, as `pyarrow.ChunkedArray`, from the records.

    A damaged record has no edit, and is a family of its own; reading the sample will report it.
    """
    import pyarrow as pa

    parsed = [_parts_of(record) for record in records]
    columns = {
        "edit": [str(edit.get("kind", "")) for edit, _ in parsed],
        "derived": [str(provenance.get("derived", "")) for _, provenance in parsed],
    }
    if any("family" in provenance for _, provenance in parsed):
        columns["family"] = [str(part.get("family", f"damaged {row}")) for row, (_, part) in enumerate(parsed)]
    return {name: pa.chunked_array([pa.array(values, pa.string())]) for name, values in columns.items()}


def _parts_of(record: bytes) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """`edit` and `provenance` of a record; empty where it is damaged."""
    try:
        found = json.loads(record)
        return dict(found["edit"]), dict(found["provenance"])
    except (ValueError, KeyError, TypeError):
        return {}, {}


def _sizes_in(table: PlaceTable, number: int) -> list[Size]:
    sizes = [size_in(data) for data in _ranges(table, number, 1, HEADER)]
    return sizes if UNKNOWN_SIZE not in sizes else [size_in(data) for data in _ranges(table, number, 1, 0)]


def size_in(image: bytes) -> Size:
    """Size of an image, from its bytes or its first bytes; `UNKNOWN_SIZE` where they do not contain it."""
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
        return call_with_retries(lambda: fs.cat_ranges([path] * len(starts), starts, ends, on_error="raise"), url)
    except FileNotFoundError:
        raise ShardError(url, "", "the shard is missing") from None


def _selected(shard: Shard, rows: _Rows, wanted: set[str]) -> NDArray[np.bool_]:
    """Mask of a shard's samples that the recipe includes. Unknown ones are kept: reading them reports the damage."""
    if rows.edits is None:
        return np.ones(shard.samples, bool)
    return np.array([edit in wanted or not edit for edit in rows.edits], bool)


def _by_size(
    sets: Sequence[ShardSet],
    known: Mapping[int, _Rows],
    kept: Mapping[int, NDArray[np.bool_]],
    buckets: bool,
    families: NDArray[np.int64] | None = None,
) -> tuple[Bucket, ...]:
    found = _sizes_of([shard for each in sets for shard in each.shards], known, kept)
    if not buckets and len(found) > 1:
        raise mixed_sizes_error(_describe(sets), found)
    return tuple(_in_buckets(sets, known, kept, found, families))


def _sizes_of(shards: Sequence[Shard], known: Mapping[int, _Rows], kept: Mapping[int, NDArray[np.bool_]]) -> list[Size]:
    """Image sizes of all selected samples, the most frequent first."""
    counts: Counter[Size] = Counter()
    for number, shard in enumerate(shards):
        rows = known.get(number, _Rows())
        if rows.sizes is not None:
            mask = kept.get(number, np.ones(shard.samples, bool))
            counts.update(size for size, keep in zip(rows.sizes, mask, strict=True) if keep)
        elif len(shard.sizes) == 1:
            counts[shard.sizes[0]] += int(kept[number].sum()) if number in kept else shard.samples
    del counts[UNKNOWN_SIZE]
    return sorted((size for size in counts if counts[size]), key=lambda size: (-counts[size], size))


def _in_buckets(
    sets: Sequence[ShardSet],
    known: Mapping[int, _Rows],
    kept: Mapping[int, NDArray[np.bool_]],
    sizes: Sequence[Size],
    families: NDArray[np.int64] | None,
) -> list[Bucket]:
    """The selected samples by size; those of unknown size go to the first bucket.

    Args:
        families: (samples,): numbers of the families of all samples, if one of each is drawn.
    """
    shards = [shard for each in sets for shard in each.shards]
    firsts = list(accumulate((shard.samples for shard in shards), initial=0))
    ends = list(accumulate((len(each.shards) for each in sets), initial=0))
    parts: list[list[NDArray[np.int64]]] = [[] for _ in sizes or [None]]
    place = {size: at for at, size in enumerate(sizes)}
    for number, shard in enumerate(shards):
        rows = known.get(number, _Rows())
        each = rows.sizes if rows.sizes is not None else [shard.sizes[0] if len(shard.sizes) == 1 else UNKNOWN_SIZE]
        owners = np.broadcast_to(np.array([place.get(size, 0) for size in each]), shard.samples)
        mask = kept.get(number, np.ones(shard.samples, bool))
        for at, part in enumerate(parts):
            part.append(np.flatnonzero(mask & (owners == at)) + firsts[number])
    filled: list[Bucket] = []
    for at, part in enumerate(parts):
        numbers, held = np.concatenate(part), np.array([len(each) for each in part])
        grouped = None if families is None else group(families[numbers])
        if grouped:
            numbers = numbers[grouped.members]
            held = np.bincount(np.repeat(np.arange(len(part)), held)[grouped.firsts], minlength=len(part))
        by_set = [held[begin:end] for begin, end in pairwise(ends)]
        filled.append(
            Bucket(
                sizes[at] if sizes else None,
                tuple(tuple(each.tolist()) for each in by_set),
                None if np.array_equal(numbers, np.arange(firsts[-1])) else numbers,
                tuple(np.split(grouped.sizes, np.cumsum([each.sum() for each in by_set])[:-1])) if grouped else (),
            )
        )
    return filled


def _describe(sets: Sequence[ShardSet]) -> str:
    return sets[0].url if len(sets) == 1 else ", ".join(each.url for each in sets)


def _format_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
