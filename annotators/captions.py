"""One sentence on what an image shows: the objects that can be seen, and how they stand to one another.

Invariant: every object named is well seen in that image, of slivers nothing is said, and every relation holds in it
(`annotators.relations`).
Nothing is said of floor, walls or light, which the facts do not tell.
"""

from collections import Counter

import numpy as np

from ..shards.schema import PairFacts
from .case import noun_phrase
from .phrases import bare, counted, definite, listed, sentence
from .relations import Layout, Relation, StateName, present

_SAID = {
    "left": "to the left of {b}",
    "right": "to the right of {b}",
    "front": "in front of {b}",
    "behind": "behind {b}",
    "between": "between {b} and {c}",
    "next": "next to {b}",
    "into": "inside {b}",
}


def caption(facts: PairFacts, state: StateName, rng: np.random.Generator) -> str:
    """Describe one image of a pair; `rng` chooses which one or two of the true relations are told, and how."""
    nouns = {thing.id: _noun(facts, thing.id) for thing in facts.objects if present(facts, thing, state)}
    if not nouns:
        return "An empty scene."
    counts = Counter(nouns[id] for id in rng.permutation(list(nouns)).tolist())
    everything = listed([counted(count, noun) for noun, count in counts.items()])
    told = _told(facts, state, nouns, rng)
    opening = ("", "A scene with ", "An image of ", "A view of ")[int(rng.integers(4))]
    if not told:
        return sentence(f"{opening}{everything}")
    joint = (", with ", ": ", "; ")[int(rng.integers(3))]
    return sentence(f"{opening}{everything}{joint}{listed(told)}")


def _noun(facts: PairFacts, id: int) -> str:
    """Color and category: a name's `left` or `larger` compares with objects that the sentence may not show."""
    thing = next(thing for thing in facts.objects if thing.id == id)
    return noun_phrase(facts, thing, bare(thing.category) or ("object" if thing.known else bare(thing.name)))


def _told(facts: PairFacts, state: StateName, nouns: dict[int, str], rng: np.random.Generator) -> list[str]:
    """Up to two relations between objects that their nouns tell apart, about different subjects."""
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
        words.append(f"{definite(nouns[relation.subject])} {_SAID[relation.kind].format(b=b, c=c)}")
    return words


def _fits(noun: str, other: str) -> bool:
    """Whether `the noun` could mean what `other` names: the mug, and a red mug."""
    return f" {other}".endswith(f" {noun}")


def _independent(a: Relation, b: Relation) -> bool:
    """Not two statements about the same object or the same pair."""
    return a.subject != b.subject and len({a.subject, *a.others} & {b.subject, *b.others}) < 2
