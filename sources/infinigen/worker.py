# /// script
# requires-python = "==3.11.*"
# dependencies = ["infinigen==1.15.5", "opencv-python-headless<4.9"]
# [tool.uv]
# override-dependencies = ["scikit-image>=0.22,<0.25", "opencv-python; sys_platform == 'never'"]
# ///
# pyright: basic, reportMissingImports=false
"""Makes assets with Infinigen (https://github.com/princeton-vl/infinigen), in an environment of its own.

Run it as `python worker.py -- OPTIONS` (sources/blender/process.py). OPTIONS is a JSON object: folder, device, threads.
It reads no data and no network. An asset depends on its factory, its seed and the options alone.

The overrides of the metadata are needed because Infinigen requires scikit-image<0.20, which has no wheel for Python
3.11, and opencv-python, which needs libGL.
"""

import json
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

PROTOCOL = os.fdopen(os.dup(1), "w")
"""The real standard output, only for replies. Blender and Infinigen print to descriptor 1."""
os.dup2(2, 1)
HERE = Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if entry and Path(entry).resolve() != HERE]

import importlib  # noqa: E402
import tempfile  # noqa: E402
import traceback  # noqa: E402

os.environ["BLENDER_USER_RESOURCES"] = tempfile.gettempdir()  # not the add-ons and settings of the user
import bpy  # noqa: E402
import numpy as np  # noqa: E402
from mathutils import Matrix  # noqa: E402

# As in sources/blender/worker.py.
ROOT = str(HERE.parents[1] if (HERE.parents[1] / "spatialdata_builder.py").is_file() else HERE.parents[2])
__package__ = "spatialdata_builder.sources.infinigen"
sys.path.append(ROOT)
from ..blender.serve import limit_cpu_time, serve  # noqa: E402
from .baking import bake, select_only  # noqa: E402

sys.path.remove(ROOT)

SMOOTH_DEG = 30.0
"""Edges between faces that differ less are smooth."""
PARTS = ("MESH", "CURVE", "SURFACE", "FONT")


REDUCTIONS = 4
WELD_M = 1e-4


class TooComplex(Exception):
    """A mesh that cannot be reduced to its limit of triangles."""


class NoGeometry(Exception):
    """What a factory made has no surface."""


class Worker:
    """The operations. Arguments are the fields of a request; the result has the fields of the reply."""

    def __init__(self, folder: str, device: str, threads: int) -> None:
        self.folder, self.threads = Path(folder), threads

    def hello(self) -> dict:
        """Import Infinigen and read its configuration."""
        import gin
        import infinigen
        from infinigen.core import init

        # Some modules look for add-ons, and install those that are missing. No factory of ours uses them.
        init.require_blender_addon = lambda *_, **__: True
        os.chdir(Path(infinigen.__file__).parent.parent)  # its configuration is found relative to this folder
        folders = ["infinigen_examples/configs_indoor", "infinigen_examples/configs_nature"]
        init.apply_gin_configs(folders, configs=[], overrides=[], skip_unknown=True)
        gin.unlock_config().__enter__()
        return {"blender": bpy.app.version_string}

    def make(
        self,
        module: str,
        factory: str,
        seed: int,
        scale: float,
        file: str,
        texture: int,
        max_triangles: int,
        limit_cpu_s: int,
    ) -> dict:
        """Make an asset and write it as GLB. The process is killed when it takes more CPU time than the limit.

        Args:
            scale: meters per unit of Infinigen.
        """
        began = time.process_time()
        limit_cpu_time(limit_cpu_s)
        if self.threads:
            bpy.context.scene.render.threads_mode, bpy.context.scene.render.threads = "FIXED", self.threads
        obj = one_mesh(spawn(module, factory, seed))
        size = place(obj, scale)
        made_triangles = triangles(obj)
        reduce(obj, max_triangles)
        smooth(obj)
        bake(obj, texture)
        select_only(obj)
        bpy.ops.export_scene.gltf(
            filepath=file,
            export_format="GLB",
            use_selection=True,
            export_yup=True,
            export_image_format="JPEG",
            export_jpeg_quality=90,
            export_animations=False,
            export_apply=False,
            export_attributes=False,
        )
        return {
            "size_m": [round(float(side), 4) for side in size],
            "triangles": triangles(obj),
            "made_triangles": made_triangles,
            "asset_cpu_s": round(time.process_time() - began, 2),
        }


def spawn(module: str, factory: str, seed: int) -> Any:
    """The object, which may have children, that a factory makes from a seed."""
    from infinigen.core.util import blender as butil
    from infinigen.core.util.math import FixedSeed

    butil.clear_scene()
    made = getattr(importlib.import_module(f"infinigen.assets.objects.{module}"), factory)
    with FixedSeed(seed):
        maker = made(seed)
        asset = maker.spawn_asset(seed)
        if hasattr(maker, "finalize_assets"):
            maker.finalize_assets([asset])
    return asset


def one_mesh(asset: Any) -> Any:
    """The asset and its children as one mesh object, with modifiers and transforms applied."""
    bpy.context.view_layer.update()
    parts = [part for part in (asset, *asset.children_recursive) if part.type in PARTS and not part.hide_render]
    if not parts:
        raise NoGeometry("no part of it has a surface")
    for part in parts:
        for modifier in part.modifiers:
            if modifier.type == "NODES" and modifier.node_group:
                _realize_instances(modifier.node_group)
    bpy.ops.object.select_all(action="DESELECT")
    for part in parts:
        part.hide_set(False)
        part.hide_viewport = False
        part.select_set(True)
        if part.data.users > 1:
            part.data = part.data.copy()
    bpy.context.view_layer.objects.active = parts[0]
    bpy.ops.object.convert(target="MESH")
    parts = [part for part in bpy.context.selected_objects if part.type == "MESH" and len(part.data.polygons)]
    if not parts:
        raise NoGeometry("no part of it has faces")
    for part in parts:
        world = part.matrix_world.copy()
        part.parent, part.matrix_world = None, world
    bpy.ops.object.select_all(action="DESELECT")
    for part in parts:
        part.select_set(True)
    bpy.context.view_layer.objects.active = parts[0]
    if len(parts) > 1:
        bpy.ops.object.join()
    bpy.ops.object.transform_apply(location=True, rotation=True, scale=True)
    return bpy.context.view_layer.objects.active


def _realize_instances(group: Any) -> None:
    """Make instances, which conversion to a mesh drops, a part of the geometry that a node group returns."""
    output = next((node for node in group.nodes if node.type == "GROUP_OUTPUT"), None)
    if output and output.inputs and output.inputs[0].links and output.inputs[0].type == "GEOMETRY":
        geometry = output.inputs[0].links[0].from_socket
        realize = group.nodes.new("GeometryNodeRealizeInstances")
        group.links.new(geometry, realize.inputs[0])
        group.links.new(realize.outputs[0], output.inputs[0])


def place(obj: Any, scale: float) -> np.ndarray:
    """Scale the object and put the middle of its bottom at the origin.

    Returns:
        Width (x), depth (y) and height (z), meters.
    """
    points = np.empty(len(obj.data.vertices) * 3, np.float32)
    obj.data.vertices.foreach_get("co", points)
    low, high = points.reshape(-1, 3).min(0), points.reshape(-1, 3).max(0)
    to_origin = Matrix.Translation((-(low[0] + high[0]) / 2, -(low[1] + high[1]) / 2, -low[2]))
    obj.data.transform(Matrix.Scale(scale, 4) @ to_origin)
    return scale * (high - low)


def triangles(obj: Any) -> int:
    obj.data.calc_loop_triangles()
    return len(obj.data.loop_triangles)


def reduce(obj: Any, limit: int) -> None:
    """Reduce the mesh to at most `limit` triangles. Raises TooComplex where that is not possible."""
    for _ in range(REDUCTIONS):
        if (count := triangles(obj)) <= limit:
            return
        modifier = obj.modifiers.new("reduce", "DECIMATE")
        modifier.ratio = limit / count
        bpy.context.view_layer.objects.active = obj
        bpy.ops.object.modifier_apply(modifier=modifier.name)
        if triangles(obj) > limit:
            weld(obj)  # triangles with edges of their own resist reduction
    if (count := triangles(obj)) > limit:
        raise TooComplex(f"{count} triangles after reduction, at most {limit} (--max-triangles)")


def weld(obj: Any) -> None:
    """Merge vertices that are closer than `WELD_M`."""
    import bmesh  # a part of bpy

    mesh = bmesh.new()
    mesh.from_mesh(obj.data)
    bmesh.ops.remove_doubles(mesh, verts=mesh.verts, dist=WELD_M)
    mesh.to_mesh(obj.data)
    mesh.free()


def smooth(obj: Any) -> None:
    """Smooth shading between faces at small angles. It looks better on reduced meshes, and files share vertices."""
    select_only(obj)
    bpy.ops.object.shade_smooth_by_angle(angle=np.deg2rad(SMOOTH_DEG))


def answer(worker: Worker, request: dict) -> dict:
    """The fields of the reply to one request. An error is also a reply."""
    try:
        return getattr(worker, request.pop("op"))(**request)
    except NoGeometry as error:
        return {"error": "no_geometry", "message": str(error)}
    except TooComplex as error:
        return {"error": "too_complex", "message": str(error)}
    except Exception as error:
        return {"error": "failed", "message": f"{error!r}\n{traceback.format_exc()}"}


def main() -> None:
    worker = Worker(**json.loads(sys.argv[sys.argv.index("--") + 1]))
    serve(worker.folder, PROTOCOL, partial(answer, worker))


if __name__ == "__main__":
    main()
