# pyright: basic, reportMissingImports=false
"""A scene inside Blender: loaded once, then posed and rendered any number of times.

All values come from a `SceneSpec` as JSON (sources/scenes/spec.py), in its frames: world z up in meters, OpenCV camera.
Nothing is sampled here.
"""

import math
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector

from .garden import build_garden
from .geometry import Geometry, geometry, surface_points
from .hits import SOLID, export_hits, solid_everywhere
from .images import LUMINANCE, OWN_RADIANCE, mean_luminance
from .importer import ImportFailed, attach, import_model, separate_sheets
from .interior import build_environment
from .materials import Graph, surface_material
from .passes import read_passes
from .room import build_room, room_world, use_fast_light
from .shell import FLOOR_OFFSET_M, Part, prism_part
from .table_top import cover_top
from .visibility import Shell

RADII = (1.0, 4.0, 16.0, 60.0)
"""Half widths of the squares that make up the floor, meters. Depth is useful up to the far edge."""
SENSOR_MM = 32.0
MIDDLE_GRAY = 0.2
"""Scene-linear luminance that the view transform maps to a medium gray: target for the log-average of an image."""
LAWN_GRAY = 0.12
"""The same for a garden: grass is darker than most of what stands on it."""
BRIGHTEST = 3.5
"""Exposed scene-linear value that the view transform still distinguishes from white (measured: white from 4)."""
WHITE_BALANCE = 0.6
"""Strength of white balance: 1 removes the color of the light completely."""
GLARE = 4.0
"""Upper limit for the brightness of the visible background, in mean luminances of the HDRI."""
MAP_PX = 1024
"""Largest width of the map by which the light of an HDRI is sampled."""


class BrokenAsset(Exception):
    """A model file cannot be shown, or cannot have exact maps."""

    def __init__(self, object_id: str, message: str, reason: str = "broken_asset") -> None:
        super().__init__(message)
        self.object, self.reason = object_id, reason


class LoadedAsset:
    """One object: the empty that is the parent of its parts, and its geometry in the object frame, meters.

    `vertices` includes everything; `shell` and `points` include only parts that may be surface.
    """

    def __init__(self, root: Any, parts: list, geometry: Geometry, asset: dict) -> None:
        self.root, self.parts = root, parts
        self.scale = asset["scale"]
        axes = np.reshape(asset["axes"], (3, 3))
        self.axes = Matrix(axes.tolist())
        geometry = geometry._replace(vertices=geometry.vertices @ axes.T * self.scale)
        geometry = geometry.within(asset["size_m"]) if asset["cut"] else geometry
        self.vertices = geometry.vertices
        self.low, self.high = (bound(self.vertices[geometry.triangles], axis=(0, 1)) for bound in (np.min, np.max))
        self.materials = [material for material in geometry.materials if material is not None]
        faint = np.array([m is not None and solid_everywhere(m) is False for m in geometry.materials], bool)
        single = np.array([m is not None and m.use_backface_culling for m in geometry.materials], bool)
        kept = ~faint[geometry.material]
        triangles = geometry.triangles[kept]
        self.solid = bool(len(triangles))
        if self.solid:
            self.points = surface_points(self.vertices, triangles)
            self.shell = Shell(self.vertices, triangles, single[geometry.material[kept]])
            self._show_all_sides(geometry.material[kept], geometry.materials)

    def _show_all_sides(self, used: np.ndarray, materials: list) -> None:
        """Disable back-face culling of materials whose backs cannot be seen from outside: most are closed solids."""
        seen = set(used[self.shell.visible_backs()])
        for number, material in enumerate(materials):
            if material is not None and number not in seen:
                material.use_backface_culling = False

    def place(self, placement: dict) -> None:
        """Set world_from_object * object_from_file. The file's offset is already part of the children's transforms."""
        yaw, scale = math.radians(placement["yaw_deg"]), placement["scale"]
        rotation = Matrix.Rotation(yaw, 3, "Z")
        settled = placement.get("settled")
        self.root.rotation_mode = "QUATERNION" if settled else "XYZ"
        if settled:
            # Euler angles lose digits where an object lies on its side.
            axis = Vector((*settled["tilt_deg"], 0.0))
            tilt = Matrix.Rotation(math.radians(axis.length), 3, axis) if axis.length else Matrix.Identity(3)
            self.root.rotation_quaternion = (rotation @ tilt @ self.axes).to_quaternion()
        else:
            self.root.rotation_euler = (rotation @ self.axes).to_euler()
        self.root.scale = (scale * self.scale,) * 3
        self.root.location = placement["x"], placement["y"], placement["z"]
        for part in self.parts:
            part.hide_render = not placement["present"]


class Scene:
    """A loaded scene. `exposure` (stops) and the white point are set by the first render and used for all."""

    def __init__(self, spec: dict, files: dict, options: dict, on_gpu: bool, threads: int) -> None:
        self.spec, self.options, self.exposure = spec, options, None
        self.width, self.height = spec["width"], spec["height"]
        self.scene = bpy.context.scene
        self._settings(options, on_gpu, threads)
        self._world(spec["light"])
        self.surroundings: Shell | None = None
        if "room" in spec:
            self.surroundings = shell_of(build_room(self.scene, spec["room"]))
            use_fast_light(self.scene)
        elif "garden" in spec:
            self.surroundings = shell_of(build_garden(self.scene, spec["garden"]))
        elif "environment" in spec:
            try:
                self.surroundings = build_environment(self.scene, spec["environment"])
            except ImportFailed as error:
                raise BrokenAsset("", str(error)) from None
            use_fast_light(self.scene)
        else:
            self._floor(spec["floor"])
            for number, wall in enumerate(spec["walls"]):
                self._wall(number, wall)
            if "pedestal" in spec:
                self.surroundings = shell_of(self._pedestal(spec["pedestal"]))
        self.assets = {str(item["id"]): load_asset(item, files[str(item["id"])]) for item in spec["objects"]}
        self.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
        self.scene.collection.objects.link(self.camera)
        self.scene.camera = self.camera
        self.owners = self._number_parts()
        faint = {item["id"]: self.assets[str(item["id"])].materials for item in spec["objects"]}
        export_hits(self.scene.view_layers[0], self.width, self.height, faint)

    def _settings(self, options: dict, on_gpu: bool, threads: int) -> None:
        scene, render, cycles = self.scene, self.scene.render, self.scene.cycles
        render.engine = "CYCLES"
        render.resolution_x, render.resolution_y, render.resolution_percentage = self.width, self.height, 100
        render.use_persistent_data = True
        render.use_compositing = render.use_sequencer = False
        # The color depends only on the linear pixel: what an edit does not change stays equal bit for bit.
        render.dither_intensity = 0.0
        render.threads_mode = "FIXED" if threads else "AUTO"
        if threads:
            # With a single thread, the waiting thread spins, which doubles the CPU time.
            render.threads = max(2, threads)
        cycles.device = "GPU" if on_gpu else "CPU"
        cycles.seed = self.spec["seed"] & 0x7FFFFFFF
        cycles.use_adaptive_sampling = False
        cycles.denoiser, cycles.denoising_use_gpu = "OPENIMAGEDENOISE", on_gpu
        # The sky and a sun are two lights. The tree costs more than a draw between them, and draws the sun too rarely.
        cycles.use_light_tree = options["light_tree"]
        # With so few samples, caustics of an HDRI are only fireflies.
        cycles.caustics_reflective = cycles.caustics_refractive = False
        cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 8, 3, 4
        # A path that ends between the leaves of a plant hits no surface, so the limit is high.
        cycles.transmission_bounces, cycles.transparent_max_bounces = 8, 256
        layer = scene.view_layers[0]
        layer.use_pass_z = layer.use_pass_object_index = layer.use_pass_diffuse_color = True
        layer.use_pass_material_index = True
        layer.cycles.denoising_store_passes = options["denoise"]
        scene.display_settings.display_device = "sRGB"
        scene.view_settings.view_transform = "AgX"
        scene.view_settings.look = "AgX - Medium High Contrast"
        scene.view_settings.gamma = 1.0

    def _world(self, light: dict) -> None:
        world = bpy.data.worlds.new("world")
        self.scene.world = world
        world.use_nodes = True
        folder = Path(bpy.utils.system_resource("DATAFILES")) / "studiolights" / "world"
        own = "/" not in light["hdri"]
        image = bpy.data.images.load(str(folder / f"{light['hdri']}.exr") if own else light["hdri"])
        tree = world.node_tree
        tree.nodes.clear()
        graph = Graph(tree)
        # The mapping rotates the lookup direction, so the image rotates the other way.
        rotation = (0.0, 0.0, -math.radians(light["rotation_deg"]))
        direction = graph.node("TexCoord").outputs["Generated"]
        direction = graph.node("Mapping", direction, named={"Rotation": rotation}).outputs[0]
        color = graph.node("TexEnvironment", direction, image=image).outputs["Color"]
        radiance = mean_luminance(image, positive=not own)
        if not own:
            # Resampled HDRIs have negative values beside the sun.
            color = graph.node("VectorMath", color, [0.0, 0.0, 0.0], operation="MAXIMUM").outputs[0]
            color, radiance = graph.scale(color, OWN_RADIANCE / radiance), OWN_RADIANCE
        # Windows and the sun light the scene at full brightness, but are dimmed for camera rays: otherwise they would
        # be overexposed or make the image dark.
        brightness = graph.math("DIVIDE", graph.node("RGBToBW", color).outputs[0], GLARE * radiance)
        dimmed = graph.scale(color, graph.math("DIVIDE", 1.0, graph.add(brightness, 1.0)))
        if "room" in self.spec:
            outlook = graph.scale(dimmed, light["strength"] / radiance)
            color = room_world(graph, outlook, self.spec["room"]["light"])
            graph.node("OutputWorld", graph.node("Background", color).outputs[0])
            world.cycles.sampling_method = "NONE"  # even light needs none
            return
        color = graph.mix(graph.node("LightPath").outputs["Is Camera Ray"], color, dimmed)
        background = graph.node("Background", color, light["strength"]).outputs[0]
        graph.node("OutputWorld", background)
        # The resolution of Blender's own HDRIs. Cycles' own choice costs two CPU seconds for each scene.
        world.cycles.sampling_method, world.cycles.sample_map_resolution = "MANUAL", min(image.size[0], MAP_PX)

    def _floor(self, surface: dict) -> None:
        """Nested squares. In a single triangle of 60 m, hit positions would be off by up to a pixel in close views."""
        corners = [(x * r, y * r, -FLOOR_OFFSET_M) for r in RADII for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        rings = [
            (4 * ring + side, 4 * ring + (side + 1) % 4, 4 * ring + (side + 1) % 4 - 4, 4 * ring + side - 4)
            for ring in range(1, len(RADII))
            for side in range(4)
        ]
        self._sheet("floor", corners, [(0, 1, 2, 3), *rings], surface)

    def _wall(self, number: int, wall: dict) -> None:
        angle = math.radians(wall["normal_deg"])
        along = Vector((-math.sin(angle), math.cos(angle), 0.0))
        foot, up = Vector((wall["x"], wall["y"], 0.0)), Vector((0.0, 0.0, wall["height"]))
        steps = [*(-r for r in reversed(RADII)), *RADII]
        corners = [foot + along * step + rise for step in steps for rise in (Vector(), up)]
        faces = [(2 * i, 2 * i + 2, 2 * i + 3, 2 * i + 1) for i in range(len(steps) - 1)]
        self._sheet(f"wall{number}", corners, faces, wall["surface"])

    def _pedestal(self, pedestal: dict) -> list[Part]:
        """A board on a column. As the floor, its top is a little lower than what stands on it."""
        top = pedestal["height"] - FLOOR_OFFSET_M
        below = top - pedestal["thickness"]
        parts = [
            prism_part("board", pedestal["board"], below, top),
            prism_part("column", pedestal["column"], -FLOOR_OFFSET_M, below),
        ]
        for part in parts:
            self._sheet(part.name, part.vertices.tolist(), part.faces, pedestal["surface"])
        return parts

    def _sheet(self, name: str, corners: list, faces: list, surface: dict) -> None:
        mesh = bpy.data.meshes.new(name)
        mesh.from_pydata(corners, [], faces)
        mesh.materials.append(surface_material(surface))
        self.scene.collection.objects.link(bpy.data.objects.new(name, mesh))

    def _number_parts(self) -> np.ndarray:
        """Number the meshes from 1. Returns the object id (0: what surrounds the objects) for each number."""
        ids = {part: int(name) for name, asset in self.assets.items() for part in asset.parts}
        owners = [0]
        for item in self.scene.objects:
            if item.type == "MESH":
                item.pass_index = len(owners)
                owners.append(ids.get(item, 0))
        return np.array(owners, np.uint16)

    def pose(self, state: dict) -> None:
        """Place every object and the camera as in a state."""
        for name, asset in self.assets.items():
            asset.place(state["placements"][name])
        K, lens = state["camera"]["K"], self.camera.data
        fx, fy, cx, cy = K[0], K[4], K[2], K[5]
        lens.sensor_fit, lens.sensor_width = "HORIZONTAL", SENSOR_MM
        lens.lens = fx * SENSOR_MM / self.width
        lens.shift_x = (self.width / 2 - cx) / self.width
        lens.shift_y = (cy - self.height / 2) / self.width * fx / fy
        lens.clip_start, lens.clip_end = 0.01, 1000.0
        render = self.scene.render
        render.pixel_aspect_x, render.pixel_aspect_y = max(1.0, fy / fx), max(1.0, fx / fy)
        pose = np.reshape(state["camera"]["world_from_camera"], (4, 4))
        self.camera.matrix_world = Matrix((pose @ np.diag([1, -1, -1, 1])).tolist())

    def render(self, exr: Path, samples: int = 0, denoise: bool | None = None) -> dict[str, np.ndarray]:
        """Render all passes of the current pose, see `passes.read_passes`.

        Args:
            exr: a temporary file.
            samples, denoise: 0 and None: as in the scene's options.
        """
        cycles = self.scene.cycles
        cycles.samples = samples or self.options["samples"]
        cycles.use_denoising = self.options["denoise"] if denoise is None else denoise
        settings = self.scene.render.image_settings
        if hasattr(settings, "media_type"):  # since 5.0; must be set before the format
            settings.media_type = "MULTI_LAYER_IMAGE"
        settings.file_format, settings.color_depth, settings.exr_codec = "OPEN_EXR_MULTILAYER", "32", "NONE"
        if hasattr(settings, "use_exr_interleave"):  # since 5.0, whose EXR parts do not support non-square pixels
            settings.use_exr_interleave = True
        self.scene.render.filepath = str(exr)
        bpy.ops.render.render(write_still=True)
        arrays = read_passes(exr, self.owners)
        exr.unlink()
        return arrays

    def expose(self, arrays: dict[str, np.ndarray]) -> None:
        """Set exposure and white point from the first image of the scene. Later images keep them."""
        if self.exposure is not None:
            return
        self.exposure = exposure_of(
            arrays["linear"],
            arrays["depth"],
            LAWN_GRAY if "garden" in self.spec else MIDDLE_GRAY,
            background="room" not in self.spec and "environment" not in self.spec,
        )
        view = self.scene.view_settings
        view.exposure = self.exposure
        if hasattr(view, "use_white_balance"):  # since 4.3
            view.use_white_balance = True
            view.white_balance_whitepoint = white_of(arrays)

    def save_color(self, png: Path, image: Any = None) -> None:
        """Save an image (default: the last render), after the view transform, as 8-bit sRGB."""
        settings = self.scene.render.image_settings
        if hasattr(settings, "media_type"):
            settings.media_type = "IMAGE"
        settings.file_format, settings.color_mode, settings.color_depth = "PNG", "RGB", "8"
        settings.compression = 0
        (image or bpy.data.images["Render Result"]).save_render(str(png), scene=self.scene)


def exposure_of(linear: np.ndarray, depth: np.ndarray, gray: float, background: bool) -> float:
    """Stops that bring the log-average luminance of surfaces to `gray`; less if 2 % of pixels would be white.

    These pixels include those without a surface only if `background`: what is seen through windows may be white.
    """
    luminance = np.maximum(linear @ np.array(LUMINANCE, np.float32), 1e-4)
    surfaces = depth > 0
    stops = math.log2(gray) - float(np.mean(np.log2(luminance[surfaces] if surfaces.any() else luminance)))
    brightness = linear.max(axis=-1)
    brightness = brightness if background or not surfaces.any() else brightness[surfaces]
    bright = math.log2(BRIGHTEST) - math.log2(max(1e-4, float(np.percentile(brightness, 98))))
    return round(max(-8.0, min(8.0, stops, bright)), 3)


def white_of(arrays: dict[str, np.ndarray]) -> tuple[float, float, float]:
    """White point: the color of the light, estimated as the radiance of surfaces divided by their albedo."""
    lit = (arrays["depth"] > 0) & (arrays["albedo"].min(axis=-1) > 0.04)
    if lit.mean() < 0.01:
        return 1.0, 1.0, 1.0
    light = np.maximum(np.median(arrays["linear"][lit] / arrays["albedo"][lit], axis=0), 1e-6)
    light = np.clip(light / (light @ np.array(LUMINANCE, np.float32)), 0.5, 2.0) ** WHITE_BALANCE
    r, g, b = (round(float(value), 4) for value in light)
    return r, g, b


def shell_of(parts: list[Part]) -> Shell:
    """What surrounds the objects, for ray casting: all of it hides what is behind."""
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    triangles = np.concatenate([part.triangles() + start for part, start in zip(parts, starts[:-1], strict=True)])
    return Shell(np.concatenate([part.vertices for part in parts]), triangles, np.zeros(len(triangles), bool))


def load_asset(item: dict, file: str) -> LoadedAsset:
    """Import one GLB as children of an empty. Raises BrokenAsset if it cannot be read or has no surface."""
    name, scene, layer = str(item["id"]), bpy.context.scene, bpy.context.view_layer
    asset, file_name = item["asset"], Path(file).name
    root = bpy.data.objects.new(f"object{name}", None)
    scene.collection.objects.link(root)
    try:
        added = import_model(file)
        axes = np.reshape(asset["axes"], (3, 3))
        attach(added, root, -np.asarray(asset["offset"]) @ axes / asset["scale"])
    except (ImportFailed, ValueError) as error:
        raise BrokenAsset(name, f"{file_name}: {error}") from None
    parts = [part for part in added if part.type == "MESH"]
    for part in added:
        part.hide_render = part.type != "MESH"
    layer.update()
    separate_sheets(parts)
    if "top" in item:
        cover_top(parts, axes, asset, item["top"])
    layer.update()
    shape = geometry(parts)
    if not len(shape.triangles):
        raise BrokenAsset(name, f"{file_name}: Blender finds no surface in it")
    if not np.isfinite(shape.vertices).all():
        raise BrokenAsset(name, f"{file_name}: some of its coordinates are not finite")
    loaded = LoadedAsset(root, parts, shape, asset)
    if not loaded.solid:
        raise BrokenAsset(
            name, f"{file_name}: no part of it has an opacity of at least {SOLID:g}", "mostly_transparent"
        )
    return loaded
