"""Measures the appearance of a model on portraits: its color, and which part of the file is visible at all.

Invariant: the measured appearance is what the renderer shows, with the same loader and materials as in scenes. Hidden,
back-facing and transparent surfaces contribute neither to the color nor to the size.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from ...shards.color_words import ColorRun, without_colors
from ...shards.colors import Floats, distances, name_of_surface, to_oklab, to_srgb
from ...shards.sample import Reject, Result, Row, Sample
from ...shards.stage import Stage
from ..assets.asset import Asset
from ..assets.glb import GlbError, open_glb
from ..assets.identity import content_of, describe
from ..assets.primitives import read_primitives
from ..assets.shape import HIDDEN, looks_round, rotational_symmetry
from ..assets.surface_samples import Surface, sample_surface
from ..assets.thin import lies_face_down
from ..blender.render import AssetError, Renderer, RenderTimeout, SceneError
from ..registry import get_scene_source
from ..scenes.spec import RenderOptions
from ..source import ModelFiles
from .geometry import SurveyAssets, VisiblePart
from .licenses import DEFAULT_LICENSES

SIDE: Final = 64
"""Side of a view, pixels."""
MARGIN: Final = 1.04
"""Width of a view divided by the diagonal of the asset's box; the same as in `sources/blender/portrait.py`."""
DIELECTRIC: Final = 0.04
"""Specular reflectance that every surface has, whatever its color. It is subtracted from the color."""
_ASSET: Final = TypeAdapter(Asset)
_NEAR: Final = 2.5
"""Pixels by which a sample may be behind the visible surface and still get its color."""
_EDGE: Final = 1.5
"""Pixels by which the visible box may differ from that of the file."""
_MAX_CUTS: Final = 3
"""How often portraits are repeated if a part cannot be seen. Each time they show the visible part at a larger scale."""
_SAME: Final = 0.005
"""Fraction of the largest side by which two boxes may differ."""
_FAINT: Final = 0.02
"""Coverage below which nothing is visible."""
_MIN_SURFACE: Final = 0.6
"""Fraction of the visible part that must count as surface in the maps. The rest is too transparent."""
_SOLID: Final = 0.85
"""Mean coverage from which an object has a color."""
_THROUGH: Final = 0.3
"""Fraction of transmitted light above which an object has no color, because the background shows through."""
_METAL: Final = 0.5
"""An object is a metal if at least this fraction of its light is specular beyond `DIELECTRIC`, and its roughness is
below `_ROUGH`."""
_ROUGH: Final = 0.55
_MIN_WORD_SHARE: Final = (0.3, 0.1)
"""Fraction of the surface that a color word in a title must match: a single word, and one of several."""
_WORD_TOLERANCE: Final = (0.10, 0.04)
"""Differences of lightness, and of hue and chroma, within which it matches (OKLab)."""
_LUMINANCE: Final = np.array([0.2126, 0.7152, 0.0722])


def _axes(azimuth: float, elevation: float) -> Floats:
    """Right, up and back (rows) of a camera that looks at the origin from this direction, z up, degrees."""
    a, e = math.radians(azimuth), math.radians(elevation)
    back = np.array([math.cos(a) * math.cos(e), math.sin(a) * math.cos(e), math.sin(e)])
    right = np.array([-math.sin(a), math.cos(a), 0.0])
    return np.stack([right, np.cross(back, right), back])


VIEWS: Final[tuple[Floats, ...]] = (
    *(_axes(azimuth, 0) for azimuth in (0, 90, 180, 270)),
    *(_axes(azimuth, 35) for azimuth in (45, 135, 225, 315)),
    _axes(0, 90),
)
"""Four sides, whose outlines give the box; four corners and the top, as cameras in scenes see them."""


@dataclass(frozen=True)
class Portrait:
    """The arrays of `portray` (sources/blender/portrait.py): what each of `VIEWS` shows, object frame, meters."""

    color: NDArray[np.float32]
    glossy: NDArray[np.float32]
    through: NDArray[np.float32]
    roughness: NDArray[np.float32]
    coverage: NDArray[np.float32]
    depth: NDArray[np.float32]
    box: NDArray[np.float32]
    """(2, 3): low and high corner of the loaded geometry, object frame, meters."""
    size_m: tuple[float, float, float]

    @property
    def pixel(self) -> float:
        """Side of a pixel, meters."""
        return MARGIN * float(np.linalg.norm(self.size_m)) / self.depth.shape[-1]

    @property
    def center(self) -> Floats:
        return np.array([0.0, 0.0, self.size_m[2] / 2])

    @property
    def surface(self) -> NDArray[np.bool_]:
        """(V, H, W): pixels that the maps of a scene would count as surface."""
        return np.isfinite(self.depth)

    @property
    def srgb(self) -> Floats:
        """(V, H, W, 3), 0..1: the visible color, without the specular reflection that all surfaces have."""
        gloss = np.minimum(self.glossy, DIELECTRIC * self.coverage[..., None])
        bare = (self.color - gloss) / np.maximum(self.coverage, _FAINT)[..., None]
        # A light source keeps its hue.
        return to_srgb(bare.astype(np.float64) / np.maximum(bare.max(axis=-1, keepdims=True), 1.0))

    def points(self) -> Floats:
        """(N, 3) points of the visible surface, object frame."""
        half = self.depth.shape[-1] / 2
        found: list[Floats] = []
        for axes, depth in zip(VIEWS, self.depth, strict=True):
            rows, columns = np.nonzero(np.isfinite(depth))
            across = np.stack([columns + 0.5 - half, half - rows - 0.5], axis=1) * self.pixel
            back = -depth[rows, columns].astype(np.float64)[:, None]
            found.append(np.concatenate([across, back], axis=1) @ axes + self.center)
        return np.concatenate(found)

    def share(self, part: NDArray[np.float32]) -> float:
        """Fraction of the light that the surface reflects, transmits or emits."""
        seen = self.surface
        return float((part[seen] @ _LUMINANCE).sum() / max(float((self.color[seen] @ _LUMINANCE).sum()), 1e-9))


def with_seen_colors(surface: Surface, asset: Asset, portrait: Portrait) -> Surface:
    """The visible samples, rotated by `asset.axes`, each with the color in the view that it faces most."""
    rotation = np.reshape(asset.axes, (3, 3)).T
    surface = replace(surface, points=surface.points @ rotation, normals=surface.normals @ rotation)
    points = surface.points * asset.scale + asset.offset - portrait.center
    side = portrait.depth.shape[-1]
    colors, srgb = np.zeros((len(points), 3)), portrait.srgb
    best = np.zeros(len(points))
    for axes, depth, shown in zip(VIEWS, portrait.depth, srgb, strict=True):
        right, up, back = axes @ points.T / portrait.pixel
        columns = np.floor(right + side / 2).astype(np.intp).clip(0, side - 1)
        rows = np.floor(side / 2 - up).astype(np.intp).clip(0, side - 1)
        facing = np.abs(surface.normals @ axes[2]) + 1e-3
        with np.errstate(invalid="ignore"):
            seen = np.abs(depth[rows, columns] / portrait.pixel + back) < _NEAR
        better = seen & (facing > best)
        colors[better], best[better] = shown[rows, columns][better], facing[better]
    kept = best > 0
    return replace(
        surface,
        points=surface.points[kept],
        normals=surface.normals[kept],
        srgb=colors[kept],
        area=surface.area * float(kept.mean()),
    )


def visible_part(portrait: Portrait, asset: Asset) -> VisiblePart | None:
    """The visible part of the file; None if it fills the box of the asset."""
    points, slack = portrait.points(), _EDGE * portrait.pixel
    size = np.array(portrait.size_m)
    low, high = np.array([-size[0] / 2, -size[1] / 2, 0.0]), np.array([size[0] / 2, size[1] / 2, size[2]])
    first, last = points.min(axis=0) - portrait.pixel / 2, points.max(axis=0) + portrait.pixel / 2
    # A file that was cut before may end short of the cut.
    inner = np.maximum(np.where(first > low + slack, first, low), portrait.box[0])
    outer = np.minimum(np.where(last < high - slack, last, high), portrait.box[1])
    if np.abs([inner - low, outer - high]).max() < _SAME * size.max():
        return None
    first, last, points = (
        (part - asset.offset) @ np.reshape(asset.axes, (3, 3)) / asset.scale for part in (inner, outer, points)
    )
    return VisiblePart(np.minimum(first, last), np.maximum(first, last), points)


def sample_file(file: Path, visible: VisiblePart | None) -> tuple[Surface, Floats]:
    """The surface of a file, or of its visible part, and the corners (N, 3, 3) of the triangles.

    Raises `glb.GlbError`.
    """
    glb = open_glb(file)
    primitives = read_primitives(glb)
    shown = primitives if visible is None else [visible.crop(one) for one in primitives]
    return sample_surface(glb, shown), np.concatenate([one.positions[one.triangles] for one in shown])


@dataclass(frozen=True)
class PortraitModel:
    """The state of a worker."""

    renderer: Renderer
    files: ModelFiles


@dataclass(frozen=True)
class MeasureAppearance(Stage):
    """Looks at a surveyed model from nine sides. `Sample.spec` is that of the survey.

    Columns: `asset`, JSON of `Asset`, now with color and symmetry, and measured again if a part of the file cannot be
    seen; `identity`, JSON of `identity.Description`.

    Rejects: those of the survey, for the visible part; `nothing_to_see` (coverage); `mostly_transparent` (fraction of
    the visible part that counts as surface); `broken_asset`; `blender_timeout`; `blender_crash`.
    """

    layer: ClassVar[str] = "appearance"
    needs: ClassVar[tuple[str, ...]] = ("survey",)
    version: ClassVar[int] = 2
    own_pool: ClassVar[bool] = True
    faults: ClassVar[frozenset[str]] = frozenset({"blender_crash", "blender_timeout"})

    source: str = field(metadata={"fingerprint": False})
    """Kind of a `SceneSource`."""
    place: str = field(default="", metadata={"fingerprint": False})
    """See `SceneSource.place`."""
    licences: tuple[str, ...] = DEFAULT_LICENSES
    render: RenderOptions = field(default_factory=lambda: portrait_options(RenderOptions()))
    threads: int = field(default=0, metadata={"fingerprint": False})
    """Threads of Blender; 0: `cpus`, rounded up."""
    batch_size: int = field(default=1, metadata={"fingerprint": False})
    cpus: float = field(default=1.0, metadata={"fingerprint": False})
    gpus: float = field(default=0.0, metadata={"fingerprint": False})

    def setup(self) -> PortraitModel:
        """Find the models and prepare Blender, which starts with the first asset. Raises BadInput without models."""
        files = get_scene_source(self.source).models(self.place)
        return PortraitModel(Renderer(self.render, threads=self.threads or math.ceil(self.cpus)), files)

    def cpu_seconds(self, model: PortraitModel) -> float:
        return model.renderer.cpu_s

    def __call__(self, model: PortraitModel, samples: Sequence[Sample]) -> Sequence[Result]:
        return [self._measure(model, sample) for sample in samples]

    def _measure(self, booth: PortraitModel, sample: Sample) -> Result:
        asset = _ASSET.validate_json(str(sample["survey"]["asset"]))
        try:
            file = booth.files(asset.path)
            visible, portrait = None, take_portrait(booth.renderer, asset, file)
            for _ in range(_MAX_CUTS):
                if reject := _check_visibility(portrait):
                    return reject
                if (part := visible_part(portrait, asset)) is None:
                    break
                visible, cropped = part, self._survey(booth, sample, part)
                if isinstance(cropped, Reject):
                    return cropped
                asset, portrait = cropped, take_portrait(booth.renderer, cropped, file)
            samples, corners = sample_file(file, visible)
            content = content_of(file)
            surface = with_seen_colors(samples, asset, portrait)
            if asset.laid:
                flipped = self._survey(booth, sample, visible, flipped=True)
                if isinstance(flipped, Reject):
                    return flipped
                flipped_portrait = take_portrait(booth.renderer, flipped, file)
                flipped_surface = with_seen_colors(samples, flipped, flipped_portrait)
                if lies_face_down(surface, flipped_surface):
                    asset, portrait, surface = flipped, flipped_portrait, flipped_surface
        except AssetError as error:
            return Reject(error.reason, detail=str(error))
        except GlbError as error:
            return Reject(error.reason, detail=error.detail)
        except RenderTimeout as error:
            return Reject("blender_timeout", detail=f"asset {asset.uid}: {error}")
        except SceneError as error:
            return Reject("blender_crash", detail=f"asset {asset.uid}: {error}")
        if not len(surface.points):
            return Reject("nothing_to_see", 0.0, "none of its surface samples is visible")
        description = describe(content, corners, surface.srgb)
        columns = {"asset": _ASSET.dump_json(with_appearance(asset, surface, portrait)).decode()}
        return Row(columns | {"identity": json.dumps(asdict(description))})

    def _survey(
        self, booth: PortraitModel, sample: Sample, visible: VisiblePart | None, *, flipped: bool = False
    ) -> Asset | Reject:
        """Survey the visible part; `flipped`: laid on its other side."""
        result = SurveyAssets(self.source, licences=self.licences).survey(
            booth.files, sample.spec, visible, flipped=flipped
        )
        return result if isinstance(result, Reject) else _ASSET.validate_json(str(result.columns["asset"]))


def portrait_options(render: RenderOptions) -> RenderOptions:
    """Options for portraits: on the CPU, so that they are equal on all machines, with the Blender of `render`."""
    options = {"resolution": (SIDE, SIDE), "samples": 1, "denoise": False, "device": "cpu"}
    return render.model_copy(update=options)


def take_portrait(renderer: Renderer, asset: Asset, file: Path) -> Portrait:
    """Render the portrait of an asset. Raises `render.SceneError`."""
    return Portrait(**renderer.portray(asset, file, VIEWS, SIDE), size_m=asset.size_m)


def with_appearance(asset: Asset, surface: Surface, portrait: Portrait) -> Asset:
    """The asset with color, category and symmetry from its colored surface (file units, rotated by its axes)."""
    shown = surface.srgb[surface.normals[:, 2] > HIDDEN]
    shown = shown if len(shown) else surface.srgb
    center = -np.array(asset.offset[:2]) / asset.scale
    named = replace(asset, colour=color_of(shown, portrait))
    return replace(
        named,
        category=category_without_wrong_colors(named, shown),
        rotatable=not looks_round(asset.footprint, surface, center),
        symmetry=rotational_symmetry(surface, center),
    )


def color_of(shown: Floats, portrait: Portrait) -> str:
    """The name of the visible colors (N, 3); empty if the background shows through."""
    if float(portrait.coverage[portrait.surface].mean()) < _SOLID or portrait.share(portrait.through) > _THROUGH:
        return ""
    gloss = np.maximum(portrait.glossy - DIELECTRIC * portrait.coverage[..., None], 0)
    rough = float(portrait.roughness[portrait.surface].mean())
    return name_of_surface(shown, metal=portrait.share(gloss) > _METAL and rough < _ROUGH)


def category_without_wrong_colors(asset: Asset, shown: Floats) -> str:
    """The category without color words that repeat the asset's color, or that the visible colors (N, 3) contradict."""
    lab = to_oklab(shown)

    def drops(spoken: ColorRun) -> bool:
        needed = _MIN_WORD_SHARE[0] if len(spoken.colors) == 1 else _MIN_WORD_SHARE[1]
        shares = [float((distances(lab, names, *_WORD_TOLERANCE) <= 1).mean()) for names in spoken.colors]
        return bool(asset.colour) or spoken.motley or min(shares) < needed

    return without_colors(asset.category, drops)


def _check_visibility(portrait: Portrait) -> Reject | None:
    if float(portrait.coverage.max()) < _FAINT:
        return Reject("nothing_to_see", round(float(portrait.coverage.max()), 6), "all of its surface is transparent")
    share = float(portrait.surface.sum() / portrait.coverage.sum())
    if share < _MIN_SURFACE:
        return Reject("mostly_transparent", round(share, 6), "most of it is too transparent to count as surface")
    return None
