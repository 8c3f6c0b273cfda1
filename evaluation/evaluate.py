"""Evaluates the predictions of one or more editors on a benchmark set.

Invariant: every key of the set is in the result, with values or with a named failure; *copy* (the source) and *oracle*
(the target) are judged beside every prediction, by the same code. A metric that cannot judge the oracle of a key is
left out for this key, for every editor.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..shards.codecs import U8
from ..shards.errors import BadInput
from .benchmarks import Benchmark
from .metrics.depth import DepthEstimator
from .metrics.place import exact_box
from .metrics.search import Box
from .predictions import Predictions
from .score import PredictionFault, groups_of, read_prediction, score
from .truth import Truth, read_truths

Values = dict[str, float | None]


@dataclass(frozen=True)
class Judged:
    """What one editor got for a key. `values`: by metric; None where it could not be measured."""

    values: Values
    failure: str = ""
    """Why there is no image to judge: `missing`, `wrong_aspect`, ...; empty if there is one."""
    detail: str = ""
    resized: bool = False
    boxes: tuple[Box, ...] = ()
    """Found boxes of the edited objects, pixels."""


@dataclass(frozen=True)
class Item:
    """One key of the set."""

    key: str
    instruction: str
    groups: dict[str, str]
    family: str
    """Of the samples that share a scene; the key where this is unknown."""
    size: tuple[int, int]
    """Width and height of the images, pixels."""
    copy: Values
    oracle: dict[str, float]
    editors: tuple[Judged, ...]
    boxes: tuple[Box, ...] = ()
    """Exact boxes of the edited objects in the target, pixels."""

    @property
    def diagonal(self) -> float:
        """Of the images, in pixels."""
        return float(np.hypot(*self.size))


@dataclass(frozen=True)
class Evaluation:
    """The result for a set. `editors` and `Item.editors` have one order."""

    benchmark: Benchmark
    editors: tuple[Predictions, ...]
    items: tuple[Item, ...]
    extra: tuple[tuple[str, ...], ...] = ()
    """Of each editor, images of keys that the set does not have."""


Images = Sequence[U8 | None]
"""The images of the editors for a key; None where there is none."""


def evaluate(
    benchmark: Benchmark,
    editors: Sequence[Predictions],
    *,
    depth: DepthEstimator | None = None,
    done: Callable[[Truth, Item, Images], None] | None = None,
) -> Evaluation:
    """Judge all keys.

    Args:
        depth: estimates the depth of a prediction; without one, the depth metric is absent.
        done: called after each key, with its images.

    Raises BadInput if the shards of the set lack a key or a member, ShardError where one is damaged.
    """
    items = [_judge_key(truth, editors, depth, done) for truth in _truths(benchmark)]
    if missing := set(benchmark.keys) - {item.key for item in items}:
        raise BadInput(f"benchmark {benchmark.folder}: its shards lack sample {min(missing)}: copy the set again")
    return Evaluation(benchmark, tuple(editors), tuple(items), tuple(_extra(each) for each in editors))


def _truths(benchmark: Benchmark) -> Iterator[Truth]:
    return read_truths(benchmark.shards, frozenset(benchmark.keys))


def _judge_key(
    truth: Truth,
    editors: Sequence[Predictions],
    depth: DepthEstimator | None,
    done: Callable[[Truth, Item, Images], None] | None,
) -> Item:
    record = truth.record
    copy, best = score(truth, truth.source, depth).values, score(truth, truth.target, depth).values
    oracle = {name: value for name, value in best.items() if value is not None}
    found = [_judge(truth, each, oracle, depth) for each in editors]
    boxes = [exact_box(truth, one) for one in record.objects if one.id in truth.edited]
    item = Item(
        key=truth.key,
        instruction=record.instruction.text,
        groups=groups_of(truth),
        family=record.provenance.family or truth.key,
        size=truth.size,
        copy={name: copy.get(name) for name in oracle},
        oracle=oracle,
        editors=tuple(judged for judged, _ in found),
        boxes=tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in filter(None, boxes)),
    )
    if done:
        done(truth, item, [image for _, image in found])
    return item


def _judge(
    truth: Truth, editor: Predictions, oracle: dict[str, float], depth: DepthEstimator | None
) -> tuple[Judged, U8 | None]:
    """What an editor got for a key, and its image."""
    try:
        image, resized = _read(truth, editor)
    except PredictionFault as fault:
        return Judged(dict.fromkeys(oracle), fault.reason, str(fault)), None
    scored = score(truth, image, depth)
    boxes = tuple(sight.place.box for sight in scored.seen if sight.place is not None)
    return Judged({name: scored.values.get(name) for name in oracle}, resized=resized, boxes=boxes), image


def _read(truth: Truth, editor: Predictions) -> tuple[U8, bool]:
    """As `read_prediction`, which also raises PredictionFault: `missing`, `editor_failed`."""
    try:
        data = editor.path(truth.key).read_bytes()
    except OSError as error:
        said = editor.errors.get(truth.key, "")
        raise PredictionFault("editor_failed" if said else "missing", said) from error
    return read_prediction(data, truth)


def _extra(editor: Predictions) -> tuple[str, ...]:
    known = set(editor.keys)
    return tuple(sorted(path.name for path in editor.folder.glob("*.png") if path.stem not in known))
