"""The intrinsic maps of an image as the channels of one tensor, and back.

Invariant: every channel lies in [-1, 1], as the base VAE expects of an image, and channels are in the order of
`MapLayout.names`. Segment labels have no numeric meaning. Each label becomes a color of a fixed sequence in which
consecutive labels are far apart (the additive recurrence of the generalized golden ratio), so that the largest regions,
which have the smallest labels, differ most. Colors have three channels by default, which distinguishes many regions;
with one channel they are gray levels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from ...shards.errors import BadInput

MapName = Literal["depth", "normal", "segment", "line"]
ViewName = Literal["source", "target"]
MAPS: Final[tuple[MapName, ...]] = ("depth", "normal", "segment", "line")
Floats = NDArray[np.float32]
_CHANNELS: Final[Mapping[str, int]] = {"depth": 1, "normal": 3, "line": 1}
_LABELS: Final = 1 << 16


@dataclass(frozen=True)
class MapLayout:
    """The assignment of maps to channels."""

    names: tuple[MapName, ...] = MAPS
    segment_channels: int = 3

    @property
    def slices(self) -> dict[MapName, slice]:
        """The channels of each map, in order."""
        found: dict[MapName, slice] = {}
        start = 0
        for name in self.names:
            found[name] = slice(start, start + _CHANNELS.get(name, self.segment_channels))
            start = found[name].stop
        return found

    @property
    def channels(self) -> int:
        return sum(_CHANNELS.get(name, self.segment_channels) for name in self.names)

    def pack(self, batch: Mapping[str, Any], view: ViewName) -> Floats:
        """The maps of one view of a batch of `shards.stream`: float32 (B, channels, H, W) in [-1, 1].

        Depth is relative inverse depth, near = 1. Normals are unchanged, 0 where there is no surface. The background
        segment is -1 in all channels. Lines are -1 on a background of 1. Raises BadInput that names a missing map.
        """
        members: dict[MapName, str] = {name: name if view == "target" else f"source_{name}" for name in self.names}
        for name, member in members.items():
            if member not in batch:
                raise BadInput(
                    f"I-LDM needs {member}: build layer `{name}` with views [source, target] and pack recipe ildm, or "
                    "remove the map from recipe.maps or the view from recipe.views"
                )
        planes = [self._scale(name, np.asarray(batch[member])) for name, member in members.items()]
        return np.ascontiguousarray(np.concatenate(planes, axis=-1).transpose(0, 3, 1, 2))

    def unpack(self, stack: Floats) -> dict[str, NDArray[Any]]:
        """The maps by name, from the output of a VAE, float (B, channels, H, W).

        `depth` float32 (B, H, W) in [0, 1], near = 1; `normal` float32 (B, H, W, 3), unit vectors, or 0 where the VAE's
        output is near 0; `segment` uint8 colors (B, H, W, 3), or gray (B, H, W); `line` uint8 (B, H, W), dark on white.
        """
        found: dict[str, NDArray[Any]] = {}
        for name, where in self.slices.items():
            plane = np.clip(stack[:, where].astype(np.float32), -1, 1).transpose(0, 2, 3, 1)
            plane = plane[..., 0] if plane.shape[-1] == 1 else plane
            if name == "depth":
                found[name] = (plane + 1) / 2
            elif name == "normal":
                found[name] = _unit(plane)
            else:
                found[name] = _bytes(plane)
        return found

    def pictures(self, stack: Floats) -> dict[str, NDArray[np.uint8]]:
        """The maps as images: uint8 (B, H, W, 3) by name."""
        shown: dict[str, NDArray[np.uint8]] = {}
        for name, plane in self.unpack(stack).items():
            if plane.dtype != np.uint8:
                plane = _bytes(plane if name == "normal" else plane * 2 - 1)
            shown[name] = plane if plane.ndim == 4 else np.repeat(plane[..., None], 3, axis=-1)
        return shown

    def _scale(self, name: MapName, plane: NDArray[Any]) -> Floats:
        if name == "segment":
            return palette(self.segment_channels)[plane]
        if name == "normal":
            return plane.astype(np.float32, copy=False)
        scaled = plane.astype(np.float32) * (2 / 255 if name == "line" else 2) - 1
        return scaled[..., None]


@cache
def palette(channels: int) -> Floats:
    """The color of each label: float32 (65536, channels) in [-1, 1]. Label 0, the background, is -1 in all channels.

    Label k has frac(1/2 + k · g^-j), mapped to [-1, 1], in channel j = 1, 2, ..., where g solves
    g^(channels + 1) = g + 1.
    """
    root = 2.0
    for _ in range(64):
        root = (1 + root) ** (1 / (channels + 1))
    steps = root ** -np.arange(1, channels + 1, dtype=np.float64)
    colors = (0.5 + np.arange(_LABELS)[:, None] * steps) % 1 * 2 - 1
    colors[0] = -1
    table = colors.astype(np.float32)
    table.setflags(write=False)
    return table


def _unit(vectors: Floats) -> Floats:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 1e-6)


def _bytes(plane: Floats) -> NDArray[np.uint8]:
    return np.rint((plane + 1) * 127.5).astype(np.uint8)
