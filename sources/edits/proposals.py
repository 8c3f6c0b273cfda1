"""Proposals: a scene and an edit from a seed, without Blender, equal on every machine.

Invariant: a proposal depends on its arguments alone, and attempts of one scene number differ in the edit only, so that
a renderer may keep the scene that it has loaded.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...shards.schema import EditKind
from ..assets.asset import Asset
from ..scenes.layout import Scene, compose
from ..scenes.spec import SceneOptions, SceneSpec
from .draft import Draft, specify
from .judge import forecast_fault
from .limits import forecast_limits
from .registry import RULES

EDITS_PER_SCENE = 5
SCENE, EDIT = 0, 1
"""What a generator is for, which tells its stream from others of one seed."""
_TRIES = 24
"""Drafts of an edit that are checked against the floor plan before the proposal is refused."""
_LOOKS = 5
"""Drafts of those whose view is forecast."""


@dataclass(frozen=True)
class Rejection:
    """Why there is no proposal: short and stable, to be counted."""

    reason: str


def scene_number(attempt: int) -> int:
    """Attempts with the same number propose edits of one scene: same objects, floor, walls, light and source."""
    return attempt // EDITS_PER_SCENE


def propose(
    assets: Sequence[Asset],
    kind: EditKind,
    options: SceneOptions,
    resolution: tuple[int, int],
    seed: int,
    attempt: int,
) -> SceneSpec | Rejection:
    """One proposal, valid as far as geometry tells; what the renderer sees of it is for `judge.judge` to say.

    Args:
        assets: what the scene may hold; the same for all attempts of one scene number.
        resolution: width and height, pixels.
        seed: of the sample, not negative.
        attempt: 0, 1, ...: each gives another proposal.
    """
    number, edit = scene_number(attempt), attempt % EDITS_PER_SCENE
    scene = compose(generator(seed, number, SCENE), assets, RULES[kind].needs, options, resolution)
    if isinstance(scene, str):
        return Rejection(scene)
    draft = propose_edit(generator(seed, number, EDIT, edit), scene, kind, options.min_visible, edit)
    return Rejection(draft) if isinstance(draft, str) else specify(scene, draft)


def propose_edit(rng: np.random.Generator, scene: Scene, kind: EditKind, min_visible: float, turn: int) -> Draft | str:
    """An edit of a composed scene that is valid as far as prisms tell, or the commonest reason why none was found.

    Args:
        turn: 0, 1, ... for the edits of one scene.
    """
    limits = forecast_limits(min_visible)
    faults: Counter[str] = Counter()
    rules = RULES[kind]
    drafts = rules.drafts(rng, scene, turn)
    looks = 0
    for _ in range(_TRIES):
        draft = next(drafts, None)
        if draft is None:
            break
        fault = rules.floor_fault(scene, draft)
        if fault is None:
            looks += 1
            fault = forecast_fault(scene, draft, limits)
            if fault is None:
                return draft
        faults[fault] += 1
        if looks == _LOOKS:
            break
    return faults.most_common(1)[0][0] if faults else "nothing_left_to_edit"


def generator(*entropy: int) -> np.random.Generator:
    """Of a scene or an edit: its stream depends on these numbers alone."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
