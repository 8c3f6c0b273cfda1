"""Editors that are pipelines of diffusers: FLUX.1-Kontext, Qwen-Image-Edit, JoyAI-Image-Edit, ...

A pipeline gets image, instruction and the seed's generator, and keeps its own defaults for everything else.
"""

import inspect
from typing import Any

import numpy as np
from PIL import Image

from ...shards.codecs import U8
from ...shards.errors import BadInput
from ...shards.extras import require_all
from .editor import Base, Task
from .vae import encode_and_decode


class Diffusers(Base):
    """`DiffusionPipeline.from_pretrained` on a GPU if there is one (bfloat16), else on the CPU (float32).

    Args:
        model: a hub id, or a folder with `model_index.json`.
    """

    def __init__(self, model: str) -> None:
        self.description = model
        self._model = model

    def setup(self) -> None:
        require_all("an editor of diffusers", ("torch", "diffusers", "transformers"), "train")
        import torch
        from diffusers.pipelines.pipeline_utils import DiffusionPipeline

        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if self._device == "cuda" else torch.float32
        try:
            loaded: Any = DiffusionPipeline.from_pretrained(self._model, torch_dtype=dtype)
        except (OSError, ValueError, LookupError, TypeError, ImportError, AttributeError, RuntimeError) as error:
            detail = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise BadInput(f"--with {self._model}: diffusers cannot load it ({detail})") from None
        missing = {"image", "prompt"} - set(inspect.signature(loaded.__call__).parameters)
        if missing:
            raise BadInput(
                f"--with {self._model}: {type(loaded).__name__} takes no {' and no '.join(sorted(missing))}, so it "
                "does not edit images by instructions: give an editing pipeline"
            )
        self._pipeline: Any = loaded.to(self._device)
        self._pipeline.set_progress_bar_config(disable=True)

    def edit(self, task: Task) -> U8:
        import torch

        with torch.no_grad():
            output = self._pipeline(
                image=Image.fromarray(task.image),
                prompt=task.instruction,
                generator=torch.Generator().manual_seed(task.seed),
            )
        return np.asarray(output.images[0].convert("RGB"))

    def roundtrip(self, image: U8) -> U8:
        """In the image's own size: whether a pipeline resizes images is not known. Raises BadInput without a VAE."""
        vae = getattr(self._pipeline, "vae", None)
        if vae is None:
            raise BadInput(f"--with roundtrip:{self._model}: {type(self._pipeline).__name__} has no VAE")
        return encode_and_decode(vae, image)
