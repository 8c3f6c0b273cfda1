"""Saved weights: they load in the libraries, are restored bit for bit, and give an error where they do not fit."""

import json
from pathlib import Path

import pytest
import torch

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.training.spatialdiff.tiny import tiny_base
from spatialdata_builder.training.spatialedit.pipeline import load_pipeline
from spatialdata_builder.training.spatialfusion.files import read_options
from tests.training.spatialfusion.factory import batch_of, built, inputs_of, perturb

FLUX_LORA = "lora/pytorch_lora_weights.safetensors"
JOYAI_LORA = "lora/adapter_model.safetensors"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"stage": 1}, set()),
        ({}, {"adapter.safetensors", FLUX_LORA, "lora/spatialdiff.json"}),
        (
            {"backbone": "joyai"},
            {"adapter.safetensors", JOYAI_LORA, "lora/adapter_config.json", "lora/README.md", "lora/spatialedit.json"},
        ),
    ],
)
def test_saved_weights_are_restored_bit_for_bit(tmp_path: Path, changes: dict, expected: set):
    recipe, net = built(**changes)
    perturb(net)
    recipe.save(net, tmp_path / "out")
    recipe.save(net, tmp_path / "again")
    names = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert names == expected | {"branch.safetensors", "decoder.safetensors", "spatialfusion.json"}
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
    other, fresh = built(**changes)
    assert not all(torch.equal(value, net.state_dict()[name]) for name, value in fresh.state_dict().items())
    other.load(fresh, tmp_path / "out")
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in fresh.state_dict().items())
    assert read_options(tmp_path / "out") == recipe.options


def test_loras_load_in_diffusers_and_peft(tmp_path: Path):
    recipe, net = built()
    perturb(net)
    recipe.save(net, tmp_path / "flux")
    pipeline = tiny_base()
    pipeline.load_lora_weights(tmp_path / "flux" / "lora")
    trained = {name: value for name, value in net.backbone.net.transformer.named_parameters() if "lora_" in name}
    loaded = dict(pipeline.transformer.named_parameters())
    assert len(trained) == sum("lora_" in name for name in loaded)
    values = sorted(value.sum().item() for value in trained.values())
    assert sorted(loaded[name].sum().item() for name in loaded if "lora_" in name) == pytest.approx(values)
    recipe, net = built(backbone="joyai")
    perturb(net)
    recipe.save(net, tmp_path / "joyai")
    merged = load_pipeline("tiny", tmp_path / "joyai" / "lora").transformer
    inputs = inputs_of(recipe, batch_of(recipe, tmp_path / "set", 1))
    items = torch.stack([inputs["source"], inputs["noise"]], 1)
    with torch.no_grad():
        expected = net.backbone.net.velocity(items, inputs["t"], inputs["text"], inputs["length"])
        found = merged(items, inputs["t"] * 1000, inputs["text"], return_dict=False)[0][:, -1]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("backbone", ["flux-kontext", "joyai"])
def test_stage_2_starts_with_branch_and_decoder_of_stage_1(backbone: str, tmp_path: Path):
    first, net = built(stage=1, backbone=backbone)
    perturb(net)
    first.save(net, tmp_path / "one")
    recipe, second = built(backbone=backbone)
    assert recipe.begin(second, tmp_path / "one") == ["branch", "decoder"]
    for name, value in net.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    inputs = inputs_of(recipe, batch_of(recipe, tmp_path / "set"))
    assert torch.equal(net.depth(inputs)[0], second.depth(inputs)[0])


def test_a_folder_that_does_not_fit_is_an_error_that_names_the_differences(tmp_path: Path):
    recipe, net = built(stage=1)
    recipe.save(net, tmp_path / "one")
    two, second = built()
    with pytest.raises(BadInput, match="saved with another configuration: stage is 1, here 2"):
        two.load(second, tmp_path / "one")
    two.save(second, tmp_path / "two")
    wide, net = built(stage=1, width=48)
    with pytest.raises(BadInput, match="width is 32, here 48"):
        wide.load(net, tmp_path / "one")
    other, net = built(backbone="joyai")
    with pytest.raises(BadInput, match="backbone is flux-kontext, here joyai"):
        other.begin(net, tmp_path / "one")
    ranked, net = built(flux={"base": "tiny", "mllm": "tiny", "rank": 2})
    with pytest.raises(BadInput, match="lora"):
        ranked.load(net, tmp_path / "two")


def test_a_damaged_or_foreign_folder_is_an_error(tmp_path: Path):
    recipe, net = built(stage=1)
    with pytest.raises(BadInput, match=r"not a result folder of recipe spatialfusion: spatialfusion.json"):
        recipe.load(net, tmp_path)
    recipe.save(net, tmp_path / "one")
    (tmp_path / "one" / "decoder.safetensors").write_bytes(b"")
    with pytest.raises(BadInput, match=r"decoder.safetensors cannot be read .*: give the result folder"):
        recipe.load(net, tmp_path / "one")
    (tmp_path / "one" / "decoder.safetensors").write_bytes((tmp_path / "one" / "branch.safetensors").read_bytes())
    with pytest.raises(BadInput, match=r"decoder.safetensors does not fit the decoder of this configuration"):
        recipe.load(net, tmp_path / "one")
    path = tmp_path / "one" / "spatialfusion.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "recipe": "spatialdiff"}))
    with pytest.raises(BadInput, match="recipe 'spatialdiff'"):
        recipe.load(net, tmp_path / "one")
