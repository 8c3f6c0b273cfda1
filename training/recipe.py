"""What a system brings to the one training loop (`training.loop`): data, models, loss, and what it saves.

Invariant: what is random in a step (noise, time steps, dropped texts) is drawn for each sample from a generator of its
own, seeded by run, step and key. So a loss curve depends neither on the number of processes nor on a stop and resume.
"""

import hashlib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from ..shards.options import Options

if TYPE_CHECKING:
    import torch
    from torch import nn

Batch = Mapping[str, Any]
"""As `shards.stream` hands it out: stacked arrays by member, lists of text, `key`, `valid`."""
Inputs = dict[str, "torch.Tensor"]
"""What the trained module's `forward` gets: tensors on the device, nothing to look up."""


class Batches(Protocol):
    """What the loop needs of `shards.stream`."""

    @property
    def samples(self) -> int: ...

    @property
    def alike(self) -> int: ...

    @property
    def left_out(self) -> Mapping[str, int]: ...

    def batches(self, size: int, *, epochs: int | None = 1) -> Generator[Mapping[str, Any]]: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True)
class Chance:
    """The randomness of one step, sample by sample."""

    seed: int
    step: int
    keys: tuple[str, ...]

    def generators(self, purpose: str) -> "list[torch.Generator]":
        """One CPU generator a sample; another purpose (`noise`, `time`, `drop`), other numbers."""
        import torch

        texts = [f"{self.seed} {self.step} {purpose} {key}" for key in self.keys]
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1 for text in texts]
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    def normal(self, shape: Sequence[int], purpose: str = "noise") -> "torch.Tensor":
        """Standard normal float32 (samples, *shape), on the CPU."""
        import torch

        return torch.stack([torch.randn(tuple(shape), generator=one) for one in self.generators(purpose)])

    def uniform(self, purpose: str) -> "torch.Tensor":
        """Uniform float32 in [0, 1), (samples,), on the CPU."""
        import torch

        return torch.cat([torch.rand(1, generator=one) for one in self.generators(purpose)])


class TrainingRecipe(Protocol):
    """One system, made as `Recipe(options)` from the section `recipe` of a configuration. Frozen helpers (VAE, text
    encoders, geometry encoder) are its own; what trains is one module.

    Optional, looked up by name:
        find_unused_parameters: bool; True where a step leaves parameters that train without a gradient.
        open_stream(shards, split, options): for shards of another layout than ours, too; gives a `Batches`. Options are
            those of `shards.stream`, with `stream_options` among them.
        begin(module): called behind `build` in a new run alone: what it starts from that a checkpoint holds, too.
        memory_knobs: Sequence[str]; what of its own options saves memory, for the message of a run that is out of it.
    Parts of the module with a method `enable_gradient_checkpointing` have it called where the configuration says so.
    """

    name: ClassVar[str]
    """`spatialdiff`, `ildm`, `spatialedit`."""
    shards: ClassVar[str]
    """The recipe of shards that its batches come from, see `shards.recipes`."""
    options_type: ClassVar[type[Options]]
    """Of the section `recipe`."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]]
    """Configurations by name, each with the keys in which it differs from the defaults (`training.config`): `paper` for
    the published numbers, `tiny` for a random model that trains on a CPU in a minute."""

    def __init__(self, options: Any) -> None: ...

    @property
    def stream_options(self) -> Mapping[str, Any]:
        """Options of `shards.stream`: images, members, instruction, ..."""
        ...

    def build(self, device: "torch.device", dtype: "torch.dtype") -> "nn.Module":
        """Load or make everything; frozen helpers in `dtype` on `device`. Gives the module that trains.

        Its parameters that train have requires_grad; `forward(inputs)` gives a dict of scalars: `loss`, and its parts.
        Raises BadInput for missing weights, naming the id and how to get it.
        """
        ...

    def prepare(self, batch: Batch, chance: Chance) -> Inputs:
        """From a batch of the stream to the module's inputs, without gradients: encoding, caches, noise, time steps."""
        ...

    def save(self, module: "nn.Module", folder: Path) -> None:
        """Write what trained, to the last bit (LoRA in the libraries' own formats, further parts as safetensors with
        their config)."""
        ...

    def load(self, module: "nn.Module", folder: Path) -> None:
        """Read it back. Raises BadInput where the folder is another recipe's or configuration's."""
        ...

    def sample(self, module: "nn.Module", batch: Batch, seed: int) -> Mapping[str, Any]:
        """Predictions for a batch: images uint8 (B, H, W, 3) by name (`prediction`, `depth`, ...)."""
        ...
