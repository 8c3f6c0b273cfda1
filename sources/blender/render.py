"""Renders scenes with Blender, which lives in a process of its own and may crash or hang without harm to the caller.

What comes back keeps the conventions of `shards.geometry`: OpenCV camera, planar z in metres, camera-frame normals
that point to the camera, ids that are the spec's. The same specification gives the same bytes on the same machine.
"""

import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...shards.errors import BadInput, WorkerLost
from ...shards.geometry import F64, matrix3, matrix4
from ..assets.asset import Asset
from ..scenes.spec import CameraPose, RenderOptions, SceneSpec, State, to_json
from .process import BlenderProcess, ProcessDied, ProcessSilent

START_TIMEOUT_S = 300.0
"""For the start of Blender, which takes seconds, and minutes on a machine that does much else."""
STARTS = 3
"""Processes in a row that may die while they start: on a machine that does much else one does now and then."""
SIZE_TOLERANCE = 0.02
"""By which a loaded model may differ from the survey's box, of its largest side."""
MOST_FAINT = 0.35
"""Share of what is seen of an object that may be too faint to be surface: a car's windows, not a bottle."""
SEEN_FAINT = 0.1
"""Opacity from which what is no surface is seen."""


class SceneError(Exception):
    """One scene could not be rendered; the renderer is ready for the next one."""


class RenderCrash(SceneError):
    """Blender died, or refused the scene."""


class RenderTimeout(SceneError):
    """The scene took longer than `render.timeout_s`; Blender was killed."""


class AssetError(SceneError):
    """A model file cannot be read, is not the one that was surveyed, or has no exact maps; the message names it."""

    def __init__(self, message: str, reason: str = "broken_asset", uid: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.uid = uid
        """Of the asset, where it is one of an open scene."""


@dataclass(frozen=True)
class ObjectVisibility:
    """What can be seen of one object in one state; all zero when absent."""

    own_px: float
    """Pixels that the object alone would cover, inside the frame."""
    visible: float
    """Fraction of those that nothing hides."""
    in_frame: float
    """Fraction of its surface, seen or not, that falls inside the frame."""
    box: tuple[int, int, int, int]
    """x0, y0, x1, y1 of the whole object, clipped to the frame, x1 and y1 exclusive."""


@dataclass(frozen=True)
class RenderedView:
    """One image of a pair with its exact maps, all H x W."""

    rgb: NDArray[np.uint8]
    """x 3, sRGB."""
    linear: NDArray[np.float32]
    """x 3, scene-linear, denoised, before exposure."""
    noisy: NDArray[np.float32]
    """x 3, the same before denoising."""
    depth: NDArray[np.float32]
    """Planar z in metres through the pixel's centre, 0 where there is no surface."""
    normal: NDArray[np.float32]
    """x 3, camera frame, unit length, pointing to the camera, zero where there is no surface."""
    instances: NDArray[np.uint8] | NDArray[np.uint16]
    """Object ids, 0 for background, floor and walls."""
    parts: NDArray[np.uint16]
    """One number for each material of each mesh, floor and walls included; 0 where there is no surface. Numbers are
    those of this view alone."""
    exposure: float
    """Stops between `linear` and what the view transform of `rgb` saw; one for the scene."""


class Renderer:
    """One Blender, started with the first scene and replaced when it dies, hangs or grows old.

    `open` a scene, ask for its `visibility`, render its states. Raises SceneError for what one scene costs and
    BadInput for what no scene can get around (no Blender, no such device). Not for use by several threads.
    """

    def __init__(self, options: RenderOptions, threads: int = 0) -> None:
        self.options, self.threads = options, threads
        self.points: dict[int, NDArray[np.float32]] = {}
        """Of the open scene: 1024 points on each object's surface, object frame, metres."""
        self._ended_cpu_s = self._cpu_s = 0.0
        """CPU seconds, all threads: of the processes that have ended, as of their last reply; of the running one."""
        self._process: BlenderProcess | None = None
        self._end: weakref.finalize[[], Renderer] | None = None
        """Ends the process: called by `close`, or when the renderer is dropped, or at exit."""
        self._versions: dict[str, str] = {}
        self._spec: SceneSpec | None = None
        self._scenes = 0
        self._left_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the process; the next scene starts another."""
        if self._end is not None:
            self._end()
        self._end, self._process, self._spec, self._scenes = None, None, None, 0
        self._ended_cpu_s, self._cpu_s = self.cpu_s, 0.0

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all Blender processes of this renderer so far, all threads."""
        return self._ended_cpu_s + self._cpu_s

    @property
    def versions(self) -> dict[str, str]:
        """`blender` and `device`; starts Blender where it has not run yet."""
        if not self._versions:
            self._running()
        return dict(self._versions)

    def open(self, spec: SceneSpec, files: Mapping[int, Path]) -> None:
        """Load a scene; `files` holds the GLB of each object id.

        Raises AssetError for a file that cannot be read or does not have the surveyed size.
        """
        self._replace_process()
        self._spec, self._left_s = spec, self.options.timeout_s
        paths = {str(item.id): str(Path(files[item.id]).absolute()) for item in spec.objects}
        options = {"samples": self.options.samples, "denoise": self.options.denoise}
        try:
            reply = self._ask("open", spec=to_json(spec), files=paths, options=options)
            self.points = {int(name): _take(path) for name, path in reply["points"].items()}
            for item in spec.objects:
                low, high = np.reshape(reply["bounds"][str(item.id)], (2, 3))
                try:
                    _compare_size(files[item.id], low, high, item.asset.size_m)
                except AssetError as error:
                    raise AssetError(str(error), error.reason, item.asset.uid) from None
        except AssetError:
            self._spec = None
            raise

    def visibility(self, states: Sequence[State]) -> list[dict[int, ObjectVisibility]]:
        """For each state and object id of the open scene, by ray casting (no render)."""
        reply = self._ask("visibility", states=[asdict(state) for state in states])
        return [
            {
                int(name): ObjectVisibility(seen["own_px"], seen["visible"], seen["in_frame"], tuple(seen["box"]))
                for name, seen in state.items()
            }
            for state in reply["states"]
        ]

    def render(self, state: State) -> RenderedView:
        """One state of the open scene. The scene's first render sets the exposure of all.

        Raises AssetError (`mostly_transparent`) where most of what is seen of an object is no surface.
        """
        reply = self._ask("render", state=asdict(state))
        arrays = {name: _take(path) for name, path in reply["arrays"].items()}
        with Image.open(reply["colour"]) as image:
            rgb = np.asarray(image.convert("RGB"))
        Path(reply["colour"]).unlink()
        instances = arrays["instances"]
        self._reject_faint(instances, arrays)
        return RenderedView(
            rgb=rgb,
            linear=arrays["linear"],
            noisy=arrays["noisy"],
            depth=arrays["depth"],
            normal=camera_normals(arrays["normal"], arrays["depth"], state.camera),
            instances=instances if instances.max() > 255 else instances.astype(np.uint8),
            parts=arrays["parts"],
            exposure=reply["exposure"],
        )

    def _reject_faint(self, instances: NDArray[Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Opacity that was passed before any surface is in `faint<id>`: the mean of samples, of which one has it."""
        for item in self._spec.objects if self._spec else ():
            if (passed := arrays.get(f"faint{item.id}")) is None:
                continue
            own = instances == item.id
            faint = ~own & (passed * self.options.samples >= SEEN_FAINT)
            share = float(faint.sum() / max(1, (faint | own).sum()))
            if share > MOST_FAINT:
                told = f"{share:.0%} of what is seen of it is less opaque than surface"
                raise AssetError(f"{item.asset.uid}: {told}: its maps would show what is behind", "mostly_transparent")

    def portray(self, asset: Asset, file: Path, views: Sequence[F64], side: int) -> dict[str, NDArray[Any]]:
        """What an asset shows of its materials; `views` and the arrays as of `portrait.portray`.

        No scene is open afterwards. Raises AssetError for a file that cannot be read or does not have the surveyed
        size.
        """
        self._replace_process()
        self._spec, self._left_s = None, self.options.timeout_s
        stands = {name: getattr(asset, name) for name in ("scale", "offset", "size_m", "axes", "cut")}
        rows = [view.tolist() for view in views]
        reply = self._exchange("portray", asset=stands, file=str(file.absolute()), views=rows, side=side)
        arrays = {name: _take(path) for name, path in reply["arrays"].items()}
        if not asset.cut:  # where it ends is still being looked for
            low, high = arrays["box"]
            _compare_size(file, low, high, asset.size_m)
        return arrays

    def _replace_process(self) -> None:
        """A process for one scene more."""
        if self._scenes >= self.options.scenes_per_process:
            self.close()
        self._running()
        self._scenes += 1

    def _running(self) -> BlenderProcess:
        if self._process is not None and self._process.alive:
            return self._process
        self.close()
        why = log = ""
        for _ in range(STARTS):
            process = BlenderProcess(self.options.blender, self.options.device, self.threads)
            try:
                return self._started(process, process.ask("hello", START_TIMEOUT_S))
            except (ProcessDied, ProcessSilent) as error:
                process.close()
                why, log = str(error), process.log
            except BaseException:
                process.close()
                raise
        # One that never started here is not to be used; one that did may do so in another worker.
        what = f"{self._what()} does not start ({why}): {_last(log)} (tried {STARTS} times)"
        raise WorkerLost(f"{what}; is the memory full?") if self._versions else BadInput(what)

    def _started(self, process: BlenderProcess, reply: Mapping[str, Any]) -> BlenderProcess:
        if "error" in reply:
            raise BadInput(f"render.device: {self.options.device}: {reply['message']}; cpu is always there")
        self._process, self._versions = process, reply["versions"]
        self._end = weakref.finalize(self, process.close)
        return process

    def _what(self) -> str:
        return f"render.blender: {self.options.blender}" if self.options.blender else "Blender (the bpy package)"

    def _ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        """One request of the open scene, within the time that the scene has left."""
        if self._spec is None:
            raise RenderCrash(f"{op}: no scene is open")
        return self._exchange(op, **arguments)

    def _exchange(self, op: str, **arguments: Any) -> dict[str, Any]:
        process = self._process
        if process is None:
            raise RenderCrash(f"{op}: Blender is not running")
        began = time.monotonic()
        try:
            reply = process.ask(op, self._left_s, **arguments)
        except ProcessSilent:
            self.close()
            raise RenderTimeout(
                f"Blender was killed in {op}: the scene took more than {self.options.timeout_s:g} s (render.timeout_s)"
            ) from None
        except ProcessDied as error:
            self.close()
            raise RenderCrash(f"Blender {error} in {op}; its last words:\n{process.log}") from None
        except BaseException:  # interrupted between request and reply: its state is unknown
            self.close()
            raise
        self._left_s -= time.monotonic() - began
        self._cpu_s = reply["cpu_s"]
        match reply.get("error"):
            case None:
                return reply
            case "asset":
                shown = self._spec.objects if self._spec else ()
                uids = {str(item.id): item.asset.uid for item in shown}
                raise AssetError(reply["message"], reply["reason"], uids.get(reply["object"], ""))
            case _:
                self.close()
                raise RenderCrash(f"Blender failed in {op}: {reply['message']}\n{process.log}")


def camera_normals(world: NDArray[np.float32], depth: NDArray[np.float32], camera: CameraPose) -> NDArray[np.float32]:
    """World normals (H, W, 3), averaged over pixels, as unit normals of the camera frame that point to the camera.

    Zero where `depth` (H, W) is: at the centre of such a pixel there is no surface. Smooth shading turns some normals
    slightly away from the viewer: those are mirrored at the plane across the view.
    """
    normal: F64 = world.astype(np.float64) @ matrix4(camera.world_from_camera)[:3, :3]
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    length[depth == 0] = 0
    normal /= np.where(length > 1e-6, length, np.inf)
    K = matrix3(camera.K)
    height, width = normal.shape[:2]
    x = np.broadcast_to((np.arange(width) + 0.5 - K[0, 2]) / K[0, 0], (height, width))
    y = np.broadcast_to(((np.arange(height) + 0.5 - K[1, 2]) / K[1, 1])[:, None], (height, width))
    ray = np.stack([x, y, np.ones_like(x)], axis=-1)
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    away = np.maximum(np.sum(normal * ray, axis=-1, keepdims=True), 0)
    return (normal - 2 * away * ray).astype(np.float32)


def _take(path: str) -> NDArray[Any]:
    """The array of a file, which is removed: shared memory is scarce."""
    array = np.load(path)
    Path(path).unlink()
    return array


def _compare_size(file: Path, low: F64, high: F64, size_m: Sequence[float]) -> None:
    wrong = np.abs(high - low - size_m).max()
    middle = np.abs([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]]).max()
    if max(wrong, middle) > SIZE_TOLERANCE * max(size_m):
        measured = " x ".join(f"{side:.3f}" for side in high - low)
        surveyed = " x ".join(f"{side:.3f}" for side in size_m)
        raise AssetError(
            f"{file.name}: {measured} m from {low.round(3).tolist()} in Blender, {surveyed} m in the survey: "
            "the file is another one since, or Blender shows it otherwise than the survey reads it"
        )


def _last(log: str) -> str:
    lines = [line for line in log.splitlines() if line.strip()]
    return " | ".join(lines[-3:]) if lines else "it printed nothing"
