"""False instructions, made from true ones by one change each, and paraphrases of true ones.

Whether a change makes a sentence false is decided from the facts (`tests.annotators.oracle` for relations), without the
check under test.
"""

import re
from collections.abc import Iterator

import numpy as np

from spatialdata_builder.shards.geometry import wrap_degrees
from spatialdata_builder.shards.schema import PairFacts, SceneObject, SupportRef
from tests.annotators.oracle import footprint, holds

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
        ("Pull the camera back, farther away from the scene", "Bring the camera closer to the scene"),
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
    """Paraphrases of a text."""
    for pattern, replacement in _REWORDINGS:
        other = re.sub(pattern, replacement, text)
        if other != text and "\n" not in text:
            yield other[:1].upper() + other[1:]


def planted(facts: PairFacts, text: str) -> Iterator[tuple[str, str]]:
    """Pairs of the kind of error and the false sentence."""
    yield from _swapped(facts, text)
    yield from _misnamed(facts, text)
    yield from _miscounted(facts, text)
    if all("source_support" in thing.model_fields_set for thing in facts.objects):
        yield from _on_another_support(facts, text)
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
    """The text with object names replaced by `#number#`, and the names by number."""
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
        if kind == "row" and re.search(r"\bup against\b|\btop of\b|\b(?:shelf|level) of\b", hidden):
            continue
        if edit.kind not in _APPLIES[kind] or (half_turn and kind in ("side", "sense")):
            continue
        words = {a: b for pair in pairs for a, b in (pair, pair[::-1])}
        pattern = "|".join(rf"(?<![\w-]){re.escape(word)}\b" for word in sorted(words, key=len, reverse=True))
        other = re.sub(pattern, lambda found, words=words: words[found.group()], hidden)
        if kind == "size" and re.search(r"\d|half|twice|third|quarter", other):
            continue  # `shrink to 150 %` contradicts itself
        if other != hidden:
            restored = re.sub(r"#(\d+)#", lambda found: names[int(found[1])], other)
            yield kind, restored


def _misnamed(facts: PairFacts, text: str) -> Iterator[tuple[str, str]]:
    """Name another object instead of the edited one, or instead of a reference for which the relation does not hold."""
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


_HOW = r"on top of|onto|on|inside|into|in|underneath|beneath|out from under|from under|under|out of|off|from|to"
_PLAIN = "table|desk|stool|chair|sofa|shelf|bench|cabinet|bed"
_CARRIERS = f"{_PLAIN}|crate|box|bowl|ladder|barrel|suitcase|basket|book"
"""Nouns of what carries things; of those that have things on them, not in them."""


def _on_another_support(facts: PairFacts, text: str) -> Iterator[tuple[str, str]]:
    """False supports, shelves, manners, walls and riders."""
    edit = facts.edit
    if edit.kind in ("camera", "swap"):
        return
    mine = next(thing for thing in facts.objects if thing.id == edit.object)
    ends = "source_support" if edit.kind in ("remove", "rotate", "scale") else "target_support"
    sides = ("source_support", "target_support") if edit.kind == "translate" else (ends,)
    if mine.source_support.object == mine.target_support.object and edit.kind == "translate":
        sides = ("target_support",)
    for side in sides:
        support: SupportRef = getattr(mine, side)
        name = "floor" if support.kind == "floor" else _name(facts, support.object)
        shelf = r"(?:(?:the|a) (?:(?:top|middle|bottom) )?(?:shelf|level) of )?"
        found = (
            re.search(rf"(?<!next )\b({_HOW}) ({shelf})the {re.escape(name)}(?! on the (?:left|right))\b", text)
            if name
            else None
        )
        if found is None:
            continue
        origin = side == "source_support" and edit.kind == "translate"
        head, tail = text[: found.start()], text[found.end() :]
        for other in _other_supports(facts, mine, side, found[1]):
            yield ("origin" if origin else "support"), f"{head}{found[1]} the {other}{tail}"
        word = re.search(r"top|middle|bottom", found[2])
        if word:
            wrong = {"top": "bottom", "middle": "top", "bottom": "top"}[word[0]]
            yield "shelf", f"{head}{found[1]} {found[2].replace(word[0], wrong)}the {name}{tail}"
        elif not found[2] and support.kind not in ("shelf", "floor"):
            how = "in" if support.kind == "inside" else "under" if support.kind == "under" else "on"
            given = {"onto": "on", "on": "on", "into": "in", "in": "in", "inside": "in", "under": "under"}.get(found[1])
            if given == how and not origin:
                for wrong in ("on", "in", "under"):
                    if wrong != how:
                        yield "exchanged", f"{head}{wrong} the {name}{tail}"
            if origin and found[1] in ("off", "from under"):
                yield "exchanged", f"{head}{'from under' if found[1] == 'off' else 'off'} the {name}{tail}"
    noun = _edited(facts)
    if edit.kind in ("translate", "insert") and facts.room:
        verb = f"Move the {noun}" if edit.kind == "translate" else f"Add a {noun}"
        free = _wall_gaps(facts, mine)
        if mine.target_support.kind != "floor" or free[0] > 0.2:
            yield "wall", f"{verb} against the wall."
        if mine.target_support.kind != "floor" or free[1] > 0.7:
            yield "wall", f"{verb} into the corner of the room."
    carried = any(thing.source_support.object == mine.id for thing in facts.objects)
    if edit.kind in ("translate", "rotate") and not carried and f"the {noun} " in text:
        yield "riders", text.replace(f"the {noun} ", f"the {noun} with everything on it ", 1)


def _name(facts: PairFacts, id: int) -> str:
    return next((thing.name for thing in facts.objects if thing.id == id), "")


def _other_supports(facts: PairFacts, mine: SceneObject, side: str, how: str) -> Iterator[str]:
    """Names of things that the object does not stand on, in or under, not even on something that stands there."""
    below: set[int] = set()
    support: SupportRef = getattr(mine, side)
    kind = support.kind
    while support.object and support.object not in below:
        below.add(support.object)
        support = next(getattr(thing, side) for thing in facts.objects if thing.id == support.object)
    names = [thing.name for thing in facts.objects]
    state = side.removesuffix("_support")
    for thing in facts.objects:
        absent = not any(thing.source_box) or not any(thing.target_box)
        unclear = names.count(thing.name) > 1 or any(
            f" {thing.name}".endswith(f" {other.name}") or f" {other.name}".endswith(f" {thing.name}")
            for other in facts.objects
            if other.id != thing.id
        )
        if thing.id == mine.id or thing.id in below or absent or unclear:
            continue
        # Partly below a table, a thing on the floor may be called under it.
        partly = footprint(mine, state).buffer(0.02).intersects(footprint(thing, state))
        if partly and ("under" in how or "beneath" in how):
            continue
        if not re.search(rf"\b(?:{_PLAIN if how in ('to', 'from') else _CARRIERS})$", thing.name):
            continue  # nobody says `from the apple`, and `from the crate` means out of it
        if how in ("to", "from") and (
            thing.name.startswith(("left", "right")) or re.search(rf"(?:{_PLAIN})$", mine.category)
        ):
            continue  # `to the left table` is not read as a place, and a chair that goes to the table stands beside it
        yield thing.name
    if kind not in ("floor", "under") and how in ("on", "onto", "to", "off", "from", "on top of"):
        yield "floor"


def _wall_gaps(facts: PairFacts, mine: SceneObject) -> tuple[float, float]:
    """Distance of the object in the target from the nearest wall, and the larger one from two walls of a corner."""
    low, high = np.array(footprint(mine, "target").bounds).reshape(2, 2)
    half = np.array(facts.room[:2]) / 2
    free = np.minimum(half - high, low + half)
    return float(free.min()), float(free.max())


def twins(facts: PairFacts) -> PairFacts | None:
    """The same pair with two supports of one noun, `left table` and `right table`; None if no two are side by side."""
    carriers = {
        support.object
        for thing in facts.objects
        for support in (thing.source_support, thing.target_support)
        if support.object and support.kind != "shelf"
    }
    big = [
        thing
        for thing in facts.objects
        if thing.id not in facts.edit.edited
        and thing.source_box == thing.target_box
        and min(thing.source_visible, thing.target_visible) > 0.35
    ]
    for a in big:
        for b in big:
            if (
                a.id in carriers
                and a.id != b.id
                and not any(t.category == "table" for t in facts.objects if t not in (a, b))
            ):
                apart = a.source_box[2] < b.source_box[0] or b.source_box[2] < a.source_box[0]
                if not apart or a.source_support.kind != "floor" or b.source_support.kind != "floor":
                    continue
                first = a.source_box[0] < b.source_box[0]
                names = {a.id: "left table" if first else "right table", b.id: "right table" if first else "left table"}
                changed = [
                    thing.model_copy(update={"name": names[thing.id], "category": "table"})
                    if thing.id in names
                    else thing
                    for thing in facts.objects
                ]
                return facts.model_copy(update={"objects": changed})
    return None
