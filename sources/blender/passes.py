# pyright: basic, reportMissingImports=false
"""Reads the passes of a render. This module hides that channel names differ between versions of Blender."""

from pathlib import Path

import numpy as np

from .hits import FAINT_AOV, NORMAL_AOV

BACKGROUND = 1e9
"""Planar z from which a pixel is background, for which Cycles writes 1e10."""


def read_channels(path: Path) -> dict[str, np.ndarray]:
    """All channels, (H, W) float32, named without the view layer: `Depth.Z`, `Combined.R`; `R` of a plain image."""
    try:
        import OpenEXR
    except ImportError:  # an installed Blender has OpenImageIO instead
        return _read_openimageio(path)
    channels: dict[str, np.ndarray] = {}
    for part in OpenEXR.File(str(path), separate_channels=True).parts:
        for name, channel in part.channels.items():
            channels[name.partition(".")[2] or name] = channel.pixels
    return channels


def _read_openimageio(path: Path) -> dict[str, np.ndarray]:
    import OpenImageIO

    file = OpenImageIO.ImageInput.open(str(path))
    if file is None:
        raise RuntimeError(f"{path}: {OpenImageIO.geterror()}")
    channels: dict[str, np.ndarray] = {}
    part = 0
    while file.seek_subimage(part, 0):
        names = file.spec().channelnames
        pixels = file.read_image(OpenImageIO.FLOAT)
        channels.update({name.partition(".")[2] or name: pixels[..., i] for i, name in enumerate(names)})
        part += 1
    file.close()
    return channels


def read_passes(path: Path, owners: np.ndarray) -> dict[str, np.ndarray]:
    """Read all passes of a render.

    Args:
        owners: object id of each mesh, indexed by the pass index of the mesh.

    Returns:
        H x W x 3: linear, noisy, albedo, normal (world frame, not normalized); if they were stored, guide_albedo and
        guide_normal, which the denoiser reads beside the noisy image. H x W: depth (0: no surface), instances
        (0: no object), parts (a number from 1 for each mesh and material; 0: no surface), and `faint<id>` (opacity of
        the faint parts of an object in front of the surface) of objects that may have such parts.
    """
    channels = read_channels(path)

    def stack(name: str, axes: str) -> np.ndarray:
        return np.stack([channels[f"{name}.{axis}"] for axis in axes], axis=-1).astype(np.float32)

    def whole(*names: str) -> np.ndarray:
        return np.rint(next(channels[f"{name}.X"] for name in names if f"{name}.X" in channels)).astype(np.int64)

    linear = stack("Combined", "RGB")
    depth = channels["Depth.Z"]
    # The second names are those before Blender 5.0.
    mesh, material = whole("Object Index", "IndexOB"), whole("Material Index", "IndexMA")
    albedo = "Diffuse Color" if "Diffuse Color.R" in channels else "DiffCol"
    _, parts = np.unique(np.append(0, mesh * (material.max() + 1) + material), return_inverse=True)
    passes = {
        "linear": linear,
        "noisy": stack("Noisy Image", "RGB") if "Noisy Image.R" in channels else linear,
        "albedo": stack(albedo, "RGB"),
        "depth": np.where(depth < BACKGROUND, depth, 0).astype(np.float32),
        "normal": stack(NORMAL_AOV, "RGB"),
        "instances": owners[mesh],
        "parts": parts[1:].reshape(mesh.shape).astype(np.uint16),
    }
    if "Denoising Albedo.R" in channels:
        passes["guide_albedo"] = stack("Denoising Albedo", "RGB")
        passes["guide_normal"] = stack("Denoising Normal", "XYZ")
    for name, values in channels.items():
        if name.startswith(FAINT_AOV):
            passes[name.lower().partition(".")[0]] = values.astype(np.float32)
    return passes
