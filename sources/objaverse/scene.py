"""Proposals: a scene and an edit from a seed, without Blender, equal on every machine.

Invariant: a proposal depends on its arguments alone, and attempts of one scene number differ in the edit only, so that
a renderer may keep the scene that it has loaded.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shards.schema import EditKind
from sources.objaverse.edits import propose_edit, specify
from sources.objaverse.layout import compose
from sources.objaverse.spec import Asset, SceneOptions, SceneSpec

EDITS_PER_SCENE = 5
_SCENE, _EDIT = 0, 1


@dataclass(frozen=True)
class Refusal:
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
) -> SceneSpec | Refusal:
    """One proposal, valid as far as geometry tells; what the renderer sees of it is for `edits.judge` to say.

    Args:
        assets: what the scene may hold; the same for all attempts of one scene number.
        resolution: width and height, pixels.
        seed: of the sample, not negative.
        attempt: 0, 1, ...: each gives another proposal.
    """
    number, edit = scene_number(attempt), attempt % EDITS_PER_SCENE
    scene = compose(_generator(seed, number, _SCENE), assets, kind, options, resolution)
    if isinstance(scene, str):
        return Refusal(scene)
    draft = propose_edit(_generator(seed, number, _EDIT, edit), scene, kind, options.min_visible, edit)
    return Refusal(draft) if isinstance(draft, str) else specify(scene, draft)


def _generator(*entropy: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
