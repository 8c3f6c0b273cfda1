"""English phrases for the templates: articles, plurals, lists, lengths.

Invariant: functions take bare noun phrases, without an article (`red mug`, `scissors`), and add the right one.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

_ARTICLE: Final = re.compile(r"^(the|an|a)\s+", re.IGNORECASE)
# Spelling and sound disagree: `a unicycle`, `a one-armed bandit`, `an hourglass`, `an x-ray machine`.
_CONSONANT_SOUND: Final = re.compile(r"^(uni(?!n|m)|use|usu|usb|uten|ukule|urin|eu|ewe|one\b|once\b|one-|ufo)")
_VOWEL_SOUND: Final = re.compile(r"^(hour|honest|heir|honou?r|x-|x |xbox|lcd|led\b|mri|mp3)")
_IRREGULAR: Final[dict[str, str]] = {
    "cactus": "cacti",
    "calf": "calves",
    "child": "children",
    "fireman": "firemen",
    "foot": "feet",
    "goose": "geese",
    "hero": "heroes",
    "knife": "knives",
    "leaf": "leaves",
    "loaf": "loaves",
    "man": "men",
    "mouse": "mice",
    "ox": "oxen",
    "person": "people",
    "policeman": "policemen",
    "potato": "potatoes",
    "scarf": "scarves",
    "shelf": "shelves",
    "bookshelf": "bookshelves",
    "snowman": "snowmen",
    "tomato": "tomatoes",
    "tooth": "teeth",
    "wolf": "wolves",
    "woman": "women",
}
_SAME: Final = frozenset({"aircraft", "deer", "fish", "sheep", "spacecraft", "hovercraft"})
_PAIRED: Final = frozenset(
    (
        "binoculars",
        "boots",
        "glasses",
        "gloves",
        "goggles",
        "headphones",
        "jeans",
        "pants",
        "pliers",
        "scissors",
        "shears",
        "shoes",
        "shorts",
        "slippers",
        "sneakers",
        "sunglasses",
        "tights",
        "tongs",
        "trousers",
        "tweezers",
    )
)
# LVIS and Objaverse categories without a plural and an article.
_MASS: Final = frozenset(
    (
        "bread",
        "broccoli",
        "butter",
        "cheese",
        "chocolate",
        "corn",
        "equipment",
        "flour",
        "foliage",
        "furniture",
        "garlic",
        "grass",
        "jewelry",
        "luggage",
        "meat",
        "milk",
        "rice",
        "salt",
        "sugar",
        "tennis",
        "water",
    )
)
_SINGULAR_S: Final = re.compile(r"(ss|us|is|as|os|lens|chess|news|gas)$")
_HEAD: Final = re.compile(r"^(.*?)(\s(?:of|with|in|on|for|and)\s.*)?$")
_COUNTS: Final = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def bare(name: str) -> str:
    """A name as a noun phrase without an article: single spaces, no final period."""
    return _ARTICLE.sub("", " ".join(name.split()).rstrip(".").strip()).strip()


def is_plural(noun: str) -> bool:
    """Whether a bare noun phrase is a plural or names a pair (`scissors`). False if it contains a number."""
    word = _last_word(noun)
    if any(part.isdigit() for part in noun.split()):
        return False  # `sofa 2 seats`
    if word in _PAIRED or word in _IRREGULAR.values():
        return True
    return word.endswith("s") and not _SINGULAR_S.search(word)


def indefinite(noun: str) -> str:
    """`a mug`, `an orange mug`, `a pair of scissors`, `some flowers`."""
    if is_plural(noun):
        return f"a pair of {noun}" if _last_word(noun) in _PAIRED else f"some {noun}"
    if _last_word(noun) in _MASS:
        return f"some {noun}"
    word = noun.lower()
    vowel = word[:1] in "aeiou" and not _CONSONANT_SOUND.match(word)
    return f"{'an' if vowel or _VOWEL_SOUND.match(word) else 'a'} {noun}"


def definite(noun: str) -> str:
    """`the mug`."""
    return f"the {noun}"


def counted(count: int, noun: str) -> str:
    """`a mug`, `two mugs`."""
    if count == 1 or _last_word(noun) in _MASS:
        return indefinite(noun)
    number = _COUNTS[count] if count < len(_COUNTS) else str(count)
    if not is_plural(noun):
        return f"{number} {plural(noun)}"
    return f"{number} {'pairs' if _last_word(noun) in _PAIRED else 'groups'} of {noun}"


def plural(noun: str) -> str:
    """`mugs`, `boxes`, `bottles of wine`, `shelves`."""
    phrase, rest = _head(noun)
    before, space, word = phrase.rpartition(" ")
    return f"{before}{space}{_plural_word(word)}{rest}"


def _plural_word(word: str) -> str:
    if word in _SAME:
        return word
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if re.search(r"(s|x|z|ch|sh)$", word):
        return f"{word}es"
    if re.search(r"[^aeiou]y$", word):
        return f"{word[:-1]}ies"
    return f"{word}s"


def _last_word(noun: str) -> str:
    """Last word before `of`, `with`, ...: the noun that has a singular and a plural."""
    words = _head(noun)[0].lower().split()
    return words[-1] if words else ""


def _head(noun: str) -> tuple[str, str]:
    """Split `bottle of wine` into (`bottle`, ` of wine`)."""
    found = _HEAD.match(noun)
    return (found.group(1), found.group(2) or "") if found else (noun, "")


def listed(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def sentence(text: str) -> str:
    """Capitalize, collapse spaces, and add a final period."""
    text = " ".join(text.split())
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def distinct(texts: Iterable[str]) -> list[str]:
    """Remove duplicates, keeping the order."""
    return list(dict.fromkeys(texts))


def length(meters: float) -> str:
    """`20 cm`, `1.4 m`: the length, rounded as far as 7 % error allows."""
    if meters >= 1:
        steps, unit, value = (1.0, 0.5, 0.1), "m", meters
    else:
        steps, unit, value = (50.0, 10.0, 5.0, 1.0), "cm", 100 * meters
    for step in steps:
        rounded = round(value / step) * step
        if rounded > 0 and abs(rounded - value) <= 0.07 * value:
            return f"{number(rounded)} {unit}"
    return f"{number(value, 1)} {unit}"


def number(value: float, decimals: int = 2) -> str:
    """`1.5`, `2`, `0.75`: rounded, without trailing zeros."""
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
