"""The connector, the joined sequence and the losses against independent computations."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from spatialdata_builder.training.spatialdiff.nets import Connector, CrossAttention, SpatialDecodeHead
from tests.training.spatialdiff.factory import batch_of, built, inputs_of, perturb


def attention(layer: CrossAttention, q: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    """Eq. 4 head by head, with matrices."""
    q_in, s_in = F.layer_norm(q, q.shape[-1:]), F.layer_norm(s, s.shape[-1:])
    query, key, value = q_in @ layer.to_q.weight.T, s_in @ layer.to_k.weight.T, s_in @ layer.to_v.weight.T
    d = q.shape[-1] // layer.heads
    parts = []
    for head in range(layer.heads):
        own = slice(head * d, (head + 1) * d)
        scores = query[..., own] @ key[..., own].transpose(1, 2) / d**0.5
        weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
        parts.append(weights @ value[..., own])
    return q + torch.cat(parts, -1) @ layer.to_out.weight.T


@pytest.mark.parametrize("heads", [1, 3])
def test_a_layer_of_the_connector_is_equation_4(heads: int):
    layer = CrossAttention(12, 20, heads, 0)
    q, s = torch.randn(2, 5, 12), torch.randn(2, 7, 20)
    torch.testing.assert_close(layer(q, s), attention(layer, q, s))


def test_the_connector_runs_learnable_queries_through_all_layers():
    connector = Connector(rows=2, columns=3, width=12, geometry_width=20, layers=3)
    geometry = torch.randn(2, 7, 20)
    expected = connector.queries.expand(2, -1, -1)
    for layer in connector.layers:
        assert isinstance(layer, CrossAttention)
        expected = attention(layer, expected, geometry)
    torch.testing.assert_close(connector(geometry, 2, 3), expected)
    connector(geometry, 2, 3).square().sum().backward()
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in connector.parameters())


def test_queries_of_another_grid_are_interpolated():
    connector = Connector(rows=2, columns=2, width=3, geometry_width=20, layers=1)
    with torch.no_grad():  # the values of each query are its row, its column, and 1
        connector.queries.copy_(torch.tensor([[0.0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]]))
    seen = connector._on_grid(4, 2).unflatten(0, (4, 2))
    torch.testing.assert_close(seen[:, 0, 0], torch.tensor([0, 0.25, 0.75, 1]))
    torch.testing.assert_close(seen[0, :, 1], torch.tensor([0.0, 1.0]))
    assert (seen[..., 2] == 1).all()
    assert connector._on_grid(2, 2) is connector.queries


def test_the_optional_feed_forward_follows_the_attention():
    layer = CrossAttention(12, 20, 1, 4)
    q, s = torch.randn(1, 5, 12), torch.randn(1, 7, 20)
    seen = attention(layer, q, s)
    inner = F.gelu(F.layer_norm(seen, (12,)) @ layer.mlp[1].weight.T + layer.mlp[1].bias)
    torch.testing.assert_close(layer(q, s), seen + inner @ layer.mlp[3].weight.T + layer.mlp[3].bias)
    assert layer.mlp[1].out_features == 48


def test_the_head_reads_each_token_independently():
    head = SpatialDecodeHead(12, 5)
    tokens = torch.randn(2, 6, 12)
    assert torch.equal(head(tokens)[:, 2:3], head(tokens[:, 2:3]))
    expected = F.layer_norm(tokens, (12,)) @ head.out.weight.T + head.out.bias
    torch.testing.assert_close(head(tokens), expected)


def library(net, inputs, spatial=None) -> tuple[torch.Tensor, torch.Tensor]:
    """The transformer's own forward, with hooks that append tokens and see what reaches its last norm."""
    seen = {}
    hooks = [net.transformer.norm_out.register_forward_pre_hook(lambda _, given: seen.update(hidden=given[0]))]
    if spatial is not None:
        hooks.append(net.transformer.x_embedder.register_forward_hook(lambda m, i, out: torch.cat([out, spatial], 1)))
    out = net.transformer(
        hidden_states=torch.cat([inputs["noisy"], inputs["source"]], 1),
        timestep=inputs["sigma"],
        guidance=inputs["guidance"],
        pooled_projections=inputs["pooled"],
        encoder_hidden_states=inputs["text"],
        txt_ids=inputs["text_ids"],
        img_ids=inputs["image_ids"],
        return_dict=False,
    )[0]
    for hook in hooks:
        hook.remove()
    return out, seen["hidden"]


@pytest.mark.parametrize("ablation", ["lora_only", "latent_depth"])
def test_the_joined_sequence_equals_the_library_s(tmp_path: Path, ablation: str):
    recipe, net = built(ablation=ablation)
    perturb(net)
    inputs = inputs_of(recipe, batch_of(recipe, tmp_path / "set"))
    velocity = inputs.pop("velocity")
    tokens = velocity.shape[1]
    with torch.no_grad():
        spatial = net.connector(inputs["geometry"], 2, 2) if net.connector else None
        out, hidden = library(net, inputs, spatial)
        mine = net(inputs)
    torch.testing.assert_close(mine["velocity"], out[:, :tokens])
    assert hidden.shape[1] == tokens * (2 if ablation == "lora_only" else 3)
    assert ("depth" in mine) == (ablation == "latent_depth")
    if net.head:
        torch.testing.assert_close(mine["depth"], net.head(hidden[:, -tokens:]))


def test_losses_are_equations_9_and_10_of_each_sample(tmp_path: Path):
    recipe, net = built(depth_weight=0.25)
    inputs = inputs_of(recipe, batch_of(recipe, tmp_path / "set", 3))
    with torch.no_grad():
        losses = net(inputs)
        made = net({name: value for name, value in inputs.items() if name != "velocity"})
    flow = ((made["velocity"] - inputs["velocity"]) ** 2).mean((1, 2))
    gss = ((made["depth"] - inputs["depth"]) ** 2).mean((1, 2))
    torch.testing.assert_close(losses["flow"], flow)
    torch.testing.assert_close(losses["depth"], gss)
    torch.testing.assert_close(losses["loss"], flow + 0.25 * gss)


def test_gradient_checkpointing_changes_no_gradient(tmp_path: Path):
    recipe, net = built()
    perturb(net)
    inputs = inputs_of(recipe, batch_of(recipe, tmp_path / "set"))
    found = []
    for enable in (net.transformer.disable_gradient_checkpointing, net.transformer.enable_gradient_checkpointing):
        enable()
        net.zero_grad()
        net(inputs)["loss"].mean().backward()
        found.append({name: value.grad for name, value in net.named_parameters() if value.requires_grad})
    assert net.transformer.gradient_checkpointing
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], msg=name)
        assert gradient.abs().sum() > 0, name


def test_depth_supervision_reaches_connector_and_lora(tmp_path: Path):
    recipe, net = built()
    perturb(net)
    net(inputs_of(recipe, batch_of(recipe, tmp_path / "set")))["depth"].mean().backward()
    reached = {name for name, value in net.named_parameters() if value.grad is not None and value.grad.abs().sum() > 0}
    assert {"connector.queries", "connector.layers.0.to_q.weight", "head.out.weight"} <= reached
    assert any("lora_A" in name for name in reached)
