"""Texts of strangers, made harmless for whoever shows them.

Names, titles and creators come from metadata that anyone could write, and errors of libraries repeat them. A terminal
obeys control characters, and marks of direction turn the order of what stands beside them.
"""

import unicodedata
from typing import Final

_DIRECTIONS: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the order of what stands beside them."""
_CONTROLS: Final = ("Cc", "Zl", "Zp")


def plain(text: str, keep: str = "") -> str:
    """A text without marks of direction, each control character a space, what cannot be encoded `?`.

    Args:
        keep: control characters that stay, such as the ends of lines of a text of ours.
    """
    if text.isprintable():
        # Marks of direction, control characters and lone surrogates all count as not printable.
        return text
    kept = (
        " " if character not in keep and unicodedata.category(character) in _CONTROLS else character
        for character in undirected(text)
    )
    return "".join(kept).encode("utf-8", "replace").decode()


def undirected(text: str) -> str:
    """A text without marks of direction."""
    return text if _DIRECTIONS.isdisjoint(text) else "".join(c for c in text if c not in _DIRECTIONS)
