"""Names of the objects of a scene for instructions.

Invariant: the name of an object in the source image describes that object and no other object of the source image, as a
viewer understands the words. A word is used only if it is true with a margin. If no word is, the object has no name,
and the caller samples another scene.
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
"""Least ratio of the sizes of two objects for `larger`."""
PLACE_MARGIN: Final = 0.06
"""Least difference of two places, as a share of the image's width (left, right) or of the distance (front, rear)."""

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
"""Pairs of colors (`shards.colors.PALETTE`) that people may confuse: they never distinguish two objects."""


@dataclass(frozen=True)
class _Seen:
    """One object as the camera of its state sees it. Pixels; meters."""

    id: int
    words: tuple[str, ...]
    """The words of the category; empty if it is unknown."""
    color: str
    size: float
    """Geometric mean of its three extents in the scene, meters."""
    extent: float
    """The largest of the three extents."""
    apparent: float
    """Apparent size: size over distance."""
    u: float
    half_u: float
    """Center and half width of its projected bounding box, as shares of the image's width."""
    depth: float
    half_depth: float
    """Center and half length of its bounding box along the camera's horizontal forward direction, meters."""

    @property
    def noun(self) -> str:
        return " ".join(self.words) or "object"

    @property
    def colored(self) -> str:
        return self.noun if not self.color or f" {self.color} " in f" {self.noun} " else f"{self.color} {self.noun}"


def name_objects(spec: SceneSpec) -> dict[int, str] | Literal["ambiguous_name"]:
    """Noun phrase without an article for every object, by id, or why there is none.

    Only edited objects must have a unique name (no object, for camera edits). Other objects may share a phrase, which
    instructions then avoid. Tried in this order: category (`mug`), color (`red mug`), size (`larger mug`), place in the
    source image (`left mug`, `front mug`), color with size or place (`left red mug`). An object that is only in the
    target image (insert) is named by its category, with its color if the target image has another object of this
    category. It has no word of size or place and need not be unique, because an instruction introduces it as `a mug`.
    """
    before, after = _seen_objects(spec, spec.source), _seen_objects(spec, spec.target)
    names: dict[int, str] = {}
    for seen in before:
        name = _unambiguous(seen, _rivals(seen, before))
        if name and spec.kind != "open" and name.startswith("middle ") and name.endswith("shelf"):
            name = None  # things stand on shelves here, and it reads as the middle board of a bookcase
        if name is None and seen.id in spec.edit.edited:
            return "ambiguous_name"
        names[seen.id] = name or seen.colored
    for seen in after:
        if seen.id not in names:
            names[seen.id] = seen.colored if _rivals(seen, after) else seen.noun
    return names


def _seen_objects(spec: SceneSpec, state: State) -> list[_Seen]:
    present = [(o, state.placements[o.id]) for o in spec.objects if o.id in state.placements]
    return [_see(o.id, o.asset, place, state.camera, spec.width) for o, place in present if place.present]


def _rivals(seen: _Seen, others: Sequence[_Seen]) -> list[_Seen]:
    """Other objects that the category also describes: `table` describes a coffee table, but not vice versa."""
    n = len(seen.words)
    return [other for other in others if other.id != seen.id and other.words[len(other.words) - n :] == seen.words]


def _unambiguous(seen: _Seen, rivals: Sequence[_Seen]) -> str | None:
    if not rivals:
        return seen.noun
    same_color = [rival for rival in rivals if not _colors_differ(seen, rival)]
    if seen.colored != seen.noun and not same_color:
        return seen.colored
    word = _separating_word(seen, rivals)
    if word:
        return f"{word} {seen.noun}"
    word = _separating_word(seen, same_color) if len(same_color) < len(rivals) and seen.colored != seen.noun else ""
    return f"{word} {seen.colored}" if word else None


def _colors_differ(a: _Seen, b: _Seen) -> bool:
    """Whether a viewer can distinguish the two colors. Unknown colors cannot be, nor `blue` from `dark blue`."""
    if not a.color or not b.color or a.color == b.color or frozenset({a.color, b.color}) in CONFUSABLE:
        return False
    return a.color.split()[-1] != b.color.split()[-1] or a.color.count(" ") == b.color.count(" ") == 1


def _separating_word(seen: _Seen, rivals: Sequence[_Seen]) -> str:
    """A word of size or place that is true of `seen` and of none of the rivals; empty if there is none."""
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
    """Larger in the world, and also in the image, despite perspective."""
    return a.size > SIZE_RATIO * b.size and a.extent > 1.1 * b.extent and a.apparent > 1.1 * b.apparent


def _left_of(a: _Seen, b: _Seen) -> bool:
    return b.u - a.u > max(PLACE_MARGIN, 0.8 * (a.half_u + b.half_u))


def _in_front_of(a: _Seen, b: _Seen) -> bool:
    return b.depth - a.depth > max(PLACE_MARGIN * abs(b.depth), a.half_depth + b.half_depth)


def _see(id: int, asset: Asset, placement: Placement, camera: CameraPose, width: int) -> _Seen:
    world_from_camera = matrix4(camera.world_from_camera)
    corners = _corners(asset, placement)
    pixels, z = project(corners, matrix3(camera.K), world_from_camera)
    u = np.where(z > 0, pixels[:, 0] / width, np.nan)  # partly behind the camera: all comparisons are false
    away = corners - world_from_camera[:3, 3]
    along = away @ _forward(world_from_camera)
    size = float(np.cbrt(np.prod(asset.size_m))) * placement.scale
    return _Seen(
        id=id,
        words=tuple(asset.category.split()),
        color=asset.colour,
        size=size,
        extent=max(asset.size_m) * placement.scale,
        apparent=size / float(np.linalg.norm(away.mean(axis=0))),
        u=float(u.min() + u.max()) / 2,
        half_u=float(u.max() - u.min()) / 2,
        depth=float(along.min() + along.max()) / 2,
        half_depth=float(along.max() - along.min()) / 2,
    )


def _forward(world_from_camera: F64) -> F64:
    """The viewing direction along the floor, unit length; for a camera that looks straight down, the image's up."""
    level = world_from_camera[:3, 2].copy()
    if np.hypot(level[0], level[1]) < 1e-3:
        level = -world_from_camera[:3, 1]
    level[2] = 0.0
    return level / np.linalg.norm(level)


def _corners(asset: Asset, placement: Placement) -> F64:
    """Corners (8, 3) of the bounding box in the world, meters."""
    return transform(pose_of(placement), box_corners(asset.size_m))
