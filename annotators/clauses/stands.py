"""Whether an object stands on, in or under another one, as the facts store it.

Invariant: nothing is derived from boxes. Where the facts store no supports, everything is unchecked.
"""

from ...shards.schema import PairFacts, SceneObject, SupportRef
from ..supports import Manner, StateName, manner, support_of
from .clause import Outcome


def judge_support(facts: PairFacts, thing: SceneObject, state: StateName, how: Manner, other: int) -> Outcome:
    """Whether an object stands on, in or under another one (id; 0: the floor).

    Contradicted if the facts store another support. Unchecked in these cases, in which people may say either: it stands
    on something that stands there (a mug on a tray on the table), `on the floor` is said of something under a table,
    and `in the bookcase` of something on its shelf.
    """
    support = support_of(thing, state)
    if not support.kind or other == thing.id:
        return "unchecked" if not support.kind else "contradicted"
    if other == 0:
        return "agrees" if support.kind == "floor" else "unchecked" if support.kind == "under" else "contradicted"
    if support.object == other:
        if manner(support) == how:
            return "agrees"
        return "unchecked" if support.kind == "shelf" and how == "in" else "contradicted"
    below = next((one for one in facts.objects if support.object and one.id == support.object), None)
    if below is None or manner(support) == "under":
        return "contradicted"
    return "unchecked" if judge_support(facts, below, state, how, other) != "contradicted" else "contradicted"


def judge_shelf(support: SupportRef, word: str) -> Outcome:
    """Whether a support is the shelf that a word names: top, upper, middle, lower or bottom."""
    if support.kind == "top" and word in ("top", "upper"):
        return "unchecked"  # the board on top of a bookcase may be called its top shelf
    if support.kind != "shelf":
        return "contradicted" if support.kind else "unchecked"
    number, count = support.shelf, support.shelves
    holds = {
        "top": number == count,
        "bottom": number == 1,
        "middle": 1 < number < count,
        "upper": 2 * number > count + 1,
        "lower": 2 * number < count + 1,
    }[word]
    return "agrees" if holds and (word != "middle" or count == 3) else "unchecked" if holds else "contradicted"
