"""Split a clause into phrases of the lexicon, verbs, and the noun phrases between them.

Invariant: the chunks of a clause are its words, in order. At each position the longest phrase of the lexicon wins.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from .lexicon import ARTICLE, FILLERS, MARKERS, PICTURES
from .verbs import AFTER_LIGHT, OPENING, PARTICIPLES

_ANY_PHRASE: Final = re.compile("|".join(f"(?:{marker.pattern.pattern})" for marker in MARKERS))
"""Matches where any phrase of the lexicon does. Most words start none, so this saves time."""
_AFTER_ARTICLE: Final = re.compile(r"(?<=\bthe )|(?<=\ba )|(?<=\ban )|(?<=\bits )|(?<=\btheir )")
"""Matches at a position after an article or a possessive."""
PRONOUNS: Final = frozenset({"it", "them", "that", "this"})


@dataclass(frozen=True)
class Chunk:
    """A phrase of the lexicon, a verb, or the words between phrases.

    `kind` is the kind of a `Marker`, `verb` or `words`. `value` is what the phrase means, the `VerbKind`, or the words.
    `word` is the matched text of a phrase or verb.
    """

    kind: str
    value: str
    word: str = ""


def chunks(clause: str) -> Iterator[Chunk]:
    """Yield the chunks of a normalized clause."""
    at, words = 0, list[str]()
    opened, light = False, False
    while at < len(clause):
        verb = _verb(clause, at, first=not opened and all(word in FILLERS for word in words), light=light)
        found = verb or _phrase(clause, at)
        if found is None:
            end = clause.find(" ", at)
            end = len(clause) if end < 0 else end
            words.append(clause[at:end])
        else:
            chunk, end = found
            opened = opened or chunk.kind == "verb"
            light = light or chunk.value == "light"
            if words:
                yield Chunk("words", " ".join(words))
            words = []
            yield chunk
        at = end + 1 if clause[end : end + 1] == " " else end
    if words:
        yield Chunk("words", " ".join(words))


def _verb(clause: str, at: int, first: bool, light: bool) -> tuple[Chunk, int] | None:
    tables = (
        ()
        if _AFTER_ARTICLE.match(clause, at)
        else (*(OPENING if first else ()), *PARTICIPLES, *(AFTER_LIGHT if light else ()))
    )
    best: tuple[Chunk, int] | None = None
    for kind, pattern in tables:
        match = pattern.match(clause, at)
        if match and (best is None or match.end() > best[1]):
            best = Chunk("verb", kind, match.group()), match.end()
    return best


def _phrase(clause: str, at: int) -> tuple[Chunk, int] | None:
    """The longest phrase of the lexicon at a position."""
    best: tuple[Chunk, int] | None = None
    if not _ANY_PHRASE.match(clause, at):
        return None
    for marker in MARKERS:
        match = marker.pattern.match(clause, at)
        if match and match.end() > (best[1] if best else at):
            value = marker.value.format(*[match.group(), *(group or "" for group in match.groups())])
            best = Chunk(marker.kind, " ".join(value.split()), match.group()), match.end()
    return best


def trim_noun_phrase(words: str) -> str:
    """Remove the article and the fillers around a noun phrase."""
    tokens = words.split()
    # `picture` is a filler in `the lamp in the picture`, and the noun in `the framed picture`.
    while (
        tokens
        and tokens[-1] in FILLERS - PRONOUNS
        and not (tokens[-1] in PICTURES and len(tokens) > 1 and tokens[-2] not in FILLERS)
    ):
        tokens.pop()
    while len(tokens) > 1 and tokens[0] in FILLERS - PRONOUNS - {"the", "a", "both"}:
        tokens.pop(0)
    return ARTICLE.sub("", " ".join(tokens))
