"""Renders scenes with Blender, which runs in its own process and may crash or hang without harm to the caller.

Results follow the conventions of `shards.geometry`: OpenCV camera, planar z in meters, camera-frame normals that point
to the camera, object ids of the spec. The same specification gives the same bytes on the same machine.
"""

import time
import weakref
from collections.abc import Collection, Mapping, Sequence
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
from .process import BlenderProcess, ProcessDied, ProcessTimeout, command

START_TIMEOUT_S = 300.0
"""Timeout for the start of Blender, which takes seconds, or minutes on a busy machine."""
MAX_STARTS = 3
"""How often a start is tried. On a busy machine a process occasionally dies while it starts."""
SIZE_TOLERANCE = 0.02
"""Fraction of the largest side by which a loaded model may differ from the survey's box."""
MAX_FAINT_SHARE = 0.35
"""Fraction of the visible part of an object that may be too transparent to be surface: the windows of a car, but not a
bottle."""
MIN_FAINT_OPACITY = 0.1
"""Opacity from which a part that is not surface is visible."""


class SceneError(Exception):
    """One scene could not be rendered; the renderer is ready for the next one."""


class RenderCrash(SceneError):
    """Blender died, or failed on the scene."""


class RenderTimeout(SceneError):
    """The scene took longer than `render.timeout_s`; Blender was killed."""


class AssetError(SceneError):
    """A model file cannot be read, is not the surveyed one, or cannot have exact maps. The message names the file."""

    def __init__(self, message: str, reason: str = "broken_asset", uid: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.uid = uid
        """The asset's uid, if it is part of an open scene."""


@dataclass(frozen=True)
class ObjectVisibility:
    """Visibility of one object in one state; all zero if it is absent."""

    own_px: float
    """Number of pixels that the object would cover without other objects, inside the frame."""
    visible: float
    """Fraction of these pixels that are not hidden."""
    in_frame: float
    """Fraction of its surface, visible or not, that is inside the frame."""
    box: tuple[int, int, int, int]
    """x0, y0, x1, y1 of the whole object, clipped to the frame; x1 and y1 are exclusive."""


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
    """Planar z in meters at the pixel's center; 0 where there is no surface."""
    normal: NDArray[np.float32]
    """x 3, camera frame, unit length, pointing to the camera; zero where there is no surface."""
    instances: NDArray[np.uint8] | NDArray[np.uint16]
    """Object ids; 0 for background and for what surrounds the objects: floor, walls, shell, garden."""
    parts: NDArray[np.uint16]
    """A number for each material of each mesh, including what surrounds the objects; 0 where there is no surface. The
    numbers are valid only in this view."""
    exposure: float
    """Stops between `linear` and the input of the view transform of `rgb`; the same for the whole scene."""


@dataclass(frozen=True)
class ImageFacts:
    """What Blender reads in an image file."""

    width: int
    """0: it cannot read the file."""
    height: int
    finite: bool
    """No value is NaN or infinite."""
    radiance: float
    """Mean luminance over the sphere of an equirectangular image, without negative values."""
    shrunk: bool
    """Whether a smaller image was written."""


class Renderer:
    """A Blender process that starts with the first scene, and is replaced if it dies or hangs, and after
    `scenes_per_process` scenes.

    `open` a scene, query its `visibility`, render its states. Raises SceneError if one scene fails, and BadInput if all
    scenes would fail (no Blender, no such device). Not thread-safe.
    """

    def __init__(self, options: RenderOptions, threads: int = 0) -> None:
        self.options, self.threads = options, threads
        self.points: dict[int, NDArray[np.float32]] = {}
        """1024 points on the surface of each object of the open scene: object frame, meters."""
        self._ended_cpu_s = self._cpu_s = 0.0
        """CPU seconds of all threads: of ended processes, as of their last reply; of the running process."""
        self._process: BlenderProcess | None = None
        self._end: weakref.finalize[[], Renderer] | None = None
        """Ends the process. Called by `close`, when the renderer is garbage-collected, and at exit."""
        self._versions: dict[str, str] = {}
        self._spec: SceneSpec | None = None
        self._scenes = 0
        self._remaining_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the process. The next scene starts a new one."""
        if self._end is not None:
            self._end()
        self._end, self._process, self._spec, self._scenes = None, None, None, 0
        self._ended_cpu_s, self._cpu_s = self.cpu_s, 0.0

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all Blender processes of this renderer so far, for all threads."""
        return self._ended_cpu_s + self._cpu_s

    @property
    def versions(self) -> dict[str, str]:
        """`blender` and `device`. Starts Blender if it has not run yet."""
        if not self._versions:
            self._running_process()
        return dict(self._versions)

    def open(self, spec: SceneSpec, files: Mapping[int, Path], states: int = 2) -> None:
        """Load a scene.

        Args:
            files: the GLB of each object id.
            states: states that will be rendered: `render.timeout_s` is the limit for two.

        Raises AssetError if a file cannot be read or does not have the surveyed size.
        """
        self._replace_process()
        self._spec, self._remaining_s = spec, self.options.timeout_s * max(2, states) / 2
        paths = {str(item.id): str(Path(files[item.id]).absolute()) for item in spec.objects}
        options = {"samples": self.options.samples, "denoise": self.options.denoise}
        options["light_tree"] = self.options.light_tree != "off"
        try:
            reply = self._ask("open", spec=to_json(spec), files=paths, options=options)
            self.points = {int(name): _load_and_remove(path) for name, path in reply["points"].items()}
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
        """Visibility for each state and object id of the open scene, by ray casting (no render)."""
        reply = self._ask("visibility", states=[asdict(state) for state in states])
        return [
            {
                int(name): ObjectVisibility(seen["own_px"], seen["visible"], seen["in_frame"], tuple(seen["box"]))
                for name, seen in state.items()
            }
            for state in reply["states"]
        ]

    def render(self, state: State, edited: Collection[int] = ()) -> RenderedView:
        """Render one state of the open scene. The first render of a scene sets the exposure of all.

        Args:
            edited: ids of the objects whose placement differs from the first rendered state. Nothing else may differ,
                and only what they influence is rendered (see `partial`). Empty: the whole image is rendered.

        Raises AssetError (`mostly_transparent`) if too much of the visible part of an object is not surface.
        """
        reply = self._ask("render", state=asdict(state), edited=sorted(edited))
        arrays = {name: _load_and_remove(path) for name, path in reply["arrays"].items()}
        with Image.open(reply["color"]) as image:
            rgb = np.asarray(image.convert("RGB"))
        Path(reply["color"]).unlink()
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
        """Check the opacity in front of the surface: `faint<id>`, a mean over samples, only one of which has it."""
        for item in self._spec.objects if self._spec else ():
            if (passed := arrays.get(f"faint{item.id}")) is None:
                continue
            own = instances == item.id
            faint = ~own & (passed * self.options.samples >= MIN_FAINT_OPACITY)
            share = float(faint.sum() / max(1, (faint | own).sum()))
            if share > MAX_FAINT_SHARE:
                why = f"{share:.0%} of its visible part is too transparent to count as surface"
                raise AssetError(f"{item.asset.uid}: {why}; maps would show the background", "mostly_transparent")

    def portray(self, asset: Asset, file: Path, views: Sequence[F64], side: int) -> dict[str, NDArray[Any]]:
        """Render the materials of an asset. For `views` and the result, see `portrait.portray`.

        No scene is open afterward. Raises AssetError if the file cannot be read or does not have the surveyed size.
        """
        self._replace_process()
        self._spec, self._remaining_s = None, self.options.timeout_s
        fields = {name: getattr(asset, name) for name in ("scale", "offset", "size_m", "axes", "cut")}
        rows = [view.tolist() for view in views]
        reply = self._exchange("portray", asset=fields, file=str(file.absolute()), views=rows, side=side)
        arrays = {name: _load_and_remove(path) for name, path in reply["arrays"].items()}
        if not asset.cut:  # its visible part is still being determined
            low, high = arrays["box"]
            _compare_size(file, low, high, asset.size_m)
        return arrays

    def convert(self, file: Path, root: Path, target: Path) -> list[Path]:
        """Convert a model below `root` to the GLB `target`. Returns the other files that it consists of.

        No scene is open afterward. Raises AssetError, with the reasons of `convert.convert`, and SceneError.
        """
        self._replace_process()
        self._spec, self._remaining_s = None, self.options.timeout_s
        paths = {"file": str(file.absolute()), "root": str(root.absolute()), "target": str(target.absolute())}
        return [Path(path) for path in self._exchange("convert", **paths)["files"]]

    def measure_image(self, file: Path, most: int, smaller: Path) -> ImageFacts:
        """Measure an image, and write a smaller one where it is wider than `most`: see `images.measure_image`.

        No scene is open afterward. Raises SceneError if Blender fails.
        """
        self._replace_process()
        self._spec, self._remaining_s = None, self.options.timeout_s
        paths = {"file": str(file.absolute()), "smaller": str(smaller.absolute())}
        reply = self._exchange("measure_image", most=most, **paths)
        return ImageFacts(reply["width"], reply["height"], reply["finite"], reply["radiance"], reply["shrunk"])

    def _replace_process(self) -> None:
        """Make sure that a process runs that may load another scene."""
        if self._scenes >= self.options.scenes_per_process:
            self.close()
        self._running_process()
        self._scenes += 1

    def _running_process(self) -> BlenderProcess:
        if self._process is not None and self._process.alive:
            return self._process
        self.close()
        why = log = ""
        for _ in range(MAX_STARTS):
            process = BlenderProcess(command(self.options.blender), self.options.device, self.threads)
            try:
                return self._use_process(process, process.ask("hello", START_TIMEOUT_S))
            except (ProcessDied, ProcessTimeout) as error:
                process.close()
                why, log = str(error), process.log
            except BaseException:
                process.close()
                raise
        # If Blender has never started here, no worker can use it. Otherwise another worker may succeed.
        message = f"{self._blender_name()} does not start ({why}): {_last_lines(log)} (tried {MAX_STARTS} times)"
        raise WorkerLost(f"{message}; check the free memory") if self._versions else BadInput(message)

    def _use_process(self, process: BlenderProcess, reply: Mapping[str, Any]) -> BlenderProcess:
        if "error" in reply:
            raise BadInput(f"render.device: {self.options.device}: {reply['message']}; `cpu` always works")
        self._process, self._versions = process, reply["versions"]
        self._end = weakref.finalize(self, process.close)
        return process

    def _blender_name(self) -> str:
        return f"render.blender: {self.options.blender}" if self.options.blender else "Blender (the bpy package)"

    def _ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        """Send a request about the open scene, within the remaining time of the scene."""
        if self._spec is None:
            raise RenderCrash(f"{op}: no scene is open")
        return self._exchange(op, **arguments)

    def _exchange(self, op: str, **arguments: Any) -> dict[str, Any]:
        process = self._process
        if process is None:
            raise RenderCrash(f"{op}: Blender is not running")
        began = time.monotonic()
        try:
            reply = process.ask(op, self._remaining_s, **arguments)
        except ProcessTimeout:
            self.close()
            raise RenderTimeout(
                f"Blender was killed in {op}: the scene took more than {self.options.timeout_s:g} s (render.timeout_s)"
            ) from None
        except ProcessDied as error:
            self.close()
            raise RenderCrash(f"Blender stopped in {op} ({error}); its last output:\n{process.log}") from None
        except BaseException:  # interrupted between request and reply: its state is unknown
            self.close()
            raise
        self._remaining_s -= time.monotonic() - began
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
    """Convert world normals (H, W, 3), averaged over pixels, to unit camera-frame normals that point to the camera.

    They are zero where `depth` (H, W) is zero: there is no surface at the center of such a pixel. Smooth shading turns
    some normals slightly away from the viewer. These are mirrored at the plane perpendicular to the view ray.
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


def _load_and_remove(path: str) -> NDArray[Any]:
    """Load the array of a file, and remove the file, because shared memory is scarce."""
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
            f"{file.name}: {measured} m from {low.round(3).tolist()} in Blender, {surveyed} m in the survey; "
            "the file has changed since the survey, or Blender and the survey read it differently"
        )


def _last_lines(log: str) -> str:
    lines = [line for line in log.splitlines() if line.strip()]
    return " | ".join(lines[-3:]) if lines else "it printed nothing"
