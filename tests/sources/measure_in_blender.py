# pyright: basic, reportMissingImports=false
"""Prints the bounds and the number of triangles of GLBs, loaded as in scenes, as JSON. Runs in Blender's Python.

Arguments: the root of the checkout, then files. Each is loaded in its own units, with the offset in the `.json` file
beside it, if there is one.
"""

import json
import os
import sys
from pathlib import Path

REPLY = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

import bpy  # noqa: E402
import numpy  # noqa: E402, F401

ROOT = sys.argv[1]
sys.path.append(ROOT)

from spatialdata_builder.sources.blender.geometry import geometry  # noqa: E402
from spatialdata_builder.sources.blender.scene import BrokenAsset, load_asset  # noqa: E402


def measure(file: str) -> dict:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    pivot = (
        json.loads(Path(file).with_suffix(".json").read_text())
        if Path(file).with_suffix(".json").exists()
        else [0, 0, 0]
    )
    asset = {"scale": 1.0, "offset": pivot, "axes": [1, 0, 0, 0, 1, 0, 0, 0, 1], "cut": False}
    try:
        loaded = load_asset({"id": 1, "asset": asset}, file)
    except BrokenAsset as error:
        return {"error": str(error)}
    return {"low": [*loaded.low], "high": [*loaded.high], "triangles": len(geometry(loaded.parts).triangles)}


from io_scene_gltf2.io.imp.gltf2_io_gltf import glTFImporter  # noqa: E402

extensions = glTFImporter("", {"import_user_extensions": [], "loglevel": 50}).extensions_managed
files = {file: measure(file) for file in sys.argv[2:]}
print(json.dumps({"extensions": sorted(extensions), "files": files}), file=REPLY)
