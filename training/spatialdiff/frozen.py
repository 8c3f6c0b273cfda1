"""The frozen models of a run and the network inputs from them: latents, text embeddings, geometry, position ids.

Invariant: the encoding of an image, map or text depends on its content only, not on what is encoded with it (see
`training.caches`); a cached value equals a computed one.

Shapes: B samples, N = H/16 * W/16 tokens, C channels of a packed latent (64 for FLUX).
"""

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from ...shards.errors import BadInput
from ..caches import CacheSpec, TensorCache, folder_revision, module_revision, stacked
from ..lazy import LazyParts
from ..quantization import is_quantized, quantized_loading
from ..weights import find_folder, first_line
from .geometry import GeometryEncoder, load_geometry
from .options import TINY, SpatialDiffOptions

if TYPE_CHECKING:
    import torch

_TEXT_MODELS: Final = ("text_encoder", "text_encoder_2")
ENCODERS: Final = ("vae", *_TEXT_MODELS)
"""The models of the base that only encode and decode."""
Kind = Literal["rgb", "depth"]
Picture = tuple[Kind, np.ndarray[Any, Any]]
"""An image or a map that the VAE encodes."""
PATCH = 16
"""Side of the image patch of one token, in pixels: the VAE's factor 8 times the packing of 2 x 2 latents."""


@dataclass(frozen=True)
class Frozen:
    """The frozen models of a run, on their device.

    Args:
        base: a `FluxKontextPipeline` without its transformer: VAE, text encoders with tokenizers, scheduler.
        geometry: None if no spatial tokens are used.
        parts: loads the models of `base` that are None; a GPU holds them only where they are used.
        revisions: revision of the VAE and of the text encoders, for the cache.
    """

    options: SpatialDiffOptions
    base: Any
    parts: LazyParts
    geometry: GeometryEncoder | None
    device: "torch.device"
    dtype: "torch.dtype"
    cache: TensorCache
    revisions: tuple[str, str]

    def latents(self, images: Any) -> "torch.Tensor":
        """uint8 images (B, H, W, 3) to packed latents (B, N, C), float32."""
        return self.encode(("rgb", images))[0]

    def encode(self, *batches: tuple[Kind, Any]) -> list["torch.Tensor"]:
        """Packed latents (B, N, C), float32, of each batch, in common calls of the VAE: `rgb` images as in `latents`,
        or maps of `depth`, inverse depth (B, H, W), whose latents are E(d) of eq. 8.

        Raises BadInput if they do not have the configured size.
        """
        contents = self.pictures(*batches)
        found = stacked(self.cache.each(contents, self.latent_spec, self._encode), self.device)["latent"]
        return list(patchify(found, 2).split([len(arrays) for _, arrays in batches]))

    def pictures(self, *batches: tuple[Kind, Any]) -> list[Picture]:
        """The contents of `encode`, for the cache. Raises BadInput if they do not have the configured size."""
        for _, arrays in batches:
            self._check_size(*np.shape(arrays)[1:3])
        return [
            (kind, np.asarray(array, np.uint8 if kind == "rgb" else np.float32))
            for kind, arrays in batches
            for array in arrays
        ]

    def depth_patches(self, depth: Any) -> "torch.Tensor":
        """Pixel targets of the explicit depth loss: inverse depth (B, H, W) to (B, N, 256) in [-1, 1]."""
        return patchify(normalize_depth(np.asarray(depth, np.float32))[:, None], PATCH).to(self.device)

    @property
    def latent_spec(self) -> CacheSpec:
        transform = "rgb: x / 127.5 - 1; depth: inverse, per image to [-1, 1], thrice; mode"
        return CacheSpec(self.options.base, self.revisions[0], str(self.dtype), transform)

    @property
    def text_spec(self) -> CacheSpec:
        transform = f"T5 {self.options.text_tokens} tokens, CLIP pooled"
        return CacheSpec(self.options.base, self.revisions[1], str(self.dtype), transform)

    def _encode(self, pictures: Sequence[Picture]) -> "dict[str, torch.Tensor]":
        """Latents (n, C/4, H/8, W/8): (z - shift) * scale, with z the mode of the posterior."""
        import torch

        def signed(kind: Kind, array: Any) -> "torch.Tensor":
            if kind == "rgb":
                return torch.tensor(array, device=self.device).movedim(-1, 0) / 127.5 - 1
            return normalize_depth(array[None]).expand(3, -1, -1).to(self.device)

        self.parts.use("vae")
        vae = self.base.vae
        with torch.no_grad():
            pixels = torch.stack([signed(*picture) for picture in pictures]).to(self.dtype)
            z = vae.encode(pixels).latent_dist.mode().float()
        return {"latent": (z - vae.config.shift_factor) * vae.config.scaling_factor}

    def images(self, latents: "torch.Tensor", height: int) -> "torch.Tensor":
        """Packed latents (B, N, C) to uint8 images (B, H, W, 3) of this height, on the CPU."""
        import torch

        self.parts.use("vae")
        vae = self.base.vae
        z = unpatchify(latents.float(), 2, height // 8) / vae.config.scaling_factor
        with torch.no_grad():
            pixels = vae.decode((z + vae.config.shift_factor).to(self.dtype)).sample.float()
        return ((pixels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).movedim(1, -1).cpu()

    def prefetch(self, pictures: Sequence[Picture], texts: Sequence[str]) -> None:
        """Read these entries of the cache now, in another thread than the one that will encode."""
        self.cache.prefetch(pictures, self.latent_spec)
        self.cache.prefetch(texts, self.text_spec)

    def fill(self, pictures: Sequence[Picture], texts: Sequence[str]) -> None:
        """Encode what is not in the cache."""
        self.cache.fill(pictures, self.latent_spec, self._encode)
        self.cache.fill(texts, self.text_spec, self._embed)

    def texts(self, texts: Sequence[str]) -> tuple["torch.Tensor", "torch.Tensor"]:
        """T5 token embeddings (B, T, .) and CLIP pooled embedding (B, .) of each text."""
        found = stacked(self.cache.each(list(texts), self.text_spec, self._embed), self.device)
        return found["text"], found["pooled"]

    def _embed(self, texts: Sequence[str]) -> "dict[str, torch.Tensor]":
        import torch

        self.parts.use(*_TEXT_MODELS)
        with torch.no_grad(), _no_truncation_warnings():
            tokens, pooled, _ = self.base.encode_prompt(
                list(texts), device=self.device, max_sequence_length=self.options.text_tokens
            )
        return {"text": tokens, "pooled": pooled}

    def condition(
        self, images: Any, texts: Sequence[str], guidance: float, source: "torch.Tensor | None" = None
    ) -> dict[str, "torch.Tensor"]:
        """All network inputs that are computed from source images uint8 (B, H, W, 3) and instructions.

        Args:
            source: latents of the images, where they are already known.

        Raises BadInput if the images do not have the configured size.
        """
        import torch

        if source is None:
            source = self.latents(images)
        height, width = np.shape(images)[1:3]
        text, pooled = self.texts(texts)
        kinds = 2 if self.geometry is None else 3
        inputs = {
            "source": source,
            "text": text,
            "pooled": pooled,
            "guidance": torch.full((len(texts),), guidance),
            "image_ids": position_ids(kinds, height // PATCH, width // PATCH),
            "text_ids": torch.zeros(text.shape[1], 3),
        }
        if self.geometry is not None:
            inputs["geometry"] = self.geometry(torch.tensor(np.asarray(images)))
            inputs["grid"] = torch.zeros(height // PATCH, width // PATCH)
        return {name: value.to(self.device) for name, value in inputs.items()}

    def _check_size(self, height: int, width: int) -> None:
        options = self.options
        if options.any_size:
            if height % PATCH or width % PATCH:
                raise BadInput(f"images are {width} x {height}: build shards whose sides are multiples of {PATCH}")
        elif (height, width) != (options.height, options.width):
            raise BadInput(
                f"images are {width} x {height}, but recipe.width x recipe.height is {options.width} x "
                f"{options.height}: set them to the size of the shards' images (multiples of 16), set recipe.any_size, "
                "or build shards of that size"
            )


def position_ids(kinds: int, rows: int, columns: int) -> "torch.Tensor":
    """Position ids of the image tokens, float32 (kinds * N, 3): kind (0 target, 1 source, 2 spatial), row, column."""
    import torch

    return torch.cartesian_prod(*(torch.arange(count) for count in (kinds, rows, columns))).float()


def patchify(maps: "torch.Tensor", side: int) -> "torch.Tensor":
    """(B, C, H, W) to (B, H/side * W/side, C * side * side), in the order of FLUX's packed latents."""
    import torch.nn.functional as F

    return F.pixel_unshuffle(maps, side).flatten(2).transpose(1, 2)


def unpatchify(tokens: "torch.Tensor", side: int, height: int) -> "torch.Tensor":
    """The inverse of `patchify`, for maps of height `height`."""
    import torch.nn.functional as F

    return F.pixel_shuffle(tokens.transpose(1, 2).unflatten(2, (height // side, -1)), side)


def normalize_depth(depth: Any) -> "torch.Tensor":
    """Inverse depth (B, H, W) to [-1, 1], each image over its own range: nearest 1, farthest -1, and -1 throughout if
    constant. Relative depth has no scale or offset that is common to all images."""
    import torch

    d = torch.tensor(depth, dtype=torch.float32)
    low, high = d.amin((1, 2), keepdim=True), d.amax((1, 2), keepdim=True)
    return 2 * (d - low) / (high - low).clamp(min=1e-6) - 1


def load_base(options: SpatialDiffOptions, device: "torch.device", dtype: "torch.dtype") -> tuple[Any, Frozen]:
    """The frozen transformer, and all other frozen models: with `unload_encoders`, when they are first used.

    Raises BadInput for missing weights or packages, or a model other than FLUX.1-Kontext.
    """
    load = _loader(options, device, dtype)
    base = load("transformer", *(() if options.unload_encoders else ENCODERS))
    transformer = base.transformer
    base.register_modules(transformer=None)
    geometry = load_geometry(options.geometry, device, dtype) if options.spatial else None
    return transformer, _frozen(options, load, base, geometry, device, dtype)


def load_encoders(options: SpatialDiffOptions, device: "torch.device", dtype: "torch.dtype") -> Frozen:
    """Without transformer and geometry encoder: what the cache is filled with, each model when it is first used."""
    load = _loader(options, device, dtype)
    return _frozen(options, load, load(), None, device, dtype)


def _frozen(
    options: SpatialDiffOptions,
    load: "_Load",
    base: Any,
    geometry: GeometryEncoder | None,
    device: "torch.device",
    dtype: "torch.dtype",
) -> Frozen:
    parts = LazyParts(base, ENCODERS, lambda part: getattr(load(part), part))
    revisions = ("", "")
    if options.cache and options.base == TINY:
        whole = load(*ENCODERS)
        revisions = (
            module_revision(whole.vae),
            " ".join(module_revision(getattr(whole, part)) for part in _TEXT_MODELS),
        )
    elif options.cache:
        folder = _folder(options)
        texts = (*_TEXT_MODELS, "tokenizer", "tokenizer_2")
        revisions = (folder_revision(folder / "vae"), " ".join(folder_revision(folder / part) for part in texts))
    cache = TensorCache(options.cache, options.cache_bytes)
    return Frozen(options, base, parts, geometry, device, dtype, cache, revisions)


_FILES = ("model_index.json", "*/*")
"""Excludes files at the top level: they hold the same weights again, in a single file."""
_Load = Callable[..., Any]
"""(*names) -> a pipeline with these models, frozen, on the device; its other models are None."""


def _folder(options: SpatialDiffOptions) -> Path:
    return find_folder(options.base, options.revision, files=_FILES)


def _loader(options: SpatialDiffOptions, device: "torch.device", dtype: "torch.dtype") -> _Load:
    def load(*names: str) -> Any:
        base = _pipeline(options, names, device, dtype)
        for name in names:
            model = getattr(base, name).requires_grad_(False).eval()
            if not is_quantized(model):
                model.to(device)
        if "vae" in names and base.vae_scale_factor * 2 != PATCH:
            raise BadInput(
                f"base '{options.base}' is not FLUX.1-Kontext: its VAE downsamples by {base.vae_scale_factor}, "
                "expected 8"
            )
        return base

    return load


def _pipeline(options: SpatialDiffOptions, names: Sequence[str], device: "torch.device", dtype: "torch.dtype") -> Any:
    parts: dict[str, Any] = dict.fromkeys({*ENCODERS, "transformer"} - {*names})
    if options.base == TINY:
        if options.quantize:
            raise BadInput("recipe.quantize needs weights in a folder: remove it for base tiny")
        from .tiny import tiny_base

        base = tiny_base()
        base.register_modules(**parts)
        return base if dtype == base.dtype else base.to(dtype=dtype)
    from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
    from diffusers.pipelines.flux.pipeline_flux_kontext import FluxKontextPipeline

    folder = _folder(options)
    quantized = quantized_loading(options.quantize, device, dtype) if "transformer" in names else {}
    try:
        if quantized:
            loading = {"torch_dtype": dtype, **quantized}
            parts["transformer"] = FluxTransformer2DModel.from_pretrained(folder / "transformer", **loading)
        return FluxKontextPipeline.from_pretrained(folder, torch_dtype=dtype, **parts)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"base '{options.base}' at {folder} is not FLUX.1-Kontext in diffusers' layout ({first_line(error)})"
        ) from error


_TRUNCATION_LOGGERS = ("diffusers.pipelines.flux.pipeline_flux_kontext", "transformers.tokenization_utils_base")


@contextmanager
def _no_truncation_warnings() -> Generator[None]:
    """Inside, the libraries do not warn about texts that CLIP truncates at 77 tokens; T5 reads the full text."""
    loggers = [logging.getLogger(name) for name in _TRUNCATION_LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def depth_image(depth: "torch.Tensor") -> "torch.Tensor":
    """A predicted depth map (B, H, W), roughly in [-1, 1], as uint8 (B, H, W, 3); near is bright."""
    import torch

    gray = ((depth.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return gray[..., None].expand(-1, -1, -1, 3).cpu()
