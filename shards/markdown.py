"""Markdown that says what it was given: texts of strangers stay texts, whatever they hold.

Names of models and creators come from metadata that anyone could write. `escape` makes of any text a piece of one line
that CommonMark, GitHub and Hugging Face show as it is: no element, no link, no picture, no end of a table's cell.
"""

import re
from collections.abc import Sequence
from typing import Final

from .plain import plain

_SPECIAL: Final = re.compile(r"[\\`*_\[\]()#|~$!:@]")
_ENTITIES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_ADDRESS: Final = re.compile(r"(?i)\b(www)\.")
"""GitHub makes a link of it without being asked."""
_START: Final = re.compile(r"^(\d*)(?=[-+=]|(?<=\d)\.)")
"""What would begin a list: the backslash goes behind the number."""


def escape(text: str) -> str:
    """Any text as Markdown that shows it, on one line. What cannot be encoded becomes `?`."""
    shown = _SPECIAL.sub(r"\\\g<0>", _line(text)).translate(_ENTITIES)
    return _START.sub(r"\1\\", _ADDRESS.sub(r"\1\\.", shown))


def code(text: str) -> str:
    """A text as inline code of a table's cell, however many backticks it holds."""
    line = _line(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    padding = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{padding}{line}{padding}{fence}".replace("|", "\\|")


def fenced(text: str, language: str = "") -> str:
    """Lines of code as a block, whatever they hold."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"


def link(text: str, url: str) -> str:
    """A link with this text, which is escaped, to an address of ours, which is not; the text alone without one."""
    return f"[{escape(text)}]({url})" if url else escape(text)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table of cells that are Markdown already; columns of numbers stand at the right. Empty without rows."""
    if not rows:
        return ""
    numbers = [all(isinstance(row[column], int | float) for row in rows) for column in range(len(head))]
    rule = ["---:" if number else "---" for number in numbers]
    return "".join("| " + " | ".join(map(str, row)) + " |\n" for row in (head, rule, *rows))


def _line(text: str) -> str:
    return " ".join(plain(text).split())
