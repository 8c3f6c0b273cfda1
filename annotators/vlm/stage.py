"""Base of the stages that ask a vision-language model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from ...shards.sample import Reject
from ...shards.stage import Stage
from .answers import AnswerCache, Answered, ask
from .backends import open_backend
from .client import REFUSED, Backend, Request
from .options import VlmOptions

T = TypeVar("T")


@dataclass(frozen=True)
class VlmStage(VlmOptions, Stage):
    """A stage inherits it, sets `images`, and calls `self.ask(backend, requests, parse)`; `setup` opens the backend."""

    images: ClassVar[int] = 2
    """Images of one request at most."""
    own_pool: ClassVar[bool] = True
    faults: ClassVar[frozenset[str]] = frozenset({REFUSED})

    @property
    def where(self) -> str:
        """What the options are called in the configuration."""
        return f"layers.{self.layer}"

    def setup(self) -> Backend:
        """Load the model, or make sure that the server has it. Raises BadInput where it is not to be had."""
        return open_backend(self, images=self.images)

    def ask(
        self, backend: Backend, requests: Sequence[Request], parse: Callable[[str], T]
    ) -> list[Answered[T] | Reject]:
        """`annotators.vlm.answers.ask` with these options' attempts and cache."""
        cache = AnswerCache(self.answers, self.settings) if self.answers else None
        return ask(backend, requests, parse, attempts=self.answer_attempts, cache=cache)
