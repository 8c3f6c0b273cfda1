"""Synthetic assets of many sizes, and geometry for tests that does not use the tested code."""

import numpy as np
from shapely.affinity import rotate, scale, translate
from shapely.geometry import MultiPoint, Polygon

from spatialdata_builder.sources.assets.asset import Asset
from spatialdata_builder.sources.scenes.spec import CameraPose, Placement, SceneObjectSpec


def synthetic_pool(count: int, seed: int = 0) -> list[Asset]:
    """Boxes, slabs, columns and blobs from 8 cm to 2.5 m: some with a known front, some round, some open crates."""
    rng = np.random.Generator(np.random.PCG64(seed))
    assets: list[Asset] = []
    for index in range(count):
        length = float(np.exp(rng.uniform(np.log(0.08), np.log(2.5))))
        width, depth, height = (length * float(rng.uniform(0.25, 1.0)) for _ in range(3))
        angles = np.sort(rng.uniform(0, 2 * np.pi, 24))
        corners = [(width / 2 * np.cos(a), depth / 2 * np.sin(a)) for a in angles]
        if index % 3 == 0:
            corners = [(x * width / 2, y * depth / 2) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        hull = MultiPoint(corners).convex_hull.normalize().reverse()
        crate = index % 8 == 3
        assets.append(
            Asset(
                uid=f"{index:032x}",
                path=f"glbs/{index}.glb",
                category=("mug", "chair", "box", "lamp", "vase")[index % 5],
                colour=("red", "green", "")[index % 3],
                licence="cc0",
                creator="nobody",
                scale=1.0,
                offset=(0.0, 0.0, 0.0),
                size_m=(round(width, 6), round(depth, 6), round(height, 6)),
                footprint=tuple((round(x, 6), round(y, 6)) for x, y in list(hull.exterior.coords)[:-1]),
                triangles=1000,
                front_deg=(-90.0, 37.0, None)[index % 3],
                rotatable=index % 7 != 6,
                supports=round(0.1 * height, 6) if crate else 0.0,
                opening=(round(0.9 * width, 6), round(0.9 * depth, 6)) if crate else (0.0, 0.0),
            )
        )
    return assets


def ground(placed: SceneObjectSpec, placement: Placement) -> Polygon:
    """The area of the floor that the object covers, by shapely's transformations."""
    outline = scale(Polygon(placed.asset.footprint), placement.scale, placement.scale, origin=(0, 0))
    return translate(rotate(outline, placement.yaw_deg, origin=(0, 0)), placement.x, placement.y)


def seen_at(point: tuple[float, float, float], camera: CameraPose) -> tuple[float, float, float]:
    """Pixel x, y and depth of a world point."""
    pose = np.array(camera.world_from_camera).reshape(4, 4)
    x, y, z = np.linalg.solve(pose, [*point, 1.0])[:3]
    K = camera.K
    return K[0] * x / z + K[2], K[4] * y / z + K[5], z
