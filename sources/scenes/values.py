"""Plain values that specifications of scenes, rooms and gardens share. Floats are rounded to six decimals."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

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


@dataclass(frozen=True)
class TexturedSurface(Surface):
    """A surface with the maps of a PBR texture set.

    What `Surface` says is that of the procedural one in its place; only `rotation_deg` and `seed` are used.
    """

    texture: str
    """Name of the set."""
    maps: Mapping[str, str]
    """File of each map, by `materials.table.MapName`."""
    repeat_m: tuple[float, float]
    """Width and height of the image in the world, meters."""


OWN_HDRIS: Final = ("city", "courtyard", "forest", "interior", "night", "studio", "sunrise", "sunset")
"""HDRIs that ship with Blender."""


@dataclass(frozen=True)
class Light:
    """An HDRI, turned about z and scaled."""

    hdri: str
    """One of `OWN_HDRIS`, else a file, which is first scaled to the mean radiance of Blender's own."""
    rotation_deg: float
    strength: float


@dataclass(frozen=True)
class CameraPose:
    """Pinhole camera. `K` 3x3 pixels and `world_from_camera` 4x4, both row-major, OpenCV axes."""

    K: tuple[float, ...]
    world_from_camera: tuple[float, ...]
