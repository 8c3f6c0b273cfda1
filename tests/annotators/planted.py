"""Instructions that are false of a pair, made from true ones by one change each, and true ones in other words.

Whether a change makes a sentence false is decided here from the facts (`tests.annotators.oracle` for relations),
without the check that is tested.
"""

import re
from collections.abc import Iterator

from spatialdata_builder.shards.geometry import wrap_degrees
from spatialdata_builder.shards.schema import PairFacts
from tests.annotators.oracle import holds

_SWAPS: dict[str, tuple[tuple[str, str], ...]] = {
    "side": (("left", "right"),),
    "depth": (
        ("in front of", "behind"),
        ("closer to the camera", "farther from the camera"),
        ("towards the camera", "away from the camera"),
        ("towards the viewer", "farther away from the viewer"),
    ),
    "row": (("upper", "lower"), ("up", "down"), ("top", "bottom")),
    "sense": (("counter-clockwise", "clockwise"),),
    "size": (("larger", "smaller"), ("bigger", "smaller"), ("Enlarge", "Shrink"), ("Scale up", "Scale down")),
    "rise": (("raise", "lower"), ("Raise", "Lower"), ("up", "down")),
    "zoom": (
        ("zoom in", "zoom out"),
        ("Zoom in", "Zoom out"),
        ("pull the camera back, farther away from the scene", "bring the camera closer to the scene"),
        ("closer to the scene", "farther away from the scene"),
        ("Camera zoom: in", "Camera zoom: out"),
    ),
}
_APPLIES = {
    "side": ("translate", "insert", "remove", "camera"),
    "depth": ("translate", "insert", "remove"),
    "row": ("translate", "insert"),
    "sense": ("rotate",),
    "size": ("scale",),
    "rise": ("camera",),
    "zoom": ("camera",),
}
_REWORDINGS = (
    (r"to the (left|right) of the (?!image|centre|scene)", r"on the \1-hand side of the "),
    (r"\bnext to\b|\bbeside\b", "near"),
    (r" degrees", "°"),
    (r"counter-clockwise", "anticlockwise"),
    (r"^Remove (.*?)( from the \w+)?\.$", r"Could you delete \1\2?"),
    (r"^(Move|Shift|Slide|Place|Put|Bring) the ", r"Please relocate the "),
    (r"^(?:Move|Shift|Slide) (the [\w ]+?) (to the \w+ of|behind|in front of|next to)", r"\1 should be moved \2"),
    (r"\bas seen by the camera\b", "from the camera's perspective"),
    (r"about (\d+) cm", lambda found: f"{int(found[1]) / 100:g} metres"),
    (r"(\d+) %", r"\1 percent"),
    (r"\bMake (.*) larger\.", r"Let \1 become bigger."),
    (r"\bOrbit the camera\b", "Rotate the camera"),
    (r"^Add ", "Insert "),
    (r"\.$", ", and change nothing else."),
)


def reworded(text: str) -> Iterator[str]:
    """The same in other words."""
    for pattern, replacement in _REWORDINGS:
        other = re.sub(pattern, replacement, text)
        if other != text and "\n" not in text:
            yield other[:1].upper() + other[1:]


def planted(facts: PairFacts, text: str) -> Iterator[tuple[str, str]]:
    """Kind of error and the false sentence."""
    yield from _swapped(facts, text)
    yield from _misnamed(facts, text)
    yield from _miscounted(facts, text)
    if facts.edit.view:
        own = facts.edit.view.removeprefix("the ").removesuffix(" view.")
        other = {"rear": "front", "left side": "right side", "right side": "left side"}.get(own, "rear")
        if re.search(rf"\b{own}\b", text):
            yield "view", re.sub(rf"\b{own}\b", other, text, count=1)
    if facts.edit.kind not in ("remove", "camera"):
        yield "kind", f"Remove the {_edited(facts)}."
    elif facts.edit.kind == "remove":
        yield "kind", f"Rotate the {_edited(facts)} by 90 degrees."


def _edited(facts: PairFacts) -> str:
    return next(thing.name for thing in facts.objects if thing.id == facts.edit.object)


def _hidden(facts: PairFacts, text: str) -> tuple[str, list[str]]:
    """The text with its objects' names out of the way."""
    names = sorted({thing.name for thing in facts.objects} | {thing.category for thing in facts.objects}, key=len)[::-1]
    for number, name in enumerate(names):
        text = re.sub(rf"\bthe {re.escape(name)}(?: on the (?:left|right)(?! side))?", f"the #{number}#", text)
    return text, names


def _swapped(facts: PairFacts, text: str) -> Iterator[tuple[str, str]]:
    hidden, names = _hidden(facts, text)
    if "on the left" in text.replace(hidden, "") and hidden.count("#") == 0:
        return
    edit = facts.edit
    half_turn = abs(wrap_degrees(edit.rotation_deg if edit.kind == "rotate" else edit.yaw_deg)) == 180
    for kind, pairs in _SWAPS.items():
        if edit.kind not in _APPLIES[kind] or (half_turn and kind in ("side", "sense")):
            continue
        words = {a: b for pair in pairs for a, b in (pair, pair[::-1])}
        pattern = "|".join(rf"(?<![\w-]){re.escape(word)}\b" for word in sorted(words, key=len, reverse=True))
        other = re.sub(pattern, lambda found, words=words: words[found.group()], hidden)
        if kind == "size" and re.search(r"\d|half|twice|third|quarter", other):
            continue  # `shrink to 150 %` says two things
        if other != hidden:
            restored = re.sub(r"#(\d+)#", lambda found: names[int(found[1])], other)
            yield kind, restored


def _misnamed(facts: PairFacts, text: str) -> Iterator[tuple[str, str]]:
    """Another object is named instead of the edited one, or of the reference where the relation does not hold."""
    if facts.edit.kind == "camera":
        return
    mine = _edited(facts)
    others = [t for t in facts.objects if t.id != facts.edit.object and t.source_visible and t.target_visible]
    names = [thing.name for thing in others]
    unique = [t for t in others if names.count(t.name) == 1 and not t.name.endswith(mine) and not mine.endswith(t.name)]
    if facts.edit.kind != "insert" and re.search(rf"\bthe {re.escape(mine)}\b(?! on the)", text):
        for other in unique[:1]:
            if f"the {other.name}" not in text:
                yield "object", re.sub(rf"\bthe {re.escape(mine)}\b", f"the {other.name}", text, count=1)
    state = "source" if facts.edit.kind == "remove" else "target"
    words = {"left": "left of", "right": "right of", "front": "in front of", "behind": "behind"}
    for kind, phrase in words.items():
        for a in unique:
            if f"{phrase} the {a.name}" not in text:
                continue
            for b in unique if facts.camera.source.known else ():
                if b.id != a.id and not holds(facts, kind, facts.edit.object, [b.id], state):
                    yield "reference", text.replace(f"{phrase} the {a.name}", f"{phrase} the {b.name}")
                    break


def _miscounted(facts: PairFacts, text: str) -> Iterator[tuple[str, str]]:
    hidden, names = _hidden(facts, text)
    changes = (
        ("degrees", r"(\d+(?:\.\d+)?)(?= degrees)", lambda value: value + (60 if value < 100 else -60)),
        ("length", r"(\d+(?:\.\d+)?)(?= c?m\b)", lambda value: 2 * value),
        ("factor", r"(\d+(?:\.\d+)?)(?= %| times)", lambda value: 1.6 * value),
        ("factor", r"(?<=factor of )(\d+(?:\.\d+)?)", lambda value: 1.6 * value),
    )
    for kind, pattern, change in changes:
        other = re.sub(pattern, lambda found, change=change: f"{change(float(found[1])):g}", hidden, count=1)
        if other != hidden:
            yield kind, re.sub(r"#(\d+)#", lambda found: names[int(found[1])], other)
