"""Base class of stages that use a vision-language model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from ...shards.sample import Reject
from ...shards.stage import Stage
from .answers import AnswerCache, Answered, ask
from .backends import open_backend
from .client import REQUEST_REFUSED, Backend, Request
from .options import VlmOptions

T = TypeVar("T")


@dataclass(frozen=True)
class VlmStage(VlmOptions, Stage):
    """A subclass sets `images` and calls `self.ask(backend, requests, parse)` with the backend that `setup` opened."""

    images: ClassVar[int] = 2
    """Most images of a request."""
    own_pool: ClassVar[bool] = True
    faults: ClassVar[frozenset[str]] = frozenset({REQUEST_REFUSED})

    @property
    def where(self) -> str:
        """The name of the options in the configuration."""
        return f"layers.{self.layer}"

    def setup(self) -> Backend:
        """Load the model, or check that the server has it. Raises BadInput if it is not available."""
        return open_backend(self, images=self.images)

    def ask(
        self, backend: Backend, requests: Sequence[Request], parse: Callable[[str], T]
    ) -> list[Answered[T] | Reject]:
        """Call `annotators.vlm.answers.ask` with the attempts and cache of these options."""
        cache = AnswerCache(self.answers, self.settings) if self.answers else None
        return ask(backend, requests, parse, attempts=self.answer_attempts, cache=cache)
