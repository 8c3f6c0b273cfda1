"""`remove`: an object is removed."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..scenes.layout import Scene
from ..scenes.spec import EditSpec, SceneSpec
from .checks import Seen
from .draft import Draft, draft_of
from .kind import EditRules
from .limits import Limits


class Remove(EditRules):
    def drafts(self, rng: np.random.Generator, scene: Scene, turn: int) -> Iterator[Draft]:
        """Each `turn` removes another object, until none is left."""
        if turn < len(scene.fit):
            identity = scene.fit[(scene.seed + turn) % len(scene.fit)]
            gone = replace(scene.placements[identity], present=False)
            yield draft_of(scene, EditSpec("remove", identity), {identity: gone})

    def floor_fault(self, scene: Scene, draft: Draft) -> str | None:
        """None: a removed object needs no place."""
        return None

    def change_fault(self, spec: SceneSpec, source: Seen, target: Seen, limits: Limits) -> str | None:
        """None: removing a visible object is a visible change."""
        return None

    def inverted(self, spec: SceneSpec) -> EditSpec:
        return EditSpec("insert", spec.edit.object)

    def between(self, spec: SceneSpec, first: EditSpec, second: EditSpec) -> EditSpec:
        return spec.edit


RULES = Remove(
    kind="remove",
    inverse="insert",
    noun="removal",
    in_target=False,
    composes={"translate": "insert", "rotate": "insert", "scale": "insert"},
)
