"""Trainable parameters, the adapter on disk, folders of real checkpoints, and editing."""

import json

import numpy as np
import pytest
import torch
from accelerate import init_empty_weights
from diffusers import JoyImageEditTransformer3DModel
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import distributed
from torch.distributed.fsdp import fully_shard

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.training.recipe import StepRng
from spatialdata_builder.training.spatialedit.models import folder_of, load_models, lora_config
from spatialdata_builder.training.spatialedit.nets import EditNet
from spatialdata_builder.training.spatialedit.pipeline import edit, load_pipeline
from spatialdata_builder.training.spatialedit.tiny import tiny_models
from tests.training.spatialedit.conftest import build, opened, randomize_adapter, rng_of

CPU = torch.device("cpu")


@pytest.fixture
def saved(case, tmp_path):
    """The folder of a random adapter."""
    case.recipe.save(case.module, tmp_path / "lora")
    return tmp_path / "lora"


def test_parameter_counts_match_the_published_ones():
    with init_empty_weights():
        whole = JoyImageEditTransformer3DModel(
            hidden_size=4096,
            in_channels=16,
            num_attention_heads=32,
            num_layers=40,
            patch_size=[1, 2, 2],
            rope_dim_list=[16, 56, 56],
            text_dim=4096,
            theta=10000,
        )
        base = sum(parameter.numel() for parameter in whole.parameters())
        adapted = get_peft_model(whole, lora_config(40, 16, 16))
    assert base / 1e9 == pytest.approx(16.26, abs=0.005)
    trains = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)
    projection, qkv = 16 * (4096 + 4096), 16 * (4096 + 3 * 4096)
    assert 40 * 2 * (projection + qkv) / 1e6 == pytest.approx(31.5, abs=0.05)
    assert trains == 40 * 2 * (projection + qkv) - projection, "all except txt_attn_proj of the last block"


def test_only_the_adapter_trains_and_all_of_it_has_a_gradient(case):
    names = {name for name, each in case.module.named_parameters() if each.requires_grad}
    head = "transformer.base_model.model.double_blocks"
    layers = [f"{view}_attn_{part}" for view in ("img", "txt") for part in ("qkv", "proj")]
    expected = {
        f"{head}.{block}.attn.{layer}.lora_{half}.default.weight"
        for block in (0, 1)
        for layer in layers
        for half in "AB"
        if (block, layer) != (1, "txt_attn_proj")
    }
    assert names == expected
    case.module(case.inputs)["loss"].mean().backward()
    for name, parameter in case.module.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad.abs().sum() > 0, name
        else:
            assert parameter.grad is None, name
    case.module.zero_grad()
    frozen = (case.recipe.pipeline.vae, case.recipe.pipeline.text_encoder)
    assert not any(parameter.requires_grad for model in frozen for parameter in model.parameters())


def test_gradient_checkpointing_changes_no_gradient(case):
    def gradients():
        case.module(case.inputs)["loss"].mean().backward()
        found = [each.grad.clone() for each in case.module.parameters() if each.requires_grad]
        case.module.zero_grad()
        return found

    plain = gradients()
    case.module.train()
    case.recipe.pipeline.transformer.enable_gradient_checkpointing()
    try:
        for one, other in zip(plain, gradients(), strict=True):
            torch.testing.assert_close(one, other)
    finally:
        case.recipe.pipeline.transformer.disable_gradient_checkpointing()


def test_frozen_bf16_trains_a_float32_adapter(moves):
    recipe, _ = build()
    module = recipe.build(CPU, torch.bfloat16)
    batch = next(opened(recipe, moves).batches(2))
    inputs = recipe.prepare(batch, rng_of(batch))
    module(inputs)["loss"].mean().backward()
    assert {each.dtype for each in module.parameters() if each.requires_grad} == {torch.float32}
    assert module.dtype == torch.bfloat16


def test_peft_loads_and_merges_the_adapter_with_the_same_output(case, saved):
    inputs = case.inputs
    items = torch.stack([inputs["source"], inputs["target"]], dim=1)[:1]
    arguments = {
        "hidden_states": items,
        "timestep": torch.tensor([300.0]),
        "encoder_hidden_states": inputs["text"][:1, :100],
    }
    with torch.no_grad():
        trained = case.module.transformer(**arguments).sample
        base = tiny_models(CPU, torch.float32).transformer
        plain = base(**arguments).sample
        loaded = PeftModel.from_pretrained(base, str(saved))
        again = loaded(**arguments).sample
        merged = loaded.merge_and_unload()
        flat = merged(**arguments).sample
    assert torch.equal(trained, again)
    assert type(merged) is JoyImageEditTransformer3DModel
    assert (trained - plain).abs().max() > 0.05
    torch.testing.assert_close(flat, trained, atol=1e-5, rtol=1e-4)


def test_a_saved_adapter_is_restored_and_saved_with_the_same_bytes(case, saved, tmp_path):
    recipe, other = build(seed=5, text_drop=0.0)
    recipe.load(other, saved)
    with torch.no_grad():
        assert torch.equal(other(case.inputs)["loss"], case.module(case.inputs)["loss"])
    recipe.save(other, tmp_path / "again")
    for name in ("adapter_model.safetensors", "adapter_config.json", "spatialedit.json"):
        assert (tmp_path / "again" / name).read_bytes() == (saved / name).read_bytes()
    config = json.loads((saved / "adapter_config.json").read_text())
    assert config["target_modules"] == ["img_attn_proj", "img_attn_qkv", "txt_attn_proj", "txt_attn_qkv"]
    assert (config["r"], config["lora_alpha"], config["base_model_name_or_path"]) == (16, 16, "tiny")
    assert {each.dtype for each in load_file(saved / "adapter_model.safetensors").values()} == {torch.float32}


def test_an_adapter_of_another_configuration_is_an_error(saved, tmp_path):
    recipe, module = build(rank=8)
    with pytest.raises(BadInput, match="another configuration: rank is 16, here 8"):
        recipe.load(module, saved)
    with pytest.raises(BadInput, match="holds no adapter of recipe spatialedit"):
        recipe.load(module, tmp_path)
    same, module = build()
    weights = load_file(saved / "adapter_model.safetensors")
    weights.popitem()
    save_file(weights, saved / "adapter_model.safetensors")
    with pytest.raises(BadInput, match="does not fit the model"):
        same.load(module, saved)


def test_a_folder_in_diffusers_layout_is_read_with_its_own_theta(checkpoint, case):
    found = load_models(folder_of(str(checkpoint), ""), CPU, torch.float32)
    assert found.transformer.theta == 256
    reference = tiny_models(CPU, torch.float32)
    state = reference.transformer.state_dict()
    assert all(torch.equal(each, state[name]) for name, each in found.transformer.state_dict().items())
    source, _, words = case.recipe.model_view(case.batch, 0)
    recipe, _ = build()
    recipe.options = recipe.options.model_copy(update={"model": str(checkpoint)})
    recipe.build(CPU, torch.float32)
    # Memory layout can change the order of summation.
    texts = [each.texts([source], [words])[0] for each in (recipe, case.recipe)]
    torch.testing.assert_close(*texts, atol=1e-6, rtol=0)
    torch.testing.assert_close(recipe.latents([source]), case.recipe.latents([source]), atol=1e-5, rtol=0)


def test_missing_weights_are_named(tmp_path, checkpoint, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BadInput, match=r"weights 'nobody/nothing' are not .*hf download nobody/nothing"):
        folder_of("nobody/nothing", "")
    (tmp_path / "vae").mkdir()
    with pytest.raises(BadInput, match=r"lacks processor, scheduler, text_encoder, tokenizer, transformer: give"):
        folder_of(str(tmp_path), "")
    for part in ("processor", "scheduler", "text_encoder", "tokenizer", "transformer"):
        (tmp_path / part).symlink_to(checkpoint / part)
    with pytest.raises(BadInput, match="vae cannot be loaded"):
        load_models(folder_of(str(tmp_path), ""), CPU, torch.float32)


def test_the_recipe_and_the_pipeline_with_the_saved_adapter_agree(case, saved):
    case.recipe.options = case.recipe.options.model_copy(update={"sample_steps": 2})
    batch = {name: value[:2] for name, value in case.batch.items()}
    images = case.recipe.sample(case.module, batch, seed=3)
    assert images["prediction"].shape == images["source"].shape == (2, 32, 32, 3)
    assert images["prediction"].dtype == np.uint8
    again = case.recipe.sample(case.module, batch, seed=3)
    np.testing.assert_array_equal(images["prediction"], again["prediction"])

    one = StepRng(3, 0, tuple(batch["key"])).generators("sample")[0]
    words = case.recipe.model_view(batch, 0)[2]
    image = edit(load_pipeline("tiny", saved), batch["source"][0], words, box=[6, 4, 14, 12], steps=2, generator=one)
    assert np.abs(image.astype(int) - images["prediction"][0]).max() <= 1
    base = edit(load_pipeline("tiny"), batch["source"][0], words, box=[6, 4, 14, 12], steps=2, generator=0)
    assert base.shape == (32, 32, 3)
    with pytest.raises(BadInput, match=r"holds no adapter for this model"):
        load_pipeline("tiny", saved.parent)


def test_the_user_s_own_images_are_edited(case):
    """They have neither record nor target."""
    case.recipe.options = case.recipe.options.model_copy(update={"sample_steps": 1})
    batch = {name: case.batch[name][:1] for name in ("source", "instruction", "key", "valid")}
    images = case.recipe.sample(case.module, batch, seed=3)
    np.testing.assert_array_equal(images["source"], batch["source"])
    assert images["prediction"].shape == (1, 32, 32, 3)


def test_images_are_edited_at_their_own_size(case):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    assert edit(case.recipe.pipeline, pixels, "Move it.", steps=1, guidance=1.0).shape == (48, 64, 3)


def test_training_overfits_eight_samples(moves):
    recipe, module = build(text_drop=0.0)
    batch = next(opened(recipe, moves, order="stored").batches(8))
    inputs = recipe.prepare(batch, rng_of(batch))
    training = [each for each in module.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(training, 5e-3, betas=(0.9, 0.95), weight_decay=0)
    losses = []
    for _ in range(160):
        loss = module(inputs)["loss"].mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(training, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_under_fsdp_every_rank_makes_the_same_number_of_calls(case, tmp_path):
    """Text lengths differ between ranks; the number of calls that gather weights must not."""
    calls = []
    with torch.no_grad():
        plain = case.module(case.inputs)["loss"].mean().item()
    _, module = build(text_drop=0.0)
    randomize_adapter(module)
    assert isinstance(module, EditNet)
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        for block in module.transformer.get_base_model().double_blocks:
            fully_shard(block)
        fully_shard(module)
        module.transformer.register_forward_pre_hook(lambda *_: calls.append(1))
        with torch.no_grad():
            loss = module(case.inputs)["loss"].mean().item()
    finally:
        distributed.destroy_process_group()
    assert len(calls) == 4
    assert loss == pytest.approx(plain, rel=1e-5)
