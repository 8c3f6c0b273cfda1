"""Stages, ablations, the inputs of a step, and overfitting eight samples."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.training.config import load_config
from spatialdata_builder.training.flow import draw_times, resolution_shift
from spatialdata_builder.training.recipe import StepRng
from spatialdata_builder.training.spatialdiff.options import SpatialDiffOptions
from spatialdata_builder.training.spatialdiff.recipe import SpatialDiff
from tests.training.spatialdiff.factory import batch_of, built, inputs_of, tiny

EIGHT = {"to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"}


def training(net) -> set[str]:
    return {name for name, value in net.named_parameters() if value.requires_grad}


def parts(names: set[str]) -> set[str]:
    return {"lora" if "lora_" in name else name.split(".")[0] for name in names}


@pytest.mark.parametrize(
    ("stage", "ablation", "expected", "members"),
    [
        (1, "latent_depth", {"connector"}, {"source", "target"}),
        (1, "ism", {"connector"}, {"source", "target"}),
        (2, "lora_only", {"lora"}, {"source", "target"}),
        (2, "ism", {"lora", "connector"}, {"source", "target"}),
        (2, "explicit_depth", {"lora", "connector", "head"}, {"source", "target", "depth"}),
        (2, "latent_depth", {"lora", "connector", "head"}, {"source", "target", "depth"}),
    ],
)
def test_stage_and_ablation_determine_what_trains(
    tmp_path: Path, stage: int, ablation: str, expected: set, members: set
):
    recipe, net = built(stage=stage, ablation=ablation)
    assert parts(training(net)) == expected
    assert set(recipe.stream_options["members"]) == members
    inputs = inputs_of(recipe, batch_of(recipe, tmp_path / "set"))
    losses = net(inputs)
    assert set(losses) == {"loss", "flow"} | ({"depth"} if "head" in expected else set())
    assert ("geometry" in inputs) == ("connector" in expected)
    assert len(inputs["image_ids"]) == 4 * (3 if "connector" in expected else 2)
    losses["loss"].mean().backward()
    without = {name for name, value in net.named_parameters() if value.requires_grad and value.grad is None}
    assert not without, "a parameter without a gradient stops distributed training"
    assert all(value.grad is None for value in net.parameters() if not value.requires_grad)


def test_lora_is_on_the_eight_projections_of_all_attentions():
    _, net = built(ablation="lora_only")
    found = {name.partition(".attn.")[2].split(".lora_A")[0] for name in training(net) if "lora_A" in name}
    assert found == EIGHT
    # 8 per dual-stream block; q, k, v per single-stream block.
    assert sum("lora_A" in name for name in training(net)) == 8 + 3


def test_ablations_change_only_their_own_parts(tmp_path: Path):
    made = {}
    for ablation in ("lora_only", "ism", "explicit_depth", "latent_depth"):
        recipe, net = built(ablation=ablation)
        made[ablation] = (net, inputs_of(recipe, batch_of(recipe, tmp_path / "set")))
    (_, first), (full, last) = made["lora_only"], made["latent_depth"]
    for name in ("noisy", "velocity", "sigma", "source", "text", "pooled", "guidance"):
        assert torch.equal(first[name], last[name]), name
    assert torch.equal(first["image_ids"], last["image_ids"][:8])
    with torch.no_grad():
        flows = {name: net(inputs)["flow"] for name, (net, inputs) in made.items()}
    assert torch.equal(flows["ism"], flows["explicit_depth"])
    assert torch.equal(flows["ism"], flows["latent_depth"])
    assert not torch.equal(flows["ism"], flows["lora_only"])
    assert (made["explicit_depth"][0].head.out.out_features, full.head.out.out_features) == (256, 16)


def test_the_inputs_of_a_step_follow_the_formulas(tmp_path: Path):
    recipe, _ = built(time_shift=2.0)
    batch = batch_of(recipe, tmp_path / "set")
    inputs = inputs_of(recipe, batch, step=3)
    rng = StepRng(0, 3, tuple(batch["key"]))
    noise = rng.normal((4, 16))
    t = rng.uniform("time")
    t = 2 * t / (1 + t)
    x = recipe.frozen.latents(batch["target"])
    torch.testing.assert_close(inputs["sigma"], t)
    torch.testing.assert_close(inputs["noisy"], (1 - t)[:, None, None] * x + t[:, None, None] * noise)
    torch.testing.assert_close(inputs["velocity"], noise - x)
    assert torch.equal(inputs["source"], recipe.frozen.latents(batch["source"]))
    assert torch.equal(inputs["depth"], recipe.frozen.encode(("depth", batch["depth"]))[0])
    assert torch.equal(inputs["guidance"], torch.ones(2))
    assert inputs["geometry"].shape == (2, 5 + 16, 64)
    assert not any(value.requires_grad for value in inputs.values())


def test_times_are_uniform_on_flux_s_schedule_for_the_number_of_tokens(tmp_path: Path):
    """UNO's law: t = time_shift(mu, 1, u) = e^mu / (e^mu + 1 / u - 1), with mu = 0.63 at 1024 tokens."""
    mu = 0.5 + (1.15 - 0.5) * (1024 - 256) / (4096 - 256)
    assert mu == pytest.approx(0.63)
    assert resolution_shift(1024) == pytest.approx(math.exp(mu))
    rng = StepRng(0, 0, tuple(map(str, range(4000))))
    t = draw_times(rng, "uniform", shift=resolution_shift(1024))
    u = rng.uniform("time")
    torch.testing.assert_close(t, math.exp(mu) / (math.exp(mu) + 1 / u - 1))
    assert (t > 0.9).float().mean().item() == pytest.approx(0.173, abs=0.02)
    recipe, _ = built()
    batch = batch_of(recipe, tmp_path / "set")
    tokens = recipe.frozen.latents(batch["target"]).shape[1]
    expected = draw_times(StepRng(0, 0, tuple(batch["key"])), "uniform", shift=resolution_shift(tokens))
    assert torch.equal(inputs_of(recipe, batch)["sigma"], expected)


def test_dropped_instructions_are_those_of_the_empty_text(tmp_path: Path):
    recipe, _ = built(text_drop=0.5)
    batch = batch_of(recipe, tmp_path / "set", 8)
    dropped = StepRng(0, 0, tuple(batch["key"])).dropped(0.5)
    assert 0 < sum(dropped) < 8
    text, pooled = recipe.frozen.texts(
        ["" if drop else text for drop, text in zip(dropped, batch["instruction"], strict=True)]
    )
    inputs = inputs_of(recipe, batch)
    assert torch.equal(inputs["text"], text)
    assert torch.equal(inputs["pooled"], pooled)


def test_lora_can_also_adapt_the_output_of_single_stream_blocks(tmp_path: Path):
    _, net = built(ablation="lora_only", lora={"rank": 2, "alpha": 2, "proj_out": True})
    found = {name.split(".lora_A")[0] for name in training(net) if "lora_A" in name and ".attn." not in name}
    assert found == {"transformer.single_transformer_blocks.0.proj_out"}


def test_a_sample_s_inputs_do_not_depend_on_its_batch(tmp_path: Path):
    recipe, _ = built()
    batch = batch_of(recipe, tmp_path / "set", 3)
    alone = {name: value[1:2] for name, value in batch.items()}
    together, single = inputs_of(recipe, batch), inputs_of(recipe, alone)
    for name in set(together) - {"image_ids", "text_ids", "geometry", "grid"}:
        assert torch.equal(together[name][1:2], single[name]), name
    torch.testing.assert_close(together["geometry"][1:2], single["geometry"])


def test_geometry_depends_only_on_the_source(tmp_path: Path):
    recipe, _ = built()
    batch = dict(batch_of(recipe, tmp_path / "set"))
    before = inputs_of(recipe, batch)["geometry"]
    assert torch.equal(inputs_of(recipe, batch | {"target": 255 - batch["target"]})["geometry"], before)
    assert not torch.equal(inputs_of(recipe, batch | {"source": 255 - batch["source"]})["geometry"], before)


def test_a_build_is_equal_in_every_process_and_restores_the_generator():
    torch.manual_seed(1)
    first = built()[1].state_dict()
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert drawn == torch.rand(1)
    second = built()[1].state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_with_bfloat16_trainable_parts_stay_float32(tmp_path: Path):
    recipe = SpatialDiff(tiny())
    net = recipe.build(torch.device("cpu"), torch.bfloat16)
    assert {value.dtype for value in net.parameters() if value.requires_grad} == {torch.float32}
    assert {value.dtype for value in net.transformer.parameters() if not value.requires_grad} == {torch.bfloat16}
    inputs = inputs_of(recipe, batch_of(recipe, tmp_path / "set"))
    with torch.autocast("cpu", torch.bfloat16):
        losses = net(inputs)
    losses["loss"].mean().backward()
    assert losses["loss"].dtype == torch.float32
    assert torch.isfinite(losses["loss"]).all()


def test_training_overfits_eight_samples(tmp_path: Path):
    recipe, net = built()
    inputs = inputs_of(recipe, batch_of(recipe, tmp_path / "set", 8))
    training = [value for value in net.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(training, 1e-2)
    losses = []
    for _ in range(240):
        loss = {name: value.mean() for name, value in net(inputs).items()}
        loss["loss"].backward()
        torch.nn.utils.clip_grad_norm_(training, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append({name: value.item() for name, value in loss.items()})
    assert losses[-1]["loss"] < 0.2 * losses[0]["loss"]
    assert losses[-1]["depth"] < 0.2 * losses[0]["depth"]


def test_bad_samples_and_options_are_named(tmp_path: Path):
    recipe, _ = built()
    batch = dict(batch_of(recipe, tmp_path / "set"))
    key = batch["key"][1]
    with pytest.raises(BadInput, match=f"sample {key} has no instruction"):
        inputs_of(recipe, batch | {"instruction": ["Move it.", " "]})
    small = {name: batch[name][:, :16, :16] for name in ("source", "target", "depth")}
    with pytest.raises(BadInput, match="images are 16 x 16"):
        inputs_of(recipe, batch | small)
    with pytest.raises(BadInput, match=r"recipe.connector.heads must divide the transformer's width 64 \(got 3\)"):
        built(connector={"heads": 3})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"stage": 1, "ablation": "lora_only"}, "stage 1 trains the connector, but ablation lora_only has none"),
        ({"width": 500}, "multiple of 16"),
        ({"geometry": {"side": 512}}, "multiple of 14"),
    ],
)
def test_contradicting_options_are_an_error(wrong: dict, message: str):
    with pytest.raises(ValidationError, match=message):
        SpatialDiffOptions.model_validate(wrong)


def test_defaults_and_example_are_those_of_the_paper():
    example = Path(__file__).parents[3] / "examples/train/spatialdiff.yaml"
    config = load_config(SpatialDiff, example)
    assert (config.steps, config.batch_size, config.lr, config.precision) == (3000, 4, 1e-4, "bf16")
    assert config == load_config(SpatialDiff)
    options = SpatialDiffOptions.model_validate(config.recipe)
    assert (options.stage, options.ablation, options.depth_weight, options.lora.rank) == (2, "latent_depth", 0.01, 64)
    assert (options.width, options.height, options.connector.layers, options.connector.heads) == (512, 512, 8, 1)
    # The paper trains with UNO's code: time steps, text dropout and warmup are its values.
    assert (config.warmup, options.text_drop, options.times, options.time_shift) == (100, 0.1, "uniform", "resolution")
    tiny = SpatialDiffOptions.model_validate(load_config(SpatialDiff, preset="tiny").recipe)
    assert (tiny.base, tiny.geometry.model) == ("tiny", "tiny")
    assert np.isclose(options.geometry.side / 14, 37)
