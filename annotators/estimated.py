"""What every stage that estimates maps with a model shares: pictures in, one member a view out.

Invariant: estimated maps have the names, conventions and sizes of the exact ones (`annotators.exact`), so that a layer
can be replaced and nothing else changes; each map's MapInfo names the estimator and the revision that made it.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from ..shards.codecs import F32, U8, CodecError, decode_depth, decode_image, encode_default_confidence, image_size
from ..shards.errors import BadInput
from ..shards.recipes import ViewName, layer_of
from ..shards.sample import Reject, Result, Row, Sample, Value
from ..shards.schema import MapInfo, PairFacts, SceneObject, View
from ..shards.stage import Stage
from .device import Dtype

Map = tuple[bytes, MapInfo]
"""An encoded member and how to read it."""


@dataclass(frozen=True)
class Picture:
    """One image of a pair, as an estimator gets it."""

    key: str
    view: ViewName
    data: bytes
    """Encoded as the layer holds it."""
    facts: PairFacts
    metric: bytes = b""
    """The maker's exact metric depth, encoded; empty where it is unknown, or where the stage does not ask for it."""

    @property
    def rgb(self) -> U8:
        """H x W x 3, decoded anew at each call: do it in a thread."""
        return decode_image(self.data)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, from the header."""
        return image_size(self.data)

    @property
    def camera(self) -> View:
        return self.facts.camera.source if self.view == "source" else self.facts.camera.target

    @property
    def exact_metric(self) -> F32 | None:
        """Planar depth H x W in metres, 0 where there is none, as the pair's maker knows it. Raises CodecError."""
        info = self.facts.source_metric if self.view == "source" else self.facts.metric
        return decode_depth(self.metric, info) if self.metric else None

    @property
    def objects(self) -> list[SceneObject]:
        return self.facts.objects


class Estimator(Protocol):
    """A loaded model: for each picture its maps by name (of the stage's own layer, and others it makes along)."""

    def __call__(self, pictures: Sequence[Picture]) -> Sequence[Mapping[str, Map] | Reject]: ...


@dataclass(frozen=True)
class EstimatedMap(Stage, ABC):
    """Base of the stages. Columns as in `annotators.exact`: `<layer>`, `source_<layer>`, `maps`.

    Layer `metric` has `confidence` and `source_confidence` beside its depth.
    Maps of other layers that a model makes along lie in columns of their names; how to read them in `other_maps`.
    """

    layer: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ("pair",)
    version: ClassVar[int] = 1
    own_pool: ClassVar[bool] = True
    renamed: ClassVar[Mapping[str, str]] = {"call_size": "samples_per_call"}

    model: str = ""
    """Hub id, or a folder (for models of one file: the file) that every node sees."""
    revision: str = ""
    """Branch, tag or commit on the hub; empty: the default branch."""
    dtype: Dtype = "auto"
    compile: bool = False
    """`torch.compile`: minutes at the start, faster from then on."""
    views: tuple[ViewName, ...] = ("source", "target")
    batch_size: int = field(default=16, metadata={"fingerprint": False})
    """Images that go through the model at once; halved, and kept so, where memory runs out."""
    samples_per_call: int = field(default=64, metadata={"fingerprint": False})
    """Samples handed over at once: within them preparing, the model and encoding overlap."""
    cpus: float = field(default=1.0, metadata={"fingerprint": False})
    gpus: float = field(default=1.0, metadata={"fingerprint": False})

    def __post_init__(self) -> None:
        if not self.model:
            raise BadInput(f"layers.{self.layer}.model is empty: give a hub id or a folder")
        if self.batch_size < 1 or self.samples_per_call < 1:
            raise BadInput(f"layers.{self.layer}: batch_size and samples_per_call must be 1 or more")
        if not self.views or len(set(self.views)) < len(self.views):
            raise BadInput(f"layers.{self.layer}.views: give source, target or both, each once")

    @property
    def columns(self) -> dict[str, tuple[str, ...]]:
        return {"pair": ("facts", *self.views)}

    @property
    def threads(self) -> int:
        """Threads that decode, resize and encode beside the model."""
        return max(2, int(self.cpus))

    @abstractmethod
    def setup(self) -> Estimator:
        """Load the model; raises BadInput for a package or checkpoint that is missing."""

    def __call__(self, model: Estimator, samples: Sequence[Sample]) -> Sequence[Result]:
        pictures = [picture for sample in samples for picture in _pictures(sample, self.views)]
        found = _estimates(model, pictures)
        count = len(self.views)
        return [self._row(found[first : first + count]) for first in range(0, len(found), count)]

    def _row(self, found: Sequence[Mapping[str, Map] | Reject]) -> Result:
        columns: dict[str, bytes] = {}
        infos: dict[str, object] = {}
        others: dict[str, object] = {}
        for view, maps in zip(self.views, found, strict=True):
            if isinstance(maps, Reject):
                return maps
            whole = _with_confidence(maps) if self.layer == "metric" else maps
            for base, (data, info) in whole.items():
                name = base if view == "target" else f"source_{base}"
                columns[name] = data
                (infos if layer_of(base) == self.layer else others)[name] = info.model_dump()
        extra = {"other_maps": json.dumps(others, sort_keys=True)} if others else {}
        return Row({**columns, "maps": json.dumps(infos, sort_keys=True), **extra})


def _estimates(model: Estimator, pictures: Sequence[Picture | Reject]) -> list[Mapping[str, Map] | Reject]:
    """What the model makes of each picture; of one whose pixels cannot be decoded, a reject.

    Models decode in threads of their own, so damage behind a sound header shows there, and stops the whole call. Only
    then is every picture decoded here, and the model asked again without the damaged ones.
    """
    whole = [picture for picture in pictures if isinstance(picture, Picture)]
    try:
        estimates = iter(model(whole))
    except CodecError:
        checked = [_decodable(picture) if isinstance(picture, Picture) else picture for picture in pictures]
        if checked == pictures:
            raise  # something else cannot be decoded, or encoded
        return _estimates(model, checked)
    return [next(estimates) if isinstance(picture, Picture) else picture for picture in pictures]


def _decodable(picture: Picture) -> Picture | Reject:
    try:
        _ = picture.rgb
    except CodecError as error:
        return _unreadable(picture.view, error)
    return picture


def _unreadable(view: str, error: CodecError) -> Reject:
    return Reject("unreadable_image", detail=f"the {view} image: {error}")


def _with_confidence(maps: Mapping[str, Map]) -> Mapping[str, Map]:
    """Metric depth never comes without: where the model tells of none, what is known, where there is depth at all."""
    if "confidence" in maps:
        return maps
    return {**maps, "confidence": encode_default_confidence(maps["metric"][0], estimator="known", revision="")}


def _pictures(sample: Sample, views: Sequence[ViewName]) -> Iterator[Picture | Reject]:
    """One a view; a header that is no image's is a reject, and never reaches a model."""
    pair = sample["pair"]
    facts = PairFacts.model_validate_json(str(pair["facts"]))
    for view in views:
        data = _bytes(pair[view])
        try:
            image_size(data)
        except CodecError as error:
            yield _unreadable(view, error)
            continue
        metric = _bytes(pair.get("metric" if view == "target" else "source_metric"))
        yield Picture(sample.key, view, data, facts, metric)


def _bytes(value: Value | None) -> bytes:
    return value if isinstance(value, bytes) else b""
