"""What a scene must know of a 3D model."""

from dataclasses import dataclass
from typing import Final

_UPRIGHT: Final = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Asset:
    """One usable 3D model, as the asset survey (or the procedural generator) knows it."""

    uid: str
    path: str
    """Relative to the source's root; for procedural assets the generator's own name for it."""
    category: str
    """Lower-case noun, `coffee machine`; empty where unknown."""
    colour: str
    """A plain colour name that fits the whole of the object, empty where none does."""
    licence: str
    """As the source names it; of a model with several uids the licences of all, joined (`shards.licenses.joined`)."""
    creator: str
    scale: float
    """Metres per file unit."""
    offset: tuple[float, float, float]
    """Object frame = scale * axes @ (x, -z, y of the file) + offset, in metres."""
    size_m: tuple[float, float, float]
    """Width (x), depth (y) and height (z) of the object frame's bounding box."""
    footprint: tuple[tuple[float, float], ...]
    """Convex hull of the object's points seen from above, object frame, metres, counter-clockwise, 3 to 24 points."""
    triangles: int
    contact: tuple[float, float] = (0.0, 0.0)
    """Center of what the object stands on, object frame, metres: turns and changes of size leave it where it is."""
    front_deg: float | None = None
    """Direction that the front faces, degrees about z from +x, in the object frame; None where unknown."""
    rotatable: bool = True
    """False where a turn about z cannot be seen (a ball, a plain vase)."""
    symmetry: int = 1
    """n: turns by multiples of 360/n degrees about z cannot be seen, as far as shape and large parts' colours tell."""
    supports: float = 0.0
    """Height in metres of the inner floor of a box-like container that can take another object, 0 for none."""
    opening: tuple[float, float] = (0.0, 0.0)
    """Inner width and depth in metres of that container."""
    cut: bool = False
    """Whether parts of the file that cannot be seen (of alpha 0) reach out of the box: they do not count."""
    axes: tuple[float, ...] = _UPRIGHT
    """3x3, row-major: a rotation by quarter turns, by which a thin thing was laid down (`thin.lay_down`)."""
    size_note: str = ""
    """What the survey made of a known size that is not plain meters; empty otherwise."""
    family: str = ""
    """Names its shape: assets of one family are in one split. Empty where every uid is a shape of its own."""
    model: str = ""
    """Names its shape and look: assets of one model are one thing under several uids. Empty as above."""

    @property
    def laid(self) -> bool:
        """Whether the survey laid it down."""
        return self.axes != _UPRIGHT
