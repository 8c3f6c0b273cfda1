"""What an edit may be called: for each kind, groups of sentences that are all true of the pair.

Invariant: a sentence is only offered where the facts bear it, so any choice among them is a true instruction. A group
holds sentences that say the same (where to, which way, how far); choosing from different groups gives real variety.
"""

from collections.abc import Sequence
from itertools import product

from annotators.case import Case
from annotators.directions import Motion, motion
from annotators.phrases import distinct, indefinite, is_plural, length, number, sentence
from annotators.relations import Relation, RelationKind
from shards.schema import Edit

Groups = list[list[str]]

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
BENCH_CAMERA = (
    "Move the camera.\n- Camera rotation: Yaw {yaw:.1f}°, Pitch {pitch:.1f}°.\n- Camera zoom: {zoom}.\n"
    "- Keep the 3D scene static; only change the viewpoint."
)


def bench_wording(edit: Edit, noun: str) -> str:
    """The instruction in the words of SpatialEdit's bench; empty for kinds that the bench does not have.

    `noun` is the edited object's name without article. The wording of moves and scales asks for the red box that is
    drawn on the source image, so it only fits images that bear one (the export for that trainer draws it).
    """
    match edit.kind:
        case "translate" | "scale":
            return f"Move the {noun} into the red box and finally remove the red box."
        case "rotate" if edit.view:
            return f"Rotate the {noun} to show the {view_name(edit.view)}."
        case "camera":
            zoom = "in" if edit.zoom > 1 else "out" if edit.zoom < 1 else "unchanged"
            return BENCH_CAMERA.format(yaw=edit.yaw_deg + 0.0, pitch=edit.pitch_deg + 0.0, zoom=zoom)
        case _:
            return ""


def view_name(view: str) -> str:
    """`front view` of `the front view.`"""
    return view.strip().rstrip(".").removeprefix("the ")


def where(relation: Relation, names: dict[int, str]) -> list[str]:
    """The ways to say a relation, `names` being definite noun phrases by id."""
    b, c = names[relation.others[0]], names[relation.others[-1]]
    return [phrase.format(b=b, c=c) for phrase in _SIDES[relation.kind]]


def groups_for(case: Case) -> Groups:
    """All groups of true sentences for a pair's edit, none empty.

    The edited object's name (or, for insert, its noun) must not be empty.
    """
    kind = case.facts.edit.kind
    makers = {"translate": translate, "rotate": rotate, "scale": scale, "remove": remove, "insert": insert}
    return [group for group in (camera if kind == "camera" else makers[kind])(case) if group]


def translate(case: Case) -> Groups:
    """Where to (relations that the move brings about), which way and how far, and where in the image it ends."""
    x = case.edited_name
    after = [relation for relation in case.after if relation not in case.before]
    into = any(relation.kind == "into" for relation in after)
    verbs = ("put", "place", "move", "set") if into else ("move", "place", "put", "reposition", "relocate", "shift")
    groups = [_sentences(verbs, x, where(relation, case.names)) for relation in after]
    way = motion(case)
    if not into:
        groups += [_sentences(("move", "shift", "slide"), x, words) for words in _ways(way)]
    if way.end:
        groups.append(_sentences(("move", "shift", "bring"), x, way.end))
    return groups


def _ways(way: Motion) -> list[list[str]]:
    """The direction alone, and with the distance."""
    groups = [way.directions]
    if way.metres > 0:
        groups.append([f"about {length(way.metres)} {way.directions[0]}", f"{way.directions[0]} by {way.magnitude}"])
        groups[-1] += [f"{words} by about {length(way.metres)}" for words in way.directions]
    if way.slight:
        groups.append([f"a bit {way.directions[0]}", f"slightly {way.directions[0]}"])
    return [[words for words in group if words] for group in groups if way.directions]


def rotate(case: Case) -> Groups:
    """By how much, clockwise or counter-clockwise as seen from above; the canonical view where there is one."""
    x, edit = case.edited_name, case.facts.edit
    groups: Groups = []
    if edit.view:
        side, own = view_name(edit.view).removesuffix(" view"), "their" if is_plural(x) else "its"
        groups.append([f"Turn {x} until {own} {side} faces the camera.", f"Rotate {x} so that we see {own} {side}."])
        groups[-1] += [f"Turn {x} to show {own} own {side}.", f"Spin {x} around to reveal {own} {side}."]
    if not edit.known or not edit.rotation_deg:
        return [*groups, [f"Rotate {x}.", f"Turn {x}.", f"Rotate {x} on the spot.", f"Turn {x} in place."]]
    degrees = wrapped(edit.rotation_deg)
    angle = number(abs(degrees), 0)
    if abs(abs(degrees) - 180) < 0.5:
        return [
            *groups,
            [
                f"Rotate {x} by 180 degrees.",
                f"Turn {x} by 180 degrees.",
                f"Spin {x} 180 degrees about its vertical axis.",
            ],
            [f"Turn {x} all the way around, by half a turn.", f"Give {x} half a turn."],
        ]
    sense = "counter-clockwise" if degrees > 0 else "clockwise"
    groups.append([f"{verb} {x} {angle} degrees {sense}, seen from above." for verb in ("Rotate", "Turn", "Spin")])
    groups.append([f"{verb} {x} {sense} by {angle} degrees as seen from above." for verb in ("Rotate", "Turn")])
    groups.append([f"Looking down from above, {verb} {x} {sense} by {angle} degrees." for verb in ("rotate", "turn")])
    quarter = {45: "an eighth of a turn", 90: "a quarter turn", 135: "three eighths of a turn"}.get(round(abs(degrees)))
    if quarter and abs(abs(degrees) - round(abs(degrees))) < 0.5:
        groups.append([f"Give {x} {quarter} {sense}, seen from above."])
    return groups


def scale(case: Case) -> Groups:
    """By which factor, as a factor, a share or a word."""
    x, factor = case.edited_name, case.facts.edit.scale
    if not case.facts.edit.known or factor == 1:
        return []
    larger = factor > 1
    plain = ["larger", "bigger"] if larger else ["smaller"]
    groups = [[f"Make {x} {word}." for word in plain] + [f"{'Enlarge' if larger else 'Shrink'} {x}."]]
    times, share = number(factor), number(100 * factor, 0)
    verbs = ("Enlarge", "Scale up") if larger else ("Shrink", "Scale down")
    groups.append([f"{verb} {x} to {share} % of the original size." for verb in (*verbs, "Resize", "Scale")])
    if larger:
        groups.append([f"Make {x} {times} times as large.", f"Make {x} {times} times as big."])
        groups[-1].append(f"Scale {x} up by a factor of {times}.")
    else:
        groups.append([f"Make {x} smaller, {share} % as large as before.", f"Scale {x} down by a factor of {times}."])
    for value, words in _FRACTIONS:
        if abs(factor - value) <= 0.02 * value:
            groups.append(_fraction(x, words, larger))
    return groups


_FRACTIONS: tuple[tuple[float, str], ...] = (
    (0.5, "half"),
    (2 / 3, "two thirds"),
    (0.75, "three quarters"),
    (1.5, "one and a half times"),
    (2.0, "twice"),
)


def _fraction(x: str, words: str, larger: bool) -> list[str]:
    if larger:
        return [f"Make {x} {words} as large.", f"Enlarge {x} to {words} the original size."]
    of = "" if words == "half" else "of "
    return [f"Shrink {x} to {words} {of}the original size.", f"Make {x} {words} as large."]


def remove(case: Case) -> Groups:
    """That it goes; and where it stands in the source, which the name need not say."""
    x = case.edited_name
    ends = ("", " from the scene", " from the image", " from the picture")
    groups = [
        [f"{verb} {x}{end}." for verb, end in product(("Remove", "Erase", "Delete"), ends)],
        [f"Take {x} away.", f"Take {x} out of the scene.", f"Get rid of {x}.", f"Clear {x} away."],
        [f"Make {x} disappear.", f"Edit {x} out of the image.", f"Leave everything as it is, but without {x}."],
    ]
    verb = "are" if is_plural(x) else "is"
    for relation in case.before:
        if relation.kind != "into":
            words = where(relation, case.names)[0]
            groups.append([f"{start} {x} that {verb} {words}." for start in ("Remove", "Delete", "Take away")])
    return groups


def insert(case: Case) -> Groups:
    """What comes, by its indefinite name, and where: by relations, else by the part of the image."""
    a = indefinite(case.edited_noun)
    groups: Groups = []
    for relation in case.after:
        verbs = ("put", "place", "add") if relation.kind == "into" else ("add", "place", "put", "insert")
        phrases = where(relation, case.names)
        groups.append(_sentences(verbs, a, phrases[1:] if relation.kind == "into" else phrases))
    end = motion(case).place
    if end:
        groups.append([f"{verb} {a} {words}." for verb, words in product(("Add", "Place", "Insert"), end)])
    ends = ("to the scene", "to the picture", "to the image")
    groups.append(
        [f"Add {a} {words}." for words in ends] + [f"Insert {a} into the scene.", f"There should be {a} in the scene."]
    )
    return groups


def camera(case: Case) -> Groups:
    """Around, up or down, closer or away."""
    edit = case.facts.edit
    if not edit.known:
        return []
    parts = [_yaw(edit.yaw_deg), _pitch(edit.pitch_deg), _zoom(edit.zoom)]
    said = [part for part in parts if part]
    groups = [[_joined(choice) for choice in zip(*said, strict=True)]] if said else []
    keep = ("Keep the scene as it is", "Without changing the scene", "Leave every object where it is")
    if said:
        first = groups[0]
        groups.append([f"{keep[0]}: {_lower(text)}" for text in first[:3]] + [f"{keep[1]}, {_lower(first[0])}"])
        groups.append([f"{keep[2]} and {_lower(text)}" for text in first[1:3]])
    if edit.yaw_deg and not edit.pitch_deg and edit.zoom == 1:
        side, angle = "right" if edit.yaw_deg > 0 else "left", number(abs(edit.yaw_deg), 1)
        groups.append([f"Show the same scene from a viewpoint {angle} degrees further to the {side}."])
    return groups


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
    return [
        f"zoom {word} by moving the camera to {share} % of its distance",
        f"move the camera {way}",
        f"zoom {word}",
        f"bring the camera {way}, to {share} % of its distance" if factor > 1 else f"pull the camera back, {way}",
    ]


def _joined(parts: Sequence[str]) -> str:
    return sentence(" and ".join(parts) if len(parts) < 3 else f"{parts[0]}, {parts[1]} and {parts[2]}")


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def wrapped(degrees: float) -> float:
    """The same angle in (-180, 180]."""
    return 180.0 - (180.0 - degrees) % 360.0


def _sentences(verbs: Sequence[str], x: str, ends: Sequence[str]) -> list[str]:
    return distinct(sentence(f"{verb} {x} {end}") for verb, end in product(verbs, ends))
