"""Quantized bases: the configurations that diffusers gets, float8 on a CPU, and what cannot be quantized."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.training.config import load_config
from spatialdata_builder.training.quantization import is_quantized, quantized_loading
from spatialdata_builder.training.spatialdiff.options import SpatialDiffOptions
from spatialdata_builder.training.spatialdiff.recipe import SpatialDiff
from spatialdata_builder.training.spatialdiff.tiny import tiny_base
from spatialdata_builder.training.spatialedit.recipe import SpatialEdit
from tests.training.spatialdiff.factory import CPU, SIDE, batch_of, inputs_of

GPU = torch.device("cuda", 0)
needs_torchao = pytest.mark.skipif(find_spec("torchao") is None, reason="torchao is not installed: extra quantization")


def test_nf4_and_int8_are_diffusers_own_configurations():
    pytest.importorskip("bitsandbytes")
    found = quantized_loading("nf4", GPU, torch.bfloat16)
    config = found["quantization_config"].to_dict()
    assert (config["load_in_4bit"], config["bnb_4bit_quant_type"]) == (True, "nf4")
    assert (config["bnb_4bit_use_double_quant"], config["bnb_4bit_compute_dtype"]) == (True, "bfloat16")
    assert found["device_map"] == {"": "cuda:0"}
    assert quantized_loading("int8", GPU, torch.bfloat16)["quantization_config"].load_in_8bit
    assert quantized_loading("", GPU, torch.bfloat16) == {}
    for kind in ("nf4", "int8"):
        with pytest.raises(BadInput, match=f"recipe.quantize: {kind} needs a GPU"):
            quantized_loading(kind, CPU, torch.float32)


@pytest.mark.skipif(find_spec("torchao") is not None, reason="torchao is installed here")
def test_a_missing_package_is_named_with_its_extra():
    with pytest.raises(BadInput, match=r"recipe.quantize: fp8 needs torchao.*\[quantization\]"):
        quantized_loading("fp8", CPU, torch.bfloat16)


def test_what_cannot_be_quantized_is_an_error():
    with pytest.raises(BadInput, match="quantized weights cannot be sharded"):
        load_config(SpatialDiff, overrides=["recipe.quantize=nf4", "sharded=true"])
    with pytest.raises(BadInput, match=r"recipe\.quantize needs weights in a folder"):
        SpatialDiff(SpatialDiffOptions(base="tiny", quantize="nf4")).build(CPU, torch.float32)
    options = SpatialEdit.options_type(model="tiny", quantize="int8")
    with pytest.raises(BadInput, match=r"recipe\.quantize needs the model's own weights"):
        SpatialEdit(options).build(CPU, torch.float32)


@needs_torchao
def test_lora_trains_on_a_float8_base(tmp_path: Path):
    tiny_base().save_pretrained(tmp_path / "base")
    recipes = {
        kind: SpatialDiff(
            SpatialDiffOptions.model_validate(
                {
                    "base": str(tmp_path / "base"),
                    "ablation": "lora_only",
                    "width": SIDE,
                    "height": SIDE,
                    "quantize": kind,
                }
            )
        )
        for kind in ("", "fp8")
    }
    modules = {kind: recipe.build(CPU, torch.bfloat16) for kind, recipe in recipes.items()}
    transformer = modules["fp8"].transformer
    assert is_quantized(transformer) and not is_quantized(modules[""].transformer)
    trained = [value for value in modules["fp8"].parameters() if value.requires_grad]
    assert {value.dtype for value in trained} == {torch.float32}
    inputs = inputs_of(recipes["fp8"], batch_of(recipes["fp8"], tmp_path / "set"))
    with torch.autocast("cpu", torch.bfloat16):
        losses = {kind: module(inputs)["loss"] for kind, module in modules.items()}
    losses["fp8"].mean().backward()
    assert all(value.grad is not None for value in trained)
    torch.testing.assert_close(losses["fp8"], losses[""], rtol=0.1, atol=0.01)
