"""Saved weights: they load in the library, are restored bit for bit, and give an error where they do not fit."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.training.spatialdiff.files import read_options
from spatialdata_builder.training.spatialdiff.tiny import tiny_base
from tests.training.spatialdiff.factory import batch_of, built, inputs_of, perturb


def test_lora_loads_elsewhere_with_equal_output(tmp_path: Path):
    recipe, net = built(ablation="lora_only", lora={"rank": 4, "alpha": 8})
    inputs = inputs_of(recipe, batch_of(recipe, tmp_path / "set"))
    del inputs["velocity"]
    with torch.no_grad():
        untrained = net(inputs)["velocity"]
        perturb(net)
        trained = net(inputs)["velocity"]
    recipe.save(net, tmp_path / "out")
    pipeline = tiny_base()
    pipeline.load_lora_weights(tmp_path / "out")
    with torch.no_grad():
        loaded = pipeline.transformer(
            hidden_states=torch.cat([inputs["noisy"], inputs["source"]], 1),
            timestep=inputs["sigma"],
            guidance=inputs["guidance"],
            pooled_projections=inputs["pooled"],
            encoder_hidden_states=inputs["text"],
            txt_ids=inputs["text_ids"],
            img_ids=inputs["image_ids"],
        ).sample[:, :4]
    torch.testing.assert_close(loaded, trained, atol=1e-6, rtol=0)
    assert (trained - untrained).abs().max() > 1e-2
    (adapter,) = pipeline.transformer.peft_config.values()
    assert (adapter.r, adapter.lora_alpha) == (4, 8)


@pytest.mark.parametrize(
    ("changes", "files"),
    [
        ({"stage": 1}, {"connector.safetensors"}),
        ({"ablation": "lora_only"}, {"pytorch_lora_weights.safetensors"}),
        ({"ablation": "ism"}, {"pytorch_lora_weights.safetensors", "connector.safetensors"}),
        ({}, {"pytorch_lora_weights.safetensors", "connector.safetensors", "head.safetensors"}),
    ],
)
def test_saved_weights_are_restored_bit_for_bit(tmp_path: Path, changes: dict, files: set):
    recipe, net = built(**changes)
    perturb(net)
    recipe.save(net, tmp_path / "out")
    recipe.save(net, tmp_path / "again")
    assert {path.name for path in (tmp_path / "out").iterdir()} == files | {"spatialdiff.json"}
    for path in (tmp_path / "out").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name
    other, fresh = built(**changes)
    other.load(fresh, tmp_path / "out")
    expected = net.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in fresh.state_dict().items())
    assert read_options(tmp_path / "out") == recipe.options


def test_stage_2_starts_with_the_connector_of_stage_1(tmp_path: Path):
    first, net = built(stage=1)
    perturb(net)
    first.save(net, tmp_path / "one")
    recipe, second = built()
    assert recipe.begin(second, tmp_path / "one") == ("connector",)
    for name, value in second.connector.state_dict().items():
        assert torch.equal(value, net.connector.state_dict()[name])
    assert not torch.equal(built()[1].connector.queries, second.connector.queries)


def test_a_folder_that_does_not_fit_is_an_error_that_names_the_differences(tmp_path: Path):
    recipe, net = built()
    recipe.save(net, tmp_path / "out")
    other, fresh = built(ablation="ism", lora={"rank": 8})
    with pytest.raises(BadInput, match=r"ablation is latent_depth, here ism; lora is .*16.*, here .*8"):
        other.load(fresh, tmp_path / "out")
    with pytest.raises(BadInput, match=r"spatialdiff\.json cannot be read"):
        recipe.load(net, tmp_path / "nothing")
    (tmp_path / "out/head.safetensors").unlink()
    with pytest.raises(BadInput, match=r"head\.safetensors cannot be read"):
        recipe.load(net, tmp_path / "out")
    (tmp_path / "out/spatialdiff.json").write_text(json.dumps({"recipe": "ildm", "format": 1}))
    with pytest.raises(BadInput, match="was written by recipe 'ildm'"):
        recipe.load(net, tmp_path / "out")


def test_a_new_run_takes_what_it_shares_with_another_of_any_stage_or_a_lora_file(tmp_path: Path):
    recipe, net = built()
    perturb(net)
    recipe.save(net, tmp_path / "full")
    other, fresh = built(ablation="ism", depth_weight=0.5)
    assert other.begin(fresh, tmp_path / "full") == ("connector", "lora")
    trained = {name: value for name, value in net.state_dict().items() if not name.startswith("head.")}
    assert all(torch.equal(value, trained[name]) for name, value in fresh.state_dict().items())
    lora_only, fresh = built(ablation="lora_only")
    assert lora_only.begin(fresh, tmp_path / "full" / "pytorch_lora_weights.safetensors") == ("lora",)
    assert all(torch.equal(value, trained[name]) for name, value in fresh.state_dict().items())
    stage_1, fresh = built(stage=1)
    with pytest.raises(BadInput, match=r"stage 1 trains only the connector: set recipe\.stage to 2"):
        stage_1.begin(fresh, tmp_path / "full" / "pytorch_lora_weights.safetensors")
    stage_1.save(fresh, tmp_path / "one")
    with pytest.raises(BadInput, match=r"holds nothing that this run trains \(lora\)"):
        lora_only.begin(built(ablation="lora_only")[1], tmp_path / "one")
    scaled, fresh = built(ablation="lora_only", lora={"rank": 16, "alpha": 4})
    for source in (tmp_path / "full", tmp_path / "full" / "pytorch_lora_weights.safetensors"):
        with pytest.raises(BadInput, match=r"was saved with alpha 16, here 4: set recipe\.lora\.alpha to it"):
            scaled.begin(fresh, source)
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    with pytest.raises(BadInput, match=r"bad\.safetensors is no LoRA of this transformer"):
        lora_only.begin(built(ablation="lora_only")[1], tmp_path / "bad.safetensors")


def test_a_connector_of_another_shape_is_an_error(tmp_path: Path):
    recipe, net = built(stage=1)
    recipe.save(net, tmp_path / "one")
    wider, other = built(width=64)
    with pytest.raises(BadInput, match="does not fit the connector of this configuration") as caught:
        wider.begin(other, tmp_path / "one")
    assert "\n" not in str(caught.value)


def test_target_modules_are_sorted_in_the_file(tmp_path: Path):
    recipe, net = built(ablation="lora_only")
    recipe.save(net, tmp_path)
    with safe_open(tmp_path / "pytorch_lora_weights.safetensors", "pt") as opened:
        metadata = json.loads(opened.metadata()["lora_adapter_metadata"])
        names = list(opened.keys())
    targets = metadata["transformer.target_modules"]
    assert targets == sorted(targets)
    assert len(targets) == 8
    assert all(name.startswith("transformer.") for name in names)
