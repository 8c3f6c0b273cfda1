"""Captions of one sentence: the objects that an image shows, and their spatial relations.

Invariant: every named object is clearly visible in that image (no slivers), and every relation holds in it
(`annotators.relations`). Captions do not mention floor, walls or light, which the facts do not describe.
"""

from collections import Counter

import numpy as np

from ..shards.schema import PairFacts
from .case import noun_phrase
from .phrases import bare, counted, definite, listed, sentence
from .relations import Layout, Relation, StateName, present

_RELATION_WORDS = {
    "left": "to the left of {b}",
    "right": "to the right of {b}",
    "front": "in front of {b}",
    "behind": "behind {b}",
    "between": "between {b} and {c}",
    "next": "next to {b}",
    "into": "inside {b}",
}


def caption(facts: PairFacts, state: StateName, rng: np.random.Generator) -> str:
    """Describe one image of a pair. `rng` chooses which true relations are mentioned, two at most, and the wording."""
    nouns = {thing.id: _noun(facts, thing.id) for thing in facts.objects if present(facts, thing, state)}
    if not nouns:
        return "An empty scene."
    counts = Counter(nouns[id] for id in rng.permutation(list(nouns)).tolist())
    everything = listed([counted(count, noun) for noun, count in counts.items()])
    relations = _relation_phrases(facts, state, nouns, rng)
    opening = ("", "A scene with ", "An image of ", "A view of ")[int(rng.integers(4))]
    if not relations:
        return sentence(f"{opening}{everything}")
    joint = (", with ", ": ", "; ")[int(rng.integers(3))]
    return sentence(f"{opening}{everything}{joint}{listed(relations)}")


def _noun(facts: PairFacts, id: int) -> str:
    """Color and category. A name is not used: its `left` or `larger` may compare with objects that are not
    mentioned."""
    thing = next(thing for thing in facts.objects if thing.id == id)
    return noun_phrase(facts, thing, bare(thing.category) or ("object" if thing.known else bare(thing.name)))


def _relation_phrases(facts: PairFacts, state: StateName, nouns: dict[int, str], rng: np.random.Generator) -> list[str]:
    """Up to two relations between objects with distinct nouns, with different subjects."""
    clear = [id for id in nouns if not any(_fits(nouns[id], nouns[other]) for other in nouns if other != id)]
    layout = Layout(facts, state)
    found = [relation for id in clear for relation in layout.relations(id, clear)]
    chosen: list[Relation] = []
    for index in rng.permutation(len(found)).tolist():
        relation = found[index]
        if all(_independent(relation, other) for other in chosen):
            chosen.append(relation)
    words: list[str] = []
    for relation in chosen[:2]:
        b, c = (definite(nouns[id]) for id in (relation.others[0], relation.others[-1]))
        words.append(f"{definite(nouns[relation.subject])} {_RELATION_WORDS[relation.kind].format(b=b, c=c)}")
    return words


def _fits(noun: str, other: str) -> bool:
    """Whether `the <noun>` may also mean `other`, as `the mug` may mean a red mug."""
    return f" {other}".endswith(f" {noun}")


def _independent(a: Relation, b: Relation) -> bool:
    """Whether two relations have different subjects and are not about the same pair of objects."""
    return a.subject != b.subject and len({a.subject, *a.others} & {b.subject, *b.others}) < 2
