# pyright: basic, reportMissingImports=false
"""Covers the board of a table with a texture set: its top, and what of its sides is not lower than the board."""

from typing import Any

import numpy as np

from .hits import solid_everywhere
from .materials import surface_material

UV = "table top"
"""Name of the coordinates on the board, in meters at scale 1."""
FLAT_M = 0.004
"""Range of the heights of a top."""
BOARD_M = 0.06
"""Thickness of the thickest board."""
MAX_UV_LAYERS = 8
"""Blender's limit for a mesh."""
LEAST_SHARE = 0.5
"""Least area of a top, as a share of the box of the table seen from above."""


def cover_top(parts: list, axes: np.ndarray, asset: dict, surface: dict) -> bool:
    """Give the board of a table a material. Returns whether there is one: a flat top at the very top of the model.

    Args:
        parts: its meshes, which must not have been moved.
        axes: (3, 3), object frame from file frame.
    """
    boards = [_Part(part, axes, asset["scale"]) for part in parts if len(part.data.polygons)]
    if not boards:
        return False
    top = max(board.z.max() for board in boards)
    width, depth, _ = asset["size_m"]
    flat = [(board.low > top - FLAT_M) & (board.normal[:, 2] > 0.99) & board.solid() for board in boards]
    area = sum(float(board.area[is_top].sum()) for board, is_top in zip(boards, flat, strict=True))
    if area < LEAST_SHARE * width * depth:
        return False
    material = surface_material(surface, UV)
    for board in boards:
        board.cover((board.low > top - BOARD_M) & board.solid(), material, along_y=depth > width)
    return True


class _Part:
    """The polygons of a mesh in the object frame, meters."""

    def __init__(self, part: Any, axes: np.ndarray, scale: float) -> None:
        self.part, mesh = part, part.data
        points = np.empty(len(mesh.vertices) * 3, np.float32)
        mesh.vertices.foreach_get("co", points)
        pose = np.array(part.matrix_world, np.float64)
        self.points = (points.reshape(-1, 3) @ pose[:3, :3].T + pose[:3, 3]) @ axes.T * scale
        self.z = self.points[:, 2]
        self.starts = np.empty(len(mesh.polygons), np.int32)
        mesh.polygons.foreach_get("loop_start", self.starts)
        self.corners = np.empty(len(mesh.loops), np.int32)
        mesh.loops.foreach_get("vertex_index", self.corners)
        self.slots = np.empty(len(mesh.polygons), np.int32)
        mesh.polygons.foreach_get("material_index", self.slots)
        self.low = np.minimum.reduceat(self.z[self.corners], self.starts)
        # Newell's formula: the sum over edges of a x b is twice the area along the normal.
        after = np.arange(len(self.corners)) + 1
        after[np.append(self.starts[1:], len(self.corners)) - 1] = self.starts
        corners = self.points[self.corners]
        total = np.add.reduceat(np.cross(corners, corners[after]), self.starts)
        length = np.linalg.norm(total, axis=1)
        self.area = length / 2
        mirrored = -1.0 if part.matrix_world.determinant() < 0 else 1.0
        self.normal = mirrored * total / np.maximum(length, 1e-30)[:, None]

    def solid(self) -> np.ndarray:
        """Whether each polygon's material is opaque: the glass of a table stays glass."""
        slots = [slot.material for slot in self.part.material_slots]
        solid = np.array([material is None or solid_everywhere(material) is True for material in slots] or [True])
        return solid[np.minimum(self.slots, len(solid) - 1)]

    def cover(self, chosen: np.ndarray, material: Any, along_y: bool) -> None:
        """Give polygons a material, and all corners coordinates: seen along the axis that a polygon faces most.

        On top, the first coordinate is x, or y if `along_y`: the grain runs along the table.
        """
        mesh = self.part.data
        if not chosen.any() or len(mesh.uv_layers) == MAX_UV_LAYERS:
            return
        if not mesh.materials:
            mesh.materials.append(None)
        mesh.materials.append(material)
        self.slots[chosen] = len(mesh.materials) - 1
        mesh.polygons.foreach_set("material_index", self.slots)
        counts = np.diff(np.append(self.starts, len(self.corners)))
        facing = np.repeat(np.abs(self.normal).argmax(axis=1), counts)
        columns = np.array([(1, 2), (0, 2), (1, 0) if along_y else (0, 1)])[facing]
        uv = np.take_along_axis(self.points[self.corners], columns, axis=1)
        mesh.uv_layers.new(name=UV, do_init=False).data.foreach_set("uv", uv.astype(np.float32).ravel())
