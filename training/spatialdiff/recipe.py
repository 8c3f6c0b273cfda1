"""SpatialDiff for the training loop: its options, the inputs of a step, what is saved and sampled.

Invariant: every part that exists beside the frozen base trains (see `build`), so a run saves everything it changed.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from ...shards.errors import BadInput
from ..caches import CacheStats
from ..data import sized
from ..flow import changed_shares, draw_times, interpolate, resolution_shift, velocity
from ..recipe import Batch, Inputs, StepRng
from .build import build_net
from .files import load_folder, load_parts, save_folder
from .frozen import PATCH, Frozen, Kind, load_encoders
from .options import TINY, TINY_RECIPE, SpatialDiffOptions
from .pipeline import SpatialDiffPipeline

if TYPE_CHECKING:
    import torch
    from torch import nn

_PAPER: Final = {"steps": 3000, "batch_size": 4, "lr": 1e-4, "warmup": 100}
"""For 8 GPUs; `batch_size` is per GPU. The warmup is UNO's."""
_TINY: Final = {
    "steps": 100,
    "batch_size": 4,
    "precision": "no",
    "gradient_checkpointing": False,
    "lr": 5e-3,
    "save_every": 50,
    "validate_every": 100,
    "log": "none",
    "recipe": TINY_RECIPE,
}


class SpatialDiff:
    """The recipe `spatialdiff`; see `training.recipe.TrainingRecipe`."""

    name: ClassVar = "spatialdiff"
    shards: ClassVar = "spatialdiff"
    options_type: ClassVar = SpatialDiffOptions
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({"paper": _PAPER, "tiny": _TINY})
    weighs_edits: ClassVar = True
    library: ClassVar = "diffusers"
    memory_knobs: ClassVar = (
        "recipe.text_tokens: 256",
        "recipe.lora.rank: 32",
        "smaller images, with recipe.width and recipe.height",
    )

    def __init__(self, options: SpatialDiffOptions) -> None:
        self.options = options
        self._frozen: Frozen | None = None

    @classmethod
    def models(cls, options: SpatialDiffOptions) -> Sequence[str]:
        return (options.base, *([options.geometry.model] if options.spatial else []))

    @property
    def frozen(self) -> Frozen:
        """The frozen models; available after `build`."""
        assert self._frozen, "call build first"
        return self._frozen

    @property
    def stream_options(self) -> Mapping[str, Any]:
        depth = ("depth",) if self.options.depth_loss else ()
        return {"images": "uint8", "members": ("source", "target", *depth), "instruction": self.options.instruction}

    def see(self, first: Callable[[int], Batch]) -> None:
        self.options = sized(self.options, first, PATCH)

    def build(self, device: "torch.device", dtype: "torch.dtype") -> Any:
        """A `nets.SpatialDiffNet`: the base in `dtype`, trainable parts in float32."""
        net, self._frozen = build_net(self.options, device, dtype)
        return net

    def build_encoders(self, device: "torch.device", dtype: "torch.dtype") -> None:
        """In place of `build`: only what `encode` needs, each model when it is first used."""
        self._frozen = load_encoders(self.options, device, dtype)

    def begin(self, module: Any, source: Path | None) -> Sequence[str]:
        """Load the parts of a result folder of any stage that this run has too, or a LoRA file of FLUX.

        Raises BadInput if there is none, or one does not fit.
        """
        options = self.options
        loaded = load_parts(module, options, source) if source else ()
        if options.stage == 2 and options.spatial and options.base != TINY and "connector" not in loaded:
            message = "stage 2 without init_from of stage 1: the connector starts from random weights"
            logging.getLogger(__name__).warning(message)
        return loaded

    def prepare(self, batch: Batch, rng: StepRng) -> Inputs:
        """Encode, and draw noise and time for each sample. Raises BadInput for another image size or a missing
        instruction."""
        texts = batch["instruction"]
        empty = [key for key, text in zip(batch["key"], texts, strict=True) if not text.strip()]
        if empty:
            raise BadInput(
                f"sample {empty[0]} has no instruction: build layer instruction, then rerun spatialdata shard"
            )
        frozen, options = self.frozen, self.options
        texts = ["" if drop else text for drop, text in zip(rng.dropped(options.text_drop), texts, strict=True)]
        source, x, *depth = frozen.encode(*self._pictures(batch))
        inputs = frozen.condition(batch["source"], texts, options.guidance, source)
        noise = rng.normal(x.shape[1:]).to(x.device)
        shift = resolution_shift(x.shape[1]) if options.time_shift == "resolution" else options.time_shift
        sigma = draw_times(rng, options.times, shift=shift).to(x.device)
        inputs |= {"noisy": interpolate(x, noise, sigma), "velocity": velocity(x, noise), "sigma": sigma}
        if "changed" in batch:
            inputs["changed"] = changed_shares(batch["changed"], PATCH).flatten(1)[..., None].to(x.device)
        if options.depth_loss:
            inputs["depth"] = depth[0] if depth else frozen.depth_patches(batch["depth"])
        return inputs

    def prefetch(self, batch: Batch) -> None:
        """Read the cache entries of a batch now, in another thread. Whether a text is dropped is not known yet; the
        empty text is read when it is needed."""
        frozen = self.frozen
        frozen.prefetch(frozen.pictures(*self._pictures(batch)), batch["instruction"])

    def encode(self, batch: Batch) -> CacheStats:
        """Fill the cache for the valid samples of a batch with records: with every text that a step may use."""
        rows = np.flatnonzero(batch["valid"])
        pictures: list[tuple[Kind, Any]] = [(kind, np.asarray(arrays)[rows]) for kind, arrays in self._pictures(batch)]
        texts = ["" for _ in rows[:1] if self.options.text_drop]
        for row in rows:
            instruction = batch["record"][row]["instruction"]
            texts += [instruction["text"], *(instruction["variants"] if self.options.instruction == "any" else [])]
        self.frozen.fill(self.frozen.pictures(*pictures), texts)
        return self.frozen.cache.stats

    def _pictures(self, batch: Batch) -> list[tuple[Kind, Any]]:
        """What the VAE encodes: source, target and, for the loss on latents, depth."""
        depth: list[tuple[Kind, Any]] = [("depth", batch["depth"])] if self.options.depth_loss == "latent" else []
        return [("rgb", batch["source"]), ("rgb", batch["target"]), *depth]

    def save(self, module: "nn.Module", folder: Path) -> None:
        save_folder(module, self.options, folder)

    def load(self, module: "nn.Module", folder: Path) -> None:
        load_folder(module, self.options, folder)

    def sample(self, module: "nn.Module", batch: Batch, seed: int) -> Mapping[str, Any]:
        """`prediction` and, with a head, `depth`, uint8 (B, H, W, 3)."""
        with self.frozen.parts.restored():
            edited = SpatialDiffPipeline(module, self.frozen).edit(
                batch["source"], batch["instruction"], seed=seed, keys=batch["key"]
            )
        return {"prediction": edited.images} | ({} if edited.depth is None else {"depth": edited.depth})
