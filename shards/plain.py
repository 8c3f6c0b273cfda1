"""Makes untrusted text safe to display.

Names, titles and creators come from metadata that anyone could write, and errors of libraries repeat them. A terminal
executes control characters, and directional marks reorder the text next to them.
"""

import unicodedata
from typing import Final

_DIRECTIONS: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Directional marks: characters that reorder the text next to them."""
_CONTROLS: Final = ("Cc", "Zl", "Zp")


def sanitize(text: str, keep: str = "") -> str:
    """The text without directional marks; control characters become spaces, and what cannot be encoded becomes `?`.

    Args:
        keep: control characters to keep, such as the line ends of our own text.
    """
    if text.isprintable():
        # Directional marks, control characters and lone surrogates all count as not printable.
        return text
    kept = (
        " " if character not in keep and unicodedata.category(character) in _CONTROLS else character
        for character in strip_directional_marks(text)
    )
    return "".join(kept).encode("utf-8", "replace").decode()


def strip_directional_marks(text: str) -> str:
    """The text without directional marks."""
    return text if _DIRECTIONS.isdisjoint(text) else "".join(c for c in text if c not in _DIRECTIONS)
