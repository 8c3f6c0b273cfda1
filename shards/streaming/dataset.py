"""`stream`: batches of decoded samples from plain tars, in an order that any number of ranks can go on with exactly."""

import hashlib
import json
import math
import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, Final, TypeVar

import numpy as np

from ..codecs import LOSSLESS, image_size
from ..errors import BadInput, SpatialdataError
from ..layout import split_field
from ..reader import ShardError
from ..recipes import IMAGE_MEMBERS
from .buffers import Allocate, BufferPool
from .cache import ShardCache
from .choice import Choice, choose, members_of, mixed_sizes, tell
from .decode import NEEDS_INFO, Array, Decoder, decode_text, decoder_of, is_text
from .fetch import Fetched, Fetcher, read_json
from .options import StreamOptions
from .places import PlaceTable, ShardSet, open_set
from .steps import Position, Share, Step
from .walk import make_walk

Batch = dict[str, Any]
Found = TypeVar("Found")
Url = str | os.PathLike[str]
_STATE: Final = 1
_SHOWN: Final = 1000
"""Skipped samples that are kept by name."""
_SPARES: Final = 64
"""Samples, spread over the epoch, of which one takes the place of those in a batch that is damaged as a whole."""


def stream(
    url: Url | Sequence[Url] | Mapping[Url, float],
    recipe: str = "full",
    *,
    split: str = "train",
    allocate: Allocate | None = None,
    **options: Any,
) -> "Stream":
    """Open shards for training.

    Args:
        url: a folder of shards at any fsspec URL (`OUT/shards/full/train`, or a folder above: then `recipe` and `split`
            choose), several of them (together one set), or a mapping folder -> weight (drawn in these proportions).
        recipe: which members a batch has, and of which edits; the shards may hold more members, which are neither read
            nor decoded, and more edits: `Stream.left_out` counts those samples, and a line of the log tells of them.
        split: where `url` is a folder above the splits.
        allocate: (shape, dtype) -> array for each batch, on GPU machines `shards.streaming.loader.pinned`; default:
            ordinary memory, used again when a batch is dropped.
        options: fields of `StreamOptions`:
            seed: of the order. rank, world: this process, and how many there are.
            order: `global` shuffles over all samples, `shard` shuffles shards and reads each from front to back
                (spinning disks, object stores), `stored` does not shuffle.
            images: `uint8`, or `float`: float32 in [-1, 1].
            members: names instead of the recipe's. instruction: the sample's text, or any of text and variants.
            last: what of an epoch does not fill a batch on all ranks is dropped, or the last one is padded with samples
                from the epoch's start, which `batch["valid"]` marks.
            on_error: `raise`, or `skip` a damaged sample: its place is filled with another one, marked in `valid`, and
                it is counted and named in `Stream.skipped`. A store that cannot be reached always raises.
            threads: that read and decode (0: as many as there are cores). prefetch: batches made ahead.
            check: CRC-32 of every member read. records: also the parsed json of each sample, as `batch["record"]`.
            cache, cache_bytes: a local folder for whole shards of remote sets, and its bound.
            buckets: images may differ in size; each batch then has one size, and another batch another.

    Raises:
        BadInput: no shards there, members that the shards do not have, sets that differ, an option that is none; no
            sample of the recipe's edits; images that differ in size, where `buckets` is False.
    """
    weights = {os.fspath(each): weight for each, weight in url.items()} if isinstance(url, Mapping) else None
    urls = list(weights or ([url] if isinstance(url, str | os.PathLike) else url))
    if not urls:
        raise BadInput("no folder of shards given")
    if weights is not None and not all(math.isfinite(weight) and weight > 0 for weight in weights.values()):
        raise BadInput(f"weights {weights}: each must be above 0")
    chosen = StreamOptions.of(options)
    sets = [open_set(os.fspath(each), recipe, split) for each in urls]
    members_of(sets, recipe, chosen.members)  # what is lacking is told before parquets are read
    choice = choose(sets, recipe, buckets=chosen.buckets, skip=chosen.on_error == "skip")
    if chosen.rank == 0:
        tell(sets, recipe, choice)
    return Stream(sets, list(weights.values()) if weights else None, recipe, chosen, choice, allocate)


@dataclass
class _Work:
    """A batch under way."""

    step: Step
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
        choice: Choice,
        allocate: Allocate | None = None,
    ) -> None:
        self.options = options
        self._made_of = (tuple(sets), weights, recipe, options, choice, allocate)
        self.members = members_of(sets, recipe, options.members)
        self._sets, self._weights = list(sets), list(weights) if weights else None
        fields = {split_field(name)[0]: name for name in sets[0].members if split_field(name)[0] in self.members}
        self._texts = {name: text for name, text in fields.items() if is_text(text)}
        self._decoders: dict[str, Decoder] = {
            name: decoder_of(fields[name], options.images) for name in self.members if name not in self._texts
        }
        self.choice = choice
        self._walk = make_walk(choice, self._weights, options)
        self._allocate = allocate or BufferPool()
        self._shapes: dict[int, dict[str, tuple[int, ...]]] = {}
        """Of the members, by bucket."""
        self._epoch = 0
        self._position: Position = self._walk.begin
        self._turn = 0
        """Raised by each new iteration and each loaded state, so that an older iteration cannot go on."""
        self._open()
        self.skipped: list[str] = []
        """Of each damaged sample that was left out: what was wrong, at most the first thousand."""
        self.skips = 0

    def _open(self) -> None:
        """What holds files, connections and locks: made anew in a forked process."""
        names = sorted([*self.members, "json"])
        cache = ShardCache(self.options.cache, self.options.cache_bytes) if self.options.cache else None
        self._fetcher = Fetcher(PlaceTable(self._sets, names), names, cache, self.options.check)
        self._process = os.getpid()  # last: from here on other threads use it

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process goes what the stream was made of, and where it stands."""
        return _restored, (self._made_of, self._epoch, self._position)

    @property
    def samples(self) -> int:
        """Samples of all sets together that are drawn."""
        return self.choice.samples

    @property
    def alike(self) -> int:
        """Samples whose images have the most common size: a batch can hold no more different ones."""
        return max(bucket.samples for bucket in self.choice.buckets)

    @property
    def left_out(self) -> Mapping[str, int]:
        """Samples of edits that the recipe does not take, by kind of edit."""
        return self.choice.left_out

    @property
    def length(self) -> int:
        """Draws of one epoch, over all ranks: `samples`, unless sets are weighted."""
        return self._walk.length

    @property
    def epoch(self) -> int:
        return self._epoch

    @property
    def arrays(self) -> tuple[str, ...]:
        """The members that come as arrays; the others are text or JSON."""
        return tuple(self._decoders)

    @property
    def lossless_images(self) -> bool:
        return all(
            split_field(name)[1] in LOSSLESS for name in self._sets[0].members if split_field(name)[0] in IMAGE_MEMBERS
        )

    def steps(self, size: int) -> int:
        """Batches of `size` that every rank has of a whole epoch."""
        return self._walk.count(self._share(size))

    def order(self, count: int) -> list[int]:
        """The numbers of the first `count` samples of this epoch, all ranks together; bucket by bucket."""
        drawn = (order.draw(self._epoch, np.arange(min(count, order.length))) for order in self._walk.orders)
        return np.concatenate(list(drawn))[:count].tolist()

    def fetch(self, number: int) -> Fetched:
        """The bytes of one sample. Raises ShardError, SpatialdataError."""
        if self._process != os.getpid():
            self._open()
        return self._fetcher(number)

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands, equal on all ranks: load it on any rank of any world size."""
        return {
            "format": _STATE,
            "epoch": self._epoch,
            "position": list(self._position) if isinstance(self._position, tuple) else self._position,
            "seed": self.options.seed,
            "order": self.options.order,
            "sets": [self._digest(each) for each in self._sets],
            "weights": self._weights or [],
            "buckets": self.options.buckets,
        }

    def _digest(self, each: ShardSet) -> str:
        """Of a set, less what is left out of it."""
        if not self.left_out:
            return each.digest
        text = f"{each.digest} {json.dumps(self.left_out)} {self.samples}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken. Raises BadInput where it is of other sets, order or seed, or none."""
        mine, state = self.state_dict(), {"buckets": False, **state}
        for name in ("format", "sets", "weights", "seed", "order", "buckets"):
            if state.get(name) != mine[name]:
                raise BadInput(
                    f"this state is of another stream: its {name} is {state.get(name)!r}, here it is {mine[name]!r}"
                )
        epoch, position = state.get("epoch"), state.get("position")
        if not isinstance(epoch, int) or epoch < 0 or not self._walk.is_place(position):
            raise BadInput(f"this state is damaged: epoch {epoch!r}, position {position!r} of {self.length}")
        self._turn += 1
        self._epoch = epoch
        self._position = position if isinstance(position, int) else tuple(position or ())

    def begin(self, epoch: int) -> None:
        """Stand at the start of an epoch."""
        self._turn += 1
        self._epoch, self._position = epoch, self._walk.begin

    def batches(self, size: int, *, epochs: int | None = 1, part: tuple[int, int] = (0, 1)) -> Generator[Batch]:
        """Batches of `size` samples: the rest of this epoch, `epochs` of them, or without end (None).

        Args:
            part: (first, of): only the batches first, first + of, ... from here, for processes that take turns.

        A batch is a dict: stacked arrays by member (size, H, W[, 3]), lists of text (`instruction`, `caption`,
        `source_caption`, `key`, members of type `txt`) and of values (members of type `json`), `valid` (size,) bool.
        Whoever keeps a batch keeps its arrays.

        Raises:
            BadInput: more ranks than the samples can serve; images that differ in size, in sets that do not say so.
            SpatialdataError: a damaged sample where `on_error` is `raise`; an iteration that is asked for more when
                another one was begun, or a state loaded.
        """
        share = self._share(size)
        if epochs is not None and epochs < 1:
            raise BadInput(f"{epochs} epochs: give 1 or more, or None")
        self._turn += 1
        turn = self._turn
        epoch, position = self._walk.start(share, self._epoch, self._position)
        ahead: deque[_Work] = deque()
        threads = self.options.threads or len(os.sched_getaffinity(0))
        pool = ThreadPoolExecutor(threads, thread_name_prefix="stream")
        try:
            for step in islice(self._walk.steps(share, epoch, position, epochs), part[0], None, part[1]):
                ahead.append(self._start(pool, step))
                if len(ahead) > self.options.prefetch:
                    yield self._finish(ahead.popleft(), turn)
            while ahead:
                yield self._finish(ahead.popleft(), turn)
            if epochs is not None and turn == self._turn:
                self._epoch, self._position = epoch + epochs, self._walk.begin
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _share(self, size: int) -> Share:
        if size < 1:
            raise BadInput(f"a batch of {size} samples: give 1 or more")
        share = Share(size, self.options.rank, self.options.world, self.options.last == "pad")
        if not self._walk.count(share):
            raise BadInput(
                f"{self.options.world} ranks x {size} samples are more than the {self.length} of an epoch: lower the "
                "batch or the world, or set last='pad'"
            )
        return share

    def _start(self, pool: ThreadPoolExecutor, step: Step) -> _Work:
        shapes, size = self._shapes.get(step.bucket) or self._learn(step), len(step.numbers)
        arrays = {name: self._allocate((size, *shapes[name]), self._decoders[name].dtype) for name in self.arrays}
        work = _Work(step, arrays)
        work.slots = [pool.submit(self._load, step.epoch, slot, n, arrays) for slot, n in enumerate(step.numbers)]
        return work

    def _learn(self, step: Step) -> dict[str, tuple[int, ...]]:
        """The shapes of the members, from the first sample that can be read."""

        def shapes_of(number: int) -> dict[str, tuple[int, ...]]:
            sample = self.fetch(number)
            record = read_json(sample)
            return {name: self.decode(name, sample, record).shape for name in self.arrays}

        found = self._first_sound(shapes_of, chain(step.numbers, self._spares(step)))
        self._shapes[step.bucket] = found
        return found

    def _spares(self, step: Step) -> Iterator[int]:
        """Samples of the step's size all over the epoch, the same on every machine: damage comes in whole shards."""
        order, position = self._walk.orders[step.bucket], step.position
        first = position if isinstance(position, int) else position[step.bucket]
        places = first + np.arange(_SPARES) * max(1, order.length // _SPARES)
        yield from order.draw(step.epoch, places % order.length).tolist()

    def _first_sound(self, make: Callable[[int], Found], numbers: Iterable[int]) -> Found:
        last: ShardError | None = None
        for number in numbers:
            try:
                return make(number)
            except ShardError as error:
                if self.options.on_error == "raise":
                    raise
                last = error
        raise SpatialdataError(f"a batch, and {_SPARES} samples that could take its place, are damaged: {last}")

    def _load(self, epoch: int, slot: int, number: int, arrays: Mapping[str, Array]) -> Mapping[str, Any]:
        sample = self.fetch(number)
        record = read_json(sample)
        for name, array in arrays.items():
            place = array[slot]
            pixels = self.decode(name, sample, record, place)
            if pixels.shape != place.shape:
                raise self._unlike(sample, place)
            if pixels is not place:
                place[...] = pixels
        try:
            texts = {name: record[name] for name in ("caption", "source_caption")}
            texts |= {"key": sample.key, "instruction": self._instruction(record["instruction"], epoch, sample.key)}
        except (KeyError, TypeError) as error:
            raise ShardError(sample.shard, sample.key, f"its json has no text ({error!r})") from error
        texts |= {name: self._text(name, sample) for name in self._texts}
        return texts | ({"record": record} if self.options.records else {})

    def _text(self, name: str, sample: Fetched) -> Any:
        try:
            return decode_text(self._texts[name], sample.members[name])
        except ValueError as error:
            raise ShardError(sample.shard, sample.key, f"member {name} cannot be decoded ({error})") from error

    def decode(self, name: str, sample: Fetched, record: Mapping[str, Any], out: Array | None = None) -> Array:
        """One member as the batch holds it, in `out` where the decoder can write there. Raises ShardError."""
        try:
            info = record["maps"][name] if name.removeprefix("source_") in NEEDS_INFO else {}
            return self._decoders[name].decode(sample.members[name], info, out)
        except (ValueError, KeyError, TypeError) as error:
            raise ShardError(sample.shard, sample.key, f"member {name} cannot be decoded ({error})") from error

    def _unlike(self, sample: Fetched, place: Array) -> SpatialdataError:
        """What is wrong with a sample that does not fit where it belongs."""
        sizes = {name: image_size(sample.members[name]) for name in self.arrays}
        if len(set(sizes.values())) > 1:
            told = ", ".join(f"{name} {width} x {height}" for name, (width, height) in sizes.items())
            return ShardError(sample.shard, sample.key, f"its images differ in size ({told})")
        here, there = next(iter(sizes.values())), (place.shape[1], place.shape[0])
        if self.options.buckets:  # then every sample was asked for its size
            return ShardError(sample.shard, sample.key, f"its images are {here}, its bucket's {there}")
        return mixed_sizes(f"the set of shard {sample.shard}", [here, there])

    def _instruction(self, told: Mapping[str, Any], epoch: int, key: str) -> str:
        if self.options.instruction == "text":
            return told["text"]
        texts = [told["text"], *told["variants"]]
        digest = hashlib.sha256(f"{self.options.seed} {epoch} {key}".encode()).digest()
        return texts[int.from_bytes(digest[:8], "big") % len(texts)]

    def _finish(self, work: _Work, turn: int) -> Batch:
        valid = work.step.valid.copy()
        texts: list[Mapping[str, Any]] = [{}] * len(work.slots)
        damaged: list[int] = []
        for slot, future in enumerate(work.slots):
            try:
                texts[slot] = future.result()
            except ShardError as error:
                if self.options.on_error == "raise":
                    raise
                if valid[slot]:  # else it only fills the batch, and was or will be counted in its own
                    self._note(error)
                damaged.append(slot)
        if damaged:
            self._fill(work, texts, damaged)
            valid[damaged] = False
        if turn != self._turn:
            raise SpatialdataError("this iteration ended when another one was begun or a state loaded: one at a time")
        self._epoch, self._position = work.step.epoch, work.step.position
        lists = {name: [text[name] for text in texts] for name in texts[0]}
        return {**work.arrays, **lists, "valid": valid}

    def _note(self, error: ShardError) -> None:
        self.skips += 1
        if len(self.skipped) < _SHOWN:
            self.skipped.append(str(error))
            warnings.warn(f"skipped: {error}", stacklevel=4)

    def _fill(self, work: _Work, texts: list[Mapping[str, Any]], damaged: Sequence[int]) -> None:
        """Put a sound sample in each place of a damaged one: of the batch, or from elsewhere in the epoch."""
        sound = next((slot for slot in range(len(texts)) if slot not in damaged), 0)
        if sound in damaged:
            step = work.step
            texts[0] = self._first_sound(lambda n: self._load(step.epoch, 0, n, work.arrays), self._spares(step))
        for slot in damaged:
            for array in work.arrays.values():
                array[slot] = array[sound]
            texts[slot] = texts[sound]


def _restored(made_of: tuple[Any, ...], epoch: int, position: Position) -> Stream:
    stream = Stream(*made_of)
    stream._epoch, stream._position = epoch, position  # pyright: ignore[reportPrivateUsage]
    return stream
