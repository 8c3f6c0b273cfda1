"""The networks: what the branch attends to, what the adapter changes, and the loss, recomputed independently."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLTextConfig
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLTextModel, apply_rotary_pos_emb

from spatialdata_builder.training.spatialfusion.nets import (
    DepthAdapter,
    DepthDecoder,
    SpatialBranch,
    depth_loss,
    median_ratio,
    tapped_layers,
)
from tests.training.spatialfusion.factory import SIDE, batch_of, built, inputs_of, perturb

TOKENS = (SIDE // 16) ** 2


def language_model(layers: int = 3) -> Qwen3VLTextModel:
    torch.manual_seed(0)
    config = Qwen3VLTextConfig(
        vocab_size=20,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": 1e4,
            "mrope_section": [4, 2, 2],
            "mrope_interleaved": True,
        },
    )
    return Qwen3VLTextModel(config).eval().requires_grad_(False)


def cached(model: Qwen3VLTextModel, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    layers = model(input_ids=ids, use_cache=True).past_key_values.layers
    return torch.stack([each.keys for each in layers], 1), torch.stack([each.values for each in layers], 1)


def own_branch(branch: SpatialBranch, keys: torch.Tensor, values: torch.Tensor, start: int) -> torch.Tensor:
    """The branch written out for one sample, without padding."""
    hidden = branch.queries[None]
    rows = torch.arange(len(branch.queries)) // 2
    columns = torch.arange(len(branch.queries)) % 2
    cos, sin = branch.rotary(hidden, torch.stack([torch.zeros_like(rows), rows, columns])[:, None] + start)
    for index, layer in enumerate(branch.layers):
        normed, attention = layer.input_layernorm(hidden), layer.self_attn
        q = attention.q_norm(attention.q_proj(normed).unflatten(-1, (4, 16))).transpose(1, 2)
        k = attention.k_norm(attention.k_proj(normed).unflatten(-1, (2, 16))).transpose(1, 2)
        v = attention.v_proj(normed).unflatten(-1, (2, 16)).transpose(1, 2)
        q, k = apply_rotary_pos_emb(q, k, cos, sin)
        k = torch.cat([keys[:, index], k], 2).repeat_interleave(2, 1)
        v = torch.cat([values[:, index], v], 2).repeat_interleave(2, 1)
        weights = (q @ k.transpose(-1, -2) / 4).softmax(-1)
        hidden = hidden + attention.o_proj((weights @ v).transpose(1, 2).flatten(2))
        hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
    return hidden


def test_queries_attend_to_the_models_tokens_and_to_each_other_in_both_directions():
    model = language_model()
    branch = SpatialBranch(model, 3, 2)
    first, second = torch.tensor([[1, 2, 3, 4, 5]]), torch.tensor([[7, 8]])
    expected = [own_branch(branch, *cached(model, ids), start) for ids, start in ((first, 5), (second, 2))]
    keys, values = (
        torch.stack([long[0], torch.nn.functional.pad(short[0], (0, 0, 0, 3), value=9.0)])
        for long, short in zip(cached(model, first), cached(model, second), strict=True)
    )
    found = branch(keys, values, torch.tensor([5, 2]), torch.tensor([5, 2]))
    torch.testing.assert_close(found[-1], torch.cat(expected), atol=1e-5, rtol=1e-5)
    assert [each.shape for each in found] == [(2, 6, 24)] * 4


def test_the_branch_starts_from_the_models_weights_and_trains_copies_in_float32():
    model = language_model().to(torch.bfloat16)
    before = copy.deepcopy(model.state_dict())
    branch = SpatialBranch(model, 2, 2)
    for layer, original in zip(branch.layers, model.layers, strict=True):
        for name, value in layer.state_dict().items():
            assert value.dtype == torch.float32
            assert torch.equal(value, original.state_dict()[name].float())
    assert all(value.requires_grad for value in branch.parameters())
    keys, values = cached(model, torch.tensor([[1, 2, 3]]))
    length = torch.tensor([3])
    branch(keys.float(), values.float(), length, length)[-1].sum().backward()
    torch.optim.SGD(branch.parameters(), 1.0).step()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_checkpointed_gradients_equal_stored_ones():
    model = language_model()
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(1)
        branch = SpatialBranch(model, 2, 2).train()
        if checkpointing:
            branch.enable_gradient_checkpointing()
        keys, values = cached(model, torch.tensor([[1, 2, 3]]))
        length = torch.tensor([3])
        sum(each.square().sum() for each in branch(keys, values, length, length)).backward()
        gradients.append([value.grad for value in branch.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


def test_the_decoder_reads_four_layers_evenly_spaced_with_the_last():
    assert tapped_layers(36) == (8, 17, 26, 35)
    assert tapped_layers(2) == (0, 0, 1, 1)
    assert tapped_layers(5)[-1] == 4


def test_depth_is_positive_and_confidence_above_1_at_the_size_of_the_image():
    torch.manual_seed(0)
    decoder = DepthDecoder(24, 3, 5, 8, (4, 6, 8, 10))
    layers = [(torch.randn(2, 15, 24) * 30).requires_grad_() for _ in range(4)]
    with torch.autocast("cpu", torch.bfloat16):
        depth, confidence = decoder([layer.to(torch.bfloat16) for layer in layers])
    assert depth.shape == confidence.shape == (2, 48, 80)
    assert depth.dtype == confidence.dtype == torch.float32
    assert depth.min() > 0
    assert confidence.min() > 1
    (depth.sum() + confidence.sum()).backward()
    assert all(layer.grad.abs().sum() > 0 for layer in layers)
    assert all(value.grad is not None for value in decoder.parameters())


def test_the_adapter_adds_zero_before_training_and_sees_log_depth():
    torch.manual_seed(0)
    adapter = DepthAdapter(12)
    depth = 1 + torch.rand(2, 32, 48)
    assert adapter(depth).shape == (2, 6, 12)
    assert not adapter(depth).any()
    torch.nn.init.normal_(adapter.out.weight)
    expected = adapter.out(adapter.encoder(depth.log()[:, None]).flatten(2).transpose(1, 2))
    torch.testing.assert_close(adapter(depth), expected)
    changed = depth.clone()
    changed[:, 16:, 32:] = 5  # the last patch
    difference = (adapter(changed) - adapter(depth)).abs().sum((0, 2))
    assert difference[5] > 1e-3
    assert difference[0] < 1e-6


def own_loss(depth, confidence, teacher, metric: bool, alpha: float) -> float:
    """One sample, pixel by pixel."""
    known = np.isfinite(teacher) & (teacher > 0)
    if not known.any():
        return 0.0
    if not metric:
        mean = teacher[known].mean()
        depth = depth * np.median((teacher / depth)[known]) / mean
        teacher = teacher / mean
    height, width = depth.shape
    regression, logs, across, down = [], [], [], []
    for y in range(height):
        for x in range(width):
            if not known[y, x]:
                continue
            error = depth[y, x] - teacher[y, x]
            regression.append(confidence[y, x] * abs(error))
            logs.append(np.log(confidence[y, x]))
            if x + 1 < width and known[y, x + 1]:
                across.append(confidence[y, x] * abs(depth[y, x + 1] - teacher[y, x + 1] - error))
            if y + 1 < height and known[y + 1, x]:
                down.append(confidence[y, x] * abs(depth[y + 1, x] - teacher[y + 1, x] - error))
    return np.mean(regression) - alpha * np.mean(logs) + np.mean(across) + np.mean(down)


def test_the_depth_loss_is_vggts_over_known_pixels():
    generator = torch.Generator().manual_seed(3)
    depth = 1 + torch.rand((5, 6, 7), generator=generator, dtype=torch.float64)
    confidence = 1 + torch.rand((5, 6, 7), generator=generator, dtype=torch.float64)
    teacher = 2 * torch.rand((5, 6, 7), generator=generator, dtype=torch.float64)
    teacher[teacher < 0.4] = 0
    teacher[0, 3, 2:4] = torch.tensor([torch.nan, torch.inf])
    teacher[4] = 0
    metric = torch.tensor([True, False, True, False, True])
    found = depth_loss(depth, confidence, teacher, metric, 0.2)
    arrays = zip(depth.numpy(), confidence.numpy(), teacher.numpy(), metric.tolist(), strict=True)
    np.testing.assert_allclose(found, [own_loss(*each, 0.2) for each in arrays], rtol=1e-6)
    assert found[4] == 0


def test_depth_without_a_unit_supervises_shape_not_scale():
    teacher = 1 + torch.rand((1, 8, 9), generator=torch.Generator().manual_seed(1))
    ones = torch.ones_like(teacher)
    scale_free = torch.tensor([False])
    for scale in (0.1, 1.0, 30.0):
        assert depth_loss(scale * teacher, ones, teacher, scale_free, 0.2) < 1e-5
        assert median_ratio(scale * teacher, teacher, teacher > 0) == pytest.approx(1 / scale)
        torch.testing.assert_close(
            depth_loss(teacher.square(), ones, scale * teacher, scale_free, 0.2),
            depth_loss(teacher.square(), ones, teacher, scale_free, 0.2),
        )
    assert depth_loss(2 * teacher, ones, teacher, torch.tensor([True]), 0.2) > 1


def test_samples_without_known_depth_have_no_gradient():
    depth = torch.ones((2, 4, 4)).requires_grad_()
    teacher = torch.stack([torch.full((4, 4), 2.0), torch.zeros((4, 4))])
    depth_loss(depth, 1 + depth, teacher, torch.tensor([True, False]), 0.2).sum().backward()
    assert depth.grad[0].abs().sum() > 0
    assert not depth.grad[1].any()
    assert depth.grad.isfinite().all()


@pytest.mark.parametrize("backbone", ["flux-kontext", "joyai"])
def test_before_training_the_editing_model_is_unchanged_bit_for_bit(backbone: str, tmp_path: Path):
    recipe, net = built(backbone=backbone)
    batch = batch_of(recipe, tmp_path / "set")
    inputs = inputs_of(recipe, batch)
    with torch.no_grad():
        tokens = net.adapter(net.depth(inputs)[0])
        plain, conditioned = velocity(net, inputs), {}
        with net.backbone.conditioned(tokens):
            conditioned[0] = velocity(net, inputs)
        perturb(net.adapter)
        with net.backbone.conditioned(net.adapter(net.depth(inputs)[0])):
            conditioned[1] = velocity(net, inputs)
        after = velocity(net, inputs)
    assert torch.equal(conditioned[0], plain)
    assert not torch.equal(conditioned[1], plain)
    assert torch.equal(after, plain)


def velocity(net, inputs):
    """The editing model's output for the target."""
    inner = net.backbone.net
    if "noisy" in inputs:
        return inner({name: value for name, value in inputs.items() if name != "velocity"})["velocity"]
    items = torch.stack([inputs["source"], inputs["noise"]], 1)
    return inner.velocity(items, inputs["t"], inputs["text"], inputs["length"])


def test_depth_tokens_are_added_to_the_targets_tokens_only(tmp_path: Path):
    """In both models: the tokens that enter the first block, with and without the adapter."""
    for backbone, block in (("flux-kontext", "transformer_blocks"), ("joyai", "double_blocks")):
        recipe, net = built(backbone=backbone)
        inputs = inputs_of(recipe, batch_of(recipe, tmp_path / "set", 1))
        transformer = net.backbone.net.transformer
        transformer = transformer.get_base_model() if backbone == "joyai" else transformer
        seen = []

        def keep(_module, args, kwargs, seen=seen):
            seen.append(kwargs["hidden_states"] if "hidden_states" in kwargs else args[0])

        getattr(transformer, block)[0].register_forward_pre_hook(keep, with_kwargs=True)
        tokens = torch.randn(1, TOKENS, net.backbone.width)
        with torch.no_grad():
            net.backbone(inputs, torch.zeros_like(tokens))
            net.backbone(inputs, tokens)
        assert torch.equal(seen[1][:, TOKENS:], seen[0][:, TOKENS:])
        assert torch.equal(seen[1][:, :TOKENS], seen[0][:, :TOKENS] + tokens)


def test_each_sample_has_its_own_depth_tokens(tmp_path: Path):
    """JoyAI's network sees one sample at a time: a batch gives the losses of its samples."""
    for backbone in ("flux-kontext", "joyai"):
        recipe, net = built(backbone=backbone)
        perturb(net)
        batch = batch_of(recipe, tmp_path / "set", 3)
        batch = {**batch, "instruction": ["Move it.", "Turn the box around.", "Go"]}
        with torch.no_grad():
            together = net(inputs_of(recipe, batch))
            for row in range(3):
                one = slice(row, row + 1)
                alone = net(inputs_of(recipe, {name: value[one] for name, value in batch.items()}))
                for name, value in alone.items():
                    torch.testing.assert_close(together[name][one], value, rtol=1e-4, atol=1e-5)


def test_parameters_of_the_real_sizes():
    """Qwen3-VL-8B's text model, counted on the meta device; the numbers of docs/training.md."""
    config = Qwen3VLTextConfig(
        vocab_size=8,
        hidden_size=4096,
        intermediate_size=12288,
        num_hidden_layers=36,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        rope_parameters={"rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20]},
    )
    with torch.device("meta"):
        branch = SpatialBranch(Qwen3VLTextModel(config), 32, 32)
        decoder = DepthDecoder(4096, 32, 32, 256, (256, 512, 1024, 1024))
        adapters = DepthAdapter(3072), DepthAdapter(4096)
    attention = 4096 * 128 * (32 + 8 + 8 + 32) + 2 * 128
    layer = attention + 3 * 4096 * 12288 + 2 * 4096
    assert count(branch) == 36 * layer + 1024 * 4096
    assert [round(count(part) / 1e6, 1) for part in (branch, decoder, *adapters)] == [6950.3, 38.4, 0.8, 0.9]


def count(part: torch.nn.Module) -> int:
    return sum(value.numel() for value in part.parameters())
