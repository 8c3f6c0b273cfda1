"""Finds false claims in English sentences about a pair, from its poses and cameras.

Independent of `annotators`: it projects points and intersects footprints, and uses no margins.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import product

import numpy as np
from shapely.geometry import Point, Polygon

from spatialdata_builder.shards.geometry import F64, matrix3, matrix4, project, transform
from spatialdata_builder.shards.schema import PairFacts, SceneObject, View

LENGTH = r"about (?P<value>[\d.]+) (?P<unit>cm|m)\b"


def false_claims(facts: PairFacts, text: str, subject: int, state: str, names: Mapping[str, int]) -> Iterator[str]:
    """Claimed relations of `subject` (0: the text names it) that do not hold in a state. `names`: ids by noun."""
    noun = "the (" + "|".join(sorted(map(re.escape, names), key=len, reverse=True)) + r")\b"
    who = rf"{noun} " if not subject else r"()"
    patterns = {
        "left": rf"{who}(?:to the )?left of {noun}",
        "right": rf"{who}(?:to the )?right of {noun}",
        "front": rf"{who}in front of {noun}",
        "behind": rf"{who}behind {noun}",
        "next": rf"{who}(?:next to|beside|close to) {noun}",
        "into": rf"{who}(?:into|inside) {noun}",
        "between": rf"{who}between {noun} and {noun}",
    }
    claims = 0
    for kind, pattern in patterns.items():
        for found in re.finditer(pattern, text):
            claims += 1
            ids = [names[group] for group in found.groups() if group]
            a, *others = ids if not subject else [subject, *ids]
            if not holds(facts, kind, a, others, state):
                yield f"{kind} {a} {others} in {state}"
    words = r"\b(?:(?:left|right) of the (?!image|centre)|in front of|behind|next to|beside|close to|inside|between)\b"
    if claims != len(re.findall(words, text)) + len(re.findall(rf"\binto {noun}", text)):
        yield "a claim that the oracle cannot read"


def holds(facts: PairFacts, kind: str, a: int, others: list[int], state: str) -> bool:
    things = {thing.id: thing for thing in facts.objects}
    view = facts.camera.source if state == "source" else facts.camera.target
    subject, first, last = things[a], things[others[0]], things[others[-1]]
    pixels, depth = zip(*(center(thing, view, state) for thing in (subject, first, last)), strict=True)
    if not all(thing.source_visible if state == "source" else thing.target_visible for thing in (subject, first, last)):
        return False
    match kind:
        case "left":
            return bool(pixels[0] < pixels[1])
        case "right":
            return bool(pixels[0] > pixels[1])
        case "front":
            return bool(depth[0] < depth[1])
        case "behind":
            return bool(depth[0] > depth[1])
        case "between":
            b, m, c = (pose(thing, state)[:2, 3] for thing in (first, subject, last))
            detour = np.linalg.norm(m - b) + np.linalg.norm(c - m) - np.linalg.norm(c - b)
            return min(pixels[1:]) < pixels[0] < max(pixels[1:]) and detour < 0.1 * np.linalg.norm(c - b)
        case "next":
            ground = footprint(subject, state), footprint(first, state)
            return ground[0].distance(ground[1]) < max(
                np.ptp(np.array(g.exterior.coords), axis=0).max() for g in ground
            )
        case "against" | "corner":
            half = np.array(facts.room[:2]) / 2
            low, high = np.array(footprint(subject, state).bounds).reshape(2, 2)
            free = np.minimum(half - high, low + half)
            return bool(free.min() < 0.06 if kind == "against" else free.max() < 0.3)
        case _:
            inside = footprint(first, state).buffer(0.01).contains(footprint(subject, state))
            return inside and pose(subject, state)[2, 3] > pose(first, state)[2, 3]


_LEAVING = ("out from under", "from under", "out of", "off", "from")
_PLACING = ("on top of", "onto", "on", "inside", "into", "in", "underneath", "beneath", "under", "to")


def false_supports(facts: PairFacts, text: str, names: Mapping[str, int]) -> tuple[int, list[str]]:
    """How many claims an instruction makes about what its object stands on, and those that its poses contradict.

    Args:
        names: ids by noun, and 0 for the floor.
    """
    mine = next(thing for thing in facts.objects if thing.id == facts.edit.object)
    noun = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    words = "|".join((*_LEAVING, *_PLACING))
    shelf = r"(?:(?:the|a) (?:(top|middle|bottom) )?(?:shelf|level) of )?"
    pattern = rf"(?<!next )(?<!close )\b({words}) {shelf}the ({noun})(?! of)\b"
    found, wrong = 0, list[str]()
    for match in re.finditer(pattern, text):
        how, shelf, name = match.groups()
        side = "source" if how in _LEAVING or facts.edit.kind == "remove" else "target"
        found += 1
        support = getattr(mine, f"{side}_support")
        if support.object != names[name] or not _rests(facts, mine, names[name], how, side):
            wrong.append(f"{match[0]} in {side}")
        if shelf and {"top": support.shelves, "bottom": 1, "middle": 2}[shelf] != support.shelf:
            wrong.append(f"{shelf} shelf")
    if re.search(r"\bon (?:it|them)\b", text) and not any(
        thing.source_support.object in facts.edit.edited for thing in facts.objects
    ):
        wrong.append("nothing stands on it")
    return found, wrong


_CAPTION_RELATIONS = {
    "to the left of": "left",
    "to the right of": "right",
    "in front of": "front",
    "behind": "behind",
    "between": "between",
    "next to": "next",
    "against the wall": "against",
    "in the corner of the room": "corner",
}


def false_caption(facts: PairFacts, text: str, state: str, nouns: Mapping[int, str]) -> Iterator[str]:
    """The statements of a caption of a furnished scene that hold for no objects of these nouns.

    Args:
        nouns: of the objects that the image shows, by id.
    """
    said = set[str]()
    last = ""
    for clause in text.removesuffix(".").split("; "):
        if found := re.match(r"(.+) (?:stands?|lies?) (on top of|on|in|under) (?:the |an? |some )?(.+)$", clause, re.I):
            subjects, how, carrier = found.groups()
            last = carrier = (
                last
                if carrier == "it"
                else re.sub(r"^(?:(?:top|middle|bottom|a)? ?(?:shelf|level) of )(?:the |an? )?", "", carrier)
            )
            below = [id for id, noun in nouns.items() if noun == carrier]
            if not below:
                yield f"no {carrier}"
            for one in re.split(r", | and (?=the |an? |some |two |three |four |\d)", subjects):
                noun = _bare(one)
                if noun == carrier:
                    continue
                ids = [
                    id
                    for id, other in nouns.items()
                    if other in (noun, noun.removesuffix("s"), noun.removesuffix("es"))
                ]
                supports = [getattr(thing, f"{state}_support") for thing in facts.objects if thing.id in ids]
                kinds = {"in": {"inside"}, "under": {"under"}}.get(how, {"top", "soft", "shelf"})
                if ids and not any(one.object in below and one.kind in kinds for one in supports):
                    yield f"{noun} {how} {carrier}"
                said.add(noun)
            continue
        for words, kind in _CAPTION_RELATIONS.items():
            if found := re.match(rf"the (.+) (?:is|are) {words}(?: the (.+?))?(?: and the (.+))?$", clause, re.I):
                groups = [[id for id, noun in nouns.items() if noun == name] for name in found.groups() if name]
                if not all(groups) or not any(
                    holds(facts, kind, many[0], list(many[1:]) or [many[0]], state) for many in product(*groups)
                ):
                    yield clause
                break


def _bare(noun: str) -> str:
    return re.sub(r"^(?:the|an?|some|two|three|four|five) |^(?:\w+ )?(?:pairs? of )", "", noun.lower()).removeprefix(
        "pair of "
    )


def _rests(facts: PairFacts, mine: SceneObject, other: int, how: str, side: str) -> bool:
    """Whether the poses allow that an object stands so on, in or under another one (0: the floor)."""
    base = pose(mine, side)[2, 3]
    if not other:
        return bool(base == 0) and "under" not in how
    below = next(thing for thing in facts.objects if thing.id == other)
    low = pose(below, side)[2, 3]
    top = low + below.size_m[2] * float(np.linalg.norm(pose(below, side)[:3, 0]))
    x, y = pose(mine, side)[:2, 3]
    if not footprint(below, side).buffer(0.02).contains(Point(x, y)):
        return False
    if "under" in how or how == "beneath":
        return bool(abs(base - low) < 1e-6)
    return bool(low + 1e-3 < base <= top + 0.01)


def false_motion(facts: PairFacts, text: str) -> Iterator[str]:
    """False claims about direction and distance of the edited object's move. `text` must contain no relations."""
    thing = next(thing for thing in facts.objects if thing.id == facts.edit.object)
    view = facts.camera.source
    eye = matrix4(view.world_from_camera)[:3, 3]
    before, after = matrix4(thing.source_pose)[:3, 3], matrix4(thing.target_pose)[:3, 3]
    (u0, _), (u1, _) = (center(thing, view, state) for state in ("source", "target"))
    box = thing.target_box
    across, down = (box[0] + box[2]) / 2 / (2 * view.K[2]), (box[1] + box[3]) / 2 / (2 * view.K[5])
    for side, sign in (("left", -1), ("right", 1)):
        if re.search(rf"to the {side}(?! side| part|\w)(?! of)", text) and sign * (u1 - u0) <= 0:
            yield f"moves {side}"
        if re.search(rf"{side} (?:side|part) of the|{side} of the centre", text) and sign * (across - 0.5) < 0.05:
            yield f"ends {side}"
    farther = float(np.linalg.norm(after - eye) - np.linalg.norm(before - eye))
    if re.search(r"farther back|away from the camera|away from the viewer", text) and farther <= 0:
        yield "moves away"
    if re.search(r"towards the (?:camera|viewer)|closer to the camera", text) and farther >= 0:
        yield "moves closer"
    if "centre of the image" in text and " of the centre" not in text and max(abs(across - 0.5), abs(down - 0.5)) > 0.2:
        yield "ends in the centre"
    for word, sign in (("upper", -1), ("lower", 1)):
        if word in text and sign * (down - 0.5) < 0.1:
            yield f"ends in the {word} part"
    moved = float(np.linalg.norm((after - before)[:2]))
    lengths = [float(found["value"]) * (0.01 if found["unit"] == "cm" else 1) for found in re.finditer(LENGTH, text)]
    if len(lengths) == 2:  # along the viewer's two axes; only the sideways one is checked
        right = matrix4(view.world_from_camera)[:2, 0]
        across_m = abs(float((after - before)[:2] @ (right / np.linalg.norm(right))))
        sideways = lengths[0] if re.search(r"(?:cm|m) to the (?:left|right) and", text) else lengths[1]
        if abs(sideways - across_m) > 0.1 * across_m:
            yield f"moves {sideways} aside instead of {across_m}"
        lengths = [float(np.hypot(*lengths))]
    for length in lengths:
        if abs(length - moved) > 0.1 * moved:
            yield f"moves {length} instead of {moved}"


def center(thing: SceneObject, view: View, state: str) -> tuple[float, float]:
    """Column in pixels of the center of the object's bounding box, and planar z in meters of its base on the floor.

    Seen from high above, the center of a tall object is nearer than its base; `in front` compares places on the floor.
    """
    points = transform(pose(thing, state), [[0.0, 0.0, thing.size_m[2] / 2], [0.0, 0.0, 0.0]])
    pixels, depth = project(points, matrix3(view.K), matrix4(view.world_from_camera))
    return float(pixels[0, 0]), float(depth[1])


def footprint(thing: SceneObject, state: str) -> Polygon:
    w, d, _ = np.array(thing.size_m) / 2
    return Polygon(transform(pose(thing, state), [[-w, -d, 0], [w, -d, 0], [w, d, 0], [-w, d, 0]])[:, :2])


def pose(thing: SceneObject, state: str) -> F64:
    return matrix4(thing.source_pose if state == "source" else thing.target_pose)
