"""The prompts: text files in `annotators/prompts`, so that a change of wording is seen as one.

Invariant: a stage that asks with a prompt holds its `digest`, so that another wording is another layer.
"""

import hashlib
from functools import cache
from pathlib import Path
from string import Template
from typing import Final

_FOLDER: Final = Path(__file__).parents[1] / "prompts"


@cache
def read_prompt(name: str) -> str:
    """The text of `annotators/prompts/<name>.txt`."""
    return (_FOLDER / f"{name}.txt").read_text("utf-8").strip()


def fill_prompt(name: str, **values: str) -> str:
    """The text with each `$value` in its place; KeyError where one is missing."""
    return Template(read_prompt(name)).substitute(values)


def digest_of_prompts(*names: str) -> str:
    """16 hex digits over the texts: for a field of a stage, which so enters its fingerprint."""
    texts = "\0".join(f"{name}\0{read_prompt(name)}" for name in names)
    return hashlib.sha256(texts.encode()).hexdigest()[:16]
