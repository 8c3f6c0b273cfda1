"""Which samples a benchmark set has: strata, presets, and a balanced choice.

Invariant: the choice depends on the samples, the preset, the count and the seed only. It uses integers and SHA-256, so
it is the same on every machine and does not depend on the order in which the samples are read.

**The choice.** Each kind of edit is chosen separately, and one sample after the other. For a sample s and a dimension d
(scene, distance, ...), let n_d(s) be how many chosen samples of the kind share its value, and m_d the number of values
that the candidates have. The next sample is the one with the least sum over d of m_d * n_d(s): with an even spread,
m_d * n_d is the number of chosen samples in every dimension, so no dimension outweighs another. Equal sums are decided
by SHA-256 of seed and key. The scene that a sample was rendered from is one more dimension, which all kinds share: many
edits of one scene are chosen only where there are no others.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, assert_never

import numpy as np
from numpy.typing import NDArray

from ..annotators.edits.registry import kind_of
from ..annotators.parser.parse import parse
from ..shards.codecs import decode_depth, decode_labels
from ..shards.interop.wording import view_name
from ..shards.reader import StoredSample
from ..shards.schema import EDIT_KINDS, EditKind, SampleRecord
from ..sources.scenes.rotations import VIEWS

NONE: Final = "none"
"""Value of a dimension that a sample does not have, such as the relation of a camera edit, or that is unknown."""
DEPTH_RATIO: Final = 1.3
"""Our choice: a scene whose farthest object is nearer than this times the depth of its nearest one has no layers."""
MIN_LAYER_SHARE: Final = 0.001
"""Smallest share of the frame of an object that counts for layers of depth."""
_MOVES: Final = (0.15, 0.35)
"""Bounds of small, medium and large moves: shift of the mask's center over the image's shorter side."""
_TURNS: Final = (45.0, 120.0)
"""Bounds of small, medium and large rotations of an object, in degrees."""
_FACTORS: Final = (1.3, 1.7)
"""Bounds of small, medium and large scalings: the factor, or one over it."""
_ORBITS: Final = (30.0, 90.0)
"""Bounds of small, medium and large camera edits: yaw and pitch together, in degrees."""
_VISIBLE: Final = (0.6, 0.9)
"""Bounds of heavy, partial and no occlusion: visible share of the edited object, in the view that shows less of it."""
_TOLERANCE_DEG: Final = 1.0
"""A camera angle below this is no rotation."""
_ZOOM_TOLERANCE: Final = 0.02


@dataclass(frozen=True)
class Candidate:
    """A sample that may be chosen."""

    key: str
    kind: EditKind
    family: str
    """Samples with one value share a scene."""
    strata: Mapping[str, str]


@dataclass(frozen=True)
class Preset:
    """What kind of set is chosen."""

    kinds: tuple[EditKind, ...]
    per_kind: int
    """Default number of samples of each kind."""
    dimensions: tuple[str, ...]
    """What is balanced, within each kind."""
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Dimensions of which all these values should occur equally often: what is missing is reported."""
    accepts: Callable[[SampleRecord, StoredSample], bool] = lambda record, sample: True
    needs: str = ""
    """What `accepts` asks for, for people."""
    members: tuple[str, ...] = ()
    """Members that `accepts` reads."""


@dataclass(frozen=True)
class Choice:
    chosen: tuple[Candidate, ...]
    """Sorted by key."""
    counts: Mapping[str, Mapping[str, int]]
    """Of each dimension, how many chosen samples have each value; `kind` is one of them."""
    missing: tuple[str, ...]
    """What the samples could not fill, a line each."""


_DIMENSIONS: Final = ("scene", "relation", "distance", "occlusion", "category")


def strata_of(record: SampleRecord, side: int) -> dict[str, str]:
    """The values of a sample in every dimension; `none` where it has none, or where it is unknown.

    Args:
        side: the shorter side of its images, in pixels.
    """
    edit = record.edit
    edited = next((item for item in record.objects if item.id == edit.object), None)
    return {
        "kind": edit.kind,
        "scene": record.scene or NONE,
        "relation": relation_of(record),
        "distance": _distance(record, side),
        "occlusion": _occlusion(record),
        "category": (edited.category if edited else "") or NONE,
        "view": view_name(edit.view) or NONE,
        "yaw": _signed_steps(edit.yaw_deg, "right", "left") if edit.kind == "camera" else NONE,
        "pitch": _signed(edit.pitch_deg, _TOLERANCE_DEG, "up", "down") if edit.kind == "camera" else NONE,
        "zoom": _signed(math.log(edit.zoom), _ZOOM_TOLERANCE, "in", "out") if edit.kind == "camera" else NONE,
    }


def relation_of(record: SampleRecord) -> str:
    """Where the instruction says that the object shall be: `behind`, `on`, `between`, ...; `none` if it does not."""
    if "relation" not in kind_of(record.edit.kind).claims:
        return NONE
    names = sorted({name for item in record.objects for name in (item.name, item.category)})
    claims = parse(record.instruction.text, names).claims
    if claims is None:
        return NONE
    return claims.relation if claims.relation != NONE else claims.support


def has_three_layers(record: SampleRecord, sample: StoredSample) -> bool:
    """Whether visible objects of the source are in the foreground, the midground and the background.

    Our reading of SpatialBench's scenes. Depths are the medians (camera z, in meters) of the objects that fill at least
    a thousandth of the frame. As where scenes are made (`sources.scenes.layout.layered`), the layers are the thirds of
    the range of depths. Each must have an object, and the farthest depth must be at least 1.3 times the nearest.
    """
    labels = decode_labels(sample.members["source_instances"])
    z = decode_depth(sample.members["source_metric"], record.maps.source_metric)
    depths: list[float] = []
    for item in record.objects:
        seen = z[(labels == item.id) & (z > 0)]
        if seen.size >= MIN_LAYER_SHARE * labels.size:
            depths.append(float(np.median(seen)))
    if len(depths) < 3 or max(depths) < DEPTH_RATIO * min(depths):
        return False
    low, high = min(depths), max(depths)
    return len({min(int(3 * (depth - low) / (high - low)), 2) for depth in depths}) == 3


PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        "balanced": Preset(EDIT_KINDS, 50, _DIMENSIONS),
        "spatialbench": Preset(
            ("translate",),
            100,
            _DIMENSIONS,
            accepts=has_three_layers,
            needs="objects in the foreground, the midground and the background",
            members=("source_instances", "source_metric"),
        ),
        "camera": Preset(
            ("camera",),
            100,
            ("yaw", "pitch", "zoom", "scene"),
            values={"pitch": ("up", NONE, "down"), "zoom": ("in", NONE, "out")},
            accepts=lambda record, sample: record.edit.known,
            needs="a known camera",
        ),
        "object-view": Preset(
            ("rotate",),
            80,
            ("view", "scene", "occlusion", "category"),
            values={"view": tuple(map(view_name, VIEWS))},
            accepts=lambda record, sample: record.edit.view in VIEWS,
            needs="one of the eight canonical views",
        ),
    }
)


def choose(candidates: Iterable[Candidate], preset: Preset, per_kind: int, seed: int) -> Choice:
    """Choose up to `per_kind` samples of each kind; the algorithm is in the module's text."""
    by_kind: dict[str, list[Candidate]] = {}
    for candidate in sorted(candidates, key=lambda each: _ticket(seed, each.key)):
        by_kind.setdefault(candidate.kind, []).append(candidate)
    families: Counter[str] = Counter()
    chosen: list[Candidate] = []
    missing: list[str] = []
    for kind in preset.kinds:
        found = _choose_kind(by_kind.get(kind, []), preset.dimensions, per_kind, families)
        families.update(each.family for each in found)
        chosen += found
        if len(found) < per_kind:
            missing.append(f"{kind}: asked {per_kind}, found {len(found)}")
    counts = {
        name: dict(sorted(Counter(each.strata[name] for each in chosen).items()))
        for name in ("kind", *preset.dimensions)
    }
    for name, values in preset.values.items():
        asked = per_kind // len(values)
        missing += [
            f"{name} {value}: asked {asked}, found {counts[name].get(value, 0)}"
            for value in values
            if counts[name].get(value, 0) < asked
        ]
    return Choice(tuple(sorted(chosen, key=lambda each: each.key)), counts, tuple(missing))


def _choose_kind(
    candidates: Sequence[Candidate], dimensions: Sequence[str], count: int, families: Mapping[str, int]
) -> list[Candidate]:
    """Candidates of one kind, already in the order that decides between equal ones."""
    columns = [_codes([each.strata[name] for each in candidates]) for name in dimensions]
    names = sorted({each.family for each in candidates})
    columns.append(_codes([each.family for each in candidates]))
    tallies: list[NDArray[np.int64]] = [np.zeros(int(codes.max(initial=-1)) + 1, np.int64) for codes in columns]
    tallies[-1][:] = [families.get(name, 0) for name in names]
    taken: list[int] = []
    free = np.ones(len(candidates), bool)
    for _ in range(min(count, len(candidates))):
        cost = sum(len(tally) * tally[codes] for codes, tally in zip(columns, tallies, strict=True))
        best = int(np.argmin(np.where(free, cost, np.iinfo(np.int64).max)))
        free[best] = False
        taken.append(best)
        for codes, tally in zip(columns, tallies, strict=True):
            tally[codes[best]] += 1
    return [candidates[index] for index in taken]


def _codes(values: Sequence[str]) -> NDArray[np.int64]:
    """For each value its place among the sorted different values."""
    places = {value: place for place, value in enumerate(sorted(set(values)))}
    return np.array([places[value] for value in values], np.int64)


def _ticket(seed: int, key: str) -> bytes:
    return hashlib.sha256(f"{seed} {key}".encode()).digest()


def _distance(record: SampleRecord, side: int) -> str:
    """How far the edit goes: small, medium or large."""
    edit, scores = record.edit, record.scores
    match edit.kind:
        case "translate" | "swap":
            return _step(scores.displacement_px / side, _MOVES) if scores.displacement_px >= 0 else NONE
        case "rotate":
            return _step(abs(edit.rotation_deg), _TURNS) if edit.known else NONE
        case "scale":
            return _step(max(edit.scale, 1 / edit.scale), _FACTORS) if edit.known else NONE
        case "camera":
            return _step(math.hypot(edit.yaw_deg, edit.pitch_deg), _ORBITS) if edit.known else NONE
        case "remove" | "insert":
            return NONE
        case _:
            assert_never(edit.kind)


def _occlusion(record: SampleRecord) -> str:
    measured = [
        share
        for share in (record.scores.visible_source, record.scores.visible_target)
        if record.edit.object and share > 0
    ]
    return ("heavy", "partial", "clear")[_place(min(measured), _VISIBLE)] if measured else NONE


def _step(value: float, bounds: tuple[float, float]) -> str:
    return ("small", "medium", "large")[_place(value, bounds)]


def _place(value: float, bounds: tuple[float, float]) -> int:
    return sum(value >= bound for bound in bounds)


def _signed(value: float, tolerance: float, above: str, below: str) -> str:
    return NONE if abs(value) < tolerance else above if value > 0 else below


def _signed_steps(degrees: float, above: str, below: str) -> str:
    side = _signed(degrees, _TOLERANCE_DEG, above, below)
    return side if side == NONE else f"{_step(abs(degrees), _ORBITS)} {side}"
