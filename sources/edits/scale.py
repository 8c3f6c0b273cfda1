"""`scale`: an object becomes larger or smaller where it stands."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..scenes.footprints import remade
from ..scenes.layout import Scene
from ..scenes.needs import SceneNeeds
from ..scenes.spec import EditSpec, SceneSpec
from ..scenes.standing import riders
from .checks import Seen
from .draft import Draft, draft_of, resting
from .kind import EditRules
from .limits import Limits

_MILD_LARGER, _MILD_SMALLER = (1.2, 1.5), (0.68, 0.85)
"""Factors for an object on which others stand, because these keep their size and must still fit."""


class Scale(EditRules):
    def drafts(self, rng: np.random.Generator, scene: Scene, turn: int) -> Iterator[Draft]:
        while True:
            identity = scene.fit[int(rng.integers(len(scene.fit)))]
            larger = rng.random() < 0.5
            if riders(identity, scene.placements):
                factor = round(float(rng.uniform(*(_MILD_LARGER if larger else _MILD_SMALLER))), 2)
            else:
                factor = round(float(rng.uniform(1.3, 1.8) if larger else rng.uniform(0.5, 0.75)), 2)
            scaled = remade(scene.asset(identity), scene.placements[identity], factor=factor)
            target = resting(scene, identity, scaled)
            yield draft_of(scene, EditSpec("scale", identity, scale=factor), {identity: target})

    def change_fault(self, spec: SceneSpec, source: Seen, target: Seen, limits: Limits) -> str | None:
        """Limits the ratio of the areas that the object covers in the two images."""
        ratio = target[spec.edit.object].own_px / source[spec.edit.object].own_px
        return "moved_too_little" if max(ratio, 1 / ratio) < limits.size_ratio else None

    def inverted(self, spec: SceneSpec) -> EditSpec:
        return EditSpec("scale", spec.edit.object, scale=1.0 / spec.edit.scale)

    def between(self, spec: SceneSpec, first: EditSpec, second: EditSpec) -> EditSpec:
        return replace(spec.edit, scale=second.scale / first.scale)


RULES = Scale(
    kind="scale",
    inverse="scale",
    noun="scaling",
    numbers=("scale",),
    needs=SceneNeeds(gap=(0.4, 1.2), fill=(0.55, 0.75), upright=True, carriers=True),
    composes={"scale": "scale", "remove": "remove"},
)
