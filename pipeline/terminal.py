"""Output to stdout and stderr, safe in any locale and for any text in names and errors.

Everything that is printed goes through `say` or `terminal`, which remove control characters and secrets.
"""

import io
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TextIO

import click

from ..shards.plain import sanitize
from ..shards.redact import redact

if TYPE_CHECKING:
    from rich.console import Console


def prepare() -> None:
    """Print characters that the terminal's encoding lacks as escapes (`\\u6570`) instead of raising an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str, *, err: bool = False, file: TextIO | None = None) -> None:
    """Print text. Raises OSError if stdout cannot be written; ignores a stderr that cannot be written.

    Args:
        file: written to instead of stdout or stderr.
    """
    try:
        click.echo(sanitize(redact(text), keep="\n\t"), file, err=err)
    except OSError:
        if not err:
            raise
        _drop(sys.stderr)


def terminal(*, stderr: bool = False, **options: Any) -> "Console":
    """A rich console for tables and styles; like `say`, it removes control characters."""
    from rich.console import Console
    from rich.segment import Segment

    class Harmless(Console):
        def render_str(self, text: str, **given: Any) -> Any:
            return super().render_str(sanitize(text, keep="\n\t"), **given)

        def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else segment._replace(text=sanitize(segment.text, keep="\n"))

    return Harmless(stderr=stderr, **options)


def stdout_is_lost() -> bool:
    """Whether stdout cannot be written. If so, later output is dropped, so that it causes no further error.

    Tests with an empty line, because Python has already discarded the text that failed.
    """
    try:
        sys.stdout.write("\n")
        sys.stdout.flush()
    except OSError:
        _drop(sys.stdout)
        return True
    return False


def _drop(stream: TextIO) -> None:
    """Discard the buffer of a stream and everything written to it later."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except OSError:
        pass
