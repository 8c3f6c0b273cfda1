"""Tars in SpatialEdit's published layout, `<family>/worker0-000000.tar`, streamed as the same batches as our shards.

A sample is `<key>.0.jpg` (source), `<key>.1.jpg` (target) and `<key>.json`. Its text is `metadata.instruction`, or the
human turn of `conversations`; the human instruction is its variant. The tars have no index: their headers are read once
when the set is opened.

Invariant: order, state and resume work as in `shards.stream`. They depend only on seed, epoch and the tars (paths below
the folder, sizes, numbers of samples), not on ranks or threads.
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
from ...shards.streaming.fetch import REMOTE_GAP, Fetched, group_ranges
from ...shards.streaming.options import StreamOptions
from ...shards.streaming.places import Shard, ShardSet, Size
from ...shards.streaming.remote import file_at
from ...shards.streaming.retry import call_with_retries
from .pictures import fit

Url = str | os.PathLike[str]
_NAME: Final = re.compile(
    r"(?P<key>(?:.*/)?[^/]+)\.(?:(?P<index>\d+)\.(?:jpe?g|png|webp)|(?P<json>json))", re.IGNORECASE
)
_JUNK: Final = re.compile(r"(?:.*/)?(?:__MACOSX/.*|\._[^/]*|\.DS_Store|PaxHeaders?(?:\.[^/]*)?/.*)")
"""Files that some systems add to a tar; not part of the dataset."""
_GAP: Final = 16 * BLOCK
"""Largest gap in bytes between members that are read in one request: headers, extended headers and padding."""
_MEMBERS: Final = ("json", "source.jpg", "target.jpg")
_SCANS: Final = 16
"""Number of tars whose headers are read in parallel."""
_SHOWN: Final = 3
_PADDING: Final = 1 << 20
"""Most bytes of zeros that may follow the end of a tar; usual writers add at most 10 kB."""
Span = tuple[int, int]
"""Offset and size of a member in its tar, in bytes."""


class TarError(ShardError):
    """A sample that cannot be read. It cannot be rebuilt, since the tar was not written by this project."""

    advice: ClassVar[str] = 'download this tar again, or skip such samples with on_error="skip"'


@dataclass(frozen=True)
class Tar:
    """One tar with the locations of its complete samples."""

    url: str
    path: str
    """Path below the given folder, such as `move/worker0-000000.tar`."""
    bytes: int
    keys: tuple[str, ...]
    places: NDArray[np.int64]
    """(samples, 3, 2): offset and size of json, source, target."""
    incomplete: tuple[str, ...]
    """One message for each incomplete sample."""
    ignored: tuple[str, ...] = ()
    """Files that are not members of a sample, and members replaced by a later one of the same name."""
    sizes: tuple[Size, ...] = ()
    """Image sizes of the samples, if requested."""


@dataclass(frozen=True)
class PublishedSet:
    """The tars of one folder, sorted by path."""

    url: str
    tars: tuple[Tar, ...]

    @property
    def as_set(self) -> ShardSet:
        """The set in the form that the stream's order and state use."""
        shards = tuple(Shard(tar.url, len(tar.keys), tar.bytes, _MEMBERS) for tar in self.tars)
        text = "".join(f"{tar.path} {len(tar.keys)} {tar.bytes}\n" for tar in self.tars)
        return ShardSet(self.url, shards, _MEMBERS, hashlib.sha256(text.encode()).hexdigest()[:16], {})


def stream_published(
    url: Url | Sequence[Url] | Mapping[Url, float], *, side: int = 0, allocate: Allocate | None = None, **options: Any
) -> "PublishedStream":
    """Open tars in SpatialEdit's layout for training.

    Batches hold `source`, `target`, `instruction`, `key`, `valid`, and empty captions. With `records=True`, each record
    holds the sample's own json as `published`. `instruction="any"` uses the human instruction in some epochs.

    Args:
        url: a folder (all tars below it), several folders, or a mapping folder -> weight; any fsspec URL.
        side: images are resized to cover a square of this side and center-cropped to it; 0: as stored.
        options: options of `shards.stream`, except members and cache.

    Raises:
        BadInput: no tars; incomplete samples (with `on_error="skip"` these are skipped); images of several sizes with
            `side` 0 and `buckets` False; `one_per_family`, since the layout does not say which samples share a scene.
    """
    chosen = StreamOptions.of({**options, "members": ("source", "target")})
    if chosen.one_per_family:
        raise BadInput(
            "tars in SpatialEdit's layout do not say which samples share a scene: stream them without one_per_family"
        )
    weights = {os.fspath(each): weight for each, weight in url.items()} if isinstance(url, Mapping) else None
    urls = list(weights or ([url] if isinstance(url, str | os.PathLike) else url))
    sets = [open_published(os.fspath(each), skip=chosen.on_error == "skip", sizes=not side) for each in urls]
    return PublishedStream(sets, list(weights.values()) if weights else None, chosen, side, allocate)


def open_published(url: str, *, skip: bool = False, sizes: bool = False) -> PublishedSet:
    """Read the headers of all tars below a folder. A warning counts and names ignored files.

    Args:
        skip: skip incomplete samples, with a warning.
        sizes: read the headers of the images, too.

    Raises:
        BadInput: there are no tars, a tar cannot be read, or a sample is incomplete and `skip` is False.
    """
    fs, root = filesystem(url)
    paths = sorted(path for path in fs.find(root) if str(path).lower().endswith(".tar"))
    if not paths:
        raise BadInput(f"{url} holds no tars: give the folder above move/, rotate/ and camera/")
    start = url.rstrip("/") if not is_local(fs) else root.rstrip("/")
    names = [str(path)[len(root.rstrip("/")) :].strip("/") for path in paths]
    with ThreadPoolExecutor(_SCANS) as pool:
        tars = tuple(pool.map(partial(_scan, sizes=sizes), [f"{start}/{name}".rstrip("/") for name in names], names))
    ignored = [*(name for tar in tars for name in tar.ignored), *_duplicates(tars)]
    if ignored:
        more = ", ..." if len(ignored) > _SHOWN else ""
        warnings.warn(f"{url}: {len(ignored)} files ignored: {', '.join(ignored[:_SHOWN])}{more}", stacklevel=3)
    incomplete = [problem for tar in tars for problem in tar.incomplete]
    if incomplete:
        message = f"{url}: {len(incomplete)} samples are incomplete ({'; '.join(incomplete[:_SHOWN])})"
        if not skip:
            raise BadInput(f"{message}: download these tars again, or skip such samples with on_error=skip")
        warnings.warn(f"{message}: skipped", stacklevel=3)
    if not any(tar.keys for tar in tars):
        raise BadInput(f"{url} holds no samples in SpatialEdit's layout (<key>.0.jpg, <key>.1.jpg, <key>.json)")
    return PublishedSet(url, tars)


class PublishedStream(Stream):
    """`shards.stream` over tars in SpatialEdit's layout."""

    def __init__(
        self,
        sets: Sequence[PublishedSet],
        weights: Sequence[float] | None,
        options: StreamOptions,
        side: int = 0,
        allocate: Allocate | None = None,
    ) -> None:
        self._published_arguments = (tuple(sets), weights, options, side, allocate)
        self._side = side
        self._tars = [tar for each in sets for tar in each.tars]
        self._ends = list(accumulate(len(tar.keys) for tar in self._tars))
        shard_sets = [each.as_set for each in sets]
        known = {number: tar.sizes for number, tar in enumerate(self._tars) if tar.sizes and not side}
        choice = choose_all(shard_sets, known, buckets=options.buckets)
        super().__init__(shard_sets, weights, "spatialedit", options, choice, allocate)

    def _open(self) -> None:
        """Opens nothing: a sample is one ranged read, or a few if its members are far apart."""
        self._process = os.getpid()

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._published_arguments, self.state_dict())

    def fetch(self, number: int) -> Fetched:
        """The bytes of one sample. Raises ShardError, SpatialdataError."""
        at = bisect_right(self._ends, number)
        tar, row = self._tars[at], number - (self._ends[at - 1] if at else 0)
        key, (starts, sizes) = tar.keys[row], tar.places[row].T.tolist()
        fs, path = file_at(tar.url)
        runs = group_ranges(starts, sizes, _GAP if is_local(fs) else REMOTE_GAP)
        firsts = [starts[run[0]] for run in runs]
        ends = [max(starts[i] + sizes[i] for i in run) for run in runs]
        try:
            read = call_with_retries(
                lambda: fs.cat_ranges([path] * len(firsts), firsts, ends, on_error="raise"), tar.url
            )
        except FileNotFoundError:
            raise TarError(tar.url, key, "the shard is missing") from None
        members: dict[int, bytes] = {}
        for run, first, end, data in zip(runs, firsts, ends, read, strict=True):
            if len(data) != end - first:
                raise TarError(tar.url, key, f"the shard is truncated before byte {end}")
            members |= {i: bytes(data[starts[i] - first : starts[i] - first + sizes[i]]) for i in run}
        content, source, target = (members[i] for i in range(3))
        return Fetched(key, tar.url, {"source": source, "target": target, "json": _as_record(content, tar.url, key)})

    def decode(self, name: str, sample: Fetched, record: Mapping[str, Any], out: Array | None = None) -> Array:
        """One image, resized and cropped as in the batch. Raises ShardError."""
        try:
            return fit(super().decode(name, sample, record, None if self._side else out), self._side)
        except ShardError as error:
            raise TarError(error.shard, error.key, error.problem) from error


def _restore(arguments: tuple[Any, ...], state: Mapping[str, Any]) -> PublishedStream:
    stream = PublishedStream(*arguments)
    stream.load_state_dict(state)
    return stream


def _duplicates(tars: Sequence[Tar]) -> list[str]:
    """Keys that occur in two tars of one folder. Both samples are used, but cannot be distinguished by key."""
    first: dict[tuple[str, str], str] = {}
    found: list[str] = []
    for tar in tars:
        for key in tar.keys:
            other = first.setdefault((tar.path.rpartition("/")[0], key), tar.path)
            if other != tar.path:
                found.append(f"{tar.path} {key} (not ignored: the key is also in {other})")
    return found


def _scan(url: str, path: str, *, sizes: bool) -> Tar:
    """Locate the samples of a tar by its headers, in the order of the tar."""
    found: dict[str, dict[str, Span]] = {}
    names: dict[str, dict[str, str]] = {}
    ignored: list[str] = []
    image_sizes: dict[int, Size] = {}
    try:
        with open_url(url) as file:
            if file.read(2) == b"\x1f\x8b":
                raise BadInput(
                    f"{url} is compressed: decompress it with gunzip first, since samples are read by offset"
                )
            size = file.seek(0, 2)
            file.seek(max(0, size - BLOCK))
            if any(file.read(BLOCK)):  # tarfile accepts an archive without its closing blocks
                raise BadInput(f"{url} is truncated: download it again")
            file.seek(0)
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for info in tar:
                    name = info.name.removeprefix("./")
                    if info.isdir() or _JUNK.fullmatch(name):
                        continue
                    named = _NAME.fullmatch(name) if info.isreg() and not info.issparse() else None
                    if named is None:
                        ignored.append(f"{path} {name}" + ("" if info.isreg() else " (a link or special file)"))
                        continue
                    member = "json" if named["json"] else str(int(named["index"]))
                    if known := names.setdefault(named["key"], {}).get(member):
                        ignored.append(f"{path} {known} (replaced by a later {name})")
                    names[named["key"]][member] = name
                    found.setdefault(named["key"], {})[member] = (info.offset_data, info.size)
                    if sizes and member != "json":
                        file.seek(info.offset_data)
                        image_sizes[info.offset_data] = size_in(file.read(min(info.size, HEADER)))
                _check_end(file, url, tar.offset, size)
    except (tarfile.TarError, OSError) as error:
        raise BadInput(f"{url} cannot be read ({error}): download it again") from error
    complete: dict[str, list[Span]] = {}
    incomplete: list[str] = []
    for key, members in found.items():
        if problem := _problem(members, size):
            incomplete.append(f"{path} {key}: {problem}")
        else:
            complete[key] = [members["json"], *(members[index] for index in _indices(members))]
    places = np.asarray(list(complete.values()), np.int64).reshape(-1, 3, 2)
    sources = tuple(image_sizes[spans[1][0]] for spans in complete.values()) if sizes else ()
    return Tar(url, path, size, tuple(complete), places, tuple(incomplete), tuple(ignored), sources)


def _check_end(file: IO[bytes], url: str, end: int, size: int) -> None:
    """Raises BadInput if more than padding follows the end of the archive: tarfile would ignore it silently."""
    most = tarfile.RECORDSIZE if not end else _PADDING
    file.seek(end)
    if size - end > most or any(file.read(size - end)):
        raise BadInput(
            f"{url} has {size - end} bytes after its end: it is damaged, or several tars in one file; download it again"
        )


def _indices(members: Iterable[str]) -> list[str]:
    """The indices of a sample's images, sorted: the last is the target."""
    return sorted((name for name in members if name != "json"), key=int)


def _problem(members: Mapping[str, Span], size: int) -> str:
    if "json" not in members:
        return "no json"
    if (count := len(members) - 1) != 2:
        return f"{count} images instead of 2"
    return "truncated" if any(start + length > size for start, length in members.values()) else ""


def _as_record(data: bytes, tar: str, key: str) -> bytes:
    """The json of a sample as a record of this project."""
    try:
        content = json.loads(data)
        metadata = content.get("metadata", {})
        text = metadata.get("instruction") or _human_turn(content, "conversations")
        human = metadata.get("instruction_human") or _human_turn(content, "conversations_human")
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise TarError(tar, key, f"its json is not in SpatialEdit's layout ({error!r})") from error
    if not text:
        raise TarError(tar, key, "its json has no instruction")
    instruction = {"text": text, "variants": [human or text]}
    record = {"caption": "", "source_caption": "", "instruction": instruction, "published": content}
    return json.dumps(record, ensure_ascii=False).encode()


def _human_turn(content: Mapping[str, Any], name: Literal["conversations", "conversations_human"]) -> str:
    """The first human turn of a conversation, without image placeholders; empty if there is none."""
    turns = [turn["value"] for turn in content.get(name, []) if turn["from"] == "human"]
    return turns[0].replace("<image>", "").strip() if turns else ""
