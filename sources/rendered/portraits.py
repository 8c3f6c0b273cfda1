"""Portraits: one asset on a plain floor, seen from eight sides.

Invariant: view `azimuth` shows the side of the object that faces `azimuth`, degrees about z from +x in the object
frame, like `Asset.front_deg`. So the view of azimuth `front_deg` is the front view. All views share one camera and one
light: only the object rotates.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from pydantic import TypeAdapter

from ...shards.codecs import U8, encode_image
from ...shards.sample import Reject, Result, Row, Sample
from ...shards.stage import Stage
from ..assets.asset import Asset
from ..blender.render import AssetError, Renderer, RenderTimeout, SceneError
from ..registry import get_scene_source
from ..scenes.camera import frame
from ..scenes.spec import EditSpec, Light, Placement, RenderOptions, SceneObjectSpec, SceneSpec, State, Surface
from ..source import ModelFiles
from .files import located

AZIMUTHS: Final[tuple[int, ...]] = tuple(range(0, 360, 45))
ELEVATION_DEG: Final = 20.0
SIDE: Final = 224
"""Pixels of a view's side: eight views make a sheet of 896 x 448, about 400 tokens of a vision-language model."""
SAMPLES: Final = 4
"""With the denoiser, enough to distinguish front and rear: 1.4 CPU seconds per view, a third of the time for 16."""
_FOCAL_MM: Final = 50.0
_FILL: Final = 0.86
_FLOOR: Final = Surface("plaster", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 1.0, 0.0, 0.9, 0)
_LIGHT: Final = Light("studio", 60.0, 1.0)
"""Rotated so that a lamp is behind the viewer, and the visible side is not in the shade."""
_ASSET: Final = TypeAdapter(Asset)


def column_of(azimuth: int) -> str:
    """The column of layer `portraits` for a view."""
    return f"view_{azimuth:03d}"


def portrait_scene(asset: Asset, side: int = SIDE) -> tuple[SceneSpec, dict[int, State]]:
    """The scene of one asset, and its state for each of `AZIMUTHS`.

    The camera frames the cylinder that contains the rotating object, so that all views have one scale.
    """
    radius = math.hypot(asset.size_m[0], asset.size_m[1]) / 2
    around = np.deg2rad(np.arange(0, 360, 15))
    rim = np.stack([radius * np.cos(around), radius * np.sin(around)], axis=1)
    points = np.concatenate([np.insert(rim, 2, z, axis=1) for z in (0.0, asset.size_m[2])])
    camera = frame(points, 0.0, ELEVATION_DEG, _FOCAL_MM, (side, side), _FILL, (0.0, 0.0)).pose()
    # The camera is in the direction of +x; an object rotated by -a shows it the side that faces a.
    states = {a: State({1: Placement(0.0, 0.0, 0.0, float(-a % 360))}, camera) for a in AZIMUTHS}
    spec = SceneSpec(
        width=side,
        height=side,
        objects=(SceneObjectSpec(1, asset, "midground"),),
        floor=_FLOOR,
        walls=(),
        light=_LIGHT,
        source=states[0],
        target=states[0],
        edit=EditSpec("camera", 0),
        seed=0,
    )
    return spec, states


def render_portraits(renderer: Renderer, asset: Asset, file: Path, side: int = SIDE) -> dict[int, U8]:
    """The asset's views by azimuth, each (side, side, 3), sRGB. Raises `render.SceneError`."""
    spec, states = portrait_scene(asset, side)
    renderer.open(spec, {1: file})
    return {azimuth: renderer.render(state).rgb for azimuth, state in states.items()}


def portrait_options(render: RenderOptions, side: int = SIDE) -> RenderOptions:
    """Options for portraits: small and fast, on the device and with the limits of `render`."""
    changes = {"resolution": (side, side), "samples": SAMPLES, "denoise": True}
    changes |= {"partial": "off", "light_tree": "on"}
    return render.model_copy(update=changes)


@dataclass(frozen=True)
class Booth:
    """The state of a worker: a Blender process, and a function that finds model files."""

    renderer: Renderer
    files: ModelFiles


@dataclass(frozen=True)
class RenderPortraits(Stage):
    """Renders the views of assets. `Sample.spec` is `portrait_spec(asset)`; columns: `column_of` each azimuth (WebP).

    Rejects: `broken_asset`, `mostly_transparent`, `blender_timeout`, `blender_crash`.
    """

    layer: ClassVar[str] = "portraits"
    needs: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[int] = 1
    own_pool: ClassVar[bool] = True
    faults: ClassVar[frozenset[str]] = frozenset({"blender_crash", "blender_timeout"})
    """Without `broken_asset`, because a resumed run may have only broken models left."""

    source: str
    """Kind of a `SceneSource`."""
    place: str = field(default="", metadata={"fingerprint": False})
    """See `SceneSource.place`."""
    render: RenderOptions = field(default_factory=lambda: portrait_options(RenderOptions()))
    """Views are squares whose side is the width of its resolution."""
    threads: int = field(default=0, metadata={"fingerprint": False})
    """Threads of Blender; 0: as many as `cpus`, rounded up."""
    batch_size: int = field(default=1, metadata={"fingerprint": False})
    cpus: float = field(default=1.0, metadata={"fingerprint": False})
    gpus: float = field(default=0.0, metadata={"fingerprint": False})

    def setup(self) -> Booth:
        """Prepare Blender, which starts with the first asset. Raises BadInput if this node does not have the models."""
        files = get_scene_source(self.source).models(self.place)
        return Booth(Renderer(self.render, threads=self.threads or math.ceil(self.cpus)), files)

    def cpu_seconds(self, model: Booth) -> float:
        return model.renderer.cpu_s

    def __call__(self, model: Booth, samples: Sequence[Sample]) -> Sequence[Result]:
        return [self._portray(model, _ASSET.validate_python(sample.spec["asset"])) for sample in samples]

    def _portray(self, booth: Booth, asset: Asset) -> Result:
        try:
            views = render_portraits(booth.renderer, asset, located(booth.files, asset), self.render.resolution[0])
        except AssetError as error:
            return Reject(error.reason, detail=str(error))
        except RenderTimeout as error:
            return Reject("blender_timeout", detail=f"asset {asset.uid}: {error}")
        except SceneError as error:
            return Reject("blender_crash", detail=f"asset {asset.uid}: {error}")
        return Row({column_of(azimuth): encode_image(view) for azimuth, view in views.items()})


def portrait_spec(asset: Asset) -> Mapping[str, Any]:
    """The `spec` of one asset in a plan: plain JSON values."""
    return {"asset": _ASSET.dump_python(asset, mode="json")}
