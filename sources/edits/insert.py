"""`insert`: an object is added to the scene."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..scenes.layout import Scene
from ..scenes.spec import EditSpec, SceneSpec, State
from .checks import Seen
from .destinations import Spot, aim
from .draft import Draft
from .furnished_destinations import FurnishedDestinations
from .kind import EditRules
from .limits import Limits

_SHARES = (0.0, 0.5, 0.2, 0.3)
_LAYOUT_SHARE = 0.35
"""Share of the insertions in furnished scenes that first try the place of the layout."""


class Insert(EditRules):
    def drafts(self, rng: np.random.Generator, scene: Scene, turn: int) -> Iterator[Draft]:
        """The inserted object depends only on the scene, so that all edits of a scene have the same source image.

        The first edit of a scene first tries the place of the object in the layout.
        """
        identity = scene.fit[scene.seed % len(scene.fit)]
        for spot in _places(rng, scene, identity, turn == 0):
            source = scene.placements | {identity: replace(spot.placement, present=False)}
            target = scene.placements | {identity: spot.placement}
            edit = EditSpec("insert", identity, allows_occlusion=spot.allows_occlusion)
            yield Draft(edit, State(source, scene.camera), State(target, scene.camera))

    def change_fault(self, spec: SceneSpec, source: Seen, target: Seen, limits: Limits) -> str | None:
        """None: an inserted object that is visible is a visible change."""
        return None

    def inverted(self, spec: SceneSpec) -> EditSpec:
        return EditSpec("remove", spec.edit.object)

    def between(self, spec: SceneSpec, first: EditSpec, second: EditSpec) -> EditSpec:
        return spec.edit


def _places(rng: np.random.Generator, scene: Scene, identity: int, first: bool) -> Iterator[Spot]:
    """Places for the inserted object. With `first`, the first one is that of the layout, in furnished scenes often.

    Of what lies, leans or is in a heap, it is the only one; of others there is no end.
    """
    settled = scene.placements[identity].settled is not None
    if first and (settled or not scene.furnished or rng.random() < _LAYOUT_SHARE):
        yield Spot(scene.placements[identity])
    if scene.furnished and not settled:
        for _, spot in FurnishedDestinations(scene, (identity,), new=True).draw(rng, _SHARES):
            yield spot
    while not settled:
        spot = aim(rng, scene, identity, _SHARES)
        if spot is not None:
            yield spot


RULES = Insert(
    kind="insert",
    inverse="remove",
    noun="insertion",
    in_source=False,
    composes={"insert": "translate"},
)
