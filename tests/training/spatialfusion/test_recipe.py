"""Stages, the inputs of a step, text dropout, times, and overfitting eight samples."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from spatialdata_builder.shards import stream
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.training.config import load_config
from spatialdata_builder.training.flow import resolution_shift, shifted
from spatialdata_builder.training.recipe import StepRng
from spatialdata_builder.training.spatialfusion.depth import depth_metrics
from spatialdata_builder.training.spatialfusion.options import SpatialFusionOptions
from spatialdata_builder.training.spatialfusion.recipe import SpatialFusion
from tests.training.spatialfusion.factory import CPU, KEYS, SIDE, batch_of, built, inputs_of, pack, perturb, tiny

BACKBONES = ("flux-kontext", "joyai")
ROOT = Path(__file__).parents[3]


def parts(net: torch.nn.Module) -> set[str]:
    names = {name for name, value in net.named_parameters() if value.requires_grad}
    return {"lora" if "lora_" in name else name.split(".")[0] for name in names}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_stage_1_trains_branch_and_decoder_and_stage_2_adapter_and_lora_too(backbone: str, tmp_path: Path):
    for stage, expected in ((1, {"branch", "decoder"}), (2, {"branch", "decoder", "adapter", "lora"})):
        recipe, net = built(stage=stage, backbone=backbone)
        assert parts(net) == expected
        assert (recipe.frozen.editor is None) == (net.backbone is None) == (stage == 1)
        losses = net(inputs_of(recipe, batch_of(recipe, tmp_path / "set")))
        assert set(losses) == {"loss", "depth"} | ({"flow"} if stage == 2 else set())
        assert all(value.shape == (2,) and value.dtype == torch.float32 for value in losses.values())
        losses["loss"].sum().backward()
        without = [name for name, value in net.named_parameters() if value.requires_grad and value.grad is None]
        assert not without, "a parameter without a gradient stops distributed training"
        assert all(value.grad is None for value in net.parameters() if not value.requires_grad)


def test_stage_1_loads_no_editing_model(tmp_path: Path):
    """Neither of the two models exists, but the MLLM does."""
    pipeline = built(stage=1)[0].frozen.mllm._pipeline
    pipeline.text_encoder.save_pretrained(tmp_path / "qwen")
    pipeline.tokenizer.save_pretrained(tmp_path / "qwen")
    pipeline.processor.image_processor.save_pretrained(tmp_path / "qwen")
    flux = {"base": "./nowhere", "mllm": str(tmp_path / "qwen")}
    recipe, _ = built(stage=1, flux=flux)
    assert recipe.frozen.mllm._pipeline.vae is None
    with pytest.raises(BadInput, match=r"weights folder ./nowhere does not exist"):
        built(stage=2, flux=flux)


def test_the_loss_of_stage_2_is_flow_and_weighted_depth(tmp_path: Path):
    recipe, net = built(depth_weight=0.25)
    losses = net(inputs_of(recipe, batch_of(recipe, tmp_path / "set")))
    torch.testing.assert_close(losses["loss"], losses["flow"] + 0.25 * losses["depth"])


def test_the_flow_loss_trains_the_branch_through_the_predicted_depth(tmp_path: Path):
    recipe, net = built(depth_weight=0)
    inputs = inputs_of(recipe, batch_of(recipe, tmp_path / "set"))
    perturb(net.adapter)
    net(inputs)["loss"].sum().backward()
    assert net.branch.queries.grad.abs().sum() > 0
    net.zero_grad()
    other = {**inputs, "teacher": 2 * inputs["teacher"]}
    torch.testing.assert_close(net(other)["flow"], net(inputs)["flow"])


def test_teacher_depth_and_texts_reach_the_inputs(tmp_path: Path):
    recipe, _ = built(stage=1, text="caption", teacher="any")
    batch = batch_of(recipe, tmp_path / "set")
    inputs = inputs_of(recipe, batch)
    np.testing.assert_array_equal(inputs["teacher"], batch["metric"])
    assert inputs["metric"].tolist() == [True, True]
    for row, caption in enumerate(batch["caption"]):
        context = recipe.frozen.mllm.read(batch["source"][row], caption)
        length = int(inputs["mllm_length"][row])
        assert torch.equal(inputs["mllm_keys"][row, :, :, :length], context.keys)
        assert torch.equal(inputs["mllm_values"][row, :, :, :length], context.values)
        assert inputs["mllm_start"][row] == context.start
    instructed = built(stage=1)[0]
    assert not torch.equal(inputs_of(instructed, batch)["mllm_length"], inputs["mllm_length"])


def test_depth_depends_on_source_and_text(tmp_path: Path):
    recipe, net = built(stage=1)
    perturb(net)
    batch = batch_of(recipe, tmp_path / "set")
    depth = net.depth(inputs_of(recipe, batch))[0]
    for changed in ({"source": 255 - batch["source"]}, {"instruction": ["Turn it.", "Turn it."]}):
        assert not torch.equal(net.depth(inputs_of(recipe, {**batch, **changed}))[0], depth)
    same = {**batch, "target": 255 - batch["target"], "metric": 2 * batch["metric"]}
    assert torch.equal(net.depth(inputs_of(recipe, same))[0], depth)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_dropped_texts_are_dropped_for_the_editing_model_only(backbone: str, tmp_path: Path):
    recipe, _ = built(backbone=backbone, text_drop=0.5)
    batch = batch_of(recipe, tmp_path / "set", 8)
    rng = StepRng(0, 3, tuple(batch["key"]))
    dropped = rng.dropped(0.5)
    assert 0 < sum(dropped) < 8
    inputs = recipe.prepare(batch, rng)
    full = built(backbone=backbone, text_drop=0.0)[0].prepare(batch, rng)
    empty = built(backbone=backbone, text_drop=1.0)[0].prepare(batch, rng)
    assert torch.equal(inputs["mllm_keys"], full["mllm_keys"])
    for row, drop in enumerate(dropped):
        like = (empty if drop else full)["text"][row]
        assert torch.equal(inputs["text"][row, : len(like)], like)
        assert not torch.equal(full["text"][row, : len(empty["text"][row])], empty["text"][row])


def test_times_follow_the_options_of_the_backbone(tmp_path: Path):
    recipe, _ = built()
    batch = batch_of(recipe, tmp_path / "set", 4)
    rng = StepRng(0, 1, tuple(batch["key"]))
    expected = shifted(rng.uniform("time"), resolution_shift(4))
    torch.testing.assert_close(recipe.prepare(batch, rng)["sigma"], expected)
    normal = shifted(rng.normal((), "time").sigmoid(), 1.5)
    torch.testing.assert_close(built(backbone="joyai")[0].prepare(batch, rng)["t"], normal)
    flux = {**tiny().flux.model_dump(), "times": "logit_normal", "time_shift": 1.0}
    torch.testing.assert_close(built(flux=flux)[0].prepare(batch, rng)["sigma"], rng.normal((), "time").sigmoid())


def test_it_streams_from_shards_of_full_as_well(tmp_path: Path):
    recipe, net = built(stage=1)
    pack(tmp_path / "full", "full")
    batch = batch_of(recipe, tmp_path / "full", 8)
    assert sorted(batch["key"]) == KEYS
    assert net(inputs_of(recipe, batch))["loss"].isfinite().all()


def test_a_build_is_equal_in_every_process():
    torch.manual_seed(1)
    first = built()[1].state_dict()
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert drawn == torch.rand(1)
    second = built()[1].state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("backbone", BACKBONES)
def test_with_bfloat16_trainable_parts_stay_float32(backbone: str, tmp_path: Path):
    recipe = SpatialFusion(tiny(backbone=backbone))
    net = recipe.build(CPU, torch.bfloat16)
    assert {value.dtype for value in net.parameters() if value.requires_grad} == {torch.float32}
    inputs = inputs_of(recipe, batch_of(recipe, tmp_path / "set"))
    assert inputs["mllm_keys"].dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        losses = net(inputs)
    losses["loss"].sum().backward()
    assert all(value.dtype == torch.float32 and value.isfinite().all() for value in losses.values())


def test_stage_1_learns_depth_in_meters_from_the_text(tmp_path: Path):
    """Eight samples with one source: the text alone says whether the target is near or far."""
    recipe, net = built(stage=1)
    stored = batch_of(recipe, tmp_path / "set", 8)
    near = np.arange(8) % 2 == 0
    batch = {
        **stored,
        "source": np.repeat(stored["source"][:1], 8, 0),
        "metric": stored["metric"] * np.where(near, 0.6, 1.6).astype(np.float32)[:, None, None],
        "instruction": ["Bring the boxes near to the camera." if one else "Push them far away." for one in near],
    }
    inputs = inputs_of(recipe, batch)
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 120)
    losses = []
    for _ in range(120):
        loss = net(inputs)["loss"].mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        losses.append(loss.item())
    assert losses[-1] < 0.25 * losses[0]
    depth = net.depth(inputs)[0].detach().numpy()
    assert depth[~near].mean() / depth[near].mean() == pytest.approx(1.6 / 0.6, rel=0.2)
    found = recipe.validation_metrics(net, batch, 0)
    expected = depth_metrics(depth, batch["metric"], batch["metric"] > 0)
    assert set(found) == {"abs_rel", "delta1"}
    for name, value in found.items():
        assert value.shape == (8,)
        np.testing.assert_allclose(value, expected[name], rtol=1e-5)
    assert found["abs_rel"].mean() < 0.15
    assert found["delta1"].mean() > 0.8


def test_metrics_of_depth_without_a_unit_ignore_the_scale(tmp_path: Path):
    vggt = {"estimator": "facebook/VGGT-1B", "unit": ""}
    recipe, net = built(stage=1, teacher="vggt")
    batch = batch_of(recipe, tmp_path / "set", 2, metric=vggt)
    found = recipe.validation_metrics(net, batch, 0)
    doubled = recipe.validation_metrics(net, {**batch, "metric": 2 * batch["metric"]}, 0)
    np.testing.assert_allclose(found["abs_rel"], doubled["abs_rel"], rtol=1e-5)
    assert found["abs_rel"].max() < 0.4


def test_pictures_of_a_batch(tmp_path: Path):
    for stage, names in ((1, {"depth", "teacher"}), (2, {"prediction", "depth", "teacher"})):
        for backbone in BACKBONES:
            recipe, net = built(stage=stage, backbone=backbone)
            shown = recipe.sample(net, batch_of(recipe, tmp_path / "set"), 0)
            assert set(shown) == names
            assert all(value.shape == (2, SIDE, SIDE, 3) and value.dtype == np.uint8 for value in shown.values())


def test_bad_samples_are_named(tmp_path: Path):
    recipe, _ = built(stage=1)
    batch = dict(batch_of(recipe, tmp_path / "set"))
    key = batch["key"][1]
    with pytest.raises(BadInput, match=f"sample {key} has no instruction: .* set recipe.text to caption"):
        inputs_of(recipe, batch | {"instruction": ["Move it.", " "]})
    small = {name: batch[name][:, :16, :16] for name in ("source", "target", "metric")}
    with pytest.raises(BadInput, match="images are 16 x 16"):
        inputs_of(recipe, batch | small)
    pack(tmp_path / "captionless", caption="")
    captions, _ = built(stage=1, text="caption")
    other = next(stream(str(tmp_path / "captionless"), "full", **captions.stream_options).batches(1))
    with pytest.raises(BadInput, match=f"sample {other['key'][0]} has no caption: .* set recipe.text to instruction"):
        inputs_of(captions, other)
    pack(tmp_path / "vggt", metric={"estimator": "VGGT-1B", "unit": ""})
    other = batch_of(recipe, tmp_path / "vggt", 1)
    with pytest.raises(BadInput, match=r"sample sample-0 .*estimator VGGT-1B\), but recipe.teacher is exact"):
        inputs_of(recipe, other)


def test_contradicting_options_are_an_error():
    for wrong, message in (
        ({"width": 500}, "multiple of 16"),
        ({"teacher": "moge"}, "exact"),
        ({"backbone": "flux"}, "flux-kontext"),
        ({"decoder": {"features": 3}}, "multiple of 2"),
    ):
        with pytest.raises(ValidationError, match=message):
            SpatialFusionOptions.model_validate(wrong)


def test_defaults_and_example():
    example = load_config(SpatialFusion, ROOT / "examples/train/spatialfusion.yaml")
    options = SpatialFusionOptions.model_validate(example.recipe)
    assert options == SpatialFusionOptions()
    assert (options.stage, options.backbone, options.teacher, options.text_drop) == (2, "flux-kontext", "exact", 0.1)
    assert (options.flux.times, options.joyai.times, options.joyai.time_shift) == ("uniform", "logit_normal", 1.5)
    assert options.flux.time_shift == "resolution"
    preset = load_config(SpatialFusion, preset="tiny")
    assert SpatialFusionOptions.model_validate(preset.recipe).tiny
