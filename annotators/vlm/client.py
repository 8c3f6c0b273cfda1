"""The interface between stages and a vision-language model.

A stage builds `Request`s, and a `Backend` answers them with text. `annotators.vlm.answers.ask` turns the text into
checked values: it caches answers by content, retries malformed ones with another seed, and then rejects.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

REQUEST_REFUSED: Final = "request_refused"
"""Reject reason of a request that the server or engine rejected. It is in the `faults` of stages: if all samples have
it, the configuration is wrong rather than the samples."""
UNREADABLE_IMAGE: Final = "unreadable_image"


@dataclass(frozen=True)
class Request:
    """One question."""

    key: str
    """Key of the sample or the asset, for people."""
    system: str
    text: str
    images: tuple[bytes, ...]
    """Encoded images (webp, png, jpg), in the order in which the text refers to them."""
    schema: Mapping[str, Any]
    """JSON Schema of the answer."""


def seed_of(request: Request, seed: int) -> int:
    """The sampler's seed for an attempt, below 2**31. It differs between requests.

    With one seed for all requests, a model would use the same phrases throughout a dataset.
    """
    parts = (str(seed).encode(), request.system.encode(), request.text.encode(), *request.images)
    digest = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()
    return int.from_bytes(digest[:4], "big") >> 1


@dataclass(frozen=True)
class RejectedRequest:
    """Returned instead of an answer if a request cannot be served: it is too long, or an image is unreadable."""

    detail: str
    reason: str = REQUEST_REFUSED
    """Reason of the sample's reject."""


class Backend(Protocol):
    """A model that yields answers as they arrive, so that each can be cached at once."""

    @property
    def model(self) -> str:
        """The model's name, for provenance."""
        ...

    @property
    def revision(self) -> str:
        """The checkpoint's revision; empty if the server does not report it."""
        ...

    def stream(self, requests: Sequence[Request], seed: int) -> Iterator[tuple[int, str | RejectedRequest]]:
        """Yield the index of each request and its answer's text, in the order of arrival.

        Args:
            seed: number of the attempt, from 0. Requests are sampled with `seed_of(request, seed)`.

        Raises SpatialdataError if the model cannot be reached, after yielding what arrived. Raises WorkerLost if the
        model must be loaded again.
        """
        ...
