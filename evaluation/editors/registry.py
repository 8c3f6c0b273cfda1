"""From the text of `--with` to an editor."""

import re
from pathlib import Path
from typing import Final

from ...shards.errors import BadInput
from ..benchmarks import Benchmark
from .command import Command
from .diffusion import Diffusers
from .editor import Editor
from .runs import open_run
from .server import PREFIX, Server
from .trivial import Copy, Oracle, Roundtrip

FORMS: Final = (
    "copy, oracle, roundtrip:EDITOR, the folder of a run, a diffusers pipeline (folder or hub id), "
    'a command such as "python edit.py {input} {prompt} {output}", or openai:URL#model'
)
ROUNDTRIP: Final = "roundtrip:"
_HUB_ID: Final = re.compile(r"[\w.-]+/[\w.-]+")


def open_editor(text: str, benchmark: Benchmark, *, timeout_s: float) -> Editor:
    """The editor that a text names; nothing is loaded yet.

    Args:
        timeout_s: seconds that one edit of a command or a server may take.

    Raises BadInput for a text that names none; the message lists the forms.
    """
    if text == "copy":
        return Copy()
    if text == "oracle":
        return Oracle(benchmark)
    if text.startswith(ROUNDTRIP):
        return Roundtrip(open_editor(text.removeprefix(ROUNDTRIP), benchmark, timeout_s=timeout_s))
    if text.startswith(PREFIX):
        return Server(text, timeout_s)
    path = Path(text)
    if path.is_dir():
        return Diffusers(text) if (path / "model_index.json").is_file() else open_run(path)
    if "{" in text or " " in text:
        return Command(text, timeout_s)
    if _HUB_ID.fullmatch(text):
        return Diffusers(text)
    raise BadInput(f"--with {text!r} names no editor: use {FORMS}")
