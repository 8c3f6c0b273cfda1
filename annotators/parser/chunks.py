"""A clause cut into phrases of the lexicon, verbs, and the noun phrases between them.

Invariant: the chunks of a clause are its words, in order; at each place the longest phrase of the lexicon counts.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from .lexicon import ARTICLE, FILLERS, MARKERS, PICTURES
from .verbs import AFTER_LIGHT, OPENING, PARTICIPLES

_NAMED: Final = re.compile(r"(?<=\bthe )|(?<=\ba )|(?<=\ban )|(?<=\bits )|(?<=\btheir )")
"""Matches at a place behind an article."""
PRONOUNS: Final = frozenset({"it", "them", "that", "this"})


@dataclass(frozen=True)
class Chunk:
    """A phrase of the lexicon, a verb (`verb`, its kind, its word), or the words between phrases (`words`)."""

    kind: str
    value: str
    word: str = ""


def chunks(clause: str) -> Iterator[Chunk]:
    """Cut a clause into phrases of the lexicon and the words between them."""
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
        () if _NAMED.match(clause, at) else (*(OPENING if first else ()), *PARTICIPLES, *(AFTER_LIGHT if light else ()))
    )
    best: tuple[Chunk, int] | None = None
    for kind, pattern in tables:
        match = pattern.match(clause, at)
        if match and (best is None or match.end() > best[1]):
            best = Chunk("verb", kind, match.group()), match.end()
    return best


def _phrase(clause: str, at: int) -> tuple[Chunk, int] | None:
    """The longest phrase of the lexicon at a place."""
    best: tuple[Chunk, int] | None = None
    for marker in MARKERS:
        match = marker.pattern.match(clause, at)
        if match and match.end() > (best[1] if best else at):
            value = marker.value.format(*[match.group(), *(group or "" for group in match.groups())])
            best = Chunk(marker.kind, " ".join(value.split()), match.group()), match.end()
    return best


def trimmed(words: str) -> str:
    """A noun phrase without article and without the fillers around it."""
    tokens = words.split()
    # `the lamp in the picture` ends in a filler, `the framed picture` in its noun.
    while (
        tokens
        and tokens[-1] in FILLERS - PRONOUNS
        and not (tokens[-1] in PICTURES and len(tokens) > 1 and tokens[-2] not in FILLERS)
    ):
        tokens.pop()
    while len(tokens) > 1 and tokens[0] in FILLERS - PRONOUNS - {"the", "a", "both"}:
        tokens.pop(0)
    return ARTICLE.sub("", " ".join(tokens))
