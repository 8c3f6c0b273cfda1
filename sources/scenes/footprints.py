"""Footprints of objects on the floor as convex polygons, and their distances to each other and to walls.

Invariant: every pair of objects is compared, except an object and the container that it stands in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...shards.geometry import F64, similarity, tilted_similarity, transform
from ..assets.asset import Asset
from .spec import Placement, SceneObjectSpec, Wall

Objects = Sequence[SceneObjectSpec]
Placements = Mapping[int, Placement]


def pose_of(placement: Placement) -> F64:
    """world_from_object, 4x4."""
    at = (placement.x, placement.y, placement.z, placement.yaw_deg)
    if placement.settled:
        return tilted_similarity(*at, placement.settled.tilt_deg, placement.scale)
    return similarity(*at, placement.scale)


def remade(asset: Asset, placement: Placement, turn_deg: float = 0.0, factor: float = 1.0) -> Placement:
    """The placement after the object is rotated (degrees about z) and scaled about its contact center.

    Its origin may move.
    """
    after = replace(
        placement, yaw_deg=round((placement.yaw_deg + turn_deg) % 360.0, 6), scale=round(placement.scale * factor, 6)
    )
    x, y = contact(asset, placement) - contact(asset, replace(after, x=0.0, y=0.0))
    return replace(after, x=round(float(x), 6), y=round(float(y), 6))


def contact(asset: Asset, placement: Placement) -> F64:
    """Center of the area on which the object stands (2,), world meters."""
    pose = pose_of(placement)
    return pose[:2, :2] @ np.asarray(asset.contact) + pose[:2, 3]


def footprint(asset: Asset, placement: Placement) -> F64:
    """The outline of the object from above, (N, 2) world meters, convex, counter-clockwise.

    Of a tilted object: of its `prism`, which contains it.
    """
    if placement.settled:
        return _outline(prism(asset, placement).reshape(-1, 3)[:, :2])
    pose = pose_of(placement)
    return np.asarray(asset.footprint, np.float64) @ pose[:2, :2].T + pose[:2, 3]


def prism(asset: Asset, placement: Placement) -> F64:
    """The footprint at the object's base and at its top, (2, N, 3) world meters: a hull around the object.

    It is tilted as the object is.
    """
    if placement.settled:
        corners = len(asset.footprint)
        rings = [np.column_stack([asset.footprint, np.full(corners, z)]) for z in (0.0, asset.size_m[2])]
        return transform(pose_of(placement), np.stack(rings))
    outline = footprint(asset, placement)
    hull = np.empty((2, len(outline), 3))
    hull[:, :, :2] = outline
    hull[0, :, 2], hull[1, :, 2] = placement.z, placement.z + asset.size_m[2] * placement.scale
    return hull


def middle(asset: Asset, placement: Placement) -> F64:
    """The point (3,) at half of the object's own height above its origin, world meters."""
    if placement.settled:
        return transform(pose_of(placement), np.array([0.0, 0.0, 0.5 * asset.size_m[2]]))
    return np.array([placement.x, placement.y, placement.z + 0.5 * asset.size_m[2] * placement.scale])


def heights(asset: Asset, placement: Placement) -> tuple[float, float]:
    """Height of the object's lowest and highest point, world meters; of a tilted object those of its `prism`."""
    if placement.settled:
        z = prism(asset, placement)[..., 2]
        return float(z.min()), float(z.max())
    return placement.z, placement.z + placement.scale * asset.size_m[2]


def extent(asset: Asset, placement: Placement, direction: F64) -> tuple[float, float]:
    """Least and largest coordinate of the object along a unit direction (2,), relative to its origin, meters."""
    reach = (footprint(asset, placement) - (placement.x, placement.y)) @ direction
    return float(reach.min()), float(reach.max())


def _outline(points: F64) -> F64:
    """Corners (N, 2) of the convex hull of points (n, 2), counter-clockwise."""
    import shapely

    hull = shapely.convex_hull(shapely.multipoints(points))
    return shapely.get_coordinates(shapely.orient_polygons(hull))[:-1]


def container_of(identity: int, objects: Objects, placements: Placements) -> int:
    """Id of the container that the object stands in; 0 if it stands on the floor."""
    placement = placements[identity]
    if placement.z <= 0 or (placement.settled and placement.standing is None):
        return 0
    for other in objects:
        place = placements[other.id]
        if other.id == identity or not other.asset.supports or not place.present:
            continue
        reach = 0.5 * float(np.hypot(*other.asset.opening)) * place.scale
        if np.hypot(placement.x - place.x, placement.y - place.y) <= reach:
            return other.id
    return 0


def opening(asset: Asset, placement: Placement) -> F64:
    """The inner floor of a container, (N, 2) world meters: its outline, scaled down to its opening."""
    pose = pose_of(placement)
    inner = np.asarray(asset.footprint, np.float64) * (np.asarray(asset.opening) / asset.size_m[:2])
    return inner @ pose[:2, :2].T + pose[:2, 3]


def clearance(identity: int, objects: Objects, placements: Placements) -> float:
    """Distance along the floor between an object and its nearest neighbor, meters; inf if there is none.

    0 if they touch, or if the object stands in a container and does not fit its opening.
    """
    import shapely

    container = container_of(identity, objects, placements)
    asset = {placed.id: placed.asset for placed in objects}
    own = shapely.Polygon(footprint(asset[identity], placements[identity]))
    if container and not shapely.Polygon(opening(asset[container], placements[container])).contains(own):
        return 0.0
    others = [
        shapely.Polygon(footprint(asset[other], place))
        for other, place in placements.items()
        if other not in (identity, container) and place.present
    ]
    if not others:
        return float("inf")
    return float(shapely.distance(own, others).min())


def wall_clearance(points: F64, walls: Sequence[Wall]) -> float:
    """Least distance of points (N, 2 or 3) to the walls, meters; negative behind a wall, inf without walls."""
    distances = [
        float((points[:, :2] @ normal_of(wall) - np.dot(normal_of(wall), (wall.x, wall.y))).min()) for wall in walls
    ]
    return min(distances, default=float("inf"))


def normal_of(wall: Wall) -> F64:
    """The direction that a wall faces, along the floor: unit vector (2,)."""
    angle = np.deg2rad(wall.normal_deg)
    return np.array([np.cos(angle), np.sin(angle)])


def apparent_size(asset: Asset) -> float:
    """Apparent size of an object from an elevation of 25 degrees, averaged over yaw: root of its area, meters."""
    width, depth, height = asset.size_m
    across = (width + depth) / 2
    return float(np.sqrt(0.9 * across * height + 0.42 * width * depth))
