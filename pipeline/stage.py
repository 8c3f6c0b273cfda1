"""The protocol that every stage fits: nothing to inherit.

A stage is a frozen dataclass. Its class attributes say which layer it makes, which layers it needs and its version;
its fields are its configuration and enter the layer's fingerprint, except those declared with
`field(metadata={"fingerprint": False})` (locations, batch sizes, actors: what cannot change the output).
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

from ..shards.sample import Result, Sample


@runtime_checkable
class Stage(Protocol):
    """A pure function of its samples and its configuration.

    `setup` loads what is expensive, once a worker; `__call__` gives one result for each sample, in order.
    An exception from `__call__` makes the runner try the samples one by one (the families, where the stage asks for
    whole ones) and reject the failing one with its traceback; `shards.errors.SpatialdataError` from either stops the
    run with its message.
    """

    layer: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    version: ClassVar[int]

    @property
    def batch_size(self) -> int: ...
    @property
    def cpus(self) -> float: ...
    @property
    def gpus(self) -> float: ...

    def setup(self) -> Any: ...
    def __call__(self, model: Any, samples: Sequence[Sample]) -> Sequence[Result]: ...
