"""Scenes of simple solids with known geometry, written as GLB by trimesh."""

import base64
import json
import struct
from dataclasses import asdict
from pathlib import Path

import numpy as np
import trimesh

from spatialdata_builder.shards.geometry import intrinsics, look_at, similarity, to_json_list, transform
from spatialdata_builder.sources.assets.asset import Asset
from spatialdata_builder.sources.assets.mesh import read_triangles
from spatialdata_builder.sources.blender.ground import garden_parts
from spatialdata_builder.sources.blender.shell import shell_parts
from spatialdata_builder.sources.scenes.spec import (
    CameraPose,
    EditSpec,
    Light,
    Placement,
    SceneObjectSpec,
    SceneSpec,
    State,
    Surface,
    Wall,
)

FLOOR_RADIUS = 60.0
FLOOR = Surface("wood", (0.45, 0.25, 0.12), (0.25, 0.12, 0.05), 0.12, 20.0, 0.5, 3)
PLASTER = Surface("plaster", (0.7, 0.68, 0.6), (0.6, 0.58, 0.5), 0.3, 0.0, 0.8, 4)
WALL = Wall(0.3, 1.6, -80.0, 1.1, PLASTER)


def moved(mesh, x=0.0, y=0.0, z=0.0):
    return mesh.apply_translation((x, y, z))


def parts() -> dict[str, list[tuple[trimesh.Trimesh, np.ndarray]]]:
    """Meshes with their node matrices, file coordinates (y up): with offsets, rotations and nonuniform scales."""
    turned = trimesh.transformations.rotation_matrix(0.7, (0.2, 1.0, 0.1)) @ np.diag([1.0, 2.0, 0.5, 1.0])
    shifted = trimesh.transformations.translation_matrix((3.0, -2.0, 5.0))
    cone = trimesh.creation.cone(radius=0.4, height=1.0, sections=12)
    return {
        "box": [(moved(trimesh.creation.box((2.0, 1.0, 0.6)), 7.0, 3.0, -4.0), np.eye(4))],
        "two": [
            (trimesh.creation.box((0.6, 0.5, 0.4)), shifted @ turned),
            (cone, shifted @ trimesh.transformations.translation_matrix((0.9, 0.1, 0.3))),
        ],
        "ball": [(trimesh.creation.icosphere(subdivisions=2, radius=30.0), np.eye(4))],
    }


def write_glb(path: Path, nodes: list[tuple[trimesh.Trimesh, np.ndarray]]) -> None:
    """Write every mesh as a root node, which trimesh does not do by itself."""
    scene = trimesh.Scene()
    for number, (mesh, matrix) in enumerate(nodes):
        # Flat shading: no vertex is shared between faces.
        flat_mesh = trimesh.Trimesh(
            mesh.triangles.reshape(-1, 3), np.arange(len(mesh.faces) * 3).reshape(-1, 3), process=False
        )
        flat_mesh.visual = trimesh.visual.TextureVisuals(
            material=trimesh.visual.material.PBRMaterial(
                baseColorFactor=[200, 60 + 90 * number, 50, 255], metallicFactor=0.0, roughnessFactor=0.6
            )
        )
        scene.add_geometry(flat_mesh, transform=matrix, node_name=f"node{number}")
    content, rest = split_glb(scene.export(file_type="glb"))
    roots = content["scenes"][0]["nodes"]
    content["scenes"][0]["nodes"] = [
        child for root in roots for child in content["nodes"][root].get("children", [root])
    ]
    path.write_bytes(join_glb(content, rest))


def split_glb(data: bytes) -> tuple[dict, bytes]:
    """JSON of a GLB, and the chunks after it."""
    length = struct.unpack("<I", data[12:16])[0]
    return json.loads(data[20 : 20 + length]), data[20 + length :]


def join_glb(content: dict, rest: bytes) -> bytes:
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    header = struct.pack("<4sII", b"glTF", 2, 20 + len(text) + len(rest))
    return header + struct.pack("<I4s", len(text), b"JSON") + text + rest


def with_distractions(data: bytes) -> bytes:
    """The same solid with content that a renderer must ignore.

    Its nodes are children of a light and a camera, one of them is animated, and a second scene has a copy far away.
    """
    content, rest = split_glb(data)
    nodes, first = content["nodes"], content["scenes"][0]["nodes"]
    content["extensionsUsed"] = ["KHR_lights_punctual"]
    lamp = {"type": "point", "intensity": 5000.0, "color": [1.0, 0.0, 0.0]}
    content["extensions"] = {"KHR_lights_punctual": {"lights": [lamp]}}
    content["cameras"] = [{"type": "perspective", "perspective": {"yfov": 1.0, "znear": 0.1}}]
    nodes.append({"name": "lamp", "children": first[:1], "extensions": {"KHR_lights_punctual": {"light": 0}}})
    nodes.append({"name": "camera", "children": [*first[1:], len(nodes) - 1], "camera": 0})
    nodes.append({"name": "far", "mesh": 0, "translation": [50.0, 0.0, 0.0]})
    content["scene"] = 0
    content["scenes"] = [{"nodes": [len(nodes) - 2]}, {"nodes": [len(nodes) - 1]}]
    animated = struct.pack("<2f", 0.0, 10.0) + struct.pack("<6f", 9.0, 9.0, 9.0, 20.0, 20.0, 20.0)
    uri = "data:application/octet-stream;base64," + base64.b64encode(animated).decode()
    content["buffers"].append({"byteLength": len(animated), "uri": uri})
    views, accessors = content["bufferViews"], content["accessors"]
    views.append({"buffer": len(content["buffers"]) - 1, "byteOffset": 0, "byteLength": 8})
    views.append({"buffer": len(content["buffers"]) - 1, "byteOffset": 8, "byteLength": 24})
    accessors.append(
        {"bufferView": len(views) - 2, "componentType": 5126, "count": 2, "type": "SCALAR", "min": [0.0], "max": [10.0]}
    )
    accessors.append({"bufferView": len(views) - 1, "componentType": 5126, "count": 2, "type": "VEC3"})
    content["animations"] = [
        {
            "samplers": [{"input": len(accessors) - 2, "output": len(accessors) - 1}],
            "channels": [{"sampler": 0, "target": {"node": len(nodes) - 3, "path": "translation"}}],
        }
    ]
    return join_glb(content, rest)


def object_mesh(name: str, asset: Asset) -> trimesh.Trimesh:
    """The solid in the object frame, by the definition in `Asset.offset`."""
    solid = trimesh.util.concatenate([mesh.copy().apply_transform(matrix) for mesh, matrix in parts()[name]])
    x, y, z = solid.vertices.T
    vertices = asset.scale * np.stack([x, -z, y], axis=-1) + asset.offset
    return trimesh.Trimesh(vertices, solid.faces, process=False)


def asset(name: str, side_m: float) -> Asset:
    """The asset as the survey would measure it. Its largest side is `side_m`."""
    bare = Asset(name, f"{name}.glb", name, "", "cc0", "tests", 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (), 0)
    low, high = object_mesh(name, bare).bounds
    scale = side_m / float((high - low).max())
    middle = (low + high) / 2
    offset = (-middle[0] * scale, -middle[1] * scale, -low[2] * scale)
    size = (high - low) * scale
    return Asset(
        name, f"{name}.glb", name, "", "cc0", "tests", scale, tuple(map(float, offset)), tuple(map(float, size)), (), 12
    )


def write_assets(folder: Path) -> dict[str, Path]:
    files = {}
    for name, nodes in parts().items():
        files[name] = folder / f"{name}.glb"
        write_glb(files[name], nodes)
    return files


def camera(width: int, height: int, eye=(0.7, -2.6, 1.3), at=(0.0, 0.0, 0.2)) -> CameraPose:
    """A camera with an off-center principal point and non-square pixels, so that errors cannot cancel out."""
    K = intrinsics(1.05 * width, 1.1 * width, width / 2 + 4.5, height / 2 - 3.25)
    return CameraPose(tuple(to_json_list(K)), tuple(to_json_list(look_at(eye, at))))


NAMES = {1: "box", 2: "two", 3: "ball"}


def scene(width: int = 128, height: int = 96, walls: tuple[Wall, ...] = (WALL,)) -> SceneSpec:
    """Three solids that partly hide each other. In the target one has moved and one is absent."""
    source = {
        1: Placement(-0.5, 0.1, 0.0, 25.0),
        2: Placement(0.35, 0.3, 0.0, -40.0, 1.2),
        3: Placement(-0.1, -0.45, 0.0, 10.0, 0.9),
    }
    target = {1: Placement(-0.75, 0.4, 0.0, 70.0), 2: source[2], 3: Placement(-0.1, -0.45, 0.0, 10.0, 0.9, False)}
    sides = {"box": 0.7, "two": 0.6, "ball": 0.35}
    return SceneSpec(
        width=width,
        height=height,
        objects=tuple(SceneObjectSpec(id, asset(name, sides[name]), "midground") for id, name in NAMES.items()),
        floor=FLOOR,
        walls=walls,
        light=Light("forest", 30.0, 1.0),
        source=State(source, camera(width, height)),
        target=State(target, camera(width, height, eye=(0.2, -2.7, 1.2))),
        edit=EditSpec("translate", 1),
        seed=5,
    )


def world_mesh(spec: SceneSpec, id: int, placement: Placement) -> trimesh.Trimesh:
    mesh = object_mesh(NAMES[id], next(item.asset for item in spec.objects if item.id == id))
    pose = similarity(placement.x, placement.y, placement.z, placement.yaw_deg, placement.scale)
    if placement.settled:
        x, y = placement.settled.tilt_deg
        pose = pose @ trimesh.transformations.rotation_matrix(np.deg2rad(np.hypot(x, y)), (x, y, 0.0))
    return trimesh.Trimesh(transform(pose, mesh.vertices), mesh.faces, process=False)


def sheets(spec: SceneSpec) -> list[trimesh.Trimesh]:
    """What surrounds the objects: floor and walls as two triangles each, or a room, a garden or a room model."""
    if spec.environment:
        vertices, faces = read_triangles(Path(spec.environment.file))
        placed = vertices * spec.environment.scale + spec.environment.offset
        return [trimesh.Trimesh(placed, faces, process=False)]
    if spec.room or spec.garden:
        parts = shell_parts(asdict(spec.room)) if spec.room else garden_parts(asdict(spec.garden))
        return [trimesh.Trimesh(part.vertices, part.triangles(), process=False) for part in parts]
    r = FLOOR_RADIUS
    corners = [np.array([(-r, -r, 0), (r, -r, 0), (r, r, 0), (-r, r, 0)], float)]
    for wall in spec.walls:
        angle = np.deg2rad(wall.normal_deg)
        along = np.array([-np.sin(angle), np.cos(angle), 0.0]) * r
        foot, up = np.array([wall.x, wall.y, 0.0]), np.array([0.0, 0.0, wall.height])
        corners.append(np.array([foot - along, foot + along, foot + along + up, foot - along + up]))
    return [trimesh.Trimesh(quad, [(0, 1, 2), (0, 2, 3)], process=False) for quad in corners]
