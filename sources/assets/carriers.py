"""Which models carry other objects, and which way furniture faces according to its supports.

Geometry alone also finds the roof of a toy car and the ledge of a coffee machine. So a short list says what carries
things, by category; models of unknown category must look like a table, a shelf or a container.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
from pydantic import TypeAdapter

from ...shards.schema import SupportKind
from .sizes import typical_extent
from .supports import Side, Support

Role = Literal["surface", "seat", "container", "appliance", "unknown", "none"]


def _words(text: str) -> frozenset[str]:
    return frozenset(" ".join(name.split()) for name in text.split(","))


_ROLES: Final[Mapping[Role, frozenset[str]]] = MappingProxyType(
    {
        "surface": _words(
            """table, desk, nightstand, counter, countertop, island, workbench, vanity, sideboard, credenza, console,
            dresser, bureau, chest, cabinet, cupboard, wardrobe, armoire, closet, locker, bookcase, bookshelf, shelf,
            shelves, shelving, rack, cart, trolley, handcart, tv stand, plant stand, night stand, pedestal, table
            tennis, drawer, trunk, piano, ironing board, sawhorse, step ladder, stepladder, barrel, podium, lectern,
            altar, mantel, cutting board, chopping board, tray, cake stand, placemat, coaster, rug, carpet, mat,
            bathmat, doormat, pallet, platform, book, pizza box, suitcase, toolbox, cooler"""
        ),
        "seat": _words(
            """chair, armchair, recliner, sofa, couch, loveseat, love seat, settee, futon, chaise longue, bench, pew,
            stool, barstool, footstool, hassock, ottoman, pouf, bed, crib, cot, mattress, cushion, pillow, swing"""
        ),
        "container": _words(
            """bowl, dish, plate, platter, saucer, ashtray, basket, hamper, crate, box, carton, bucket, pail, tub,
            basin, bathtub, sink, washbasin, wok, pan, saucepan, casserole, wheelbarrow, wagon, shopping cart,
            birdbath, sandbox, sandpit, bin"""
        ),
        "appliance": _words(
            """stove, cooker, furnace, oven, microwave, refrigerator, fridge, freezer, washing machine, dishwasher,
            dryer, heater, radiator, fireplace, speaker, subwoofer"""
        ),
        "none": _words(
            """gift box, mailbox, music box, juice box, jewelry box, letter box, phone box, telephone box, tissue
            box, toy box, lunch box, light box, boxing glove, candle stand, coat stand, hat stand,
            coat rack, hat rack, wine rack, dish rack, bike rack, plate armor, drum, vehicle, ambulance, minivan,
            limousine, camper, caravan, bulldozer, forklift, excavator, trailer, tank, kayak, ferry, raft, gondola,
            barge, locomotive, wagon wheel, house, building, castle, tower, church, skyscraper, doghouse, birdhouse,
            robot, shoe, weapon, animal, figure, character, head, statue, bust"""
        ),
    }
)
_NOUN_END: Final = re.compile(r"\b(?:with|on|of|for|from|in|by)\b")
_KINDS: Final[Mapping[Role, frozenset[SupportKind]]] = MappingProxyType(
    {
        "surface": frozenset(("top", "soft", "shelf", "inside", "under")),
        "seat": frozenset(("top", "soft", "inside", "under")),
        "container": frozenset(("top", "soft", "inside")),
        "appliance": frozenset(("top", "soft")),
    }
)
_LEDGE: Final = 0.04
"""Meters: a surface of smaller radius is a ledge."""
_SEAT_SHARE: Final = 0.5
"""Regions of a seat whose radius is less than this fraction of the largest one's are arms, backs and pillows."""
_TOP: Final = (0.9, 0.5)
"""A model of unknown category is a table or a block if a flat region, at least at this fraction of its height, fills
this fraction of its box seen from above."""
_BOARDS: Final = (2, 0.3)
"""It is a shelf if so many covered regions with a common open side fill this fraction each."""
_CONTAINER: Final = (0.5, 0.25)
"""It is a container if a region inside, at most at this fraction of its height, fills this fraction."""
_UNKNOWN_SIZE: Final = (0.15, 4.0)
"""Meters: range of the largest side of carriers of unknown category."""
_OFFSET: Final = 0.015
"""Meters: a seat whose center is at most so far from that of its box has no back."""
_UPSTAND: Final = (0.02, 0.008, 0.95)
"""An upstand rises at least so far above the top, and takes at least so much of its depth, meters. It is along a whole
side: the top fills at least this fraction of its own bounding box."""
_ANGLE: Final[Mapping[Side, float]] = MappingProxyType({"+x": 0.0, "+y": 90.0, "-x": 180.0, "-y": 270.0})


@dataclass(frozen=True)
class AssetSupports:
    """What a model carries things with, as the survey found it."""

    supports: tuple[Support, ...] = ()
    furniture_front_deg: float | None = None
    """`front_from_supports`: evidence for models whose `Asset.front_deg` is unknown. Same frame and unit."""

    @classmethod
    def of(cls, category: str, size: Sequence[float], supports: Sequence[Support]) -> "AssetSupports":
        """Of the supports that geometry alone finds; arguments as in `carries`."""
        kept = carries(category, size, supports)
        return cls(kept, front_from_supports(category, size, kept))


_ASSET_SUPPORTS: Final = TypeAdapter(AssetSupports)


def to_json(found: AssetSupports) -> str:
    """Supports as the plan's table stores them."""
    return _ASSET_SUPPORTS.dump_json(found, exclude_defaults=True).decode()


def from_json(text: str) -> AssetSupports:
    """Supports that `to_json` stored."""
    return _ASSET_SUPPORTS.validate_json(text)


def names_of(category: str) -> frozenset[str]:
    """The names that a category answers to: itself and its last words, those before a preposition only."""
    words = category.lower().split()
    ends = [index for index, word in enumerate(words) if word in ("with", "of", "on", "for", "from", "in")]
    words = words[: ends[0]] if ends and ends[0] else words
    return frozenset(" ".join(words[start:]) for start in range(len(words)))


def role(category: str) -> Role:
    """What a category is for: by its whole name, its last word, else by another word if the last one is unknown.

    Words after a preposition do not count: a `table with tablecloth` is a table.
    """
    name = _NOUN_END.split(category.lower())[0].strip() or category.lower()
    words = name.split()
    for end in range(len(words), 0, -1):
        for start in range(end):
            if found := _role_of(" ".join(words[start:end])):
                return found
        if typical_extent(" ".join(words[:end])) is not None:
            return "none"
    return "unknown"


def _role_of(name: str) -> Role | None:
    for one, names in _ROLES.items():
        if name in names or name.removesuffix("s") in names:
            return one
    return None


def may_carry(category: str) -> bool:
    """Whether models of a category may carry others, as far as the category says."""
    return role(category) != "none"


def carries(category: str, size: Sequence[float], supports: Sequence[Support]) -> tuple[Support, ...]:
    """Those supports of a model that things are really put on.

    Args:
        category: `Asset.category`; may be empty.
        size: `Asset.size_m`.
        supports: of `supports.find_supports`.
    """
    what = role(category)
    if what == "unknown":
        what = _role_from_shape(size, supports)
    if what == "none" or what == "unknown":
        return ()
    kept = [one for one in supports if one.kind in _KINDS[what] and one.radius >= _LEDGE]
    if what == "seat":
        largest = max((one.radius for one in kept if one.kind != "under"), default=0.0)
        kept = [one for one in kept if one.kind == "under" or one.radius >= _SEAT_SHARE * largest]
    return tuple(kept)


def _role_from_shape(size: Sequence[float], supports: Sequence[Support]) -> Role:
    """The role of a model of unknown category."""
    if not _UNKNOWN_SIZE[0] <= max(size) <= _UNKNOWN_SIZE[1]:
        return "none"
    share = {one: one.shape().area / (size[0] * size[1]) for one in supports}
    height, fills = _TOP
    flat = (one for one in supports if one.kind == "top" and one.patch is None)
    if any(one.z >= height * size[2] and share[one] >= fills for one in flat):
        return "surface"
    count, fills = _BOARDS
    boards = [one for one in supports if one.kind == "shelf" and share[one] >= fills]
    if any(sum(side in one.open_sides for one in boards) >= count for side in _ANGLE):
        return "surface"
    height, fills = _CONTAINER
    inner = (one for one in supports if one.kind == "inside" and one.z <= height * size[2])
    return "container" if any(share[one] >= fills for one in inner) else "none"


def front_from_supports(category: str, size: Sequence[float], supports: Sequence[Support]) -> float | None:
    """Direction that furniture faces, degrees about z from +x, object frame; None if its supports do not tell.

    A seat faces away from its back, so its seat is not in the middle of its box. Shelves, cabinets and desks face the
    one side that is open. What rises above the top of a cabinet is at its back: an upstand, a panel with knobs.

    Args:
        size, supports: as in `carries`; only supports that it returns.
    """
    what = role(category)
    if what == "seat":
        return _away_from_back([one for one in supports if one.kind in ("top", "soft", "inside")])
    if what == "none":
        return None
    sides = {one.open_sides for one in supports if one.kind in ("shelf", "under")}
    if len(sides) == 1 and len(next(iter(sides))) == 1:
        return _ANGLE[next(iter(sides))[0]]
    return _away_from_upstand(size, supports)


def _away_from_upstand(size: Sequence[float], supports: Sequence[Support]) -> float | None:
    """Direction away from what rises above the largest top; see `front_from_supports`."""
    tops = [one for one in supports if one.kind == "top"]
    if not tops:
        return None
    top = max(tops, key=lambda one: one.shape().area)
    if size[2] - top.z < _UPSTAND[0]:
        return None
    x0, y0, x1, y1 = top.shape().bounds
    if top.shape().area < _UPSTAND[2] * (x1 - x0) * (y1 - y0):
        return None
    # Meters from the top to the side of the box, less than at the opposite side.
    less: dict[Side, float] = {"+x": x1 + x0, "+y": y1 + y0, "-x": -(x1 + x0), "-y": -(y1 + y0)}
    side = max(less, key=lambda one: less[one])
    return _ANGLE[side] if less[side] > _UPSTAND[1] else None


def _away_from_back(seats: Sequence[Support]) -> float | None:
    if not seats:
        return None
    centers = np.array([one.shape().centroid.coords[0] for one in seats])
    # Where the search found only some of the cushions of a sofa, these agree across its depth, not along its width.
    agreed = np.where(np.abs(np.sign(centers).sum(axis=0)) == len(seats), np.abs(centers).min(axis=0), 0.0)
    axis = int(agreed.argmax())
    if agreed[axis] <= _OFFSET:
        return None
    side: Side = ("+x", "+y")[axis] if centers[0, axis] > 0 else ("-x", "-y")[axis]
    return _ANGLE[side]
