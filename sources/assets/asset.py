"""What scenes need to know about a 3D model."""

from dataclasses import dataclass
from typing import Final

_UPRIGHT: Final = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Asset:
    """One usable 3D model, as measured by the asset survey or by the procedural generator."""

    uid: str
    path: str
    """Relative to the source's root. Of a procedural asset: its uid."""
    category: str
    """Lower-case noun such as `coffee machine`; empty if unknown."""
    colour: str
    """A plain color name that fits the whole object; empty if there is none."""
    licence: str
    """License, as the source names it. A model with several uids has all their licenses, joined."""
    creator: str
    scale: float
    """Meters per file unit."""
    offset: tuple[float, float, float]
    """Object frame = scale * axes @ (x, -z, y of the file) + offset, in meters."""
    size_m: tuple[float, float, float]
    """Width (x), depth (y) and height (z) of the object frame's bounding box."""
    footprint: tuple[tuple[float, float], ...]
    """Convex hull of the object's points seen from above: object frame, meters, counter-clockwise, 3 to 24 points."""
    triangles: int
    contact: tuple[float, float] = (0.0, 0.0)
    """Center of the area that the object stands on, object frame, meters. Rotating or scaling does not move it."""
    front_deg: float | None = None
    """Direction that the front faces, degrees about z from +x, in the object frame; None if unknown."""
    rotatable: bool = True
    """False if a rotation about z cannot be seen (a ball, a plain vase)."""
    symmetry: int = 1
    """n: rotations by multiples of 360/n degrees about z cannot be seen in the shape and the colors of large parts."""
    supports: float = 0.0
    """Height in meters of the inner floor of a box-like container that can hold another object; 0 if it is none."""
    opening: tuple[float, float] = (0.0, 0.0)
    """Inner width and depth of that container, meters."""
    cut: bool = False
    """Whether invisible parts of the file (alpha 0) extend beyond the box. They are ignored."""
    axes: tuple[float, ...] = _UPRIGHT
    """3x3, row-major: the rotation by quarter turns that lays a thin object down (`thin.lay_down`)."""
    size_note: str = ""
    """How the survey interpreted a known size that is not in meters; empty otherwise."""
    family: str = ""
    """Name of its shape. All assets of a family are in one split. Empty if each uid has a shape of its own."""
    model: str = ""
    """Name of its shape and look. Assets of one model are the same object under several uids. Empty as above."""

    @property
    def laid(self) -> bool:
        """Whether the survey laid the object down."""
        return self.axes != _UPRIGHT
