"""Normalize English text for the parser, and split it into requesting and prohibiting clauses.

Invariant: normalizing keeps the meaning. Lengths become `N metres` (this spelling reaches stored files), angles
`N degrees`, shares `N percent`, multiples `N times`. Words that are not quantities stay (`the smaller one`). Clauses
that prohibit something (`do not rotate it`, `without moving the vase`, `not the red one`) are kept apart.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

from .requests import INDIRECT, REQUESTS, SPELLINGS

NUMBER: Final = r"(?<!\d)\d{1,9}(?:\.\d{1,9})?"
_ONES: Final = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_TENS: Final = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_NUMBER_WORDS: Final[dict[str, int]] = {
    **{word: value for value, word in enumerate(_ONES, start=1)},
    "fifteen": 15,
    **{word: 10 * value for value, word in enumerate(_TENS, start=2)},
    **{f"{ten} {one}": 10 * t + o for t, ten in enumerate(_TENS, 2) for o, one in enumerate(_ONES[:9], 1)},
    "hundred": 100,
    "one hundred": 100,
}
_ANY_NUMBER_WORD: Final = "|".join(sorted((word.replace(" ", "[ -]") for word in _NUMBER_WORDS), key=len, reverse=True))
_UNIT: Final = r"(?:(?:centi|milli)?met(?:re|er)s?|cm|degrees?|per ?cent|%|times|feet|inches)"

_ORDINAL: Final = r"(?:first|second|third|fourth|fifth|last)"

_Replacement = str | Callable[[re.Match[str]], str]


def _to_meters(meters_per_unit: float) -> Callable[[re.Match[str]], str]:
    return lambda found: f"{float(found[1]) * meters_per_unit:.6g} metres"


_Rewrites = tuple[tuple[str, _Replacement], ...]
_SPELLED: Final = re.compile(r"(?<![\w'])(?:" + "|".join(map(re.escape, SPELLINGS)) + r")(?![\w'])")
_WORDS: Final[_Rewrites] = (
    (r"[–—]", " - "),
    (r"\bi\.e\.|, that is,", " , namely ,"),
    (r"\be\.g\.", "for example"),
    (r"\bi'd\b", "i would"),
    (r"\b(there|it|that|which|who|what|whatever|everything)'s\b", r"\1 is"),
    (r"\b(we|you|they)'re\b", r"\1 are"),
)
_PHRASES: Final[_Rewrites] = (
    (r"\blet's\b|\b(?:i|we) (?:need|want|would like) you to\b|\byou should\b", ""),
    (
        r"\bthere (?:(?:should|must|shall|will) (?:now )?be|is|are) no(?: more| longer (?:an?|any))? (?!\w+ than\b)"
        r"|\bthere (?:should|must|shall|will) (?:no longer be (?:an?|any)|not be (?:an?|any)) ",
        "remove the ",
    ),
    (
        r"\ba (?:touch|tad|hair|smidgen)(?= (?:to|in|on|up|down|further|farther|closer|more|\w+er)\b)",
        "slightly",
    ),
    (r"\b(front|rear|back)-(?=(?:left|right)\b)", r"\1 "),
    # Attributes of an object (`the position of the mug`) are replaced by the object; the verb says which is changed.
    (r"\b(?:the )?(?:position|location|orientation) of (?=the |an? )", ""),
    (r"\b(?:every|any|all) traces? of ", ""),
    (r"(?<=\w)'s (?:position|location|orientation|size and position)\b", ""),
    (r"\b(?:the )?(?:height|width|dimensions?|scale)(?: and (?:the )?(?:height|width))? of (?=the )", "the size of "),
    (r"\bsuch that\b", "so that"),
    (r"\btoward\b", "towards"),
    (r"\b(?:anti|counter)[- ]?clockwise\b", "counterclockwise"),
)
_AMOUNTS: Final[_Rewrites] = (
    (r"(?<=\d)-(?=degree)", " "),
    (r"°", " degrees "),
    (r"(\d)\s*%", r"\1 percent "),
    (r"per cent", "percent"),
    (r"(?<![\w.])[-+−](?=\d)", ""),
    (rf"\b({_ANY_NUMBER_WORD})(?= {_UNIT}\b)", lambda found: str(_NUMBER_WORDS[found[1].replace("-", " ")])),
    (rf"\bfactor of ({_ANY_NUMBER_WORD})\b", lambda found: f"factor of {_NUMBER_WORDS[found[1].replace('-', ' ')]}"),
    (rf"\b({_ANY_NUMBER_WORD}|\d) and a half\b", lambda found: f"{_NUMBER_WORDS.get(found[1], found[1])}.5"),
    # Turns, the longer phrases first.
    (r"\b(?:a|one|1) third of a (?:full |whole |complete )?turn\b", "120 degrees"),
    (r"(?<=of a )(?:full|whole|complete) (?=turn\b)", ""),
    (r"(?<=a )(?:revolution|rotation)\b(?! (?:of|to))", "turn"),
    (r"\b(?:three|3) eighths? of a turn\b|\b3/8 (?:of a )?turn\b", "135 degrees"),
    (r"\b(?:an|one) eighth (?:of a )?turn\b|\b1/8 (?:of a )?turn\b", "45 degrees"),
    (r"\bthree[- ]quarters? (?:of a )?turn\b|\b3/4 (?:of a )?turn\b", "270 degrees"),
    (r"\b(?:a |one )?(?:full )?quarter[- ](?:of a )?turn\b|\b1/4 (?:of a )?turn\b", "90 degrees"),
    (r"\b(?:a )?half[- ](?:of )?(?:a )?turn\b|\b1/2 (?:a )?turn\b", "180 degrees"),
    (r"\b(?:the )?(?:other way (?:a)?round|(?:in )?(?:to )?the opposite (?:way|direction))", "180 degrees"),
    (r"\b(?:by |through |at )?a right angle\b", "by 90 degrees"),
    # Lengths.
    (r"\bhalf a met(?:re|er)\b", "0.5 metres"),
    (r"\b(?:one|a) met(?:re|er)\b", "1 metres"),
    (rf"({NUMBER}) ?(?:cm|centimet(?:re|er)s?)\b", _to_meters(0.01)),
    (rf"({NUMBER}) ?(?:mm|millimet(?:re|er)s?)\b", _to_meters(0.001)),
    (rf"({NUMBER}) ?(?:m|met(?:re|er)s?)\b", _to_meters(1.0)),
    (rf"({NUMBER}) ?(?:feet|foot|ft)\b", _to_meters(0.3048)),
    (rf"({NUMBER}) ?(?:inch(?:es)?)\b", _to_meters(0.0254)),
    (
        rf"\b({_ANY_NUMBER_WORD}) (?:of |times )?(?=(?:its|their) (?:own )?widths\b)",
        lambda found: f"{_NUMBER_WORDS[found[1]]} times ",
    ),
    # Multiples and shares: `a third smaller` becomes `by a third smaller`.
    (
        r"(?<!\bby )\b((?:an? |one |two )?(?:half|thirds?|quarter|fifth)) (?=(?:larger|bigger|greater|smaller)\b)",
        r"by \1 ",
    ),
    (rf"({NUMBER}) ?x\b", r"\1 times"),
    (r"\btwice\b|(?<=\bto )double\b(?= (?:its|their|the) )", "2 times"),
    (r"\bthrice\b", "3 times"),
    (r"\b(?:two|2) thirds\b", "0.6667 times"),
    (r"\bthree[- ]quarters\b", "0.75 times"),
    (r"\b(?:a|one) third\b", "0.3333 times"),
    (r"\b(?:a|one) quarter\b", "0.25 times"),
    (r"\b(?:a|one) fifth\b", "0.2 times"),
    (r"\bhalf (?=(?:of )?(?:its|their|the (?:original|current|size|present)|as )\b)", "0.5 times "),
    (r"\b(?<=by )half\b", "0.5 times"),
    (r"\bin half\b", "by 0.5 times"),
    (r"\b(degree)\b", "degrees"),
)
_ENDS: Final[_Rewrites] = (
    # An object counted from a side (`second mug from the left`) is one noun phrase.
    (rf"\b({_ORDINAL} [\w-]+(?: [\w-]+)?) from the (left|right|front|back)\b", r"\1 from_the_\2"),
    (r"([,;:!?()\n]|\.(?!\d))", r" \1 "),
)
_COUNTED: Final = re.compile(
    rf"\d|°|\b(?:{_ANY_NUMBER_WORD}|half|halfway|thirds?|quarters?|eighths?|fifths?|turn|revolution|rotation|degree"
    r"|angle|opposite|other way|twice|thrice|double|met(?:re|er))\b|%|-turn"
)
"""What every text has to which a row of `_AMOUNTS` applies."""


def _compiled(rewrites: _Rewrites) -> tuple[tuple[re.Pattern[str], _Replacement], ...]:
    return tuple((re.compile(pattern), replacement) for pattern, replacement in rewrites)


_STEPS: Final = (
    (None, _compiled(_WORDS)),
    (INDIRECT, _compiled(REQUESTS)),
    (None, _compiled(_PHRASES)),
    (_COUNTED, _compiled(_AMOUNTS)),
    (None, _compiled(_ENDS)),
)
"""Rewrites in order, each with the pattern that a text must match to be changed by them (None: any text)."""


@lru_cache(maxsize=4096)  # names recur in all instructions of a build
def normalize(text: str) -> str:
    """Return the text in lower case, with single spaces, separate punctuation, and one unit per kind of quantity."""
    text = _SPELLED.sub(lambda found: SPELLINGS[found[0]], text.lower().replace("’", "'").replace("‘", "'"))
    for needed, rewrites in _STEPS:
        if needed is None or needed.search(text):
            for pattern, replacement in rewrites:
                text = pattern.sub(replacement, text)
    return " ".join(text.split())


@dataclass(frozen=True)
class Split:
    """The clauses of a normalized text, in order."""

    requested: list[str]
    prohibited: list[str]
    """What must not be done or must not change."""


_HARD: Final = re.compile(r" ?(?:[;:!?()]|\.(?!\d))+ ?| - ")
_PROHIBITION: Final = (
    r"(?:do not|never|without (?:\w+ing|any)|keep|keeping|leave(?! (?:it|them) (?:on|in|under|inside|against|atop"
    r"|next to) )|leaving|instead of|rather than|nothing else|not"
    r"|(?:change|alter|touch) nothing|no (?:more|other)|only change"
    r"|(?:everything|all) else (?:remains?|stays?|is|are|should|must|as|unchanged|untouched))"
)
_PROHIBITED: Final = re.compile(
    rf"(?:but |and |while |please |i |we )*{_PROHIBITION}\b"
    r"|(?:the|my|this|everything|all)\b[^,]{0,60}? (?:stays?|remains?|can stay)(?: (?:where|put|as|in|still|there|here"
    r"|untouched)\b.*)?$"
)
_PLACE: Final = (
    r"(?:in front of|behind|beside|next to|near|between|into|inside|under|underneath|beneath|below|onto|(?:to|on|at"
    r"|in) the|left of|right of)\b"
)
# `do not put it behind the lamp but in front of it` is read as `put it from behind the lamp , in front of it`.
_CONTRAST: Final = re.compile(
    rf"^(?:please )?do not (?=\w+ )([^,]{{0,200}}?) ({_PLACE}[^,]{{0,200}}?)(?: ,)? but(?: rather)? (?={_PLACE})"
)
_NO_LONGER: Final = re.compile(
    rf" (?:no longer|not)(?: be)? ({_PLACE}[^,]{{0,200}}?)(?: ,)? but(?: rather| instead)? "
    rf"(?={_PLACE}|(?:to|on|at) (?:its|their)\b)"
)
# `, not the vase ,`, `instead of the right`, `without changing its position`: up to the next comma.
_ASIDE: Final = re.compile(
    r"(?:(?<!\bdo)(?: ,)?(?: but| and| while)? (?!do not|never|keep |leave |only)"
    rf"| , (?=do not\b[^,]*,)){_PROHIBITION}\b[^,]*| ,(?: and| but| while)? (?:the|my|all"
    r"|everything)\b[^,]{0,60}? (?:stays?|remains?)(?: (?:where|put|as|in|still|there|here|untouched)\b[^,]*)?$"
)
_FIRST: Final = re.compile(r"((?:instead of|rather than|without \w+ing)\b[^,]*) , (?=(?:the|it|they|its)\b)")
"""An aside before a clause with its own subject."""
_WITHOUT: Final = re.compile(
    r"(?:^|(?:(?: ,)? but|^show the image"
    r"|^(?:please )?(?:let me see|show(?: me)?|i want to see|i want) the (?:scene|image|room|picture)) )"
    r"without (?=(?:the|a|an|any|that) )"
)


@cache
def _gerunds(verbs: str) -> dict[str, str]:
    """Each verb by its forms in -ing: `move` by `moving`, `put` by `putting`."""
    words = [verb for verb in verbs.split("|") if verb.isalpha()]
    return {f"{stem}ing": verb for verb in words for stem in (verb.removesuffix("e"), verb + verb[-1])}


def _base_forms(text: str, verbs: str) -> str:
    """Turn `by removing` into a separate clause: `; remove`."""
    forms = _gerunds(verbs)
    return re.sub(
        r"(?:^| )by (\w+ing)\b", lambda found: f" ; {forms[found[1]]}" if found[1] in forms else found[0], text
    )


def split(text: str, verbs: str) -> Split:
    """Split a normalized text into clauses.

    `Leave everything as it is , but without the lamp` asks to remove the lamp: its last clause is `remove the lamp`.

    Args:
        verbs: regular expression of the verbs that may open a clause after a comma or `and`.
    """
    text = _CONTRAST.sub(r"\1 from \2 , ", _NO_LONGER.sub(r" from \1 , ", _base_forms(text, verbs)))
    boundary = re.compile(rf"(?: ,| and| then| but| just| please){{1,6}} (?=(?:{verbs}|{_PROHIBITION})\b)")
    requested: list[str] = []
    prohibited: list[str] = []
    for sentence in _HARD.split(_WITHOUT.sub(" ; remove ", text)):
        if found := _FIRST.match(sentence):
            prohibited.append(found[1])
            sentence = sentence[found.end() :]
        asides = [found.group().strip(" ,") for found in _ASIDE.finditer(sentence)]
        for clause in boundary.split(re.sub(" ?,", " ,", _ASIDE.sub("", sentence))):
            (prohibited if _PROHIBITED.match(clause) else requested).append(clause.strip(" ,"))
        prohibited += asides
    return Split([clause for clause in requested if clause], [clause for clause in prohibited if clause])
