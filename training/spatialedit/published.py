"""Shards in SpatialEdit's published layout, `<family>/worker0-000000.tar`, as a stream of the same batches as ours.

A sample is `<key>.0.jpg` (source), `<key>.1.jpg` (target) and `<key>.json`; its text is `metadata.instruction`, or what
the human of `conversations` says, and the human wording is its variant. The tars come without an index: their headers
are read once when the set is opened.

Invariant: order, state and resume are those of `shards.stream`: they follow from seed, epoch and the tars alone (their
paths below the folder, bytes and samples), whatever the ranks and threads.
"""

import hashlib
import json
import os
import re
import tarfile
import warnings
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import IO, Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray

from ...shards.errors import BadInput
from ...shards.layout import filesystem, is_local, open_url
from ...shards.reader import BLOCK, ShardError
from ...shards.streaming.buffers import Allocate
from ...shards.streaming.choice import HEADER, choose_all, size_in
from ...shards.streaming.dataset import Stream
from ...shards.streaming.decode import Array
from ...shards.streaming.fetch import REMOTE_GAP, Fetched, runs_of
from ...shards.streaming.options import StreamOptions
from ...shards.streaming.places import Shard, ShardSet, Size
from ...shards.streaming.remote import file_at
from ...shards.streaming.retry import retried
from .pictures import fit

Url = str | os.PathLike[str]
_NAME: Final = re.compile(
    r"(?P<key>(?:.*/)?[^/]+)\.(?:(?P<index>\d+)\.(?:jpe?g|png|webp)|(?P<json>json))", re.IGNORECASE
)
_LITTER: Final = re.compile(r"(?:.*/)?(?:__MACOSX/.*|\._[^/]*|\.DS_Store|PaxHeaders?(?:\.[^/]*)?/.*)")
"""What some systems add to a tar: no files of a set."""
_GAP: Final = 16 * BLOCK
"""Bytes between members of a sample that are read along: a header, a longer one before it, and padding."""
_MEMBERS: Final = ("json", "source.jpg", "target.jpg")
_SCANS: Final = 16
"""Tars whose headers are read at once."""
_SHOWN: Final = 3
_PADDING: Final = 1 << 20
"""Bytes of zeros behind a tar's end that some writers leave; mostly there are 10 kB at most."""
Span = tuple[int, int]
"""Where the bytes of a member begin in its tar, and how many they are."""


class TarError(ShardError):
    """A sample that cannot be read. Nobody here can make it again."""

    advice: ClassVar[str] = 'get this tar again, or leave such samples out with on_error="skip"'


@dataclass(frozen=True)
class Tar:
    """One tar with the places of its whole samples."""

    url: str
    path: str
    """Below the folder that was given, such as `move/worker0-000000.tar`."""
    bytes: int
    keys: tuple[str, ...]
    places: NDArray[np.int64]
    """(samples, 3, 2): offset and size of json, source, target."""
    odd: tuple[str, ...]
    """What is wrong with samples that are left out."""
    ignored: tuple[str, ...] = ()
    """Files that are no members of a sample, and members that a later one of the same name replaces."""
    sizes: tuple[Size, ...] = ()
    """Of the samples' images, where asked."""


@dataclass(frozen=True)
class PublishedSet:
    """The tars of one folder, sorted by path."""

    url: str
    tars: tuple[Tar, ...]

    @property
    def as_set(self) -> ShardSet:
        """What the stream's order and state need to know of it."""
        shards = tuple(Shard(tar.url, len(tar.keys), tar.bytes, _MEMBERS) for tar in self.tars)
        text = "".join(f"{tar.path} {len(tar.keys)} {tar.bytes}\n" for tar in self.tars)
        return ShardSet(self.url, shards, _MEMBERS, hashlib.sha256(text.encode()).hexdigest()[:16], {})


def stream_published(
    url: Url | Sequence[Url] | Mapping[Url, float], *, side: int = 0, allocate: Allocate | None = None, **options: Any
) -> "PublishedStream":
    """Open tars in SpatialEdit's layout for training.

    Batches hold `source`, `target`, `instruction`, `key`, `valid`, and empty captions; with `records=True` each
    record's `published` is the sample's own json. `instruction="any"` takes the human wording in some epochs.

    Args:
        url: a folder (all tars below it), several, or a mapping folder -> weight; any fsspec URL.
        side: images are scaled to cover a square of this side and cut to it around the centre; 0: as stored.
        options: as `shards.stream` takes them, but no members and no cache.

    Raises:
        BadInput: no tars, or samples that are not whole (with `on_error="skip"` these are left out); images that differ
            in size, where `side` is 0 and `buckets` is False.
    """
    chosen = StreamOptions.of({**options, "members": ("source", "target")})
    weights = {os.fspath(each): weight for each, weight in url.items()} if isinstance(url, Mapping) else None
    urls = list(weights or ([url] if isinstance(url, str | os.PathLike) else url))
    sets = [open_published(os.fspath(each), skip=chosen.on_error == "skip", sizes=not side) for each in urls]
    return PublishedStream(sets, list(weights.values()) if weights else None, chosen, side, allocate)


def open_published(url: str, *, skip: bool = False, sizes: bool = False) -> PublishedSet:
    """Read the headers of all tars below a folder. What is ignored is counted and named in a warning.

    Args:
        skip: leave out samples that are not whole, with a warning.
        sizes: look at the headers of the images, too.

    Raises:
        BadInput: there are none, a tar cannot be read, or a sample is not whole and `skip` is False.
    """
    fs, root = filesystem(url)
    paths = sorted(path for path in fs.find(root) if str(path).lower().endswith(".tar"))
    if not paths:
        raise BadInput(f"{url} holds no tars: give the folder above move/, rotate/ and camera/")
    start = url.rstrip("/") if not is_local(fs) else root.rstrip("/")
    names = [str(path)[len(root.rstrip("/")) :].strip("/") for path in paths]
    with ThreadPoolExecutor(_SCANS) as pool:
        tars = tuple(pool.map(partial(_scan, sizes=sizes), [f"{start}/{name}".rstrip("/") for name in names], names))
    ignored = [*(name for tar in tars for name in tar.ignored), *_twice(tars)]
    if ignored:
        more = ", ..." if len(ignored) > _SHOWN else ""
        warnings.warn(f"{url}: {len(ignored)} files ignored: {', '.join(ignored[:_SHOWN])}{more}", stacklevel=3)
    odd = [problem for tar in tars for problem in tar.odd]
    if odd:
        told = f"{url}: {len(odd)} samples are not whole ({'; '.join(odd[:_SHOWN])})"
        if not skip:
            raise BadInput(f"{told}: get these tars again, or leave such samples out with on_error skip")
        warnings.warn(f"{told}: left out", stacklevel=3)
    if not any(tar.keys for tar in tars):
        raise BadInput(f"{url} holds no samples of SpatialEdit's layout (<key>.0.jpg, <key>.1.jpg, <key>.json)")
    return PublishedSet(url, tars)


class PublishedStream(Stream):
    """`shards.stream` over tars of another layout."""

    def __init__(
        self,
        sets: Sequence[PublishedSet],
        weights: Sequence[float] | None,
        options: StreamOptions,
        side: int = 0,
        allocate: Allocate | None = None,
    ) -> None:
        self._given = (tuple(sets), weights, options, side, allocate)
        self._side = side
        self._tars = [tar for each in sets for tar in each.tars]
        self._ends = list(accumulate(len(tar.keys) for tar in self._tars))
        given = [each.as_set for each in sets]
        known = {number: tar.sizes for number, tar in enumerate(self._tars) if tar.sizes and not side}
        choice = choose_all(given, known, buckets=options.buckets)
        super().__init__(given, weights, "spatialedit", options, choice, allocate)

    def _open(self) -> None:
        """Nothing stays open: a sample is a ranged read, or a few where its members lie apart."""
        self._process = os.getpid()

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self._given, self.state_dict())

    def fetch(self, number: int) -> Fetched:
        """The bytes of one sample. Raises ShardError, SpatialdataError."""
        at = bisect_right(self._ends, number)
        tar, row = self._tars[at], number - (self._ends[at - 1] if at else 0)
        key, (starts, sizes) = tar.keys[row], tar.places[row].T.tolist()
        fs, path = file_at(tar.url)
        together = runs_of(starts, sizes, _GAP if is_local(fs) else REMOTE_GAP)
        firsts = [starts[run[0]] for run in together]
        ends = [max(starts[i] + sizes[i] for i in run) for run in together]
        try:
            read = retried(lambda: fs.cat_ranges([path] * len(firsts), firsts, ends, on_error="raise"), tar.url)
        except FileNotFoundError:
            raise TarError(tar.url, key, "the shard is missing") from None
        members: dict[int, bytes] = {}
        for run, first, end, data in zip(together, firsts, ends, read, strict=True):
            if len(data) != end - first:
                raise TarError(tar.url, key, f"the shard is cut off before byte {end}")
            members |= {i: bytes(data[starts[i] - first : starts[i] - first + sizes[i]]) for i in run}
        told, source, target = (members[i] for i in range(3))
        return Fetched(key, tar.url, {"source": source, "target": target, "json": _as_record(told, tar.url, key)})

    def decode(self, name: str, sample: Fetched, record: Mapping[str, Any], out: Array | None = None) -> Array:
        """One image as the batch holds it. Raises ShardError."""
        try:
            return fit(super().decode(name, sample, record, None if self._side else out), self._side)
        except ShardError as error:
            raise TarError(error.shard, error.key, error.problem) from error


def _restored(given: tuple[Any, ...], state: Mapping[str, Any]) -> PublishedStream:
    stream = PublishedStream(*given)
    stream.load_state_dict(state)
    return stream


def _twice(tars: Sequence[Tar]) -> list[str]:
    """Keys that two tars of one folder hold: both are read, and a model cannot tell them apart."""
    first: dict[tuple[str, str], str] = {}
    found: list[str] = []
    for tar in tars:
        for key in tar.keys:
            other = first.setdefault((tar.path.rpartition("/")[0], key), tar.path)
            if other != tar.path:
                found.append(f"{tar.path} {key} (not ignored: the key is also in {other})")
    return found


def _scan(url: str, path: str, *, sizes: bool) -> Tar:
    """The places of a tar from its headers, in the order of the tar."""
    found: dict[str, dict[str, Span]] = {}
    names: dict[str, dict[str, str]] = {}
    ignored: list[str] = []
    looks: dict[int, Size] = {}
    try:
        with open_url(url) as file:
            if file.read(2) == b"\x1f\x8b":
                raise BadInput(f"{url} is compressed: gunzip it first, for samples are read where they lie")
            size = file.seek(0, 2)
            file.seek(max(0, size - BLOCK))
            if any(file.read(BLOCK)):  # tarfile takes an archive without its closing blocks for a whole one
                raise BadInput(f"{url} is cut off: get it again")
            file.seek(0)
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for info in tar:
                    name = info.name.removeprefix("./")
                    if info.isdir() or _LITTER.fullmatch(name):
                        continue
                    named = _NAME.fullmatch(name) if info.isreg() and not info.issparse() else None
                    if named is None:
                        ignored.append(f"{path} {name}" + ("" if info.isreg() else " (a link, or no plain file)"))
                        continue
                    member = "json" if named["json"] else str(int(named["index"]))
                    if known := names.setdefault(named["key"], {}).get(member):
                        ignored.append(f"{path} {known} ({name} comes later)")
                    names[named["key"]][member] = name
                    found.setdefault(named["key"], {})[member] = (info.offset_data, info.size)
                    if sizes and member != "json":
                        file.seek(info.offset_data)
                        looks[info.offset_data] = size_in(file.read(min(info.size, HEADER)))
                _check_end(file, url, tar.offset, size)
    except (tarfile.TarError, OSError) as error:
        raise BadInput(f"{url} cannot be read ({error}): get it again") from error
    whole: dict[str, list[Span]] = {}
    odd: list[str] = []
    for key, members in found.items():
        if problem := _problem(members, size):
            odd.append(f"{path} {key}: {problem}")
        else:
            whole[key] = [members["json"], *(members[index] for index in _indices(members))]
    places = np.asarray(list(whole.values()), np.int64).reshape(-1, 3, 2)
    sources = tuple(looks[spans[1][0]] for spans in whole.values()) if sizes else ()
    return Tar(url, path, size, tuple(whole), places, tuple(odd), tuple(ignored), sources)


def _check_end(file: IO[bytes], url: str, end: int, size: int) -> None:
    """Raise BadInput where more than padding follows what tarfile takes for the end: it stops there without a word."""
    most = tarfile.RECORDSIZE if not end else _PADDING
    file.seek(end)
    if size - end > most or any(file.read(size - end)):
        what = "damaged there, or several tars in one file"
        raise BadInput(f"{url} goes on for {size - end} bytes behind its end: it is {what}; get it again")


def _indices(members: Iterable[str]) -> list[str]:
    """Of its images, by number: the last is the target."""
    return sorted((name for name in members if name != "json"), key=int)


def _problem(members: Mapping[str, Span], size: int) -> str:
    if "json" not in members:
        return "no json"
    if (count := len(members) - 1) != 2:
        return f"{count} images where an edit has 2"
    return "cut off" if any(start + length > size for start, length in members.values()) else ""


def _as_record(data: bytes, tar: str, key: str) -> bytes:
    """The json in the terms of our records."""
    try:
        content = json.loads(data)
        told = content.get("metadata", {})
        text = told.get("instruction") or _said(content, "conversations")
        human = told.get("instruction_human") or _said(content, "conversations_human")
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise TarError(tar, key, f"its json is not of SpatialEdit's layout ({error!r})") from error
    if not text:
        raise TarError(tar, key, "its json has no instruction")
    instruction = {"text": text, "variants": [human or text]}
    record = {"caption": "", "source_caption": "", "instruction": instruction, "published": content}
    return json.dumps(record, ensure_ascii=False).encode()


def _said(content: Mapping[str, Any], name: Literal["conversations", "conversations_human"]) -> str:
    """What the human says in a conversation, without the places of images; empty where there is none."""
    turns = [turn["value"] for turn in content.get(name, []) if turn["from"] == "human"]
    return turns[0].replace("<image>", "").strip() if turns else ""
