"""The interface of the Metric3D v2 backends: `metric3d_onnx` (ONNX Runtime) and `metric3d_hub` (torch).

Invariant: a backend takes canvases of sRGB 0..255 and gives depth for the canonical camera (focal length 1000 px) and
normals of the same height and width, in float32, whatever the tensor names, precision and fixed batch size of the
model. A model that does not fit is reported in one line when it is loaded, not in the middle of a run.
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
    """The model's output for one canvas (H, W)."""

    depth: F32
    """H x W, planar z for a focal length of 1000 px."""
    normals: F32 | None
    """3 x H x W in the camera frame, not normalized; None if the model gives none."""
    confidence: F32 | None = None
    """H x W, larger where the depth is more certain; None if the model gives none."""


class Backend(Protocol):
    """A loaded model."""

    @property
    def name(self) -> str:
        """Name for the maps' `estimator`."""
        ...

    @property
    def revision(self) -> str: ...
    @property
    def canvas(self) -> tuple[int, int]:
        """Height and width of the input."""
        ...

    def __call__(self, canvases: Sequence[F32]) -> list[Prediction]:
        """Predict for canvases (3, H, W), sRGB 0..255. Raises SpatialdataError if maps do not have the canvas's
        size."""
        ...


@dataclass(frozen=True)
class BackendOptions:
    """Options of a stage that backends share."""

    layer: str
    model: str
    revision: str
    normals: bool
    """Whether normals are needed."""
    canvas: tuple[int, int]
    """Height and width; zeros: the model's own."""
    gpus: float
    threads: int


def family_canvas(name: str) -> tuple[int, int]:
    """Height and width at which a model of this name was trained."""
    return _CONVNEXT_CANVAS if "convnext" in name.lower() else _VIT_CANVAS


def check_map_size(name: str, found: tuple[int, ...], canvas: tuple[int, int]) -> None:
    """Raises SpatialdataError if maps do not have the canvas's height and width."""
    if tuple(found) != canvas:
        raise SpatialdataError(
            f"{name} gives maps of {list(found)} for a canvas of {list(canvas)}: choose a canvas whose sides are "
            "multiples of 28"
        )


def first_line(error: BaseException) -> str:
    """The first line of an error message of another package."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
