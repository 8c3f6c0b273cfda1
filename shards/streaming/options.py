"""Options of a stream; `shards.stream` documents them."""

import os
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np

from ..errors import BadInput
from .decode import ImageKind
from .order import OrderName


@dataclass(frozen=True)
class StreamOptions:
    """Options of a stream. Raises BadInput for an invalid value."""

    seed: int = 0
    rank: int = 0
    world: int = 1
    order: OrderName = "global"
    images: ImageKind = "uint8"
    members: tuple[str, ...] = ()
    instruction: Literal["text", "any"] = "text"
    last: Literal["drop", "pad"] = "drop"
    on_error: Literal["raise", "skip"] = "raise"
    threads: int = 0
    prefetch: int = 4
    check: bool = True
    records: bool = False
    cache: str = ""
    cache_bytes: int = 100 << 30
    buckets: bool = False
    one_per_family: bool = False

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(StreamOptions).items():
            _check(name, getattr(self, name), kind)
        if not 0 <= self.rank < self.world:
            raise BadInput(
                f"rank {self.rank} of world {self.world}: the rank must be 0 or more and below the world size"
            )
        if self.threads < 0 or self.prefetch < 0 or self.cache_bytes < 1:
            raise BadInput("threads and prefetch must be 0 or more, cache_bytes 1 or more")

    @classmethod
    def of(cls, given: dict[str, Any]) -> "StreamOptions":
        """Options by name; accepts lists, paths and NumPy integers, too. Raises BadInput for an unknown name."""
        names = [option.name for option in fields(cls)]
        unknown = sorted(set(given) - set(names))
        if unknown:
            raise BadInput(f"stream has no option '{unknown[0]}'; options: {', '.join(names)}")
        return cls(**{name: _plain(value) for name, value in given.items()})


def _plain(value: Any) -> Any:
    match value:
        case list():
            return tuple(value)  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
        case os.PathLike():
            return os.fspath(value)  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
        case np.integer():
            return int(value)
        case _:
            return value


def _check(name: str, value: object, kind: Any) -> None:
    """Raise BadInput for a value of the wrong type, so that a typing error never selects another behavior."""
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise BadInput(f"{name} must be one of {', '.join(get_args(kind))} (got {value!r})")
    elif not isinstance(value, get_origin(kind) or kind) or (kind is int and isinstance(value, bool)):
        expected = "a list of names" if name == "members" else f"of type {kind.__name__}"
        raise BadInput(f"{name} must be {expected} (got {value!r})")
