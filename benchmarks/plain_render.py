# pyright: basic, reportMissingImports=false
"""The baseline of `rendering.py`: one scene, loaded and rendered once by Cycles, color only. Runs inside Blender.

Reads a job (spec, files, samples, denoise, threads) as JSON from a file. Prints CPU seconds: of loading, and in total.
"""

import json
import sys
import time
from pathlib import Path

import bpy

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    sys.path.append(str(ROOT))
    from spatialdata_builder.sources.blender.scene import Scene

    job = json.loads(Path(sys.argv[1]).read_text())
    bpy.ops.wm.read_factory_settings(use_empty=True)
    began = time.process_time()
    scene = Scene(job["spec"], job["files"], job, False, job["threads"])
    scene.pose(job["spec"]["source"])
    loaded = time.process_time()
    bpy.context.scene.render.use_persistent_data = False
    cycles = bpy.context.scene.cycles
    cycles.samples, cycles.use_denoising = job["samples"], job["denoise"]  # `Scene` sets them in each of its renders
    layer = bpy.context.scene.view_layers[0]
    layer.use_pass_z = layer.use_pass_object_index = layer.use_pass_diffuse_color = False
    layer.cycles.denoising_store_passes = False
    while len(layer.aovs):
        layer.aovs.remove(layer.aovs[0])
    settings = bpy.context.scene.render.image_settings
    settings.file_format = "PNG"
    bpy.context.scene.render.filepath = sys.argv[1] + ".png"
    bpy.ops.render.render(write_still=True)
    done = time.process_time()
    print(json.dumps({"load": loaded - began, "all": done - began}))


if __name__ == "__main__":
    main()
