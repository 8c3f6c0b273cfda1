"""The asset survey: reads each model once and says what a scene must know of it, or why it cannot be used.

What it looks like is measured by `sources.objaverse.appearance`, on portraits.

Invariant: an asset's row depends on its file, its entry in the cache and this stage's thresholds, never on other
assets, so that the survey is cut, resumed and repeated like any other layer.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from pydantic import TypeAdapter

from ...shards.color_words import color_first
from ...shards.licenses import known
from ...shards.sample import Reject, Result, Row, Sample
from ...shards.stage import Stage
from ..assets.asset import Asset
from ..assets.glb import Floats, Glb, GlbError, open_glb
from ..assets.primitives import Primitive, count_triangles, first_frame_move, read_primitives
from ..assets.shape import fit, inner_walls
from ..assets.sizes import TYPICAL_EXTENT, Size, find_size
from ..assets.surface_samples import Surface, check_images, sample_surface, z_up
from ..assets.thin import THINNEST, lay_down, posture
from .cache import DEFAULT_LICENCES, normalise_licence, resolve_root

_ASSET: Final = TypeAdapter(Asset)
_ROOM_WORDS: Final = frozenset(
    re.findall(
        "[a-z]+",
        "room bedroom bathroom kitchen interior apartment house hall hallway corridor office museum gallery scene "
        "environment level dungeon classroom studio basement attic garage shop store restaurant cafe",
    )
)
_NO_NOUNS: Final = frozenset(("game", "map", "scale", "set", "small"))
"""Last words of things that say nothing behind a room word: `kitchen set`, `dungeon map`, `office game ready`."""
_NOUNS: Final = (frozenset(name.split()[-1] for name in TYPICAL_EXTENT) - _NO_NOUNS) | frozenset(
    re.findall(
        "[a-z]+",
        "basin bin bowl bureau chest cooker countertop cubicle display divider dispenser freezer heater holder hook "
        "kiosk light organizer partition radiator seat stand stapler tap tub unit wastebasket",
    )
)
_ASIDE: Final = re.compile(r"\b(?:with|in|of|for|from|on|at|by|inside)\b")
_APART: Final = re.compile(r"[^a-z\s_'-]+|\band\b|\s-\s")
_LARGEST_OBJECT: Final = 2.5
"""Metres. What is known to be smaller is no room, whatever its shape (a crate, a sink)."""
_STILL: Final = 0.02
"""An animation that starts within this of the resting pose (metres, quaternion parts, factors) does no harm."""


@dataclass(frozen=True)
class Seen:
    """What can be seen of a file: a box, and points on the seen surface (N, 3), of which some reach its sides. z up,
    file units."""

    low: Floats
    high: Floats
    points: Floats

    @property
    def slack(self) -> float:
        """What lies so close to a side lies on it."""
        return 2e-3 * float((self.high - self.low).max())

    def of(self, points: Floats) -> Floats:
        """Those of a file's points that lie in the box, and the seen ones."""
        inside = (points >= self.low - self.slack).all(axis=1) & (points <= self.high + self.slack).all(axis=1)
        return np.clip(np.concatenate([points[inside], self.points]), self.low, self.high)

    def part(self, primitive: Primitive) -> Primitive:
        """The triangles (y up) that reach into the box."""
        corners = z_up(primitive.positions)[primitive.triangles]
        low, high = self.low - self.slack, self.high + self.slack
        reach = ((corners.max(axis=1) > low) & (corners.min(axis=1) < high)).all(axis=1)
        return replace(primitive, triangles=primitive.triangles[reach])


@dataclass(frozen=True)
class SurveyAssets(Stage):
    """Measures one model of an Objaverse cache.

    `Sample.spec` is `cache.CacheEntry.spec()`. Column `asset`: JSON of `spec.Asset`, still without color and symmetry.

    Rejects, with their scores: `licence`; `missing_file`; `unreadable`; `too_large`; `no_geometry`;
    `too_many_triangles` (triangles); `degenerate` (smallest over largest extent); `extreme_aspect` (largest over
    smallest extent, of what is no thin kind of thing); `too_thin` (smallest extent, meters, of what is); `animated`
    (largest move of a node in its first frame); `missing_textures`; `untextured` (coloured share of the surface);
    `whole_room` (share of wall surface that faces in).
    """

    layer: ClassVar[str] = "survey"
    needs: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[int] = 6

    root: str = field(default="", metadata={"fingerprint": False})
    """Of the cache, as `cache.resolve_root` takes it."""
    licences: tuple[str, ...] = DEFAULT_LICENCES
    max_triangles: int = 300_000
    max_aspect: float = 12.0
    min_coloured: float = 0.02
    """Share of the surface that must have a texture or a colour of its own."""
    batch_size: int = field(default=1, metadata={"fingerprint": False})
    cpus: float = field(default=1.0, metadata={"fingerprint": False})
    gpus: float = field(default=0.0, metadata={"fingerprint": False})

    def setup(self) -> Path:
        """Find the cache.

        Raises:
            BadInput: there is no such folder.
        """
        return resolve_root(self.root)

    def __call__(self, model: Path, samples: Sequence[Sample]) -> Sequence[Result]:
        return [self.survey(model, sample.spec) for sample in samples]

    def survey(self, root: Path, entry: Mapping[str, Any], seen: Seen | None = None, *, over: bool = False) -> Result:
        """The row of one entry.

        Args:
            seen: what can be seen of the file, where that is not all of it.
            over: a thing that is laid down lies on its other side (`thin.lay_down`).
        """
        if known(entry["licence"]) not in {known(normalise_licence(licence)) for licence in self.licences}:
            return Reject("licence", detail=f"licence '{entry['licence']}', allowed: {', '.join(self.licences)}")
        if not entry["path"]:
            return Reject("missing_file", detail=f"uid {entry['uid']} is not in the cache's index")
        try:
            return self._measure(open_glb(root / entry["path"]), entry, seen, over)
        except GlbError as error:
            return Reject(error.reason, detail=error.detail)

    def _measure(self, glb: Glb, entry: Mapping[str, Any], seen: Seen | None, over: bool) -> Result:
        triangles = count_triangles(glb)
        if triangles == 0:
            return Reject("no_geometry", 0, "the default scene holds no triangle")
        if triangles > self.max_triangles:
            return Reject("too_many_triangles", triangles, f"{triangles} triangles, at most {self.max_triangles}")
        check_images(glb)
        moves = first_frame_move(glb)
        if moves > _STILL:
            return Reject("animated", round(moves, 6), "its first animation starts elsewhere than the model rests")
        primitives = read_primitives(glb)
        points = _points(primitives) if seen is None else seen.of(_points(primitives))
        extent = np.ptp(points, axis=0) if np.isfinite(points).all() else np.full(3, np.nan)
        if refused := _degenerate(extent):
            return refused
        category = color_first(str(entry["category"])) or category_from_name(str(entry["name"]))
        size = find_size(extent.tolist(), category, entry.get("size_m"))
        if refused := self._refuse_thin(extent, category, size.scale):
            return refused
        surface = sample_surface(glb, primitives if seen is None else [seen.part(one) for one in primitives])
        if refused := self._refuse_looks(surface, str(entry["name"]), category, float(extent.max()), size):
            return refused
        axes = lay_down(category, extent, over=over)
        asset = _asset(entry, category, points @ axes.T, size.scale, triangles)
        asset = replace(asset, axes=tuple(axes.ravel().tolist()), size_note=size.note, cut=seen is not None)
        return Row({"asset": _ASSET.dump_json(asset).decode()})

    def _refuse_thin(self, extent: Floats, category: str, scale: float) -> Reject | None:
        largest, smallest = float(extent.max()), float(extent.min())
        if largest <= self.max_aspect * smallest:
            return None
        shown = f"{category or 'a thing of unknown category'}, {' x '.join(f'{side * scale:.3g}' for side in extent)} m"
        if not posture(category):
            return Reject("extreme_aspect", round(largest / smallest, 6), f"{shown}: no thin kind of thing")
        if smallest * scale < THINNEST:
            return Reject("too_thin", round(smallest * scale, 6), f"{shown}: thinner than {THINNEST:g} m")
        return None

    def _refuse_looks(self, surface: Surface, name: str, category: str, extent: float, size: Size) -> Reject | None:
        if surface.coloured < self.min_coloured:
            share = round(surface.coloured, 6)
            return Reject("untextured", share, "no texture, and no colour but white or a default grey")
        if size.known and extent * size.scale < _LARGEST_OBJECT:
            return None
        walls, inward = inner_walls(surface)
        called = names_room(name) or names_room(category)
        if (walls >= 3 and inward > 0.75) or (walls >= 2 and called):
            return Reject("whole_room", round(inward, 6), f"{walls} walls seen from inside and a floor")
        return None


def _degenerate(extent: Floats) -> Reject | None:
    largest, smallest = float(extent.max()), float(extent.min())
    if np.isfinite(largest) and largest > 0 and smallest > 1e-5 * largest:
        return None
    shown = " x ".join(f"{value:.4g}" for value in extent)
    return Reject("degenerate", -1.0 if not largest > 0 else smallest / largest, f"extent {shown} file units")


def names_room(text: str) -> bool:
    """Whether a title or category calls the whole a room: `cosy bedroom`, `kitchen with table`.

    A room word before a known noun says of what kind the thing is (`office bookshelf`), and what follows a preposition
    says where it is (`bench in a museum`).
    """
    for phrase in _APART.split(_ASIDE.split(text.lower())[0]):
        words = re.findall("[a-z]+", phrase)
        nouns = [at for at, word in enumerate(words) if word in _NOUNS or word.removesuffix("s") in _NOUNS]
        if any(word in _ROOM_WORDS and not any(noun > at for noun in nouns) for at, word in enumerate(words)):
            return True
    return False


def category_from_name(name: str) -> str:
    """A category read from a title, where the title is plain words that end in a known noun; else empty."""
    words = name.lower().split()
    if 1 <= len(words) <= 3 and all(word.isalpha() and word.isascii() for word in words):
        plain = " ".join(words)
        if plain in TYPICAL_EXTENT or words[-1] in TYPICAL_EXTENT:
            return plain
    return ""


def _points(primitives: Sequence[Primitive]) -> Floats:
    """(N, 3), z up: the vertices that some triangle uses."""
    used: list[Floats] = []
    for primitive in (primitive for primitive in primitives if len(primitive.triangles)):
        mask = np.zeros(len(primitive.positions), np.bool_)
        mask[primitive.triangles] = True
        used.append(primitive.positions[mask])
    if not used:
        raise GlbError("no_geometry", "the default scene holds no triangle")
    return z_up(np.concatenate(used))


def _asset(entry: Mapping[str, Any], category: str, points: Floats, scale: float, triangles: int) -> Asset:
    try:
        stands = fit(points, scale)
    except ValueError as error:
        raise GlbError("degenerate", str(error)) from None
    return Asset(
        uid=entry["uid"],
        path=entry["path"],
        category=category,
        colour="",
        licence=entry["licence"],
        creator=entry["creator"],
        scale=stands.scale,
        offset=stands.offset,
        size_m=stands.size_m,
        footprint=stands.footprint,
        triangles=triangles,
        contact=stands.contact,
    )
