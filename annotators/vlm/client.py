"""How stages talk to a vision-language model, whichever serves it.

A stage builds `Request`s, a `Backend` answers them with text, and `annotators.vlm.answers.ask` turns text into checked
values: cached by content, retried with another seed, rejected after that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Request:
    """One question."""

    key: str
    """Of the sample or the asset: for messages."""
    system: str
    text: str
    images: tuple[bytes, ...]
    """Encoded (webp, png, jpg), in the order in which the text speaks of them."""
    schema: Mapping[str, Any]
    """JSON Schema that the answer must fit."""


class Backend(Protocol):
    """A served model."""

    @property
    def model(self) -> str:
        """The model's name, as provenance has it."""
        ...

    @property
    def revision(self) -> str:
        """The checkpoint's revision, empty where the server does not tell."""
        ...

    def complete(self, requests: Sequence[Request], seed: int) -> list[str]:
        """One answer's text for each request, in order. Raises SpatialdataError where the model cannot be reached."""
        ...
