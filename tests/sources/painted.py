"""A cube with a different color on each side, and the share of a color in an image."""

import numpy as np
import trimesh
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from spatialdata_builder.sources.assets.asset import Asset

EDGE = 0.4
FRONT, REAR, LEFT, REST = (0.8, 0.02, 0.02), (0.02, 0.02, 0.8), (0.02, 0.6, 0.02), (0.8, 0.8, 0.8)


def painted_box(front_deg: int = 270) -> bytes:
    """A GLB: red front, blue rear, green on the left of the cube, else white. `front_deg`: a multiple of 90."""
    scene = trimesh.Scene()
    normals = [_file_direction(front_deg + turn) for turn in (0, 180, 90)]
    for color, normal in zip((FRONT, REAR, LEFT, REST), [*normals, None], strict=True):
        cube = trimesh.creation.box(extents=(EDGE, EDGE, EDGE))
        sides = [np.isclose(cube.face_normals, side).all(axis=1) for side in (normals if normal is None else [normal])]
        painted = np.any(sides, axis=0)
        cube.update_faces(~painted if normal is None else painted)
        material = PBRMaterial(baseColorFactor=[*color, 1.0], roughnessFactor=1.0, metallicFactor=0.0)
        cube.visual = TextureVisuals(uv=np.zeros((len(cube.vertices), 2)), material=material)
        scene.add_geometry(cube)
    return bytes(scene.export(file_type="glb"))


def painted_asset(path: str, front_deg: float = 270.0) -> Asset:
    """The asset of `painted_box`, as measured by the survey."""
    half = EDGE / 2
    corners = ((-half, -half), (half, -half), (half, half), (-half, half))
    size = (EDGE, EDGE, EDGE)
    return Asset("cube", path, "box", "", "cc0", "x", 1.0, (0.0, 0.0, half), size, corners, 12, front_deg=front_deg)


def tinted(picture: np.ndarray, channel: int) -> float:
    """Fraction of pixels in which one channel clearly dominates."""
    others = np.delete(picture.astype(int), channel, axis=2).max(axis=2)
    return float((picture[..., channel] > others + 60).mean())


def _file_direction(degrees: float) -> np.ndarray:
    """A direction of the object frame (degrees about z from +x) in the axes of the file: x, up, -y."""
    angle = np.deg2rad(degrees)
    return np.array([np.cos(angle), 0.0, -np.sin(angle)])
