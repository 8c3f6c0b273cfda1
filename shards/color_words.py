"""Color words in English text: where they occur, and which colors they claim.

Invariant: a word counts only where it describes the look of an object. Names of species, set phrases (`red wine`,
`black board`), objects that share a color's name (an `orange`, a `rose`) and material words (`wooden`) claim nothing.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from .colors import PALETTE, family

_FAMILIES: Final = {plain: frozenset(n for n in PALETTE if family(n) == plain) for plain in map(family, PALETTE)}
_GRAYS: Final = _FAMILIES["grey"]
_MORE_WORDS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "gray": _GRAYS,
        "golden": frozenset({"gold", "yellow", "orange", "light brown"}),
        "gold": frozenset({"gold", "yellow", "light brown"}),
        "silver": frozenset({"silver", "white"}) | _GRAYS,
        "silvery": frozenset({"silver", "white"}) | _GRAYS,
        "charcoal": frozenset({"dark grey", "black"}),
        "maroon": frozenset({"dark red", "red", "brown"}),
        "burgundy": frozenset({"dark red", "red"}),
        "crimson": frozenset({"dark red", "red"}),
        "scarlet": frozenset({"red"}),
        "magenta": frozenset({"pink", "purple", "light purple"}),
        "fuchsia": frozenset({"pink", "purple", "light purple"}),
        "violet": _FAMILIES["purple"],
        "lilac": _FAMILIES["purple"],
        "lavender": _FAMILIES["purple"],
        "mauve": _FAMILIES["purple"] | _FAMILIES["pink"],
        "indigo": _FAMILIES["purple"] | _FAMILIES["blue"],
        "navy": _FAMILIES["blue"],
        "azure": _FAMILIES["blue"],
        "cyan": frozenset({"turquoise", "light blue"}),
        "aqua": frozenset({"turquoise", "light blue"}),
        "teal": frozenset({"turquoise", "blue", "green", "dark green"}),
        "tan": frozenset({"light brown", "beige"}),
        "khaki": frozenset({"light brown", "beige", "olive"}),
        "cream": frozenset({"beige", "white"}),
        "ivory": frozenset({"beige", "white"}),
        "beige": frozenset({"beige", "light brown"}),
        "blond": frozenset({"yellow", "gold", "beige", "light brown"}),
        "blonde": frozenset({"yellow", "gold", "beige", "light brown"}),
        "coral": frozenset({"orange", "red"}) | _FAMILIES["pink"],
        "emerald": _FAMILIES["green"] | _FAMILIES["turquoise"],
        "lime": frozenset({"light green", "green", "yellow"}),
        "mint": frozenset({"light green", "green", "turquoise"}),
        "mustard": frozenset({"yellow", "gold", "light brown", "olive"}),
        "peach": frozenset({"orange", "beige"}) | _FAMILIES["pink"],
        "plum": _FAMILIES["purple"] | frozenset({"dark red"}),
        "ruby": _FAMILIES["red"],
        "salmon": frozenset({"orange"}) | _FAMILIES["pink"],
        "sapphire": _FAMILIES["blue"],
    }
)
_PLAIN: Final = {plain: names for plain, names in _FAMILIES.items() if plain not in _MORE_WORDS}
_ISH: Final = {
    **{f"{stem}ish": _PLAIN[plain] for plain in _PLAIN for stem in (plain, plain.rstrip("e"), plain + plain[-1])},
    "grayish": _GRAYS,
}
_NAMES_OF: Final[Mapping[str, frozenset[str]]] = MappingProxyType({**_PLAIN, **_MORE_WORDS, **_ISH})
"""Word: the names of the palette of which one must fit. Plain words include their light and dark shades."""
_SHADES: Final = (
    "light|dark|bright|pale|deep|vivid|pastel|dull|soft|dusty|off|apple|army|ash|baby|blood|brick|cherry|chocolate|coal|"
    "coffee|electric|fire|forest|grass|hot|jet|lemon|lime|midnight|mint|moss|mustard|neon|ocean|pitch|powder|rose|royal|"
    "sand|sea|sky|slate|smoke|snow|steel|wine"
)
"""Words that qualify a color and are removed with it: `sky blue chair` without its color is not a `sky chair`."""
_SHADE_WORDS: Final = frozenset(_SHADES.split("|"))
_WORD: Final = "|".join(sorted(_NAMES_OF, key=len, reverse=True))
_COLOR: Final = rf"(?:(?:{_SHADES})[ -]){{0,3}}(?:{_WORD})"
_JOINER: Final = r"(?: and |, and |, | & | or |-and-|-?&-?|[ /-])"
_RUN: Final = re.compile(
    rf"(?<![\w'-])(?P<run>{_COLOR}(?:{_JOINER}{_COLOR}){{0,4}})(?:-colou?red)?(?=[ -]{{1,3}}(?P<next>[\w'-]+))",
    re.IGNORECASE,
)
_UNCHECKABLE: Final = re.compile(
    r"(?<![\w'-])(?:(?:\w+[ -])?(?:multi|rainbow)?colou?r(?:ed|ful)|rainbow)(?=[ -]{1,3}[\w'-])", re.IGNORECASE
)
"""Color words that cannot be checked: `multicolored`, `rust-colored`."""
_FUNCTION: Final = (
    "a an and are as at above against behind below beside between but by for from in into is it its next near of on "
    "onto or over so that the then this to toward towards under which with"
)
FUNCTION_WORDS: Final = frozenset(_FUNCTION.split())
"""Words that end a noun phrase: an `orange` right before one is the fruit."""
_ONLY_COLORS: Final = frozenset({*_PLAIN, *_ISH, "gray", "beige"}) - {"orange", "olive"}
"""Words that are colors and nothing else."""
_SET_PHRASES: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        word: frozenset(nouns.split())
        for word, nouns in {
            "black": "board widow hole market pepper pudding tea coffee",
            "white": "wine board noise water",
            "red": "wine panda pandas cross bull dwarf snapper",
            "green": "tea card",
            "blue": "whale whales jay print cheese tooth",
            "yellow": "pages",
            "orange": "juice tree trees peel slice slices fruit blossom soda segment",
            "gold": "mine rush digger finch",
            "golden": "gate delicious",
            "silver": "ware fish fern fox back surfer",
            "grey": "whale whales matter goose",
            "gray": "whale whales matter goose",
            "brown": "sugar rice dwarf recluse",
            "pink": "panther salt",
            "purple": "heart cabbage",
            "cream": "pitcher pitchers cheese puff cake pie soda jug",
            "navy": "ship uniform officer",
            "lavender": "plant plants flower flowers oil",
            "violet": "flower flowers plant",
            "lilac": "flower flowers tree bush",
            "olive": "oil tree trees branch",
            "ivory": "tower",
            "coral": "reef reefs snake",
            "emerald": "ring necklace",
            "lime": "slice slices tree juice wedge",
            "mint": "leaf leaves plant tea",
            "mustard": "bottle jar seed seeds",
            "peach": "tree pie blossom",
            "plum": "tree blossom",
            "ruby": "ring necklace slippers",
            "salmon": "fillet fish",
            "sapphire": "ring necklace",
        }.items()
    }
)
"""Phrases whose first word does not describe a color. A phrase whose noun is also true without the color (`bear` for
`black bear`) does not belong here: its color is checked against the image."""
_BEFORE_CREAM: Final = re.compile(r"(?:ice|whipped|sour|shaving) $", re.IGNORECASE)
"""Words before `cream` that make it a substance."""


@dataclass(frozen=True)
class ColorRun:
    """A run of color words before the noun that they describe: `red`, `light blue`, `black and white`."""

    start: int
    end: int
    """The run is `text[start:end]`."""
    colors: tuple[frozenset[str], ...]
    """For each color of the run, the names of the palette of which one must fit; empty for a run that cannot be
    checked (`multicolored`)."""

    @property
    def motley(self) -> bool:
        return not self.colors


def names_of(word: str) -> frozenset[str]:
    """The names of the palette that a color word (`blue`, `light blue`, `teal`) stands for; none for other words."""
    word = " ".join(word.lower().split())
    return frozenset({word}) if word in PALETTE and word not in _NAMES_OF else _NAMES_OF.get(word, frozenset())


def find_color_words(text: str) -> list[ColorRun]:
    """The runs of color words in a text, in order; underscores count as spaces."""
    plain = text.replace("_", " ")
    found: list[ColorRun] = []
    for run in _RUN.finditer(plain):
        words = re.findall(rf"(?<![\w'])({_COLOR})(?![\w'])", run["run"], re.IGNORECASE)
        last = words[-1].split()[-1].lower()
        if run["next"].lower() in FUNCTION_WORDS | _SET_PHRASES.get(last, frozenset()) or (
            last == "cream" and _BEFORE_CREAM.search(plain[: run.start()])
        ):
            continue
        colors = tuple(names_of(_shade(word)) or names_of(word.split()[-1].split("-")[-1]) for word in words)
        found.append(ColorRun(run.start(), run.end(), colors))
    ends = {spoken.end for spoken in found}
    found += [ColorRun(run.start(), run.end(), ()) for run in _UNCHECKABLE.finditer(plain) if run.end() not in ends]
    return sorted(found, key=lambda spoken: spoken.start)


def color_first(text: str) -> str:
    """An object's name with its color moved to the front: `red pot` from `pot red` and `pot (red)`.

    Applies only to names that end in a word that is only a color: a `blood orange` stays.
    """
    words = text.replace("_", " ").split()
    bare = [word.strip("(),").lower() for word in words]
    if len(words) < 2 or bare[-1] not in _ONLY_COLORS:
        return text
    start = len(words) - 1
    while start and (bare[start - 1] in _SHADE_WORDS or bare[start - 1] in _NAMES_OF or bare[start - 1] == "and"):
        start -= 1
    noun = words[: start - (start > 1 and bare[start - 1] == "in")]
    return " ".join([*bare[start:], *noun]).rstrip(",") if noun else text


def without_colors(text: str, drops: Callable[[ColorRun], bool]) -> str:
    """The text without the runs for which `drops` is true, with single spaces."""
    for spoken in reversed(find_color_words(text)):
        if drops(spoken):
            text = f"{text[: spoken.start]} {text[spoken.end :].lstrip(' -_')}"
    return " ".join(text.split())


def _shade(word: str) -> str:
    """`dark blue` for `Dark-Blue`, as the palette writes it; shades that it lacks (`vivid`) leave the plain word."""
    parts = re.split(r"[ -]", word.lower())
    shade = "light" if parts[0] in ("light", "pale", "pastel") else "dark" if parts[0] in ("dark", "deep") else ""
    return f"{shade} {parts[-1].replace('gray', 'grey')}" if shade else parts[-1]
