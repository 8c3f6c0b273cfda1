# pyright: basic, reportMissingImports=false
"""Converts a model of another format to one GLB: its meshes at rest, with their materials and textures.

No image outside the given folder is read. Files often name textures by a path on the machine of their author: a
texture that is not there is searched for by its name in the folder of the model.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy

from .importer import last_error_line
from .scene import BrokenAsset

IMPORTERS = {
    ".obj": lambda file: bpy.ops.wm.obj_import(filepath=file),
    ".fbx": lambda file: bpy.ops.wm.fbx_import(filepath=file, use_anim=False),
    ".ply": lambda file: bpy.ops.wm.ply_import(filepath=file, import_colors="SRGB"),
    **dict.fromkeys(
        (".usd", ".usda", ".usdc", ".usdz"),
        lambda file: bpy.ops.wm.usd_import(
            filepath=file, import_cameras=False, import_lights=False, set_frame_range=False
        ),
    ),
}
MAX_SEARCHED = 20_000
"""Files that are looked at to find a texture by its name."""


def convert(file: Path, root: Path, target: Path) -> list[str]:
    """Write `target`, a GLB, from a model below `root`. The scene must be empty.

    Returns the paths of the other files that the model consists of: textures and material libraries.

    Raises BrokenAsset: `not_converted`, `no_geometry` or `missing_textures`.
    """
    try:
        IMPORTERS[file.suffix.lower()](str(file))
    except Exception as error:  # includes bugs of the importers on unusual files
        raise BrokenAsset("", f"Blender: {last_error_line(error)}", "not_converted") from None
    if not any(len(item.data.polygons) for item in bpy.data.objects if item.type == "MESH"):
        raise BrokenAsset("", "Blender finds no faces in it", "no_geometry")
    textures = [path for image in used_images() if (path := find_texture(image, file, root))]
    try:
        bpy.ops.export_scene.gltf(
            filepath=str(target),
            export_format="GLB",
            export_apply=True,
            export_animations=False,
            export_skins=False,
            export_morph=False,
            export_cameras=False,
            export_lights=False,
        )
    except Exception as error:
        raise BrokenAsset("", f"Blender's glTF exporter: {last_error_line(error)}", "not_converted") from None
    return sorted({str(path) for path in (*textures, *material_libraries(file))})


def used_images() -> Iterator[Any]:
    """The images of the materials, each once."""
    trees = [material.node_tree for material in bpy.data.materials if material.users and material.node_tree]
    images = {node.image.name: node.image for tree in trees for node in tree.nodes if getattr(node, "image", None)}
    yield from images.values()


def find_texture(image: Any, file: Path, root: Path) -> Path | None:
    """The file of an image; None if the image is part of the model. Where the model names another path, the file
    replaces the image.

    Raises BrokenAsset if it does not exist below `root`.
    """
    if image.packed_file or image.source == "GENERATED":
        return None
    named = Path(bpy.path.abspath(image.filepath))
    wanted = image.filepath.replace("\\", "/").rpartition("/")[2] or image.name
    inside = named.is_file() and named.resolve().is_relative_to(root.resolve())
    found = named if inside else search(wanted.lower(), file, root)
    if found is None:
        where = "is outside source.root" if named.is_file() else "does not exist"
        raise BrokenAsset("", f"texture {wanted!r} {where}: put it into the model's folder", "missing_textures")
    if found != named:
        # Some importers make a placeholder of a missing image, which stays empty when it is reloaded.
        loaded = bpy.data.images.load(str(found))
        loaded.colorspace_settings.name, loaded.alpha_mode = image.colorspace_settings.name, image.alpha_mode
        image.user_remap(loaded)
    return found


def search(name: str, file: Path, root: Path) -> Path | None:
    """The first file of this name (lower case) in the folder of the model, or beside it in a folder of textures."""
    beside = [] if file.parent == root else sorted(p for p in file.parent.parent.iterdir() if is_textures(p))
    seen = 0
    for folder in (file.parent, *beside):
        for place, folders, files in os.walk(folder):
            folders.sort()
            for found in sorted(files):
                if found.lower() == name:
                    return Path(place, found)
            seen += len(files)
            if seen > MAX_SEARCHED:
                return None
    return None


def is_textures(path: Path) -> bool:
    """Whether a path is a folder that is named as one of textures."""
    return path.name.lower().startswith(("texture", "tex", "map", "image", "material")) and path.is_dir()


def material_libraries(file: Path) -> list[Path]:
    """The existing MTL files of an OBJ."""
    if file.suffix.lower() != ".obj":
        return []
    with file.open(encoding="utf-8", errors="replace") as lines:
        names = [line.split(maxsplit=1)[1].strip() for line in lines if line.startswith("mtllib ") and line[7:].strip()]
    return [file.parent / name for name in dict.fromkeys(names) if (file.parent / name).is_file()]
