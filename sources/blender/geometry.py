# pyright: basic, reportMissingImports=false
"""The evaluated geometry of imported parts, and points on it."""

from typing import NamedTuple

import bpy
import numpy as np

POINTS = 1024


class Geometry(NamedTuple):
    """The rendered geometry in its current pose, world frame. Triangles are counter-clockwise seen from the front."""

    vertices: np.ndarray
    """(N, 3), float64."""
    triangles: np.ndarray
    """(M, 3)."""
    material: np.ndarray
    """(M,) indices into `materials`."""
    materials: list
    """Each material once; None for meshes without one."""

    def within(self, size_m: list) -> "Geometry":
        """The geometry inside the box of an asset. Parts outside are invisible (sources/survey/appearance.py)."""
        high, slack = np.array(size_m) * (0.5, 0.5, 1), 2e-3 * max(size_m)  # keep what ends at a side
        low, corners = high * (-1, -1, 0), self.vertices[self.triangles]
        inside = ((corners.max(axis=1) > low - slack) & (corners.min(axis=1) < high + slack)).all(axis=1)
        vertices = np.clip(self.vertices, low, high)
        return self._replace(vertices=vertices, triangles=self.triangles[inside], material=self.material[inside])


def geometry(parts: list) -> Geometry:
    """The evaluated geometry of all parts."""
    depsgraph = bpy.context.evaluated_depsgraph_get()
    vertices: list[np.ndarray] = [np.zeros((0, 3))]
    triangles: list[np.ndarray] = [np.zeros((0, 3), np.int64)]
    of_triangles: list[np.ndarray] = [np.zeros(0, np.int64)]
    materials: list = [None]
    count = 0
    for part in parts:
        evaluated = part.evaluated_get(depsgraph)
        mesh = evaluated.to_mesh()
        mesh.calc_loop_triangles()
        points = np.empty(len(mesh.vertices) * 3, np.float32)
        mesh.vertices.foreach_get("co", points)
        corners = np.empty(len(mesh.loop_triangles) * 3, np.int32)
        mesh.loop_triangles.foreach_get("vertices", corners)
        slots = np.empty(len(mesh.loop_triangles), np.int32)
        mesh.loop_triangles.foreach_get("material_index", slots)
        pose = np.array(part.matrix_world, np.float64)
        corners = corners.reshape(-1, 3)
        # A mirrored node reverses the winding, but in glTF fronts stay fronts.
        triangles.append((corners if part.matrix_world.determinant() > 0 else corners[:, ::-1]) + count)
        vertices.append(points.reshape(-1, 3) @ pose[:3, :3].T + pose[:3, 3])
        numbers = [0]
        for material in (slot.material for slot in part.material_slots):
            if material not in materials:
                materials.append(material)
            numbers.append(materials.index(material))
        of_triangles.append(np.array(numbers)[np.minimum(slots + 1, len(numbers) - 1)])
        count += len(mesh.vertices)
        evaluated.to_mesh_clear()
    corners = np.concatenate(triangles)
    used, corners = np.unique(corners, return_inverse=True)  # loose points are invisible
    return Geometry(np.concatenate(vertices)[used], corners.reshape(-1, 3), np.concatenate(of_triangles), materials)


def surface_points(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Area-weighted points (POINTS, 3) on the surface: one in each stratum, by a low-discrepancy sequence."""
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    total = np.cumsum(area)
    if total[-1] <= 0:
        return a[np.linspace(0, len(a) - 1, POINTS).astype(int)]
    steps = np.arange(POINTS) + 0.5
    face = np.searchsorted(total, steps / POINTS * total[-1]).clip(0, len(triangles) - 1)
    u, v = (steps * 0.7548776662466927) % 1, (steps * 0.5698402909980532) % 1
    over = u + v > 1
    u, v = np.where(over, 1 - u, u)[:, None], np.where(over, 1 - v, v)[:, None]
    return a[face] + u * (b - a)[face] + v * (c - a)[face]
