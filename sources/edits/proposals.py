"""Proposals: a scene and an edit from a seed, without Blender, equal on every machine.

Invariant: a proposal depends only on its arguments, and attempts of one scene number differ only in the edit, so that
a renderer can keep the loaded scene.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...shards.schema import EditKind
from ..assets.asset import Asset
from ..scenes.kinds import Furniture, compose_scene
from ..scenes.layout import Scene
from ..scenes.needs import joint
from ..scenes.spec import SceneOptions, SceneSpec
from .draft import Draft, specify
from .judge import forecast_fault
from .limits import forecast_limits
from .registry import RULES

EDITS_PER_SCENE = 5
SCENE, EDIT, TEXTURES = 0, 1, 2
"""Purpose of a generator; separates the random streams of one seed."""
_TRIES = 24
"""Drafts of an edit that are checked against the floor plan before the proposal is rejected."""
_FORECASTS = 5
"""Most drafts, of those, whose visibility is forecast."""
_SCENES = 6
"""Scenes that are tried until one allows an edit."""
_FURNISHED_TRIES, _FURNISHED_FORECASTS = 40, 8
"""The same in furnished scenes, where places are fewer."""


@dataclass(frozen=True)
class Rejection:
    """Why there is no proposal: a short, stable reason that is counted."""

    reason: str


def scene_number(attempt: int) -> int:
    """The number of the scene of an attempt. Attempts with the same number share objects, floor, walls and light."""
    return attempt // EDITS_PER_SCENE


def propose(
    assets: Sequence[Asset],
    kind: EditKind,
    options: SceneOptions,
    resolution: tuple[int, int],
    seed: int,
    attempt: int,
    furniture: Furniture | None = None,
) -> SceneSpec | Rejection:
    """One proposal, geometrically valid; `judge.judge` decides on the renderer's visibility.

    Args:
        assets: assets that an open scene may contain; the same for all attempts of one scene number.
        resolution: width and height, pixels.
        seed: seed of the sample, not negative.
        attempt: 0, 1, ...; each gives another proposal.
        furniture: needed if `options.kinds` has more than open scenes; the same for all attempts of one scene number.
    """
    number, edit = scene_number(attempt), attempt % EDITS_PER_SCENE
    scene = scene_for([kind], assets, options, resolution, seed, number, furniture)
    if isinstance(scene, str):
        return Rejection(scene)
    draft = propose_edit(generator(seed, number, EDIT, edit), scene, kind, options.min_visible, edit)
    return Rejection(draft) if isinstance(draft, str) else specify(scene, draft)


def scene_for(
    kinds: Sequence[EditKind],
    assets: Sequence[Asset],
    options: SceneOptions,
    resolution: tuple[int, int],
    seed: int,
    number: int,
    furniture: Furniture | None,
) -> Scene | str:
    """The scene with this number: the first of a few that allows edits of these kinds, or why there is none.

    Other arguments: see `propose`.
    """
    needs = RULES[kinds[0]].needs if len(kinds) == 1 else joint([RULES[kind].needs for kind in kinds])
    choosy: list[EditKind] = [kind for kind in dict.fromkeys(kinds) if RULES[kind].choosy]
    draft: Draft | str = ""
    for part in range(_SCENES):
        rng = generator(seed, number, SCENE, *((part,) if part else ()))
        scene = compose_scene(rng, assets, furniture, needs, options, resolution)
        if isinstance(scene, str) and len(kinds) > 1:
            draft = scene
            continue
        if isinstance(scene, str) or not scene.furnished or not choosy:
            return scene
        # The edit of the first attempt. All attempts share the scene.
        for kind in choosy:
            draft = propose_edit(generator(seed, number, EDIT, 0), scene, kind, options.min_visible, 0)
            if isinstance(draft, str):
                break
        else:
            return scene
    assert isinstance(draft, str)
    return draft


def propose_edit(rng: np.random.Generator, scene: Scene, kind: EditKind, min_visible: float, turn: int) -> Draft | str:
    """An edit of a composed scene that is valid in the forecast, or the most frequent reason why none was found.

    Args:
        turn: number of the edit among those of one scene, from 0.
    """
    limits = forecast_limits(min_visible)
    faults: Counter[str] = Counter()
    rules = RULES[kind]
    drafts = rules.drafts(rng, scene, turn)
    tries, most_forecasts = (_TRIES, _FORECASTS) if not scene.furnished else (_FURNISHED_TRIES, _FURNISHED_FORECASTS)
    forecasts = 0
    for _ in range(tries):
        draft = next(drafts, None)
        if draft is None:
            break
        fault = rules.floor_fault(scene, draft)
        if fault is None:
            forecasts += 1
            fault = forecast_fault(scene, draft, limits)
            if fault is None:
                return draft
        faults[fault] += 1
        if forecasts == most_forecasts:
            break
    return faults.most_common(1)[0][0] if faults else "nothing_left_to_edit"


def generator(*entropy: int) -> np.random.Generator:
    """A random generator whose stream depends only on these numbers."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
