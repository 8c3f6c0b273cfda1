"""Runs in Blender's Python: writes a textured box of 0.4 x 0.2 x 0.6 m (z up) as FBX, USD and OBJ.

`python exports.py FOLDER`: FOLDER/box.fbx, .usdc, .usdz, .obj with .mtl, and FOLDER/textures/paint.png.
"""

import sys
from pathlib import Path

import bpy

folder = Path(sys.argv[1])
(folder / "textures").mkdir(parents=True)
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.mesh.primitive_cube_add(size=1)
box = bpy.context.object
box.name = box.data.name = "box"
box.scale = (0.4, 0.2, 0.6)
bpy.ops.object.transform_apply(scale=True)
image = bpy.data.images.new("paint", 8, 8)
image.pixels = [0.02, 0.1, 0.6, 1.0] * 64
image.filepath_raw, image.file_format = str(folder / "textures" / "paint.png"), "PNG"
image.save()
material = bpy.data.materials.new("paint")
material.use_nodes = True
tree = material.node_tree
node = tree.nodes.new("ShaderNodeTexImage")
node.image = image
tree.links.new(node.outputs["Color"], tree.nodes["Principled BSDF"].inputs["Base Color"])
box.data.materials.append(material)
bpy.ops.wm.save_as_mainfile(filepath=str(folder / "box.blend"))
bpy.ops.export_scene.fbx(filepath=str(folder / "box.fbx"), path_mode="ABSOLUTE")
bpy.ops.wm.obj_export(filepath=str(folder / "box.obj"), path_mode="RELATIVE")
bpy.ops.wm.usd_export(filepath=str(folder / "box.usdc"))
bpy.ops.wm.usd_export(filepath=str(folder / "box.usdz"))
(folder / "box.blend").unlink()
