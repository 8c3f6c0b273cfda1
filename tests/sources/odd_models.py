"""Small GLBs with every unusual feature that the format allows or that exporters write."""

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tests.sources.glb_writer import CORNERS, FACES, Model, glb


def boxed(change: Callable[[Model], Any] = lambda model: None) -> bytes:
    """A box with a change."""
    model = Model()
    model.node(mesh=model.mesh(model.box()))
    change(model)
    return model.pack()


def placed(**fields: Any) -> bytes:
    """A box, and a rotated one under a node with these fields."""
    model = Model()
    mesh = model.mesh(model.box())
    model.node(mesh=mesh)
    inner = model.node(root=False, mesh=mesh, rotation=[0.18, 0.37, 0.55, 0.73], translation=[0.3, 0.2, 0.1])
    model.node(children=[inner], **fields)
    return model.pack()


def instanced(required: bool = True, under: bool = False, **attributes: Sequence[Any]) -> bytes:
    model = Model()
    mesh = model.mesh(model.box())
    width = {"TRANSLATION": "VEC3", "ROTATION": "VEC4", "SCALE": "VEC3"}
    given = {name: model.accessor(values, width.get(name, "SCALAR")) for name, values in attributes.items()}
    node = model.node(
        root=not under, mesh=mesh, scale=[1, 2, 1], extensions={"EXT_mesh_gpu_instancing": {"attributes": given}}
    )
    if under:
        model.node(children=[node], translation=[3, 0, 0], rotation=[0, 0.6, 0, 0.8])
    model.use("EXT_mesh_gpu_instancing", required=required)
    return model.pack()


def skinned(sets: int = 1, bind: bool = True, bare: bool = False, weightless: bool = False, far: float = 0.0) -> bytes:
    """A box whose upper half is moved by a second joint, in the last set of joints."""
    model = Model()
    zeros = np.zeros((8, 4))
    upper = CORNERS[:, 1] > 0.2
    attributes: dict[str, int] = {}
    for number in range(sets):
        joints, weights = zeros.copy(), zeros.copy()
        if number == 0:
            weights[~upper, 0] = 1
        if number == sets - 1:
            joints[upper, 1], weights[upper, 1] = 1, 0.0 if weightless else 1
        attributes |= {
            f"JOINTS_{number}": model.accessor(joints, "VEC4", "u1"),
            f"WEIGHTS_{number}": model.accessor(weights, "VEC4"),
        }
    primitives = [model.box(**attributes), *([model.box(CORNERS + 1)] if bare else [])]
    second = model.node(root=False, translation=[0, 0.6, 0.1], rotation=[0.28, 0, 0, 0.96], scale=[1, 1.5, 1])
    first = model.node(translation=[0.1 + far, 0.2, 0], children=[second])
    skin: dict[str, Any] = {"joints": [first, second]}
    if bind:
        matrices = np.tile(np.eye(4), (2, 1, 1))
        matrices[1, 3, :3] = [0, -0.3, 0]
        matrices[:, 3, 0] -= far
        skin["inverseBindMatrices"] = model.accessor(matrices.reshape(2, 16), "MAT4")
    model.json["skins"] = [skin]
    model.node(mesh=model.mesh(*primitives), skin=0, translation=[5, 5, 5])
    return model.pack()


def morphed(node: dict[str, Any] | None = None, **fields: Any) -> bytes:
    model = Model()
    primitive = model.box()
    primitive["targets"] = [
        {"POSITION": model.accessor(np.where(CORNERS[:, 1:2] > 0.2, [[0.1, 0.4, 0]], [[0, 0, 0]]), "VEC3")},
        {"POSITION": model.accessor(np.full((8, 3), 0.05), "VEC3")},
    ]
    model.node(mesh=model.mesh(primitive, **fields), **(node or {}))
    return model.pack()


def sparse(base: bool = True) -> bytes:
    """A box whose top is raised by a sparse accessor. Without a base, all other vertices are at the origin."""

    def change(model: Model) -> None:
        accessor = model.json["accessors"][model.json["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]
        places = np.arange(8) if not base else np.flatnonzero(CORNERS[:, 1] > 0.2)
        accessor["sparse"] = {
            "count": len(places),
            "indices": {"bufferView": model.view(places.astype("<u2").tobytes()), "componentType": 5123},
            "values": {"bufferView": model.view((CORNERS[places] * [1, 2, 1]).astype("<f4").tobytes())},
        }
        if not base:
            del accessor["bufferView"]

    return boxed(change)


def quantized() -> bytes:
    """Normalized 16-bit positions with a stride of 8 bytes, scaled by their node."""
    model = Model()
    data = np.zeros((8, 4), "<i2")
    data[:, :3] = np.rint(CORNERS / 0.5 * 32767)
    model.json["accessors"].append(
        {
            "bufferView": model.view(data.tobytes(), byteStride=8),
            "componentType": 5122,
            "count": 8,
            "type": "VEC3",
            "normalized": True,
        }
    )
    indices = model.accessor(FACES.ravel(), "SCALAR", "u2")
    primitive = {"attributes": {"POSITION": 0}, "indices": indices, "material": 0}
    model.node(mesh=model.mesh(primitive), scale=[0.5, 0.5, 0.5], translation=[0, 0.1, 0])
    model.use("KHR_mesh_quantization")
    return model.pack()


def interleaved() -> bytes:
    """Positions, normals and texture coordinates in one buffer view."""
    model = Model()
    rows = np.concatenate([CORNERS, np.tile([0, 1, 0], (8, 1)), np.zeros((8, 2))], axis=1).astype("<f4")
    view = model.view(rows.tobytes(), byteStride=32)
    for offset, type_ in ((0, "VEC3"), (12, "VEC3"), (24, "VEC2")):
        model.json["accessors"].append(
            {"bufferView": view, "byteOffset": offset, "componentType": 5126, "count": 8, "type": type_}
        )
    indices = model.accessor(FACES.ravel(), "SCALAR", "u4")
    attributes = {"POSITION": 0, "NORMAL": 1, "TEXCOORD_0": 2}
    model.node(mesh=model.mesh({"attributes": attributes, "indices": indices, "material": 0}))
    return model.pack()


def mode(number: int, count: int = 8) -> bytes:
    """A box, and a primitive with another mode. Points and lines have no surface."""

    def change(model: Model) -> None:
        points = model.accessor(CORNERS + np.array([1, 0, 0]), "VEC3")
        indices = model.accessor(np.arange(count), "SCALAR", "u2")
        primitive = {"attributes": {"POSITION": points}, "indices": indices, "mode": number, "material": 0}
        model.json["meshes"][0]["primitives"].append(primitive)

    return boxed(change)


def scenes(chosen: int | None) -> bytes:
    """Two scenes, and a node that is in neither."""
    model = Model()
    mesh = model.mesh(model.box())
    model.node(mesh=mesh)
    other = model.node(root=False, mesh=mesh, scale=[2, 2, 2])
    model.node(root=False, mesh=mesh, translation=[9, 9, 9])
    model.json["scenes"].append({"nodes": [other]})
    if chosen is None:
        del model.json["scene"]
    else:
        model.json["scene"] = chosen
    return model.pack()


def no_scenes() -> bytes:
    model = Model()
    mesh = model.mesh(model.box())
    model.node(mesh=mesh)
    model.node(mesh=mesh, translation=[2, 0, 0])
    del model.json["scene"], model.json["scenes"]
    return model.pack()


def far(*steps: float) -> bytes:
    """A box under nested nodes that translate it by these steps."""
    model = Model()
    child = model.node(root=False, mesh=model.mesh(model.box()))
    for number, step in enumerate(reversed(steps)):
        child = model.node(root=number == len(steps) - 1, children=[child], translation=[step, step / 2, -step])
    return model.pack()


def bare(**extensions: Any) -> Callable[[Model], None]:
    return lambda model: model.json["nodes"][0].update(extensions=extensions)


def field(path: str, value: Any) -> bytes:
    """A box with one field of its JSON changed. `path` is such as `nodes.0.name`."""

    def change(model: Model) -> None:
        *above, last = path.split(".")
        at: Any = model.json
        for name in above:
            at = at[int(name)] if isinstance(at, list) else at[name]
        at[last] = value

    return boxed(change)


def required(name: str, used: bool = True) -> bytes:
    def change(model: Model) -> None:
        model.use(name)
        if not used:
            model.json["extensionsUsed"] = ["KHR_materials_unlit"]

    return boxed(change)


def extra(**changes: Any) -> bytes:
    """A box with attributes of its primitive added or changed: name to (values, type, dtype)."""

    def change(model: Model) -> None:
        attributes = model.json["meshes"][0]["primitives"][0]["attributes"]
        attributes |= {name: model.accessor(*values) for name, values in changes.items()}

    return boxed(change)


def faces(values: Any) -> bytes:
    model = Model()
    model.node(mesh=model.mesh(model.box(np.concatenate([CORNERS, [[50, 50, 50]]]), values)))
    return model.pack()


def chain(depth: int) -> bytes:
    model = Model()
    child = model.node(root=False, mesh=model.mesh(model.box()))
    for number in range(depth - 1):
        child = model.node(root=number == depth - 2, children=[child])
    return model.pack()


_BOX = boxed()
_JSON = _BOX[20 : 20 + struct.unpack("<I", _BOX[12:16])[0]]
_BIN = _BOX[28 + len(_JSON) :]
_SHEAR = [1, 0.4, 0, 0, 0.3, 1.2, 0.2, 0, 0, 0.5, 0.8, 0, 0.1, 0.2, 0.3, 1]

SOUND = {
    "box": _BOX,
    "translation": placed(translation=[1, 2, 3]),
    "trs": placed(translation=[1, 2, 3], rotation=[0.1, 0.2, 0.3, 0.927], scale=[1, 2, 0.5]),
    "negative scale": placed(scale=[-1, 1, 1]),
    "all negative scale": placed(scale=[-1, -2, -1], rotation=[0, 0.6, 0, 0.8]),
    "long quaternion": placed(rotation=[0.5, 1.0, 1.5, 2.0]),
    "zero quaternion": placed(rotation=[0, 0, 0, 0]),
    "matrix": placed(matrix=[0, 2, 0, 0, -1, 0, 0, 0, 0, 0, 3, 0, 1, 2, 3, 1]),
    "mirrored matrix": placed(matrix=[0, 2, 0, 0, 1, 0, 0, 0, 0, 0, 3, 0, 1, 2, 3, 1]),
    "sheared matrix": placed(matrix=_SHEAR),
    "sheared mirrored matrix": placed(matrix=[-value for value in _SHEAR[:12]] + _SHEAR[12:]),
    "sheared turned matrix": placed(matrix=[-1, 0.4, 0.2, 0, 0.3, 0.9, 0, 0, 0.2, 0.1, -0.8, 0, 0, 0, 0, 1]),
    "sheared the other way": placed(matrix=[-1, 0.4, 0.2, 0, 0.3, -0.9, 0, 0, 0.2, 0.1, 0.8, 0, 0, 0, 0, 1]),
    "matrix and trs": placed(matrix=[2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 1, 0, 0, 1], translation=[7, 7, 7]),
    "chain": chain(120),
    "instances": instanced(TRANSLATION=[[0, 0, 0], [1, 0, 0], [0, 0, 2]]),
    "instances, not required": instanced(required=False, TRANSLATION=[[0, 0, 0], [1, 0, 0]]),
    "instances turned": instanced(ROTATION=[[0, 0.6, 0, 0.8], [0, 0, 0, 1]], SCALE=[[1, 1, 1], [2, 1, 3]]),
    "instances under a node": instanced(under=True, TRANSLATION=[[0, 0, 0], [1, 0, 0]], ROTATION=[[0, 1, 0, 1]] * 2),
    "one set of joints": skinned(),
    "two sets of joints": skinned(2),
    "three sets of joints": skinned(3),
    "no inverse matrices": skinned(bind=False),
    "primitive without joints": skinned(bare=True),
    "vertices without weights": skinned(weightless=True),
    "morph weights of the mesh": morphed(weights=[0.5, 1.0]),
    "morph weights of the node": morphed({"weights": [0.0, 2.0]}, weights=[1.0, 0.0]),
    "morph weights at zero": morphed(),
    "large morph weights": morphed(weights=[25.0, -12.0]),
    "sparse": sparse(),
    "sparse without a base": sparse(base=False),
    "quantized": quantized(),
    "interleaved": interleaved(),
    "strip": mode(5),
    "odd strip": mode(5, 7),
    "fan": mode(6),
    "points": mode(0),
    "lines": mode(1),
    "line loop": mode(2),
    "line strip": mode(3),
    "chosen scene": scenes(1),
    "first scene": scenes(0),
    "no chosen scene": scenes(None),
    "no scenes": no_scenes(),
    "unused node": boxed(lambda model: model.node(root=False, mesh=0, translation=[3, 0, 0])),
    "empty mesh": boxed(lambda model: model.node(mesh=model.mesh())),
    "mesh without positions": boxed(lambda model: model.node(mesh=model.mesh({"attributes": {}}))),
    "degenerate triangle": faces([*FACES, [8, 8, 0], [8, 0, 8], [8, 8, 8]]),
    "the same triangle twice": faces([*FACES, *FACES[:5, [1, 2, 0]], FACES[7]]),
    "the same triangle with opposite winding": faces([*FACES, FACES[3, ::-1]]),
    "flat triangle": faces([*FACES, [0, 8, 0], [0, 1, 8]]),
    "far node": far(4.3e5),
    "very far node": far(8e6),
    "far and back": far(4.3e5, -4.3e5 + 0.25),
    "far stack": far(1e6, 2.5, -1e6, 0.125),
    "third chunk": glb(_JSON, _BIN, (b"XTRA", b"1234")),
    "no indices": boxed(
        lambda model: model.json["meshes"][0]["primitives"].append(
            {"attributes": {"POSITION": model.accessor(CORNERS[:6] + 1, "VEC3")}}
        )
    ),
    "a light and a camera": boxed(
        lambda model: (
            model.node(camera=0, translation=[9, 9, 9]),
            model.node(extensions={"KHR_lights_punctual": {"light": 0}}),
            model.json.update(
                cameras=[{"type": "perspective", "perspective": {"yfov": 1, "znear": 0.1}}],
                extensions={"KHR_lights_punctual": {"lights": [{"type": "point"}]}},
            ),
        )
    ),
    "a mesh under a light": boxed(
        lambda model: (
            model.node(
                scale=[1, 3, 1],
                extensions={"KHR_lights_punctual": {"light": 0}},
                children=[model.node(root=False, mesh=0, rotation=[0.28, 0, 0, 0.96], translation=[1, 0, 0])],
            ),
            model.json.update(extensions={"KHR_lights_punctual": {"lights": [{"type": "spot"}]}}),
        )
    ),
    "a missing light": boxed(bare(KHR_lights_punctual={"light": 5})),
    "variants": boxed(
        lambda model: (
            model.json.update(extensions={"KHR_materials_variants": {"variants": [{"name": "a"}]}}),
            model.json["meshes"][0]["primitives"][0].update(
                extensions={"KHR_materials_variants": {"mappings": [{"material": 0, "variants": [0]}]}}
            ),
            model.use("KHR_materials_variants"),
        )
    ),
    "an optional extension": boxed(lambda model: model.use("VENDOR_foo", required=False)),
    "attributes of an application": extra(_ID=(np.arange(3), "SCALAR", "f4"), _M=(np.zeros((8, 16)), "MAT4", "f4")),
    "many sets of coordinates": extra(**{f"TEXCOORD_{n}": (np.zeros((8, 2)), "VEC2", "f4") for n in range(10)}),
    "a primitive without triangles": boxed(
        lambda model: model.json["meshes"][0]["primitives"].append(model.box(faces=np.zeros((0, 3))))
    ),
    "large": placed(scale=[1e6] * 3),
    "small": placed(scale=[1e-6] * 3),
    "flat": placed(scale=[0, 1, 1]),
    "nowhere": placed(matrix=[0] * 16),
    "a name with a byte order mark": field("nodes.0.name", "﻿Stuhl é"),
    "the same name twice": boxed(lambda model: (model.json["nodes"][0].update(name="a"), model.node(name="a", mesh=0))),
    "null fields": field("nodes.0.skin", None),
}
"""Models that the survey and Blender read the same way."""

BROKEN = {
    "a required vendor extension": required("VENDOR_foo"),
    "meshopt": required("EXT_meshopt_compression"),
    "KHR meshopt": required("KHR_meshopt_compression"),
    "draco": required("KHR_draco_mesh_compression"),
    "basis": required("KHR_texture_basisu"),
    "required, not used": required("KHR_mesh_quantization", used=False),
    "NaN in JSON": field("nodes.0.extras", {"a": float("nan")}),
    "Infinity in JSON": field("nodes.0.extras", [float("inf")]),
    "byte order mark": glb(b"\xef\xbb\xbf" + _JSON, _BIN),
    "UTF-16": glb(_JSON.decode().encode("utf-16"), _BIN),
    "BIN chunk first": struct.pack("<4sII", b"glTF", 2, len(_BOX))
    + _BOX[20 + len(_JSON) :]
    + _BOX[12 : 20 + len(_JSON)],
    "another chunk second": glb(_JSON, b"", (b"BIN\0", _BIN)).replace(b"BIN\0", b"XTRA", 1),
    "longer than its header says": _BOX + b"\0\0\0\0",
    "shorter than its header says": glb(_JSON, _BIN, length=4),
    "glTF 1.0": struct.pack("<4sII", b"glTF", 1, len(_BOX)) + _BOX[12:],
    "asset version 1.0": field("asset.version", "1.0"),
    "asset version as a number": field("asset.version", 2.0),
    "no asset": field("asset", None),
    "cycle": boxed(lambda model: model.json["nodes"][0].update(children=[0])),
    "cycle of two": boxed(
        lambda model: (
            model.json["nodes"][0].update(children=[1]),
            model.node(root=False, children=[0]),
        )
    ),
    "two parents": boxed(
        lambda model: (model.node(root=False), model.json["nodes"][0].update(children=[1]), model.node(children=[1]))
    ),
    "two parents outside the scene": boxed(
        lambda model: (
            model.node(root=False, children=[0]),
            model.node(root=False, children=[0]),
        )
    ),
    "a count as text": field("accessors.0.count", "8"),
    "a count as a fraction": field("accessors.0.count", 8.0),
    "a mode as a fraction": field("meshes.0.primitives.0.mode", 4.0),
    "a name as a number": field("nodes.0.name", 7),
    "an unknown mode": field("meshes.0.primitives.0.mode", 7),
    "a short strip": mode(5, 1),
    "an empty fan": mode(6, 0),
    "indices out of range": faces([*FACES, [0, 1, 99]]),
    "a missing material": field("meshes.0.primitives.0.material", 3),
    "a missing mesh": field("nodes.0.mesh", 3),
    "short normals": extra(NORMAL=([[0, 1, 0]] * 4, "VEC3", "f4")),
    "normals of four numbers": extra(NORMAL=([[0, 1, 0, 0]] * 8, "VEC4", "f4")),
    "normals beyond the file": boxed(
        lambda model: (
            model.json["accessors"].append({"bufferView": 0, "componentType": 5126, "count": 900, "type": "VEC3"}),
            model.json["meshes"][0]["primitives"][0]["attributes"].update(NORMAL=2),
        )
    ),
    "positions of two numbers": extra(POSITION=([[0, 1]] * 8, "VEC2", "f4")),
    "instancing attributes with different counts": instanced(TRANSLATION=[[0, 0, 0]], SCALE=[[1, 1, 1]] * 2),
    "instances with morph targets": boxed(
        lambda model: (
            model.json["meshes"][0]["primitives"][0].update(targets=[{"POSITION": 0}]),
            model.json["nodes"][0].update(
                extensions={
                    "EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": model.accessor([[0, 0, 0]], "VEC3")}}
                }
            ),
        )
    ),
    "instances without attributes": boxed(bare(EXT_mesh_gpu_instancing={})),
    "more weights than targets": morphed(weights=[0.1, 0.2, 0.3]),
    "more weights than targets, of a node": morphed({"weights": [0.1, 0.2, 0.3]}),
    "an infinite translation": placed(translation=[1e39, 0, 0]),
    "a matrix that overflows": placed(matrix=[1e30] * 16),
    "a missing skeleton": boxed(lambda model: model.json.update(skins=[{"joints": [0], "skeleton": 9}])),
    "a buffer without data": boxed(
        lambda model: (
            model.json["buffers"].append({"byteLength": 400}),
            model.json["bufferViews"][0].update(buffer=1),
        )
    ),
    "a missing node": field("nodes.0.children", [7]),
    "a missing scene": field("scene", 4),
    "a missing texture": field("materials.0.normalTexture", {"index": 0}),
    "a missing sampler": boxed(
        lambda model: (
            model.json.update(images=[{"uri": "data:image/png;base64,"}], textures=[{"source": 0, "sampler": 2}]),
            model.json["materials"][0].update(emissiveTexture={"index": 0}),
        )
    ),
    "a missing joint": boxed(lambda model: model.json.update(skins=[{"joints": [44]}])),
}
"""Models that neither of them reads."""

UNWANTED = {
    "NaN coordinates": faces([*FACES, [0, 1, 8]]).replace(np.full(3, 50, "<f4").tobytes(), b"\xff" * 12),
    "infinite coordinates": faces([*FACES, [0, 1, 8]]).replace(
        np.full(3, 50, "<f4").tobytes(), np.full(3, np.inf, "<f4").tobytes()
    ),
    "nested too deeply": chain(600),
    "seven indices": mode(4, 7),
    "different numbers of morph targets": boxed(
        lambda model: model.json["meshes"][0]["primitives"].extend(
            [model.box() | {"targets": [{"POSITION": 0}]}, model.box() | {"targets": [{"POSITION": 0}] * 2}]
        )
    ),
}
"""Models that Blender reads incorrectly. The survey rejects them."""
