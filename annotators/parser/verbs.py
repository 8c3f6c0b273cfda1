"""The verbs that the parser knows: which kind of edit they ask for, and which change of size they imply.

Each kind of edit contributes its own words (`annotators.edits.kind.Words`). This module adds the words that several
kinds share, and the tables in which the parser looks words up.

Invariant: a verb asks for one kind of edit, or for none by itself (`make`). Verbs that turn an object about a
horizontal axis (`tilt`, `flip`, `lean`) or change one dimension only (`widen`) are not listed.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final, Literal

from ...shards.schema import EditKind
from ..edits.kind import Words
from ..edits.registry import KINDS
from ..edits.words import WORD_ENDS

VerbKind = EditKind | Literal["place", "light"]
"""What a verb asks for: an edit; `place`: a move or an insertion; `light`: nothing by itself."""
_WORDS: Final[Mapping[EditKind, Words]] = {name: kind.words for name, kind in KINDS.items() if kind.words}
PLACING: Final = (
    "put|place|set|position|drop|stand|situate|settle|lay|plant(?= )|rest|pop|stick|stack|pile|heap|deposit|stash|store"
    "|slip|squeeze|wedge|jam|stow|load|plop|plonk|sit|perch|balance|spread"
    "|(?:throw|toss|chuck)(?=[^,;.]{0,60} (?:into|onto|on|in|under) (?:the|an?) )"
)
"""With an object of the scene (`the mug`) a move, with a new object (`a mug`) an insertion."""
PLACED: Final = (
    "put|placed|positioned|dropped|standing|situated|stacked|piled|laid|rested|stuck|slipped|stored|displayed|kept"
)
TRADED: Final = (
    r"(?:(?:should|must|shall|ought to|needs? to|have to|to|can|could) )?(?:swap|switch|exchange|trade"
    r"|change) (?:their )?(?:places|positions|locations|spots|seats)(?: with)?"
    r"|(?:reverse|flip) the (?:places|positions|locations) of"
)
"""A swap, said of its objects (`have the two trade places`)."""
LIGHT: Final = (
    "make|let|try(?= the)|have|give|apply|take(?: hold of)?|(?:get|grab)(?: (?:hold|ahold) of)?|snatch|grasp|fetch"
    "|retrieve|lift(?: up)?|pick(?: up|(?=[^,;.]{1,60} up\\b))|edit|leave|change|adjust|alter|modify|perform|carry out"
    "|execute|do|swing|(?:show|present|display)(?! (?:us )?(?:its|their) )|set the size of|i want|i would like|i need"
)
"""Verbs that ask for nothing by themselves (`make it larger`, `have it moved`, `take it away`)."""
SIZES: Final[Mapping[str, tuple[str, float]]] = {
    "enlarge": ("larger", 0.0),
    "upscale": ("larger", 0.0),
    "upsize": ("larger", 0.0),
    "inflate": ("larger", 0.0),
    "grow": ("larger", 0.0),
    "magnify": ("larger", 0.0),
    "expand": ("larger", 0.0),
    "increase": ("larger", 0.0),
    "blow up": ("larger", 0.0),
    "scale up": ("larger", 0.0),
    "scaled up": ("larger", 0.0),
    "double": ("larger", 2.0),
    "triple": ("larger", 3.0),
    "downscale": ("smaller", 0.0),
    "downsize": ("smaller", 0.0),
    "miniaturise": ("smaller", 0.0),
    "miniaturize": ("smaller", 0.0),
    "diminish": ("smaller", 0.0),
    "shrink": ("smaller", 0.0),
    "shrunk": ("smaller", 0.0),
    "reduce": ("smaller", 0.0),
    "decrease": ("smaller", 0.0),
    "scale down": ("smaller", 0.0),
    "scaled down": ("smaller", 0.0),
    "halve": ("smaller", 0.5),
}
"""The change of size that a verb (or participle, without its `d`) implies: sense, and factor, 0 if it names none."""
_SLANG: Final[Mapping[EditKind, str]] = {
    "remove": "ditch|lose|trash(?! (?:can|bin)s?\\b)|yank|toss out|chuck out|bin(?= (?:the|that|this) )",
    "translate": "yeet|bung|dump|fling|lob|sling|plunk|nestle|lug|schlep|scooch|sneak|swoosh|ship|shuffle|ease|wheel"
    "|edge|swing(?= [^,;.]{1,40} (?:onto|into|over) )|sit(?= the )|set down|put down|put back"
    "|(?:raise|lower)(?= (?:the|my|that|this) [^,;.]{1,40} (?:on|onto|to|off|from|into|in|under) (?:the|its|my) )",
    "insert": "spawn|there (?:should |must )?(?:be|are)(?= (?:two|three|four|several|many) )",
}
"""Words of a kind that only the parser knows."""
KIND_VERBS: Final = "|".join((*(words.verbs for words in _WORDS.values()), *_SLANG.values()))
"""The verbs of all kinds except the camera (`camera.VERBS`)."""
_SOMEWHERE: Final = (
    r"(?=$| (?:,|in|inside|on|to|at|by|behind|between|beside|next|near|right|left|close|closer|alongside|adjacent"
    r"|directly|just|immediately|exactly|half|halfway|midway|away|farther|further|where|there|somewhere|upright"
    r"|against|under|underneath|beneath|above|below|opposite|with|onto|atop|upon|down|back)\b)"
)


def _pattern(words: str) -> re.Pattern[str]:
    """Match alternatives up to the end of a word. List `scale up` before `scale`."""
    return re.compile(rf"(?:{words}){WORD_ENDS}")


def _after_object() -> Iterator[tuple[VerbKind, re.Pattern[str]]]:
    yield (
        "place",
        re.compile(rf"(?:stand|sit|rest|lie|sleep|nap|wait|crouch|lounge|recline|live|nestle|perch|drive){_SOMEWHERE}"),
    )  # not `take the hat stand out`
    for kind, words in _WORDS.items():
        if words.after_object:
            yield kind, re.compile(words.after_object)


MUST: Final = "(?:should|must|shall|needs? to|has to|have to|ought to|could)"
OPENING: Final[tuple[tuple[VerbKind, re.Pattern[str]], ...]] = (
    *((kind, _pattern(words.verbs)) for kind, words in _WORDS.items()),
    *((kind, _pattern(verbs)) for kind, verbs in _SLANG.items()),
    ("place", _pattern(PLACING)),
    ("light", _pattern(LIGHT)),
)
PARTICIPLES: Final[tuple[tuple[VerbKind, re.Pattern[str]], ...]] = (
    *((kind, _pattern(words.participles)) for kind, words in _WORDS.items()),
    *(
        (kind, re.compile(rf"(?:{words.nouns}) (?:of|in)(?= (?:size of )?(?:the|an?) )"))
        for kind, words in _WORDS.items()
    ),
    ("place", _pattern(PLACED)),
    ("swap", _pattern(TRADED)),
    ("translate", re.compile(rf"{MUST} (?:move|shift|slide)\b|returned\b")),
    ("scale", re.compile(rf"{MUST} (?:shrink|grow)\b")),
    ("rotate", re.compile(rf"{MUST} (?:turn|rotate|spin|pivot)\b")),
)
AFTER_LIGHT: Final[tuple[tuple[VerbKind, re.Pattern[str]], ...]] = tuple(_after_object())
"""Verbs after their object, as in `let the cone stand between them`."""
