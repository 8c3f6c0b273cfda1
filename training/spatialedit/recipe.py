"""SpatialEdit-16B LoRA: a LoRA on JoyAI-Image-Edit's transformer is trained by flow matching; all else is frozen.

Invariant: latents and text embeddings are computed from one sample at a time, never from a batch. So they do not depend
on the batch size, and cached values equal computed ones.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from ...shards import stream
from ...shards.errors import BadInput
from ...shards.layout import filesystem, join
from ..caches import CacheSpec, TensorCache, folder_revision, module_revision
from ..flow import draw_times
from ..recipe import Batch, Batches, Inputs, StepRng
from .adapter import load_adapter, save_adapter
from .boxes import BoxedStream
from .models import add_lora, folder_of
from .options import PRESETS, TINY, SpatialEditOptions
from .pictures import fit, to_benchmark_style
from .pipeline import edit, load_pipeline
from .published import stream_published

if TYPE_CHECKING:
    import torch
    from torch import nn

    from .nets import EditPipeline

U8 = NDArray[np.uint8]
_GRID: Final = 16


class SpatialEdit:
    """See `training.recipe.TrainingRecipe`."""

    name: ClassVar[str] = "spatialedit"
    shards: ClassVar[str] = "spatialedit"
    options_type: ClassVar[type[SpatialEditOptions]] = SpatialEditOptions
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS
    memory_knobs: ClassVar[Sequence[str]] = ("recipe.side: 512", "recipe.rank: 8")

    def __init__(self, options: SpatialEditOptions) -> None:
        self.options = options
        self._pipeline: EditPipeline | None = None
        self._cache = TensorCache(options.cache, options.cache_bytes)

    @property
    def stream_options(self) -> Mapping[str, Any]:
        return {"members": ("source", "target"), "instruction": self.options.instruction, "records": self._bench}

    @property
    def _bench(self) -> bool:
        """Whether sources and instructions get the benchmark's style."""
        return self.options.layout == "shards" and self.options.wording == "bench"

    def open_stream(self, shards: Any, split: str, options: Mapping[str, Any]) -> Batches:
        """Open this project's shards or, with `layout: published`, SpatialEdit's tars (in the folder `split`, if it
        exists). Samples whose crop loses the box of their instruction are not valid, see `boxes`.

        Raises BadInput if there are none.
        """
        if self.options.layout == "shards":
            opened = stream(shards, self.shards, split=split, **options)
            return BoxedStream(opened, self.options.side) if self._bench and self.options.side else opened
        kept = {name: value for name, value in options.items() if name not in ("members", "cache", "cache_bytes")}
        if isinstance(shards, str | os.PathLike) and _is_folder(join(os.fspath(shards), split)):
            shards = join(os.fspath(shards), split)
        return stream_published(shards, side=self.options.side, **kept)

    @property
    def pipeline(self) -> "EditPipeline":
        """The pipeline with all models; available after `build`."""
        assert self._pipeline, "call build first"
        return self._pipeline

    def build(self, device: "torch.device", dtype: "torch.dtype") -> "nn.Module":
        """The transformer with its adapter. Raises BadInput for missing weights."""
        from .nets import EditNet

        options = self.options
        merged = [options.merge] if options.merge else []
        self._pipeline = load_pipeline(
            options.model,
            *merged,
            revision=options.revision,
            weights=options.weights,
            theta=options.theta,
            device=device,
            dtype=dtype,
        )
        revisions = [self._revision(part) for part in ("vae", "text_encoder")]
        precision = str(dtype).removeprefix("torch.")
        self._latent_spec = CacheSpec(options.model, revisions[0], precision, "Wan VAE mode, (z - mean) / std")
        self._text_spec = CacheSpec(
            options.model, revisions[1], precision, "JoyImage prompt of one image, pre-norm, from 34"
        )
        return EditNet(add_lora(self._pipeline.transformer, options.rank, options.alpha, options.model))

    def _revision(self, part: str) -> str:
        """Revision of a frozen model, for the cache; empty without a cache."""
        if not self.options.cache:
            return ""
        if self.options.model == TINY:
            return module_revision(getattr(self.pipeline, part))
        return folder_revision(folder_of(self.options.model, self.options.revision) / part)

    @property
    def _text_encoder(self) -> "nn.Module":
        return self.pipeline.text_encoder

    def prepare(self, batch: Batch, rng: StepRng) -> Inputs:
        """Inputs of `nets.EditNet`. Raises BadInput for images whose size the model does not support."""
        import torch

        views = [self.model_view(batch, index) for index in range(len(batch["key"]))]
        dropped = rng.dropped(self.options.text_drop)
        texts = ["" if drop else words for drop, (_, _, words) in zip(dropped, views, strict=True)]
        source = torch.stack([self.latent(picture) for picture, _, _ in views])
        target = torch.stack([self.latent(picture) for _, picture, _ in views])
        encoded = [self.text(picture, words) for words, (picture, _, _) in zip(texts, views, strict=True)]
        options = self.options
        inputs = {
            "source": source,
            "target": target,
            "noise": rng.normal(target.shape[1:]),
            "t": draw_times(rng, options.times, mean=options.times_mean, std=options.times_std, shift=options.shift),
            "text": torch.nn.utils.rnn.pad_sequence(encoded, batch_first=True),
            "length": torch.tensor([len(each) for each in encoded]),
        }
        return {name: value.to(self.pipeline.vae.device) for name, value in inputs.items()}

    def model_view(self, batch: Batch, index: int) -> tuple[U8, U8, str]:
        """Source and target (H, W, 3) and instruction of one sample as model inputs, with the red box if any."""
        source, words, side = batch["source"][index], batch["instruction"][index], self.options.side
        if self._bench:
            source, words = to_benchmark_style(source, batch["record"][index], side)
        pictures = fit(source, side), fit(batch["target"][index], side)
        for picture in pictures:
            height, width = picture.shape[:2]
            if height % _GRID or width % _GRID:
                raise BadInput(
                    f"sample {batch['key'][index]} is {width} x {height}, but sides must be multiples of {_GRID}: set "
                    f"recipe.side, for example to {max(_GRID, min(height, width) // _GRID * _GRID)}"
                )
        return *pictures, words

    def latent(self, picture: U8) -> "torch.Tensor":
        """(C, 1, H / 8, W / 8) float32 on the CPU: the mode of the VAE's posterior, (z - mean) / std per channel."""

        def encode(pixels: U8) -> "dict[str, torch.Tensor]":
            import torch

            with torch.no_grad():
                return {"latent": self.pipeline.source_latents(torch.from_numpy(pixels[None]))[0]}

        return self._cache.one(picture, self._latent_spec, encode)["latent"]

    def text(self, picture: U8, words: str) -> "torch.Tensor":
        """(L, D) on the CPU: Qwen3-VL's embedding of source and instruction, without the first 34 tokens of the prompt
        template."""

        def encode(content: tuple[U8, str]) -> "dict[str, torch.Tensor]":
            import torch
            from PIL import Image

            with torch.no_grad():
                embeds, _ = self.pipeline.encode_prompt_multiple_images(
                    content[1],
                    images=Image.fromarray(content[0]),  # pyright: ignore[reportArgumentType]
                    device=self._text_encoder.device,  # pyright: ignore[reportArgumentType]
                )
            return {"text": embeds[0]}

        return self._cache.one((picture, words), self._text_spec, encode)["text"]

    def save(self, module: "nn.Module", folder: Path) -> None:
        """Write the adapter in PEFT's format, and the description of its base and options."""
        save_adapter(module.transformer, folder, self._description())  # pyright: ignore[reportArgumentType]

    def load(self, module: "nn.Module", folder: Path) -> None:
        """Load an adapter. Raises BadInput if it was saved for another model or configuration."""
        load_adapter(module.transformer, folder, self._description())  # pyright: ignore[reportArgumentType]

    def _description(self) -> dict[str, Any]:
        theta = self.pipeline.transformer.config.theta
        options = self.options
        return {
            "recipe": self.name,
            "model": options.model,
            "revision": options.revision,
            "weights": options.weights,
            "merge": options.merge,
            "rank": options.rank,
            "alpha": options.alpha,
            "theta": theta,
        }

    def sample(self, module: "nn.Module", batch: Batch, seed: int) -> Mapping[str, Any]:
        """Edit the sources of a batch: `source` as the model saw it, and `prediction`. Runs one sample at a time, since
        texts differ in length."""
        trained: Any = module.transformer
        self.pipeline.transformer = trained.get_base_model()
        keys = tuple(batch["key"])
        generators = StepRng(seed, 0, keys).generators("sample")
        views = [self.model_view(batch, index) for index in range(len(keys))]
        options = self.options
        edited = [
            edit(
                self.pipeline, source, text, steps=options.sample_steps, guidance=options.guidance, generator=generator
            )
            for generator, (source, _, text) in zip(generators, views, strict=True)
        ]
        return {"source": np.stack([source for source, _, _ in views]), "prediction": np.stack(edited)}


def _is_folder(url: str) -> bool:
    fs, path = filesystem(url)
    return bool(fs.isdir(path))
