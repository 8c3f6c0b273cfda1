"""How stages talk to a vision-language model, whichever serves it.

A stage builds `Request`s, a `Backend` answers them with text, and `annotators.vlm.answers.ask` turns text into checked
values: cached by content, retried with another seed, rejected after that.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

REFUSED: Final = "request_refused"
"""Reason of a request that the model's server or engine would not take. Stages list it among their `faults`: where
every sample is refused so, the configuration is wrong rather than the samples."""
UNREADABLE: Final = "unreadable_image"


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


def seed_of(request: Request, seed: int) -> int:
    """The sampler's seed for an attempt, below 2**31: another one for each request.

    With one seed for all, a model would make the same choices everywhere, and a dataset the same turns of phrase.
    """
    parts = (str(seed).encode(), request.system.encode(), request.text.encode(), *request.images)
    digest = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()
    return int.from_bytes(digest[:4], "big") >> 1


@dataclass(frozen=True)
class Refused:
    """What came instead of an answer: this one request cannot be served (too long, an unreadable image)."""

    detail: str
    reason: str = REFUSED
    """Of the reject that comes of it."""


class Backend(Protocol):
    """A served model, whose answers do not come all at once: each can be kept as soon as it is there."""

    @property
    def model(self) -> str:
        """The model's name, as provenance has it."""
        ...

    @property
    def revision(self) -> str:
        """The checkpoint's revision, empty where the server does not tell."""
        ...

    def stream(self, requests: Sequence[Request], seed: int) -> Iterator[tuple[int, str | Refused]]:
        """Index of each request and its answer's text, in the order of arrival.

        `seed` counts the attempts from 0; requests are sampled with `seed_of`. Raises SpatialdataError where the model
        cannot be reached, after what arrived; WorkerLost where it is gone for good.
        """
        ...
