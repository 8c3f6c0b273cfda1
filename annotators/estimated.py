"""Base of the stages that estimate maps with a model: images in, one member per view out.

Invariant: estimated maps have the names, conventions and sizes of the exact ones (`annotators.exact`), so replacing a
layer changes nothing else. Each map's MapInfo names the estimator and its revision.
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
"""An encoded member, and the MapInfo that describes how to decode it."""


@dataclass(frozen=True)
class Picture:
    """One image of a pair: the input of an estimator."""

    key: str
    view: ViewName
    data: bytes
    """The encoded image, as stored in the layer."""
    facts: PairFacts
    metric: bytes = b""
    """The exact metric depth, encoded; empty if it is unknown or the stage does not read it."""

    @property
    def rgb(self) -> U8:
        """H x W x 3. Each access decodes the image: access it in a worker thread."""
        return decode_image(self.data)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, read from the header."""
        return image_size(self.data)

    @property
    def camera(self) -> View:
        return self.facts.camera.source if self.view == "source" else self.facts.camera.target

    @property
    def exact_metric(self) -> F32 | None:
        """Exact planar depth H x W in meters, 0 where there is none; None if unknown. Raises CodecError."""
        info = self.facts.source_metric if self.view == "source" else self.facts.metric
        return decode_depth(self.metric, info) if self.metric else None

    @property
    def objects(self) -> list[SceneObject]:
        return self.facts.objects


class Estimator(Protocol):
    """A loaded model. Gives each picture's maps by name: those of the stage's layer, and maps of other layers."""

    def __call__(self, pictures: Sequence[Picture]) -> Sequence[Mapping[str, Map] | Reject]: ...


@dataclass(frozen=True)
class EstimatedMap(Stage, ABC):
    """Base of the stages. Columns as in `annotators.exact`: `<layer>`, `source_<layer>`, `maps`.

    Layer `metric` also has `confidence` and `source_confidence`. Maps of other layers that the model gives as well are
    in columns of their own names, with their MapInfo in `other_maps`.
    """

    layer: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ("pair",)
    version: ClassVar[int] = 1
    own_pool: ClassVar[bool] = True
    renamed: ClassVar[Mapping[str, str]] = {"call_size": "samples_per_call"}

    model: str = ""
    """Hub id, or a folder (for models of one file: the file) that exists on every node."""
    revision: str = ""
    """Branch, tag or commit on the hub; empty: the default branch."""
    dtype: Dtype = "auto"
    compile: bool = False
    """Use `torch.compile`: takes minutes at the start, then runs faster."""
    views: tuple[ViewName, ...] = ("source", "target")
    batch_size: int = field(default=16, metadata={"fingerprint": False})
    """Images per forward pass. Halved permanently if memory runs out."""
    samples_per_call: int = field(default=64, metadata={"fingerprint": False})
    """Samples per call of the stage. Within a call, decoding, inference and encoding overlap."""
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
        """Threads that decode, resize and encode while the model runs."""
        return max(2, int(self.cpus))

    @abstractmethod
    def setup(self) -> Estimator:
        """Load the model. Raises BadInput if a package or checkpoint is missing."""

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
            complete = _with_confidence(maps) if self.layer == "metric" else maps
            for base, (data, info) in complete.items():
                name = base if view == "target" else f"source_{base}"
                columns[name] = data
                (infos if layer_of(base) == self.layer else others)[name] = info.model_dump()
        extra = {"other_maps": json.dumps(others, sort_keys=True)} if others else {}
        return Row({**columns, "maps": json.dumps(infos, sort_keys=True), **extra})


def _estimates(model: Estimator, pictures: Sequence[Picture | Reject]) -> list[Mapping[str, Map] | Reject]:
    """The maps of each picture, or a reject if its pixels cannot be decoded.

    Models decode in their own threads, so an image with a valid header and damaged pixels makes the whole call fail.
    Only then is every picture decoded here, and the model is called again without the damaged ones.
    """
    readable = [picture for picture in pictures if isinstance(picture, Picture)]
    try:
        estimates = iter(model(readable))
    except CodecError:
        checked = [_decodable(picture) if isinstance(picture, Picture) else picture for picture in pictures]
        if checked == pictures:
            raise  # the error is not in an image
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
    """Add a confidence map if the model gives none: 1 where there is depth, else 0."""
    if "confidence" in maps:
        return maps
    return {**maps, "confidence": encode_default_confidence(maps["metric"][0], estimator="known", revision="")}


def _pictures(sample: Sample, views: Sequence[ViewName]) -> Iterator[Picture | Reject]:
    """One picture per view; a reject, which never reaches the model, if the header is not that of an image."""
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
