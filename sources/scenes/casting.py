"""Choice of the assets of a scene.

Invariant: objects keep their real sizes, and none looks more than about five times as long as another, so that all of
them are visible in one image.
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
"""Largest ratio between the apparent sizes of an object and the anchor."""
_SPREAD = 0.5
"""Standard deviation of the logarithm of that ratio."""
_FLAT = 0.08
"""Objects lower than this share of their width are rarely an anchor, because little of them is visible."""
_INTO_SHARE = 0.3
"""Share of scenes with a container and a guest, among those that may have them (`SceneNeeds.container`)."""
_ROOM = 0.9
"""Share of a container's opening that an object may fill."""
_GUEST = 0.4
"""Least apparent size of a guest, as a share of its container's."""
_RIM = 0.85
"""Least height that a guest reaches, as a share of its container's height: else the rim hides it."""
_INTO_COUNT = 4
"""Most objects of a scene with a guest, so that the camera is close enough to show it."""


@dataclass(frozen=True)
class Cast:
    """The assets of a scene, in the order of their object ids (from 1).

    `container` and `guest` are positions in `assets`, -1 if there is none.
    """

    assets: tuple[Asset, ...]
    container: int = -1
    guest: int = -1
    """An asset that fits into the container when their axes are parallel."""


def cast_scene(
    rng: np.random.Generator, assets: Sequence[Asset], needs: SceneNeeds, options: SceneOptions
) -> Cast | str:
    """Choose the assets of a scene, or return why this is not possible.

    Draws an anchor, then other assets of comparable size, each model once. If fewer are comparable than the drawn
    number of objects, the scene has fewer objects; it is filled up to the least number with those closest in size.
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


def cast_one(rng: np.random.Generator, assets: Sequence[Asset], needs: SceneNeeds) -> Asset | str:
    """The only asset of a scene, drawn as the anchor of others is, or why there is none."""
    if not assets:
        return "no_assets"
    weights = _anchor_weights(assets, needs)
    return assets[_draw(rng, weights)] if weights.any() else "nothing_rotatable"


def _anchor_weights(assets: Sequence[Asset], needs: SceneNeeds) -> F64:
    """The weight with which each asset is drawn as the anchor of a scene."""
    weights = np.array([0.25 if asset.size_m[2] < _FLAT * max(asset.size_m[:2]) else 1.0 for asset in assets])
    if needs.turnable:
        # Canonical views need a known front: if few assets have one, raise their weight to half of the scenes.
        fronts = np.array([asset.front_deg is not None for asset in assets])
        weights = weights * np.array([bool(free_turns(asset)) for asset in assets])
        known, unknown = weights[fronts].sum(), weights[~fronts].sum()
        if 0 < known < unknown:
            weights[fronts] *= unknown / known
    return weights


def _company(rng: np.random.Generator, assets: Sequence[Asset], first: list[int], count: int, least: int) -> list[int]:
    """Extend `first` to `count` indices of comparable assets, or to `least` if fewer are comparable."""
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
        same_category = [asset.category == assets[index].category for asset in assets]
        free[same_category] *= 0.4
    return chosen


def _fitting(assets: Sequence[Asset]) -> list[tuple[int, int]]:
    """Pairs (container, guest) in which the guest fits into the container."""
    boxes = [index for index, asset in enumerate(assets) if asset.supports > 0 and min(asset.opening) > 0]
    if not boxes:
        return []
    sizes = np.array([asset.size_m for asset in assets])
    apparent = np.array([apparent_size(asset) for asset in assets])
    pairs: list[tuple[int, int]] = []
    for box in boxes:
        width, depth = (_ROOM * side for side in assets[box].opening)
        along = (sizes[:, 0] <= width) & (sizes[:, 1] <= depth)
        across = (sizes[:, 1] <= width) & (sizes[:, 0] <= depth)
        seen = (apparent >= _GUEST * apparent[box]) & (assets[box].supports + sizes[:, 2] >= _RIM * sizes[box, 2])
        pairs += [(box, int(index)) for index in np.flatnonzero((along | across) & seen) if index != box]
    return pairs


def _draw(rng: np.random.Generator, weights: F64) -> int:
    """An index, drawn by weight."""
    return int(rng.choice(len(weights), p=weights / weights.sum()))
