"""The facts of an edit as lines of plain English, for the prompt of a vision-language model.

Invariant: every line is true, in the viewer's frame, by the same margins as the templates' sentences
(`annotators.relations`, `annotators.directions`). Unknown facts are left out.
"""

from collections.abc import Iterator

from ..shards.schema import SceneObject
from .case import Case, noun_phrase
from .edits.kind import Kind
from .edits.registry import kind_of
from .phrases import bare, indefinite, listed
from .relations import StateName, present
from .supports import at, support_of


def edit_facts(case: Case) -> str:
    """One fact per line, each starting with `- `."""
    return "\n".join(f"- {line}" for line in _lines(case))


def _lines(case: Case) -> Iterator[str]:
    kind = kind_of(case.facts.edit.kind)
    yield f"kind of edit: {kind.name}: {kind.summary}"
    for one in case.edited_objects:
        yield from _edited(case, kind, one)
    yield from _others(case, kind)
    if case.facts.description:
        yield f"description that came with the pair: {case.facts.description}"
    if case.supported:
        yield from _supports(case, kind)
    yield from kind.facts(case)


def _edited(case: Case, kind: Kind, one: SceneObject) -> Iterator[str]:
    yield f"edited object: {indefinite(case.noun_of(one) or 'object')}"
    if kind.in_source:
        name = case.name_of(one)
        yield (
            f'a name that fits it alone: "{name}"'
            if name
            else "the source image holds more than one such object: say by its looks or place which one is meant"
        )


def _others(case: Case, kind: Kind) -> Iterator[str]:
    """The other objects. Only those with a unique name may serve as references."""
    facts = case.facts
    seen = [
        indefinite(noun_phrase(facts, one, bare(one.name) or "object"))
        for one in facts.objects
        if one.id not in facts.edit.edited and (present(facts, one, "source") or present(facts, one, "target"))
    ]
    if seen:
        yield f"other objects in the images: {listed(seen)}"
    if case.names and kind.objects:
        yield f"objects that may serve as references: {listed(list(case.names.values()))}"


def _supports(case: Case, kind: Kind) -> Iterator[str]:
    """What the edited objects stand on before and after, what comes along, and what the references stand on."""
    states: tuple[tuple[StateName, str], ...] = (("source", "before the edit"), ("target", "after the edit"))
    for one in case.edited_objects:
        the = f"the {bare(one.category) or 'object'}"
        places = {state: place for state, _ in states if (place := _place(case, one, state))}
        if len(set(places.values())) == 1 and len(places) == 2:
            yield f"before and after the edit, {the} stands {places['source']}"
        else:
            yield from (f"{words}, {the} stands {places[state]}" for state, words in states if state in places)
    if riding := [one for one in case.facts.objects if one.id in case.riders and present(case.facts, one, "source")]:
        verb = "is gone, too" if not kind.in_target else "comes along"
        yield f"what stands on, in or under it {verb}: {listed([indefinite(case.noun_of(one)) for one in riding])}"
    for id, name in case.names.items():
        one = next(thing for thing in case.facts.objects if thing.id == id)
        if one.source_support.object in case.names:
            yield f"{name} stands {_place(case, one, 'source')}"


def _place(case: Case, one: SceneObject, state: StateName) -> str:
    """`on the desk`; empty if the object is absent or what it stands on has no name."""
    support = support_of(one, state)
    name = case.floor if support.kind == "floor" else case.names.get(support.object, "")
    return at(support, name)[0] if support.kind and name else ""
