"""The two editing models: what surrounds their networks (`nets.FluxBackbone`, `nets.JoyAiBackbone`).

Both are those of other recipes, `spatialdiff` without its additions and `spatialedit`, with their LoRA and its files.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..recipe import Batch, Inputs, StepRng
from ..spatialdiff.options import SpatialDiffOptions
from ..spatialdiff.pipeline import SpatialDiffPipeline
from ..spatialdiff.recipe import SpatialDiff
from ..spatialedit.options import SpatialEditOptions
from ..spatialedit.pipeline import edit
from ..spatialedit.recipe import SpatialEdit
from .mllm import Mllm, load_mllm
from .options import SpatialFusionOptions

if TYPE_CHECKING:
    import torch


class Editor(Protocol):
    """The frozen models around an editing network, and its files."""

    def build(self, device: "torch.device", dtype: "torch.dtype") -> tuple[Any, Mllm]:
        """The network with LoRA, and the MLLM that the branch reads. Raises BadInput for missing weights."""
        ...

    def prepare(self, batch: Batch, texts: Sequence[str], rng: StepRng) -> Inputs:
        """The network's inputs: encoded images and texts, some dropped, with noise and time."""
        ...

    def edit(self, net: Any, images: Any, texts: Sequence[str], tokens: "torch.Tensor", rng: StepRng) -> NDArray[Any]:
        """Edited images uint8 (B, H, W, 3), with depth tokens (B, N, width)."""
        ...

    def begin(self, net: Any, source: Path) -> Sequence[str]:
        """Load LoRA from a folder that `save` wrote or a LoRA file; returns the names of what was loaded."""
        ...

    def save(self, net: Any, folder: Path) -> None:
        """Write LoRA and its description, as the recipe of the network does."""
        ...

    def load(self, net: Any, folder: Path) -> None:
        """Raises BadInput if the folder does not fit."""
        ...


def make_editor(options: SpatialFusionOptions) -> Editor:
    return FluxEditor(options) if options.backbone == "flux-kontext" else JoyAiEditor(options)


def _images(batch: Batch) -> Mapping[str, Any]:
    """What the editing models read, without the records, by which `spatialedit` would draw a box."""
    return {name: batch[name] for name in ("key", "source", "target", "changed") if name in batch}


class FluxEditor:
    """FLUX.1-Kontext."""

    def __init__(self, options: SpatialFusionOptions) -> None:
        flux = options.flux
        self._options = options
        self._recipe = SpatialDiff(
            SpatialDiffOptions.model_validate(
                {
                    "base": flux.base,
                    "revision": flux.revision,
                    "ablation": "lora_only",
                    "width": options.width,
                    "height": options.height,
                    "lora": {"rank": flux.rank, "alpha": flux.alpha},
                    "times": flux.times,
                    "time_shift": flux.time_shift,
                    "text_drop": options.text_drop,
                    "guidance": flux.guidance,
                    "text_tokens": flux.text_tokens,
                    "sample_steps": flux.sample_steps,
                    "sample_guidance": flux.sample_guidance,
                    "quantize": options.quantize,
                    "cache": options.cache,
                    "cache_bytes": options.cache_bytes,
                }
            )
        )

    def build(self, device: "torch.device", dtype: "torch.dtype") -> tuple[Any, Mllm]:
        from .nets import FluxBackbone

        return FluxBackbone(self._recipe.build(device, dtype)), load_mllm(self._options, device, dtype)

    def prepare(self, batch: Batch, texts: Sequence[str], rng: StepRng) -> Inputs:
        return self._recipe.prepare({**_images(batch), "instruction": texts}, rng)

    def edit(self, net: Any, images: Any, texts: Sequence[str], tokens: "torch.Tensor", rng: StepRng) -> NDArray[Any]:
        with net.conditioned(tokens):
            pipeline = SpatialDiffPipeline(net.net, self._recipe.frozen)
            return pipeline.edit(images, texts, seed=rng.seed, keys=rng.keys).images

    def begin(self, net: Any, source: Path) -> Sequence[str]:
        return self._recipe.begin(net.net, source)

    def save(self, net: Any, folder: Path) -> None:
        self._recipe.save(net.net, folder)

    def load(self, net: Any, folder: Path) -> None:
        self._recipe.load(net.net, folder)


class JoyAiEditor:
    """JoyAI-Image-Edit."""

    def __init__(self, options: SpatialFusionOptions) -> None:
        joyai = options.joyai
        self._recipe = SpatialEdit(
            SpatialEditOptions(
                model=joyai.model,
                revision=joyai.revision,
                rank=joyai.rank,
                alpha=joyai.alpha,
                text_drop=options.text_drop,
                times=joyai.times,
                shift=joyai.time_shift,
                quantize=options.quantize,
                cache=options.cache,
                cache_bytes=options.cache_bytes,
                sample_steps=joyai.sample_steps,
                guidance=joyai.sample_guidance,
            )
        )

    def build(self, device: "torch.device", dtype: "torch.dtype") -> tuple[Any, Mllm]:
        from .nets import JoyAiBackbone

        net: Any = self._recipe.build(device, dtype)
        return JoyAiBackbone(net), Mllm(self._recipe.pipeline)

    def prepare(self, batch: Batch, texts: Sequence[str], rng: StepRng) -> Inputs:
        return self._recipe.prepare({**_images(batch), "instruction": texts}, rng)

    def edit(self, net: Any, images: Any, texts: Sequence[str], tokens: "torch.Tensor", rng: StepRng) -> NDArray[Any]:
        pipeline, options = self._recipe.pipeline, self._recipe.options
        pipeline.transformer = net.net.transformer.get_base_model()
        edited: list[NDArray[Any]] = []
        for index, generator in enumerate(rng.generators("sample")):
            with net.conditioned(tokens[index : index + 1]):
                edited.append(
                    edit(
                        pipeline,
                        np.asarray(images[index]),
                        texts[index],
                        steps=options.sample_steps,
                        guidance=options.guidance,
                        generator=generator,
                    )
                )
        return np.stack(edited)

    def begin(self, net: Any, source: Path) -> Sequence[str]:
        return self._recipe.begin(net.net, source)

    def save(self, net: Any, folder: Path) -> None:
        self._recipe.save(net.net, folder)

    def load(self, net: Any, folder: Path) -> None:
        self._recipe.load(net.net, folder)
