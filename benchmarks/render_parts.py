# pyright: basic, reportMissingImports=false
"""Where the CPU time of a pair goes, and what settings of Cycles cost. Runs inside Blender, for `rendering.py`.

Reads a job as JSON from a file and prints the result as JSON. A job has spec, files, options, threads, and either
`edited` (ids: the parts of a pair are measured, in CPU seconds), or `candidates` (settings by name, `seeds` renders of
each) and `reference` (samples of the image that denoised ones are compared with).
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))
from spatialdata_builder.sources.blender import scene as scenes  # noqa: E402
from spatialdata_builder.sources.blender.partial import (  # noqa: E402
    PREPASS_SAMPLES,
    Denoiser,
    PartialRenders,
    _noisy,
    shown,
)
from spatialdata_builder.sources.blender.scene import MIDDLE_GRAY, Scene, exposure_of  # noqa: E402
from spatialdata_builder.sources.blender.visibility import measure_visibility  # noqa: E402

SAVED = Path(sys.argv[1] + ".exr")
STEPS = (
    ("Loading render kernels", "sync"),
    ("Loading denoising kernels", "sync"),
    ("Loading ", "load"),  # textures
    ("BVH", "BVH"),
    ("Sample ", "path tracing"),
    ("Denoising", "path tracing"),
    ("Finished", "readback"),
    ("Synchronizing", "sync"),
    ("Updating", "sync"),
)
"""What Cycles reports at the start of a step, and the part of a pair that it belongs to. The first that fits counts."""
BLOCK = 16
"""Side of the squares whose means show whether a setting changes the expected image, pixels."""
DENOISERS = [(quality, guides) for quality in ("High", "Balanced", "Fast") for guides in ("Accurate", "Fast", "None")]
"""Quality, and prefilter of albedo and normals; the first is the default."""


class Clock:
    """Divides the CPU time of the process, of all threads, among parts. One part is active at a time."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.active, self.since = "", time.process_time()

    def enter(self, part: str) -> None:
        now = time.process_time()
        self.seconds[self.active] = self.seconds.get(self.active, 0.0) + now - self.since
        self.active, self.since = part, now

    def during(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """`work`, whose time counts as `part`. After it, the previous part is active again."""

        def timed(*args: Any, **named: Any) -> Any:
            before = self.active
            self.enter(part)
            try:
                return work(*args, **named)
            finally:
                self.enter(before)

        return timed

    def follow(self, *given: Any) -> None:
        """Handler of what Cycles reports. It is called at the start of each step."""
        for text in (text for text in given if isinstance(text, str)):
            for beginning, part in STEPS:
                if beginning in text:
                    self.enter(part)
                    return


class Timed:
    """A scene whose renders a clock follows. The time of a render is in parts with the name `kind` of the render."""

    def __init__(self, scene: Scene, clock: Clock) -> None:
        self.scene, self.clock, self.kind = scene, clock, ""
        self.plain, scene.render = scene.render, self.render

    def render(self, exr: Path, samples: int = 0, denoise: bool | None = None) -> dict[str, np.ndarray]:
        before = self.clock.active
        self.clock.enter("sync")
        arrays = self.plain(exr, samples, denoise)
        self.clock.enter(before)
        kind = "prepass" if samples == PREPASS_SAMPLES else self.kind
        self.clock.seconds[kind] = self.clock.seconds.get(kind, 0.0) + self.clock.seconds.pop("path tracing")
        return arrays


def loaded(job: dict) -> Scene:
    """Load the scene of a job into an empty Blender, which has no handlers."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    return Scene(job["spec"], job["files"], job["options"], False, job["threads"])


def parts(job: dict) -> dict[str, float]:
    """CPU seconds of the parts of a pair in Blender, as the worker renders it."""
    spec, clock = job["spec"], Clock()
    scenes.load_asset = clock.during("load", scenes.load_asset)
    clock.enter("scene build")
    scene = loaded(job)
    bpy.app.handlers.render_stats.append(clock.follow)
    clock.enter("visibility")
    for state in ("source", "target"):
        measure_visibility(scene, spec[state])
    clock.enter("readback")
    timed, partial_renders = Timed(scene, clock), PartialRenders(scene, False, SAVED)
    timed.kind = "path tracing, source"
    scene.pose(spec["source"])
    arrays = scene.render(SAVED)
    scene.expose(arrays)
    scene.save_color(SAVED)
    partial_renders.keep(spec["source"], arrays)
    timed.kind = "path tracing, target"
    clock.enter("region search")
    partial_renders._denoise = clock.during("denoise", partial_renders._denoise)
    changed = partial_renders.render(spec["target"], job["edited"]) if job["edited"] else None
    clock.enter("readback")
    if changed is None:
        scene.pose(spec["target"])
        scene.render(SAVED)
    scene.save_color(SAVED)
    clock.enter("")
    found = {part: spent for part, spent in clock.seconds.items() if part}
    # Cycles does not say where tracing ends and denoising begins, which does not depend on the number of samples.
    costs: dict[bool, list[float]] = {True: [], False: []}
    for denoise in (True, False, True, False):
        timed.kind = "alone"
        clock.seconds.pop("alone", None)
        scene.render(SAVED, 1, denoise)
        costs[denoise].append(clock.seconds["alone"])
    spent = min(costs[True]) - min(costs[False]) if job["options"]["denoise"] else 0.0
    for kind in ("path tracing, source", *(["path tracing, target"] if changed is None else [])):
        found[kind] -= spent
        found["denoise"] = found.get("denoise", 0.0) + spent
    return found


def levels(linear: np.ndarray, exposure: float) -> np.ndarray:
    """Values as they appear, 0 to 255."""
    return shown(linear.astype(np.float64) * 2.0**exposure)


def blocks(linear: np.ndarray) -> np.ndarray:
    """Means of squares."""
    rows, columns = (size // BLOCK for size in linear.shape[:2])
    cells = linear[: rows * BLOCK, : columns * BLOCK].astype(np.float64).reshape(rows, BLOCK, columns, BLOCK, 3)
    return cells.mean(axis=(1, 3))


def rms(values: np.ndarray) -> float:
    return float(np.sqrt((values**2).mean()))


def apply(settings: dict[str, Any]) -> None:
    """Set properties of the scene, by their paths."""
    for path, value in settings.items():
        owner, _, name = path.rpartition(".")
        setattr(bpy.context.scene.path_resolve(owner), name, value)


def candidates(job: dict) -> dict[str, dict[str, float]]:
    """For each setting: CPU seconds of a render of the source, noise (also of denoised images) and change of the mean.

    All but CPU seconds are in levels of 255.

    Renders of one seed follow each other, so that other load on the machine affects all alike.
    """
    images: dict[str, list[np.ndarray]] = {name: [] for name in job["candidates"]}
    denoised: dict[str, list[np.ndarray]] = {name: [] for name in job["candidates"]}
    cpu: dict[str, list[float]] = {name: [] for name in job["candidates"]}
    equal: dict[str, bool] = dict.fromkeys(job["candidates"], True)
    exposure = 0.0
    for seed in range(job["seeds"]):
        first: np.ndarray | None = None
        for name, settings in job["candidates"].items():
            scene = loaded(job)
            apply({"cycles.seed": seed} | settings)
            scene.pose(job["spec"]["source"])
            scene.render(SAVED, 1, False)  # what only the first render of a scene does
            began = time.process_time()
            arrays = scene.render(SAVED, denoise=False)
            cpu[name].append(time.process_time() - began)
            images[name].append(arrays["noisy"])
            denoised[name].append(Denoiser(scene.width, scene.height, False)(_noisy(arrays), SAVED))
            if first is None:
                first = arrays["noisy"]
                if not seed:
                    exposure = exposure_of(first, arrays["depth"], MIDDLE_GRAY, background=False)
            equal[name] &= bool((arrays["noisy"] == first).all())

    def noise(values: list[np.ndarray]) -> float:
        seen = np.array([levels(value, exposure) for value in values])
        return float(np.sqrt(seen.var(axis=0, ddof=1).mean()))

    whole = {name: np.mean(values, axis=0) for name, values in images.items()}
    base = levels(blocks(next(iter(whole.values()))), exposure)
    found: dict[str, dict[str, float]] = {}
    for name, values in images.items():
        step = levels(blocks(whole[name]), exposure) - base
        found[name] = {
            "cpu": min(cpu[name]),
            "noise": noise(values),
            "denoised": noise(denoised[name]),
            "mean": float(np.abs(step.mean(axis=(0, 1))).max()),
            "blocks": rms(step),
            "equal": float(equal[name]),
        }
    return found


def denoisers(job: dict) -> dict[str, dict[str, float]]:
    """For each setting of the denoiser: CPU seconds, error in levels of 255, and what the default's error would cost.

    The error is that of the expected image: the references are two noisy images with seeds of their own, whose noise
    is independent, so that it vanishes in the mean of the product of the differences from both.
    """
    scene = loaded(job)
    scene.pose(job["spec"]["source"])
    samples = job["options"]["samples"]
    began = time.process_time()
    noisy = scene.render(SAVED, samples, False)
    traced = time.process_time() - began
    fewer = scene.render(SAVED, samples // 2, False)
    truths: list[np.ndarray] = []
    exposure = exposure_of(noisy["noisy"], noisy["depth"], MIDDLE_GRAY, background=False)
    for seed in (1, 2):
        apply({"cycles.seed": seed})
        truths.append(levels(scene.render(SAVED, job["reference"], False)["noisy"], exposure))
    denoiser = Denoiser(scene.width, scene.height, False)
    node = next(n for n in denoiser.scene.compositing_node_group.nodes if n.bl_idname == "CompositorNodeDenoise")

    def cost(passes: dict[str, np.ndarray]) -> tuple[float, np.ndarray]:
        began = time.process_time()
        image = denoiser(_noisy(passes), SAVED)
        return time.process_time() - began, levels(image, exposure)

    def error(image: np.ndarray) -> float:
        return float(np.sqrt(((image - truths[0]) * (image - truths[1])).mean()))

    node.mute = True
    idle = min(cost(noisy)[0] for _ in range(2))
    node.mute = False
    found: dict[str, dict[str, float]] = {}
    for quality, guides in DENOISERS:
        node.inputs["Quality"].default_value, node.inputs["Prefilter"].default_value = quality, guides
        runs = [cost(noisy) for _ in range(2)]
        spent, left = min(spent for spent, _ in runs) - idle, error(runs[0][1])
        if not found:
            slope = float(np.log2(error(cost(fewer)[1]) / left))
            first, default, plain = runs[0][1], left, traced + spent
        more = (left / default) ** (1 / slope)
        found[f"{quality}, guides {guides}"] = {
            "cpu": spent,
            "share of a render": spent / (traced + spent),
            "error": left,
            "samples for the default's error": more,
            "cost then": (traced * more + spent) / plain,
            "from default": rms(runs[0][1] - first),
        }
    return found


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    measure = denoisers if "reference" in job else candidates if "candidates" in job else parts
    warm = loaded(job)
    warm.pose(job["spec"]["source"])
    warm.render(SAVED, 1)  # the first render of a process allocates what later ones reuse
    print("\n" + json.dumps(measure(job)))


if __name__ == "__main__":
    main()
