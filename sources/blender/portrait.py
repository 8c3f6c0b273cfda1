# pyright: basic, reportMissingImports=false
"""Renders the materials of one asset from several sides, without light, floor or other objects.

The result is Cycles' color passes: what the surface reflects, transmits and emits. They include everything that the
shader nodes compute from textures, factors, vertex colors and transparency. They do not depend on light and have hardly
any noise, so a few samples are enough.
"""

from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from .hits import export_hits
from .materials import Graph
from .passes import BACKGROUND, read_channels
from .scene import load_asset

SAMPLES = 4
MARGIN = 1.04
"""Width of a view divided by the diagonal of the asset."""
ROUGHNESS = "Roughness"


def portray(asset: dict, file: str, views: list, side: int, folder: Path) -> dict[str, np.ndarray]:
    """Render views of an asset, each `side` x `side` pixels.

    Args:
        asset: `scale`, `offset`, `size_m`, `axes` and `cut` of an `Asset`.
        views: right, up and back (from the asset to the camera) of each camera as rows, object frame.

    Returns:
        `color` (V, H, W, 3): scene-linear, the sum of reflected, transmitted and emitted color times coverage;
        `glossy`, `through` (V, H, W, 3): its specular and transmitted parts; `coverage`, `roughness` (V, H, W): 0..1;
        `depth` (V, H, W): distance behind the plane through the center of the box, along the view, meters, NaN where
        there is no surface; `box` (2, 3): bounds of all vertices, object frame.
    """
    loaded = load_asset({"id": 1, "asset": asset}, file)
    loaded.place({"x": 0.0, "y": 0.0, "z": 0.0, "yaw_deg": 0.0, "scale": 1.0, "present": True})
    scene = bpy.context.scene
    size = np.array(asset["size_m"])
    width = MARGIN * float(np.linalg.norm(size))
    camera = _set_up(scene, width, side)
    for part in loaded.parts:
        part.pass_index = 1
    export_hits(scene.view_layers[0], side, side, {1: loaded.materials})
    _export_roughness(scene.view_layers[0])
    center = np.array([0.0, 0.0, size[2] / 2])
    found: dict[str, list[np.ndarray]] = {}
    for view in views:
        axes = np.reshape(view, (3, 3))
        pose = np.eye(4)
        pose[:3, :3] = axes.T
        pose[:3, 3] = center + axes[2] * width
        camera.matrix_world = Matrix(pose.tolist())
        for name, array in _passes(scene, folder / "portrait.exr", width).items():
            found.setdefault(name, []).append(array)
    arrays = {name: np.stack(list_) for name, list_ in found.items()}
    return arrays | {"box": np.stack([loaded.low, loaded.high])}


def _set_up(scene: Any, width: float, side: int) -> Any:
    render, cycles = scene.render, scene.cycles
    render.engine = "CYCLES"
    render.resolution_x = render.resolution_y = side
    render.resolution_percentage = 100
    render.use_persistent_data = True
    render.use_compositing = render.use_sequencer = False
    render.film_transparent = True
    cycles.device, cycles.samples, cycles.seed = "CPU", SAMPLES, 0
    cycles.use_adaptive_sampling = cycles.use_denoising = False
    # The color passes are those of the first surface, and no light is needed.
    cycles.max_bounces, cycles.transparent_max_bounces = 0, 16
    layer = scene.view_layers[0]
    layer.use_pass_z = layer.use_pass_object_index = layer.use_pass_emit = True
    layer.use_pass_diffuse_color = layer.use_pass_glossy_color = layer.use_pass_transmission_color = True
    settings = render.image_settings
    if hasattr(settings, "media_type"):  # since 5.0; must be set before the format
        settings.media_type = "MULTI_LAYER_IMAGE"
    settings.file_format, settings.color_depth, settings.exr_codec = "OPEN_EXR_MULTILAYER", "32", "NONE"
    if hasattr(settings, "use_exr_interleave"):
        settings.use_exr_interleave = True
    lens = bpy.data.cameras.new("portrait")
    lens.type, lens.ortho_scale = "ORTHO", width
    lens.clip_start, lens.clip_end = width * 1e-3, width * 3
    camera = bpy.data.objects.new("portrait", lens)
    scene.collection.objects.link(camera)
    scene.camera = camera
    return camera


def _export_roughness(layer: Any) -> None:
    """Add the pass `ROUGHNESS`. It is 0 for materials without a Principled BSDF."""
    aov = layer.aovs.add()
    aov.name, aov.type = ROUGHNESS, "VALUE"
    for material in bpy.data.materials:
        nodes = material.node_tree.nodes if material.node_tree else ()
        for node in [node for node in nodes if node.bl_idname == "ShaderNodeBsdfPrincipled"][:1]:
            roughness = node.inputs["Roughness"]
            value = roughness.links[0].from_socket if roughness.is_linked else roughness.default_value
            Graph(material.node_tree).node("OutputAOV", named={"Value": value}, aov_name=ROUGHNESS)


def _passes(scene: Any, exr: Path, width: float) -> dict[str, np.ndarray]:
    scene.render.filepath = str(exr)
    bpy.ops.render.render(write_still=True)
    channels = read_channels(exr)
    exr.unlink()

    def stack(*names: str) -> np.ndarray:
        name = next(name for name in names if f"{name}.R" in channels)
        return np.stack([channels[f"{name}.{axis}"] for axis in "RGB"], axis=-1).astype(np.float32)

    # The second names are those before Blender 5.0.
    index = channels["Object Index.X"] if "Object Index.X" in channels else channels["IndexOB.X"]
    depth = channels["Depth.Z"]
    glossy, through = stack("Glossy Color", "GlossCol"), stack("Transmission Color", "TransCol")
    return {
        "color": stack("Diffuse Color", "DiffCol") + glossy + through + stack("Emission", "Emit"),
        "glossy": glossy,
        "through": through,
        "roughness": channels[next(name for name in (f"{ROUGHNESS}.X", f"{ROUGHNESS}.V") if name in channels)],
        "coverage": channels["Combined.A"].astype(np.float32),
        "depth": np.where((np.rint(index) == 1) & (depth < BACKGROUND), depth - width, np.nan).astype(np.float32),
    }
