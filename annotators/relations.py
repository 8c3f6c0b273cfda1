"""Spatial relations between the objects of a pair, as the camera sees them.

Invariant: a relation is reported only if it holds with a margin, both on the floor plan (from poses and sizes) and in
the image (from the boxes of the masks), so that every viewer agrees. Relations are in the viewer's frame: left and
right in the image, front is nearer to the camera. None is in an object's own frame.

Where the facts say what objects stand on, relations are only between objects on the same support, and next to, between,
into, against the wall and in the corner follow the definitions of docs/scenes.md (`annotators.proximity`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final, Literal

import numpy as np

from ..shards.geometry import F64, box_corners, matrix3, matrix4, project, transform
from ..shards.schema import FLOOR, UNKNOWN_FRONT, PairFacts, SceneObject, SupportRef
from . import proximity
from .proximity import FAILS, HOLDS
from .supports import StateName, support_of, supports_known

RelationKind = Literal["left", "right", "front", "behind", "between", "next", "into", "against", "corner"]

MIN_VISIBLE: Final = 0.35
"""Visible share of an object's pixels below which the object is not mentioned."""
MIN_BOX: Final = 0.25
"""Share of the projected bounding box that the mask's box covers, below which the object is not mentioned: slivers at
the edge of the frame."""
NEAR: Final = 1.5
"""Largest gap between two objects, in breadths of the larger one, at which one describes the place of the other."""
APART: Final = 0.1
"""Share of the smaller of two boxes in the image; if they overlap by more, the objects are not side by side."""
DOMINANT: Final = 1.5
"""Left or right holds only if the sideways offset is this many times the offset in depth; front or behind, vice
versa."""
LEVEL: Final = 0.25
"""Meters between the bases of two objects above which they are on different levels (a table and the floor), so that no
relation between them is said. Where it is known what they stand on, only objects on the same support are compared."""
STEEP: Final = 0.35
"""Horizontal share of the viewing direction below which (steeper than 70 degrees) there is no front and behind."""


@dataclass(frozen=True)
class Relation:
    """`subject` is left of, in front of, ... `others` (one id; two for `between`), as the camera sees them.

    `against` (the wall) and `corner` (of the room) have no others.
    """

    kind: RelationKind
    subject: int
    others: tuple[int, ...]


@dataclass(frozen=True)
class Seen:
    """An object that is visible in one state. `corners` (8, 3): its bounding box in the world, meters. `box`:
    pixels."""

    id: int
    corners: F64
    box: tuple[int, int, int, int]
    pose: F64
    size: F64

    @property
    def center(self) -> F64:
        """Center on the floor plan (2,), meters."""
        return self.corners[:, :2].mean(axis=0)

    @property
    def base(self) -> float:
        """Height of its lowest point, meters."""
        return float(self.corners[:, 2].min())

    @property
    def middle_px(self) -> float:
        return (self.box[0] + self.box[2]) / 2

    def overlaps(self, other: "Seen") -> float:
        """Area that two boxes share in the image, over the area of the smaller box."""
        a, b = self.box, other.box
        common = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
        return common / max(1, min((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (a, b)))

    def shares_columns(self, other: "Seen") -> bool:
        """Whether the boxes share image columns: at least a quarter of those of the narrower box."""
        a, b = self.box, other.box
        return min(a[2], b[2]) - max(a[0], b[0]) >= 0.25 * min(a[2] - a[0], b[2] - b[0])

    def half(self, direction: F64) -> float:
        """Half extent along a horizontal unit direction (2,), meters."""
        along = self.corners[:, :2] @ direction
        return float(along.max() - along.min()) / 2

    @property
    def breadth(self) -> float:
        """Larger horizontal extent, meters."""
        extent = self.corners[:, :2].max(axis=0) - self.corners[:, :2].min(axis=0)
        return float(extent.max())


def present(facts: PairFacts, thing: SceneObject, state: StateName) -> bool:
    """Whether enough of the object is visible in a state to mention it."""
    box = thing.source_box if state == "source" else thing.target_box
    visible = thing.source_visible if state == "source" else thing.target_visible
    if box[2] <= box[0] or box[3] <= box[1]:
        return False
    return not thing.known or (visible >= MIN_VISIBLE and box_share(facts, thing, state) >= MIN_BOX)


def box_share(facts: PairFacts, thing: SceneObject, state: StateName) -> float:
    """Area of an object's box in the image over that of its projected bounding box: small for slivers.

    1 if poses or camera are unknown, or if the object reaches behind the camera.
    """
    view = facts.camera.source if state == "source" else facts.camera.target
    if not (thing.known and view.known):
        return 1.0
    pose, box = (thing.source_pose, thing.source_box) if state == "source" else (thing.target_pose, thing.target_box)
    corners = transform(matrix4(pose), box_corners(thing.size_m))
    pixels, z = project(corners, matrix3(view.K), matrix4(view.world_from_camera))
    if (z <= 0).any():
        return 1.0
    width, height = np.maximum(pixels.max(axis=0) - pixels.min(axis=0), 1e-6)
    return (box[2] - box[0]) * (box[3] - box[1]) / float(width * height)


class Layout:
    """The visible objects of one state of a pair, in the viewer's frame. Empty if the camera is unknown.

    `standing`: what the present objects stand on, by id, visible or not; empty if this is unknown.
    """

    def __init__(self, facts: PairFacts, state: StateName) -> None:
        camera = facts.camera.source if state == "source" else facts.camera.target
        self.right, self.forward = viewer_axes(matrix4(camera.world_from_camera))
        self.seen: dict[int, Seen] = {}
        self.standing: dict[int, SupportRef] = {}
        self._outlines: dict[int, F64] = {}
        self._backs: dict[int, float] = {}
        self._room = facts.room
        if supports_known(facts):
            present_things = [thing for thing in facts.objects if support_of(thing, state).kind and thing.known]
            self.standing = {thing.id: support_of(thing, state) for thing in present_things}
            poses = {
                one.id: matrix4(one.source_pose if state == "source" else one.target_pose) for one in present_things
            }
            self._outlines = {one.id: proximity.outline(poses[one.id], np.array(one.size_m)) for one in present_things}
            named = zip(facts.objects, facts.fronts, strict=False)
            self._backs = {
                one.id: float(np.rad2deg(np.arctan2(poses[one.id][1, 0], poses[one.id][0, 0]))) + front + 180
                for one, front in named
                if front < UNKNOWN_FRONT and one.id in poses and not proximity.is_tilted(poses[one.id])
            }
        if camera.known:
            for thing in facts.objects:
                if thing.known and present(facts, thing, state):
                    self.seen[thing.id] = _seen(thing, state)

    def relations(self, subject: int, references: Sequence[int]) -> list[Relation]:
        """All relations of `subject` to `references` (ids; objects that are not visible are ignored)."""
        if subject not in self.seen:
            return []
        a = self.seen[subject]
        others = [self.seen[id] for id in references if id in self.seen and id != subject]
        if self.standing:
            return self._on_support(a, others)
        others = [b for b in others if abs(a.base - b.base) <= LEVEL]
        containers = [b for b in others if inside(a, b)]
        if containers:
            return [Relation("into", subject, (b.id,)) for b in containers]
        found = [Relation(kind, subject, (b.id,)) for b in others if (kind := self._side(a, b))]
        found += [Relation("between", subject, (b.id, c.id)) for b, c in combinations(others, 2) if _between(a, b, c)]
        return found + [Relation("next", subject, (b.id,)) for b in others if self._next(a, b)]

    def _on_support(self, a: Seen, references: Sequence[Seen]) -> list[Relation]:
        """All relations of an object where it is known what things stand on."""
        support = self.standing.get(a.id, FLOOR)
        found = [
            Relation("into", a.id, (b.id,)) for b in references if support.kind == "inside" and support.object == b.id
        ]
        others = [b for b in references if self.standing.get(b.id) == support]
        found += [Relation(kind, a.id, (b.id,)) for b in others if (kind := self._side(a, b))]
        for b, c in combinations(others, 2):
            if self.miss("between", a.id, b.id, c.id) <= HOLDS and in_columns_between(a, b, c):
                found.append(Relation("between", a.id, (b.id, c.id)))
        found += [
            Relation("next", a.id, (b.id,))
            for b in others
            if self.miss("next", a.id, b.id) <= HOLDS and self.beside(a, b)
        ]
        walls: tuple[RelationKind, ...] = ("against", "corner")
        return found + [
            Relation(kind, a.id, ()) for kind in walls if self.miss(kind, a.id) <= HOLDS and self.shows(kind, a.id)
        ]

    def miss(self, kind: RelationKind, subject: int, *others: int) -> float:
        """By how much a definition is missed (`annotators.proximity`), for `next`, `between`, `against`, `corner`.

        Infinite if the objects do not stand on the same support, or there is no room. Requires `standing`.
        """
        support = self.standing.get(subject)
        if support is None or any(self.standing.get(id) != support for id in others):
            return np.inf
        a, *outlines = (self._outlines[id] for id in (subject, *others))
        rest = [
            self._outlines[id] for id, on in self.standing.items() if on == support and id not in (subject, *others)
        ]
        match kind:
            case "next":
                return proximity.next_to(a, outlines[0], rest)
            case "between":
                return proximity.between(a, outlines[0], outlines[1], rest)
            case "against" if self._room and support.kind == "floor":
                return proximity.against_wall(a, self._room, self._backs.get(subject), rest)[0]
            case "corner" if self._room and support.kind == "floor":
                return proximity.in_corner(a, self._room, rest)[0]
            case _:
                return np.inf

    def shows(self, kind: RelationKind, subject: int) -> bool:
        """Whether the wall or corner that an object is at is before the camera, not behind it."""
        a = self._outlines[subject]
        if self.forward is None:
            return True
        if kind == "corner":
            return float((proximity.in_corner(a, self._room, ())[1] - a.mean(axis=0)) @ self.forward) > 0
        wall = proximity.against_wall(a, self._room, self._backs.get(subject), ())[1]
        return float(wall @ self.forward) > -0.2

    def carries(self, carrier: int, subject: int) -> bool:
        """Whether an object stands on, in or under another one, perhaps on something in between."""
        while support := self.standing.get(subject):
            if support.object == carrier:
                return True
            subject = support.object
        return False

    def below(self, subject: int, other: int) -> float:
        """Share of the outline of an object that lies inside the outline of another."""
        return proximity.overlap_share(self._outlines[subject], self._outlines[other])

    def near(self, relation: Relation) -> bool:
        """Whether a relation's references are near enough to describe a place, not across the room."""
        a, *others = (self.seen[id] for id in (relation.subject, *relation.others))
        return relation.kind == "between" or all(gap(a, b) <= NEAR * max(a.breadth, b.breadth) for b in others)

    def suggests(self, relation: Relation) -> bool:
        """Whether a viewer may claim a relation: like `relations`, but without the margins."""
        if not all(id in self.seen for id in (relation.subject, *relation.others)):
            return False
        if self.standing and relation.kind in ("next", "between", "against", "corner"):
            return self.miss(relation.kind, relation.subject, *relation.others) < FAILS
        if self.standing and relation.kind == "into":
            support = self.standing.get(relation.subject)
            return support is not None and support.kind == "inside" and support.object == relation.others[0]
        a, b, c = (self.seen[id] for id in (relation.subject, relation.others[0], relation.others[-1]))
        offset = a.center - b.center
        sideways = float(offset @ self.right)
        away = float(offset @ self.forward) if self.forward is not None else 0.0
        match relation.kind:
            case "left" | "right":
                sign = 1 if relation.kind == "right" else -1
                aside = sign * (a.middle_px - b.middle_px) > 0.25 * (a.box[2] - a.box[0] + b.box[2] - b.box[0]) / 2
                return sign * sideways > 0 and aside
            case "front" | "behind":
                sign = 1 if relation.kind == "behind" else -1
                return sign * away > 0.25 * abs(sideways) and sign * (b.box[3] - a.box[3]) > 0
            case "between":
                low, high = sorted((b.middle_px, c.middle_px))
                line = c.center - b.center
                along = float(offset @ line) / max(float(line @ line), 1e-9)
                return low < a.middle_px < high and 0 < along < 1
            case "next":
                return gap(a, b) <= 0.8 * max(a.breadth, b.breadth)
            case "into":
                return inside(a, b)
            case "against" | "corner":
                return False  # without supports, there are no walls

    def _side(self, a: Seen, b: Seen) -> RelationKind | None:
        offset = a.center - b.center
        sideways = float(offset @ self.right)
        apart = abs(sideways) - a.half(self.right) - b.half(self.right)
        if self.forward is None:
            return _horizontal(a, b, sideways) if apart > 0 else None
        away = float(offset @ self.forward)
        if abs(sideways) > DOMINANT * abs(away):
            return _horizontal(a, b, sideways) if apart > 0 else None
        apart = abs(away) - a.half(self.forward) - b.half(self.forward)
        if abs(away) <= DOMINANT * abs(sideways) or apart <= 0:
            return None
        if not a.shares_columns(b):
            return None  # a viewer sees only that it is higher in the image, not that it is behind
        # On a common floor, nearer objects reach lower in the image.
        lower = a.box[3] > b.box[3]
        if away < 0:
            return "front" if lower else None
        return "behind" if not lower and a.box[3] < b.box[3] else None

    def _next(self, a: Seen, b: Seen) -> bool:
        free = gap(a, b)
        nearest = min(gap(a, c) for c in self.seen.values() if c.id != a.id)
        close = 0 <= free <= 0.6 * max(a.breadth, b.breadth) and free <= nearest
        return close and self.beside(a, b)

    def beside(self, a: Seen, b: Seen) -> bool:
        """Whether two objects are side by side as the camera sees them: neither is behind or hidden by the other."""
        if a.overlaps(b) > APART:
            return False
        offset = a.center - b.center
        return self.forward is None or abs(float(offset @ self.right)) >= 0.7 * abs(float(offset @ self.forward))


def viewer_axes(world_from_camera: F64) -> tuple[F64, F64 | None]:
    """Unit vectors (2,) on the floor: to the image's right, and away from the camera (None if it looks down)."""
    right, forward = world_from_camera[:2, 0], world_from_camera[:2, 2]
    level = float(np.linalg.norm(forward))
    return right / max(float(np.linalg.norm(right)), 1e-9), forward / level if level > STEEP else None


def inside(a: Seen, b: Seen) -> bool:
    """Whether `a` stands in `b`: within its bounding box, above the floor on which `b` stands, and below its rim."""
    inverse = np.linalg.inv(b.pose).astype(np.float64)
    corners = transform(inverse, a.corners)
    half = b.size[:2] / 2 + 1e-3
    within = bool(np.all(np.abs(corners[:, :2]) <= half))
    base = float(corners[:, 2].min())
    return within and 1e-3 < base < 0.8 * float(b.size[2])


def _seen(thing: SceneObject, state: StateName) -> Seen:
    pose = matrix4(thing.source_pose if state == "source" else thing.target_pose)
    corners = transform(pose, box_corners(thing.size_m))
    x0, y0, x1, y1 = thing.source_box if state == "source" else thing.target_box
    return Seen(thing.id, corners, (x0, y0, x1, y1), pose, np.array(thing.size_m))


def _horizontal(a: Seen, b: Seen, sideways: float) -> RelationKind | None:
    """Left or right in the world, if the image shows it too: neither center lies in the columns of the other's box."""
    first, second = (a, b) if sideways < 0 else (b, a)
    clear = first.middle_px < second.box[0] and second.middle_px > first.box[2]
    return ("left" if sideways < 0 else "right") if clear else None


def _between(a: Seen, b: Seen, c: Seen) -> bool:
    line = c.center - b.center
    span = float(np.linalg.norm(line))
    if span < 1e-6:
        return False
    along = float((a.center - b.center) @ line) / span**2
    across = abs(float(np.cross(np.append(line, 0.0), np.append(a.center - b.center, 0.0))[2])) / span
    return in_columns_between(a, b, c) and 0.25 <= along <= 0.75 and across <= 0.15 * span


def in_columns_between(a: Seen, b: Seen, c: Seen) -> bool:
    """Whether the image shows an object between two others: its center is in the columns between their boxes."""
    left, right = (b, c) if b.middle_px < c.middle_px else (c, b)
    return left.box[2] < a.middle_px < right.box[0]


def gap(a: Seen, b: Seen) -> float:
    """Free distance between two objects along the line of their centers, meters; negative if they overlap."""
    offset = b.center - a.center
    distance = float(np.linalg.norm(offset))
    direction = offset / distance if distance > 1e-9 else np.array([1.0, 0.0])
    return distance - a.half(direction) - b.half(direction)
