"""Two edits of one scene, sampled together, so that the one between their targets is an edit, too.

Invariant: as for `sources.edits.proposals`: a proposal depends on its arguments alone, and attempts of one scene number
differ in the edits only.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from ...shards.schema import EditKind
from ..assets.asset import Asset
from ..scenes.layout import Scene, compose
from ..scenes.spec import SceneOptions, SceneSpec
from .composition import alike, composed
from .edits import Draft, forecast_fault, forecast_limits, propose_edit, specify
from .proposals import EDIT, EDITS_PER_SCENE, SCENE, Refusal, generator, scene_number

_SECONDS = 4
"""Second edits that are tried with one first edit."""
Two = tuple[SceneSpec, SceneSpec]


def propose_two(
    assets: Sequence[Asset],
    kinds: tuple[EditKind, EditKind],
    options: SceneOptions,
    resolution: tuple[int, int],
    seed: int,
    attempt: int,
) -> Two | Refusal:
    """Two edits of one object of one scene, or of its camera; arguments as of `scene.propose`."""
    number, turn = scene_number(attempt), attempt % EDITS_PER_SCENE
    # What lasts shapes the scene: a removal asks nothing of it.
    lasting: list[EditKind] = [kind for kind in kinds if kind != "remove"]
    other: EditKind = lasting[1] if len(lasting) == 2 else "remove"
    scene = compose(generator(seed, number, SCENE), assets, lasting[0], options, resolution)
    if isinstance(scene, str):
        return Refusal(scene)
    rng = generator(seed, number, EDIT, turn)
    first = propose_edit(rng, scene, lasting[0], options.min_visible, turn)
    if isinstance(first, str):
        return Refusal(first)
    later = _of_the_same(scene, first)
    faults: Counter[str] = Counter()
    for _ in range(_SECONDS):
        # Of two insertions, the second looks for a place of its own.
        second = propose_edit(rng, later, other, options.min_visible, turn=int(other == "insert"))
        if isinstance(second, str):
            faults[second] += 1
            continue
        both = (second, first) if kinds[0] == "remove" else (first, second)
        specs = (specify(scene, both[0]), specify(scene, both[1]))
        fault = _fault_between(scene, composed(*specs), options.min_visible)
        if fault is None:
            return specs
        faults[fault] += 1
    return Refusal(faults.most_common(1)[0][0])


def _of_the_same(scene: Scene, first: Draft) -> Scene:
    """The scene, of which nothing but the object of an edit may be edited."""
    return replace(scene, fit=(first.edit.object,)) if first.edit.object else scene


def _fault_between(scene: Scene, spec: SceneSpec, min_visible: float) -> str | None:
    if alike(spec):
        return "moved_too_little"
    return forecast_fault(scene, Draft(spec.edit, spec.source, spec.target), forecast_limits(min_visible))
