"""What a person is told, on stdout and stderr: whatever the locale, and whatever strangers wrote into names and errors.

All that is printed goes through `say` or a `terminal`: no control character of a foreign text reaches the terminal, and
no secret.
"""

import io
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TextIO

import click

from ..shards.plain import plain
from ..shards.redact import redact

if TYPE_CHECKING:
    from rich.console import Console


def prepare() -> None:
    """What the encoding of the terminal lacks is spelled out (`\\u6570`) and no error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str, *, err: bool = False, file: TextIO | None = None) -> None:
    """Print a line, or lines. A stderr that cannot be written ends no run; a stdout raises OSError.

    Args:
        file: takes the lines in place of either.
    """
    try:
        click.echo(plain(redact(text), keep="\n\t"), file, err=err)
    except OSError:
        if not err:
            raise
        _drop(sys.stderr)


def terminal(*, stderr: bool = False, **options: Any) -> "Console":
    """A console of rich for tables and styles, harmless as `say` is."""
    from rich.console import Console
    from rich.segment import Segment

    class Harmless(Console):
        def render_str(self, text: str, **given: Any) -> Any:
            return super().render_str(plain(text, keep="\n\t"), **given)

        def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else segment._replace(text=plain(segment.text, keep="\n"))

    return Harmless(stderr=stderr, **options)


def stdout_is_lost() -> bool:
    """Whether stdout cannot be written; then all that follows is dropped, so that nothing else fails for it.

    Tried with an empty line: what failed to be written is forgotten by then.
    """
    try:
        sys.stdout.write("\n")
        sys.stdout.flush()
    except OSError:
        _drop(sys.stdout)
        return True
    return False


def _drop(stream: TextIO) -> None:
    """Let what a stream still holds, and all that follows, go nowhere."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except OSError:
        pass
