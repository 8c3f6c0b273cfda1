"""The interface between a recipe and the training loop (`training.loop`): data, models, loss, and what is saved.

Invariant: every random value in a step (noise, time steps, dropped texts) is drawn from a generator of its sample,
seeded by run seed, step and key. So the loss curve depends neither on the number of processes nor on resuming.
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
"""A batch of `shards.stream`: stacked arrays by member name, lists of texts, `key`, `valid`."""
Inputs = dict[str, "torch.Tensor"]
"""The argument of the trained module's `forward`: tensors on the device only."""


class Batches(Protocol):
    """The part of the interface of `shards.stream` that the loop uses."""

    @property
    def samples(self) -> int: ...

    @property
    def largest_bucket(self) -> int: ...

    @property
    def left_out(self) -> Mapping[str, int]: ...

    def batches(self, size: int, *, epochs: int | None = 1, accumulate: int = 1) -> Generator[Mapping[str, Any]]: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...

    def begin(self, epoch: int) -> None: ...

    def pick(self, keys: Sequence[str]) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class StepRng:
    """Random numbers of one step, drawn per sample."""

    seed: int
    step: int
    keys: tuple[str, ...]
    time: float | None = None
    """The time t in [0, 1] of all samples, in place of a draw, and no text is dropped: for the held-out loss."""

    def generators(self, purpose: str) -> "list[torch.Generator]":
        """One CPU generator per sample. Each purpose (`noise`, `time`, `drop`) has independent numbers."""
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

    def dropped(self, probability: float, purpose: str = "drop") -> list[bool]:
        """For each sample, whether its text is dropped (for classifier-free guidance)."""
        if self.time is not None:
            return [False] * len(self.keys)
        return (self.uniform(purpose) < probability).tolist()


class TrainingRecipe(Protocol):
    """One trainable system, created as `Recipe(options)` from the section `recipe` of a configuration. It owns its
    frozen models (VAE, text encoders, geometry encoder) and trains one module.

    Optional attributes, looked up by name:
        find_unused_parameters: bool; True if a step can leave trainable parameters without a gradient.
        open_stream(shards, split, options): opens the shards in place of `shards.stream`, for other layouts; returns a
            `Batches`. Options are those of `shards.stream` and include `stream_options`.
        weighs_edits: bool; True if `prepare` returns `changed` for batches that have it: the share of each element of
            the loss that the edit changed (see `flow.changed_shares`), in a shape that broadcasts. The loop replaces it
            by `weight`, the weights of these elements, with mean 1 in each sample.
        library: str; the library that loads the weights, for the model card.
        has_split(url, split): whether `open_stream` finds that split.
        begin(module, source): called after `build` in new runs only, to load initial weights from `init_from`: a result
            folder (of any stage or options of the recipe), a LoRA file, or None where the option is empty. Returns the
            names of the loaded parts. Without it, `init_from` must be a folder that `load` accepts. Checkpoints hold
            these weights, so a resumed run does not need the source.
        see(first): called before `build` in every start; `first(count)` returns the first samples of the training
            order as a batch, the same in every process and after a resume. For what depends on the data: the size of
            the images, or statistics that `save` writes with the weights.
        timed: bool; False if the loss has no time steps.
        validation_metrics(module, batch, seed): metrics of held-out samples by name, (B,) each.
        prefetch(batch): reads the cache entries of a coming batch; called in another thread while a step runs
            (`training.ahead`).
        build_encoders(device, dtype), encode(batch): called by `training.encode` in place of `build` and `prepare`. The
            second fills the cache for the valid samples of a batch with records, and returns its `CacheStats`.
        memory_knobs: Sequence[str]; options of the recipe that save memory, listed in the out-of-memory error.
    If `gradient_checkpointing` is set, the method `enable_gradient_checkpointing` of each submodule that has one is
    called.
    """

    name: ClassVar[str]
    """`spatialdiff`, `ildm`, `spatialedit`."""
    shards: ClassVar[str]
    """The shard recipe that it trains on, see `shards.recipes`."""
    options_type: ClassVar[type[Options]]
    """Type of the section `recipe`."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]]
    """Configurations by name; each holds only the keys that differ from the defaults (`training.config`). `paper`: the
    published values. `tiny`: a random model that trains on a CPU in about a minute."""

    def __init__(self, options: Any) -> None: ...

    @classmethod
    def models(cls, options: Any) -> Sequence[str]:
        """Hub ids or folders of the frozen models that the weights need, for the model card; the base first."""
        ...

    @property
    def stream_options(self) -> Mapping[str, Any]:
        """Options of `shards.stream`: images, members, instruction, ..."""
        ...

    def build(self, device: "torch.device", dtype: "torch.dtype") -> "nn.Module":
        """Load or create all models; frozen models are in `dtype` on `device`. Returns the module to train.

        Its trainable parameters have requires_grad. `forward(inputs)` returns a dict of losses, `loss` and its parts,
        each float32 (B,): one number for each sample, padded ones included. Where a sample has k rows (such as two
        views), (k B,), in the order of the inputs: all samples, then all samples again. The loop averages them over
        the valid samples of a step.
        Raises BadInput for missing weights; the message names the model id and how to get it.
        """
        ...

    def prepare(self, batch: Batch, rng: StepRng) -> Inputs:
        """Turn a batch of the stream into the module's inputs, without gradients: encode, read caches, draw noise and
        time steps.

        Time steps come from `rng.time` where it is set, and dropped texts from `rng.dropped`.
        """
        ...

    def save(self, module: "nn.Module", folder: Path) -> None:
        """Write the trained weights exactly (LoRA in the formats of the libraries, other parts as safetensors with
        their config)."""
        ...

    def load(self, module: "nn.Module", folder: Path) -> None:
        """Load what `save` wrote. Raises BadInput if the folder is of another recipe or configuration."""
        ...

    def sample(self, module: "nn.Module", batch: Batch, seed: int) -> Mapping[str, Any]:
        """Predictions for a batch: images uint8 (B, H, W, 3) by name (`prediction`, `depth`, ...).

        A batch of the user's own images holds only `source`, `instruction`, `caption`, `key` and `valid`.
        """
        ...
