"""Plain values that specifications of scenes, rooms and gardens share. Floats are rounded to six decimals."""

from dataclasses import dataclass
from typing import Literal

SurfaceKind = Literal[
    "wood",
    "tile",
    "concrete",
    "carpet",
    "grass",
    "plaster",
    "brick",
    "paint",
    "wallpaper",
    "lacquer",
    "cloth",
    "gravel",
]


@dataclass(frozen=True)
class Surface:
    """A procedural material, evaluated in world coordinates."""

    kind: SurfaceKind
    colour: tuple[float, float, float]
    """Linear RGB, 0 to 1."""
    accent: tuple[float, float, float]
    scale_m: float
    """Size of one board, tile or grain."""
    rotation_deg: float
    roughness: float
    seed: int


Hdri = Literal["city", "courtyard", "forest", "interior", "night", "studio", "sunrise", "sunset"]


@dataclass(frozen=True)
class Light:
    """One of Blender's own HDRIs, turned about z and scaled."""

    hdri: Hdri
    rotation_deg: float
    strength: float


@dataclass(frozen=True)
class CameraPose:
    """Pinhole camera. `K` 3x3 pixels and `world_from_camera` 4x4, both row-major, OpenCV axes."""

    K: tuple[float, ...]
    world_from_camera: tuple[float, ...]
