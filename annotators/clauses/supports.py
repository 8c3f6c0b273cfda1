"""Judge what an instruction says about supports: where the object ends, where it stands before, what stands on it.

Invariant: only stored supports are compared (`annotators.supports`). Without them every such claim is unchecked.

- support, origin: agree if the facts store this support, contradicted if they store another one; `judge_support` lists
  the exceptions. A support is judged in the target if the edit decides where the object ends, else in the source. If a
  name fits several objects and they differ in the outcome, or is a similar noun only, nothing is contradicted.
- A move whose only claim is a support that held before is unchecked: it does not say what to do.
- shelf: top and bottom are the highest and lowest of the stored number of shelves, middle is the second of three.
- riders: `with everything on it` is contradicted if nothing stands on, in or under the object, or stays behind.
"""

from collections.abc import Iterator
from typing import Final

from ...shards.schema import SceneObject
from ..case import Case
from ..claims import Claims, Shelf, SupportRelation
from ..phrases import bare
from ..relations import StateName
from ..supports import riders, support_of
from .clause import Clause, Outcome
from .names import is_name, matching_references
from .stands import judge_shelf, judge_support

_FLOOR: Final = frozenset({"floor", "ground", "lawn", "grass"})
_PARTLY_BELOW: Final = 0.25
"""Share of its outline inside that of another object from which something on the floor may count as under it."""
_SAYS_MORE: Final = ("relation", "directions", "part", "metres", "widths")


def support_clauses(claims: Claims, case: Case, state: StateName) -> Iterator[Clause]:
    """Judge the claimed supports and riders of the edited object, if any.

    Args:
        state: the image that `claims.support` describes.
    """
    yield from place_clauses(claims, case, state, case.edited)
    if claims.riders == "along":
        yield riders_clause(case)


def place_clauses(claims: Claims, case: Case, state: StateName, thing: SceneObject) -> Iterator[Clause]:
    """Judge the claimed supports of one edited object, if any; arguments as in `support_clauses`."""
    if claims.support != "none":
        said = claims.support, claims.support_object, claims.shelf
        yield from _clauses(claims, case, thing, "support", *said, state)
    if claims.origin != "none":
        said = claims.origin, claims.origin_object, claims.origin_shelf
        yield from _clauses(claims, case, thing, "origin", *said, "source")


def _clauses(
    claims: Claims,
    case: Case,
    thing: SceneObject,
    name: str,
    how: SupportRelation,
    text: str,
    shelf: Shelf,
    state: StateName,
) -> Iterator[Clause]:
    said = f"says {how} {f'the {shelf} shelf of ' if shelf != 'none' else ''}the {bare(text) or 'shelf'}"
    if how == "none" or not case.supported:
        yield Clause(name, "unchecked", f"{said}, what it stands on is not known")
        return
    support = support_of(thing, state)
    noun = named(text, claims.object)
    ids = [support.object] if not noun and shelf != "none" else candidates(case, noun)
    if not ids:
        yield Clause(name, "unchecked", f"{said}, which is no known name")
        return
    outcomes: set[Outcome] = {_judge(case, thing, state, how, id) for id in ids}
    if name == "origin" and how == "on" and support.kind == "inside" and support.object in ids:
        outcomes = {"unchecked"}  # `from the bowl` says that it leaves the bowl, not that it is on it
    outcome: Outcome = outcomes.pop() if len(outcomes) == 1 else "unchecked"
    if outcome == "contradicted" and noun and not all(id == 0 or is_name(case, noun, id) for id in ids):
        outcome = "unchecked"  # a similar noun may mean another object
    if outcome == "agrees" and name == "support" and _held_before(claims, case, ids, state):
        outcome = "unchecked"
        said += ", which it was before"
    yield Clause(name, outcome, f"{said}, is {_actual(case, thing, state)}")
    if shelf != "none" and outcome != "contradicted":
        found = judge_shelf(support, shelf) if support.object in ids else "unchecked"
        detail = f"says {shelf}, is number {support.shelf} of {support.shelves}"
        yield Clause("shelf" if name == "support" else "origin shelf", found, detail)


def _held_before(claims: Claims, case: Case, ids: list[int], state: StateName) -> bool:
    """Whether a move names only a support, and the object stood there before."""
    before, after = case.edited.source_support, case.edited.target_support
    says_more = claims.edit == "swap" or any(getattr(claims, one) not in ("none", [], 0) for one in _SAYS_MORE)
    if state == "source" or not before.kind or says_more:
        return False
    same_shelf = claims.shelf == "none" or before.shelf == after.shelf
    return same_shelf and all(_judge(case, case.edited, "source", claims.support, id) == "agrees" for id in ids)


def _judge(case: Case, thing: SceneObject, state: StateName, how: SupportRelation, other: int) -> Outcome:
    if how == "none":
        return "unchecked"
    found = judge_support(case.facts, thing, state, how, other)
    layout = case.source_layout if state == "source" else case.target_layout
    floor = support_of(thing, state).kind == "floor" and how == "under" and other in layout.standing
    if found == "contradicted" and floor and thing.id in layout.standing:
        return "unchecked" if layout.below(thing.id, other) >= _PARTLY_BELOW else found
    return found


def candidates(case: Case, noun: str) -> list[int]:
    """Ids of the objects that a support's name (`named`) may mean; [0] for the floor."""
    if noun in _FLOOR:
        return [0]
    return matching_references(case, noun) if noun else []


def named(text: str, subject: str) -> str:
    """The name of a support without its article; `the blue one` of `the red book on the blue one` is a blue book.

    Args:
        subject: noun phrase of the edited object.
    """
    noun = bare(text.lower())
    words = bare(subject).split()
    return f"{noun.removesuffix(' one')} {words[-1]}" if noun.endswith(" one") and words else noun


def elsewhere(claims: Claims, case: Case, tells_which: bool) -> set[int]:
    """Ids of the objects of the source that do not stand where the instruction says that its object stands.

    Args:
        tells_which: whether `claims.support` says where the object stands before the edit, not where it ends.
    """
    said: list[tuple[SupportRelation, str]] = [(claims.origin, claims.origin_object)]
    if tells_which:
        said.append((claims.support, claims.support_object))
        if claims.relation == "into":
            said.extend(("in", text) for text in claims.references)
    gone: set[int] = set()
    for how, text in said if case.supported else ():
        if how != "none" and (ids := candidates(case, named(text, claims.object))):
            gone |= {
                one.id
                for one in case.facts.objects
                if all(_judge(case, one, "source", how, id) == "contradicted" for id in ids)
            }
    return gone


def riders_clause(case: Case) -> Clause:
    """Judge that what stands on an edited object comes along."""
    if not case.supported:
        return Clause("riders", "unchecked", "what stands on it is not known")
    if not case.riders:
        return Clause("riders", "contradicted", "says that things on it come along, nothing stands on it")
    after = {id for one in case.facts.edit.edited for id in riders(case.facts, one, "target")}
    gone = case.facts.edit.kind == "remove"
    left = [one.name for one in case.facts.objects if one.id in case.riders and not (gone or one.id in after)]
    if gone:
        left = [one.name for one in case.facts.objects if one.id in case.riders and one.target_support.kind]
    if left:
        return Clause("riders", "contradicted", f"says that things on it come along, {left[0]} does not")
    return Clause("riders", "agrees", f"{len(case.riders)} come along")


def _actual(case: Case, thing: SceneObject, state: StateName) -> str:
    support = support_of(thing, state)
    if support.kind in ("", "floor"):
        return "on the floor" if support.kind else "not there"
    name = next((one.name for one in case.facts.objects if one.id == support.object), "")
    words = {"inside": "in", "under": "under"}.get(support.kind, "on")
    return f"{words} the {name}"
