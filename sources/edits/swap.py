"""`swap`: two objects exchange their places."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ...shards.geometry import to_json_list
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

    def suits(self, scene: Scene) -> bool:
        """In furnished scenes few objects fit where others stand."""
        return not scene.furnished or next(self.drafts(np.random.default_rng(0), scene, 0), None) is not None

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
        draft = _exchanged(scene, one, other)
        target = draft.target.placements
        shown = all(is_in_image(scene, id, target[id], new=False) for id in (one, other))
        if shown and plan.fault(target, draft.moved) is None:
            yield draft


def _goes_to(scene: Scene, identity: int, other: int) -> bool:
    """Whether an object may stand where another one stands: on the floor, or as something that is put on others."""
    on = scene.placements[other].standing
    return on is None or (on.object != identity and is_handy(scene.asset(identity), scene.placements[identity]))


def _exchanged(scene: Scene, one: int, other: int) -> Draft:
    here, there = scene.placements[one], scene.placements[other]
    targets = {
        one: resting(scene, one, replace(here, x=there.x, y=there.y, z=there.z, standing=there.standing)),
        other: resting(scene, other, replace(there, x=here.x, y=here.y, z=here.z, standing=here.standing)),
    }
    x, y, z = to_json_list((there.x - here.x, there.y - here.y, targets[one].z - here.z))
    return draft_of(scene, EditSpec("swap", one, translation=(x, y, z), second_object=other), targets)


RULES = Swap(
    kind="swap",
    inverse="swap",
    noun="swap",
    numbers=("translation",),
    needs=SceneNeeds(gap=(0.35, 1.3), fill=(0.55, 0.75), editable=2, upright=True, carriers=True),
)
