"""Writes a model as GLB. Invariant: the same model gives the same bytes."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from ...shards.colors import to_linear
from .materials import Material, paint
from .model import Model
from .shapes import Floats


def file_points(points: Floats) -> Floats:
    """(N, 3) points of the object frame (z up) in the frame of the file (y up): float32, rounded to micrometers."""
    turned = np.stack([points[:, 0], points[:, 2], -points[:, 1]], axis=1)
    return np.round(turned, 6).astype(np.float32).astype(np.float64)


def encode_glb(model: Model) -> bytes:
    """The model as binary glTF, with textures embedded as PNG."""
    import trimesh
    from trimesh.visual import TextureVisuals

    scene = trimesh.Scene()
    for number, part in enumerate(model.parts):
        mesh = part.mesh
        visual = TextureVisuals(uv=np.round(mesh.uv, 6), material=_material(part.material))
        scene.add_geometry(
            trimesh.Trimesh(
                vertices=file_points(mesh.vertices),
                faces=mesh.faces,
                vertex_normals=np.round(np.stack([mesh.normals[:, 0], mesh.normals[:, 2], -mesh.normals[:, 1]], 1), 6),
                visual=visual,
                process=False,
                validate=False,
            ),
            node_name=f"part{number}",
            geom_name=f"part{number}",
        )
    data: Any = scene.export(file_type="glb", include_normals=True)
    return bytes(data)


def write_once(data: bytes, path: Path) -> None:
    """Write a file atomically. Concurrent writers leave one of their equal results."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(path)


def _material(material: Material) -> Any:
    from PIL import Image
    from trimesh.visual.material import PBRMaterial

    texture, factor = None, [*to_linear(np.array(material.rgb, np.float64)).tolist(), 1.0]
    if material.texture is not None:
        buffer = io.BytesIO()
        Image.fromarray(paint(material.texture)).save(buffer, "PNG", compress_level=6)
        texture, factor = Image.open(buffer), [1.0, 1.0, 1.0, 1.0]
    return PBRMaterial(
        baseColorFactor=factor,
        baseColorTexture=texture,
        roughnessFactor=float(material.roughness),
        metallicFactor=float(material.metallic),
        doubleSided=material.double_sided,
    )
