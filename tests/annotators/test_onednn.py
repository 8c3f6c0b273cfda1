"""Linear layers in oneDNN give the same results as those of torch."""

import copy

import pytest
import torch
from transformers import Dinov2Config, Dinov2Model

from spatialdata_builder.annotators.onednn import speed_up_linears


@pytest.mark.parametrize("activation", ["gelu", "gelu_pytorch_tanh", "relu"])
def test_a_transformer_gives_the_same_results_for_any_batch_size(activation: str):
    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=48, num_hidden_layers=3, num_attention_heads=3, hidden_act=activation)
    plain = Dinov2Model(config).eval()
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    fast = copy.deepcopy(plain)
    speed_up_linears(fast)
    absorbed = [isinstance(layer.mlp.activation_fn, torch.nn.Identity) for layer in fast.encoder.layer]
    assert absorbed == [activation == "gelu"] * 3
    with torch.inference_mode():
        for size in (1, 3):
            images = torch.randn(size, 3, 56, 70)
            expected = plain(images).last_hidden_state
            torch.testing.assert_close(fast(images).last_hidden_state, expected, rtol=1e-4, atol=1e-4)


def test_layers_without_bias_and_noncontiguous_inputs():
    torch.manual_seed(1)
    plain = torch.nn.Linear(24, 7, bias=False)
    fast = copy.deepcopy(plain)
    speed_up_linears(fast)
    with torch.inference_mode():
        x = torch.randn(24, 5, 3).permute(1, 2, 0)
        torch.testing.assert_close(fast(x), plain(x), rtol=1e-5, atol=1e-5)


def test_layers_of_other_precisions_are_unchanged():
    half = torch.nn.Linear(8, 8).to(torch.bfloat16)
    speed_up_linears(half)
    assert "forward" not in vars(half)
