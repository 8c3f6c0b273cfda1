"""Prompts are files, `annotators/prompts/<name>.txt`, with placeholders such as `$name`.

Invariant: a stage reads its prompt once, when it is constructed. Its fingerprint covers the text, not the file's name.
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
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.txt")))
        raise BadInput(
            f"no prompt '{name}' ({type(error).__name__}): give the path of a .txt file, or one of {known}"
        ) from None


def fill(text: str, **values: object) -> str:
    """Replace placeholders (`$name`) by values. `$$` is a dollar sign. Raises BadInput for a name without a value."""
    try:
        return Template(text).substitute(values)
    except (KeyError, ValueError) as error:
        raise BadInput(
            f"a prompt has an invalid placeholder ({error}): use only " + ", ".join(f"${name}" for name in values)
        ) from None
