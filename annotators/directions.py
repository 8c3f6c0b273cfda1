"""The direction of an object's move and the place where it ends, in the viewer's frame.

Invariant: a direction is stated only if the floor plan and the image agree on it. If poses are unknown (released
images), directions are those in the image, and no length is stated.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from ..shards.geometry import F64, matrix4
from ..shards.schema import SceneObject
from .case import Case
from .phrases import is_plural, length
from .relations import viewer_axes

STRAIGHT: Final = 2.5
"""Only one direction is stated if the move along it is at least this many times the move across it, else both."""
LEAST_SHIFT: Final = 0.03
"""Share of the image's width or height by which a box center must move for a direction in the image to be stated."""
OUTER: Final = 0.34
INNER: Final = 0.08
"""Shares of the image: the left side is narrower than `OUTER`; the center is within `INNER` of the middle."""
MIN_APPROACH: Final = 0.15
"""Share of the image by which a box center must move towards a part of it for that part to be stated as the end."""


@dataclass(frozen=True)
class Motion:
    """The statements about a move that hold with a margin; empty if none does."""

    directions: list[str] = field(default_factory=list[str])
    """Directions: `to the left`, `towards the camera`, ..."""
    parts: list[str] = field(default_factory=list[str])
    """Distances along both directions of an oblique move: `about 30 cm to the left and about 20 cm towards ...`."""
    meters: float = 0.0
    """Distance along the floor; 0 if unknown."""
    magnitude: str = ""
    """The distance in widths of the object, or in meters."""
    slight: bool = False
    """Whether the object moves by less than 0.75 of its own breadth, in the world and in the image."""
    end: list[str] = field(default_factory=list[str])
    """Ends: `to the left side of the image`, ..."""


def place_in_image(case: Case) -> list[str]:
    """The part of the image where the target shows the edited object: `on the left side of the image`, ..."""
    return _part_of_image(case, case.edited.target_box)[1]


def motion(case: Case) -> Motion:
    """The edited object's move from source to target."""
    thing, facts = case.edited, case.facts
    end = _end(case)
    step = matrix4(thing.target_pose)[:2, 3] - matrix4(thing.source_pose)[:2, 3]
    meters = float(np.linalg.norm(step))
    if not (facts.edit.known and thing.known and facts.camera.source.known and meters > 0):
        return Motion(directions=_in_image(case), end=end)
    right, forward = viewer_axes(matrix4(facts.camera.source.world_from_camera))
    if forward is None:
        return Motion(_in_image(case), [], meters, f"about {length(meters)}", end=end)
    breadth = breadth_along(thing, step / meters)
    slight = meters < 0.75 * breadth and float(np.abs(_shift(thing)).max()) < 0.75 * _width_px(thing)
    straight = abs(float(step @ right)) > STRAIGHT * abs(float(step @ forward))
    magnitude = _in_widths(meters / breadth, "their" if is_plural(case.edited_name) else "its") if straight else ""
    directions = _on_floor(case, step, right, forward)
    parts = (
        _parts(float(step @ right), float(step @ forward)) if len(directions) > 1 and " and " in directions[0] else []
    )
    return Motion(directions, parts, meters, magnitude or f"about {length(meters)}", slight, end)


def _on_floor(case: Case, step: F64, right: F64, forward: F64) -> list[str]:
    """Directions of a move (2,) in meters; empty if the image suggests another direction."""
    sideways, away = float(step @ right), float(step @ forward)
    side = "right" if sideways > 0 else "left"
    if abs(away) * STRAIGHT > abs(sideways) and away * _recession(case) <= 0:
        return []
    if abs(sideways) * STRAIGHT > abs(away) and sideways * _shift(case.edited)[0] <= 0:
        return []
    if abs(sideways) >= STRAIGHT * abs(away):
        return [
            f"to the {side}",
            f"to the {side}, as seen by the camera",
            f"to the {side} from the viewer's point of view",
        ]
    depth = ["away from the camera", "farther back", "farther away from the viewer"]
    if away < 0:
        depth = ["towards the camera", "closer to the camera", "towards the viewer"]
    if abs(away) >= STRAIGHT * abs(sideways):
        return depth
    return [f"to the {side} and {depth[0]}", f"{depth[0]} and to the {side}", f"to the {side} and {depth[2]}"]


def _parts(sideways: float, away: float) -> list[str]:
    side = f"to the {'right' if sideways > 0 else 'left'}"
    across, along = f"about {length(abs(sideways))}", f"about {length(abs(away))}"
    depths = ("away from the camera", "farther back") if away > 0 else ("towards the camera", "closer to the camera")
    return [
        f"{across} {side} and {along} {depths[0]}",
        f"{along} {depths[0]} and {across} {side}",
        f"{across} {side} and {along} {depths[1]}",
    ]


def _recession(case: Case) -> float:
    """Increase of the object's distance to the camera, meters."""
    eye = matrix4(case.facts.camera.source.world_from_camera)[:3, 3]
    before, after = matrix4(case.edited.source_pose)[:3, 3], matrix4(case.edited.target_pose)[:3, 3]
    return float(np.linalg.norm(after - eye) - np.linalg.norm(before - eye))


def _width_px(thing: SceneObject) -> int:
    return thing.source_box[2] - thing.source_box[0]


def _in_widths(ratio: float, own: str) -> str:
    """A distance in words as a simple multiple of the object's width, within 8 %; empty if there is none."""
    for times, words in ((0.5, f"half {own}"), (1.0, f"{own} own"), (2.0, f"twice {own}")):
        if abs(ratio - times) <= 0.08 * times:
            return f"about {words} width"
    return ""


def breadth_along(thing: SceneObject, direction: F64) -> float:
    """Extent of the object in the source along a horizontal unit direction (2,), meters."""
    w, d, _ = thing.size_m
    half = np.abs(matrix4(thing.source_pose)[:2, :2].T @ direction) * (w / 2, d / 2)
    return max(2 * float(half.sum()), 1e-6)


def _in_image(case: Case) -> list[str]:
    """Directions in which the box center moves in the image, for pairs without poses."""
    u, v = (float(share) for share in _shift(case.edited) / (case.width, case.height))
    across = "" if abs(u) < LEAST_SHIFT else "right" if u > 0 else "left"
    along = "" if abs(v) < LEAST_SHIFT else "bottom" if v > 0 else "top"
    if across and (not along or abs(u) > STRAIGHT * abs(v)):
        return [f"to the {across}", f"towards the {across} of the image", f"to the {across} in the image"]
    if along and (not across or abs(v) > STRAIGHT * abs(u)):
        return [f"towards the {along} of the image", f"{'up' if along == 'top' else 'down'} in the image"]
    if not across:
        return []
    up = "up" if along == "top" else "down"
    return [f"{up} and to the {across} in the image", f"to the {across} and {up} in the image"]


def _part_of_image(case: Case, box: Sequence[int]) -> tuple[list[str], list[str]]:
    """The part of the image with a box's center, as an end (`to the ...`) and as a place (`on the ...`).

    Both are empty if the box is empty.
    """
    x0, y0, x1, y1 = box
    if x1 <= x0:
        return [], []
    across, down = (x0 + x1) / 2 / case.width, (y0 + y1) / 2 / case.height
    row = "upper" if down < OUTER else "lower" if down > 1 - OUTER else "middle"
    if abs(across - 0.5) < INNER:
        part = "centre" if row == "middle" else f"{row} middle"
        return [f"to the {part} of the image"], [f"in the {part} of the image"]
    side = "left" if across < 0.5 else "right"
    if OUTER <= across <= 1 - OUTER:
        return [f"to a spot {side} of the centre of the image"], [f"a little {side} of the centre of the image"]
    end = [f"to the {side} side of the image", f"over to the {side} side of the picture"]
    place = [f"on the {side} side of the image", f"in the {side} part of the picture"]
    if row != "middle":
        end.append(f"to the {row} {side} part of the image")
        place.append(f"in the {row} {side} part of the image")
    return end, place


def _end(case: Case) -> list[str]:
    """The part of the image in which the move ends, if the object is clearly not in it in the source."""
    across, down = (float(share) for share in _shift(case.edited) / (case.width, case.height))
    x0, y0, x1, y1 = case.edited.source_box
    if x1 <= x0:
        return []
    start_across, start_down = (x0 + x1) / 2 / case.width, (y0 + y1) / 2 / case.height
    words = _part_of_image(case, case.edited.target_box)[0]
    return [one for one in words if _is_new(one.split(), (start_across, across), (start_down, down))]


def _is_new(words: Sequence[str], across: tuple[float, float], down: tuple[float, float]) -> bool:
    """Whether a move leads to the part of the image that `words` name: far enough, and for a side, from the other half.

    Args:
        across: start and displacement of the box center, as shares of the image's width.
        down: the same, as shares of its height.
    """
    for word, (start, way) in (("left", across), ("right", across), ("upper", down), ("lower", down)):
        sign = -1 if word in ("left", "upper") else 1
        if word in words and sign * way >= MIN_APPROACH and sign * (start - 0.5) <= 0:
            return True
    if {"left", "right"} & set(words):
        return False
    axes = (across, down) if "centre" in words else (across,)
    return any(abs(start - 0.5) - abs(start + way - 0.5) >= MIN_APPROACH / 2 for start, way in axes)


def _shift(thing: SceneObject) -> F64:
    """Displacement of the box center (2,), pixels."""
    before, after = np.array(thing.source_box, np.float64), np.array(thing.target_box, np.float64)
    return (after[:2] + after[2:] - before[:2] - before[2:]) / 2
