"""What Metric3D v2 takes and gives, whichever way it is run: `metric3d_onnx` (ONNX Runtime), `metric3d_hub` (torch).

Invariant: a backend takes canvases of sRGB 0..255 and gives depth for the canonical camera (focal length 1000 px) and
normals of the same height and width, in float32, whatever the names, precision and fixed batch of the model. What a
model lacks is one line when it is loaded, not a failure in the middle of a run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ..shards.codecs import F32
from ..shards.errors import SpatialdataError

MEAN: Final = (123.675, 116.28, 103.53)
DEVIATION: Final = (58.395, 57.12, 57.375)
_VIT_CANVAS: Final = (616, 1064)
_CONVNEXT_CANVAS: Final = (544, 1216)


@dataclass(frozen=True)
class Prediction:
    """What the model says of one canvas (H, W)."""

    depth: F32
    """H x W, planar z for a focal length of 1000 px."""
    normals: F32 | None
    """3 x H x W in the camera frame, not yet of unit length; None where the model gives none."""
    confidence: F32 | None = None
    """H x W, of the depth, larger where it is more certain; None where the model gives none."""


class Backend(Protocol):
    """A loaded model."""

    @property
    def name(self) -> str:
        """What the maps' `estimator` says."""
        ...

    @property
    def revision(self) -> str: ...
    @property
    def canvas(self) -> tuple[int, int]:
        """Height and width of what it takes."""
        ...

    def __call__(self, canvases: Sequence[F32]) -> list[Prediction]:
        """Canvases (3, H, W), sRGB 0..255. Raises SpatialdataError for maps of another size than the canvas."""
        ...


@dataclass(frozen=True)
class Wish:
    """What a stage asks of a backend."""

    layer: str
    model: str
    revision: str
    normals: bool
    """Whether they are needed."""
    canvas: tuple[int, int]
    """Zeros: the model's own."""
    gpus: float
    threads: int


def family_canvas(name: str) -> tuple[int, int]:
    """Height and width that a model of this name was trained at."""
    return _CONVNEXT_CANVAS if "convnext" in name.lower() else _VIT_CANVAS


def expect_canvas(name: str, found: tuple[int, ...], canvas: tuple[int, int]) -> None:
    """Raises SpatialdataError where maps do not have the canvas's height and width."""
    if tuple(found) != canvas:
        raise SpatialdataError(
            f"{name} gives maps of {list(found)} for a canvas of {list(canvas)}: choose a canvas whose sides are "
            "multiples of 28"
        )


def first_line(error: BaseException) -> str:
    """Of another package's message, for ours."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
