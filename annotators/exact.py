"""Maps that the maker of a pair knows exactly, turned into the members of a sample. No model guesses here.

Invariant: a map is exact or the sample is rejected (`no_exact_map`); a pair without exact maps (released images)
needs a layer made by a model instead. Columns: each map's member, and `maps`, JSON of {member: MapInfo}.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Final

import cv2
import numpy as np

from ..shards.codecs import (
    F32,
    Labels,
    decode_depth,
    decode_labels,
    decode_normals,
    encode_default_confidence,
    encode_labels,
    encode_lines,
    encode_relative,
    map_info,
    relabel,
)
from ..shards.geometry import matrix3
from ..shards.recipes import ViewName
from ..shards.sample import Columns, Reject, Result, Row, Sample
from ..shards.schema import MapInfo, PairFacts
from ..shards.stage import Stage
from .lines import draw_lines


@dataclass(frozen=True)
class _View:
    """One image of a pair: its exact maps, encoded and (once asked for) decoded."""

    pair: Columns
    facts: PairFacts
    name: ViewName

    def bytes(self, member: str) -> bytes:
        """The encoded member of this view in the pair, empty where the maker does not know it."""
        data = self.pair.get(self.member(member), b"")
        return data if isinstance(data, bytes) else b""

    def member(self, member: str) -> str:
        return member if self.name == "target" else f"source_{member}"

    @property
    def metric_info(self) -> MapInfo:
        return self.facts.metric if self.name == "target" else self.facts.source_metric

    @property
    def normal_info(self) -> MapInfo:
        return self.facts.normal if self.name == "target" else self.facts.source_normal

    @cached_property
    def labels(self) -> Labels:
        data = self.pair[f"{self.name}_instances"]
        return decode_labels(data if isinstance(data, bytes) else b"")

    @cached_property
    def depth(self) -> F32:
        return decode_depth(self.bytes("metric"), self.metric_info)


Map = tuple[bytes, MapInfo]


@dataclass(frozen=True)
class _Exact(Stage, ABC):
    """What the stages of this module share; `_made` gives one view's maps, or the name of the exact map it lacks."""

    layer: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ("pair",)
    version: ClassVar[int] = 1
    maps: ClassVar[tuple[str, ...]]
    """The exact maps of each view that are looked at: `metric`, `normal`, `parts`, `instances`."""

    views: tuple[ViewName, ...] = ("source", "target")
    """Which images get the map: the target's member is `<layer>`, the source's `source_<layer>`."""
    batch_size: int = field(default=8, metadata={"fingerprint": False})
    cpus: float = field(default=1.0, metadata={"fingerprint": False})
    gpus: float = field(default=0.0, metadata={"fingerprint": False})

    @property
    def columns(self) -> dict[str, tuple[str, ...]]:
        bare = [name for name in self.maps if name != "instances"]
        wanted = {"target": bare, "source": [f"source_{name}" for name in bare]}
        masks = [f"{view}_instances" for view in self.views if "instances" in self.maps]
        return {"pair": ("facts", *masks, *(name for view in self.views for name in wanted[view]))}

    def __call__(self, model: None, samples: Sequence[Sample]) -> Sequence[Result]:
        return [self._annotate(sample) for sample in samples]

    def _annotate(self, sample: Sample) -> Result:
        pair = sample["pair"]
        facts = PairFacts.model_validate_json(str(pair["facts"]))
        columns: dict[str, bytes] = {}
        infos: dict[str, dict[str, object]] = {}
        for side in self.views:
            view = _View(pair, facts, side)
            made = self._made(view)
            if isinstance(made, str):
                detail = f"{facts.dataset} has no exact {made} of the {side} image: give layer `{self.layer}` a model"
                return Reject("no_exact_map", detail=f"{detail} in `layers`, or leave it out")
            for name, (data, info) in made.items():
                columns[view.member(name)] = data
                infos[view.member(name)] = info.model_dump()
        return Row({**columns, "maps": json.dumps(infos, sort_keys=True)})

    @abstractmethod
    def _made(self, view: _View) -> dict[str, Map] | str: ...


@dataclass(frozen=True)
class ExactMetric(_Exact):
    """Planar depth in metres: the renderer's own bytes, passed through; `confidence` is 1 where there is depth."""

    layer: ClassVar[str] = "metric"
    maps: ClassVar[tuple[str, ...]] = ("metric",)
    version: ClassVar[int] = 2

    def _made(self, view: _View) -> dict[str, Map] | str:
        data, info = view.bytes("metric"), view.metric_info
        if not data:
            return "metric depth"
        known = encode_default_confidence(data, estimator=info.estimator, revision=info.revision)
        return {"metric": (data, info), "confidence": known}


@dataclass(frozen=True)
class ExactNormal(_Exact):
    """Normals in the camera frame: the renderer's own bytes, passed through."""

    layer: ClassVar[str] = "normal"
    maps: ClassVar[tuple[str, ...]] = ("normal",)

    def _made(self, view: _View) -> dict[str, Map] | str:
        data = view.bytes("normal")
        return {"normal": (data, view.normal_info)} if data else "normals"


@dataclass(frozen=True)
class ExactDepth(_Exact):
    """Relative inverse depth, 1/z with z in metres; what has no depth (open background) is infinitely far: 0."""

    layer: ClassVar[str] = "depth"
    maps: ClassVar[tuple[str, ...]] = ("metric",)

    def _made(self, view: _View) -> dict[str, Map] | str:
        if not view.bytes("metric"):
            return "metric depth"
        z, info = view.depth, view.metric_info
        inverse = np.divide(1.0, z, out=np.zeros_like(z), where=z > 0)
        return {"depth": encode_relative(inverse, estimator=info.estimator, revision=info.revision)}


@dataclass(frozen=True)
class ExactSegments(_Exact):
    """Parts renumbered 1, 2, ... by falling area; 0 is what has no surface (sky).

    A part is one material of one mesh of an object, also where something cuts it into pieces; the floor is one, and so
    is each wall. Small and thin parts are joined (`join_small`). A pair that knows masks alone gets the instance map
    renumbered: a segment is one object, 0 is all else, and its MapInfo says `masks`.
    """

    layer: ClassVar[str] = "segment"
    maps: ClassVar[tuple[str, ...]] = ("instances", "parts", "metric")
    version: ClassVar[int] = 2

    def _made(self, view: _View) -> dict[str, Map] | str:
        parts = view.bytes("parts")
        segments = relabel(join_small(decode_labels(parts), view.labels) if parts else view.labels)
        estimator, revision = _maker(view)
        info = map_info("segments", estimator=estimator, revision=revision, count=int(segments.max()))
        return {"segment": (encode_labels(segments), info)}


LEAST_PART: Final = 1 / 2000
"""Share of the frame from which a part is a segment of its own."""
LEAST_CORE: Final = 0.1
"""Share of its pixels that have none but their own kind around them: less have wires, seams, and surfaces that lie in
one another."""


def join_small(parts: Labels, instances: Labels) -> Labels:
    """Let small and thin parts of an object be of its largest part, which stays whatever its size.

    `parts`, `instances` (H, W): labels, 0 for none; each part lies in one instance. What is no instance stays as it is.
    """
    count = int(parts.max()) + 1
    area = np.bincount(parts.ravel(), minlength=count)
    around = np.ones((3, 3), np.uint8)
    core = cv2.erode(parts.astype(np.uint16), around) == cv2.dilate(parts.astype(np.uint16), around)
    inside = np.bincount(parts[core], minlength=count)
    owner = np.zeros(count, np.int64)
    owner[parts.ravel()] = instances.ravel()
    joined = np.arange(count)
    for instance in np.unique(owner[area > 0]).tolist():
        own = np.flatnonzero((owner == instance) & (area > 0))
        small = own[(area[own] < LEAST_PART * parts.size) | (inside[own] < LEAST_CORE * area[own])]
        if instance:
            joined[small] = own[np.argmax(area[own])]
    return joined[parts].astype(parts.dtype)


@dataclass(frozen=True)
class ExactLines(_Exact):
    """Dark lines on white: borders of instances, depth discontinuities, creases (`annotators.lines`).

    A pair that knows masks but no depth and normals gets the borders alone; its MapInfo says `masks`.
    """

    layer: ClassVar[str] = "line"
    maps: ClassVar[tuple[str, ...]] = ("instances", "metric", "normal")
    version: ClassVar[int] = 2

    def _made(self, view: _View) -> dict[str, Map] | str:
        estimator, revision = _maker(view)
        normal = view.bytes("normal")
        if view.bytes("metric") and normal:
            camera = view.facts.camera.target if view.name == "target" else view.facts.camera.source
            lines = draw_lines(view.labels, view.depth, decode_normals(normal), matrix3(camera.K))
        else:
            lines = draw_lines(view.labels)
            estimator, revision = "masks", ""
        return {"line": (encode_lines(lines), map_info("lines", estimator=estimator, revision=revision))}


def _maker(view: _View) -> tuple[str, str]:
    """Who drew the masks: the renderer where it made the depth, else the source itself."""
    info = view.metric_info
    return (info.estimator, info.revision) if view.bytes("metric") else ("masks", "")
