"""`translate`: an object moves to another place: on the floor, in a container, or on, in or under another object."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ...shards.geometry import to_json_list
from ..scenes.layout import Scene
from ..scenes.needs import SceneNeeds
from ..scenes.spec import EditSpec, SceneSpec
from .checks import Seen, moved_px
from .destinations import Spot, aim, into
from .draft import Draft, draft_of
from .furnished_destinations import FurnishedDestinations
from .kind import EditRules
from .limits import Limits

_SHARES = (0.35, 0.35, 0.12, 0.18)
_INTO_SHARE = 0.7
"""Share of moves into the container, in a scene with a container and an object that fits into it."""


class Translate(EditRules):
    def drafts(self, rng: np.random.Generator, scene: Scene, turn: int) -> Iterator[Draft]:
        for identity, spot in _moves(rng, scene):
            source, target = scene.placements[identity], spot.placement
            x, y, z = to_json_list((target.x - source.x, target.y - source.y, target.z - source.z))
            edit = EditSpec("translate", identity, translation=(x, y, z), allows_occlusion=spot.allows_occlusion)
            yield draft_of(scene, edit, {identity: target})

    def change_fault(self, spec: SceneSpec, source: Seen, target: Seen, limits: Limits) -> str | None:
        """Limits the distance that the middle of the object moves in the image."""
        shift = moved_px(spec, spec.edit.object)
        return "moved_too_little" if shift < limits.shift * min(spec.width, spec.height) else None

    def inverted(self, spec: SceneSpec) -> EditSpec:
        x, y, z = spec.edit.translation
        # Subtracted from zero, because the negative of zero prints as -0.
        return EditSpec("translate", spec.edit.object, translation=(0.0 - x, 0.0 - y, 0.0 - z))

    def between(self, spec: SceneSpec, first: EditSpec, second: EditSpec) -> EditSpec:
        before, after = (state.placements[spec.edit.object] for state in (spec.source, spec.target))
        x, y, z = to_json_list(np.subtract((after.x, after.y, after.z), (before.x, before.y, before.z)))
        return replace(spec.edit, translation=(x, y, z))


def _moves(rng: np.random.Generator, scene: Scene) -> Iterator[tuple[int, Spot]]:
    """Endless: an object and a place to move it to, not checked yet."""
    if scene.furnished:
        yield from FurnishedDestinations(scene, scene.fit, new=False).draw(rng, _SHARES)
    while True:
        if scene.guest in scene.fit and rng.random() < _INTO_SHARE:
            yield scene.guest, into(rng, scene)
            continue
        identity = scene.fit[int(rng.integers(len(scene.fit)))]
        spot = aim(rng, scene, identity, _SHARES)
        if spot is not None:
            yield identity, spot


RULES = Translate(
    kind="translate",
    inverse="translate",
    noun="translation",
    numbers=("translation",),
    needs=SceneNeeds(
        gap=(0.35, 1.3), fill=(0.55, 0.72), wall_gap=(0.15, 0.8), container=True, upright=True, carriers=True
    ),
    composes={"translate": "translate", "remove": "remove"},
)
