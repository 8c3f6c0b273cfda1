"""The frozen MLLM: Qwen3-VL reads the source and the text, and gives the branch the keys and values of each layer.

Invariant: it never sees the branch. So its outputs are those of the unchanged model, and one sample is read at a time.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from ...shards.errors import BadInput
from ..weights import find_folder, first_line
from .options import SpatialFusionOptions

if TYPE_CHECKING:
    import torch

_JOYAI_PARTS: Final = ("text_encoder", "tokenizer", "processor")


@dataclass(frozen=True)
class Context:
    """What the MLLM knows about source and text, on its device.

    Args:
        keys, values: (layers, key heads, L, head size) of the L tokens of the prompt; keys after RoPE.
        start: the first position after the prompt, in each of the three dimensions of M-RoPE.
    """

    keys: "torch.Tensor"
    values: "torch.Tensor"
    start: int


class Mllm:
    """Args:
    pipeline: a `JoyImageEditPipeline`, of which only text encoder, tokenizer and processor are used.
    """

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline
        self._model = pipeline.text_encoder.model
        self.language_model.config.use_cache = True

    @property
    def language_model(self) -> Any:
        """The `Qwen3VLTextModel`, whose layers the branch copies."""
        return self._model.language_model

    def read(self, image: NDArray[np.uint8], text: str) -> Context:
        """Read an image (H, W, 3) and a text, in the prompt of JoyAI-Image-Edit: template, image, text.

        All tokens of the prompt are kept, those of the template too: the first ones take most of the attention that
        the model needs for nothing else (our choice).
        """
        import torch
        from PIL import Image

        outputs: list[Any] = []

        def keep(_module: Any, _inputs: Any, output: Any) -> None:
            outputs.append(output)

        hook = self.language_model.register_forward_hook(keep)
        try:
            device = self._pipeline.text_encoder.device
            # As in training, where it runs outside of autocast: its values must be the same in validation.
            with torch.no_grad(), torch.autocast(device.type, enabled=False):
                self._pipeline.encode_prompt_multiple_images(text, images=Image.fromarray(image), device=device)
        finally:
            hook.remove()
        layers = outputs[0].past_key_values.layers
        keys, values = (torch.stack([getattr(layer, name)[0] for layer in layers]) for name in ("keys", "values"))
        return Context(keys, values, keys.shape[-2] + int(self._model.rope_deltas))


def load_mllm(options: SpatialFusionOptions, device: "torch.device", dtype: "torch.dtype") -> Mllm:
    """The MLLM that belongs to the backbone, frozen, without the backbone.

    Raises BadInput for missing weights.
    """
    from diffusers.pipelines.joyimage.pipeline_joyimage_edit import JoyImageEditPipeline

    if options.tiny:
        from ..spatialedit.tiny import tiny_models

        pipeline = tiny_models(device, dtype)
        text_encoder, tokenizer, processor = pipeline.text_encoder, pipeline.tokenizer, pipeline.processor
    else:
        text_encoder, tokenizer, processor = _read_mllm(options, dtype)
    text_encoder.requires_grad_(False).eval().to(device)
    missing: Any = None  # VAE, transformer and scheduler; the class declares them as required
    return Mllm(JoyImageEditPipeline(missing, missing, text_encoder, tokenizer, missing, processor))


def _read_mllm(options: SpatialFusionOptions, dtype: "torch.dtype") -> tuple[Any, Any, Any]:
    from transformers.models.auto.image_processing_auto import AutoImageProcessor
    from transformers.models.auto.tokenization_auto import AutoTokenizer
    from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLForConditionalGeneration

    from ..spatialedit.nets import ImageTextProcessor

    if options.backbone == "joyai":
        model, revision, parts = options.joyai.model, options.joyai.revision, _JOYAI_PARTS
    else:
        model, revision, parts = options.flux.mllm, options.flux.mllm_revision, ("", "", "")
    folder = find_folder(model, revision, files=[f"{part}/*" for part in parts if part])
    folders = [folder / part for part in parts]
    try:
        text_encoder = Qwen3VLForConditionalGeneration.from_pretrained(folders[0], dtype=dtype)
        tokenizer: Any = AutoTokenizer.from_pretrained(folders[1])
        images = AutoImageProcessor.from_pretrained(folders[2], backend="pil")
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(f"'{model}' at {folder} cannot be loaded as a Qwen3-VL: {first_line(error)}") from error
    return (
        text_encoder,
        tokenizer,
        ImageTextProcessor(image_processor=images, tokenizer=tokenizer, video_processor=None),
    )
