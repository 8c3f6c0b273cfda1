"""Verifies one shard: `shards.verify` runs this for each tar, in a thread or a process."""

import hashlib
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import IO, Any, Final

from .errors import SpatialdataError
from .index import UNKNOWN_SIZE, ShardEntry, offset_index, offsets_name, parquet_name, parse_rows, size_of
from .inspection import Problem, inspect_sample
from .layout import IMAGE_CODECS, TEXT_EXTENSIONS, field_of, join, missing_reason, open_url
from .reader import BLOCK, Member, ShardError, StoredSample, group, walk
from .writer import member_header

_CHUNK: Final = 1 << 20
_ALTERING: Final = {"missing_sample", "missing_member", "unexpected_member", "duplicate_key"}
"""Problems that explain a different SHA-256."""
Rows = Mapping[str, Mapping[str, Any]]
"""The parquet of a shard, by key."""


@dataclass
class ShardFindings:
    """Contents of one shard, and what is wrong with it."""

    shard: str
    samples: int = 0
    bytes: int = 0
    problems: list[Problem] = field(default_factory=list[Problem])
    keys: dict[str, None] = field(default_factory=dict[str, None])
    """In the order of the tar."""
    assets: dict[str, str] = field(default_factory=dict[str, str])
    """Asset uid: key of the first sample that contains it."""
    families: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    """Family of assets: key of the first sample that contains one of them, and the uid of that asset."""
    datasets: set[str] = field(default_factory=set[str])
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter[tuple[int, int]])
    """Number of samples by width and height of their images."""
    altered: bool = False
    """Whether the CRC-32 of a member differs from the parquet."""
    in_place: bool = True
    """Whether every member read so far has the offset in the parquet."""

    def add(self, problem: Problem) -> None:
        self.problems.append(replace(problem, shard=self.shard))


def verify_shard(
    folder: str, job: tuple[str, ShardEntry | None], *, split: str, fields: frozenset[str] | None
) -> ShardFindings:
    """Check one shard of a folder; `job` is its file name and its manifest entry, None without a manifest.

    `fields`: the members that every sample must have; None: those of the first sample.
    """
    name, entry = job
    found = ShardFindings(name)
    rows = _load_rows(folder, name, entry, found)
    try:
        with open_url(join(folder, name)) as raw:
            file = _HashingReader(raw)
            broken = _read_samples(file, found, rows, split, fields)
            digest = file.drain()
            found.bytes = file.size
        if broken:
            _locate_damage(folder, found, rows, broken, entry)
        else:
            _compare(folder, found, rows, entry, digest)
        if entry and rows and found.in_place:
            _check_offsets(folder, found, rows, entry)
    except OSError as error:
        found.add(Problem("missing_shard", f"cannot be read: {error}"))
    return found


class _HashingReader:
    """Reads a file once and computes the SHA-256 of the bytes read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self.size = 0

    def read(self, size: int, /) -> bytes:
        data = self._file.read(size)
        self._sha256.update(data)
        self.size += len(data)
        return data

    def drain(self) -> str:
        """Read the rest; return the SHA-256 of the whole file."""
        while self.read(_CHUNK):
            pass
        return self._sha256.hexdigest()


def _load_rows(folder: str, name: str, entry: ShardEntry | None, found: ShardFindings) -> Rows:
    parquet = parquet_name(name)
    try:
        with open_url(join(folder, parquet)) as file:
            data = file.read()
    except FileNotFoundError as error:
        found.add(Problem("parquet", f"{parquet} {missing_reason(error)}"))
        return {}
    if entry and hashlib.sha256(data).hexdigest() != entry.parquet_sha256:
        found.add(Problem("parquet", f"{parquet} is not the one in the manifest (sha256 differs)"))
        return {}
    try:
        return {str(row["key"]): row for row in parse_rows(data, parquet)}
    except SpatialdataError as error:
        found.add(Problem("parquet", str(error)))
        return {}


def _check_offsets(folder: str, found: ShardFindings, rows: Rows, entry: ShardEntry) -> None:
    """The offset index must match the parquet, whose offsets match the tar."""
    name = offsets_name(found.shard)
    starts = [min(int(row[f"{member}_offset"]) for member in _members(row)) - BLOCK for row in rows.values()]
    try:
        with open_url(join(folder, name)) as file:
            if file.read() != offset_index(starts, entry.bytes - 2 * BLOCK):
                found.add(Problem("index", f"{name} has different offsets than the shard"))
    except FileNotFoundError as error:
        found.add(Problem("index", f"{name} {missing_reason(error)}"))


def _read_samples(
    file: _HashingReader, found: ShardFindings, rows: Rows, split: str, fields: frozenset[str] | None
) -> ShardError | None:
    """Inspect all samples; return the error where the tar could not be read any further."""
    expected = fields
    try:
        for members in group(walk(file, found.shard)):
            names = frozenset(member.field for member in members)
            expected = expected or names
            found.samples += 1
            for problem in _check_sample(members, names, expected, found, rows, split):
                found.add(problem)
    except ShardError as error:
        return error
    return None


def _check_sample(
    members: Sequence[Member],
    names: frozenset[str],
    expected: frozenset[str],
    found: ShardFindings,
    rows: Rows,
    split: str,
) -> Iterator[Problem]:
    key = members[0].key
    if key in found.keys:
        yield Problem("duplicate_key", "the key occurs twice in this shard", key=key)
    elif len(names) != len(members):
        yield Problem("duplicate_key", "a member occurs twice", key=key)
    found.keys[key] = None
    for member in sorted(expected - names):
        yield Problem("missing_member", "missing in this sample", member, key)
    for member in sorted(names - expected):
        yield Problem("unexpected_member", "not a member of the recipe", member, key)
    if rows and key not in rows:
        yield Problem("parquet", f"{parquet_name(found.shard)} has no row for this sample", key=key)
    sample = StoredSample(key, {m.name: m.data for m in members}, {m.name: m.extension for m in members})
    problems, record = inspect_sample(sample, split=split)
    damaged = _damaged_members(members, rows.get(key), found)
    found.altered |= bool(damaged)
    # Consequences of a damaged member for others (an image that no longer fits the mask) are not reported.
    problems = [problem for problem in problems if not damaged or problem.member in damaged]
    yield from problems
    for member in sorted(damaged - {problem.member for problem in problems}):
        yield Problem("damaged", "its bytes changed after packing", member, key)
    size = size_of({member.field: member.data for member in members})
    if size != UNKNOWN_SIZE:
        found.sizes[size] += 1
    if record:
        found.datasets.add(record.dataset)
        for item in record.objects:
            if item.asset and item.visible:
                found.assets.setdefault(item.asset, key)
                if item.family:
                    found.families.setdefault(item.family, (key, item.asset))


def _damaged_members(members: Sequence[Member], row: Mapping[str, Any] | None, found: ShardFindings) -> set[str]:
    """Fields whose CRC-32 differs from the parquet: the only sign of changed bytes that still decode."""
    if row is None:
        return set()
    found.in_place &= all(row.get(f"{member.name}_offset") == member.offset for member in members)
    return {member.field for member in members if row.get(f"{member.name}_crc32") != zlib.crc32(member.data)}


def _compare(folder: str, found: ShardFindings, rows: Rows, entry: ShardEntry | None, digest: str) -> None:
    """Compare a tar that could be read to its end with the manifest and the parquet."""
    for key in sorted(rows.keys() - found.keys.keys()):
        found.add(Problem("missing_sample", f"it is in {parquet_name(found.shard)} but not in the shard", key=key))
    if found.altered or any(problem.kind in _ALTERING for problem in found.problems):
        return
    if not found.in_place:
        found.add(Problem("parquet", f"{parquet_name(found.shard)} has different offsets than the tar"))
    elif entry and digest != entry.sha256:
        text = (
            f"sha256 differs from the manifest, but no damaged sample was found ({found.bytes} of {entry.bytes} bytes)"
        )
        for problem in _problems_at(folder, found.shard, rows.values()) or [Problem("damaged", text)]:
            found.add(problem)
    elif entry and entry.samples != found.samples:
        found.add(Problem("manifest", f"it says {entry.samples} samples, the shard has {found.samples}"))
    elif entry and entry.sizes and set(entry.sizes) != set(found.sizes):
        listed, actual = _format_sizes(entry.sizes), _format_sizes(found.sizes)
        found.add(Problem("manifest", f"it says images of {listed}, the shard has {actual}"))


def _format_sizes(sizes: Iterable[tuple[int, int]]) -> str:
    return ", ".join(f"{width} x {height}" for width, height in sorted(sizes)) or "no size"


def _locate_damage(folder: str, found: ShardFindings, rows: Rows, broken: ShardError, entry: ShardEntry | None) -> None:
    """Find each damaged sample of an unreadable tar by the offsets in the parquet."""
    size = entry.bytes if entry else max((_end(row) for row in rows.values()), default=0) + 2 * BLOCK
    located: list[Problem] = []
    if found.in_place:
        left = [row for key, row in rows.items() if key not in found.keys]
        located = _problems_at(folder, found.shard, (row for row in left if _end(row) <= found.bytes))
        lost = [str(row["key"]) for row in left if _end(row) > found.bytes]
        if lost:
            text = f"{found.bytes} of {size} bytes: {len(lost)} samples are lost, starting with this one"
            located.append(Problem("truncated", text, key=lost[0]))
    kind = "truncated" if found.bytes < size else "damaged"
    for problem in located or [Problem(kind, broken.problem, key=broken.key)]:
        found.add(problem)


def _problems_at(folder: str, shard: str, rows: Iterable[Mapping[str, Any]]) -> list[Problem]:
    """Problems at the offsets of these samples. Reads the shard a second time, so only for damaged shards."""
    with open_url(join(folder, shard)) as file:
        return [problem for row in rows for problem in _check_offsets_of(file, row)]


def _check_offsets_of(file: IO[bytes], row: Mapping[str, Any]) -> Iterator[Problem]:
    """Check header, bytes and padding of each member at its offset in the parquet."""
    key = str(row["key"])
    for name in _members(row):
        offset, size = int(row[f"{name}_offset"]), int(row[f"{name}_size"])
        file.seek(offset - BLOCK)
        header, data, padding = file.read(BLOCK), file.read(size), file.read(-size % BLOCK)
        headers = {
            member_header(f"{key}.{field_of(name, extension)}", size): field_of(name, extension)
            for extension in (*IMAGE_CODECS, *TEXT_EXTENSIONS)
        }
        member = headers.get(header, name)
        if zlib.crc32(data) != row[f"{name}_crc32"]:
            yield Problem("damaged", "its bytes changed after packing", member, key)
        elif header not in headers or any(padding):
            yield Problem("damaged", "its tar header or padding is damaged", member, key)


def _members(row: Mapping[str, Any]) -> list[str]:
    return [column.removesuffix("_offset") for column in row if column.endswith("_offset")]


def _end(row: Mapping[str, Any]) -> int:
    """Offset of the end of a sample's last member."""
    return max(int(row[f"{name}_offset"]) + int(row[f"{name}_size"]) for name in _members(row))
