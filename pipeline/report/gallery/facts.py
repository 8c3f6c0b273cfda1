"""The facts of each sample for the charts of a dataset, taken from its record; no pixel is read.

Invariant: an unknown value is None, never a number. A measure that does not apply to a kind of edit is absent, so that
it is not counted as unknown.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from ....shards.colors import PALETTE
from ....sources.edits.registry import RULES
from ....sources.scenes.naming import CONFUSABLE

NO_COLOR: Final = ""
"""The edited object has no single color, or its color is not known."""
NO_DEPTH: Final = "no depth"
_NAMED: Final = sorted({*PALETTE, *(name for pair in CONFUSABLE for name in pair)}, key=len, reverse=True)
_COLOR: Final = re.compile(rf"\b({'|'.join(_NAMED)})\b")


class Facts(NamedTuple):
    """One sample."""

    kind: str
    category: str | None
    """Of the (first) edited object, empty if it has none; None if no object is edited."""
    color: str
    depth: str
    """Estimators of its depth maps: `depth renderer, metric renderer`, or NO_DEPTH."""
    values: Mapping[str, float | None]
    """The measures that apply, by `measures.Measure.name`."""
    scene: str = ""
    """Kind of the scene; empty in sets of open scenes only."""
    support: str = ""
    """What the (first) edited object stands on, as `supports_text` says it."""


def facts_of(
    edit: Mapping[str, Any],
    objects: Sequence[Mapping[str, Any]],
    maps: Mapping[str, Mapping[str, Any]],
    text: str,
    colors: Sequence[str] = (),
    scene: str = "",
) -> Facts:
    """The facts of a sample from parts of its record as plain values (`shards.schema`).

    Args:
        maps: at least `depth` and `metric`, if the sample has them.
        text: the instruction; empty if there is none yet.
        colors: colors of the objects, in order, if the record has them; default: from the words of their names.
    """
    ids = (edit["object"], edit.get("second_object", 0))
    edited = [number for identity in ids for number, item in enumerate(objects) if item["id"] == identity]
    values = {"words": float(len(text.split())) if text else None, **_depth_range(maps.get("metric", {}))}
    values |= _amounts(edit)
    if not edited:
        return Facts(edit["kind"], None, NO_COLOR, _makers(maps), values, scene)
    rules = RULES[edit["kind"]]
    if rules.in_source:
        values["visible_source"] = _least([objects[number] for number in edited], "source_visible")
    if rules.in_target:
        values["visible_target"] = _least([objects[number] for number in edited], "target_visible")
    place = edited[0]
    item = objects[place]
    color = colors[place] if place < len(colors) else color_in(item["name"])
    return Facts(edit["kind"], item["category"], color, _makers(maps), values, scene, supports_text(item))


def supports_text(item: Mapping[str, Any]) -> str:
    """What an object stands on before and after the edit, `floor to shelf`; empty where it is unknown."""
    ends = [item.get(name, {}).get("kind", "") for name in ("source_support", "target_support")]
    return " to ".join(dict.fromkeys(end for end in ends if end))


def _least(edited: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """The smallest value among the edited objects; None if not known for all."""
    return min(float(item[name]) for item in edited) if all(item["known"] for item in edited) else None


def color_in(name: str) -> str:
    """The color word in the name of an object; empty if there is none."""
    found = _COLOR.search(name)
    return found[1] if found else NO_COLOR


def _amounts(edit: Mapping[str, Any]) -> dict[str, float | None]:
    """Displacement, rotation, scale and camera motion, if they apply; None if not known.

    In a record, numbers that do not belong to a kind are 0, and factors are 1.
    """
    numbers, known = RULES[edit["kind"]].numbers, bool(edit["known"])
    moved = math.hypot(*edit["translation"])
    amounts = {
        "displacement": ("translation" in numbers or moved > 0, moved),
        "rotation": ("rotation_deg" in numbers or edit["rotation_deg"] != 0, edit["rotation_deg"]),
        "scale": ("scale" in numbers or edit["scale"] != 1, edit["scale"]),
        "yaw": ("yaw_deg" in numbers, edit["yaw_deg"]),
        "pitch": ("pitch_deg" in numbers, edit["pitch_deg"]),
        "zoom": ("zoom" in numbers, edit["zoom"]),
    }
    return {name: float(value) if known else None for name, (applies, value) in amounts.items() if applies}


def _depth_range(metric: Mapping[str, Any]) -> dict[str, float | None]:
    """Nearest and farthest depth of the target in meters; None for models whose depth has no known scale."""
    meters = metric.get("kind") == "metric" and metric.get("unit") == "m" and metric["max"] > 0
    return {"near": float(metric["min"]) if meters else None, "far": float(metric["max"]) if meters else None}


def _makers(maps: Mapping[str, Mapping[str, Any]]) -> str:
    names = ((name, maps.get(name, {}).get("estimator", "")) for name in ("depth", "metric"))
    return ", ".join(f"{name} {maker}" for name, maker in names if maker) or NO_DEPTH
