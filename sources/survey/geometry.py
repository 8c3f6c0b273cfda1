"""The asset survey: reads each model once and measures what scenes need, or rejects the model.

Its appearance is measured by `sources.survey.appearance`, on portraits.

Invariant: the row of an asset depends on its file, its entry in the source and the thresholds of this stage, never on
other assets. So the survey can be divided into units, resumed and repeated like any other layer.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final

import numpy as np
from pydantic import TypeAdapter

from ...shards.color_words import color_first
from ...shards.licenses import to_license_name
from ...shards.sample import Reject, Result, Row, Sample
from ...shards.stage import Stage
from ..assets.asset import Asset
from ..assets.glb import Floats, Glb, GlbError, open_glb
from ..assets.primitives import Primitive, count_triangles, first_frame_move, read_primitives
from ..assets.shape import fit, inner_walls
from ..assets.sizes import TYPICAL_EXTENT, Size, find_size
from ..assets.surface_samples import Surface, check_images, sample_surface, z_up
from ..assets.thin import THINNEST, lay_down, posture
from ..registry import get_scene_source
from ..source import ModelFiles
from .licenses import DEFAULT_LICENSES, normalize_license

_ASSET: Final = TypeAdapter(Asset)
_ROOM_WORDS: Final = frozenset(
    re.findall(
        "[a-z]+",
        "room bedroom bathroom kitchen interior apartment house hall hallway corridor office museum gallery scene "
        "environment level dungeon classroom studio basement attic garage shop store restaurant cafe",
    )
)
_AMBIGUOUS_NOUNS: Final = frozenset(("game", "map", "scale", "set", "small"))
"""Nouns that can follow a room word without naming an object: `kitchen set`, `dungeon map`, `office game ready`."""
_NOUNS: Final = (frozenset(name.split()[-1] for name in TYPICAL_EXTENT) - _AMBIGUOUS_NOUNS) | frozenset(
    re.findall(
        "[a-z]+",
        "basin bin bowl bureau chest cooker countertop cubicle display divider dispenser freezer heater holder hook "
        "kiosk light organizer partition radiator seat stand stapler tap tub unit wastebasket",
    )
)
_PREPOSITION: Final = re.compile(r"\b(?:with|in|of|for|from|on|at|by|inside)\b")
_SEPARATOR: Final = re.compile(r"[^a-z\s_'-]+|\band\b|\s-\s")
_LARGEST_OBJECT: Final = 2.5
"""Meters. A model that is known to be smaller is not a room, whatever its shape (a crate, a sink)."""
_MAX_MOVE: Final = 0.02
"""An animation whose first frame differs from the rest pose by at most this is ignored: meters, components of a
quaternion, factors."""


@dataclass(frozen=True)
class VisiblePart:
    """The visible part of a file: a box, and points (N, 3) on the visible surface, some of which reach the sides of the
    box. z up, file units."""

    low: Floats
    high: Floats
    points: Floats

    @property
    def slack(self) -> float:
        """Points so close to a side of the box are on it."""
        return 2e-3 * float((self.high - self.low).max())

    def clip(self, points: Floats) -> Floats:
        """The points of a file that are in the box, and the visible points."""
        inside = (points >= self.low - self.slack).all(axis=1) & (points <= self.high + self.slack).all(axis=1)
        return np.clip(np.concatenate([points[inside], self.points]), self.low, self.high)

    def crop(self, primitive: Primitive) -> Primitive:
        """The primitive (y up) with only the triangles that intersect the box."""
        corners = z_up(primitive.positions)[primitive.triangles]
        low, high = self.low - self.slack, self.high + self.slack
        reach = ((corners.max(axis=1) > low) & (corners.min(axis=1) < high)).all(axis=1)
        return replace(primitive, triangles=primitive.triangles[reach])


@dataclass(frozen=True)
class SurveyAssets(Stage):
    """Measures one model of a source.

    `Sample.spec` is what the source knows of the model: `uid`, `path`, `licence`, `creator`, `name` and
    `category`, as in `objaverse.cache.CacheEntry`, and optionally `size_m` and `guess_unit` (`sizes.find_size`), and
    `unnamed`: why a model without a name cannot be used.

    Column `asset`: JSON of `Asset`, still without color and symmetry.

    Rejects, with their scores: `licence`; `unnamed`; `missing_file`; `unreadable`; `too_large`; `no_geometry`;
    `too_many_triangles` (triangles); `degenerate` (smallest over largest extent); `extreme_aspect` (largest over
    smallest extent, of a category that is not thin by nature); `too_thin` (smallest extent, meters, of one that is);
    `animated` (largest move of a node in its first frame); `missing_textures`; `untextured` (colored fraction of the
    surface); `whole_room` (fraction of wall surface that faces inward).
    """

    layer: ClassVar[str] = "survey"
    needs: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[int] = 6

    source: str = field(metadata={"fingerprint": False})
    """Kind of a `SceneSource`."""
    place: str = field(default="", metadata={"fingerprint": False})
    """See `SceneSource.place`."""
    licences: tuple[str, ...] = DEFAULT_LICENSES
    max_triangles: int = 300_000
    max_aspect: float = 12.0
    min_coloured: float = 0.02
    """Fraction of the surface that must have a texture or a color of its own."""
    batch_size: int = field(default=1, metadata={"fingerprint": False})
    cpus: float = field(default=1.0, metadata={"fingerprint": False})
    gpus: float = field(default=0.0, metadata={"fingerprint": False})

    def setup(self) -> ModelFiles:
        """Find the models. Raises BadInput on a node that does not have them."""
        return get_scene_source(self.source).models(self.place)

    def __call__(self, model: ModelFiles, samples: Sequence[Sample]) -> Sequence[Result]:
        return [self.survey(model, sample.spec) for sample in samples]

    def survey(
        self, files: ModelFiles, entry: Mapping[str, Any], visible: VisiblePart | None = None, *, flipped: bool = False
    ) -> Result:
        """Survey one entry.

        Args:
            visible: the visible part of the file, if some of it cannot be seen.
            flipped: lay a thin object on its other side (`thin.lay_down`).
        """
        if to_license_name(entry["licence"]) not in {
            to_license_name(normalize_license(license)) for license in self.licences
        }:
            return Reject("licence", detail=f"license '{entry['licence']}'; allowed: {', '.join(self.licences)}")
        if entry.get("unnamed"):
            return Reject("unnamed", detail=entry["unnamed"])
        if not entry["path"]:
            return Reject("missing_file", detail=f"uid {entry['uid']} is not in the cache's index")
        try:
            return self._measure(open_glb(files(entry["path"])), entry, visible, flipped)
        except GlbError as error:
            return Reject(error.reason, detail=error.detail)

    def _measure(self, glb: Glb, entry: Mapping[str, Any], visible: VisiblePart | None, flipped: bool) -> Result:
        triangles = count_triangles(glb)
        if triangles == 0:
            return Reject("no_geometry", 0, "the default scene contains no triangles")
        if triangles > self.max_triangles:
            return Reject("too_many_triangles", triangles, f"{triangles} triangles; at most {self.max_triangles}")
        check_images(glb)
        moves = first_frame_move(glb)
        if moves > _MAX_MOVE:
            return Reject("animated", round(moves, 6), "the first frame of its animation differs from its rest pose")
        primitives = read_primitives(glb)
        points = _points(primitives) if visible is None else visible.clip(_points(primitives))
        extent = np.ptp(points, axis=0) if np.isfinite(points).all() else np.full(3, np.nan)
        if rejected := _check_extent(extent):
            return rejected
        category = color_first(str(entry["category"])) or category_from_name(str(entry["name"]))
        size = find_size(extent.tolist(), category, entry.get("size_m"), guess_unit=bool(entry.get("guess_unit")))
        if rejected := self._check_thickness(extent, category, size.scale):
            return rejected
        surface = sample_surface(glb, primitives if visible is None else [visible.crop(one) for one in primitives])
        if rejected := self._check_appearance(surface, str(entry["name"]), category, float(extent.max()), size):
            return rejected
        axes = lay_down(category, extent, flipped=flipped)
        asset = _asset(entry, category, points @ axes.T, size.scale, triangles)
        asset = replace(asset, axes=tuple(axes.ravel().tolist()), size_note=size.note, cut=visible is not None)
        return Row({"asset": _ASSET.dump_json(asset).decode()})

    def _check_thickness(self, extent: Floats, category: str, scale: float) -> Reject | None:
        largest, smallest = float(extent.max()), float(extent.min())
        if largest <= self.max_aspect * smallest:
            return None
        shown = f"{category or 'unknown category'}, {' x '.join(f'{side * scale:.3g}' for side in extent)} m"
        if not posture(category):
            return Reject("extreme_aspect", round(largest / smallest, 6), f"{shown}: not a category of thin objects")
        if smallest * scale < THINNEST:
            return Reject("too_thin", round(smallest * scale, 6), f"{shown}: thinner than {THINNEST:g} m")
        return None

    def _check_appearance(self, surface: Surface, name: str, category: str, extent: float, size: Size) -> Reject | None:
        if surface.colored < self.min_coloured:
            share = round(surface.colored, 6)
            return Reject("untextured", share, "no texture, and no color except white or a default gray")
        if size.known and extent * size.scale < _LARGEST_OBJECT:
            return None
        walls, inward = inner_walls(surface)
        called = names_room(name) or names_room(category)
        if (walls >= 3 and inward > 0.75) or (walls >= 2 and called):
            return Reject("whole_room", round(inward, 6), f"{walls} walls seen from inside, and a floor")
        return None


def _check_extent(extent: Floats) -> Reject | None:
    largest, smallest = float(extent.max()), float(extent.min())
    if np.isfinite(largest) and largest > 0 and smallest > 1e-5 * largest:
        return None
    shown = " x ".join(f"{value:.4g}" for value in extent)
    return Reject("degenerate", -1.0 if not largest > 0 else smallest / largest, f"extent {shown} file units")


def names_room(text: str) -> bool:
    """Whether a title or category describes a room, such as `cosy bedroom` or `kitchen with table`.

    A room word before a known noun only qualifies the object (`office bookshelf`), and a room word after a preposition
    only says where it is (`bench in a museum`).
    """
    for phrase in _SEPARATOR.split(_PREPOSITION.split(text.lower())[0]):
        words = re.findall("[a-z]+", phrase)
        nouns = [at for at, word in enumerate(words) if word in _NOUNS or word.removesuffix("s") in _NOUNS]
        if any(word in _ROOM_WORDS and not any(noun > at for noun in nouns) for at, word in enumerate(words)):
            return True
    return False


def category_from_name(name: str) -> str:
    """Category from a title, if the title consists of plain words and ends in a known noun; else empty."""
    words = name.lower().split()
    if 1 <= len(words) <= 3 and all(word.isalpha() and word.isascii() for word in words):
        plain = " ".join(words)
        if plain in TYPICAL_EXTENT or words[-1] in TYPICAL_EXTENT:
            return plain
    return ""


def _points(primitives: Sequence[Primitive]) -> Floats:
    """(N, 3), z up: the vertices that are used by triangles."""
    used: list[Floats] = []
    for primitive in (primitive for primitive in primitives if len(primitive.triangles)):
        mask = np.zeros(len(primitive.positions), np.bool_)
        mask[primitive.triangles] = True
        used.append(primitive.positions[mask])
    if not used:
        raise GlbError("no_geometry", "the default scene contains no triangles")
    return z_up(np.concatenate(used))


def _asset(entry: Mapping[str, Any], category: str, points: Floats, scale: float, triangles: int) -> Asset:
    try:
        placed = fit(points, scale)
    except ValueError as error:
        raise GlbError("degenerate", str(error)) from None
    return Asset(
        uid=entry["uid"],
        path=entry["path"],
        category=category,
        colour="",
        licence=entry["licence"],
        creator=entry["creator"],
        scale=placed.scale,
        offset=placed.offset,
        size_m=placed.size_m,
        footprint=placed.footprint,
        triangles=triangles,
        contact=placed.contact,
    )
