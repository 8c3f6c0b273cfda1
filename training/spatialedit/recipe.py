"""SpatialEdit-16B LoRA: a LoRA on JoyAI-Image-Edit's transformer is trained by flow matching; all else is frozen.

Invariant: latents and text embeddings of a sample depend neither on the batch nor on the batch size (see
`training.caches`), and cached values equal computed ones.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from ...shards import stream
from ...shards.errors import BadInput
from ...shards.layout import filesystem, join
from ...shards.streaming.places import has_split
from ..caches import CacheSpec, CacheStats, TensorCache, folder_revision, module_revision, stacked
from ..flow import changed_shares, draw_times
from ..lazy import LazyParts
from ..recipe import Batch, Batches, Inputs, StepRng
from .adapter import WEIGHTS, load_adapter, load_weights, save_adapter
from .boxes import BoxedStream
from .models import ENCODERS, add_lora, folder_of
from .options import PRESETS, TINY, SpatialEditOptions
from .pictures import fit, to_benchmark_style
from .pipeline import edit, load_encoder, load_pipeline
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
    weighs_edits: ClassVar = True
    library: ClassVar = "peft"
    memory_knobs: ClassVar[Sequence[str]] = ("recipe.side: 512", "recipe.rank: 8")

    def __init__(self, options: SpatialEditOptions) -> None:
        self.options = options
        self._pipeline: EditPipeline | None = None
        self._cache = TensorCache(options.cache, options.cache_bytes)

    @classmethod
    def models(cls, options: SpatialEditOptions) -> Sequence[str]:
        return (options.model, *([options.weights] if options.weights else []))

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
        if "changed" in options["members"]:
            raise BadInput("tars in SpatialEdit's layout do not say what an edit changed: remove loss.changed_weight")
        kept = {name: value for name, value in options.items() if name not in ("members", "cache", "cache_bytes")}
        if isinstance(shards, str | os.PathLike) and _is_folder(join(os.fspath(shards), split)):
            shards = join(os.fspath(shards), split)
        return stream_published(shards, side=self.options.side, **kept)

    def has_split(self, url: str, split: str) -> bool:
        """Tars in SpatialEdit's layout have a split where there is a folder of that name."""
        if self.options.layout == "published":
            return _is_folder(join(url, split))
        return has_split(url, self.shards, split)

    @property
    def pipeline(self) -> "EditPipeline":
        """The pipeline with all models; available after `build`."""
        assert self._pipeline, "call build first"
        return self._pipeline

    def build(self, device: "torch.device", dtype: "torch.dtype") -> "nn.Module":
        """The transformer with its adapter. Raises BadInput for missing weights."""
        from .nets import EditNet

        options = self.options
        self._load(device, dtype, without=ENCODERS if options.unload_encoders else ())
        return EditNet(add_lora(self.pipeline.transformer, options.rank, options.alpha, options.model))

    def build_encoders(self, device: "torch.device", dtype: "torch.dtype") -> None:
        """In place of `build`: only what `encode` needs, each model when it is first used."""
        self._load(device, dtype, without=(*ENCODERS, "transformer"))

    def _load(self, device: "torch.device", dtype: "torch.dtype", without: Sequence[str]) -> None:
        options = self.options
        self._device = device
        self._pipeline = load_pipeline(
            options.model,
            *([options.merge] if options.merge and "transformer" not in without else []),
            revision=options.revision,
            weights=options.weights,
            theta=options.theta,
            device=device,
            dtype=dtype,
            without=without,
            quantize="" if "transformer" in without else options.quantize,
        )
        load = partial(load_encoder, options.model, options.revision, device=device, dtype=dtype)
        self._parts = LazyParts(self._pipeline, ENCODERS, load)
        revisions = [self._revision(part, load) for part in ENCODERS]
        precision = str(dtype).removeprefix("torch.")
        self._latent_spec = CacheSpec(options.model, revisions[0], precision, "Wan VAE mode, (z - mean) / std")
        # Texts differ in length and are never padded, so one call encodes one.
        transform = "JoyImage prompt of one image, pre-norm, from 34"
        self._text_spec = CacheSpec(options.model, revisions[1], precision, transform, rows=1)

    def _revision(self, part: str, load: Callable[[str], Any]) -> str:
        """Revision of a frozen model, for the cache; empty without a cache."""
        if not self.options.cache:
            return ""
        if self.options.model == TINY:
            return module_revision(load(part))
        return folder_revision(folder_of(self.options.model, self.options.revision) / part)

    def prepare(self, batch: Batch, rng: StepRng) -> Inputs:
        """Inputs of `nets.EditNet`. Raises BadInput for images whose size the model does not support."""
        import torch

        sources, targets, texts = self.model_views(batch)
        dropped = rng.dropped(self.options.text_drop)
        texts = ["" if drop else words for drop, words in zip(dropped, texts, strict=True)]
        source, target = self.latents([*sources, *targets]).chunk(2)
        encoded = self.texts(sources, texts)
        options = self.options
        inputs = {
            "source": source,
            "target": target,
            "noise": rng.normal(target.shape[1:]),
            "t": draw_times(rng, options.times, mean=options.times_mean, std=options.times_std, shift=options.shift),
            "text": torch.nn.utils.rnn.pad_sequence(encoded, batch_first=True),
            "length": torch.tensor([len(each) for each in encoded]),
        }
        if "changed" in batch:
            masks = [fit(mask.astype(np.float32), options.side) for mask in batch["changed"]]
            inputs["changed"] = changed_shares(np.stack(masks), _GRID // 2)[:, None, None]
        return {name: value.to(self._device) for name, value in inputs.items()}

    def prefetch(self, batch: Batch) -> None:
        """Start to read the entries of a batch. Whether a text is dropped is not known yet: a dropped one is read
        when it is needed."""
        sources, targets, texts = self.model_views(batch)
        self._cache.prefetch([*sources, *targets], self._latent_spec)
        self._cache.prefetch(list(zip(sources, texts, strict=True)), self._text_spec)

    def encode(self, batch: Batch) -> CacheStats:
        """Fill the cache for the valid samples of a batch with records: with every text that a step may use."""
        views = [self.model_view(batch, index) for index in np.flatnonzero(batch["valid"])]
        pictures = [picture for source, target, _ in views for picture in (source, target)]
        texts = [
            (source, words)
            for index, (source, _, used) in zip(np.flatnonzero(batch["valid"]), views, strict=True)
            for words in self._possible_texts(used, batch["record"][index])
        ]
        self._cache.fill(pictures, self._latent_spec, self._encode_pictures)
        self._cache.fill(texts, self._text_spec, self._encode_text)
        return self._cache.stats

    def _possible_texts(self, used: str, record: Mapping[str, Any]) -> list[str]:
        texts = [used]
        if self.options.instruction == "any" and not self._bench:
            texts = [record["instruction"]["text"], *record["instruction"]["variants"]]
        return [*texts, ""] if self.options.text_drop else texts

    def model_views(self, batch: Batch) -> tuple[list[U8], list[U8], list[str]]:
        """Sources, targets and instructions of a batch, see `model_view`."""
        views = [self.model_view(batch, index) for index in range(len(batch["key"]))]
        return [each[0] for each in views], [each[1] for each in views], [each[2] for each in views]

    def model_view(self, batch: Batch, index: int) -> tuple[U8, U8, str]:
        """Source and target (H, W, 3) and instruction of one sample as model inputs, with the red box if any."""
        source, words, side = batch["source"][index], batch["instruction"][index], self.options.side
        if self._bench and "record" in batch:  # the user's own images have none
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

    def latents(self, pictures: Sequence[U8]) -> "torch.Tensor":
        """float32 (n, C, 1, H / 8, W / 8) of images (H, W, 3) of one size; see `nets.EditPipeline.source_latents`."""
        found = self._cache.each(pictures, self._latent_spec, self._encode_pictures)
        return stacked(found, self._device)["latent"]

    def texts(self, sources: Sequence[U8], texts: Sequence[str]) -> "list[torch.Tensor]":
        """(L, D) of each source and its text; see `nets.EditPipeline.prompt_embedding`."""
        contents = list(zip(sources, texts, strict=True))
        found = self._cache.each(contents, self._text_spec, self._encode_text)
        return [each["text"].to(self._device) for each in found]

    def _encode_pictures(self, pictures: Sequence[U8]) -> "dict[str, torch.Tensor]":
        self._parts.use("vae")
        return self.pipeline.source_latents(pictures)

    def _encode_text(self, contents: Sequence[tuple[U8, str]]) -> "dict[str, torch.Tensor]":
        self._parts.use("text_encoder")
        ((picture, words),) = contents
        return {"text": self.pipeline.prompt_embedding(picture, words)[None]}

    def save(self, module: "nn.Module", folder: Path) -> None:
        """Write the adapter in PEFT's format, and the description of its base and options."""
        save_adapter(module.transformer, folder, self._description())  # pyright: ignore[reportArgumentType]

    def begin(self, module: "nn.Module", source: Path | None) -> Sequence[str]:
        """Load a LoRA file, or that of a result folder. Raises BadInput if it does not fit."""
        if source is None:
            return ()
        transformer: Any = module.transformer
        load_weights(transformer, source / WEIGHTS if source.is_dir() else source)
        return ("lora",)

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
        batch = {"target": batch["source"], **batch}  # the user's own images have no target
        views = [self.model_view(batch, index) for index in range(len(keys))]
        settings: dict[str, Any] = {"steps": self.options.sample_steps, "guidance": self.options.guidance}
        with self._parts.restored():
            self._parts.use(*ENCODERS)
            edited = [
                edit(self.pipeline, source, text, generator=generator, **settings)
                for generator, (source, _, text) in zip(generators, views, strict=True)
            ]
        return {"source": np.stack([source for source, _, _ in views]), "prediction": np.stack(edited)}


def _is_folder(url: str) -> bool:
    fs, path = filesystem(url)
    return bool(fs.isdir(path))
