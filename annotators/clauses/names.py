"""Which objects of a pair a noun phrase fits: by name and category, then by colour, size and place.

Invariant: a phrase fits as a viewer of the source image understands it. `table` fits a coffee table too; `office chair`
fits the chair where there is no other; colours that people take for one another never tell two objects apart.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ...shards.geometry import matrix4
from ...shards.schema import SceneObject
from ..case import Case
from ..phrases import bare
from .clause import Clause

_FAMILIES: Final[dict[str, tuple[str, ...]]] = {
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
_FAMILY: Final = {word: family for family, words in _FAMILIES.items() for word in words}
_NEIGHBOURS: Final[dict[str, tuple[str, ...]]] = {
    "grey": ("black", "white", "blue", "beige", "brown", "green"),
    "brown": ("black", "red", "orange", "yellow", "beige", "green"),
    "blue": ("black", "turquoise", "purple"),
    "beige": ("white", "yellow", "orange"),
    "yellow": ("white", "orange", "green"),
    "red": ("orange", "pink", "purple"),
    "turquoise": ("green",),
    "purple": ("pink",),
}
"""Colours that people may take for one another; each pair stands once."""
_SHADES: Final = frozenset({"light", "dark", "bright", "pale", "deep", "wooden"})
"""Words before a noun that tell neither what it is nor which color it has."""
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
_MODIFIERS: Final = frozenset((*_FAMILY, *_SIZES, *_PLACES, *_SHADES))
_ALIKE: Final = tuple(
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
"""Kinds that one and the same object may be called: enough to leave open, never enough to contradict."""
_UNSPECIFIC: Final = frozenset({"object", "item", "thing", "one", "it", "they", "them", "that", "this"})
_TAIL: Final = re.compile(
    r"\s+(?:(?:that|which|who|standing|sitting|located|placed|next to|in front of|behind|beside|near|between|to the) .*"
    r"|(?:nearest|closest|farthest) (?:to|from) .*)$"
)
_ON_SIDE: Final = re.compile(r"\s+(?:on|to|at) the (left|right)(?:[- ]hand)?(?: side)?$")
_MARGIN: Final = 0.02
"""Share of the image by which places must differ."""


@dataclass(frozen=True)
class Phrase:
    """A noun phrase taken apart; all words lower case and in the singular."""

    words: tuple[str, ...]
    """As said, without article, place at the end and relative clause."""
    nouns: tuple[str, ...]
    colour: str = ""
    size: float = 0.0
    place: str = ""
    vague: bool = False
    """Something that was not understood tells more."""

    @property
    def modified(self) -> bool:
        return self.words != self.nouns


def phrase_of(text: str) -> Phrase:
    """Take a noun phrase apart."""
    plain = bare(text.lower())
    cut = _TAIL.sub("", plain)
    side = _ON_SIDE.search(cut)
    words = _words(_ON_SIDE.sub("", cut))
    told = 0
    colour, size, place = "", 0.0, side[1] if side else ""
    while told < len(words) - 1 and (word := words[told]) in _MODIFIERS:
        told += 1
        colour = _FAMILY.get(word, colour)
        size = _SIZES.get(word, size)
        place = _PLACES.get(word, place)
    return Phrase(words, words[told:], colour, size, place, cut != plain)


def _words(text: str) -> tuple[str, ...]:
    return tuple(_singular(word) for word in re.findall(r"[\w'-]+", text.lower()))


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def fitting(case: Case, text: str, pool: Sequence[SceneObject]) -> list[int]:
    """Ids of the objects of `pool` that a noun phrase fits equally well, none where it fits no name."""
    phrase = phrase_of(text)
    if not phrase.nouns or phrase.words[-1] in _UNSPECIFIC:
        exact = [thing for thing in pool if phrase.words == _words(thing.name)]
        return [thing.id for thing in exact]
    named = _first(
        lambda thing: _named(thing, phrase),
        lambda thing: any(_ends(phrase.nouns, name) for name in _names(thing)),
        lambda thing: _alike(thing, phrase),
        pool=pool,
    )
    if phrase.modified:
        exact = [thing for thing in named if phrase.words in _full_names(case, thing)]
        if len(exact) == 1:
            return [exact[0].id]
    kept = [thing for thing in named if not conflicting(phrase.colour, _colour(case, thing))] or named
    if phrase.colour and any(_family(_colour(case, thing)) == phrase.colour for thing in kept):
        kept = [thing for thing in kept if _colour(case, thing)]
        same = [thing for thing in kept if _family(_colour(case, thing)) == phrase.colour]
        kept = same if len(same) == 1 else kept
    return [thing.id for thing in _at_place(case, phrase, _of_size(phrase, kept))]


def _first(*tests: Callable[[SceneObject], bool], pool: Sequence[SceneObject]) -> list[SceneObject]:
    """The objects that the first test passes that any passes."""
    for test in tests:
        if found := [thing for thing in pool if test(thing)]:
            return found
    return []


def _named(thing: SceneObject, phrase: Phrase) -> bool:
    """Whether the phrase's nouns are a name of the thing, or the end of one."""
    return any(_ends(name, phrase.nouns) for name in _names(thing))


def is_name(case: Case, text: str, id: int) -> bool:
    """Whether a phrase names the object in its own words, rather than in others for the same (`couch`, `tall lamp`)."""
    thing = next(thing for thing in case.facts.objects if thing.id == id)
    return _named(thing, phrase_of(text))


def names_thing(thing: SceneObject, words: Sequence[str]) -> bool:
    """Whether words begin with a name of the thing, or with another word for it."""
    said = [_singular(word) for word in words]
    if any(tuple(said[: len(name)]) == name for name in _names(thing)):
        return True
    heads = {_head(name) for name in _names(thing)}
    return bool(said) and any(said[0] == head or any({said[0], head} <= group for group in _ALIKE) for head in heads)


def _names(thing: SceneObject) -> list[tuple[str, ...]]:
    """What a thing is: its category, and its name without the words of colour, size and place before it."""
    return [name for name in (_words(thing.category), phrase_of(thing.name).nouns) if name]


def _full_names(case: Case, thing: SceneObject) -> list[tuple[str, ...]]:
    name = _words(thing.name)
    return [name, (*_words(_colour(case, thing)), *name)]


def _ends(words: tuple[str, ...], end: tuple[str, ...]) -> bool:
    return len(end) <= len(words) and words[len(words) - len(end) :] == end


def _alike(thing: SceneObject, phrase: Phrase) -> bool:
    """Whether the two heads are one word, or two for one thing."""
    heads = {_head(name) for name in _names(thing)}
    mine = _head(phrase.nouns)
    return any(mine == head or any({mine, head} <= group for group in _ALIKE) for head in heads)


def _head(words: tuple[str, ...]) -> str:
    cut = next(
        (k for k, word in enumerate(words) if word in ("of", "with", "in", "on", "for", "and") and k), len(words)
    )
    return words[cut - 1]


def _colour(case: Case, thing: SceneObject) -> str:
    ids = [other.id for other in case.facts.objects]
    return dict(zip(ids, case.facts.colours, strict=False)).get(thing.id, "")


def _family(colour: str) -> str:
    return next((_FAMILY[word] for word in reversed(colour.split()) if word in _FAMILY), "")


def conflicting(family: str, colour: str) -> bool:
    """Whether nobody would call a thing of `colour` by a colour of `family`; unknown colours could be any."""
    other = _family(colour)
    return (
        bool(family and other)
        and family != other
        and other not in _NEIGHBOURS.get(family, ())
        and family not in _NEIGHBOURS.get(other, ())
    )


def _of_size(phrase: Phrase, things: list[SceneObject]) -> list[SceneObject]:
    if not phrase.size or len(things) < 2 or not all(thing.known for thing in things):
        return things
    sizes = [_volume(thing) for thing in things]
    best = max(range(len(things)), key=lambda k: phrase.size * sizes[k])
    return [things[best]]


def _volume(thing: SceneObject) -> float:
    pose = matrix4(thing.source_pose)
    return float(np.cbrt(np.prod(thing.size_m)) * np.linalg.norm(pose[:3, 0]))


def _at_place(case: Case, phrase: Phrase, things: list[SceneObject]) -> list[SceneObject]:
    """The one thing at the place that the phrase names, where it is so with a margin."""
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
    """Those that the source image shows."""
    return [thing for thing in things if thing.source_box[2] > thing.source_box[0]]


def references(case: Case, text: str) -> list[int]:
    """Ids that a reference's phrase may mean; an edited object where it fits nothing else."""
    edited = case.facts.edit.edited
    others = [one for one in in_source(case.facts.objects) if one.id not in edited]
    return fitting(case, text, others) or fitting(case, text, [one for one in case.facts.objects if one.id in edited])


def object_clause(case: Case, text: str, edited: SceneObject, new: bool = False) -> Clause:
    """Judge whether the phrase fits an edited object, and no other.

    Contradicted: it fits other objects but not this one, it names several alike, or its color is another. Unchecked:
    no object bears such a name, or what tells them apart was not understood.

    Args:
        new: the source image does not show the object, so the phrase may fit others as well (`a mug` beside a mug).
    """
    phrase = phrase_of(text)
    pool = in_source(case.facts.objects)
    pool = [*[thing for thing in pool if thing.id != edited.id], edited]
    found = fitting(case, text, pool)
    called = {thing.id: thing.name for thing in pool}
    if edited.id in found:
        if conflicting(phrase.colour, _colour(case, edited)) and phrase.words not in _full_names(case, edited):
            return Clause("object", "contradicted", f"says {text}, is {_colour(case, edited)}")
        if len(found) == 1 or new:
            return Clause("object", "agrees", f"{text} is object {edited.id}")
        names = ", ".join(called[id] for id in found)
        clear = not phrase.vague and all(_named(thing, phrase) for thing in pool if thing.id in found)
        detail = f"{text} fits {len(found)} objects ({names})"
        return Clause("object", "contradicted" if clear else "unchecked", detail)
    unknown = not edited.category or _words(edited.category)[-1] in _UNSPECIFIC
    if not found or unknown or _may_be(edited, phrase):
        return Clause("object", "unchecked", f"{text} is no known name")
    return Clause("object", "contradicted", f"says {text}, which is the {called[found[0]]}, is the {edited.name}")


def _may_be(thing: SceneObject, phrase: Phrase) -> bool:
    return _alike(thing, phrase) and not _named(thing, phrase)
