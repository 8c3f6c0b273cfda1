"""The recipe `ildm`: I-LDM (arXiv 2508.10382), trained in two runs: the intrinsic VAE (phase `vae`), then LoRA (phase
`unet`).

Invariant: a pair is two independent captioned images, source and target, each with its own maps. The edit is not used.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from ...shards.errors import BadInput, SpatialdataError
from ...shards.options import Options
from ..caches import CacheStats
from ..recipe import Batch, Inputs, StepRng
from .checkpoint import check_fits, write_options
from .options import PRESETS, IldmOptions
from .unet_phase import Encoders, UnetPhase
from .vae_phase import VaePhase

if TYPE_CHECKING:
    import torch
    from torch import nn


PROBE: Final = 16
"""Training samples on which phase vae measures the scale of the latents: 32 images with both views."""


class Ildm:
    """See `training.recipe.TrainingRecipe`. The phases are implemented in `vae_phase` and `unet_phase`."""

    name: ClassVar[str] = "ildm"
    shards: ClassVar[str] = "ildm"
    options_type: ClassVar[type[Options]] = IldmOptions
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS
    memory_knobs: ClassVar[tuple[str, ...]] = ("recipe.views: [target]", "smaller images")

    def __init__(self, options: IldmOptions) -> None:
        self.options = options
        self._built: VaePhase | UnetPhase | None = None
        self._probe: Batch | None = None
        self._encoders: Encoders | None = None

    @classmethod
    def models(cls, options: IldmOptions) -> Sequence[str]:
        trained = (options.intrinsic_vae,) if options.phase == "unet" and options.intrinsic_vae else ()
        return (options.base, *trained)

    @property
    def stream_options(self) -> Mapping[str, Any]:
        return {"images": "uint8", "members": self.options.members}

    @property
    def timed(self) -> bool:
        return self.options.phase == "unet"

    def see(self, first: Callable[[int], Batch]) -> None:
        """Phase vae keeps the first training samples, to measure the scale of the latents on them."""
        if self.options.phase == "vae":
            self._probe = first(PROBE)

    def build(self, device: "torch.device", dtype: "torch.dtype") -> "nn.Module":
        if self.options.phase == "vae":
            self._built = VaePhase.build(self.options, device, dtype, self._probe)
        else:
            self._built = UnetPhase.build(self.options, device, dtype)
            self._encoders = self._built.encoders
        return self._built.module

    def build_encoders(self, device: "torch.device", dtype: "torch.dtype") -> None:
        """In place of `build`: only what `encode` needs. Raises BadInput in phase vae, which encodes nothing."""
        if self.options.phase == "vae":
            raise BadInput("phase vae encodes nothing in advance: use --encode-only with phase unet")
        self._encoders = Encoders.load(self.options, device, dtype)

    def prefetch(self, batch: Batch) -> None:
        """Read the cache entries of a batch now. Whether a text is dropped is not known yet; the empty text is read
        when it is needed."""
        if self._encoders:
            self._encoders.prefetch(batch)

    def encode(self, batch: Batch) -> CacheStats:
        """Fill the cache for the valid samples of a batch."""
        assert self._encoders, "call build_encoders first"
        return self._encoders.encode(batch)

    def begin(self, module: "nn.Module", source: Path | None) -> Sequence[str]:
        """Load the weights of a run of the same phase, with any options that keep their shapes, or a LoRA file.

        Raises BadInput if they do not fit.
        """
        return self._phase.begin(module, source) if source else ()

    def prepare(self, batch: Batch, rng: StepRng) -> Inputs:
        """Phase vae: `maps`, `noise`. Phase unet: see `nets.TwoDomains.forward`. Has views x pairs rows."""
        return self._phase.prepare(batch, rng)

    def save(self, module: "nn.Module", folder: Path) -> None:
        """Phase vae: an `AutoencoderKL` folder. Phase unet: LoRA in the library's format. Both with `ildm.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        self._phase.save(module, folder)
        write_options(folder, self.options)

    def load(self, module: "nn.Module", folder: Path) -> None:
        check_fits(folder, self.options)
        self._phase.load(module, folder)

    def sample(self, module: "nn.Module", batch: Batch, seed: int) -> Mapping[str, Any]:
        """Phase vae: the maps of the batch and their reconstructions. Phase unet: a new image and maps per caption."""
        return self._phase.sample(module, batch, seed)

    @property
    def _phase(self) -> VaePhase | UnetPhase:
        if self._built is None:
            raise SpatialdataError("recipe ildm has no models yet: call build first")
        return self._built
