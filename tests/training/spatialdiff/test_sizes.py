"""Parameter counts in the real sizes, on the meta device: all and trainable parameters match the published numbers."""

import pytest
import torch
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel

from spatialdata_builder.training.spatialdiff.build import make_net
from spatialdata_builder.training.spatialdiff.options import SpatialDiffOptions

GEOMETRY_WIDTH = 2048


def count(values, *, trained: bool = False) -> int:
    return sum(value.numel() for value in values if value.requires_grad or not trained)


@pytest.fixture
def transformer():
    with torch.device("meta"):
        return FluxTransformer2DModel(guidance_embeds=True).requires_grad_(False)


def net_of(transformer, **changes):
    with torch.device("meta"):
        return make_net(transformer, SpatialDiffOptions.model_validate(changes), GEOMETRY_WIDTH)


def test_parameter_counts_with_default_options(transformer):
    assert count(transformer.parameters()) == pytest.approx(11.90e9, rel=1e-3)
    net = net_of(transformer)
    assert count(net.transformer.parameters(), trained=True) == pytest.approx(104.6e6, rel=1e-3)
    assert net.connector.queries.shape == (1024, 3072)
    assert count(net.connector.parameters()) == pytest.approx(255e6, rel=1e-3)
    assert net.head.out.weight.shape == (64, 3072)
    assert count(net.parameters(), trained=True) == pytest.approx(104.6e6 + 255e6 + 0.2e6, rel=1e-3)


def test_parameter_counts_with_a_feed_forward_in_each_layer(transformer):
    net = net_of(transformer, connector={"feed_forward": 4})
    assert count(net.connector.parameters()) == pytest.approx(859e6, rel=1e-3)


def test_parameter_counts_of_lora_on_the_output_of_single_stream_blocks(transformer):
    net = net_of(transformer, ablation="lora_only", lora={"proj_out": True})
    assert count(net.parameters(), trained=True) == pytest.approx(149.4e6, rel=1e-3)
    # UNO has one LoRA for query, key and value: rank x (input + output) weights each.
    double, single = 2 * (3072 + 3 * 3072 + 2 * 3072), 3072 + 3 * 3072 + 5 * 3072 + 3072
    assert 64 * (19 * double + 38 * single) == pytest.approx(119.5e6, rel=1e-3)


def test_queries_follow_the_resolution(transformer):
    net = net_of(transformer, stage=1, width=768, height=512)
    assert net.connector.queries.shape == (1536, 3072)
    assert count(net.parameters(), trained=True) == count(net.connector.parameters())
