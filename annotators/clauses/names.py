"""Find the objects of a pair that a noun phrase matches: by name and category, then by color, size and place.

Invariant: a phrase matches what a viewer of the source image would understand. `table` matches a coffee table too.
`office chair` matches the chair if there is no other. Similar colors do not distinguish two objects.
"""

import re
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Final

import numpy as np

from ...shards.geometry import matrix4
from ...shards.schema import SceneObject
from ..case import Case
from ..phrases import bare
from ..supports import Manner
from .clause import Clause
from .stands import judge_support

_COLOR_FAMILIES: Final[dict[str, tuple[str, ...]]] = {
    "black": ("black", "charcoal"),
    "white": ("white", "ivory", "cream"),
    "grey": ("grey", "gray", "silver", "silvery"),
    "red": ("red", "maroon", "crimson", "scarlet", "burgundy"),
    "orange": ("orange", "amber"),
    "yellow": ("yellow", "golden", "gold"),
    "green": ("green", "olive", "lime"),
    "turquoise": ("turquoise", "teal", "cyan", "aqua"),
    "blue": ("blue", "navy", "azure"),
    "purple": ("purple", "violet", "lilac", "lavender"),
    "pink": ("pink", "magenta"),
    "brown": ("brown", "tan", "bronze", "copper"),
    "beige": ("beige", "khaki"),
}
_FAMILY_OF_COLOR: Final = {word: family for family, words in _COLOR_FAMILIES.items() for word in words}
_SIMILAR_COLORS: Final[dict[str, tuple[str, ...]]] = {
    "grey": ("black", "white", "blue", "beige", "brown", "green"),
    "brown": ("black", "red", "orange", "yellow", "beige", "green"),
    "blue": ("black", "turquoise", "purple"),
    "beige": ("white", "yellow", "orange"),
    "yellow": ("white", "orange", "green"),
    "red": ("orange", "pink", "purple"),
    "turquoise": ("green",),
    "purple": ("pink",),
}
"""Colors that people may confuse. Each pair is listed once."""
_SHADES: Final = frozenset({"light", "dark", "bright", "pale", "deep", "wooden"})
"""Words before a noun that determine neither the object nor its color."""
_SIZES: Final = {
    **dict.fromkeys(("larger", "largest", "bigger", "biggest", "large", "big", "taller", "tallest"), 1.0),
    **dict.fromkeys(("smaller", "smallest", "small", "little", "tiny", "shorter", "shortest"), -1.0),
}
_PLACES: Final = {
    **dict.fromkeys(("left", "leftmost", "left-hand"), "left"),
    **dict.fromkeys(("right", "rightmost", "right-hand"), "right"),
    **dict.fromkeys(("front", "nearest", "nearer", "closest", "foremost"), "front"),
    **dict.fromkeys(("rear", "back", "farthest", "farther", "rearmost", "hindmost"), "rear"),
    "middle": "middle",
}
_MODIFIERS: Final = frozenset((*_FAMILY_OF_COLOR, *_SIZES, *_PLACES, *_SHADES))
_SIMILAR_NOUNS: Final = tuple(
    frozenset(words.split("/"))
    for words in (
        "sofa/couch/settee/loveseat",
        "mug/cup/teacup",
        "television/tv/monitor/screen",
        "plant/houseplant/flower/cactus/succulent",
        "bin/trashcan/can/wastebasket",
        "bicycle/bike/cycle",
        "cone/pylon",
        "box/carton/package/parcel/crate/case",
        "car/vehicle/automobile",
        "cupboard/cabinet/wardrobe/closet/dresser",
        "shelf/bookshelf/bookcase/rack/shelving",
        "clock/alarm",
        "chair/armchair/seat/stool/recliner",
        "table/desk/worktop/bench",
        "lamp/light/lantern",
        "kettle/teapot/pot/jug/pitcher",
        "suitcase/luggage/trunk/case",
        "vase/urn/jar/pot",
        "bucket/pail",
        "ladder/stepladder/step",
        "rug/carpet/mat/bathmat",
        "computer/laptop/notebook",
        "present/gift/box",
        "keg/barrel/cask",
        "playstation/console",
        "cupcake/cake/muffin",
    )
)
"""Nouns for the same object. Such a match is never contradicted by another name: the clause is unchecked."""
_UNSPECIFIC: Final = frozenset({"object", "item", "thing", "one", "it", "they", "them", "that", "this"})
_TAIL: Final = re.compile(
    r"\s+(?:(?:that|which|who|standing|sitting|located|placed|next to|in front of|behind|beside|near|between|to the) .*"
    r"|(?:nearest|closest|farthest) (?:to|from) .*)$"
)
_ON_SIDE: Final = re.compile(r"\s+(?:on|to|at) the (left|right)(?:[- ]hand)?(?: side)?$")
_STANDING: Final = re.compile(
    r"^(.+?)\s+(?:(?:that|which) (?:is|are|stands?|sits?|lies?) )?"
    r"(on top of|on|in|inside|under|underneath|beneath) (?:the|a|an) ((?!left\b|right\b|cent|middle\b).+)$"
)
"""What an object stands on, as a part of its name (`the mug on the desk`)."""
_MANNERS: Final[dict[str, Manner]] = {
    **dict.fromkeys(("on", "on top of"), "on"),
    **dict.fromkeys(("in", "inside"), "in"),
    **dict.fromkeys(("under", "underneath", "beneath"), "under"),
}
_MARGIN: Final = 0.02
"""Share of the image by which the positions of two objects must differ."""


@dataclass(frozen=True)
class Phrase:
    """A parsed noun phrase. All words are in lower case and singular."""

    words: tuple[str, ...]
    """The phrase without its article, a place at its end and a relative clause."""
    nouns: tuple[str, ...]
    color: str = ""
    size: float = 0.0
    place: str = ""
    vague: bool = False
    """Whether a relative clause was dropped, which may say more."""

    @property
    def modified(self) -> bool:
        return self.words != self.nouns


def parse_phrase(text: str) -> Phrase:
    """Parse a noun phrase."""
    plain = bare(text.lower())
    cut = _TAIL.sub("", plain)
    side = _ON_SIDE.search(cut)
    words = _words(_ON_SIDE.sub("", cut))
    modifiers = 0
    color, size, place = "", 0.0, side[1] if side else ""
    while modifiers < len(words) - 1 and (word := words[modifiers]) in _MODIFIERS:
        modifiers += 1
        color = _FAMILY_OF_COLOR.get(word, color)
        size = _SIZES.get(word, size)
        place = _PLACES.get(word, place)
    return Phrase(words, words[modifiers:], color, size, place, cut != plain)


def _words(text: str) -> tuple[str, ...]:
    return tuple(_singular(word) for word in re.findall(r"[\w'-]+", text.lower()))


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def matching_ids(case: Case, text: str, pool: Sequence[SceneObject]) -> list[int]:
    """Ids of the objects of `pool` that a noun phrase matches equally well; none if it matches no name.

    What an object stands on (`the mug on the desk`) distinguishes objects where this is known.
    """
    if (split := _split_standing(case, text)) is not None:
        head, how, supports = split
        there = [one for one in pool if _stands(case, one, how, supports)]
        return (matching_ids(case, head, there) if there else []) or matching_ids(case, head, pool)
    phrase = parse_phrase(text)
    if not phrase.nouns or phrase.words[-1] in _UNSPECIFIC:
        exact = [thing for thing in pool if phrase.words == _words(thing.name)]
        return [thing.id for thing in exact]
    named = _first_match(
        lambda thing: _is_named(thing, phrase),
        lambda thing: any(_ends_with(phrase.nouns, name) for name in _names(thing)),
        lambda thing: _has_similar_noun(thing, phrase),
        pool=pool,
    )
    if phrase.modified:
        exact = [thing for thing in named if phrase.words in _full_names(case, thing)]
        if len(exact) == 1:
            return [exact[0].id]
    kept = [thing for thing in named if not colors_conflict(phrase.color, _color(case, thing))] or named
    if phrase.color and any(_family(_color(case, thing)) == phrase.color for thing in kept):
        kept = [thing for thing in kept if _color(case, thing)]
        same = [thing for thing in kept if _family(_color(case, thing)) == phrase.color]
        kept = same if len(same) == 1 else kept
    return [thing.id for thing in _filter_by_place(case, phrase, _filter_by_size(phrase, kept))]


def _split_standing(case: Case, text: str) -> tuple[str, Manner, list[int]] | None:
    """`the mug on the desk`: `the mug`, `on`, and the ids that `the desk` matches; None if it is no such phrase."""
    found = _STANDING.match(bare(text.lower())) if case.supported else None
    if found is None or any(found[0] in (bare(one.name).lower(), one.category) for one in case.facts.objects):
        return None
    floor = found[3] in ("floor", "ground")
    supports = [0] if floor else matching_ids(case, found[3], in_source(case.facts.objects))
    return (found[1], _MANNERS[found[2]], supports) if supports else None


def _stands(case: Case, thing: SceneObject, how: Manner, supports: Sequence[int]) -> bool:
    """Whether an object may stand so in the source."""
    return any(judge_support(case.facts, thing, "source", how, id) != "contradicted" for id in supports)


def _first_match(*tests: Callable[[SceneObject], bool], pool: Sequence[SceneObject]) -> list[SceneObject]:
    """The objects that pass the first test that any object passes."""
    for test in tests:
        if found := [thing for thing in pool if test(thing)]:
            return found
    return []


def _is_named(thing: SceneObject, phrase: Phrase) -> bool:
    """Whether the phrase's nouns are a name of the object, or the end of one."""
    return any(_ends_with(name, phrase.nouns) for name in _names(thing))


def is_name(case: Case, text: str, id: int) -> bool:
    """Whether a phrase names the object by a name that it has, not by a similar noun (`couch` for a sofa)."""
    thing = next(thing for thing in case.facts.objects if thing.id == id)
    return _is_named(thing, parse_phrase(text))


def names_object(thing: SceneObject, words: Sequence[str]) -> bool:
    """Whether words start with a name of the object, or with a similar noun."""
    singular = [_singular(word) for word in words]
    if any(tuple(singular[: len(name)]) == name for name in _names(thing)):
        return True
    heads = {_head(name) for name in _names(thing)}
    return bool(singular) and any(
        singular[0] == head or any({singular[0], head} <= group for group in _SIMILAR_NOUNS) for head in heads
    )


def _names(thing: SceneObject) -> list[tuple[str, ...]]:
    """An object's category, and its name without leading words of color, size and place."""
    return [name for name in (_words(thing.category), parse_phrase(thing.name).nouns) if name]


def _full_names(case: Case, thing: SceneObject) -> list[tuple[str, ...]]:
    name = _words(thing.name)
    return [name, (*_words(_color(case, thing)), *name)]


def _ends_with(words: tuple[str, ...], end: tuple[str, ...]) -> bool:
    return len(end) <= len(words) and words[len(words) - len(end) :] == end


def _has_similar_noun(thing: SceneObject, phrase: Phrase) -> bool:
    """Whether the phrase's head noun and one of the object's are equal or similar."""
    heads = {_head(name) for name in _names(thing)}
    mine = _head(phrase.nouns)
    return any(mine == head or any({mine, head} <= group for group in _SIMILAR_NOUNS) for head in heads)


def _head(words: tuple[str, ...]) -> str:
    cut = next(
        (k for k, word in enumerate(words) if word in ("of", "with", "in", "on", "for", "and") and k), len(words)
    )
    return words[cut - 1]


def _color(case: Case, thing: SceneObject) -> str:
    ids = [other.id for other in case.facts.objects]
    return dict(zip(ids, case.facts.colours, strict=False)).get(thing.id, "")


def _family(color: str) -> str:
    return next((_FAMILY_OF_COLOR[word] for word in reversed(color.split()) if word in _FAMILY_OF_COLOR), "")


def colors_conflict(family: str, color: str) -> bool:
    """Whether an object of this color clearly has no color of the family. Unknown colors conflict with none."""
    other = _family(color)
    return (
        bool(family and other)
        and family != other
        and other not in _SIMILAR_COLORS.get(family, ())
        and family not in _SIMILAR_COLORS.get(other, ())
    )


def _filter_by_size(phrase: Phrase, things: list[SceneObject]) -> list[SceneObject]:
    if not phrase.size or len(things) < 2 or not all(thing.known for thing in things):
        return things
    sizes = [_volume(thing) for thing in things]
    best = max(range(len(things)), key=lambda k: phrase.size * sizes[k])
    return [things[best]]


def _volume(thing: SceneObject) -> float:
    pose = matrix4(thing.source_pose)
    return float(np.cbrt(np.prod(thing.size_m)) * np.linalg.norm(pose[:3, 0]))


def _filter_by_place(case: Case, phrase: Phrase, things: list[SceneObject]) -> list[SceneObject]:
    """The object at the place that the phrase names, if it is there by a margin; else all."""
    if len(things) < 2 or phrase.place in ("", "middle"):
        return things
    sign = 1 if phrase.place in ("left", "rear") else -1
    if phrase.place in ("left", "right"):
        at = [(thing.source_box[0] + thing.source_box[2]) / 2 / case.width for thing in things]
    else:
        at = [thing.source_box[3] / case.height for thing in things]
    order = sorted(range(len(things)), key=lambda k: sign * at[k])
    clear = abs(at[order[0]] - at[order[1]]) > _MARGIN
    return [things[order[0]]] if clear else things


def in_source(things: Iterable[SceneObject]) -> list[SceneObject]:
    """The objects that the source image shows."""
    return [thing for thing in things if thing.source_box[2] > thing.source_box[0]]


def matching_references(case: Case, text: str) -> list[int]:
    """Ids of the objects that a reference may mean; an edited object only if it matches no other."""
    edited = case.facts.edit.edited
    others = [one for one in in_source(case.facts.objects) if one.id not in edited]
    return matching_ids(case, text, others) or matching_ids(
        case, text, [one for one in case.facts.objects if one.id in edited]
    )


def object_clause(
    case: Case, text: str, edited: SceneObject, new: bool = False, elsewhere: Set[int] = frozenset()
) -> Clause:
    """Judge whether the phrase matches an edited object, and no other.

    Contradicted: it matches other objects only, it matches several equally well, or its color conflicts. Unchecked: no
    object has such a name, or the words that distinguish the objects were not understood.

    Args:
        new: whether the source image does not show the object, so that the phrase may also match others (`a mug` beside
            a mug).
        elsewhere: ids of objects that are not meant, because they do not stand where the instruction says.
    """
    split = None if new else _split_standing(case, text)
    if split and not _stands(case, edited, *split[1:]):
        return Clause("object", "contradicted", f"says {text}, where the {edited.name} does not stand")
    phrase = parse_phrase(split[0] if split else text)
    pool = in_source(case.facts.objects)
    pool = [*[thing for thing in pool if thing.id != edited.id], edited]
    found = matching_ids(case, text, pool)
    called = {thing.id: thing.name for thing in pool}
    if edited.id in found:
        found = [id for id in found if id == edited.id or id not in elsewhere]
        if colors_conflict(phrase.color, _color(case, edited)) and phrase.words not in _full_names(case, edited):
            return Clause("object", "contradicted", f"says {text}, is {_color(case, edited)}")
        if len(found) == 1 or new:
            return Clause("object", "agrees", f"{text} is object {edited.id}")
        names = ", ".join(called[id] for id in found)
        clear = not phrase.vague and all(_is_named(thing, phrase) for thing in pool if thing.id in found)
        detail = f"{text} fits {len(found)} objects ({names})"
        return Clause("object", "contradicted" if clear else "unchecked", detail)
    unknown = not edited.category or _words(edited.category)[-1] in _UNSPECIFIC
    if not found or unknown or _may_mean(edited, phrase):
        return Clause("object", "unchecked", f"{text} is no known name")
    return Clause("object", "contradicted", f"says {text}, which is the {called[found[0]]}, is the {edited.name}")


def _may_mean(thing: SceneObject, phrase: Phrase) -> bool:
    return _has_similar_noun(thing, phrase) and not _is_named(thing, phrase)
