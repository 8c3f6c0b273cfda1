"""`swap`: two objects exchange their places."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ...shards.geometry import to_json_list
from ..scenes.layout import Scene
from ..scenes.needs import SceneNeeds
from ..scenes.spec import EditSpec, SceneSpec
from .checks import Seen, moved_px
from .draft import Draft, draft_of
from .kind import EditRules
from .limits import Limits


class Swap(EditRules):
    def drafts(self, rng: np.random.Generator, scene: Scene, turn: int) -> Iterator[Draft]:
        # Two objects of one category that exchange places would leave almost the same image.
        pairs = [(i, j) for i in scene.fit for j in scene.fit if scene.asset(i).category != scene.asset(j).category]
        pairs = [(i, j) for i, j in pairs if scene.placements[i].standing == scene.placements[j].standing]
        while pairs:
            one, other = pairs[int(rng.integers(len(pairs)))]
            here, there = scene.placements[one], scene.placements[other]
            x, y, z = to_json_list((there.x - here.x, there.y - here.y, there.z - here.z))
            targets = {one: replace(here, x=there.x, y=there.y), other: replace(there, x=here.x, y=here.y)}
            yield draft_of(scene, EditSpec("swap", one, translation=(x, y, z), second_object=other), targets)

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


RULES = Swap(
    kind="swap",
    inverse="swap",
    noun="swap",
    numbers=("translation",),
    needs=SceneNeeds(gap=(0.35, 1.3), fill=(0.55, 0.75), editable=2, upright=True),
)
