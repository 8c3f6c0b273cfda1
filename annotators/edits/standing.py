"""Sentences about what the edited object stands on, where the facts say so: from one support to another, and riders.

Invariant: as for all templates, every sentence is true. A relation that is said beside a support holds between objects
on this support.
"""

import re
from collections.abc import Sequence
from itertools import product
from typing import Final

from ..case import Case, Standing
from ..phrases import bare, definite, distinct, is_plural, listed, sentence
from ..relations import Relation, present
from ..supports import at, is_furniture, is_vague, manner, off, onto, shelf_word, support_of, towards
from ..wording import Group, Wordings, sentences, where

_PUT: Final = ("put", "place", "set")
_BY_DEFINITION: Final = frozenset({"next", "between", "against", "corner"})
"""Relations that only things on one support have, so that they say which support is meant."""
_BARE: Final = 4
"""Of so many sentences about an object that carries others, one does not mention them."""


def moved_onto(case: Case) -> Wordings:
    """A move from one support to another: where to, where from, and relations to what stands there."""
    start, goal, x = case.start, case.goal, case.edited_name
    if goal is None:
        return Wordings([])
    if start is not None and start.support.object == goal.support.object != 0:
        if not shelf_word(goal.support) and goal.support.kind != "under":
            return Wordings([])  # from the top of a shelf to its only shelf
        start = None
    them = "them" if is_plural(_short(x)) else "it"
    taken = [f"take {_short(x)} {words} and {verb} {them}" for words in _off(start) for verb in _PUT[:2]]
    # What is under a table is on the floor already, so the floor alone is no destination.
    stays = start is not None and start.support.kind == "under" and goal.support.kind == "floor"
    puts = [] if stays or (_has_place(x) and start) else [f"{verb} {x}" for verb in _PUT]
    ends = onto(goal.support, goal.name)
    exact: list[Group] = []
    loose: list[Group] = []
    for relation in _relations(case):
        places = where(relation, case.names)[:2]
        exact.append([sentence(f"{put} {ends[0]} {place}") for put, place in product([*puts, *taken], places)])
        if relation.kind in _BY_DEFINITION:
            exact.append(sentences(("put", "place", "move"), x, places))
    groups = [[sentence(f"{put} {end}") for put, end in product(words, ends)] for words in (puts, taken)]
    ways = _clear(case, towards(goal.support, goal.name), goal)
    groups.append(sentences(("move", "bring", "transfer"), x, ways) if puts else [])
    if start is not None and manner(start.support) == "on":
        moves = product(("move", "bring", "transfer"), _clear(case, _off(start), start)[-1:], ways)
        groups.append([sentence(f"{verb} {_short(x)} {words} {way}") for verb, words, way in moves])
    (loose if is_vague(goal.support) else exact).extend(groups)
    if stack := _stacked(case, goal):
        exact.append(stack)
    return Wordings(exact, loose)


def inserted_onto(case: Case, a: str) -> list[Group]:
    """A new object, `a` with its indefinite article, by what it stands on; groups of true sentences."""
    goal = case.goal
    if goal is None:
        return []
    ends = at(goal.support, goal.name)
    verbs = ("add", "place", "put", "insert")
    groups = [] if is_vague(goal.support) else [sentences(verbs, a, ends)]
    for relation in _relations(case):
        places = where(relation, case.names)[:2]
        groups.append([sentence(f"{verb} {a} {ends[0]} {place}") for verb, place in product(verbs[:3], places)])
        if relation.kind in _BY_DEFINITION or goal.support.kind == "floor":
            groups.append(sentences(verbs, a, places))
    return groups


def removed_from(case: Case) -> list[Group]:
    """The removed object by what it stands on; groups of true sentences."""
    start, x = case.start, case.edited_name
    if start is None or _has_place(x) or start.support.kind == "floor":
        return []  # nobody removes a chair from the floor
    verb = "are" if is_plural(x) else "is"
    words = _clear(case, _off(start), start)[-1:]
    clear = start.support.kind == "inside" or not words or words[0].startswith("off ")
    groups = [sentences(("clear",) if clear else ("remove", "delete", "erase"), x, words)]
    if not is_vague(start.support):
        places = at(start.support, start.name)
        groups.append(sentences(("remove", "delete", "get rid of"), x, places[:2]))
        groups.append(sentences(("remove", "erase"), f"{x} that {verb}", places[:2]))
    return groups


def placed_on(case: Case, verbs: Sequence[str]) -> list[Group]:
    """A move on one support, other than the floor: relations together with the support."""
    goal, x = case.goal, case.edited_name
    if goal is None or goal.support.kind == "floor" or is_vague(goal.support):
        return []
    end = at(goal.support, goal.name)[0]
    return [sentences(verbs, x, [f"{place} {end}" for place in where(one, case.names)[:1]]) for one in _relations(case)]


def with_riders(case: Case, found: Wordings) -> Wordings:
    """The sentences, most of which say that what stands on the edited object comes along.

    The riders of an object that is scaled keep their own size, so nothing is said of them.
    """
    phrases = [phrase for id in case.facts.edit.edited if (phrase := _riders(case, id))]
    if case.facts.edit.kind in ("scale", "insert", "camera") or not phrases:
        return found
    names = [case.name_of(one) for one in case.edited_objects]
    said = dict(zip(names, (_riders(case, id) for id in case.facts.edit.edited), strict=True))

    def mention(group: Group) -> Group:
        return [
            text if k % _BARE == _BARE - 1 else _mentioned(text, said, len(names) > 1) for k, text in enumerate(group)
        ]

    return Wordings(
        [mention(one) for one in found.exact], [mention(one) for one in found.loose], found.first, found.last
    )


def _mentioned(text: str, said: dict[str, list[str]], last: bool) -> str:
    """A sentence with a phrase about riders after the name of what carries them; with `last`, only at its end."""
    for name, phrases in said.items():
        at_end = re.search(rf"{re.escape(name)}\.$", text)
        found = at_end if last else re.search(rf"(?<!without ){re.escape(name)}(?! that |[\w'])", text, re.IGNORECASE)
        if found and phrases:
            end = found.start() + len(name)
            return f"{text[:end]} {phrases[len(text) % len(phrases)]}{text[end:]}"
    return text


def _riders(case: Case, id: int) -> list[str]:
    """`with everything on it`, `with the lamp on it`; empty if nothing stands on the object."""
    mine = [one for one in case.facts.objects if support_of(one, "source").object == id]
    if not any(present(case.facts, one, "source") for one in mine):
        return []
    it = "them" if is_plural(case.name_of(next(one for one in case.facts.objects if one.id == id))) else "it"
    words = [word for word in ("on", "in", "under") if any(manner(one.source_support) == word for one in mine)]
    place = f"{' and '.join(words)} {it}"
    phrases = [f"with everything {place}", f"together with everything {place}"]
    # A name that compares with other objects (`left mug`) is longer than `everything`.
    seen = [one for one in mine if present(case.facts, one, "source") and bare(one.name) == bare(one.category)]
    names = [definite(bare(one.name)) for one in seen]
    alone = len(names) == len(mine) <= 2 and len(words) == 1 and len(set(names)) == len(names)
    return [*phrases, f"with {listed(names)} {place}"] if alone else phrases


def _relations(case: Case) -> list[Relation]:
    return [relation for relation in case.new_relations if relation.kind != "into"]


def _off(start: Standing | None) -> list[str]:
    return off(start.support, start.name) if start else []


def _clear(case: Case, phrases: list[str], standing: Standing) -> list[str]:
    """Without `to` and `from` the table, if the object is furniture that may stand at a table."""
    if standing.support.kind == "floor" or not is_furniture(bare(case.edited.category)):
        return phrases
    return [phrase for phrase in phrases if not phrase.startswith(("to ", "from "))]


def _short(x: str) -> str:
    """A name without what the object stands on, which a phrase with its origin says anyway."""
    return re.sub(r" (?:on(?: top of)?|in|under) the (?!left$|right$).*$", "", x)


def _has_place(x: str) -> bool:
    return _short(x) != x


def _stacked(case: Case, goal: Standing) -> Group:
    """`Stack the red book on the blue one.`: for two things of one category."""
    below = next((one for one in case.facts.objects if one.id == goal.support.object), None)
    if below is None or goal.support.kind != "top" or below.category != case.edited.category:
        return []
    x, name = case.edited_name, goal.name
    texts = [f"Stack {x} on {name}.", f"Stack {x} on top of {name}."]
    noun = bare(below.category)
    if name.endswith(f" {noun}") and x.endswith(f" {noun}") and name != f"the {noun}":
        one = f"{name.removesuffix(noun)}one"
        texts += [f"Stack {x} on {one}.", f"Put {x} on top of {one}."]
    return distinct(texts)
