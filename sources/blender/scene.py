# pyright: basic, reportMissingImports=false
"""One scene inside Blender: loaded once, then posed and rendered as often as wanted.

Everything comes from a `SceneSpec` as JSON (sources/scenes/spec.py); its frames are kept: world z up in metres,
OpenCV camera. Nothing is sampled here.
"""

import math
from pathlib import Path
from typing import Any, NamedTuple

import bpy
import numpy as np
from mathutils import Matrix, Vector

from .hits import SOLID, export_hits, solid_everywhere
from .importer import NotImported, hang, import_model, part_sheets
from .materials import Graph, surface_material
from .visibility import Shell

RADII = (1.0, 4.0, 16.0, 60.0)
"""Meters. The floor ends in a far edge, before which depth is still useful."""
BELOW_M = 5e-5
"""By which the floor lies lower than what stands on it: one can see the bottom of an open box, and only that."""
SENSOR_MM = 32.0
POINTS = 1024
LUMINANCE = (0.2126, 0.7152, 0.0722)
MIDDLE_GREY = 0.2
"""Scene-linear luminance that the view transform shows as a medium grey: where the log-average of an image goes."""
BRIGHTEST = 3.5
"""Exposed scene-linear value that the view transform still keeps apart from white (measured: white from 4)."""
WHITE_BALANCE = 0.6
"""How far the light's colour is taken out, as a camera does; the rest is the mood of the light."""

GLARE = 4.0
"""The brightest background that is seen, in mean luminances of the HDRI."""


class BrokenAsset(Exception):
    """A model file that cannot be shown, or of which nothing can be told exactly."""

    def __init__(self, object_id: str, message: str, reason: str = "broken_asset") -> None:
        super().__init__(message)
        self.object, self.reason = object_id, reason


class LoadedAsset:
    """One object: the empty that holds all its parts, and its geometry in the object frame, meters.

    `vertices` is all of it; `shell` and `points` are of what may be surface.
    """

    def __init__(self, root: Any, parts: list, geometry: "Geometry", asset: dict) -> None:
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
        """Leave materials alone of which no back face is seen from anywhere outside: most are closed solids."""
        seen = set(used[self.shell.backs()])
        for number, material in enumerate(materials):
            if material is not None and number not in seen:
                material.use_backface_culling = False

    def place(self, placement: dict) -> None:
        """world_from_object * object_from_file; the parts hang on the root with the file's origin moved already."""
        yaw, scale = math.radians(placement["yaw_deg"]), placement["scale"]
        turn = Matrix.Rotation(yaw, 3, "Z")
        self.root.rotation_euler = (turn @ self.axes).to_euler()
        self.root.scale = (scale * self.scale,) * 3
        self.root.location = placement["x"], placement["y"], placement["z"]
        for part in self.parts:
            part.hide_render = not placement["present"]


class Scene:
    """A loaded scene. `exposure` (stops) and white are set by the first render and kept for the others."""

    def __init__(self, spec: dict, files: dict, options: dict, on_gpu: bool, threads: int) -> None:
        self.spec, self.exposure = spec, None
        self.width, self.height = spec["width"], spec["height"]
        self.scene = bpy.context.scene
        self._settings(options, on_gpu, threads)
        self._world(spec["light"])
        self._floor(spec["floor"])
        for number, wall in enumerate(spec["walls"]):
            self._wall(number, wall)
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
        # Colour is a function of the linear pixel alone: what an edit leaves alone stays equal to the bit.
        render.dither_intensity = 0.0
        render.threads_mode = "FIXED" if threads else "AUTO"
        if threads:
            # With a single one, the thread that waits for it spins: twice the CPU time for the same picture.
            render.threads = max(2, threads)
        cycles.device = "GPU" if on_gpu else "CPU"
        cycles.samples, cycles.seed = options["samples"], self.spec["seed"] & 0x7FFFFFFF
        cycles.use_adaptive_sampling = False
        cycles.use_denoising = options["denoise"]
        cycles.denoiser, cycles.denoising_use_gpu = "OPENIMAGEDENOISE", on_gpu
        # Caustics from a HDRI are fireflies at these sample counts, not light.
        cycles.caustics_reflective = cycles.caustics_refractive = False
        cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 8, 3, 4
        # A path that ends in the middle of a plant's leaves has no surface at all: as many as there may be.
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
        image = bpy.data.images.load(str(folder / f"{light['hdri']}.exr"))
        tree = world.node_tree
        tree.nodes.clear()
        graph = Graph(tree)
        # The mapping turns the direction that is looked up: the picture itself turns the other way.
        turn = (0.0, 0.0, -math.radians(light["rotation_deg"]))
        direction = graph.node("TexCoord").outputs["Generated"]
        direction = graph.node("Mapping", direction, named={"Rotation": turn}).outputs[0]
        colour = graph.node("TexEnvironment", direction, image=image).outputs["Color"]
        # Windows and the sun stay as bright as they are for the scene, but not for the eye, whose picture they
        # would burn out or darken.
        brightness = graph.math("DIVIDE", graph.node("RGBToBW", colour).outputs[0], GLARE * mean_luminance(image))
        seen = graph.scale(colour, graph.math("DIVIDE", 1.0, graph.add(brightness, 1.0)))
        colour = graph.mix(graph.node("LightPath").outputs["Is Camera Ray"], colour, seen)
        background = graph.node("Background", colour, light["strength"]).outputs[0]
        graph.node("OutputWorld", background)
        # As fine as the picture is; what Cycles chooses by itself costs two CPU seconds a scene.
        world.cycles.sampling_method, world.cycles.sample_map_resolution = "MANUAL", image.size[0]

    def _floor(self, surface: dict) -> None:
        """Squares in one another: in a triangle of 60 m a hit's place is off by as much as a pixel of a near view."""
        corners = [(x * r, y * r, -BELOW_M) for r in RADII for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
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

    def _sheet(self, name: str, corners: list, faces: list, surface: dict) -> None:
        mesh = bpy.data.meshes.new(name)
        mesh.from_pydata(corners, [], faces)
        mesh.materials.append(surface_material(surface))
        self.scene.collection.objects.link(bpy.data.objects.new(name, mesh))

    def _number_parts(self) -> np.ndarray:
        """Give every mesh a number of its own, from 1; the object id (0: floor or wall) of each number."""
        ids = {part: int(name) for name, asset in self.assets.items() for part in asset.parts}
        owners = [0]
        for item in self.scene.objects:
            if item.type == "MESH":
                item.pass_index = len(owners)
                owners.append(ids.get(item, 0))
        return np.array(owners, np.uint16)

    def pose(self, state: dict) -> None:
        """Put every object and the camera where a state says."""
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

    def render(self, exr: Path) -> None:
        """All passes of the current pose into one uncompressed multi-layer EXR."""
        settings = self.scene.render.image_settings
        if hasattr(settings, "media_type"):  # since 5.0, and before the format
            settings.media_type = "MULTI_LAYER_IMAGE"
        settings.file_format, settings.color_depth, settings.exr_codec = "OPEN_EXR_MULTILAYER", "32", "NONE"
        if hasattr(settings, "use_exr_interleave"):  # since 5.0, whose parts cannot hold pixels that are not square
            settings.use_exr_interleave = True
        self.scene.render.filepath = str(exr)
        bpy.ops.render.render(write_still=True)

    def expose(self, arrays: dict[str, np.ndarray]) -> None:
        """Set exposure and white from the scene's first image; later ones keep them."""
        if self.exposure is not None:
            return
        self.exposure = exposure_of(arrays["linear"], arrays["depth"])
        view = self.scene.view_settings
        view.exposure = self.exposure
        if hasattr(view, "use_white_balance"):  # since 4.3
            view.use_white_balance = True
            view.white_balance_whitepoint = white_of(arrays)

    def save_colour(self, png: Path) -> None:
        """The last render through the view transform, 8-bit sRGB."""
        settings = self.scene.render.image_settings
        if hasattr(settings, "media_type"):
            settings.media_type = "IMAGE"
        settings.file_format, settings.color_mode, settings.color_depth = "PNG", "RGB", "8"
        settings.compression = 0
        bpy.data.images["Render Result"].save_render(str(png), scene=self.scene)


def mean_luminance(image: Any) -> float:
    """Of an equirectangular image, over the sphere."""
    width, height = image.size
    pixels = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(pixels)
    rows = pixels.reshape(height, width, 4)[..., :3].mean(axis=1) @ np.array(LUMINANCE, np.float32)
    weight = np.sin((np.arange(height) + 0.5) / height * np.pi)
    return float(rows @ weight / weight.sum())


def exposure_of(linear: np.ndarray, depth: np.ndarray) -> float:
    """Stops that bring the surfaces' log-average luminance to middle grey, fewer where 2 % of all would turn white."""
    luminance = np.maximum(linear @ np.array(LUMINANCE, np.float32), 1e-4)
    surfaces = depth > 0
    stops = math.log2(MIDDLE_GREY) - float(np.mean(np.log2(luminance[surfaces] if surfaces.any() else luminance)))
    bright = math.log2(BRIGHTEST) - math.log2(max(1e-4, float(np.percentile(linear.max(axis=-1), 98))))
    return round(max(-8.0, min(8.0, stops, bright)), 3)


def white_of(arrays: dict[str, np.ndarray]) -> tuple[float, float, float]:
    """What to show as white: the light's colour, which is what surfaces send out over what they reflect."""
    lit = (arrays["depth"] > 0) & (arrays["albedo"].min(axis=-1) > 0.04)
    if lit.mean() < 0.01:
        return 1.0, 1.0, 1.0
    light = np.maximum(np.median(arrays["linear"][lit] / arrays["albedo"][lit], axis=0), 1e-6)
    light = np.clip(light / (light @ np.array(LUMINANCE, np.float32)), 0.5, 2.0) ** WHITE_BALANCE
    r, g, b = (round(float(value), 4) for value in light)
    return r, g, b


def load_asset(item: dict, file: str) -> LoadedAsset:
    """Import one GLB under one empty; raises BrokenAsset where it cannot be read or holds no surface."""
    name, scene, layer = str(item["id"]), bpy.context.scene, bpy.context.view_layer
    asset, called = item["asset"], Path(file).name
    root = bpy.data.objects.new(f"object{name}", None)
    scene.collection.objects.link(root)
    try:
        added = import_model(file)
        axes = np.reshape(asset["axes"], (3, 3))
        hang(added, root, -np.asarray(asset["offset"]) @ axes / asset["scale"])
    except (NotImported, ValueError) as error:
        raise BrokenAsset(name, f"{called}: {error}") from None
    parts = [part for part in added if part.type == "MESH"]
    for part in added:
        part.hide_render = part.type != "MESH"
    layer.update()
    part_sheets(parts)
    layer.update()
    shape = geometry(parts)
    if not len(shape.triangles):
        raise BrokenAsset(name, f"{called}: Blender finds no surface in it")
    if not np.isfinite(shape.vertices).all():
        raise BrokenAsset(name, f"{called}: it has coordinates that are no numbers")
    loaded = LoadedAsset(root, parts, shape, asset)
    if not loaded.solid:
        raise BrokenAsset(name, f"{called}: nothing of it is as opaque as {SOLID:g}", "mostly_transparent")
    return loaded


class Geometry(NamedTuple):
    """What is rendered, in the world of the moment. Triangles run counter-clockwise as seen from their front."""

    vertices: np.ndarray
    """(N, 3), float64."""
    triangles: np.ndarray
    """(M, 3)."""
    material: np.ndarray
    """(M,), into `materials`."""
    materials: list
    """Each once; None where a mesh has none."""

    def within(self, size_m: list) -> "Geometry":
        """What lies in an asset's box; what reaches out of it cannot be seen (sources/objaverse/appearance.py)."""
        high, slack = np.array(size_m) * (0.5, 0.5, 1), 2e-3 * max(size_m)  # what ends at a side stays
        low, corners = high * (-1, -1, 0), self.vertices[self.triangles]
        inside = ((corners.max(axis=1) > low - slack) & (corners.min(axis=1) < high + slack)).all(axis=1)
        vertices = np.clip(self.vertices, low, high)
        return self._replace(vertices=vertices, triangles=self.triangles[inside], material=self.material[inside])


def geometry(parts: list) -> Geometry:
    """All parts as rendered."""
    depsgraph = bpy.context.evaluated_depsgraph_get()
    vertices: list[np.ndarray] = [np.zeros((0, 3))]
    triangles: list[np.ndarray] = [np.zeros((0, 3), np.int64)]
    of_triangles: list[np.ndarray] = [np.zeros(0, np.int64)]
    materials: list = [None]
    count = 0
    for part in parts:
        evaluated = part.evaluated_get(depsgraph)
        mesh = evaluated.to_mesh()
        mesh.calc_loop_triangles()
        points = np.empty(len(mesh.vertices) * 3, np.float32)
        mesh.vertices.foreach_get("co", points)
        corners = np.empty(len(mesh.loop_triangles) * 3, np.int32)
        mesh.loop_triangles.foreach_get("vertices", corners)
        slots = np.empty(len(mesh.loop_triangles), np.int32)
        mesh.loop_triangles.foreach_get("material_index", slots)
        pose = np.array(part.matrix_world, np.float64)
        corners = corners.reshape(-1, 3)
        # A mirrored node turns the winding, and glTF says that fronts stay fronts.
        triangles.append((corners if part.matrix_world.determinant() > 0 else corners[:, ::-1]) + count)
        vertices.append(points.reshape(-1, 3) @ pose[:3, :3].T + pose[:3, 3])
        numbers = [0]
        for material in (slot.material for slot in part.material_slots):
            if material not in materials:
                materials.append(material)
            numbers.append(materials.index(material))
        of_triangles.append(np.array(numbers)[np.minimum(slots + 1, len(numbers) - 1)])
        count += len(mesh.vertices)
        evaluated.to_mesh_clear()
    corners = np.concatenate(triangles)
    used, corners = np.unique(corners, return_inverse=True)  # loose points are not seen
    return Geometry(np.concatenate(vertices)[used], corners.reshape(-1, 3), np.concatenate(of_triangles), materials)


def surface_points(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Area-weighted points (POINTS, 3) on the surface, evenly spread: one a stratum, by a low-discrepancy sequence."""
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    total = np.cumsum(area)
    if total[-1] <= 0:
        return a[np.linspace(0, len(a) - 1, POINTS).astype(int)]
    steps = np.arange(POINTS) + 0.5
    face = np.searchsorted(total, steps / POINTS * total[-1]).clip(0, len(triangles) - 1)
    u, v = (steps * 0.7548776662466927) % 1, (steps * 0.5698402909980532) % 1
    over = u + v > 1
    u, v = np.where(over, 1 - u, u)[:, None], np.where(over, 1 - v, v)[:, None]
    return a[face] + u * (b - a)[face] + v * (c - a)[face]
