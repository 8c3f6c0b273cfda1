"""Markdown with escaping of untrusted text.

Names of models and creators come from metadata that anyone could write. `escape` turns any text into one line that
CommonMark, GitHub and Hugging Face show literally: no element, no link, no image, no end of a table cell.
"""

import re
from collections.abc import Sequence
from typing import Final

from .plain import sanitize

_SPECIAL: Final = re.compile(r"[\\`*_\[\]()#|~$!:@]")
_ENTITIES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_BARE_WWW: Final = re.compile(r"(?i)\b(www)\.")
"""GitHub turns it into a link by itself."""
_LIST_START: Final = re.compile(r"^(\d*)(?=[-+=]|(?<=\d)\.)")
"""The start of a list item; the backslash goes after the number."""


def escape(text: str) -> str:
    """Markdown that shows the text literally, on one line. What cannot be encoded becomes `?`."""
    shown = _SPECIAL.sub(r"\\\g<0>", _line(text)).translate(_ENTITIES)
    return _LIST_START.sub(r"\1\\", _BARE_WWW.sub(r"\1\\.", shown))


def code(text: str) -> str:
    """The text as inline code that fits a table cell, however many backticks it contains."""
    line = _line(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    padding = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{padding}{line}{padding}{fence}".replace("|", "\\|")


def fenced(text: str, language: str = "") -> str:
    """The text as a code block, whatever it contains."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"


def link(text: str, url: str) -> str:
    """A link to a trusted URL, which is not escaped, with the escaped text; only the escaped text without a URL."""
    return f"[{escape(text)}]({url})" if url else escape(text)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table whose cells are already Markdown; columns of numbers are right-aligned. Empty without rows."""
    if not rows:
        return ""
    numbers = [all(isinstance(row[column], int | float) for row in rows) for column in range(len(head))]
    rule = ["---:" if number else "---" for number in numbers]
    return "".join("| " + " | ".join(map(str, row)) + " |\n" for row in (head, rule, *rows))


def _line(text: str) -> str:
    return " ".join(sanitize(text).split())
