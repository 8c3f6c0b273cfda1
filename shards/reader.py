"""Reads shards strictly and sequentially: a sample is either complete, or an error names the shard and the key.

A tar reader that trusts end-of-file may return an incomplete last sample from a truncated shard. This reader requires
the two closing blocks of the archive, a valid checksum in every header, and the same members in every sample. It works
on any fsspec URL and reads once from start to end.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

from .errors import SpatialdataError
from .layout import field_of, is_field, is_key, open_url, split_field
from .schema import SampleRecord

BLOCK: Final = 512
MAX_MEMBER: Final = 1 << 30
"""Largest member that is read: a header may claim up to eight gigabytes."""


class Readable(Protocol):
    """A file to read a shard from; seeking is not needed."""

    def read(self, size: int, /) -> bytes: ...


class ShardError(SpatialdataError):
    """A damaged or invalid shard. `key` is the sample at (or after) which reading stopped."""

    advice: ClassVar[str] = "run `spatialdata verify --repair` where it was built, or copy it again"

    def __init__(self, shard: str, key: str, problem: str) -> None:
        self.shard = shard
        self.key = key
        self.problem = problem
        where = f"shard {shard}, sample {key}" if key else f"shard {shard}"
        super().__init__(f"{where}: {problem}; {self.advice}")


@dataclass(frozen=True)
class Member:
    """One file of a tar, `<key>.<name>.<extension>` (or `<key>.json`)."""

    key: str
    name: str
    extension: str
    offset: int
    """Offset of the data in the tar, after the header."""
    data: bytes

    @property
    def field(self) -> str:
        """What follows the key, as WebDataset calls it: `source.webp`, `json`."""
        return field_of(self.name, self.extension)


@dataclass(frozen=True)
class StoredSample:
    """One sample of a shard, as bytes."""

    key: str
    members: dict[str, bytes]
    """By member name without extension: `source`, `depth`, `json`."""
    extensions: dict[str, str]
    """By member name: `webp`, `png`, `jpg`, `json`."""


def read_samples(url: str) -> Iterator[StoredSample]:
    """The samples of one shard, in the order of the tar. Raises ShardError, FileNotFoundError."""
    first: set[str] = set()
    seen: set[str] = set()
    for members in group(read_members(url)):
        key, fields = members[0].key, [member.field for member in members]
        if key in seen:
            raise ShardError(url, key, "the key occurs twice")
        if len(set(fields)) != len(fields):
            raise ShardError(url, key, "a member occurs twice")
        first = first or set(fields)
        if set(fields) != first:
            difference = ", ".join(sorted(first ^ set(fields)))
            raise ShardError(url, key, f"its members differ from the shard's first sample ({difference})")
        seen.add(key)
        yield StoredSample(key, {m.name: m.data for m in members}, {m.name: m.extension for m in members})


def read_record(data: bytes) -> SampleRecord:
    """The `json` member as a typed record. Raises ValueError (pydantic's) where it breaks the schema."""
    return SampleRecord.model_validate_json(data)


def read_members(url: str) -> Iterator[Member]:
    """The members of one shard with their offsets, in the order of the tar. Raises ShardError, FileNotFoundError."""
    with open_url(url) as file:
        yield from walk(file, url)


def group(members: Iterator[Member]) -> Iterator[list[Member]]:
    """Groups adjacent members with the same key."""
    together: list[Member] = []
    for member in members:
        if together and member.key != together[0].key:
            yield together
            together = []
        together.append(member)
    if together:
        yield together


def walk(file: Readable, shard: str) -> Iterator[Member]:
    """The members of an open tar, from its start. Raises ShardError; `shard` is its name in messages."""
    position, key = 0, ""
    while True:
        header = _read(file, BLOCK)
        if len(header) == BLOCK and not any(header):
            _expect_end(_read(file, BLOCK), shard, key)
            return
        info = parse_header(header, shard, key)
        key, field = parse_name(info.name, shard, key)
        name, extension = split_field(field)
        padded = -(-info.size // BLOCK) * BLOCK
        data = _read(file, padded)
        if len(data) != padded:
            raise ShardError(shard, key, f"the shard is truncated inside {info.name}")
        if any(data[info.size :]):
            raise ShardError(shard, key, f"the padding after {info.name} is damaged")
        yield Member(key, name, extension, position + BLOCK, data[: info.size])
        position += BLOCK + padded


def _read(file: Readable, size: int) -> bytes:
    """Exactly `size` bytes, fewer only at the end of the file: one read of a remote file may return fewer."""
    data = file.read(size)
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data


def parse_header(block: bytes, shard: str, key: str) -> tarfile.TarInfo:
    """Parse a member's header. Raises ShardError; `key` is the sample before it."""
    if len(block) != BLOCK:
        raise ShardError(shard, key, "the shard is truncated after this sample" if key else "the shard is empty")
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, ValueError) as error:
        raise ShardError(shard, key, f"the tar header after this sample is damaged ({error})") from error
    if not info.isreg() or info.size < 0:
        raise ShardError(shard, key, f"{info.name!r} is not a regular file")
    if info.size > MAX_MEMBER:
        raise ShardError(shard, key, f"{info.name!r} claims {info.size} bytes, more than the limit of {MAX_MEMBER}")
    return info


def parse_name(filename: str, shard: str, key: str) -> tuple[str, str]:
    """Key and field of a member's name. Raises ShardError; `key` is the sample before it."""
    found, _, field = filename.partition(".")
    if not is_key(found) or not is_field(field):
        raise ShardError(
            shard, key, f"{filename!r} is not a member name (<key>.<member>.<webp|png|jpg|txt|json> or <key>.json)"
        )
    return found, field


def _expect_end(second: bytes, shard: str, key: str) -> None:
    if len(second) != BLOCK or any(second):
        raise ShardError(shard, key, "the closing blocks of the archive are damaged")
