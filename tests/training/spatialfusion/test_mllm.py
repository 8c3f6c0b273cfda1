"""What the branch gets from the MLLM, which never notices."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.training.spatialedit.tiny import tiny_models
from spatialdata_builder.training.spatialfusion.mllm import load_mllm
from spatialdata_builder.training.spatialfusion.nets import SpatialBranch
from spatialdata_builder.training.spatialfusion.options import SpatialFusionOptions
from tests.training.spatialfusion.factory import CPU, batch_of, built, inputs_of, perturb, tiny

PICTURE = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)


def prompt(text: str):
    """The prompt of JoyAI-Image-Edit, tokenized."""
    pipeline = tiny_models(CPU, torch.float32)
    user = f"<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>{text}<|im_end|>\n"
    words = pipeline.prompt_template_encode["multiple_images"].format(user)
    return pipeline, pipeline.processor(text=[words], images=[Image.fromarray(PICTURE)], return_tensors="pt")


def test_keys_values_and_the_next_position_are_those_of_the_whole_prompt():
    found = load_mllm(tiny(), CPU, torch.float32).read(PICTURE, "Move the box.")
    pipeline, inputs = prompt("Move the box.")
    model = pipeline.text_encoder.model
    with torch.no_grad():
        cache = pipeline.text_encoder(**inputs, use_cache=True).past_key_values
    tokens = inputs["input_ids"].shape[1]
    assert found.keys.shape == found.values.shape == (2, 1, tokens, 16)
    for index, layer in enumerate(cache.layers):
        assert torch.equal(found.keys[index], layer.keys[0])
        assert torch.equal(found.values[index], layer.values[0])
    positions, _ = model.get_rope_index(
        inputs["input_ids"], inputs["mm_token_type_ids"], inputs["image_grid_thw"], attention_mask=None
    )
    assert found.start == positions.max() + 1 < tokens


def test_queries_have_the_positions_of_an_images_tokens_after_the_prompt():
    mllm = load_mllm(tiny(), CPU, torch.float32)
    branch = SpatialBranch(mllm.language_model, 3, 5)
    expected = mllm._model.get_vision_position_ids(11, torch.tensor([1, 3, 5]))
    assert torch.equal(branch.grid[:, 0] + 11, expected)


@pytest.mark.parametrize("backbone", ["flux-kontext", "joyai"])
def test_hidden_states_of_the_mllm_are_the_same_bits_with_and_without_the_branch(backbone: str, tmp_path: Path):
    recipe, net = built(backbone=backbone)
    pipeline, inputs = prompt("Move the box.")
    with torch.no_grad():
        without = pipeline.text_encoder(**inputs, output_hidden_states=True).hidden_states
    batch = batch_of(recipe, tmp_path / "set")
    perturb(net)
    seen: list[torch.Tensor] = []
    language_model = recipe.frozen.mllm.language_model
    for layer in language_model.layers:
        layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    net(inputs_of(recipe, {**batch, "source": np.stack([PICTURE[:32, :32]] * 2)}))["loss"].sum().backward()
    torch.optim.SGD([value for value in net.parameters() if value.requires_grad], 0.1).step()
    seen.clear()
    context = recipe.frozen.mllm.read(PICTURE, "Move the box.")
    with torch.no_grad():
        net.branch(
            context.keys[None],
            context.values[None],
            torch.tensor([context.keys.shape[-2]]),
            torch.tensor([context.start]),
        )
    assert len(seen) == len(language_model.layers)
    assert torch.equal(seen[0], without[1])  # hidden_states: embeddings, then each layer; the last one is normed
    assert torch.equal(language_model.norm(seen[-1]), without[-1])
    assert all(value.grad is None for value in language_model.parameters())


def test_branch_and_editing_model_of_joyai_share_one_mllm():
    recipe, _ = built(backbone="joyai")
    assert recipe.frozen.mllm.language_model is recipe.frozen.editor._recipe.pipeline.text_encoder.model.language_model


@pytest.fixture
def qwen(tmp_path: Path) -> Path:
    """The tiny MLLM as the folder of a Qwen3-VL."""
    pipeline = tiny_models(CPU, torch.float32)
    pipeline.text_encoder.save_pretrained(tmp_path / "qwen")
    pipeline.tokenizer.save_pretrained(tmp_path / "qwen")
    pipeline.processor.image_processor.save_pretrained(tmp_path / "qwen")
    return tmp_path / "qwen"


def test_weights_are_read_from_a_folder_of_qwen3_vl_or_of_joyai(qwen: Path, tmp_path: Path):
    expected = load_mllm(tiny(), CPU, torch.float32).read(PICTURE, "Go")
    flux = SpatialFusionOptions.model_validate({"stage": 1, "flux": {"mllm": str(qwen)}})
    (tmp_path / "joyai").mkdir()
    for part in ("text_encoder", "tokenizer", "processor"):
        (tmp_path / "joyai" / part).symlink_to(qwen)
    joyai = SpatialFusionOptions.model_validate(
        {"stage": 1, "backbone": "joyai", "joyai": {"model": str(tmp_path / "joyai")}}
    )
    for options in (flux, joyai):
        found = load_mllm(options, CPU, torch.float32)
        assert isinstance(found._pipeline.processor.image_processor, Qwen2VLImageProcessorPil)
        context = found.read(PICTURE, "Go")
        assert torch.equal(context.keys, expected.keys)
        assert torch.equal(context.values, expected.values)
        assert context.start == expected.start


def test_a_folder_of_another_model_is_an_error(tmp_path: Path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    options = SpatialFusionOptions.model_validate({"stage": 1, "flux": {"mllm": str(tmp_path)}})
    with pytest.raises(BadInput, match=f"'{tmp_path}' at {tmp_path} cannot be loaded as a Qwen3-VL"):
        load_mllm(options, CPU, torch.float32)
    options = SpatialFusionOptions.model_validate({"stage": 1, "flux": {"mllm": "./nowhere"}})
    with pytest.raises(BadInput, match=r"weights folder ./nowhere does not exist"):
        load_mllm(options, CPU, torch.float32)
