"""What a stage is: the base class of everything that computes a layer, with a default for all that it need not say.

A stage is a frozen dataclass that inherits `Stage`. Its class attributes say which layer it computes, which layers it
needs and its version. Its fields are its configuration: options in `layers.<layer>` of a build. They enter the layer's
fingerprint, except those declared with `field(metadata={"fingerprint": False})` (locations, batch sizes, resources:
what cannot change the output). Engine, packing and reports read a stage through the names declared here and no others.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from .layout import TEXT_EXTENSIONS, OwnExtension
from .recipes import ViewName
from .sample import Result, Sample


class Stage(ABC):
    """A pure function of its samples and its configuration.

    `setup` loads what is expensive, once per worker; `__call__` gives one result for each sample, in order. An
    exception from `__call__` makes the runner try the samples one by one (family by family, where `families` is set)
    and reject the failing one with its traceback; `shards.errors.SpatialdataError` from either stops the run with its
    message.
    """

    layer: ClassVar[str]
    """The layer that it computes."""
    needs: ClassVar[tuple[str, ...]]
    """The layers that it reads; of none, it answers the plan."""
    version: ClassVar[int]
    """Raise it when the output of the same configuration changes: it is part of the fingerprint."""
    renamed: ClassVar[Mapping[str, str]] = {}
    """Old option: new option. An old name is still read, and names the value in the fingerprint."""
    member: ClassVar[OwnExtension | Literal[""]] = ""
    """Of a layer that the package does not know: the type of its member, which has the layer's name. The column of that
    name holds it: bytes for `png` and `webp`, text for `txt` and `json`. Empty: the layer holds no member, and only its
    rejects count."""
    own_pool: ClassVar[bool] = False
    """Whether it has workers of its own, as every stage with GPUs has. Other stages share workers."""
    families: ClassVar[bool] = False
    """Whether one call gets a sample together with the samples that are derived from it."""
    spills: ClassVar[bool] = False
    """Whether the results of each call are kept at once, so that a worker that dies loses one call, not its unit. For
    calls that take seconds."""
    faults: ClassVar[frozenset[str]] = frozenset()
    """Reasons of rejects that speak of the machine rather than of the sample: a run with no other result ends."""

    batch_size: int = 8
    """Samples of one call."""
    samples_per_call: int = 0
    """Samples of one call where that is not `batch_size` (which is then the batch of a model); 0: `batch_size`."""
    cpus: float = 1.0
    gpus: float = 0.0
    """CPUs and GPUs of one worker."""
    timeout: float = 0.0
    """Seconds after which the worker of one unit counts as hung and is replaced; 0: never."""
    views: tuple[ViewName, ...] = ()
    """Images of which the layer holds a member: the target's has the layer's name, the source's the prefix `source_`.
    Empty, for a layer with a member: the target only."""
    model: str = ""
    """Hub id, or a path; empty where it has no model."""
    revision: str = ""
    """Of the model, as it was asked for."""
    prompt: str = ""
    """A version of the package's prompts, or the path of a file."""

    @property
    def supports(self) -> bool:
        """Of layer `pair`: whether the facts say what each object stands on (`shards.schema.SupportRef`)."""
        return False

    @property
    def packages(self) -> tuple[str, ...]:
        """Distributions whose versions its records name, beyond those that every record names."""
        return ()

    @property
    def columns(self) -> Mapping[str, tuple[str, ...]]:
        """Columns to read of the layers that it needs, by layer; of a layer that is not named, all."""
        return {}

    def setup(self) -> Any:
        """Load what is expensive. Its result is the `model` of every call."""
        return None

    @abstractmethod
    def __call__(self, model: Any, samples: Sequence[Sample]) -> Sequence[Result]:
        """One `Row` or `Reject` for each sample, in order."""

    def cpu_seconds(self, model: Any) -> float:
        """CPU seconds so far of processes that `setup`, or a call, has started."""
        return 0.0


def member_views(stage: Stage) -> tuple[ViewName, ...]:
    """Images of which the layer of a stage holds a member."""
    return stage.views or ("target",)


def members_of(stage: Stage) -> Mapping[str, type[bytes] | type[str]]:
    """The columns that a stage declares by `views` or `member`, with the type of their cells."""
    if not (stage.views or stage.member):
        return {}
    kind = str if stage.member in TEXT_EXTENSIONS else bytes
    return {stage.layer if view == "target" else f"source_{stage.layer}": kind for view in member_views(stage)}
