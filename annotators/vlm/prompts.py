"""Prompts are files: `annotators/prompts/<name>.txt`, with `$name` where a value goes.

Invariant: what a stage sends is the text that it read when it was made, so that text, not a file's name, is what its
fingerprint holds.
"""

from pathlib import Path
from string import Template
from typing import Final

from ...shards.errors import BadInput

FOLDER: Final = Path(__file__).resolve().parent.parent / "prompts"


def read_prompt(name: str) -> str:
    """A prompt of the package by name, or any text file by a path that ends in `.txt`. Raises BadInput."""
    path = Path(name).expanduser() if name.endswith(".txt") else FOLDER / f"{name}.txt"
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        there = ", ".join(sorted(file.stem for file in FOLDER.glob("*.txt")))
        raise BadInput(
            f"no prompt '{name}' ({type(error).__name__}): give the path of a .txt file, or one of {there}"
        ) from None


def fill(text: str, **values: object) -> str:
    """Put values in place of `$names`. Raises BadInput for a `$name` that has no value; `$$` is a dollar sign."""
    try:
        return Template(text).substitute(values)
    except (KeyError, ValueError) as error:
        raise BadInput(
            f"a prompt has a placeholder that cannot be filled ({error}): allowed are "
            + ", ".join(f"${name}" for name in values)
        ) from None
