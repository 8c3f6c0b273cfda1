# /// script
# requires-python = "==3.11.*"
# dependencies = ["bpy==5.0.1", "OpenEXR==3.5.3", "numpy==1.26.4"]
# ///
# pyright: basic, reportMissingImports=false
"""Blender in a process of its own: JSON lines in, JSON lines out, arrays as files in a folder that the client names.

Run as `python worker.py -- OPTIONS` in the environment of the metadata above (sources/blender/environment.py), or as
`blender -b -P worker.py -- OPTIONS`; OPTIONS is one JSON object: folder, device,
threads. One scene is loaded at a time; its source and target are rendered in it, each
with all passes from one render. The same scene gives the same bytes in a fresh process, in a used one, and with any
number of threads. When the client goes, in whatever way, its end of stdin closes and the worker ends at once.
"""

import json
import os
import queue
import shutil
import sys
import threading
import time
import traceback
from pathlib import Path

PROTOCOL = os.fdopen(os.dup(1), "w")
"""The real standard output, for replies alone: Blender and its importers print to descriptor 1."""
os.dup2(2, 1)
HERE = Path(__file__).resolve().parent
# Modules of this folder must not hide modules of Blender's add-ons.
sys.path[:] = [entry for entry in sys.path if entry and Path(entry).resolve() != HERE]

import bpy  # noqa: E402
import numpy as np  # noqa: E402

# The folder that holds `spatialdata_builder`: a checkout, or site-packages. It is on the path, as the last, for our own
# imports only.
ROOT = str(HERE.parents[1] if (HERE.parents[1] / "spatialdata_builder.py").is_file() else HERE.parents[2])
__package__ = "spatialdata_builder.sources.blender"
sys.path.append(ROOT)
from .passes import read_passes  # noqa: E402
from .portrait import portray  # noqa: E402
from .scene import BrokenAsset, Scene  # noqa: E402
from .visibility import look  # noqa: E402

sys.path.remove(ROOT)

GPU_KINDS = ("OPTIX", "CUDA", "HIP", "METAL", "ONEAPI")


class NoDevice(Exception):
    """The named device is not in this machine."""


def use_device(wanted: str) -> str:
    """Switch Cycles to a device ("gpu": the best that is here, "auto": that or the CPU); its name for people.

    Preferences are per session.
    """
    preferences = bpy.context.preferences.addons["cycles"].preferences
    for kind in GPU_KINDS if wanted in ("auto", "gpu") else () if wanted == "cpu" else (wanted.upper(),):
        try:
            found = [device for device in preferences.get_devices_for_type(kind) if device.type == kind]
            if found:
                preferences.compute_device_type = kind
        except (TypeError, ValueError):  # this Blender was built without it
            found = []
        if found:
            for device in preferences.devices:
                device.use = device.type == kind
            return f"{kind} {found[0].name}"
    if wanted not in ("auto", "cpu"):
        raise NoDevice(f"no {wanted} device is found by Blender {bpy.app.version_string}")
    preferences.compute_device_type = "NONE"
    return "CPU"


class Worker:
    """The operations. Each takes the fields of a request and gives the fields of the reply."""

    def __init__(self, folder: str, device: str, threads: int) -> None:
        self.folder, self.wanted, self.threads = Path(folder), device, threads
        self.scene: Scene | None = None

    def hello(self) -> dict:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        return {"versions": {"blender": bpy.app.version_string, "device": use_device(self.wanted)}}

    def open(self, spec: dict, files: dict, options: dict) -> dict:
        """Load a scene; in place of the last one, whose memory is freed."""
        self.scene = None
        bpy.ops.wm.read_factory_settings(use_empty=True)
        on_gpu = use_device(self.wanted) != "CPU"
        scene = Scene(spec, files, options, on_gpu, self.threads)
        self.scene = scene
        points = {name: asset.points.astype(np.float32) for name, asset in scene.assets.items()}
        bounds = {name: [*map(float, asset.low), *map(float, asset.high)] for name, asset in scene.assets.items()}
        return {
            "points": {name: self._save(f"points-{name}", array) for name, array in points.items()},
            "bounds": bounds,
        }

    def visibility(self, states: list) -> dict:
        scene = self._loaded()
        return {"states": [look(scene, state) for state in states]}

    def render(self, state: dict) -> dict:
        """Render a state; the first state of a scene sets the exposure."""
        scene = self._loaded()
        scene.pose(state)
        exr, png = self.folder / "passes.exr", self.folder / "colour.png"
        scene.render(exr)
        arrays = read_passes(exr, scene.owners)
        exr.unlink()
        scene.expose(arrays)
        del arrays["albedo"]
        scene.save_colour(png)
        files = {name: self._save(name, array) for name, array in arrays.items()}
        return {"colour": str(png), "arrays": files, "exposure": scene.exposure}

    def portray(self, asset: dict, file: str, views: list, side: int) -> dict:
        """What one asset shows of its materials; see portrait. No scene is open afterwards."""
        self.scene = None
        bpy.ops.wm.read_factory_settings(use_empty=True)
        bpy.context.scene.render.threads_mode = "FIXED" if self.threads else "AUTO"
        if self.threads:
            bpy.context.scene.render.threads = max(2, self.threads)
        arrays = portray(asset, file, views, side, self.folder)
        return {"arrays": {name: self._save(name, array) for name, array in arrays.items()}}

    def _loaded(self) -> Scene:
        if self.scene is None:
            raise RuntimeError("no scene is open")
        return self.scene

    def _save(self, name: str, array: np.ndarray) -> str:
        path = self.folder / f"{name}.npy"
        np.save(path, array)
        return str(path)


def answer(worker: Worker, request: dict) -> dict:
    """The reply to one request; an error is a reply, too."""
    arguments = {key: value for key, value in request.items() if key not in ("id", "op")}
    try:
        return {"id": request["id"], **getattr(worker, request["op"])(**arguments)}
    except BrokenAsset as error:
        told = {"object": error.object, "reason": error.reason, "message": str(error)}
        return {"id": request["id"], "error": "asset", **told}
    except NoDevice as error:
        return {"id": request["id"], "error": "device", "message": str(error)}
    except Exception as error:
        return {"id": request["id"], "error": "blender", "message": f"{error!r}\n{traceback.format_exc()}"}


def main() -> None:
    options = json.loads(sys.argv[sys.argv.index("--") + 1])
    worker = Worker(**options)
    requests: queue.SimpleQueue[dict] = queue.SimpleQueue()

    def listen() -> None:
        """Read in a thread, so that the end of the client is seen during a render as well."""
        for line in sys.stdin:
            requests.put(json.loads(line))
        shutil.rmtree(worker.folder, ignore_errors=True)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        reply = answer(worker, requests.get()) | {"cpu_s": time.process_time()}
        print(json.dumps(reply), file=PROTOCOL, flush=True)


if __name__ == "__main__":
    main()
