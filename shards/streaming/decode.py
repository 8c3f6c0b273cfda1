"""A member's bytes become an array in a batch's buffer, each by its own codec.

Invariant: 16-bit depth stays 16-bit, labels stay labels: metric depth comes in metres (0 where there is none), relative
inverse depth in 0..1, normals as unit vectors (zero where there is none), masks as booleans, images as asked.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from shards.codecs import (
    decode_depth,
    decode_depth_pixels,
    decode_image,
    decode_labels,
    decode_lines,
    decode_mask,
    decode_normals,
)
from shards.schema import MapInfo

ImageKind = Literal["uint8", "float"]
Array = NDArray[Any]


@dataclass(frozen=True)
class Decoder:
    """What a member becomes: `dtype`, trailing `channels` (0: none), and how."""

    dtype: Any
    channels: int
    decode: Callable[[bytes, Mapping[str, Any]], Array]


def decoder_of(member: str, images: ImageKind) -> Decoder:
    """The decoder of a member by its name without extension.

    Args:
        images: `uint8` as stored, or `float`: float32 in [-1, 1].
    """
    kind = member.removeprefix("source_") if member != "source_instances" else "target_instances"
    if kind in ("source", "target"):
        return _IMAGES[images]
    return _MAPS[kind]


def _image(data: bytes, info: Mapping[str, Any]) -> Array:
    return decode_image(data)


def _signed_image(data: bytes, info: Mapping[str, Any]) -> Array:
    pixels = np.multiply(decode_image(data), np.float32(2 / 255), dtype=np.float32)
    pixels -= 1
    return pixels


def _relative(data: bytes, info: Mapping[str, Any]) -> Array:
    """(value - min) / (max - min) of the map."""
    span = max(float(info["max"]) - float(info["min"]), 1e-12)
    depth = np.multiply(decode_depth_pixels(data), np.float32(info["scale"] / span), dtype=np.float32)
    return np.minimum(depth, 1, out=depth)


def _metric(data: bytes, info: Mapping[str, Any]) -> Array:
    return decode_depth(data, MapInfo.model_validate(info))


def _normal(data: bytes, info: Mapping[str, Any]) -> Array:
    return decode_normals(data)


def _labels(data: bytes, info: Mapping[str, Any]) -> Array:
    return decode_labels(data)


def _lines(data: bytes, info: Mapping[str, Any]) -> Array:
    return decode_lines(data)


def _mask(data: bytes, info: Mapping[str, Any]) -> Array:
    return decode_mask(data)


_IMAGES: Final[dict[str, Decoder]] = {
    "uint8": Decoder(np.uint8, 3, _image),
    "float": Decoder(np.float32, 3, _signed_image),
}
_MAPS: Final[dict[str, Decoder]] = {
    "depth": Decoder(np.float32, 0, _relative),
    "metric": Decoder(np.float32, 0, _metric),
    "normal": Decoder(np.float32, 3, _normal),
    "segment": Decoder(np.uint16, 0, _labels),
    "target_instances": Decoder(np.uint16, 0, _labels),
    "line": Decoder(np.uint8, 0, _lines),
    "changed": Decoder(np.bool_, 0, _mask),
}
NEEDS_INFO: Final = ("depth", "metric")
"""Maps that cannot be read without their entry in the json's `maps`."""
