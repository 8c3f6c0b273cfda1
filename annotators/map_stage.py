"""Base of the stages that need no model: one image in, one member out."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from ..shards import codecs
from ..shards.codecs import U8, CodecError
from ..shards.errors import BadInput, SpatialdataError
from ..shards.recipes import ViewName
from ..shards.sample import Reject, Result, Row, Sample, Value
from ..shards.schema import MapInfo
from ..shards.stage import Stage

Map = tuple[bytes, MapInfo]


@dataclass(frozen=True)
class MapStage(Stage, ABC):
    """A stage sets `layer` and `version`, adds its options, and says in `annotate` what an image gives.

    What it gives depends on the layer, H and W being those of the image: `line` uint8 (H, W), dark on white; `depth`
    float (H, W), inverse depth; `metric` float (H, W), planar depth in meters, 0 where there is none; `normal` float
    (H, W, 3), unit length, camera frame; `segment` integers (H, W), 0 background. In a layer that the package does not
    know, `member` decides: `png` integers (H, W) of 0 to 65535, `webp` uint8 (H, W, 3) sRGB, `txt` text, `json` a
    dictionary.

    An image that cannot be decoded is a reject, `unreadable_image`.
    """

    needs: ClassVar[tuple[str, ...]] = ("pair",)
    estimator: ClassVar[str] = ""
    """What `maps` of a sample calls it; empty: the name of the class."""

    views: tuple[ViewName, ...] = ("source", "target")
    batch_size: int = field(default=8, metadata={"fingerprint": False})
    cpus: float = field(default=1.0, metadata={"fingerprint": False})
    gpus: float = field(default=0.0, metadata={"fingerprint": False})

    def __post_init__(self) -> None:
        if not self.views or len(set(self.views)) < len(self.views):
            raise BadInput(f"layers.{self.layer}.views: give source, target or both, each once")

    @property
    def columns(self) -> Mapping[str, tuple[str, ...]]:
        return {"pair": self.views}

    @abstractmethod
    def annotate(self, image: U8) -> Any:
        """What an image gives, uint8 (H, W, 3) sRGB."""

    def __call__(self, model: None, samples: Sequence[Sample]) -> Sequence[Result]:
        return [self._row(sample) for sample in samples]

    def _row(self, sample: Sample) -> Result:
        columns: dict[str, Value] = {}
        infos: dict[str, object] = {}
        for view in self.views:
            data = sample["pair"][view]
            try:
                image = codecs.decode_image(data if isinstance(data, bytes) else b"")
            except CodecError as error:
                return Reject("unreadable_image", detail=f"the {view} image: {error}")
            for base, (value, info) in self._encoded(self.annotate(image)).items():
                name = base if view == "target" else f"source_{base}"
                columns[name] = value
                if info is not None:
                    infos[name] = info.model_dump()
        return Row({**columns, "maps": json.dumps(infos, sort_keys=True)} if infos else columns)

    def _encoded(self, found: Any) -> Mapping[str, tuple[Value, MapInfo | None]]:
        estimator, revision = self.estimator or type(self).__name__, str(self.version)
        if self.layer == "metric":
            data, info = codecs.encode_metric(found, estimator=estimator, revision=revision)
            return {
                "metric": (data, info),
                "confidence": codecs.encode_default_confidence(data, estimator="known", revision=""),
            }
        if self.layer in _MAPS:
            return {self.layer: _MAPS[self.layer](found, estimator, revision)}
        if self.member in _OWN:
            return {self.layer: (_OWN[self.member](found), None)}
        raise SpatialdataError(
            f"stage {type(self).__name__} (layer '{self.layer}') is a MapStage without a member: set its `member` to "
            f"{', '.join(_OWN)}"
        )


def _depth(found: Any, estimator: str, revision: str) -> Map:
    return codecs.encode_relative(found, estimator=estimator, revision=revision)


def _normal(found: Any, estimator: str, revision: str) -> Map:
    return codecs.encode_normals(found), codecs.map_info("normal", estimator=estimator, revision=revision)


def _segment(found: Any, estimator: str, revision: str) -> Map:
    labels = codecs.relabel(found)
    return codecs.encode_labels(labels), codecs.map_info(
        "segments", estimator=estimator, revision=revision, count=int(labels.max())
    )


def _line(found: Any, estimator: str, revision: str) -> Map:
    return codecs.encode_lines(found), codecs.map_info("lines", estimator=estimator, revision=revision)


_MAPS: Final[Mapping[str, Callable[[Any, str, str], Map]]] = {
    "depth": _depth,
    "normal": _normal,
    "segment": _segment,
    "line": _line,
}


def _image(found: Any) -> bytes:
    return codecs.encode_image(found, "webp")


def _json(found: Any) -> str:
    return json.dumps(found, sort_keys=True, ensure_ascii=False, allow_nan=False)


_OWN: Final[Mapping[str, Callable[[Any], Value]]] = {
    "png": codecs.encode_labels,
    "webp": _image,
    "txt": str,
    "json": _json,
}
