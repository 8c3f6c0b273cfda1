# /// script
# requires-python = "==3.11.*"
# dependencies = ["bpy==5.0.1", "OpenEXR==3.5.3", "numpy==1.26.4"]
# ///
# pyright: basic, reportMissingImports=false
"""The main script of the Blender process. It reads and writes JSON lines, and writes arrays to files in a given folder.

Run it as `python worker.py -- OPTIONS` in the environment of the metadata above (sources/blender/environment.py), or as
`blender -b -P worker.py -- OPTIONS`. OPTIONS is a JSON object: folder, device, threads.

One scene is loaded at a time. Its source and target are each rendered once, with all passes. The same scene gives the
same bytes in a new process, in a used one, and with any number of threads. If the client ends in any way, stdin closes
and the worker exits immediately.
"""

import json
import os
import sys
import traceback
from functools import partial
from pathlib import Path

PROTOCOL = os.fdopen(os.dup(1), "w")
"""The real standard output, only for replies. Blender and its importers print to descriptor 1."""
os.dup2(2, 1)
HERE = Path(__file__).resolve().parent
# Modules of this folder must not hide modules of Blender's add-ons.
sys.path[:] = [entry for entry in sys.path if entry and Path(entry).resolve() != HERE]

import bpy  # noqa: E402
import numpy as np  # noqa: E402

# The folder that contains `spatialdata_builder`: a checkout, or site-packages. It is the last entry of the path, only
# during our own imports.
ROOT = str(HERE.parents[1] if (HERE.parents[1] / "spatialdata_builder.py").is_file() else HERE.parents[2])
__package__ = "spatialdata_builder.sources.blender"
sys.path.append(ROOT)
from .convert import convert  # noqa: E402
from .images import measure_image  # noqa: E402
from .partial import PartialRenders  # noqa: E402
from .portrait import portray  # noqa: E402
from .scene import BrokenAsset, Scene  # noqa: E402
from .serve import serve  # noqa: E402
from .visibility import measure_visibility  # noqa: E402

sys.path.remove(ROOT)

GPU_KINDS = ("OPTIX", "CUDA", "HIP", "METAL", "ONEAPI")


class NoDevice(Exception):
    """This machine does not have the named device."""


def use_device(wanted: str) -> str:
    """Switch Cycles to a device and return its name. "gpu": the best GPU; "auto": the best GPU, else the CPU.

    The setting is valid until the factory settings are loaded again.
    """
    preferences = bpy.context.preferences.addons["cycles"].preferences
    for kind in GPU_KINDS if wanted in ("auto", "gpu") else () if wanted == "cpu" else (wanted.upper(),):
        try:
            found = [device for device in preferences.get_devices_for_type(kind) if device.type == kind]
            if found:
                preferences.compute_device_type = kind
        except (TypeError, ValueError):  # this Blender was built without support for it
            found = []
        if found:
            for device in preferences.devices:
                device.use = device.type == kind
            return f"{kind} {found[0].name}"
    if wanted not in ("auto", "cpu"):
        raise NoDevice(f"Blender {bpy.app.version_string} finds no {wanted} device")
    preferences.compute_device_type = "NONE"
    return "CPU"


class Worker:
    """The operations. Arguments are the fields of a request; the result has the fields of the reply."""

    def __init__(self, folder: str, device: str, threads: int) -> None:
        self.folder, self.wanted, self.threads = Path(folder), device, threads
        self.open_scene: PartialRenders | None = None

    def hello(self) -> dict:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        return {"versions": {"blender": bpy.app.version_string, "device": use_device(self.wanted)}}

    def open(self, spec: dict, files: dict, options: dict) -> dict:
        """Load a scene. Frees the memory of the previous one."""
        self.open_scene = None
        bpy.ops.wm.read_factory_settings(use_empty=True)
        on_gpu = use_device(self.wanted) != "CPU"
        scene = Scene(spec, files, options, on_gpu, self.threads)
        self.open_scene = PartialRenders(scene, on_gpu, self.folder / "passes.exr")
        points = {name: asset.points.astype(np.float32) for name, asset in scene.assets.items()}
        bounds = {name: [*map(float, asset.low), *map(float, asset.high)] for name, asset in scene.assets.items()}
        return {
            "points": {name: self._save(f"points-{name}", array) for name, array in points.items()},
            "bounds": bounds,
        }

    def visibility(self, states: list) -> dict:
        scene = self._loaded().scene
        return {"states": [measure_visibility(scene, state) for state in states]}

    def render(self, state: dict, edited: list) -> dict:
        """Render a state. The first state of a scene sets the exposure.

        Args:
            edited: see `render.Renderer.render`.
        """
        partial, png = self._loaded(), self.folder / "color.png"
        scene = partial.scene
        arrays = partial.render(state, edited) if edited else None
        if arrays is not None:
            scene.save_color(png, partial.image)
        else:
            scene.pose(state)
            arrays = scene.render(self.folder / "passes.exr")
            scene.expose(arrays)
            scene.save_color(png)
            partial.keep(state, arrays)
        for name in ("albedo", "guide_albedo", "guide_normal"):
            arrays.pop(name, None)
        files = {name: self._save(name, array) for name, array in arrays.items()}
        return {"color": str(png), "arrays": files, "exposure": scene.exposure}

    def portray(self, asset: dict, file: str, views: list, side: int) -> dict:
        """Render the materials of one asset, see `portrait.portray`. No scene is open afterward."""
        self.open_scene = None
        bpy.ops.wm.read_factory_settings(use_empty=True)
        bpy.context.scene.render.threads_mode = "FIXED" if self.threads else "AUTO"
        if self.threads:
            bpy.context.scene.render.threads = max(2, self.threads)
        arrays = portray(asset, file, views, side, self.folder)
        return {"arrays": {name: self._save(name, array) for name, array in arrays.items()}}

    def convert(self, file: str, root: str, target: str) -> dict:
        """Convert a model to GLB, see `convert.convert`. No scene is open afterward."""
        self.open_scene = None
        bpy.ops.wm.read_factory_settings(use_empty=True)
        return {"files": convert(Path(file), Path(root), Path(target))}

    def measure_image(self, file: str, most: int, smaller: str) -> dict:
        """Measure an image, see `images.measure_image`. No scene is open afterward."""
        self.open_scene = None
        bpy.ops.wm.read_factory_settings(use_empty=True)
        return measure_image(Path(file), most, Path(smaller))

    def _loaded(self) -> PartialRenders:
        if self.open_scene is None:
            raise RuntimeError("no scene is open")
        return self.open_scene

    def _save(self, name: str, array: np.ndarray) -> str:
        path = self.folder / f"{name}.npy"
        np.save(path, array)
        return str(path)


def answer(worker: Worker, request: dict) -> dict:
    """The fields of the reply to one request. An error is also a reply."""
    try:
        return getattr(worker, request.pop("op"))(**request)
    except BrokenAsset as error:
        return {"error": "asset", "object": error.object, "reason": error.reason, "message": str(error)}
    except NoDevice as error:
        return {"error": "device", "message": str(error)}
    except Exception as error:
        return {"error": "blender", "message": f"{error!r}\n{traceback.format_exc()}"}


def main() -> None:
    worker = Worker(**json.loads(sys.argv[sys.argv.index("--") + 1]))
    serve(worker.folder, PROTOCOL, partial(answer, worker))


if __name__ == "__main__":
    main()
