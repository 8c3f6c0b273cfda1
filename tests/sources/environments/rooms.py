"""Synthetic rooms as GLB files, from boxes and sheets."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spatialdata_builder.shards.geometry import F64
from tests.sources.glb_writer import CORNERS, FACES, Model

Box = tuple[float, float, float, float, float, float]
"""Least x, y, z, then largest, meters, z up."""
WIDTH, DEPTH, HEIGHT = 5.0, 4.0, 2.6
THICK = 0.1
TABLE: Box = (0.4, 0.5, 0.71, 1.8, 1.3, 0.75)
"""The board of a table; its legs are below."""
COUNTER: Box = (-2.5, -2.0, 0.0, -1.9, 0.6, 0.9)
"""A block in a corner."""
SIDES = ("floor", "ceiling", "+x", "-x", "+y", "-y")


def shell(without: Sequence[str] = ()) -> list[Box]:
    """The slabs of a room whose floor is z = 0."""
    x, y, t = WIDTH / 2, DEPTH / 2, THICK
    slabs: dict[str, Box] = {
        "floor": (-x - t, -y - t, -t, x + t, y + t, 0.0),
        "ceiling": (-x - t, -y - t, HEIGHT, x + t, y + t, HEIGHT + t),
        "+x": (x, -y - t, 0.0, x + t, y + t, HEIGHT),
        "-x": (-x - t, -y - t, 0.0, -x, y + t, HEIGHT),
        "+y": (-x, y, 0.0, x, y + t, HEIGHT),
        "-y": (-x, -y - t, 0.0, x, -y, HEIGHT),
    }
    return [box for name, box in slabs.items() if name not in without]


def furniture() -> list[Box]:
    x0, y0, z, x1, y1, _ = TABLE
    legs = [(x, y, 0.0, x + 0.05, y + 0.05, z) for x in (x0, x1 - 0.05) for y in (y0, y1 - 0.05)]
    return [TABLE, *legs, COUNTER]


def triangles(boxes: Sequence[Box]) -> F64:
    """(M, 3, 3) world meters, z up."""
    unit = (CORNERS - CORNERS.min(axis=0)) / np.ptp(CORNERS, axis=0)
    found = [np.array(box[:3]) + unit[FACES] * (np.array(box[3:]) - box[:3]) for box in boxes]
    return np.concatenate(found)


def write_room(
    path: Path,
    without: Sequence[str] = (),
    boxes: Sequence[Box] | None = None,
    unit: float = 1.0,
    lift: float = 0.0,
    flipped: bool = False,
    lying: bool = False,
    slopes: F64 | None = None,
) -> Path:
    """Write a room with a table and a counter.

    Args:
        without: slabs that are left out.
        boxes: in place of the furniture.
        unit: file units per meter.
        lift: height of the floor in the file, meters.
        flipped: turned about x by 180 degrees.
        lying: written with z up, which readers of GLB take for a room on its side.
        slopes: (M, 3, 3) triangles of a roof, meters, z up.
    """
    model = Model()
    model.json["materials"] = [
        {"doubleSided": True, "pbrMetallicRoughness": {"baseColorFactor": [*color, 1], "metallicFactor": 0.0}}
        for color in ((0.55, 0.5, 0.42), (0.3, 0.16, 0.07))
    ]
    parts: list[dict[str, Any]] = []
    for material, group in enumerate((shell(without), furniture() if boxes is None else list(boxes))):
        if not group:
            continue
        corners = triangles(group)
        if material == 0 and slopes is not None:
            corners = np.concatenate([corners, slopes])
        points = corners.reshape(-1, 3) + np.array([0.0, 0.0, lift])
        points = points * (1.0, -1.0, -1.0) if flipped else points
        points = (points if lying else points[:, [0, 2, 1]] * (1.0, 1.0, -1.0)) * unit
        parts.append(model.box(points, np.arange(len(points)).reshape(-1, 3)) | {"material": material})
    model.node(mesh=model.mesh(*parts))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.pack())
    return path


def write_many_triangles(path: Path, count: int) -> Path:
    """Write a room-sized box whose triangles are repeated, in two meshes."""
    model = Model()
    faces = np.tile(FACES, (-(-count // (2 * len(FACES))), 1))[: count // 2]
    for _ in range(2):
        model.node(mesh=model.mesh(model.box(CORNERS * 10, faces)))
    path.write_bytes(model.pack())
    return path
