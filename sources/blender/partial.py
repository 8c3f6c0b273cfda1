# pyright: basic, reportMissingImports=false
"""Renders only the part of an image that an edit changes.

Invariant: with the same seed, a path that does not meet the edit has the same value, bit for bit. So outside the region
that an edit influences, the render of the source is that of the target. A target takes four steps:

1. A prepass with few samples. The comparison with the same prepass of the source shows what the edit touches. The
   first sample of each pixel goes through its center, so the maps of the prepass are those of a full render.
2. The region: the edited objects, and patches whose mean differs by more than the noise of the prepass and by more
   than a viewer could see.
3. A card in front of the camera, visible only to camera rays, covers the rest while the region is rendered.
4. The rendered region and the rest of the source are combined, and then denoised as a whole, because the result of the
   denoiser depends on the whole image.
"""

from pathlib import Path
from typing import Any, NamedTuple

import bpy
import numpy as np

from .materials import Graph
from .passes import read_channels
from .scene import Scene

PREPASS_SAMPLES = 2
"""Samples of the prepass, a power of two, which scales passes exactly."""
LARGEST = 0.7
"""Fraction of the image. If the region is larger, a full render costs no more (benchmarks/partial.py)."""
TILE = 4
"""Side of the card's tiles, pixels."""
CARD_M = 0.03
"""Distance of the card from the camera."""
FILTER_PX = 2
"""Radius around a pixel from which it takes samples, rounded up: the filter of Cycles is 1.5 pixels wide."""
GROWN = 5
"""Pixels by which the region is larger than what was found."""
PATCHES = ((15, 1.0, 2.5), (7, 2.0, 3.0), (3, 6.0, 3.0))
"""Side of a patch, pixels. It counts if its mean differs by more than so many levels of 255, and by more than so many
standard errors."""
DENSE = ((9, 0.05), (5, 0.12), (3, 0.3))
"""Side of a patch, pixels. It also counts if its mean differs by more than `DENSE_LEVELS`, and more than this share of
its pixels differ at all: where the edit is reflected, few paths meet it, but these differ much."""
DENSE_LEVELS = 2.0
"""Levels of 255."""


class Noisy(NamedTuple):
    """What the denoiser reads, (H, W, 3) each."""

    color: np.ndarray
    albedo: np.ndarray
    normal: np.ndarray


class First(NamedTuple):
    """The first state of a scene, and its full render."""

    state: dict
    whole: Noisy


def region(
    source: dict[str, np.ndarray], target: dict[str, np.ndarray], edited: list[int], exposure: float
) -> np.ndarray:
    """Pixels (H, W) that an edit influences visibly, or of which too little is known to leave them out.

    Args:
        source, target: passes of the prepasses, see `passes.read_passes`.
        edited: ids of the objects whose placement differs.
        exposure: stops.
    """
    before, after = (view["noisy"] * np.float32(2.0**exposure) for view in (source, target))
    touched = (before != after).any(axis=-1)
    found = np.isin(source["instances"], edited) | np.isin(target["instances"], edited)
    for channel in range(3):
        old, new = before[..., channel], after[..., channel]
        for side, levels, errors in PATCHES:
            mean = patch_mean(new - old, side)
            error = np.sqrt(np.maximum(patch_mean((new - old) ** 2, side) - mean**2, 0)) / side
            found |= (step(old, new, side) > levels) & (np.abs(mean) > errors * error)
        for side, share in DENSE:
            found |= (step(old, new, side) > DENSE_LEVELS) & (patch_mean(touched, side) > share)
    return grown(found, GROWN)


def step(before: np.ndarray, after: np.ndarray, side: int) -> np.ndarray:
    """Difference of the means of patches of `side` pixels around each pixel, (H, W), in levels of 255."""
    return np.abs(shown(patch_mean(after, side)) - shown(patch_mean(before, side)))


def shown(linear: np.ndarray) -> np.ndarray:
    """Levels of 255 that exposed scene-linear values appear as: about those of the view transform."""
    values = np.maximum(linear, 0)
    return 255 * (values / (1 + values)) ** (1 / 2.2)


def patch_mean(values: np.ndarray, side: int) -> np.ndarray:
    """Mean of the square patch of `side` pixels (odd) around each pixel, (H, W), float64."""
    before, after = side // 2 + 1, side // 2
    total = np.pad(values.astype(np.float64), (before, after), mode="edge").cumsum(axis=0).cumsum(axis=1)
    return (total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]) / side**2


def grown(mask: np.ndarray, radius: int) -> np.ndarray:
    """The pixels (H, W) that are at most `radius` columns and rows from a pixel of a mask."""
    return patch_mean(mask, 2 * radius + 1) > 1e-9


def covered_tiles(mask: np.ndarray) -> np.ndarray:
    """Tiles (H / TILE, W / TILE, rounded up) from which no pixel of the region (H, W) takes a sample."""
    height, width = mask.shape
    padded = np.pad(grown(mask, FILTER_PX), ((0, -height % TILE), (0, -width % TILE)))
    used: np.ndarray = padded.reshape(padded.shape[0] // TILE, TILE, -1, TILE).max(axis=(1, 3))
    return ~used


class Card:
    """A sheet in front of the camera that covers tiles of the image and is visible only to camera rays."""

    def __init__(self, tiles: np.ndarray, camera: dict) -> None:
        row, column = np.nonzero(tiles)
        corners = [np.stack([column + a, row + b], axis=1) * TILE for a, b in ((0, 0), (0, 1), (1, 1), (1, 0))]
        pixels = np.stack(corners, axis=1).reshape(-1, 2)
        fx, fy, cx, cy = (camera["K"][index] for index in (0, 4, 2, 5))
        rays = np.column_stack([(pixels[:, 0] - cx) / fx, (pixels[:, 1] - cy) / fy, np.ones(len(pixels))])
        pose = np.reshape(camera["world_from_camera"], (4, 4))
        vertices = CARD_M * rays @ pose[:3, :3].T + pose[:3, 3]
        mesh = bpy.data.meshes.new("card")
        mesh.from_pydata(vertices.tolist(), [], np.arange(len(vertices)).reshape(-1, 4).tolist())
        mesh.materials.append(_holdout())
        self.object = bpy.data.objects.new("card", mesh)
        for ray in ("diffuse", "glossy", "transmission", "shadow", "volume_scatter"):
            setattr(self.object, f"visible_{ray}", False)
        bpy.context.scene.collection.objects.link(self.object)

    def remove(self) -> None:
        mesh = self.object.data
        bpy.data.objects.remove(self.object)
        bpy.data.meshes.remove(mesh)


def _holdout() -> Any:
    if (material := bpy.data.materials.get("card")) is not None:
        return material
    material = bpy.data.materials.new("card")
    material.use_nodes = True
    material.node_tree.nodes.clear()
    graph = Graph(material.node_tree)
    graph.node("OutputMaterial", graph.node("Holdout").outputs[0])
    return material


class Denoiser:
    """Denoises images as Cycles does with its default settings, by Blender's compositor."""

    @staticmethod
    def exists() -> bool:
        """Whether this Blender has such a compositor (since 5.0)."""
        return hasattr(bpy.context.scene, "compositing_node_group")

    def __init__(self, width: int, height: int, on_gpu: bool) -> None:
        self.scene = bpy.data.scenes.new("denoise")
        render, tree = self.scene.render, bpy.data.node_groups.new("denoise", "CompositorNodeTree")
        self.scene.compositing_node_group = tree
        render.resolution_x, render.resolution_y, render.resolution_percentage = width, height, 100
        render.use_compositing, render.use_sequencer = True, False
        render.compositor_denoise_device = "GPU" if on_gpu else "CPU"
        settings = render.image_settings
        settings.media_type, settings.file_format = "IMAGE", "OPEN_EXR"
        settings.color_depth, settings.exr_codec = "32", "NONE"
        node = tree.nodes.new("CompositorNodeDenoise")
        node.inputs["Prefilter"].default_value, node.inputs["Quality"].default_value = "Accurate", "High"
        self.images: dict[str, Any] = {}
        for name, input_name in (("color", "Image"), ("albedo", "Albedo"), ("normal", "Normal")):
            reader = tree.nodes.new("CompositorNodeImage")
            self.images[name] = reader.image = float_image(f"denoise-{name}", width, height)
            tree.links.new(reader.outputs["Image"], node.inputs[input_name])
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        tree.links.new(node.outputs[0], tree.nodes.new("NodeGroupOutput").inputs[0])

    def __call__(self, noisy: Noisy, exr: Path) -> np.ndarray:
        """The denoised image (H, W, 3), float32. `exr` is a temporary file."""
        for name, array in noisy._asdict().items():
            set_pixels(self.images[name], array)
        self.scene.render.filepath = str(exr)
        bpy.ops.render.render(write_still=True, scene=self.scene.name)
        channels = read_channels(exr)
        exr.unlink()
        return np.stack([channels[axis] for axis in "RGB"], axis=-1)


def float_image(name: str, width: int, height: int) -> Any:
    """A new image of Blender with scene-linear values."""
    image = bpy.data.images.new(name, width, height, alpha=True, float_buffer=True)
    image.colorspace_settings.name = "Linear Rec.709"
    return image


def set_pixels(image: Any, values: np.ndarray) -> None:
    """Set the pixels of an image to values (H, W, 3)."""
    pixels = np.ones((*values.shape[:2], 4), np.float32)
    pixels[..., :3] = values
    image.pixels.foreach_set(pixels[::-1].ravel())
    image.update()


class PartialRenders:
    """Renders states of a scene that differ from its first one in some objects."""

    def __init__(self, scene: Scene, on_gpu: bool, exr: Path) -> None:
        """`exr` is a temporary file."""
        self.scene, self.on_gpu, self.exr = scene, on_gpu, exr
        self.first: First | None = None
        self.prepass: dict[str, np.ndarray] = {}
        """The prepass of the first state, once it is needed; see `passes.read_passes`."""
        self.denoiser: Denoiser | None = None
        self.image: Any = None
        """The last result, for `Scene.save_color`."""

    def keep(self, state: dict, passes: dict[str, np.ndarray]) -> None:
        """Remember the first state that is rendered as a whole."""
        if self.first is None:
            self.first = First(state, _noisy(passes))

    def render(self, state: dict, edited: list[int]) -> dict[str, np.ndarray] | None:
        """The passes of a state. None if it needs a full render, which costs less or is all that this Blender can do.

        Args:
            edited: ids of the objects whose placement differs from that of the first state.
        """
        scene, first, denoised = self.scene, self.first, self.scene.options["denoise"]
        if first is None or state["camera"] != first.state["camera"] or (denoised and not Denoiser.exists()):
            return None
        if not self.prepass:
            scene.pose(first.state)
            self.prepass = scene.render(self.exr, PREPASS_SAMPLES, denoise=False)
        scene.pose(state)
        passes = scene.render(self.exr, PREPASS_SAMPLES, denoise=False)
        changed = region(self.prepass, passes, edited, scene.exposure or 0.0)
        if changed.mean() > LARGEST:
            return None
        card = Card(covered_tiles(changed), state["camera"])
        part = _noisy(scene.render(self.exr, denoise=False))
        card.remove()
        combined = Noisy(*(np.where(changed[..., None], new, old) for new, old in zip(part, first.whole, strict=True)))
        passes["noisy"] = combined.color
        passes["linear"] = self._denoise(combined) if denoised else combined.color
        if self.image is None:
            self.image = float_image("partial", scene.width, scene.height)
        set_pixels(self.image, passes["linear"])
        for name in passes:
            if name.startswith("faint"):
                passes[name] = passes[name] * np.float32(PREPASS_SAMPLES / scene.options["samples"])
        return passes

    def _denoise(self, noisy: Noisy) -> np.ndarray:
        if self.denoiser is None:
            self.denoiser = Denoiser(self.scene.width, self.scene.height, self.on_gpu)
        return self.denoiser(noisy, self.exr)


def _noisy(passes: dict[str, np.ndarray]) -> Noisy:
    guides = passes.get("guide_albedo"), passes.get("guide_normal")
    return Noisy(passes["noisy"], *(passes["noisy"] if guide is None else guide for guide in guides))
