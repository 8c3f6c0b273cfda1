"""Weight files with SpatialEdit's published names, in which the attention of a block is not a separate module."""

import re
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.training.spatialedit.models import TARGETS, load_models
from spatialdata_builder.training.spatialedit.options import SpatialEditOptions
from spatialdata_builder.training.spatialedit.pipeline import load_pipeline
from spatialdata_builder.training.spatialedit.tiny import tiny_models
from spatialdata_builder.training.spatialedit.weights import load_transformer
from tests.training.spatialedit.conftest import build, opened, randomize_adapter, rng_of

CPU = torch.device("cpu")


def published(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.replace(".attn.", "."): value.contiguous() for name, value in state.items()}


def example_inputs() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "hidden_states": torch.randn(1, 2, 16, 1, 4, 4, generator=generator),
        "timestep": torch.tensor([300.0]),
        "encoder_hidden_states": torch.randn(1, 9, 32, generator=generator),
    }


@pytest.fixture
def other() -> torch.nn.Module:
    """The tiny network with other weights and SpatialEdit's RoPE theta."""
    network = tiny_models(CPU, torch.float32).transformer
    torch.manual_seed(5)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    network.register_to_config(theta=256)
    network.theta = 256
    return network.eval()


@pytest.mark.parametrize("kind", ["safetensors", "torch", "torch, below model"])
def test_a_published_file_gives_the_same_network(kind: str, other, checkpoint, tmp_path: Path):
    state = published(other.state_dict())
    assert "double_blocks.1.img_attn_qkv.weight" in state
    file = tmp_path / ("w.safetensors" if kind == "safetensors" else "CKPT_PT")
    if kind == "safetensors":
        save_file(state, file)
    else:
        state["repa_proj.weight"] = torch.ones(2)
        torch.save({"model": state} if "model" in kind else state, file)
    found = load_models(checkpoint, CPU, torch.float32, str(file), 256).transformer
    with torch.no_grad():
        # Memory layout can change the order of summation.
        torch.testing.assert_close(
            found(**example_inputs()).sample, other(**example_inputs()).sample, atol=1e-5, rtol=0
        )
        # The RoPE theta is not in the file: with another value the output differs.
        other_theta = load_models(checkpoint, CPU, torch.float32, str(file), 10000).transformer
        assert (other_theta(**example_inputs()).sample - other(**example_inputs()).sample).abs().max() > 1e-4


def test_weights_have_the_dtypes_of_diffusers(other, checkpoint, tmp_path: Path):
    save_file(published(other.state_dict()), tmp_path / "w.safetensors")
    ours = load_transformer(checkpoint / "transformer", tmp_path / "w.safetensors", 256, torch.bfloat16)
    theirs = load_models(checkpoint, CPU, torch.bfloat16).transformer
    kinds = [{name: value.dtype for name, value in each.state_dict().items()} for each in (ours, theirs)]
    assert kinds[0] == kinds[1]
    assert set(kinds[0].values()) == {torch.float32, torch.bfloat16}


def test_other_files_are_an_error(other, checkpoint, tmp_path: Path):
    state = published(other.state_dict())
    state.pop("double_blocks.0.txt_attn_proj.bias")
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(BadInput, match=r"1 weights differ, such as double_blocks.0.attn.txt_attn_proj.bias"):
        load_transformer(checkpoint / "transformer", tmp_path / "w.safetensors", 256, torch.float32)
    (tmp_path / "CKPT_PT").write_bytes(b"no weights")
    for name in ("CKPT_PT", "absent", "absent.safetensors"):
        with pytest.raises(BadInput, match=re.escape(f"{name} holds no weights")):
            load_transformer(checkpoint / "transformer", tmp_path / name, 256, torch.float32)
    with pytest.raises(ValueError, match="weights and theta must be set together"):
        SpatialEditOptions(weights="CKPT_PT")


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    """An adapter on all blocks with the published names, like SpatialEdit's."""
    adapted = get_peft_model(tiny_models(CPU, torch.float32).transformer, LoraConfig(r=4, target_modules=list(TARGETS)))
    randomize_adapter(adapted)
    adapted.save_pretrained(str(tmp_path / "lora"), save_embedding_layers=False)
    file = tmp_path / "lora" / "adapter_model.safetensors"
    save_file(published(load_file(file)), file)
    return tmp_path / "lora"


def test_a_published_adapter_is_merged(lora: Path):
    weights = load_file(lora / "adapter_model.safetensors")
    merged = load_pipeline("tiny", lora).transformer.state_dict()
    plain = tiny_models(CPU, torch.float32).transformer.state_dict()
    for block in (0, 1):
        for layer in TARGETS:
            head = f"base_model.model.double_blocks.{block}.{layer}"
            update = weights[f"{head}.lora_B.weight"] @ weights[f"{head}.lora_A.weight"] * 8 / 4
            name = f"double_blocks.{block}.attn.{layer}.weight"
            torch.testing.assert_close(merged.pop(name), plain[name] + update, atol=1e-6, rtol=1e-5)
    assert all(torch.equal(value, plain[name]) for name, value in merged.items())


def test_an_adapter_of_another_network_is_an_error(lora: Path):
    """PEFT would skip such layers without an error."""
    file = lora / "adapter_model.safetensors"
    save_file({name.replace("double_blocks", "blocks"): value for name, value in load_file(file).items()}, file)
    with pytest.raises(BadInput, match="is an adapter of another network"):
        load_pipeline("tiny", lora)


def test_a_run_starts_from_published_weights(other, lora: Path, checkpoint, moves, tmp_path: Path):
    save_file(published(other.state_dict()), tmp_path / "w.safetensors")
    options = {"weights": str(tmp_path / "w.safetensors"), "theta": 256, "merge": str(lora), "text_drop": 0.0}
    recipe, module = build(**options, model=str(checkpoint))
    expected = load_pipeline(str(checkpoint), lora, weights=options["weights"], theta=256).transformer
    with torch.no_grad():
        torch.testing.assert_close(
            module.transformer(**example_inputs()).sample, expected(**example_inputs()).sample, atol=1e-5, rtol=0
        )
    batch = next(opened(recipe, moves).batches(2))
    assert module(recipe.prepare(batch, rng_of(batch)))["loss"].isfinite().all()
    recipe.save(module, tmp_path / "trained-lora")
    plain, bare = build()
    with pytest.raises(BadInput, match=r"merge is '.*', here ''.*theta is 256, here 10000.*weights"):
        plain.load(bare, tmp_path / "trained-lora")
