"""Furnishes a room from a template: which models play its items, and where they stand.

Invariant: that of `arrangement` for what stands on the floor, and that of `standing` for what stands on, in or under
other objects. Nothing high stands in front of a window.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from ..assets.asset import Asset
from ..assets.carriers import AssetSupports
from . import floor_places as floor
from . import support_places as support
from .arrangement import Arrangement, Furnished, Place
from .room import WALLS, Room, WallName
from .sites import MeshOf, Sites
from .spec import Placement
from .standing import region, standing_on
from .template import Item, Role, Template

_MODELS: Final = 4
"""Models that are tried for one object."""
_NEAR_COUNT: Final = (4, 8)
"""Fewest and most things that the surface of a near view should carry."""
_NEAR_SPREAD: Final = 0.45
"""Meters around the first thing on a surface where a near view has the others: on a long table they are together."""
_AGAIN: Final = 0.1
"""Factor of the weight of a category for each of its objects that the scene has already."""
_TWIN: Final = 0.1
"""Factor of the weight of a category that a surface has once already. If it has it twice, the weight is 0."""
_OTHER_COLOR: Final = 0.1
"""Factor of the weight of a model of another color for items that are `same`."""
_TOP_SHARE: Final = 0.85
"""A surface at least at this fraction of a model's height is its top."""


def furnish(
    rng: np.random.Generator,
    room: Place,
    back: WallName,
    template: Template,
    roles: Mapping[str, Role],
    assets: Sequence[Asset],
    supports_of: Callable[[str], AssetSupports],
    mesh_of: MeshOf | None = None,
    near: bool = False,
) -> Furnished | str:
    """Furnish a room or a part of a garden, or say why it cannot be done.

    Args:
        back: the wall that the camera looks at. Nothing is put against the opposite one.
        assets: models to draw from; each is used once, and so is each `Asset.model`.
        supports_of: supports of a model, by uid.
        mesh_of: for physics; None leaves out all items whose pose is not `upright`.
        near: whether the camera will be near what stands on the template's surface, which then carries more.
    """
    arrangement = Arrangement(rng, room, back, supports_of, _NEAR_SPREAD if near else np.inf)
    work = _Furnisher(arrangement, roles, assets, supports_of, mesh_of)
    named: dict[str, list[int]] = {}
    surface = template.surface or template.focus
    for item in template.items:
        if item.pose != "upright" and mesh_of is None:
            continue
        wanted = rng.random() < item.chance
        count = int(rng.integers(item.count[0], item.count[1] + 1))
        if near and item.of == surface and item.place == "on" and item.pose == "upright" and item.count[1] > 1:
            count = max(count, int(rng.integers(_NEAR_COUNT[0], _NEAR_COUNT[1] + 1)))
        if item.of and item.of not in named:
            continue
        placed = work.place(item, count, named.get(item.of, [])) if wanted or item.needed else []
        if item.needed and not placed:
            return f"no_{item.role.replace(' ', '_')}"
        if placed and item.name:
            named[item.name] = placed
    found = work.arrangement.found
    found.focus = named[template.focus][0]
    found.surface = named.get(surface, named[template.focus])[0]
    return found


def impossible(
    template: Template, roles: Mapping[str, Role], assets: Sequence[Asset], supports_of: Callable[[str], AssetSupports]
) -> str:
    """Why no room can be furnished from a template with some models; empty if it may be possible."""
    long, short = sorted((template.size[0][1], template.size[1][1]), reverse=True)
    asked = Counter(item.role for item in template.items if item.needed)
    for item in template.items:
        if not item.needed:
            continue
        what = f"item '{item.name}' (role '{item.role}')" if item.name else f"the item with role '{item.role}'"
        able = [asset for asset in assets if _can_play(asset, roles[item.role], supports_of)]
        if not able:
            role = roles[item.role]
            carrying = ", with a surface for other things" if role.carries else ""
            carrying += ", with an inside for other things" if role.holds else ""
            return (
                f"{what} is needed, but no model can play the role: one of the categories {', '.join(role.is_[:6])}"
                f"{' and so on' if len(role.is_) > 6 else ''}, {role.size[0]:g} to {role.size[1]:g} m long and "
                f"{role.height[0]:g} to {role.height[1]:g} m high{carrying}"
            )
        models = len({one.model or one.uid for one in able})
        if models < asked[item.role]:
            return f"the role '{item.role}' is needed {asked[item.role]} times, but only {models} models can play it"
        if not any(
            max(one.size_m[:2]) < long and min(one.size_m[:2]) < short and one.size_m[2] < template.size[2][1]
            for one in able
        ):
            least = min(max(one.size_m) for one in able)
            return f"{what} is needed, but the smallest model, {least:.2f} m, is larger than the room"
    return ""


def _can_play(asset: Asset, role: Role, supports_of: Callable[[str], AssetSupports]) -> bool:
    """Whether a model fits a role, and has the supports that the role needs."""
    if not role.fits(asset.category, asset.size_m):
        return False
    if not role.carries and not role.holds:
        return True
    supports, least = supports_of(asset.uid).supports, _TOP_SHARE * asset.size_m[2]
    top = any(one.kind == "shelf" or (one.kind == "top" and one.z >= least) for one in supports)
    return (top or not role.carries) and (not role.holds or any(one.kind == "inside" for one in supports))


class _Furnisher:
    """Chooses models for the items of a template, and places them."""

    def __init__(
        self,
        arrangement: Arrangement,
        roles: Mapping[str, Role],
        assets: Sequence[Asset],
        supports_of: Callable[[str], AssetSupports],
        mesh_of: MeshOf | None,
    ) -> None:
        self.arrangement, self._rng = arrangement, arrangement.rng
        self._roles, self._assets, self._supports_of = roles, assets, supports_of
        self._used: set[str] = set()
        self._sites = None
        if mesh_of is not None:
            found, room = arrangement.found, arrangement.room
            sides = map(arrangement.wall, WALLS) if isinstance(room, Room) else ()
            walls = [(normal, away) for normal, _, away in sides]
            self._sites = Sites(arrangement.rng, found.assets, found.placements, walls, mesh_of)
        self._categories: dict[str, int] = {}

    def place(self, item: Item, count: int, others: Sequence[int]) -> list[int]:
        """Place up to `count` objects of an item; `others` are those of the item that it refers to."""
        if item.pose != "upright":
            return self._loose(item, count, others)
        match item.place:
            case "around":
                return self._around(item, count, others[0])
            case "in a row":
                return self._row(item, count, others[-1])
            case "on each other":
                return self._stack(item, count, others)
            case _:
                placed: list[int] = []
                beside = others if item.place == "on" and not item.same else ()
                for _ in range(count):
                    placed += self._one(item, placed, lambda asset: self._put(item, asset, others), beside)
                return placed

    def _put(self, item: Item, asset: Asset, others: Sequence[int]) -> int:
        work = self.arrangement
        match item.place:
            case "against wall" | "at the edge":
                return floor.against_wall(work, asset, behind=item.place == "at the edge")
            case "in a corner":
                return floor.in_corner(work, asset, others[0] if others else 0)
            case "in the middle":
                return floor.on_floor(work, asset, share=0.12)
            case "anywhere":
                return floor.on_floor(work, asset, share=0.45)
            case "in front":
                return floor.in_front(work, asset, others[0], item)
            case "beside":
                return floor.beside(work, asset, others[0], item)
            case "on":
                return support.on(work, asset, others, item.support)
            case "in":
                return support.inside(work, asset, others)
            case "under":
                return support.under(work, asset, others)
            case "around" | "in a row" | "on each other":
                raise AssertionError("placed together")

    def _loose(self, item: Item, count: int, others: Sequence[int]) -> list[int]:
        """Objects that lie, lean or are in a heap; none without physics. One that does not come to rest is left out."""
        if self._sites is None:
            return []
        models = {asset.model or asset.uid: asset for asset in self._models(item, [])}
        things = list(models.values())
        if item.same:
            things = [asset for asset in things if asset.category == things[0].category]
        alone = item.pose == "lying" or item.place == "against wall"
        groups = [[thing] for thing in things[:count]] if alone else [things[:count]]
        placed: list[int] = []
        for group in groups:
            for number, place in (self._settled(self._sites, item, group, others) if group else {}).items():
                placed.append(self.arrangement.add(group[number], place))
                self._note(group[number])
        return placed

    def _settled(
        self, sites: Sites, item: Item, things: Sequence[Asset], others: Sequence[int]
    ) -> dict[int, Placement]:
        assert item.pose != "upright"
        work = self.arrangement
        if item.place == "against wall":
            (thing,) = things
            walls = [(normal, away) for normal, _, away in map(work.wall, work.walls)]
            return sites.against_wall(thing, walls, work.free_floor(max(thing.size_m)))
        if not others:
            share = 0.12 if item.place == "in the middle" else 0.45
            return sites.on_floor(item.pose, things, share * np.array(work.room.size[:2]), work.free_floor())
        supports = [
            (other, index, one)
            for other in others
            for index, one in enumerate(work.found.supports.get(other, ()))
            if support.may_hold(work, other, one, item.support) or one.kind == "inside"
        ]
        # In a container there is one place. On a shelf, things can only lean.
        inside = [one for one in supports if one[2].kind == "inside"]
        usable = inside if item.pose == "heap" and inside else [one for one in supports if one[2].kind != "inside"]
        usable = [one for one in usable if item.pose == "leaning" or one[2].kind != "shelf"]
        if not usable:
            return {}
        areas = np.array([one.shape().area for _, _, one in usable])
        other, index, surface = usable[int(self._rng.choice(len(usable), p=areas / areas.sum()))]
        on = standing_on(other, index, work.found.supports)
        return sites.on(item.pose, things, on, surface, region(surface, work.found.placements[other]))

    def _one(
        self, item: Item, placed: Sequence[int], put: Callable[[Asset], int], beside: Sequence[int] = ()
    ) -> list[int]:
        """The id of the first model that can be put there; empty if none can. Arguments as in `_models`."""
        for asset in self._models(item, placed, beside):
            if found := put(asset):
                self._note(asset)
                return [found]
        return []

    def _note(self, asset: Asset) -> None:
        self._used.add(asset.model or asset.uid)
        self._categories[asset.category] = self._categories.get(asset.category, 0) + 1

    def _able(self, item: Item, placed: Sequence[int]) -> list[Asset]:
        """Unused models that can play the role."""
        role, found = self._roles[item.role], self.arrangement.found
        return [
            asset
            for asset in self._assets
            if (asset.model or asset.uid) not in self._used
            and _can_play(asset, role, self._supports_of)
            and not (item.same and placed and asset.category != found.assets[placed[0]].category)
        ]

    def _models(self, item: Item, placed: Sequence[int], beside: Sequence[int] = ()) -> list[Asset]:
        """Models to try, most wanted first.

        Args:
            beside: ids of objects. Categories of what stands on them are seldom repeated.
        """
        found = self.arrangement.found
        there = Counter(
            found.assets[id].category
            for id, place in found.placements.items()
            if place.standing and place.standing.object in beside
        )
        able = [asset for asset in self._able(item, placed) if there[asset.category] < 2]
        if not able:
            return []
        # Categories are drawn evenly, new ones first: a room is not full of lamps because the models are.
        weights = np.array(
            [_TWIN ** there[asset.category] * _AGAIN ** self._categories.get(asset.category, 0) for asset in able]
        )
        sizes: dict[str, int] = {}
        for asset in able:
            sizes[asset.category] = sizes.get(asset.category, 0) + 1
        weights /= [sizes[asset.category] for asset in able]
        if item.same and placed:  # chairs around a table are mostly of one set
            color = found.assets[placed[0]].colour
            weights *= [1.0 if asset.colour == color else _OTHER_COLOR for asset in able]
        chosen = self._rng.choice(len(able), min(_MODELS, len(able)), replace=False, p=weights / weights.sum())
        return [able[index] for index in chosen.tolist()]

    def _around(self, item: Item, count: int, table: int) -> list[int]:
        """At the sides of a table, one at each."""
        work, placed = self.arrangement, list[int]()
        base = work.found.placements[table]
        for side in self._rng.permutation(4).tolist():
            if len(placed) < count:
                angle = base.yaw_deg + 90.0 * side
                placed += self._one(item, placed, lambda asset, a=angle: floor.at_table(work, asset, table, a))
        return placed

    def _row(self, item: Item, count: int, other: int) -> list[int]:
        """Beside the last one, and so on, in one direction; then at the other end."""
        work, placed = self.arrangement, list[int]()
        ends = [other, other]
        side = int(self._rng.integers(2))
        standing = work.found.placements[other].standing

        def put(asset: Asset) -> int:
            nonlocal side
            for _ in range(2):
                direction = 1.0 if side else -1.0
                if standing is None:
                    found = floor.at_side(work, asset, ends[side], item, direction)
                else:
                    found = support.next_on_support(work, asset, ends[side], direction)
                if found:
                    ends[side] = found
                    return found
                side = 1 - side
            return 0

        for _ in range(count):
            placed += self._one(item, placed, put)
        return placed

    def _stack(self, item: Item, count: int, others: Sequence[int]) -> list[int]:
        """Things of one category on each other, each smaller than the one below."""
        work, found = self.arrangement, self.arrangement.found
        placed: list[int] = []
        for asset in _largest_first(self._models(item, [])):
            if new := support.on(work, asset, others, item.support):
                self._note(asset)
                placed.append(new)
                break
        if not placed:
            return []
        alike = [one for one in self._able(item, placed) if one.category == found.assets[placed[0]].category]
        for asset in _largest_first(alike):
            if len(placed) < count and (new := support.stacked(work, asset, placed[-1])):
                self._note(asset)
                placed.append(new)
        return placed


def _largest_first(assets: Sequence[Asset]) -> list[Asset]:
    return sorted(assets, key=lambda one: -one.size_m[0] * one.size_m[1])
