"""Types of the fields of a glTF file, as Blender's importer asserts them.

Format: Khronos glTF 2.0 specification, section 5; `io_scene_gltf2/io/com/gltf2_io.py` of Blender 5.0.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

_COMMON: Final = {"name": "text", "extensions": "{extension}"}
_SHAPES: Final[Mapping[str, Mapping[str, str]]] = {
    kind: _COMMON | dict(entry.split(":") for entry in fields.split())
    for kind, fields in {
        "gltf": "accessors:[accessor] animations:[animation] asset:!asset buffers:[buffer] bufferViews:[view] "
        "cameras:[camera] extensionsRequired:[text] extensionsUsed:[text] images:[image] materials:[material] "
        "meshes:[mesh] nodes:[node] samplers:[sampler] scene:int scenes:[scene] skins:[skin] textures:[texture]",
        "accessor": "bufferView:int byteOffset:int componentType:!int count:!int max:[number] min:[number] "
        "normalized:bool sparse:sparse type:!text",
        "sparse": "count:!int indices:!places values:!changes",
        "places": "bufferView:!int byteOffset:int componentType:!int",
        "changes": "bufferView:!int byteOffset:int",
        "animation": "channels:![channel] samplers:![curve]",
        "channel": "sampler:!int target:!target",
        "target": "node:int path:!text",
        "curve": "input:!int interpolation:text output:!int",
        "asset": "copyright:text generator:text minVersion:text version:!text",
        "view": "buffer:!int byteLength:!int byteOffset:int byteStride:int target:int",
        "buffer": "byteLength:!int uri:text",
        "camera": "orthographic:orthographic perspective:perspective type:!text",
        "orthographic": "xmag:!number ymag:!number zfar:!number znear:!number",
        "perspective": "aspectRatio:number yfov:!number zfar:number znear:!number",
        "image": "bufferView:int mimeType:text uri:text",
        "textured": "index:!int texCoord:int scale:number strength:number",
        "rough": "baseColorFactor:[number] baseColorTexture:textured metallicFactor:number "
        "metallicRoughnessTexture:textured roughnessFactor:number",
        "material": "alphaCutoff:number alphaMode:text doubleSided:bool emissiveFactor:[number] "
        "emissiveTexture:textured normalTexture:textured occlusionTexture:textured pbrMetallicRoughness:rough",
        "primitive": "attributes:!{int} indices:int material:int mode:int targets:[{int}]",
        "mesh": "primitives:![primitive] weights:[number]",
        "node": "camera:int children:[int] matrix:[number] mesh:int rotation:[number] scale:[number] skin:int "
        "translation:[number] weights:[number]",
        "sampler": "magFilter:int minFilter:int wrapS:int wrapT:int",
        "scene": "nodes:[int]",
        "skin": "inverseBindMatrices:int joints:![int] skeleton:int",
        "texture": "sampler:int source:int",
    }.items()
}
"""Type of each field that Blender's importer asserts. `!`: required, `[x]`: list, `{x}`: object with such values."""
_PLAIN: Final[Mapping[str, tuple[type, ...]]] = {"int": (int,), "number": (int, float), "text": (str,), "bool": (bool,)}


def check_shape(content: Any) -> None:
    """Raise ValueError with the name of the field if a field of a glTF file is missing or has the wrong type."""
    if problem := _problem(content, "gltf"):
        raise ValueError(problem.lstrip("."))


def _problem(value: Any, kind: str) -> str:
    """The first field that does not have its type, such as `.nodes[2].mesh must be int`; empty if all have."""
    if kind in _PLAIN:
        return "" if type(value) in _PLAIN[kind] else f" must be {kind}"
    if kind[0] == "[":
        if not isinstance(value, list):
            return " must be a list"
        return _first(((f"[{at}]", item) for at, item in enumerate(cast("list[Any]", value))), kind[1:-1])
    if not isinstance(value, dict):
        return " must be an object"
    fields = cast("dict[str, Any]", value)
    if kind[0] == "{":
        return _first(((f".{name}", item) for name, item in fields.items()), kind[1:-1])
    for name, type_ in _SHAPES.get(kind, {}).items():
        found = fields.get(name)
        if found is None:
            problem = " is missing" if type_[0] == "!" else ""
        else:
            problem = _problem(found, type_.removeprefix("!"))
        if problem:
            return f".{name}{problem}"[-200:]
    return ""


def _first(items: Iterable[tuple[str, Any]], kind: str) -> str:
    return next((f"{where}{problem}"[-200:] for where, item in items if (problem := _problem(item, kind))), "")
