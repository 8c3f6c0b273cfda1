"""`stream`: batches of decoded samples from plain tars, in an order that any number of ranks can resume exactly."""

import hashlib
import json
import math
import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, Final, TypeVar

import numpy as np

from ..codecs import LOSSLESS, image_size
from ..errors import BadInput, SpatialdataError
from ..forks import ThreadPool
from ..layout import split_field
from ..reader import ShardError
from ..recipes import IMAGE_MEMBERS
from .buffers import Allocate, BufferPool
from .cache import ShardCache
from .choice import Choice, choose, log_left_out, members_of, mixed_sizes_error
from .decode import NEEDS_INFO, Array, Decoder, decode_text, decoder_of, is_text
from .fetch import Fetched, Fetcher, read_json
from .options import StreamOptions
from .places import PlaceTable, ShardSet, open_set, read_columns
from .steps import Position, Share, Step
from .walk import make_walk

Batch = dict[str, Any]
Found = TypeVar("Found")
Url = str | os.PathLike[str]
_STATE_FORMAT: Final = 1
_MAX_NAMED_SKIPS: Final = 1000
"""Number of skipped samples whose error is kept."""
_REPLACEMENTS: Final = 64
"""Number of candidates, spread over the epoch, to replace the samples of a batch that is completely damaged."""


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
        url: a folder of shards at any fsspec URL (`OUT/shards/full/train`, or a parent folder in which `recipe` and
            `split` select one), a sequence of folders (read as one set), or a mapping of folders to sampling weights.
        recipe: selects the members of a batch and the edits. Other members in the shards are neither read nor decoded.
            Samples of other edits are left out, counted in `Stream.left_out`, and reported in one log line.
        split: used where `url` is a folder above the splits.
        allocate: (shape, dtype) -> array, called for each batch. Use `shards.streaming.loader.pinned` on GPU machines.
            Default: ordinary memory, reused once a batch is released.
        options: fields of `StreamOptions`:
            seed: seed of the order. rank, world: index of this process, and the number of processes.
            order: `global` shuffles over all samples, `shard` shuffles shards and reads each sequentially (spinning
                disks, object stores), `stored` does not shuffle.
            images: `uint8`, or `float`: float32 in [-1, 1].
            members: names that replace the recipe's. instruction: `text`, or `any`: the text or one of its variants.
            last: `drop` drops the samples at the end of an epoch that do not fill a batch on all ranks, `pad` fills the
                last batch with samples from the start of the epoch, for which `batch["valid"]` is False.
            on_error: `raise`, or `skip`: a damaged sample is replaced by another one, for which `valid` is False, and
                counted and named in `Stream.skipped`. A store that cannot be reached always raises.
            threads: threads that read and decode (0: one per core). prefetch: number of batches prepared ahead.
            check: check the CRC-32 of every member. records: add the parsed json of each sample as `batch["record"]`.
            cache, cache_bytes: a local folder that caches whole shards of remote sets, and its size limit.
            buckets: allow images of different sizes; all images of a batch then have the same size.
            one_per_family: draw one of the samples that share a scene in each epoch, and another one in the next.

    Raises:
        BadInput: no shards, members that the shards do not have, sets that differ, an unknown option, no sample with
            the recipe's edits, images that differ in size where `buckets` is False, or `one_per_family` for a set with
            derived samples that does not say which samples share a scene.
    """
    weights = {os.fspath(each): weight for each, weight in url.items()} if isinstance(url, Mapping) else None
    urls = list(weights or ([url] if isinstance(url, str | os.PathLike) else url))
    if not urls:
        raise BadInput("no folder of shards given")
    if weights is not None and not all(math.isfinite(weight) and weight > 0 for weight in weights.values()):
        raise BadInput(f"weights {weights}: each must be finite and above 0")
    chosen = StreamOptions.of(options)
    sets = [open_set(os.fspath(each), recipe, split) for each in urls]
    members_of(sets, recipe, chosen.members)  # reports missing members before any parquet is read
    choice = choose(
        sets, recipe, buckets=chosen.buckets, skip=chosen.on_error == "skip", one_per_family=chosen.one_per_family
    )
    if chosen.rank == 0:
        log_left_out(sets, recipe, choice)
    return Stream(sets, list(weights.values()) if weights else None, recipe, chosen, choice, allocate)


@dataclass
class _PendingBatch:
    """A batch that is being read."""

    step: Step
    arrays: dict[str, Array]
    slots: list[Future[Mapping[str, Any]]] = field(default_factory=list[Future[Mapping[str, Any]]])


class Stream:
    """An endless sequence of epochs, divided into batches; see `stream`. One iteration at a time."""

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
        self._arguments = (tuple(sets), weights, recipe, options, choice, allocate)
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
        """Shapes of the members, by bucket."""
        self._epoch = 0
        self._position: Position = self._walk.begin
        self._turn = 0
        """Incremented by each new iteration and each loaded state, so that an older iteration cannot continue."""
        self._open()
        self.skipped: list[str] = []
        """Error messages of skipped samples, at most the first thousand."""
        self.skips = 0

    def _open(self) -> None:
        """Create what holds files, connections and locks; called again in a forked process."""
        names = sorted([*self.members, "json"])
        cache = ShardCache(self.options.cache, self.options.cache_bytes) if self.options.cache else None
        self._fetcher = Fetcher(PlaceTable(self._sets, names), names, cache, self.options.check)
        self._process = os.getpid()  # last, since other threads use the fetcher from here on

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the constructor arguments and the position."""
        return _restored, (self._arguments, self._epoch, self._position)

    @property
    def samples(self) -> int:
        """Number of samples that are drawn, over all sets; with `one_per_family` not all in one epoch."""
        return self.choice.samples

    @property
    def largest_bucket(self) -> int:
        """The most distinct samples that a batch can hold: those of the most common image size in an epoch."""
        return max(bucket.draws for bucket in self.choice.buckets)

    @property
    def left_out(self) -> Mapping[str, int]:
        """Number of samples with edits that the recipe does not include, by edit kind."""
        return self.choice.left_out

    @property
    def length(self) -> int:
        """Number of draws in one epoch, over all ranks: `samples` or, with `one_per_family`, the number of families,
        unless sets are weighted."""
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
        """Number of batches of `size` that each rank gets in a whole epoch."""
        return self._walk.count(self._share(size))

    def order(self, count: int) -> list[int]:
        """The numbers of the first `count` samples of this epoch, over all ranks; bucket by bucket."""
        drawn = (order.draw(self._epoch, np.arange(min(count, order.length))) for order in self._walk.orders)
        return np.concatenate(list(drawn))[:count].tolist()

    def fetch(self, number: int) -> Fetched:
        """The bytes of one sample. Raises ShardError, SpatialdataError."""
        if self._process != os.getpid():
            self._open()
        return self._fetcher(number)

    def pick(self, keys: Sequence[str]) -> Batch:
        """The batch of these samples, independent of the stream's position.

        Raises BadInput for a key that the shards do not have, SpatialdataError for a damaged sample.
        """
        wanted = set(keys)
        numbers = {key: number for number, key in enumerate(self.keys()) if key in wanted}
        if missing := [key for key in keys if key not in numbers]:
            listed = ", ".join(each.url for each in self._sets)
            raise BadInput(f"{listed} has no sample {missing[0]}: `spatialdata why OUT {missing[0]}` tells its split")
        first = self.fetch(numbers[keys[0]])
        record = read_json(first)
        arrays = {
            name: self._allocate((len(keys), *self.decode(name, first, record).shape), self._decoders[name].dtype)
            for name in self.arrays
        }
        sizes = {image_size(self.fetch(numbers[key]).members[self.arrays[0]]) for key in keys} if self.arrays else set()
        if len(sizes) > 1:
            raise mixed_sizes_error("the selection of keys", list(sizes))
        texts = [self._load(0, slot, numbers[key], arrays) for slot, key in enumerate(keys)]
        lists = {name: [text[name] for text in texts] for name in texts[0]}
        return {**arrays, **lists, "valid": np.ones(len(keys), bool)}

    def keys(self) -> Iterator[str]:
        """The keys of all samples of the sets, also of those that the recipe leaves out, in stored order."""
        first = 0
        for shard in (shard for each in self._sets for shard in each.shards):
            try:
                yield from read_columns(shard, ["key"]).column("key").to_pylist()
            except (FileNotFoundError, KeyError):
                yield from (self.fetch(number).key for number in range(first, first + shard.samples))
            first += shard.samples

    def state_dict(self) -> dict[str, Any]:
        """The position of the stream. It is equal on all ranks and can be loaded on any rank of any world size."""
        return {
            "format": _STATE_FORMAT,
            "epoch": self._epoch,
            "position": list(self._position) if isinstance(self._position, tuple) else self._position,
            "seed": self.options.seed,
            "order": self.options.order,
            "sets": [self._digest(each) for each in self._sets],
            "weights": self._weights or [],
            "buckets": self.options.buckets,
            "one_per_family": self.options.one_per_family,
        }

    def _digest(self, each: ShardSet) -> str:
        """Digest of a set; it also covers what the recipe leaves out."""
        if not self.left_out:
            return each.digest
        text = f"{each.digest} {json.dumps(self.left_out)} {self.samples}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume where `state_dict` was called. Raises BadInput where the state is invalid or of another stream."""
        current, state = self.state_dict(), {"buckets": False, "one_per_family": False, **state}
        for name in ("format", "sets", "weights", "seed", "order", "buckets", "one_per_family"):
            if state.get(name) != current[name]:
                raise BadInput(
                    f"this state is of another stream: its {name} is {state.get(name)!r}, here it is {current[name]!r}"
                )
        epoch, position = state.get("epoch"), state.get("position")
        if not isinstance(epoch, int) or epoch < 0 or not self._walk.is_position(position):
            raise BadInput(f"this state is damaged: epoch {epoch!r}, position {position!r} of {self.length}")
        self._turn += 1
        self._epoch = epoch
        self._position = position if isinstance(position, int) else tuple(position or ())

    def begin(self, epoch: int) -> None:
        """Move to the start of an epoch."""
        self._turn += 1
        self._epoch, self._position = epoch, self._walk.begin

    def batches(
        self, size: int, *, epochs: int | None = 1, part: tuple[int, int] = (0, 1), accumulate: int = 1
    ) -> Generator[Batch]:
        """Batches of `size` samples: the rest of this epoch (1), `epochs` epochs starting with it, or endless (None).

        Args:
            part: (first, step): only the batches first, first + step, ... from here, for processes that take turns.
            accumulate: batches of each rank in an optimizer step. An epoch ends where less than a whole step is left,
                so it has the same steps for every division of their samples. A state saved between two batches of a
                step is that of the step's start.

        A batch is a dict: stacked arrays by member (size, H, W[, 3]), lists of text (`instruction`, `caption`,
        `source_caption`, `key`, `edit` with the kind of the edit, members of type `txt`) and of values (members of type
        `json`), `valid` (size,) bool.
        The arrays of a batch stay valid as long as it is referenced.

        Raises:
            BadInput: too few samples for the ranks; images that differ in size, in sets that do not record sizes.
            SpatialdataError: a damaged sample where `on_error` is `raise`; continuing an iteration after another one
                was started or a state was loaded.
        """
        share = self._share(size, accumulate)
        if epochs is not None and epochs < 1:
            raise BadInput(f"epochs must be 1 or more, or None (got {epochs})")
        self._turn += 1
        turn = self._turn
        epoch, position = self._walk.start(share, self._epoch, self._position)
        ahead: deque[_PendingBatch] = deque()
        threads = self.options.threads or len(os.sched_getaffinity(0))
        pool = ThreadPool(threads, "stream")
        try:
            for step in islice(self._walk.steps(share, epoch, position, epochs), part[0], None, part[1]):
                ahead.append(self._start(pool, step))
                if len(ahead) > self.options.prefetch:
                    yield self._finish_first(ahead, turn)
            while ahead:
                yield self._finish_first(ahead, turn)
            if epochs is not None and turn == self._turn:
                self._epoch, self._position = epoch + epochs, self._walk.begin
        finally:
            pool.end(future for work in ahead for future in work.slots)

    def _finish_first(self, ahead: deque[_PendingBatch], turn: int) -> Batch:
        batch = self._finish(ahead[0], turn)
        ahead.popleft()
        return batch

    def _share(self, size: int, accumulate: int = 1) -> Share:
        if size < 1:
            raise BadInput(f"the batch size must be 1 or more (got {size})")
        share = Share(size, self.options.rank, self.options.world, self.options.last == "pad", accumulate)
        if not self._walk.count(share):
            batches = f" x {accumulate} batches" if accumulate > 1 else ""
            raise BadInput(
                f"{self.options.world} ranks{batches} x {size} samples exceed the {self.length} samples of an epoch: "
                "use a smaller batch or fewer ranks, or set last='pad'"
            )
        return share

    def _start(self, pool: ThreadPool, step: Step) -> _PendingBatch:
        shapes, size = self._shapes.get(step.bucket) or self._probe_shapes(step), len(step.numbers)
        arrays = {name: self._allocate((size, *shapes[name]), self._decoders[name].dtype) for name in self.arrays}
        work = _PendingBatch(step, arrays)
        work.slots = [pool.submit(self._load, step.epoch, slot, n, arrays) for slot, n in enumerate(step.numbers)]
        return work

    def _probe_shapes(self, step: Step) -> dict[str, tuple[int, ...]]:
        """The shapes of the members, from the first sample that can be read."""

        def shapes_of(number: int) -> dict[str, tuple[int, ...]]:
            sample = self.fetch(number)
            record = read_json(sample)
            return {name: self.decode(name, sample, record).shape for name in self.arrays}

        found = self._first_intact(shapes_of, chain(step.numbers, self._replacements(step)))
        self._shapes[step.bucket] = found
        return found

    def _replacements(self, step: Step) -> Iterator[int]:
        """Samples of the step's bucket, spread over the epoch, since damage often affects whole shards."""
        order, position = self._walk.orders[step.bucket], step.position
        first = position if isinstance(position, int) else position[step.bucket]
        places = first + np.arange(_REPLACEMENTS) * max(1, order.length // _REPLACEMENTS)
        yield from order.draw(step.epoch, places % order.length).tolist()

    def _first_intact(self, make: Callable[[int], Found], numbers: Iterable[int]) -> Found:
        last: ShardError | None = None
        for number in numbers:
            try:
                return make(number)
            except ShardError as error:
                if self.options.on_error == "raise":
                    raise
                last = error
        raise SpatialdataError(f"all samples of a batch and {_REPLACEMENTS} possible replacements are damaged: {last}")

    def _load(self, epoch: int, slot: int, number: int, arrays: Mapping[str, Array]) -> Mapping[str, Any]:
        sample = self.fetch(number)
        record = read_json(sample)
        for name, array in arrays.items():
            place = array[slot]
            pixels = self.decode(name, sample, record, place)
            if pixels.shape != place.shape:
                raise self._size_error(sample, place)
            if pixels is not place:
                place[...] = pixels
        try:
            texts = {name: record[name] for name in ("caption", "source_caption")}
            texts |= {"key": sample.key, "instruction": self._instruction(record["instruction"], epoch, sample.key)}
            texts["edit"] = record.get("edit", {}).get("kind", "")
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

    def _size_error(self, sample: Fetched, place: Array) -> SpatialdataError:
        """The error for a sample whose images do not fit the batch."""
        sizes = {name: image_size(sample.members[name]) for name in self.arrays}
        if len(set(sizes.values())) > 1:
            listed = ", ".join(f"{name} {width} x {height}" for name, (width, height) in sizes.items())
            return ShardError(sample.shard, sample.key, f"its images differ in size ({listed})")
        here, there = next(iter(sizes.values())), (place.shape[1], place.shape[0])
        if self.options.buckets:  # the sizes of all samples were read to form the buckets
            return ShardError(sample.shard, sample.key, f"its images are {here}, those of its bucket {there}")
        return mixed_sizes_error(f"the set of shard {sample.shard}", [here, there])

    def _instruction(self, instruction: Mapping[str, Any], epoch: int, key: str) -> str:
        if self.options.instruction == "text":
            return instruction["text"]
        texts = [instruction["text"], *instruction["variants"]]
        digest = hashlib.sha256(f"{self.options.seed} {epoch} {key}".encode()).digest()
        return texts[int.from_bytes(digest[:8], "big") % len(texts)]

    def _finish(self, work: _PendingBatch, turn: int) -> Batch:
        valid = work.step.valid.copy()
        texts: list[Mapping[str, Any]] = [{}] * len(work.slots)
        damaged: list[int] = []
        for slot, future in enumerate(work.slots):
            try:
                texts[slot] = future.result()
            except ShardError as error:
                if self.options.on_error == "raise":
                    raise
                if valid[slot]:  # padding is counted where the sample itself comes
                    self._note_skip(error)
                damaged.append(slot)
        if damaged:
            self._replace_damaged(work, texts, damaged)
            valid[damaged] = False
        if turn != self._turn:
            raise SpatialdataError("this iteration ended: another was started or a state was loaded; use one at a time")
        self._epoch, self._position = work.step.epoch, work.step.position
        lists = {name: [text[name] for text in texts] for name in texts[0]}
        return {**work.arrays, **lists, "valid": valid}

    def _note_skip(self, error: ShardError) -> None:
        self.skips += 1
        if len(self.skipped) < _MAX_NAMED_SKIPS:
            self.skipped.append(str(error))
            warnings.warn(f"skipped: {error}", stacklevel=4)

    def _replace_damaged(self, work: _PendingBatch, texts: list[Mapping[str, Any]], damaged: Sequence[int]) -> None:
        """Replace each damaged sample by an intact one from the batch, or from elsewhere in the epoch."""
        intact = next((slot for slot in range(len(texts)) if slot not in damaged), 0)
        if intact in damaged:
            step = work.step
            texts[0] = self._first_intact(lambda n: self._load(step.epoch, 0, n, work.arrays), self._replacements(step))
        for slot in damaged:
            for array in work.arrays.values():
                array[slot] = array[intact]
            texts[slot] = texts[intact]


def _restored(arguments: tuple[Any, ...], epoch: int, position: Position) -> Stream:
    stream = Stream(*arguments)
    stream._epoch, stream._position = epoch, position  # pyright: ignore[reportPrivateUsage]
    return stream
