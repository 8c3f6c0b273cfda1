"""A stream around another one; subclasses replace some of its methods."""

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from .recipe import Batches


class WrappedBatches:
    """`training.recipe.Batches` that passes everything on."""

    def __init__(self, stream: Batches) -> None:
        self._stream = stream

    @property
    def samples(self) -> int:
        return self._stream.samples

    @property
    def largest_bucket(self) -> int:
        return self._stream.largest_bucket

    @property
    def lost(self) -> frozenset[str]:
        """Keys of samples that are not valid, since the recipe cannot use them, of those drawn so far."""
        return getattr(self._stream, "lost", frozenset())

    @property
    def left_out(self) -> Mapping[str, int]:
        return self._stream.left_out

    def batches(self, size: int, *, epochs: int | None = 1, accumulate: int = 1) -> Generator[Mapping[str, Any]]:
        return self._stream.batches(size, epochs=epochs, accumulate=accumulate)

    def state_dict(self) -> dict[str, Any]:
        return self._stream.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._stream.load_state_dict(state)

    def begin(self, epoch: int) -> None:
        self._stream.begin(epoch)

    def pick(self, keys: Sequence[str]) -> Mapping[str, Any]:
        return self._stream.pick(keys)
