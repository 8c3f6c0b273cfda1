"""`swap`: two objects exchange their places."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np

from ...shards.geometry import F64, to_json_list
from ..scenes.footprints import footprint
from ..scenes.layout import Scene
from ..scenes.needs import SceneNeeds
from ..scenes.spec import EditSpec, SceneSpec
from ..scenes.standing import riders
from .checks import FloorPlan, Seen, is_in_image, moved_px
from .draft import Draft, draft_of, resting
from .furnished_destinations import is_handy
from .kind import EditRules
from .limits import Limits

_LEVELS_SHARE = 0.5
"""Share of the swaps in furnished scenes that first try objects on different levels."""


class Swap(EditRules):
    def drafts(self, rng: np.random.Generator, scene: Scene, turn: int) -> Iterator[Draft]:
        # Two objects of one category that exchange places would leave almost the same image.
        pairs = [(i, j) for i in scene.fit for j in scene.fit if scene.asset(i).category != scene.asset(j).category]
        if scene.furnished:
            yield from _among_furniture(rng, scene, pairs)
            return
        while pairs:
            yield _exchanged(scene, *pairs[int(rng.integers(len(pairs)))])

    def change_fault(self, spec: SceneSpec, source: Seen, target: Seen, limits: Limits) -> str | None:
        """Limits the smaller of the distances that the middles of the two objects move in the image."""
        shift = min(moved_px(spec, identity) for identity in spec.edit.edited)
        return "moved_too_little" if shift < limits.shift * min(spec.width, spec.height) else None

    def inverted(self, spec: SceneSpec) -> EditSpec:
        x, y, z = spec.edit.translation
        # Subtracted from zero, because the negative of zero prints as -0.
        return replace(spec.edit, translation=(0.0 - x, 0.0 - y, 0.0 - z))

    def between(self, spec: SceneSpec, first: EditSpec, second: EditSpec) -> EditSpec:
        return spec.edit


def _among_furniture(rng: np.random.Generator, scene: Scene, pairs: list[tuple[int, int]]) -> Iterator[Draft]:
    """Swaps in which both objects fit, each once: half of the time the first one is between two levels."""
    plan, levels = FloorPlan(scene), {id: place.standing for id, place in scene.placements.items()}
    pairs = [(i, j) for i, j in pairs if j not in riders(i, scene.placements) and i not in riders(j, scene.placements)]
    pairs = [(i, j) for i, j in pairs if levels[i] == levels[j] or (_goes_to(scene, i, j) and _goes_to(scene, j, i))]
    order = [pairs[index] for index in rng.permutation(len(pairs)).tolist()]
    if rng.random() < _LEVELS_SHARE:
        across = [(i, j) for i, j in order if levels[i] != levels[j]]
        order = across + [pair for pair in order if pair not in across]
    for one, other in order:
        for shift in _shifts(scene, one, other):
            draft = _exchanged(scene, one, other, shift)
            target = draft.target.placements
            shown = all(is_in_image(scene, id, target[id], new=False) for id in (one, other))
            if shown and plan.fault(target, draft.moved) is None:
                yield draft
                break


def _shifts(scene: Scene, one: int, other: int) -> list[F64]:
    """Displacements (2,) of an object to the place of another one, meters; the other one moves the opposite way.

    First from origin to origin. Then those that exchange the positions of two edges, the most similar ones first: if
    two pieces of furniture stand with their backs to walls, each ends with its back to the wall of the other.
    """
    (low, high), (its_low, its_high) = (
        (outline.min(axis=0), outline.max(axis=0))
        for outline in (footprint(scene.asset(id), scene.placements[id]) for id in (one, other))
    )
    here, there = scene.placements[one], scene.placements[other]
    middle = np.array([there.x - here.x, there.y - here.y])
    ways = np.stack([middle, its_low - low, its_high - high])
    shifts = [np.array([ways[x, 0], ways[y, 1]]) for x, y in product(range(len(ways)), repeat=2)]
    return sorted(shifts, key=lambda shift: float(np.abs(shift - middle).max()))


def _goes_to(scene: Scene, identity: int, other: int) -> bool:
    """Whether an object may stand where another one stands: on the floor, or as something that is put on others."""
    on = scene.placements[other].standing
    return on is None or (on.object != identity and is_handy(scene.asset(identity), scene.placements[identity]))


def _exchanged(scene: Scene, one: int, other: int, shift: F64 | None = None) -> Draft:
    """Two objects in each other's places.

    Args:
        shift: displacement (2,) of the first one, meters; default: to the origin of the other one.
    """
    here, there = scene.placements[one], scene.placements[other]
    x, y = to_json_list((there.x - here.x, there.y - here.y) if shift is None else shift)
    places = (
        replace(here, x=round(here.x + x, 6), y=round(here.y + y, 6), standing=there.standing),
        replace(there, x=round(there.x - x, 6), y=round(there.y - y, 6), standing=here.standing),
    )
    targets = {id: resting(scene, id, place) for id, place in zip((one, other), places, strict=True)}
    edit = EditSpec("swap", one, translation=(x, y, to_json_list((targets[one].z - here.z,))[0]), second_object=other)
    return draft_of(scene, edit, targets)


RULES = Swap(
    kind="swap",
    inverse="swap",
    noun="swap",
    numbers=("translation",),
    choosy=True,
    needs=SceneNeeds(gap=(0.35, 1.3), fill=(0.55, 0.75), editable=2, upright=True, carriers=True),
)
