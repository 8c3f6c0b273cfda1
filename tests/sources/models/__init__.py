"""Small models for tests, and a cache that contains them."""

import gzip
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from PIL import Image
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

RED = PBRMaterial(baseColorFactor=[0.6, 0.02, 0.02, 1.0], roughnessFactor=0.5, metallicFactor=0.0)


def glb(*meshes: trimesh.Trimesh, material: PBRMaterial | None = RED) -> bytes:
    """A GLB of meshes, in coordinates of the file (y up)."""
    scene = trimesh.Scene()
    for mesh in meshes:
        if material is not None:
            mesh.visual = TextureVisuals(uv=np.zeros((len(mesh.vertices), 2)), material=material)
        scene.add_geometry(mesh)
    return bytes(scene.export(file_type="glb"))


def box(x: float, y: float, z: float) -> trimesh.Trimesh:
    return trimesh.creation.box(extents=(x, y, z))


def checkered() -> PBRMaterial:
    """A blue and white texture."""
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:, :8], pixels[:, 8:] = (30, 60, 200), (250, 250, 250)
    return PBRMaterial(baseColorTexture=Image.fromarray(pixels))


def pack(content: Mapping[str, Any], binary: bytes) -> bytes:
    """A GLB with this JSON and binary chunk."""
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    body = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


def unpack(data: bytes) -> tuple[dict[str, Any], bytes]:
    """JSON and binary chunk of a GLB."""
    length = struct.unpack("<I", data[12:16])[0]
    return json.loads(data[20 : 20 + length]), data[28 + length :]


def write_gltf(path: Path, data: bytes) -> None:
    """Write a GLB as a `.gltf` and a `.bin` beside it."""
    content, binary = unpack(data)
    content["buffers"][0]["uri"] = f"{path.stem}.bin"
    path.write_text(json.dumps(content))
    path.with_suffix(".bin").write_bytes(binary)


def write_gz(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(json.dumps(content).encode(), mtime=0))


def make_cache(root: Path, models: Mapping[str, bytes | None], **metadata: Mapping[str, Any]) -> Path:
    """An Objaverse cache with one part, `000-000`. A model that is None has no file. `metadata` is by uid."""
    base = root / "hf-objaverse-v1"
    (base / "glbs" / "000-000").mkdir(parents=True)
    for uid, data in models.items():
        if data is not None:
            (base / "glbs" / "000-000" / f"{uid}.glb").write_bytes(data)
    write_gz(base / "object-paths.json.gz", {uid: f"glbs/000-000/{uid}.glb" for uid in models})
    given = {
        uid: {"name": uid, "license": "by", "user": {"displayName": f"maker of {uid}", "username": "x"}}
        | dict(metadata.get(uid, {}))
        for uid in models
    }
    write_gz(base / "metadata" / "000-000.json.gz", given)
    return root
