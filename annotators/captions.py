"""Captions of one sentence: the objects that an image shows, and their spatial relations.

Invariant: every named object is clearly visible in that image (no slivers), and every relation holds in it
(`annotators.relations`). Captions do not mention floor or light. Where the facts say what objects stand on, the caption
says it: `A mug and a lamp stand on a desk, and a ball lies under it.`
"""

from collections import Counter

import numpy as np

from ..shards.schema import PairFacts, SupportRef
from .case import noun_phrase
from .phrases import bare, counted, definite, indefinite, is_plural, listed, sentence
from .relations import Layout, Relation, StateName, present
from .supports import at, manner, support_of, supports_known

_RELATION_WORDS = {
    "left": "to the left of {b}",
    "right": "to the right of {b}",
    "front": "in front of {b}",
    "behind": "behind {b}",
    "between": "between {b} and {c}",
    "next": "next to {b}",
    "into": "inside {b}",
    "against": "against the wall",
    "corner": "in the corner of the room",
}


def caption(facts: PairFacts, state: StateName, rng: np.random.Generator) -> str:
    """Describe one image of a pair. `rng` chooses which true relations are mentioned, two at most, and the wording."""
    nouns = {thing.id: _noun(facts, thing.id) for thing in facts.objects if present(facts, thing, state)}
    if not nouns:
        return "An empty scene."
    if supports_known(facts):
        return _furnished(facts, state, nouns, rng)
    counts = Counter(nouns[id] for id in rng.permutation(list(nouns)).tolist())
    everything = listed([counted(count, noun) for noun, count in counts.items()])
    relations = [_relation_phrase(one, nouns) for one in _relations(facts, state, nouns, rng)]
    opening = ("", "A scene with ", "An image of ", "A view of ")[int(rng.integers(4))]
    if not relations:
        return sentence(f"{opening}{everything}")
    joint = (", with ", ": ", "; ")[int(rng.integers(3))]
    return sentence(f"{opening}{everything}{joint}{listed(relations)}")


def _furnished(facts: PairFacts, state: StateName, nouns: dict[int, str], rng: np.random.Generator) -> str:
    """A caption by supports: what stands on what, then the other objects, and at most one relation."""
    things = {one.id: one for one in facts.objects}
    clear = {id for id in nouns if not any(_fits(nouns[id], nouns[other]) for other in nouns if other != id)}
    groups: dict[SupportRef, list[int]] = {}
    for id in nouns:
        support = support_of(things[id], state)
        if support.object in clear:
            groups.setdefault(support, []).append(id)
    said: set[int] = set()
    clauses: list[str] = []
    last = 0
    for support in sorted(groups, key=lambda one: (one.object, one.kind, one.shelf)):
        b = support.object
        name = (
            "it" if b == last and support.kind == "under" else definite(nouns[b]) if b in said else indefinite(nouns[b])
        )
        fresh = [nouns[id] for id in groups[support] if id not in said]
        known = [definite(nouns[id]) for id in groups[support] if id in said and id in clear]
        subjects = known + [counted(count, noun) for noun, count in Counter(fresh).items()]
        if not subjects or (is_plural(nouns[b]) and name == "it"):
            continue
        many = len(subjects) > 1 or len(fresh) > 1 or is_plural(subjects[0])
        verb = {"on": "stand", "in": "lie", "under": "lie"}[manner(support)] + ("" if many else "s")
        clauses.append(f"{listed(subjects)} {verb} {at(support, name)[0]}")
        said |= {b, *groups[support]}
        last = b
    rest = Counter(nouns[id] for id in rng.permutation([id for id in nouns if id not in said]).tolist())
    if rest:
        shown = [counted(count, noun) for noun, count in rest.items()]
        many = len(shown) > 1 or is_plural(shown[0]) or max(rest.values()) > 1
        openings = (f"there {'are' if many else 'is'}", "the image shows")
        clauses.append(f"{openings[int(rng.integers(2))]} {listed(shown)}")
    relations = [one for one in _relations(facts, state, nouns, rng) if one.kind != "into"]
    clauses += [_relation_phrase(one, nouns, are=True) for one in relations[:1]]
    return sentence("; ".join(clauses))


def _noun(facts: PairFacts, id: int) -> str:
    """Color and category. A name is not used: its `left` or `larger` may compare with objects that are not
    mentioned."""
    thing = next(thing for thing in facts.objects if thing.id == id)
    return noun_phrase(facts, thing, bare(thing.category) or ("object" if thing.known else bare(thing.name)))


def _relations(facts: PairFacts, state: StateName, nouns: dict[int, str], rng: np.random.Generator) -> list[Relation]:
    """Up to two relations between objects with distinct nouns, with different subjects."""
    clear = [id for id in nouns if not any(_fits(nouns[id], nouns[other]) for other in nouns if other != id)]
    layout = Layout(facts, state)
    found = [relation for id in clear for relation in layout.relations(id, clear)]
    chosen: list[Relation] = []
    for index in rng.permutation(len(found)).tolist():
        relation = found[index]
        if all(_independent(relation, other) for other in chosen):
            chosen.append(relation)
    return chosen[:2]


def _relation_phrase(relation: Relation, nouns: dict[int, str], are: bool = False) -> str:
    """`the mug to the left of the lamp`; with `are`: `the mug is to the left of the lamp`."""
    b, c = (definite(nouns[relation.others[k]]) if relation.others else "" for k in (0, -1))
    noun = nouns[relation.subject]
    verb = f" {'are' if is_plural(noun) else 'is'}" if are else ""
    return f"{definite(noun)}{verb} {_RELATION_WORDS[relation.kind].format(b=b, c=c)}"


def _fits(noun: str, other: str) -> bool:
    """Whether `the <noun>` may also mean `other`, as `the mug` may mean a red mug."""
    return f" {other}".endswith(f" {noun}")


def _independent(a: Relation, b: Relation) -> bool:
    """Whether two relations have different subjects and are not about the same pair of objects."""
    return a.subject != b.subject and len({a.subject, *a.others} & {b.subject, *b.others}) < 2
