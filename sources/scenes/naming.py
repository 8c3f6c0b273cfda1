"""Names by which an instruction may call the objects of a scene.

Invariant: the name of an object that is in the source image fits that object and no other object of the source image,
as a viewer of it understands the words. A word is only used where it holds with a margin; where no word does, there is
no name, and the caller samples another scene.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from ...shards.geometry import F64, box_corners, matrix3, matrix4, project, transform
from ..assets.asset import Asset
from .footprints import pose_of
from .spec import CameraPose, Placement, SceneSpec, State

SIZE_RATIO: Final = 1.25
"""The larger of two objects must be so many times as large before it is called larger."""
PLACE_MARGIN: Final = 0.06
"""Share of the image's width (left, right) or of the distance (front, rear) by which places must differ."""

CONFUSABLE: Final[frozenset[frozenset[str]]] = frozenset(
    frozenset(pair)
    for pair in (
        ("black", "dark grey"),
        ("black", "dark brown"),
        ("black", "dark blue"),
        ("white", "light grey"),
        ("white", "beige"),
        ("beige", "light brown"),
        ("beige", "yellow"),
        ("brown", "dark red"),
        ("brown", "orange"),
        ("light brown", "orange"),
        ("red", "orange"),
        ("yellow", "orange"),
        ("green", "turquoise"),
        ("light green", "turquoise"),
        ("blue", "turquoise"),
        ("light blue", "turquoise"),
        ("pink", "purple"),
        ("light blue", "light grey"),
        ("black", "dark purple"),
        ("black", "dark green"),
        ("white", "light pink"),
        ("white", "silver"),
        ("silver", "grey"),
        ("silver", "light grey"),
        ("silver", "light blue"),
        ("gold", "yellow"),
        ("gold", "orange"),
        ("gold", "brown"),
        ("gold", "light brown"),
        ("gold", "beige"),
        ("gold", "olive"),
        ("olive", "green"),
        ("olive", "dark green"),
        ("olive", "brown"),
        ("olive", "dark brown"),
        ("olive", "light brown"),
        ("olive", "yellow"),
        ("olive", "grey"),
        ("olive", "dark grey"),
        ("purple", "blue"),
        ("dark purple", "dark blue"),
        ("light purple", "light blue"),
        ("light purple", "pink"),
        ("light purple", "light pink"),
        ("light purple", "light grey"),
        ("light pink", "beige"),
        ("dark red", "dark brown"),
        ("dark red", "dark purple"),
        ("dark green", "dark grey"),
        ("dark blue", "dark grey"),
        ("light brown", "beige"),
    )
)
"""Colours (`shards.colors.PALETTE`) that people may take for one another: they never tell two objects apart."""


@dataclass(frozen=True)
class _Seen:
    """One object as the camera of its state sees it. Pixels; metres."""

    id: int
    words: tuple[str, ...]
    """The category's words, none where it is unknown."""
    colour: str
    size: float
    """Geometric mean of its three extents in the scene, metres."""
    extent: float
    """The largest of the three."""
    apparent: float
    """Its share of the view's scale: size over distance."""
    u: float
    half_u: float
    """Centre and half width of its bounding box's projection, over the image's width."""
    depth: float
    half_depth: float
    """Of its bounding box along the camera's horizontal forward direction, metres."""

    @property
    def noun(self) -> str:
        return " ".join(self.words) or "object"

    @property
    def coloured(self) -> str:
        return self.noun if not self.colour or f" {self.colour} " in f" {self.noun} " else f"{self.colour} {self.noun}"


def name_objects(spec: SceneSpec) -> dict[int, str] | Literal["ambiguous_name"]:
    """Noun phrase without an article for every object, by id, or why there is none.

    Only the edited objects must have a name of their own (no object, for camera edits); another object that has none
    gets a phrase that it shares, which instructions then avoid. In this order: category (`mug`), colour (`red mug`),
    size (`larger mug`), place in the source image (`left mug`, `front mug`), colour with size or place (`left red
    mug`). An object that is only in the target image (insert) is named by category, or by colour too where the target
    image holds another of its category; no size or place is said of it, and it never fails: an instruction introduces
    it as `a mug`.
    """
    before, after = _seen_objects(spec, spec.source), _seen_objects(spec, spec.target)
    names: dict[int, str] = {}
    for seen in before:
        name = _unambiguous(seen, _rivals(seen, before))
        if name is None and seen.id in spec.edit.edited:
            return "ambiguous_name"
        names[seen.id] = name or seen.coloured
    for seen in after:
        if seen.id not in names:
            names[seen.id] = seen.coloured if _rivals(seen, after) else seen.noun
    return names


def _seen_objects(spec: SceneSpec, state: State) -> list[_Seen]:
    present = [(o, state.placements[o.id]) for o in spec.objects if o.id in state.placements]
    return [_see(o.id, o.asset, place, state.camera, spec.width) for o, place in present if place.present]


def _rivals(seen: _Seen, others: Sequence[_Seen]) -> list[_Seen]:
    """The other objects that the category alone fits as well: `table` fits a coffee table, not the other way round."""
    n = len(seen.words)
    return [other for other in others if other.id != seen.id and other.words[len(other.words) - n :] == seen.words]


def _unambiguous(seen: _Seen, rivals: Sequence[_Seen]) -> str | None:
    if not rivals:
        return seen.noun
    alike = [rival for rival in rivals if not _colours_differ(seen, rival)]
    if seen.coloured != seen.noun and not alike:
        return seen.coloured
    word = _separating_word(seen, rivals)
    if word:
        return f"{word} {seen.noun}"
    word = _separating_word(seen, alike) if len(alike) < len(rivals) and seen.coloured != seen.noun else ""
    return f"{word} {seen.coloured}" if word else None


def _colours_differ(a: _Seen, b: _Seen) -> bool:
    """Whether a viewer tells the two colours apart: an unknown colour could be any, and `blue` fits dark blue too."""
    if not a.colour or not b.colour or a.colour == b.colour or frozenset({a.colour, b.colour}) in CONFUSABLE:
        return False
    return a.colour.split()[-1] != b.colour.split()[-1] or a.colour.count(" ") == b.colour.count(" ") == 1


def _separating_word(seen: _Seen, rivals: Sequence[_Seen]) -> str:
    """A word of size or place that fits `seen` and none of the rivals, or an empty string."""
    pair = len(rivals) == 1
    words: tuple[tuple[str, str, Callable[[_Seen, _Seen], bool]], ...] = (
        ("larger", "largest", lambda a, b: _larger(a, b)),
        ("smaller", "smallest", lambda a, b: _larger(b, a)),
        ("left", "leftmost", lambda a, b: _left_of(a, b)),
        ("right", "rightmost", lambda a, b: _left_of(b, a)),
        ("front", "nearest", lambda a, b: _in_front_of(a, b)),
        ("rear", "farthest", lambda a, b: _in_front_of(b, a)),
    )
    for of_two, of_many, holds in words:
        if all(holds(seen, rival) for rival in rivals):
            return of_two if pair else of_many
    if len(rivals) == 2:
        first, second = sorted(rivals, key=lambda rival: rival.u)
        if _left_of(first, seen) and _left_of(seen, second):
            return "middle"
    return ""


def _larger(a: _Seen, b: _Seen) -> bool:
    """Larger in the world, and not made to look the smaller one by perspective."""
    return a.size > SIZE_RATIO * b.size and a.extent > 1.1 * b.extent and a.apparent > 1.1 * b.apparent


def _left_of(a: _Seen, b: _Seen) -> bool:
    return b.u - a.u > max(PLACE_MARGIN, 0.8 * (a.half_u + b.half_u))


def _in_front_of(a: _Seen, b: _Seen) -> bool:
    return b.depth - a.depth > max(PLACE_MARGIN * abs(b.depth), a.half_depth + b.half_depth)


def _see(id: int, asset: Asset, placement: Placement, camera: CameraPose, width: int) -> _Seen:
    world_from_camera = matrix4(camera.world_from_camera)
    corners = _corners(asset, placement)
    pixels, z = project(corners, matrix3(camera.K), world_from_camera)
    u = np.where(z > 0, pixels[:, 0] / width, np.nan)  # partly behind the camera: compares as false to any place
    away = corners - world_from_camera[:3, 3]
    along = away @ _forward(world_from_camera)
    size = float(np.cbrt(np.prod(asset.size_m))) * placement.scale
    return _Seen(
        id=id,
        words=tuple(asset.category.split()),
        colour=asset.colour,
        size=size,
        extent=max(asset.size_m) * placement.scale,
        apparent=size / float(np.linalg.norm(away.mean(axis=0))),
        u=float(u.min() + u.max()) / 2,
        half_u=float(u.max() - u.min()) / 2,
        depth=float(along.min() + along.max()) / 2,
        half_depth=float(along.max() - along.min()) / 2,
    )


def _forward(world_from_camera: F64) -> F64:
    """The viewing direction along the floor, which looking straight down is the top of the image; unit length."""
    level = world_from_camera[:3, 2].copy()
    if np.hypot(level[0], level[1]) < 1e-3:
        level = -world_from_camera[:3, 1]
    level[2] = 0.0
    return level / np.linalg.norm(level)


def _corners(asset: Asset, placement: Placement) -> F64:
    """Corners (8, 3) of the bounding box in the world, metres."""
    return transform(pose_of(placement), box_corners(asset.size_m))
