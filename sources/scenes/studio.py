"""A studio: one object that a camera can go around, without walls.

If views are from below, or would be close to the floor, the object stands on a pedestal (`Pedestal`), which belongs to
the surroundings like the floor: it has no id, no name and no asset.

Invariant: the camera looks at the middle of the object's box; azimuth 0 of the grid is in front of the object where its
front is known; every view is above the floor.
"""

from collections.abc import Sequence
from math import inf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...shards.geometry import F64, intrinsics_of_lens, to_json_list
from ...shards.views import medium_distance
from ..assets.asset import Asset
from ..assets.supports import Support
from .camera import Orbit
from .casting import cast_one
from .footprints import footprint
from .grid import GridView
from .layout import Scene, sample_light
from .needs import SceneNeeds
from .silhouettes import forecast
from .spec import Pedestal, Placement, SceneObjectSpec, SceneOptions, Standing
from .standing import MODEL
from .surfaces import sample_surface

_NEEDS: Final = SceneNeeds(turnable=True)
"""A view from another side must look different."""
_ABOVE_FLOOR: Final = 0.1
"""Least height of the camera above the floor, as a share of its distance from the object."""
_RIM: Final = 0.03
"""Width of the board around the object, as a share of the radius of its box. From below, it hides little."""
_COLUMN: Final = 0.6
"""Size of the column below the board, relative to the board."""
_BOARD: Final = 0.08
"""Thickness of the board, as a share of the radius of the box."""
_CORNERS: Final = 1e-3
"""Largest error of a simplified outline, as a share of the radius of the box."""


def compose_studio(
    rng: np.random.Generator,
    assets: Sequence[Asset],
    views: Sequence[GridView],
    options: SceneOptions,
    resolution: tuple[int, int],
) -> tuple[Scene, tuple[Orbit, ...]] | str:
    """A studio as the first view shows it, and the camera of each view, or why there is none.

    Args:
        views: of the grid.
    """
    asset = cast_one(rng, assets, _NEEDS)
    if isinstance(asset, str):
        return asset
    size = np.asarray(asset.size_m)
    radius = float(np.linalg.norm(size)) / 2
    yaw = round(float(rng.uniform(0.0, 360.0)), 6)
    K = intrinsics_of_lens(float(rng.uniform(*options.camera.focal_mm)), *resolution)
    medium = medium_distance(size, K)
    ground = min(
        size[2] / 2 + one.distance * medium * (float(np.sin(np.deg2rad(one.elevation_deg))) - _ABOVE_FLOOR)
        for one in views
    )
    raised = round(max(-float(ground), _BOARD * radius), 6) if ground < 0 else 0.0
    place = Placement(0.0, 0.0, raised, yaw, standing=Standing(MODEL, 0, "top") if raised else None)
    start = rng.uniform(0.0, 360.0) if asset.front_deg is None else yaw + asset.front_deg
    pivot = (0.0, 0.0, round(raised + float(size[2]) / 2, 6))
    orbits = tuple(
        Orbit(
            pivot=pivot,
            azimuth_deg=round((float(start) + one.azimuth_deg) % 360.0, 6),
            elevation_deg=round(one.elevation_deg, 6),
            distance=round(one.distance * medium, 6),
            K=tuple(to_json_list(K)),
        )
        for one in views
    )
    objects, placements = (SceneObjectSpec(1, asset, "midground"),), {1: place}
    board, pedestal = None, None
    if raised:
        board, pedestal = _pedestal(rng, footprint(asset, place), raised, radius)
    scene = Scene(
        objects=objects,
        placements=placements,
        floor=sample_surface(rng, "floor"),
        walls=(),
        light=sample_light(rng, options.light),
        orbit=orbits[0],
        camera=orbits[0].pose(),
        resolution=resolution,
        outlook=forecast(objects, placements, orbits[0].pose(), resolution),
        fit=(1,),
        seed=int(rng.integers(2**31)),
        supports={MODEL: (board,)} if board else {},
        pedestal=pedestal,
    )
    return scene, orbits


def hidden_by_board(pedestal: Pedestal, position: F64, points: F64) -> NDArray[np.bool_]:
    """Which points (N, 3) on or above a pedestal its board hides from a camera at a position (3,); world meters."""
    if position[2] >= pedestal.height:
        return np.zeros(len(points), np.bool_)
    # Where the line of sight passes the top of the board. What stands on the board is at most a rounding below it.
    share = (pedestal.height - position[2]) / np.maximum(points[:, 2] - position[2], 1e-9)
    crossing = position[:2] + np.minimum(share, 1.0)[:, None] * (points[:, :2] - position[:2])
    corners = np.asarray(pedestal.board)
    edges = np.roll(corners, -1, axis=0) - corners
    offsets = crossing[:, None] - corners
    return np.asarray((edges[:, 0] * offsets[..., 1] - edges[:, 1] * offsets[..., 0] >= 0).all(axis=1))


def _pedestal(rng: np.random.Generator, outline: F64, height: float, radius: float) -> tuple[Support, Pedestal]:
    """A board on a column, around the outline (N, 2) of what stands on it, and the support that the board is.

    The board has the shape of the object seen from above, since any other one would hide more of it from below.
    """
    import shapely

    shape = shapely.Polygon(outline).buffer(_RIM * radius)
    board = shapely.get_coordinates(shapely.orient_polygons(shape.simplify(_CORNERS * radius)))[:-1]
    middle = board.mean(axis=0)
    rings = tuple(
        tuple((round(float(x), 6), round(float(y), 6)) for x, y in points)
        for points in (board, middle + _COLUMN * (board - middle))
    )
    support = Support("top", height, (rings[0],), inf, round(_RIM * radius, 6))
    return support, Pedestal(rings[0], rings[1], height, round(_BOARD * radius, 6), sample_surface(rng, "trim"))
