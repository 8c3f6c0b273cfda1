"""What the charts of a set are drawn from: a few facts of each sample, of the record alone; no pixel is read.

Invariant: what is not known is None, and never a number. A measure that does not belong to a kind of edit is not there
at all, so nothing is counted as unknown that could not be known.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from ....shards.colors import PALETTE
from ....sources.edits.registry import RULES
from ....sources.scenes.naming import CONFUSABLE

NO_COLOUR: Final = ""
"""The edited object has no one colour, or nobody knows it."""
NO_DEPTH: Final = "no depth"
_NAMED: Final = sorted({*PALETTE, *(name for pair in CONFUSABLE for name in pair)}, key=len, reverse=True)
_COLOUR: Final = re.compile(rf"\b({'|'.join(_NAMED)})\b")


class Facts(NamedTuple):
    """One sample."""

    kind: str
    category: str | None
    """Of the (first) edited object, empty where it has none; None where no object is edited."""
    colour: str
    depth: str
    """Who made its depth maps: `depth renderer, metric renderer`, or NO_DEPTH."""
    values: Mapping[str, float | None]
    """By `measures.Measure.name`, of the measures that apply."""


def facts_of(
    edit: Mapping[str, Any],
    objects: Sequence[Mapping[str, Any]],
    maps: Mapping[str, Mapping[str, Any]],
    text: str,
    colours: Sequence[str] = (),
) -> Facts:
    """From parts of a record as plain values (`shards.schema`).

    Args:
        maps: at least `depth` and `metric`, where there are such.
        text: the instruction; empty where there is none yet.
        colours: of the objects, in order, where the record tells; else the words of the name are looked at.
    """
    ids = (edit["object"], edit.get("second_object", 0))
    edited = [number for identity in ids for number, item in enumerate(objects) if item["id"] == identity]
    values = {"words": float(len(text.split())) if text else None, **_depth_range(maps.get("metric", {}))}
    values |= _amounts(edit)
    if not edited:
        return Facts(edit["kind"], None, NO_COLOUR, _makers(maps), values)
    rules = RULES[edit["kind"]]
    if rules.in_source:
        values["visible_source"] = _least([objects[number] for number in edited], "source_visible")
    if rules.in_target:
        values["visible_target"] = _least([objects[number] for number in edited], "target_visible")
    place = edited[0]
    item = objects[place]
    colour = colours[place] if place < len(colours) else colour_in(item["name"])
    return Facts(edit["kind"], item["category"], colour, _makers(maps), values)


def _least(edited: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """Of the edited objects; None where it is not known."""
    return min(float(item[name]) for item in edited) if all(item["known"] for item in edited) else None


def colour_in(name: str) -> str:
    """The colour that a name of an object tells; empty where it tells none."""
    found = _COLOUR.search(name)
    return found[1] if found else NO_COLOUR


def _amounts(edit: Mapping[str, Any]) -> dict[str, float | None]:
    """How much the edit moves, turns or scales. Numbers that do not belong to a kind are 0; factors are 1."""
    numbers, known = RULES[edit["kind"]].numbers, bool(edit["known"])
    moved = math.hypot(*edit["translation"])
    told = {
        "displacement": ("translation" in numbers or moved > 0, moved),
        "rotation": ("rotation_deg" in numbers or edit["rotation_deg"] != 0, edit["rotation_deg"]),
        "scale": ("scale" in numbers or edit["scale"] != 1, edit["scale"]),
        "yaw": ("yaw_deg" in numbers, edit["yaw_deg"]),
        "pitch": ("pitch_deg" in numbers, edit["pitch_deg"]),
        "zoom": ("zoom" in numbers, edit["zoom"]),
    }
    return {name: float(value) if known else None for name, (applies, value) in told.items() if applies}


def _depth_range(metric: Mapping[str, Any]) -> dict[str, float | None]:
    """Nearest and farthest depth of the target in metres; models whose scale is free tell no metres."""
    metres = metric.get("kind") == "metric" and metric.get("unit") == "m" and metric["max"] > 0
    return {"near": float(metric["min"]) if metres else None, "far": float(metric["max"]) if metres else None}


def _makers(maps: Mapping[str, Mapping[str, Any]]) -> str:
    names = ((name, maps.get(name, {}).get("estimator", "")) for name in ("depth", "metric"))
    return ", ".join(f"{name} {maker}" for name, maker in names if maker) or NO_DEPTH
