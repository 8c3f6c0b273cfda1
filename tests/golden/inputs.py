"""What the golden builds are made from: a small Objaverse cache, a small OBJECT-3DIT release, three configurations.

The inputs are files, or drawn here with numpy and the standard library, so that they stay the same when the product or
one of its packages changes. Change nothing here without recording anew (`record.py`).
"""

import gzip
import io
import json
import shutil
import struct
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.pipeline.releases import spatialdata

Solid = tuple[NDArray[np.float64], NDArray[np.int64], tuple[float, float, float]]
"""Vertices (y up, meters), triangles, linear RGB."""


@dataclass(frozen=True)
class Build:
    """One golden build: `--set` options, and which of its inputs `source.root` names (empty: none)."""

    settings: tuple[str, ...]
    root: str = ""
    rendered: bool = True
    """Whether Blender makes its pixels, which may differ between processors."""


BUILDS = {
    # Derived samples of both kinds, every exact layer, every recipe, lossless members.
    "procedural": Build(
        (
            *("source.kind=procedural", "source.variants=2", "samples=10", "unit_size=4", "seed=5"),
            "edits={translate: 1, rotate: 1, scale: 1, remove: 1, insert: 1, camera: 1, invert: true, compose: true}",
            *(
                "render.resolution=[96, 96]",
                "render.samples=2",
                "render.device=cpu",
                "render.recycle=200",
                "render.partial=off",
                "render.light_tree=on",
            ),
            *("scene.objects=[2, 4]", "scene.attempts=40", "shard.splits={train: 0.5, val: 0, test: 0.5}"),
            "layers.checks={max_speckle: 0.9, min_box_iou: 0.5, min_mask_iou: 0.3}",
            *("shard.recipes=[full, spatialdiff, ildm, spatialedit, spatialfusion]", "shard.samples_per_shard=8"),
        )
    ),
    # Files that are surveyed and portrayed, an orientation file, licenses, options of layers, another codec.
    "objaverse": Build(
        (
            *("source.kind=objaverse", "source.licenses=[cc0, by, by-sa]", "samples=6", "unit_size=3", "seed=2"),
            "edits={translate: 1, rotate: 1, scale: 1, remove: 1, insert: 1, camera: 1}",
            *(
                "render.resolution=96",
                "render.samples=4",
                "render.denoise=false",
                "render.device=cpu",
                "render.partial=off",
                "render.light_tree=on",
            ),
            *("scene.objects=[2, 3]", "scene.walls=1", "scene.camera.elevation_deg=[20, 40]"),
            *(
                "layers.line={stage: xdog, views: [target]}",
                "layers.checks={min_area: 0.001, min_psnr: 10, on_contradiction: keep}",
            ),
            *("layers.instruction.variants=2", "shard.splits={train: 0.5, val: 0, test: 0.5}", "shard.name=golden"),
            *("shard.recipes=[full, spatialedit]", "shard.codecs.image=png", "shard.duplicates.distance=8"),
        ),
        "cache",
    ),
    # Fixed images: nothing here depends on a renderer. Folders and archives side by side, read both ways.
    "object3dit": Build(
        (
            *("source.kind=object3dit", "samples=all", "unit_size=4", "edits.invert=true"),
            *("shard.recipes=[full, spatialedit]", "shard.samples_per_shard=7"),
        ),
        "packed",
        rendered=False,
    ),
}
OLD_BUILD = Build(
    (
        *("source.kind=object3dit", "samples=5", "unit_size=2", "edits={rotate: 1, remove: 1}"),
        "shard.recipes=[full, spatialedit]",
    ),
    "release",
    rendered=False,
)
"""The build that `OLD_OUT` holds."""
RELEASE = Path(__file__).with_name("release.tar.gz")
"""Nine pairs in folders. Kept as files: a plan of archives holds the sizes of images, which their encoder chooses."""
OLD_OUT = Path(__file__).with_name("old_out.tar.gz")


KINDS = ("translate", "rotate", "scale", "remove", "insert", "camera")
TWOS = (("translate", "remove"), ("rotate", "rotate"), ("scale", "scale"), ("insert", "insert"), ("camera", "camera"))

_RELEASED = ("source.kind=object3dit", "source.root=/data", "samples=all")
_CPU = "render.device=cpu"
CONFIGURATIONS: dict[str, tuple[str, ...]] = {
    "scenes": (_CPU,),
    "objaverse": (_CPU, "source.kind=objaverse", "source.root=/data"),
    "released": _RELEASED,
    "released, kept": (*_RELEASED, "layers.pair.unchanged=keep"),
    "released, models": (
        *_RELEASED,
        *(
            "layers.depth=depth_anything_v2",
            "layers.metric=metric3d",
            "layers.normal=metric3d",
            "layers.judge=viescore",
        ),
    ),
    "scenes, options": (
        *(_CPU, "scene.objects=[3, 5]", "scene.layers=2", "scene.walls=0.25", "scene.min_visible=0.15"),
        *("scene.attempts=12", "scene.camera={elevation_deg: [20, 30], focal_mm: [30, 40]}"),
        *("scene.light={hdris: [city, studio], strength: [0.9, 1.1]}", "render.resolution=[320, 256]"),
        *("render.samples=8", "render.denoise=false", "render.timeout_s=60", "render.recycle=9"),
        *("layers.screen={min_luminance: 0.1, max_blur: 0.6}", "layers.metric={views: [target]}"),
        *("layers.normal={views: [target]}", "layers.depth={views: [target]}", "layers.segment={views: [target]}"),
        *("layers.line={stage: xdog, sigma: 1.0, colour: 1.0}", "layers.instruction.variants=2"),
        "layers.checks={min_area: 0.01, on_contradiction: rewrite, angle_tolerance: 5}",
    ),
    "models": (
        *(_CPU, "layers.depth=depth_anything_v2", "layers.metric={stage: metric3d, normals: true}"),
        *("layers.normal=from_metric", "layers.segment=sam2", "layers.line=informative_drawings"),
        *("layers.instruction=qwen3_vl", "layers.judge=viescore"),
    ),
    "models, options": (
        *(_CPU, "layers.depth={stage: depth_anything_v2, revision: main, dtype: bfloat16, compile: true}"),
        "layers.metric={stage: metric3d, model: a/b, file: onnx/model_fp16.onnx, canvas: [616, 616], focal: assumed}",
        *(
            "layers.normal={stage: metric3d, backend: hub, call_size: 8}",
            "layers.line={stage: informative_drawings, resolution: 256}",
        ),
        "layers.segment={stage: sam2, prompts: boxes, points_per_side: 16, pred_iou_thresh: 0.7, batch_size: 2}",
        "layers.instruction={stage: qwen3_vl, mode: images, variants: 2, attempts: 2, engine: {max_num_seqs: 8}}",
        "layers.judge={stage: viescore, backend: openai, base_url: 'http://host/v1', min_overall: 0.5, tries: 3}",
    ),
    "other metric": (_CPU, "layers.metric=depth_anything_v2"),
    "another metric": (_CPU, "layers.metric={stage: vggt, align: exact}"),
}
"""Every stage of the registry, with its defaults and with options."""
ORIENT: dict[str, tuple[str, ...]] = {
    "orient": (_CPU,),
    "orient, options": (_CPU, "render.samples=8", "orient={model: a/b, votes: 5, temperature: 0.5}"),
}


def write_inputs(folder: Path) -> Path:
    """The roots that `Build.root` names, as folders of `folder`."""
    write_cache(folder / "cache")
    for root in ("release", "packed"):
        unpack(RELEASE, folder / root)
    for task, suffix in (("rotate", ".tar.gz"), ("remove", ".tar")):
        _pack(folder / "packed" / task, folder / "packed" / f"{task}{suffix}")
    return folder


def unpack(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder


def run_build(build: Build, out: Path, inputs: Path) -> dict[str, Any]:
    """Build with the command; what it reported."""
    root = (f"source.root={inputs / build.root}",) if build.root else ()
    settings = (*build.settings, "engine.kind=inline", *root)
    options = (part for setting in settings for part in ("--set", setting))
    done = spatialdata("build", "--out", str(out), "--json", *options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def write_cache(root: Path) -> None:
    """An Objaverse cache of 12 models: one file is cut short, one is white only, the license of one is not allowed."""
    base = root / "hf-objaverse-v1"
    folder = base / "glbs" / "000-000"
    folder.mkdir(parents=True)
    models = {uid: _glb(solids) for uid, (_, solids) in MODELS.items()}
    models["broken"] = models["crate"][:-40]
    for uid, data in models.items():
        (folder / f"{uid}.glb").write_bytes(data)
    licenses = dict.fromkeys(models, "by") | {"crate": "cc0", "cone": "by-sa", "stairs": "by-nc"}
    metadata = {
        uid: {"name": f"a {uid}", "license": licenses[uid], "user": {"displayName": f"maker of {uid}"}, "tags": []}
        for uid in models
    }
    categories = {category: [uid] for uid, (category, _) in MODELS.items() if category}
    _write_gz(base / "object-paths.json.gz", {uid: f"glbs/000-000/{uid}.glb" for uid in models})
    _write_gz(base / "metadata" / "000-000.json.gz", metadata)
    _write_gz(base / "lvis-annotations.json.gz", categories)
    answer = {"front_deg": 270.0, "name": "office chair", "colour": "gray", "votes": [270.0, 270.0], "model": "m"}
    (root / "orientations.json").write_text(json.dumps({"chair": answer, "lamp": 90}))


def _write_gz(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(json.dumps(content).encode(), mtime=0))


def _pack(folder: Path, archive: Path) -> None:
    """A task's folder as the release packs it; the folder goes. What is planned names the archive's own bytes."""
    data = tar_of(folder, f"{folder.name}/")
    archive.write_bytes(gzip.compress(data, 0, mtime=0) if archive.suffix == ".gz" else data)
    shutil.rmtree(folder)


def tar_of(folder: Path, prefix: str = "") -> bytes:
    """A folder as a tar whose bytes follow from its files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            info = tarfile.TarInfo(prefix + path.relative_to(folder).as_posix())
            info.size = path.stat().st_size
            tar.addfile(info, io.BytesIO(path.read_bytes()))
    return packed.getvalue()


def _frustum(
    sides: int,
    radii: tuple[float, float],
    heights: tuple[float, float],
    color: tuple[float, float, float],
    center: tuple[float, float] = (0.0, 0.0),
    squash: float = 1.0,
) -> Solid:
    """A closed prism, cone or anything between, upright; four sides with faces along the axes."""
    turn = np.pi / 4 if sides == 4 else 0.0
    angles = turn + np.arange(sides) * 2 * np.pi / sides
    grow = np.sqrt(2) if sides == 4 else 1.0
    rings = [
        np.stack([grow * r * np.cos(angles), np.full(sides, y), grow * r * squash * np.sin(angles)], axis=1)
        for r, y in zip(radii, heights, strict=True)
    ]
    middles = np.array([[0, heights[0], 0], [0, heights[1], 0]])
    vertices = np.concatenate([*rings, middles]) + np.array([center[0], 0, center[1]])
    here, there = np.arange(sides), (np.arange(sides) + 1) % sides
    low, high = np.full(sides, 2 * sides), np.full(sides, 2 * sides + 1)
    faces = np.concatenate(
        [
            np.stack([here, here + sides, there], axis=1),
            np.stack([there, here + sides, there + sides], axis=1),
            np.stack([here, there, low], axis=1),
            np.stack([here + sides, high, there + sides], axis=1),
        ]
    )
    return vertices, faces, color


def _legs(reach: float, top: float, color: tuple[float, float, float]) -> list[Solid]:
    return [_frustum(4, (0.02, 0.02), (0, top), color, (x, z)) for x in (-reach, reach) for z in (-reach, reach)]


WOOD, RED, BLUE, WHITE = (0.25, 0.1, 0.04), (0.6, 0.02, 0.02), (0.03, 0.1, 0.5), (0.8, 0.8, 0.8)
GREEN, ORANGE = (0.05, 0.3, 0.06), (0.8, 0.2, 0.0)
MODELS: dict[str, tuple[str, list[Solid]]] = {
    "crate": ("crate", [_frustum(4, (0.2, 0.2), (0, 0.3), WOOD)]),
    "cone": ("cone", [_frustum(4, (0.18, 0.18), (0, 0.03), RED), _frustum(16, (0.13, 0.02), (0.03, 0.5), ORANGE)]),
    "table": ("table", [_frustum(4, (0.5, 0.5), (0.68, 0.72), WOOD, squash=0.6), *_legs(0.27, 0.68, WOOD)]),
    "chair": (
        "chair",
        [
            _frustum(4, (0.22, 0.22), (0.42, 0.46), BLUE),
            _frustum(4, (0.22, 0.22), (0.46, 0.9), BLUE, (0, -0.2), 0.1),
            *_legs(0.19, 0.42, WOOD),
        ],
    ),
    "lamp": (
        "lamp",
        [
            _frustum(20, (0.12, 0.1), (0, 0.03), GREEN),
            _frustum(8, (0.02, 0.02), (0.03, 0.4), GREEN),
            _frustum(20, (0.17, 0.09), (0.33, 0.55), (0.8, 0.7, 0.3)),
        ],
    ),
    "mug": (
        "mug",
        [
            _frustum(24, (0.04, 0.042), (0, 0.1), WHITE),
            _frustum(4, (0.02, 0.02), (0.03, 0.07), WHITE, (0.05, 0), 0.4),
        ],
    ),
    "vase": ("vase", [_frustum(18, (0.06, 0.11), (0, 0.12), BLUE), _frustum(18, (0.11, 0.04), (0.12, 0.3), BLUE)]),
    "bench": ("bench", [_frustum(4, (0.6, 0.6), (0.4, 0.46), WOOD, squash=0.3), *_legs(0.15, 0.4, (0.02, 0.02, 0.02))]),
    "pyramid": ("", [_frustum(4, (0.15, 0.001), (0, 0.25), (0.7, 0.5, 0.05))]),
    "bucket": ("bucket", [_frustum(20, (0.1, 0.15), (0, 0.28), RED)]),
    "stairs": ("", [_frustum(4, (side, side), (0.4 - 2 * side, 0.5 - 2 * side), GREEN) for side in (0.2, 0.15, 0.1)]),
}


def _glb(solids: list[Solid]) -> bytes:
    """Solids in one GLB, each of a color of its own."""
    binary, views, accessors, primitives, materials = b"", [], [], [], []
    for vertices, faces, color in solids:
        for values, kind, number in (
            (vertices.astype("<f4"), "VEC3", 5126),
            (faces.astype("<u2").ravel(), "SCALAR", 5123),
        ):
            data = values.tobytes()
            views.append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(data)})
            bounds = {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()} if kind == "VEC3" else {}
            accessors.append(
                {"bufferView": len(views) - 1, "componentType": number, "count": len(values), "type": kind} | bounds
            )
            binary += data + b"\0" * (-len(data) % 4)
        material = len(materials)
        materials.append({"pbrMetallicRoughness": {"baseColorFactor": [*color, 1], "metallicFactor": 0}})
        place = {"POSITION": len(accessors) - 2}
        primitives.append({"attributes": place, "indices": len(accessors) - 1, "material": material})
    content = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": primitives}],
        "accessors": accessors,
        "bufferViews": views,
        "materials": materials,
        "buffers": [{"byteLength": len(binary)}],
    }
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body
