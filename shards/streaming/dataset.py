"""`stream`: batches of decoded samples from plain tars, in an order that any number of ranks can go on with exactly."""

import hashlib
import json
import os
import warnings
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from shards.codecs import LOSSLESS
from shards.errors import BadInput, SpatialdataError
from shards.layout import split_field
from shards.reader import ShardError
from shards.recipes import IMAGE_MEMBERS, get_recipe
from shards.streaming.buffers import Allocate, BufferPool
from shards.streaming.cache import ShardCache
from shards.streaming.decode import NEEDS_INFO, Array, Decoder, ImageKind, decoder_of
from shards.streaming.fetch import Fetched, Fetcher
from shards.streaming.order import OrderName, make_order
from shards.streaming.places import PlaceTable, ShardSet, open_set

Batch = dict[str, Any]
TEXTS: Final = ("instruction", "caption", "source_caption")
_STATE: Final = 1
_SHOWN: Final = 1000
"""Skipped samples that are kept by name."""


@dataclass(frozen=True)
class StreamOptions:
    """How samples come; see `stream` for the meaning of each."""

    seed: int = 0
    rank: int = 0
    world: int = 1
    order: OrderName = "global"
    images: ImageKind = "uint8"
    members: tuple[str, ...] = ()
    instruction: Literal["text", "any"] = "text"
    last: Literal["drop", "pad"] = "drop"
    on_error: Literal["raise", "skip"] = "raise"
    threads: int = 0
    prefetch: int = 4
    check: bool = True
    records: bool = False
    cache: str = ""
    cache_bytes: int = 100 << 30

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world:
            raise BadInput(f"rank {self.rank} of world {self.world}: a rank is 0 or more and below the world's size")
        if self.threads < 0 or self.prefetch < 0:
            raise BadInput("threads and prefetch must be 0 or more")


def stream(
    url: str | Sequence[str] | Mapping[str, float],
    recipe: str = "full",
    *,
    split: str = "train",
    allocate: Allocate = np.empty,
    **options: Any,
) -> "Stream":
    """Open shards for training.

    Args:
        url: a folder of shards at any fsspec URL (`OUT/shards/full/train`, or a folder above: then `recipe` and `split`
            choose), several of them (together one set), or a mapping folder -> weight (drawn in these proportions).
        recipe: which members a batch has; the shards may hold more, which is neither read nor decoded.
        split: where `url` is a folder above the splits.
        allocate: (shape, dtype) -> array for batch buffers (`shards.streaming.torch.pinned` on GPU machines).
        options: fields of `StreamOptions`:
            seed: of the order. rank, world: this process, and how many there are.
            order: `global` shuffles over all samples, `shard` shuffles shards and reads each from front to back
                (spinning disks, object stores), `stored` does not shuffle.
            images: `uint8`, or `float`: float32 in [-1, 1].
            members: names instead of the recipe's. instruction: the sample's text, or any of text and variants.
            last: what of an epoch does not fill a batch on all ranks is dropped, or the last one is padded with samples
                from the epoch's start, which `batch["valid"]` marks.
            on_error: `raise`, or `skip` a damaged sample: its place is filled with another of the batch, marked in
                `batch["valid"]`, and it is counted and named in `Stream.skipped`.
            threads: that read and decode (0: as many as there are cores). prefetch: batches made ahead.
            check: CRC-32 of every member read. records: also the parsed json of each sample, as `batch["record"]`.
            cache, cache_bytes: a local folder for whole shards of remote sets, and its bound.

    Raises:
        BadInput: no shards there, members that the shards do not have, sets that differ, a weight that is none.
    """
    weights = dict(url) if isinstance(url, Mapping) else None
    urls = list(weights) if weights is not None else [url] if isinstance(url, str) else list(url)
    if not urls:
        raise BadInput("no folder of shards given")
    if weights is not None and not all(weight > 0 for weight in weights.values()):
        raise BadInput(f"weights {weights}: each must be above 0")
    unknown = sorted(set(options) - set(StreamOptions.__dataclass_fields__))
    if unknown:
        raise BadInput(f"stream has no option '{unknown[0]}'; options: {', '.join(StreamOptions.__dataclass_fields__)}")
    chosen = StreamOptions(**options)
    sets = [open_set(each, recipe, split) for each in urls]
    return Stream(sets, list(weights.values()) if weights else None, recipe, chosen, allocate)


@dataclass(frozen=True)
class _Step:
    """One batch of this rank, and where the stream stands behind it."""

    epoch: int
    positions: NDArray[np.int64]
    valid: NDArray[np.bool_]
    after: tuple[int, int]


@dataclass
class _Work:
    """A batch under way."""

    step: _Step
    arrays: dict[str, Array]
    slots: list[Future[Mapping[str, Any]]] = field(default_factory=list[Future[Mapping[str, Any]]])


class Stream:
    """An endless sequence of epochs, cut into batches; see `stream`. One iteration at a time."""

    def __init__(
        self,
        sets: Sequence[ShardSet],
        weights: Sequence[float] | None,
        recipe: str,
        options: StreamOptions,
        allocate: Allocate = np.empty,
    ) -> None:
        self.options = options
        self._made_of = (tuple(sets), weights, recipe, options, allocate)
        self.members = _members(sets, recipe, options.members)
        self._sets, self._weights = list(sets), list(weights) if weights else None
        fields = [name for name in sets[0].members if split_field(name)[0] in (*self.members, "json")]
        self._decoders: dict[str, Decoder] = {name: decoder_of(name, options.images) for name in self.members}
        counts = [[shard.samples for shard in each.shards] for each in sets]
        self._order = make_order(counts, self._weights, options.order, options.seed)
        cache = ShardCache(options.cache, options.cache_bytes) if options.cache else None
        table = PlaceTable(sets, [split_field(name)[0] for name in fields])
        self.fetch = Fetcher(table, fields, cache, options.check)
        self._pool = BufferPool(allocate)
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._epoch, self._position = 0, 0
        self.skipped: list[str] = []
        """Of each damaged sample that was left out: what was wrong, at most the first thousand."""
        self.skips = 0

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process goes what the stream was made of, and where it stands."""
        return _restored, (self._made_of, self._epoch, self._position)

    @property
    def samples(self) -> int:
        """Samples in all sets together."""
        return sum(each.samples for each in self._sets)

    @property
    def length(self) -> int:
        """Draws of one epoch, over all ranks: `samples`, unless sets are weighted."""
        return self._order.length

    @property
    def epoch(self) -> int:
        return self._epoch

    @property
    def lossless_images(self) -> bool:
        return all(
            split_field(name)[1] in LOSSLESS for name in self._sets[0].members if split_field(name)[0] in IMAGE_MEMBERS
        )

    def order(self, count: int) -> list[int]:
        """The numbers of the next `count` samples of this epoch, all ranks together."""
        positions = np.arange(self._position, min(self._position + count, self.length))
        return self._order.draw(self._epoch, positions).tolist()

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands, equal on all ranks: load it on any rank of any world size."""
        return {
            "format": _STATE,
            "epoch": self._epoch,
            "position": self._position,
            "seed": self.options.seed,
            "order": self.options.order,
            "sets": [each.digest for each in self._sets],
            "weights": self._weights or [],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken. Raises BadInput where it is of other sets, order or seed."""
        mine = self.state_dict()
        for name in ("format", "sets", "weights", "seed", "order"):
            if state.get(name) != mine[name]:
                raise BadInput(
                    f"this state is of another stream: its {name} is {state.get(name)!r}, here it is {mine[name]!r}"
                )
        self._epoch, self._position = int(state["epoch"]), int(state["position"])

    def batches(self, size: int, *, epochs: int | None = 1, part: tuple[int, int] = (0, 1)) -> Generator[Batch]:
        """Batches of `size` samples: the rest of this epoch, `epochs` of them, or without end (None).

        Args:
            part: (first, of): only the batches first, first + of, ... from here, for processes that take turns.

        A batch is a dict: stacked arrays by member (size, H, W[, 3]), lists of text (`instruction`, `caption`,
        `source_caption`, `key`), `valid` (size,) bool. Whoever keeps a batch keeps its arrays.

        Raises:
            BadInput: more ranks than the samples can serve.
            SpatialdataError: a damaged sample where `on_error` is `raise`; images that differ in size.
        """
        self._check_world(size)
        threads = self.options.threads or len(os.sched_getaffinity(0))
        pool = ThreadPoolExecutor(threads, thread_name_prefix="stream")
        waiting: deque[_Work] = deque()
        try:
            for step in islice(self._steps(size, epochs), part[0], None, part[1]):
                waiting.append(self._start(pool, step))
                if len(waiting) > self.options.prefetch:
                    yield self._finish(waiting.popleft())
            while waiting:
                yield self._finish(waiting.popleft())
            self._epoch, self._position = self._ended
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _check_world(self, size: int) -> None:
        if size < 1:
            raise BadInput(f"a batch of {size} samples: give 1 or more")
        needed = size * self.options.world
        if self.options.last == "drop" and needed > self.length:
            raise BadInput(
                f"{self.options.world} ranks x {size} samples are more than the {self.length} of an epoch: lower the "
                "batch or the world, or set last='pad'"
            )

    def _steps(self, size: int, epochs: int | None) -> Generator[_Step]:
        length, together = self.length, size * self.options.world
        least = together if self.options.last == "drop" else 1
        epoch, position = self._epoch, self._position
        if length - position < least:
            epoch, position = epoch + 1, 0
        done = 0
        while epochs is None or done < epochs:
            while length - position >= least:
                wanted = position + self.options.rank * size + np.arange(size)
                position = min(position + together, length)
                yield _Step(epoch, wanted % length, wanted < length, (epoch, position))
            epoch, position, done = epoch + 1, 0, done + 1
        self._ended = (epoch, position)

    def _start(self, pool: ThreadPoolExecutor, step: _Step) -> _Work:
        numbers = self._order.draw(step.epoch, step.positions).tolist()
        shapes = self._shapes or self._learn(numbers)
        size = len(numbers)
        arrays = {name: self._pool.take((size, *shapes[name]), self._decoders[name].dtype) for name in self.members}
        work = _Work(step, arrays)
        work.slots = [pool.submit(self._load, step, slot, number, arrays) for slot, number in enumerate(numbers)]
        return work

    def _learn(self, numbers: Sequence[int]) -> dict[str, tuple[int, ...]]:
        """The shapes of the members, from the first sample that can be read."""
        for number in numbers:
            try:
                sample = self.fetch(number)
                record = json.loads(sample.members["json"])
                for name in self.members:
                    self._shapes[name] = self.decode(name, sample, record).shape
                return self._shapes
            except (SpatialdataError, OSError, ValueError):
                if self.options.on_error == "raise" or number == numbers[-1]:
                    raise
        raise AssertionError("unreachable")

    def _load(self, step: _Step, slot: int, number: int, arrays: Mapping[str, Array]) -> Mapping[str, Any]:
        sample = self.fetch(number)
        record = json.loads(sample.members["json"])
        for name, array in arrays.items():
            pixels = self.decode(name, sample, record)
            if pixels.shape != array.shape[1:]:
                sizes = f"{_size(pixels)}, the first sample's was {_size(array[0])}"
                raise ShardError(sample.shard, sample.key, f"member {name} is {sizes}: a batch needs one size")
            array[slot] = pixels
        texts = {name: record[name] for name in ("caption", "source_caption")}
        texts |= {"key": sample.key, "instruction": self._instruction(record, step.epoch, sample.key)}
        return texts | ({"record": record} if self.options.records else {})

    def decode(self, name: str, sample: Fetched, record: Mapping[str, Any]) -> Array:
        """One member as the batch holds it. Raises ShardError."""
        info = record["maps"][name] if name.removeprefix("source_") in NEEDS_INFO else {}
        try:
            return self._decoders[name].decode(sample.members[name], info)
        except ValueError as error:
            raise ShardError(sample.shard, sample.key, f"member {name} cannot be decoded ({error})") from error

    def _instruction(self, record: Mapping[str, Any], epoch: int, key: str) -> str:
        texts = [record["instruction"]["text"], *record["instruction"]["variants"]]
        if self.options.instruction == "text":
            return texts[0]
        digest = hashlib.sha256(f"{self.options.seed} {epoch} {key}".encode()).digest()
        return texts[int.from_bytes(digest[:8], "big") % len(texts)]

    def _finish(self, work: _Work) -> Batch:
        size = len(work.slots)
        valid = work.step.valid.copy()
        texts: list[Mapping[str, Any]] = [{}] * size
        damaged: list[int] = []
        for slot, future in enumerate(work.slots):
            try:
                texts[slot] = future.result()
            except (SpatialdataError, OSError, ValueError, KeyError) as error:
                if self.options.on_error == "raise":
                    raise
                self._note(error)
                damaged.append(slot)
        if damaged:
            self._fill(work, texts, damaged)
            valid[damaged] = False
        self._epoch, self._position = work.step.after
        lists = {name: [text[name] for text in texts] for name in texts[0]}
        return {**work.arrays, **lists, "valid": valid}

    def _note(self, error: Exception) -> None:
        self.skips += 1
        if len(self.skipped) < _SHOWN:
            self.skipped.append(str(error))
            warnings.warn(f"skipped: {error}", stacklevel=3)

    def _fill(self, work: _Work, texts: list[Mapping[str, Any]], damaged: Sequence[int]) -> None:
        sound = [slot for slot in range(len(texts)) if slot not in damaged]
        if not sound:
            raise SpatialdataError(f"every sample of a batch is damaged; the last: {self.skipped[-1]}")
        for slot in damaged:
            for array in work.arrays.values():
                array[slot] = array[sound[0]]
            texts[slot] = texts[sound[0]]


def _restored(made_of: tuple[Any, ...], epoch: int, position: int) -> Stream:
    stream = Stream(*made_of)
    stream._epoch, stream._position = epoch, position  # pyright: ignore[reportPrivateUsage]
    return stream


def _members(sets: Sequence[ShardSet], recipe: str, chosen: Sequence[str]) -> tuple[str, ...]:
    """Names without extension of what a batch holds, sorted."""
    held = [{split_field(name)[0] for name in each.members} for each in sets]
    for each, names in zip(sets, held, strict=True):
        if names != held[0]:
            odd = ", ".join(sorted(names ^ held[0]))
            raise BadInput(f"{each.url} and {sets[0].url} differ in their members ({odd}): stream sets of one recipe")
    wanted = chosen or tuple(column.member for column in get_recipe(recipe).columns)
    if recipe == "full" and not chosen:
        wanted = tuple(name for name in wanted if name in held[0])
    missing = sorted(set(wanted) - held[0])
    if missing:
        raise BadInput(
            f"{sets[0].url} lacks {', '.join(missing)}, which recipe {recipe} needs (it has "
            f"{', '.join(sorted(held[0]))}): pack that recipe with `spatialdata shard`, or name other members"
        )
    return tuple(sorted(wanted))


def _size(pixels: Array) -> str:
    return " x ".join(str(side) for side in pixels.shape[1::-1])
