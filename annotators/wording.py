"""What an edit may be called: for each kind, groups of sentences that are all true of the pair.

Invariant: a sentence is only offered where the facts bear it, so any choice among them is a true instruction. A group
holds sentences that say the same (where to, which way, how far); choosing from different groups gives real variety.
Groups that leave open where or how much (`Move the mug to the left.`) are kept apart; where a person could not do the
edit by a sentence at all (`Make the mug larger.`), it is none of ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

from ..shards.geometry import wrapped
from ..shards.interop.wording import view_name
from .case import Case
from .directions import Motion, motion
from .phrases import distinct, indefinite, is_plural, length, number, sentence
from .relations import Relation, RelationKind

Group = list[str]


@dataclass(frozen=True)
class Wordings:
    """True sentences in groups; `loose` ones do not say where, or how much."""

    exact: list[Group]
    loose: list[Group] = field(default_factory=list[Group])


_SIDES: dict[RelationKind, tuple[str, ...]] = {
    "left": (
        "to the left of {b}",
        "to the left of {b}, as seen by the camera",
        "to the left of {b} in the image",
        "left of {b} from the viewer's point of view",
    ),
    "right": (
        "to the right of {b}",
        "to the right of {b}, as seen by the camera",
        "to the right of {b} in the image",
        "right of {b} from the viewer's point of view",
    ),
    "front": (
        "in front of {b}",
        "in front of {b}, closer to the camera",
        "in front of {b} as seen by the camera",
        "in front of {b} from the viewer's point of view",
    ),
    "behind": (
        "behind {b}",
        "behind {b}, farther from the camera",
        "behind {b} as seen by the camera",
        "behind {b} from the viewer's point of view",
    ),
    "between": ("between {b} and {c}", "in between {b} and {c}", "between {c} and {b}"),
    "next": ("next to {b}", "beside {b}", "close to {b}"),
    "into": ("into {b}", "inside {b}"),
}


def where(relation: Relation, names: dict[int, str]) -> list[str]:
    """The ways to say a relation, `names` being definite noun phrases by id."""
    return [_filled(phrase, relation, names) for phrase in _SIDES[relation.kind]]


def _filled(phrase: str, relation: Relation, names: dict[int, str]) -> str:
    return phrase.format(b=names[relation.others[0]], c=names[relation.others[-1]])


def wordings(case: Case) -> Wordings:
    """All true sentences for a pair's edit, without empty groups.

    The edited object's name (or, for insert, its noun) must not be empty.
    """
    kind = case.facts.edit.kind
    makers = {"translate": translate, "rotate": rotate, "scale": scale, "remove": remove, "insert": insert}
    found = (camera if kind == "camera" else makers[kind])(case)
    return Wordings([group for group in found.exact if group], [group for group in found.loose if group])


def translate(case: Case) -> Wordings:
    """Where to (relations that the move brings about), which way and how far, and where in the image it ends."""
    x = case.edited_name
    after = case.reached
    into = any(relation.kind == "into" for relation in after)
    verbs = ("put", "place", "move", "set") if into else ("move", "place", "put", "reposition", "relocate")
    groups = [_sentences(verbs, x, where(relation, case.names)) for relation in after]
    way = motion(case)
    verbs = ("move", "shift", "slide")
    if into:
        return Wordings(groups)
    groups.append(_sentences(("move", "shift", "bring"), x, way.end))
    groups.append(_sentences(verbs, x, _far(way)))
    slight = [f"{little} {words}" for words in way.directions[:1] for little in ("a bit", "slightly") if way.slight]
    return Wordings(groups, [_sentences(verbs, x, way.directions), _sentences(verbs, x, slight)])


def _far(way: Motion) -> list[str]:
    """The direction with the distance."""
    if not way.directions or not way.metres:
        return []
    if way.parts:
        return way.parts
    first, metres = way.directions[0], f"about {length(way.metres)}"
    return distinct(
        [f"{metres} {first}", f"{first} by {way.magnitude}"]
        + [f"{words}{',' if ',' in words else ''} by {metres}" for words in way.directions]
    )


def rotate(case: Case) -> Wordings:
    """By how much, clockwise or counter-clockwise as seen from above; the canonical view where there is one."""
    x, edit = case.edited_name, case.facts.edit
    own = "their" if is_plural(x) else "its"
    groups: list[Group] = []
    if edit.view:
        side = view_name(edit.view).removesuffix(" view")
        groups.append([f"Turn {x} until {own} {side} faces the camera.", f"Rotate {x} so that we see {own} {side}."])
        groups[-1] += [f"Turn {x} to show {own} own {side}.", f"Spin {x} around to reveal {own} {side}."]
    loose = [f"Rotate {x} on the spot.", f"Turn {x} in place.", f"Make {x} face another way.", f"Rotate {x}."]
    if not edit.known or not edit.rotation_deg:
        return Wordings(groups, [loose])
    degrees = wrapped(edit.rotation_deg)
    angle = number(abs(degrees), 0)
    if angle == "180":
        groups.append([f"{verb} {x} by 180 degrees." for verb in ("Rotate", "Turn", "Spin")])
        groups.append([f"Give {x} half a turn.", f"Turn {x} around by half a turn.", f"Turn {x} the other way round."])
        return Wordings(groups)
    sense = "counter-clockwise" if degrees > 0 else "clockwise"
    groups.append([f"{verb} {x} {angle} degrees {sense}, seen from above." for verb in ("Rotate", "Turn", "Spin")])
    groups.append([f"{verb} {x} {sense} by {angle} degrees as seen from above." for verb in ("Rotate", "Turn")])
    groups.append([f"Looking down from above, {verb} {x} {sense} by {angle} degrees." for verb in ("rotate", "turn")])
    part = {"45": "an eighth of a turn", "90": "a quarter turn", "135": "three eighths of a turn"}.get(angle)
    if part:
        groups.append([f"Give {x} {part} {sense}, seen from above."])
    return Wordings(groups)


def scale(case: Case) -> Wordings:
    """By which factor, as a factor, a share or a word: of lengths, since `twice as large` may mean the area."""
    x, factor = case.edited_name, case.facts.edit.scale
    if not case.facts.edit.known or factor == 1:
        return Wordings([])
    times, share = number(factor), number(100 * factor, 0)
    own = "their" if is_plural(x) else "its"
    if factor > 1:
        verbs = ("Enlarge", "Scale up", "Resize", "Scale")
        words = [f"Make {x} larger, {times} times as tall and as wide.", f"Make {x} {times} times as tall and as wide."]
        words.append(f"Scale {x} up by a factor of {times} in every dimension.")
    else:
        verbs = ("Shrink", "Scale down", "Resize", "Reduce")
        words = [f"Make {x} smaller, {share} % as tall and as wide as before."]
        words.append(f"Scale {x} by a factor of {times} in every dimension.")
    sizes = (f"of {own} height and width", f"of {own} original height and width")
    groups = [words, [f"{verb} {x} to {share} % {of}." for verb, of in product(verbs, sizes)]]
    groups.append(
        [f"Make {x} {'larger' if factor > 1 else 'smaller'}, to {share} % of {own} present height and width."]
    )
    groups += [_fraction(x, words, own) for value, words in _FRACTIONS if abs(factor - value) <= 0.02 * value]
    return Wordings(groups)


_FRACTIONS: tuple[tuple[float, str], ...] = (
    (0.5, "half"),
    (2 / 3, "two thirds"),
    (0.75, "three quarters"),
    (1.5, "one and a half times"),
    (2.0, "twice"),
)


def _fraction(x: str, words: str, own: str) -> Group:
    of = "of " if words in ("two thirds", "three quarters") else ""
    verb = "Shrink" if words == "half" or of else "Enlarge"
    return [
        f"{verb} {x} to {words} {of}{own} original height and width.",
        f"Make {x} {words} as tall and {words} as wide.",
    ]


def remove(case: Case) -> Wordings:
    """That it goes; and where it stands in the source, which the name need not say."""
    x = case.edited_name
    ends = ("", " from the scene", " from the image", " from the picture")
    groups = [
        [f"{verb} {x}{end}." for verb, end in product(("Remove", "Erase", "Delete"), ends)],
        [f"Take {x} away.", f"Take {x} out of the scene.", f"Get rid of {x}.", f"Clear {x} away."],
        [f"Make {x} disappear.", f"Edit {x} out of the image.", f"Leave everything as it is, but without {x}."],
    ]
    verb = "are" if is_plural(x) else "is"
    # `the left mug that is next to the right mug` helps nobody.
    kin = {id for id, name in case.names.items() if name.split()[-1] == x.split()[-1]}
    for relation in case.before:
        if kin & set(relation.others):
            continue
        words = _SIDES[relation.kind][-1 if relation.kind == "into" else 0]
        told = _filled(words, relation, case.names)
        groups.append([f"{start} {x} that {verb} {told}." for start in ("Remove", "Delete", "Take away")])
    return Wordings(groups)


def insert(case: Case) -> Wordings:
    """What comes, by its indefinite name, and where: by relations, else by the part of the image."""
    a = indefinite(case.edited_noun)
    groups: list[Group] = []
    for relation in case.reached:
        verbs = ("put", "place") if relation.kind == "into" else ("add", "place", "put", "insert")
        groups.append(_sentences(verbs, a, where(relation, case.names)))
    place = motion(case).place if all(relation.kind != "into" for relation in case.after) else []
    groups.append([f"{verb} {a} {words}." for verb, words in product(("Add", "Place", "Insert"), place)])
    ends = ("to the scene", "to the picture", "to the image")
    loose = [f"Add {a} {words}." for words in ends] + [f"Insert {a} into the scene."]
    return Wordings(groups, [[*loose, f"There should be {a} in the scene."]])


def camera(case: Case) -> Wordings:
    """Around, up or down, closer or away."""
    edit = case.facts.edit
    said = [part for part in (_yaw(edit.yaw_deg), _pitch(edit.pitch_deg), _zoom(edit.zoom)) if part]
    if not edit.known or not said:
        return Wordings([])
    plain = [", then ".join(choice) for choice in zip(*said, strict=True)]
    groups = [[sentence(text) for text in plain]]
    groups.append([f"Keep the scene as it is: {text}." for text in plain])
    groups.append([f"Without changing the scene, {plain[0]}.", f"Leave every object where it is: {plain[-1]}."])
    if edit.yaw_deg and len(said) == 1:
        side, angle = "right" if edit.yaw_deg > 0 else "left", number(abs(edit.yaw_deg), 1)
        groups.append([f"Show the same scene from a viewpoint {angle} degrees further to the {side}."])
    return Wordings(groups)


def _yaw(degrees: float) -> list[str]:
    if not degrees:
        return []
    side, angle = "right" if degrees > 0 else "left", number(abs(degrees), 1)
    return [
        f"orbit the camera {angle} degrees to the {side}",
        f"move the camera around the scene, {angle} degrees to the {side}",
        f"swing the camera {angle} degrees to the {side} around the scene",
        f"walk around the scene to the {side} by {angle} degrees",
    ]


def _pitch(degrees: float) -> list[str]:
    if not degrees:
        return []
    angle = number(abs(degrees), 1)
    verb, steep, way = ("raise", "more steeply", "up") if degrees > 0 else ("lower", "less steeply", "down")
    return [
        f"{verb} the camera by {angle} degrees",
        f"{verb} the viewpoint {angle} degrees along its orbit",
        f"move the camera {way} by {angle} degrees so that it looks down {steep}",
        f"{verb} the camera's elevation by {angle} degrees",
    ]


def _zoom(factor: float) -> list[str]:
    if factor == 1:
        return []
    share = number(100 / factor, 0)
    word, way = ("in", "closer to the scene") if factor > 1 else ("out", "farther away from the scene")
    bring = "bring the camera" if factor > 1 else "pull the camera back,"
    return [
        f"zoom {word} by moving the camera to {share} % of its distance",
        f"move the camera {way}, to {share} % of its distance",
        f"zoom {word}: move the camera to {share} % of its distance",
        f"{bring} {way}, to {share} % of its distance",
    ]


def _sentences(verbs: Sequence[str], x: str, ends: Sequence[str]) -> list[str]:
    return distinct(sentence(f"{verb} {x} {end}") for verb, end in product(verbs, ends))
