"""What is known of an edit, in lines of plain English: what a model is told so that it need not guess.

Invariant: every line holds, in the viewer's frame, by the same margins as the templates' sentences
(`annotators.relations`, `annotators.directions`); what the source does not know is not said.
"""

from collections.abc import Iterator
from typing import Final

from ..shards.geometry import wrapped
from ..shards.interop.wording import view_name
from ..shards.schema import EditKind
from .case import Case, noun_phrase
from .directions import motion
from .phrases import bare, indefinite, length, listed, number
from .relations import Relation, present
from .wording import where

_KINDS: Final[dict[EditKind, str]] = {
    "translate": "translate: one object was moved",
    "rotate": "rotate: one object was turned on the spot",
    "scale": "scale: one object changed its size",
    "remove": "remove: one object was taken out of the scene",
    "insert": "insert: one object was put into the scene",
    "camera": "camera: the scene stayed as it was, the camera moved",
}


def edit_facts(case: Case) -> str:
    """One fact a line, each begun by `- `."""
    return "\n".join(f"- {line}" for line in _lines(case))


def _lines(case: Case) -> Iterator[str]:
    kind = case.facts.edit.kind
    yield f"kind of edit: {_KINDS[kind]}"
    if kind != "camera":
        yield from _object(case)
    yield from _others(case)
    if case.facts.description:
        yield f"description that came with the pair: {case.facts.description}"
    makers = {"translate": _move, "rotate": _turn, "scale": _size, "remove": _gone, "insert": _come, "camera": _camera}
    yield from makers[kind](case)


def _object(case: Case) -> Iterator[str]:
    noun = case.edited_noun or "object"
    yield f"edited object: {indefinite(noun)}"
    if case.facts.edit.kind != "insert":
        name = case.edited_name
        yield (
            f'a name that fits it alone: "{name}"'
            if name
            else ("the source image holds more than one such object: say by its looks or place which one is meant")
        )


def _others(case: Case) -> Iterator[str]:
    """Only objects that a name fits alone may be referred to."""
    facts = case.facts
    seen = [
        indefinite(noun_phrase(facts, thing, bare(thing.name) or "object"))
        for thing in facts.objects
        if thing.id != facts.edit.object and (present(facts, thing, "source") or present(facts, thing, "target"))
    ]
    if seen:
        yield f"other objects in the images: {listed(seen)}"
    if case.names and facts.edit.kind != "camera":
        yield f"objects that may serve as references: {listed(list(case.names.values()))}"


def _move(case: Case) -> Iterator[str]:
    way = motion(case)
    yield from _related(case, "before the edit it was", [one for one in case.before if one not in case.after])
    yield from _related(case, "after the edit it is", case.reached)
    if way.directions:
        yield f"direction of the move, as the camera sees it: {way.directions[0]}"
    if way.metres:
        yield f"distance of the move: {length(way.metres)} ({number(way.metres)} metres)"
    if way.end:
        yield f"the move leads {way.end[0]}"


def _turn(case: Case) -> Iterator[str]:
    edit = case.facts.edit
    if edit.known and edit.rotation_deg:
        degrees = wrapped(edit.rotation_deg)
        sense = "counterclockwise" if degrees > 0 else "clockwise"
        half = " (half a turn: the sense makes no difference)" if abs(degrees) == 180 else f" {sense}, seen from above"
        yield f"turn: {number(abs(degrees), 1)} degrees{half}"
    if edit.view:
        yield f"side of the object that faces the camera after the edit: {_side(edit.view)}"


def _size(case: Case) -> Iterator[str]:
    edit = case.facts.edit
    if edit.known and edit.scale != 1:
        word = "larger" if edit.scale > 1 else "smaller"
        yield f"new size: {number(edit.scale)} times the old size ({word})"


def _gone(case: Case) -> Iterator[str]:
    yield from _related(case, "in the source image it is", case.before)


def _come(case: Case) -> Iterator[str]:
    yield from _related(case, "in the target image it is", case.after)
    for place in motion(case).place[:1]:
        yield f"it stands {place}"


def _camera(case: Case) -> Iterator[str]:
    edit = case.facts.edit
    if not edit.known:
        return
    if edit.yaw_deg:
        side = "right" if edit.yaw_deg > 0 else "left"
        yield f"the camera orbits the scene by {number(abs(edit.yaw_deg), 1)} degrees to the viewer's {side}"
    if edit.pitch_deg:
        way = "rises" if edit.pitch_deg > 0 else "sinks"
        yield f"the camera {way} by {number(abs(edit.pitch_deg), 1)} degrees and keeps looking at the scene"
    if edit.zoom == 1:
        yield "the distance of the camera is unchanged"
        return
    way = "closer (zoom in)" if edit.zoom > 1 else "farther away (zoom out)"
    yield f"the camera comes {way}: to {number(100 / edit.zoom, 0)} % of its distance"


def _related(case: Case, start: str, relations: list[Relation]) -> Iterator[str]:
    if relations:
        # `into` is where a move leads; what stands there is `inside`.
        told = [where(relation, case.names)[-1 if relation.kind == "into" else 0] for relation in relations]
        yield f"{start}, as the camera sees it, {listed(told)}"


def _side(view: str) -> str:
    return view_name(view).removesuffix(" view")
