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
from .draft import Draft, specify
from .judge import forecast_fault
from .limits import forecast_limits
from .proposals import EDIT, EDITS_PER_SCENE, SCENE, Rejection, generator, propose_edit, scene_number
from .registry import RULES, composes_alone

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
) -> Two | Rejection:
    """Two edits of the same objects of one scene, or of its camera; arguments as of `proposals.propose`."""
    number, turn = scene_number(attempt), attempt % EDITS_PER_SCENE
    # The kind that composes with itself shapes the scene: its partner, a removal, asks nothing of it.
    main, other = kinds if composes_alone(kinds[0]) else (kinds[1], kinds[0])
    scene = compose(generator(seed, number, SCENE), assets, RULES[main].needs, options, resolution)
    if isinstance(scene, str):
        return Rejection(scene)
    rng = generator(seed, number, EDIT, turn)
    first = propose_edit(rng, scene, main, options.min_visible, turn)
    if isinstance(first, str):
        return Rejection(first)
    later = _of_the_same(scene, first)
    faults: Counter[str] = Counter()
    for _ in range(_SECONDS):
        # Of two edits of one kind it is the second: an insertion looks for a place of its own.
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
    """The scene, of which nothing but the objects of an edit may be edited."""
    return replace(scene, fit=first.edit.edited) if first.edit.edited else scene


def _fault_between(scene: Scene, spec: SceneSpec, min_visible: float) -> str | None:
    if alike(spec):
        return "moved_too_little"
    return forecast_fault(scene, Draft(spec.edit, spec.source, spec.target), forecast_limits(min_visible))
