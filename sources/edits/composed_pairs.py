"""Proposals of two edits of one scene, such that the change from one target to the other is also an edit.

Invariant: as for `sources.edits.proposals`, a proposal depends only on its arguments, and attempts of one scene number
differ only in the edits.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from ...shards.schema import EditKind
from ..assets.asset import Asset
from ..scenes.kinds import Furniture
from ..scenes.layout import Scene
from ..scenes.spec import SceneOptions, SceneSpec
from ..scenes.standing import riders
from .composition import composed, looks_same
from .draft import Draft, specify
from .judge import forecast_fault
from .limits import forecast_limits
from .proposals import EDIT, EDITS_PER_SCENE, Rejection, generator, propose_edit, scene_for, scene_number
from .registry import RULES, composes_alone

_SECONDS = 4
"""Second edits that are tried for each first edit."""

SpecPair = tuple[SceneSpec, SceneSpec]


def propose_two(
    assets: Sequence[Asset],
    kinds: tuple[EditKind, EditKind],
    options: SceneOptions,
    resolution: tuple[int, int],
    seed: int,
    attempt: int,
    furniture: Furniture | None = None,
) -> SpecPair | Rejection:
    """Two edits of the same objects of one scene, or of its camera. Arguments: see `proposals.propose`."""
    number, turn = scene_number(attempt), attempt % EDITS_PER_SCENE
    # The scene follows the needs of the kind that composes with itself: its partner, a removal, has none.
    main, other = kinds if composes_alone(kinds[0]) else (kinds[1], kinds[0])
    scene = scene_for(main, assets, options, resolution, seed, number, furniture)
    if isinstance(scene, str):
        return Rejection(scene)
    if not RULES[other].needs.carriers:
        # The second edit is of the same object.
        alone = tuple(id for id in scene.fit if not riders(id, scene.placements))
        if not alone:
            return Rejection("nothing_to_edit")
        scene = replace(scene, fit=alone)
    rng = generator(seed, number, EDIT, turn)
    first = propose_edit(rng, scene, main, options.min_visible, turn)
    if isinstance(first, str):
        return Rejection(first)
    later = _of_the_same(scene, first)
    faults: Counter[str] = Counter()
    for _ in range(_SECONDS):
        # With `turn` 1, a second insertion searches a place instead of taking the one of the layout.
        second = propose_edit(rng, later, other, options.min_visible, turn=int(other == main))
        if isinstance(second, str):
            faults[second] += 1
            continue
        both = (first, second) if kinds[0] == main else (second, first)
        specs = (specify(scene, both[0]), specify(scene, both[1]))
        fault = _fault_between(scene, composed(*specs), options.min_visible)
        if fault is None:
            return specs
        faults[fault] += 1
    return Rejection(faults.most_common(1)[0][0])


def _of_the_same(scene: Scene, first: Draft) -> Scene:
    """The scene, restricted to edits of the objects of `first`."""
    return replace(scene, fit=first.edit.edited) if first.edit.edited else scene


def _fault_between(scene: Scene, spec: SceneSpec, min_visible: float) -> str | None:
    if looks_same(spec):
        return "moved_too_little"
    return forecast_fault(scene, Draft(spec.edit, spec.source, spec.target), forecast_limits(min_visible))
