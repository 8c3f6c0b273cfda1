"""Decodes a member's bytes into an array of a batch, each member with its own codec.

Invariant: 16-bit depth keeps its precision, and labels stay integers. Metric depth is in meters (0 where there is
none), its confidence in the estimator's own values, relative inverse depth in 0..1, normals are unit vectors (zero
where there is no surface), masks are booleans, and images have the requested type.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from ..codecs import (
    decode_confidence,
    decode_depth,
    decode_depth_pixels,
    decode_image,
    decode_labels,
    decode_lines,
    decode_mask,
    decode_normals,
)
from ..errors import BadInput
from ..layout import TEXT_EXTENSIONS, split_field
from ..schema import MapInfo

ImageKind = Literal["uint8", "float"]
Array = NDArray[Any]


@dataclass(frozen=True)
class Decoder:
    """Array type and decoding function of a member.

    `decode` takes the bytes, the member's entry in the json's `maps`, and an array to write into if its shape matches;
    it returns that array or another one. Raises ValueError for bytes that cannot be decoded.
    """

    dtype: Any
    decode: Callable[[bytes, Mapping[str, Any], Array | None], Array]


def decoder_of(field: str, images: ImageKind) -> Decoder:
    """The decoder of a member by its file name behind the key: by its name, or of a member that the package does not
    know by its extension. Raises BadInput where there is none.

    Args:
        images: `uint8` as stored, or `float`: float32 in [-1, 1].
    """
    member, extension = split_field(field)
    kind = member.removeprefix("source_") if member != "source_instances" else "target_instances"
    if kind in ("source", "target"):
        return _IMAGES[images]
    if kind in _MAPS:
        return _MAPS[kind]
    if extension == "webp":
        return _IMAGES[images]
    if extension == "png":
        return _LABELS
    raise BadInput(f"member {member} cannot be decoded: members are source, target, {', '.join(_MAPS)}")


def is_text(field: str) -> bool:
    """Whether a member is text, or JSON; the record is neither."""
    return field != "json" and split_field(field)[1] in TEXT_EXTENSIONS


def decode_text(field: str, data: bytes) -> Any:
    """Text, or the value of JSON. Raises ValueError."""
    return json.loads(data) if split_field(field)[1] == "json" else data.decode()


def _signed_image(data: bytes, info: Mapping[str, Any], out: Array | None) -> Array:
    pixels = decode_image(data)
    signed = np.multiply(pixels, np.float32(2 / 255), out=_out_if_same_shape(out, pixels), dtype=np.float32)
    signed -= 1
    return signed


def _relative(data: bytes, info: Mapping[str, Any], out: Array | None) -> Array:
    """(value - min) / (max - min), with the map's own min and max."""
    pixels = decode_depth_pixels(data)
    span = max(float(info["max"]) - float(info["min"]), 1e-12)
    depth = np.multiply(pixels, np.float32(info["scale"] / span), out=_out_if_same_shape(out, pixels), dtype=np.float32)
    return np.minimum(depth, 1, out=depth)


def _metric(data: bytes, info: Mapping[str, Any], out: Array | None) -> Array:
    return decode_depth(data, MapInfo.model_validate(info))


def _confidence(data: bytes, info: Mapping[str, Any], out: Array | None) -> Array:
    return decode_confidence(data, MapInfo.model_validate(info))


def _out_if_same_shape(out: Array | None, pixels: Array) -> Array | None:
    return out if out is not None and out.shape == pixels.shape else None


def _from_bytes(decode: Callable[[bytes], Array]) -> Callable[[bytes, Mapping[str, Any], Array | None], Array]:
    """A decoder that needs only the bytes, and returns a new array."""
    return lambda data, info, out: decode(data)


_LABELS: Final = Decoder(np.uint16, _from_bytes(decode_labels))
_IMAGES: Final[dict[str, Decoder]] = {
    "uint8": Decoder(np.uint8, _from_bytes(decode_image)),
    "float": Decoder(np.float32, _signed_image),
}
_MAPS: Final[dict[str, Decoder]] = {
    "depth": Decoder(np.float32, _relative),
    "metric": Decoder(np.float32, _metric),
    "confidence": Decoder(np.float32, _confidence),
    "normal": Decoder(np.float32, _from_bytes(decode_normals)),
    "segment": _LABELS,
    "target_instances": _LABELS,
    "line": Decoder(np.uint8, _from_bytes(decode_lines)),
    "changed": Decoder(np.bool_, _from_bytes(decode_mask)),
}
NEEDS_INFO: Final = ("depth", "metric", "confidence")
"""Maps that cannot be decoded without their entry in the json's `maps`."""
