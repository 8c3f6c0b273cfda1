"""Which assets meet in one scene.

Invariant: the objects of a scene keep their real sizes, and none looks more than about five times as long as another,
so that all of them can be seen in one picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...shards.geometry import F64
from ..assets.asset import Asset
from .footprints import apparent_size
from .needs import SceneNeeds
from .rotations import free_turns
from .spec import SceneOptions

_REACH = 2.2
"""An object looks at most so many times longer or shorter than the anchor."""
_SPREAD = 0.5
"""Standard deviation of the logarithm of that ratio."""
_FLAT = 0.08
"""Objects lower than this share of their width are seldom an anchor: little of them can be seen."""
_INTO_SHARE = 0.3
"""Share of the scenes that may have a container (`SceneNeeds.container`) in which an object could go into one."""
_ROOM = 0.9
"""Share of a container's opening that an object may fill."""
_GUEST = 0.4
"""A guest looks at least so long, as a share of its container: else it is lost in it."""
_RIM = 0.85
"""A guest reaches at least this share of its container's height: else the rim hides it."""
_INTO_COUNT = 4
"""Most objects of a scene with a guest, so that it is seen from near enough."""


@dataclass(frozen=True)
class Cast:
    """The assets of a scene, in the order of their object ids (from 1).

    `container` and `guest` are positions in `assets`, -1 where there is none.
    """

    assets: tuple[Asset, ...]
    container: int = -1
    guest: int = -1
    """An asset that fits into the container when their axes are parallel."""


def cast_scene(
    rng: np.random.Generator, assets: Sequence[Asset], needs: SceneNeeds, options: SceneOptions
) -> Cast | str:
    """Choose the assets of a scene, or say why there are none.

    One anchor is drawn, and others of comparable size around it, each model once. Where fewer are comparable than
    were drawn, the scene is smaller; where fewer than the least, those nearest in size make it up.
    """
    if not assets:
        return "no_assets"
    if len({asset.model or asset.uid for asset in assets}) < options.objects[0]:
        return "too_few_models"
    count = int(rng.integers(options.objects[0], options.objects[1] + 1))
    pairs = _fitting(assets) if needs.container and count >= 2 else []
    if pairs and rng.random() < _INTO_SHARE:
        container, guest = pairs[int(rng.integers(len(pairs)))]
        first, count = [container, guest], min(count, max(_INTO_COUNT, options.objects[0]))
    else:
        weights = _anchor_weights(assets, needs)
        if not weights.any():
            return "nothing_rotatable"
        container = guest = -1
        first = [_draw(rng, weights)]
    chosen = _company(rng, assets, first, count, options.objects[0])
    order = rng.permutation(len(chosen)).tolist()
    ids = [chosen[index] for index in order]
    return Cast(
        assets=tuple(assets[index] for index in ids),
        container=order.index(0) if container >= 0 else -1,
        guest=order.index(1) if guest >= 0 else -1,
    )


def _anchor_weights(assets: Sequence[Asset], needs: SceneNeeds) -> F64:
    """How often each asset is the one that a scene is built around."""
    weights = np.array([0.25 if asset.size_m[2] < _FLAT * max(asset.size_m[:2]) else 1.0 for asset in assets])
    if needs.turnable:
        # Canonical views need a known front: let half of the scenes have one where few assets do.
        fronts = np.array([asset.front_deg is not None for asset in assets])
        weights = weights * np.array([bool(free_turns(asset)) for asset in assets])
        known, unknown = weights[fronts].sum(), weights[~fronts].sum()
        if 0 < known < unknown:
            weights[fronts] *= unknown / known
    return weights


def _company(rng: np.random.Generator, assets: Sequence[Asset], first: list[int], count: int, least: int) -> list[int]:
    """Complete `first` to `count` indices of comparable assets, or to `least` where no more are comparable."""
    sizes = np.log([apparent_size(asset) for asset in assets])
    models = np.array([asset.model or asset.uid for asset in assets])
    distance = np.abs(sizes - sizes[first[0]])
    free = np.exp(-0.5 * (distance / _SPREAD) ** 2) * (distance <= np.log(_REACH))
    chosen = list(first)
    free[np.isin(models, models[chosen])] = 0.0
    while len(chosen) < count:
        if free.any():
            index = _draw(rng, free)
        elif len(chosen) < least:
            index = int(np.argmin(np.where(np.isin(models, models[chosen]), np.inf, distance)))
        else:
            break
        chosen.append(index)
        free[models == models[index]] = 0.0
        alike = [asset.category == assets[index].category for asset in assets]
        free[alike] *= 0.4
    return chosen


def _fitting(assets: Sequence[Asset]) -> list[tuple[int, int]]:
    """(container, guest): pairs of which the second can stand in the first."""
    boxes = [index for index, asset in enumerate(assets) if asset.supports > 0 and min(asset.opening) > 0]
    if not boxes:
        return []
    sizes = np.array([asset.size_m for asset in assets])
    looks = np.array([apparent_size(asset) for asset in assets])
    pairs: list[tuple[int, int]] = []
    for box in boxes:
        width, depth = (_ROOM * side for side in assets[box].opening)
        along = (sizes[:, 0] <= width) & (sizes[:, 1] <= depth)
        across = (sizes[:, 1] <= width) & (sizes[:, 0] <= depth)
        seen = (looks >= _GUEST * looks[box]) & (assets[box].supports + sizes[:, 2] >= _RIM * sizes[box, 2])
        pairs += [(box, int(index)) for index in np.flatnonzero((along | across) & seen) if index != box]
    return pairs


def _draw(rng: np.random.Generator, weights: F64) -> int:
    """An index, by weight."""
    return int(rng.choice(len(weights), p=weights / weights.sum()))
