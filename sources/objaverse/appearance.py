"""What a model looks like, measured on portraits: its color, and how much of the file can be seen at all.

Invariant: what is said of an asset's looks is what the renderer shows of it, with the loader and the materials of the
scenes. Surfaces that are hidden, turned away or transparent have no color, no size and no say.
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

from ...shards.color_words import Spoken, without_colors
from ...shards.colors import Floats, distances, name_of_surface, to_oklab, to_srgb
from ...shards.sample import Reject, Result, Row, Sample
from ...shards.stage import Stage
from ..assets.asset import Asset
from ..assets.glb import GlbError, open_glb
from ..assets.identity import content_of, describe
from ..assets.primitives import read_primitives
from ..assets.shape import HIDDEN, rotational_symmetry, turns_unseen
from ..assets.surface_samples import Surface, sample_surface
from ..assets.thin import lies_face_down
from ..blender.render import AssetError, Renderer, RenderTimeout, SceneError
from ..scenes.spec import RenderOptions
from .cache import DEFAULT_LICENCES, resolve_root
from .survey import Seen, SurveyAssets

SIDE: Final = 64
"""Pixels of a view's side."""
MARGIN: Final = 1.04
"""Width of a view over the diagonal of the asset's box; as in `blender_portrait`."""
DIELECTRIC: Final = 0.04
"""What every surface reflects like a mirror, whatever its color: no part of the color."""
_ASSET: Final = TypeAdapter(Asset)
_NEAR: Final = 2.5
"""Pixels by which a sample may lie behind the seen surface and still bear its color."""
_EDGE: Final = 1.5
"""Pixels by which the seen box may differ from the file's."""
_CUTS: Final = 3
"""Portraits that are taken anew where not all can be seen: each shows the edges of what is seen more closely."""
_SAME: Final = 0.005
"""Of the largest side: what two boxes may differ by."""
_FAINT: Final = 0.02
"""Coverage below which nobody sees anything."""
_LEAST_SURFACE: Final = 0.6
"""Share of what is seen that must count as surface in the maps; the rest is see-through."""
_SOLID: Final = 0.85
"""Mean coverage from which a surface's own color is what is seen."""
_THROUGH: Final = 0.3
"""Share of light let through above which what stands behind gives the color."""
_METAL: Final = 0.5
"""Share of gloss of its own color from which a thing is a metal, and the roughness below which it looks like one."""
_ROUGH: Final = 0.55
_SAID: Final = (0.3, 0.1)
"""Share of the surface that a word of color in a title must fit: alone, and as one of several."""
_WORD: Final = (0.10, 0.04)
"""Differences of lightness, and of hue and chroma, within which it fits (OKLab)."""
_LUMINANCE: Final = np.array([0.2126, 0.7152, 0.0722])


def _axes(azimuth: float, elevation: float) -> Floats:
    """Right, up and back (rows) of a camera that looks at the origin from there, z up, degrees."""
    a, e = math.radians(azimuth), math.radians(elevation)
    back = np.array([math.cos(a) * math.cos(e), math.sin(a) * math.cos(e), math.sin(e)])
    right = np.array([-math.sin(a), math.cos(a), 0.0])
    return np.stack([right, np.cross(back, right), back])


VIEWS: Final[tuple[Floats, ...]] = (
    *(_axes(azimuth, 0) for azimuth in (0, 90, 180, 270)),
    *(_axes(azimuth, 35) for azimuth in (45, 135, 225, 315)),
    _axes(0, 90),
)
"""Four sides, whose outlines give the box; four corners and the top, as the cameras of scenes see them."""


@dataclass(frozen=True)
class Portrait:
    """The arrays of `blender_portrait.portray`: of each of `VIEWS` what is seen, object frame, meters."""

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
        """Meters."""
        return MARGIN * float(np.linalg.norm(self.size_m)) / self.depth.shape[-1]

    @property
    def middle(self) -> Floats:
        return np.array([0.0, 0.0, self.size_m[2] / 2])

    @property
    def surface(self) -> NDArray[np.bool_]:
        """(V, H, W): pixels that the maps of a scene would count as surface."""
        return np.isfinite(self.depth)

    @property
    def srgb(self) -> Floats:
        """(V, H, W, 3), 0..1: the color of what is seen, without the gloss that all surfaces have."""
        gloss = np.minimum(self.glossy, DIELECTRIC * self.coverage[..., None])
        bare = (self.color - gloss) / np.maximum(self.coverage, _FAINT)[..., None]
        # What shines keeps its hue.
        return to_srgb(bare.astype(np.float64) / np.maximum(bare.max(axis=-1, keepdims=True), 1.0))

    def points(self) -> Floats:
        """(N, 3) of the seen surface, object frame."""
        half = self.depth.shape[-1] / 2
        found: list[Floats] = []
        for axes, depth in zip(VIEWS, self.depth, strict=True):
            rows, columns = np.nonzero(np.isfinite(depth))
            across = np.stack([columns + 0.5 - half, half - rows - 0.5], axis=1) * self.pixel
            back = -depth[rows, columns].astype(np.float64)[:, None]
            found.append(np.concatenate([across, back], axis=1) @ axes + self.middle)
        return np.concatenate(found)

    def share(self, part: NDArray[np.float32]) -> float:
        """Of the light that the surface sends back or out."""
        seen = self.surface
        return float((part[seen] @ _LUMINANCE).sum() / max(float((self.color[seen] @ _LUMINANCE).sum()), 1e-9))


def painted(surface: Surface, asset: Asset, portrait: Portrait) -> Surface:
    """The samples that some view shows, each in the color of the view that it faces most; turned by `asset.axes`."""
    turn = np.reshape(asset.axes, (3, 3)).T
    surface = replace(surface, points=surface.points @ turn, normals=surface.normals @ turn)
    points = surface.points * asset.scale + asset.offset - portrait.middle
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


def seen_part(portrait: Portrait, asset: Asset) -> Seen | None:
    """What is seen of the file, where it does not fill the asset's box."""
    points, slack = portrait.points(), _EDGE * portrait.pixel
    size = np.array(portrait.size_m)
    low, high = np.array([-size[0] / 2, -size[1] / 2, 0.0]), np.array([size[0] / 2, size[1] / 2, size[2]])
    first, last = points.min(axis=0) - portrait.pixel / 2, points.max(axis=0) + portrait.pixel / 2
    # What is left of a file that was cut before may end short of the cut.
    inner = np.maximum(np.where(first > low + slack, first, low), portrait.box[0])
    outer = np.minimum(np.where(last < high - slack, last, high), portrait.box[1])
    if np.abs([inner - low, outer - high]).max() < _SAME * size.max():
        return None
    one, other, seen = (
        (part - asset.offset) @ np.reshape(asset.axes, (3, 3)) / asset.scale for part in (inner, outer, points)
    )
    return Seen(np.minimum(one, other), np.maximum(one, other), seen)


def sampled(file: Path, seen: Seen | None) -> tuple[Surface, Floats]:
    """The surface of a file, of what is seen of it alone, and the corners (N, 3, 3) of its triangles.

    Raises `glb.GlbError`.
    """
    glb = open_glb(file)
    primitives = read_primitives(glb)
    shown = primitives if seen is None else [seen.part(one) for one in primitives]
    return sample_surface(glb, shown), np.concatenate([one.positions[one.triangles] for one in shown])


@dataclass(frozen=True)
class Booth:
    """What a worker holds."""

    renderer: Renderer
    root: Path


@dataclass(frozen=True)
class MeasureAppearance(Stage):
    """Looks at a surveyed model from nine sides. `Sample.spec` is `cache.CacheEntry.spec()`.

    Columns: `asset`, JSON of `spec.Asset`, with its color, symmetry and, where a part of the file cannot be seen, its
    size anew; `identity`, JSON of `identity.Description`.

    Rejects: those of the survey, for what is left where a part cannot be seen; `nothing_to_see` (coverage);
    `mostly_transparent` (share of what is seen that counts as surface); `broken_asset`; `blender_timeout`;
    `blender_crash`.
    """

    layer: ClassVar[str] = "appearance"
    needs: ClassVar[tuple[str, ...]] = ("survey",)
    version: ClassVar[int] = 2
    own_pool: ClassVar[bool] = True
    faults: ClassVar[frozenset[str]] = frozenset({"blender_crash", "blender_timeout"})

    root: str = field(default="", metadata={"fingerprint": False})
    licences: tuple[str, ...] = DEFAULT_LICENCES
    render: RenderOptions = field(default_factory=lambda: portrait_options(RenderOptions()))
    threads: int = field(default=0, metadata={"fingerprint": False})
    """Threads of Blender; 0: as many as `cpus`, rounded up."""
    batch_size: int = field(default=1, metadata={"fingerprint": False})
    cpus: float = field(default=1.0, metadata={"fingerprint": False})
    gpus: float = field(default=0.0, metadata={"fingerprint": False})

    def setup(self) -> Booth:
        """Find the cache and prepare Blender, which starts with the first asset. Raises BadInput: no such folder."""
        return Booth(Renderer(self.render, threads=self.threads or math.ceil(self.cpus)), resolve_root(self.root))

    def cpu_seconds(self, model: Booth) -> float:
        return model.renderer.cpu_s

    def __call__(self, model: Booth, samples: Sequence[Sample]) -> Sequence[Result]:
        return [self._measure(model, sample) for sample in samples]

    def _measure(self, booth: Booth, sample: Sample) -> Result:
        asset = _ASSET.validate_json(str(sample["survey"]["asset"]))
        file = booth.root / asset.path
        try:
            seen, portrait = None, take_portrait(booth.renderer, asset, file)
            for _ in range(_CUTS):
                if refused := _refuse(portrait):
                    return refused
                if (part := seen_part(portrait, asset)) is None:
                    break
                seen, anew = part, self._survey(booth, sample, part)
                if isinstance(anew, Reject):
                    return anew
                asset, portrait = anew, take_portrait(booth.renderer, anew, file)
            samples, corners = sampled(file, seen)
            surface = painted(samples, asset, portrait)
            if asset.laid:
                anew = self._survey(booth, sample, seen, over=True)
                if isinstance(anew, Reject):
                    return anew
                over = take_portrait(booth.renderer, anew, file)
                if lies_face_down(surface, turned := painted(samples, anew, over)):
                    asset, portrait, surface = anew, over, turned
        except AssetError as error:
            return Reject(error.reason, detail=str(error))
        except GlbError as error:
            return Reject(error.reason, detail=error.detail)
        except RenderTimeout as error:
            return Reject("blender_timeout", detail=f"asset {asset.uid}: {error}")
        except SceneError as error:
            return Reject("blender_crash", detail=f"asset {asset.uid}: {error}")
        if not len(surface.points):
            return Reject("nothing_to_see", 0.0, "none of its surfaces is what is seen")
        description = describe(content_of(file), corners, surface.srgb)
        columns = {"asset": _ASSET.dump_json(described(asset, surface, portrait)).decode()}
        return Row(columns | {"identity": json.dumps(asdict(description))})

    def _survey(self, booth: Booth, sample: Sample, seen: Seen | None, *, over: bool = False) -> Asset | Reject:
        """Of what is seen; `over`: laid on its other side."""
        result = SurveyAssets(licences=self.licences).survey(booth.root, sample.spec, seen, over=over)
        return result if isinstance(result, Reject) else _ASSET.validate_json(str(result.columns["asset"]))


def portrait_options(render: RenderOptions) -> RenderOptions:
    """How portraits are taken: on the CPU, so that all machines see the same; with the Blender of `render`."""
    options = {"resolution": (SIDE, SIDE), "samples": 1, "denoise": False, "device": "cpu"}
    return render.model_copy(update=options)


def take_portrait(renderer: Renderer, asset: Asset, file: Path) -> Portrait:
    """Raises `render.SceneError`."""
    return Portrait(**renderer.portray(asset, file, VIEWS, SIDE), size_m=asset.size_m)


def described(asset: Asset, surface: Surface, portrait: Portrait) -> Asset:
    """The asset with what its painted surface (file units, turned by its axes) tells: color, category, symmetry."""
    shown = surface.srgb[surface.normals[:, 2] > HIDDEN]
    shown = shown if len(shown) else surface.srgb
    centre = -np.array(asset.offset[:2]) / asset.scale
    named = replace(asset, colour=color_of(shown, portrait))
    return replace(
        named,
        category=told(named, shown),
        rotatable=not turns_unseen(asset.footprint, surface, centre),
        symmetry=rotational_symmetry(surface, centre),
    )


def color_of(shown: Floats, portrait: Portrait) -> str:
    """The name of what is seen (N, 3), or none where what stands behind shows through."""
    if float(portrait.coverage[portrait.surface].mean()) < _SOLID or portrait.share(portrait.through) > _THROUGH:
        return ""
    gloss = np.maximum(portrait.glossy - DIELECTRIC * portrait.coverage[..., None], 0)
    rough = float(portrait.roughness[portrait.surface].mean())
    return name_of_surface(shown, metal=portrait.share(gloss) > _METAL and rough < _ROUGH)


def told(asset: Asset, shown: Floats) -> str:
    """The category without words of color that its color says better, or that what is seen (N, 3) contradicts."""
    lab = to_oklab(shown)

    def drops(spoken: Spoken) -> bool:
        least = _SAID[0] if len(spoken.colors) == 1 else _SAID[1]
        shares = [float((distances(lab, names, *_WORD) <= 1).mean()) for names in spoken.colors]
        return bool(asset.colour) or spoken.motley or min(shares) < least

    return without_colors(asset.category, drops)


def _refuse(portrait: Portrait) -> Reject | None:
    if float(portrait.coverage.max()) < _FAINT:
        return Reject("nothing_to_see", round(float(portrait.coverage.max()), 6), "all of it is transparent")
    share = float(portrait.surface.sum() / portrait.coverage.sum())
    if share < _LEAST_SURFACE:
        return Reject("mostly_transparent", round(share, 6), "most of it is less opaque than surface")
    return None
