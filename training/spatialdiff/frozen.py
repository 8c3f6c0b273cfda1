"""The frozen models of a run and the network inputs from them: latents, text embeddings, geometry, position ids.

Invariant: each image, map and text is encoded on its own, from its content only; a cached value equals a computed one.

Shapes: B samples, N = H/16 * W/16 tokens, C channels of a packed latent (64 for FLUX).
"""

import logging
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...shards.errors import BadInput
from ..caches import CacheSpec, TensorCache, folder_revision, module_revision
from ..weights import find_folder, first_line
from .geometry import GeometryEncoder, load_geometry
from .options import TINY, SpatialDiffOptions

if TYPE_CHECKING:
    import torch

_VAE, _TEXT = ("vae",), ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")
PATCH = 16
"""Side of the image patch of one token, in pixels: the VAE's factor 8 times the packing of 2 x 2 latents."""


@dataclass(frozen=True)
class Frozen:
    """The frozen models of a run, on their device.

    Args:
        base: a `FluxKontextPipeline` without its transformer: VAE, text encoders with tokenizers, scheduler.
        geometry: None if no spatial tokens are used.
        revisions: revision of the VAE and of the text encoders, for the cache.
    """

    options: SpatialDiffOptions
    base: Any
    geometry: GeometryEncoder | None
    device: "torch.device"
    dtype: "torch.dtype"
    cache: TensorCache
    revisions: tuple[str, str]

    def latents(self, images: Any) -> "torch.Tensor":
        """uint8 images (B, H, W, 3) to packed latents (B, N, C), float32."""
        return self._encoded(np.asarray(images), "rgb")

    def depth_latents(self, depth: Any) -> "torch.Tensor":
        """E(d) of eq. 8: inverse depth (B, H, W) to packed latents (B, N, C), float32."""
        return self._encoded(np.asarray(depth, np.float32), "depth")

    def depth_patches(self, depth: Any) -> "torch.Tensor":
        """Pixel targets of the explicit depth loss: inverse depth (B, H, W) to (B, N, 256) in [-1, 1]."""
        return patchify(normalize_depth(np.asarray(depth, np.float32))[:, None], PATCH).to(self.device)

    def _encoded(self, arrays: Any, kind: str) -> "torch.Tensor":
        import torch

        transform = "x / 127.5 - 1, mode" if kind == "rgb" else "inverse depth, per image to [-1, 1], thrice, mode"
        spec = CacheSpec(self.options.base, self.revisions[0], str(self.dtype), transform)
        found = self.cache.each(list(arrays), spec, lambda array: {"latent": self._encode(array, kind)})
        return patchify(torch.stack([each["latent"] for each in found]), 2).to(self.device)

    def _encode(self, array: Any, kind: str) -> "torch.Tensor":
        """One image or map to its latent (C/4, H/8, W/8): (z - shift) * scale, with z the mode of the posterior."""
        import torch

        if kind == "rgb":
            pixels = torch.tensor(array).movedim(-1, 0) / 127.5 - 1
        else:
            pixels = normalize_depth(array[None]).expand(3, -1, -1)
        vae = self.base.vae
        with torch.no_grad():
            z = vae.encode(pixels[None].to(self.device, self.dtype)).latent_dist.mode()[0].float()
        return (z - vae.config.shift_factor) * vae.config.scaling_factor

    def images(self, latents: "torch.Tensor") -> "torch.Tensor":
        """Packed latents (B, N, C) to uint8 images (B, H, W, 3), on the CPU."""
        import torch

        vae = self.base.vae
        z = unpatchify(latents.float(), 2, self.options.height // 8) / vae.config.scaling_factor
        with torch.no_grad():
            pixels = vae.decode((z + vae.config.shift_factor).to(self.dtype)).sample.float()
        return ((pixels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).movedim(1, -1).cpu()

    def texts(self, texts: Sequence[str]) -> tuple["torch.Tensor", "torch.Tensor"]:
        """T5 token embeddings (B, T, .) and CLIP pooled embedding (B, .) of each text."""
        import torch

        transform = f"T5 {self.options.text_tokens} tokens, CLIP pooled"
        spec = CacheSpec(self.options.base, self.revisions[1], str(self.dtype), transform)
        found = self.cache.each(list(texts), spec, self._text)
        tokens, pooled = (torch.stack([each[name] for each in found]).to(self.device) for name in ("text", "pooled"))
        return tokens, pooled

    def _text(self, text: str) -> dict[str, "torch.Tensor"]:
        import torch

        with torch.no_grad(), _no_truncation_warnings():
            tokens, pooled, _ = self.base.encode_prompt(
                text, device=self.device, max_sequence_length=self.options.text_tokens
            )
        return {"text": tokens[0], "pooled": pooled[0]}

    def condition(self, images: Any, texts: Sequence[str], guidance: float) -> dict[str, "torch.Tensor"]:
        """All network inputs that are computed from source images uint8 (B, H, W, 3) and instructions.

        Raises BadInput if the images do not have the configured size.
        """
        import torch

        height, width = np.shape(images)[1:3]
        options = self.options
        if (height, width) != (options.height, options.width):
            raise BadInput(
                f"images are {width} x {height}, but recipe.width x recipe.height is {options.width} x "
                f"{options.height}: set them to the size of the shards' images (multiples of 16), or build shards of "
                "that size"
            )
        text, pooled = self.texts(texts)
        kinds = 2 if self.geometry is None else 3
        inputs = {
            "source": self.latents(images),
            "text": text,
            "pooled": pooled,
            "guidance": torch.full((len(texts),), guidance),
            "image_ids": position_ids(kinds, height // PATCH, width // PATCH),
            "text_ids": torch.zeros(text.shape[1], 3),
        }
        if self.geometry is not None:
            inputs["geometry"] = self.geometry(torch.tensor(np.asarray(images)))
        return {name: value.to(self.device) for name, value in inputs.items()}


def position_ids(kinds: int, rows: int, columns: int) -> "torch.Tensor":
    """Position ids of the image tokens, float32 (kinds * N, 3): kind (0 target, 1 source, 2 spatial), row, column."""
    import torch

    return torch.cartesian_prod(*(torch.arange(count) for count in (kinds, rows, columns))).float()


def patchify(maps: "torch.Tensor", side: int) -> "torch.Tensor":
    """(B, C, H, W) to (B, H/side * W/side, C * side * side), in the order of FLUX's packed latents."""
    import torch.nn.functional as F

    return F.pixel_unshuffle(maps, side).flatten(2).transpose(1, 2)


def unpatchify(tokens: "torch.Tensor", side: int, height: int) -> "torch.Tensor":
    """The inverse of `patches`, for maps of height `height`."""
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
    """The frozen transformer, and all other frozen models.

    Raises BadInput for missing weights or packages, or a model other than FLUX.1-Kontext.
    """
    folder = None if options.base == TINY else find_folder(options.base, options.revision, files=_FILES)
    base = _pipeline(options.base, folder, dtype)
    transformer = base.transformer.requires_grad_(False).to(device)
    base.register_modules(transformer=None)
    if base.vae_scale_factor * 2 != PATCH:
        raise BadInput(
            f"base '{options.base}' is not FLUX.1-Kontext: its VAE downsamples by {base.vae_scale_factor}, expected 8"
        )
    for name in ("vae", "text_encoder", "text_encoder_2"):
        getattr(base, name).requires_grad_(False).eval().to(device)
    geometry = load_geometry(options.geometry, device, dtype) if options.spatial else None
    cache = TensorCache(options.cache, options.cache_bytes)
    revisions = (_revision(base, folder, _VAE), _revision(base, folder, _TEXT)) if options.cache else ("", "")
    return transformer, Frozen(options, base, geometry, device, dtype, cache, revisions)


_FILES = ("model_index.json", "*/*")
"""Excludes files at the top level: they hold the same weights again, in a single file."""


def _pipeline(name: str, folder: Path | None, dtype: "torch.dtype") -> Any:
    if folder is None:
        from .tiny import tiny_base

        base = tiny_base()
        return base if dtype == base.dtype else base.to(dtype=dtype)
    from diffusers.pipelines.flux.pipeline_flux_kontext import FluxKontextPipeline

    try:
        return FluxKontextPipeline.from_pretrained(folder, torch_dtype=dtype)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"base '{name}' at {folder} is not FLUX.1-Kontext in diffusers' layout ({first_line(error)})"
        ) from error


def _revision(base: Any, folder: Path | None, parts: Sequence[str]) -> str:
    if folder is not None:
        return " ".join(folder_revision(folder / part) for part in parts)
    return " ".join(module_revision(getattr(base, part)) for part in parts if "tokenizer" not in part)


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
