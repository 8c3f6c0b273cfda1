"""Cross-domain attention against the base UNet and against a plain computation; widening the VAE."""

import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from spatialdata_builder.training.ildm.backbones import StableDiffusion
from spatialdata_builder.training.ildm.maps import MapLayout
from spatialdata_builder.training.ildm.models import Base, make_module
from spatialdata_builder.training.ildm.nets import CrossDomainAttention, IntrinsicVae, TwoDomains, widen
from spatialdata_builder.training.ildm.schedules import Constant, Drop
from tests.training.ildm.parts import CPU, tiny


def two_domains(lora: float = 0.2, **changes) -> TwoDomains:
    """The tiny UNet with random LoRA weights."""
    module = make_module(tiny(**changes), CPU, torch.float32).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "lora_B" in name:
                parameter.copy_(lora * torch.randn(parameter.shape, generator=generator))
    return module


def rows(count: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    image, intrinsic = (torch.randn(count, 4, 8, 8, generator=generator) for _ in range(2))
    context = torch.randn(count, 7, 16, generator=generator)
    return image, intrinsic, torch.arange(count) * 300 + 10, context


def test_weight_0_gives_the_base_unet_in_the_image_domain():
    module, (image, intrinsic, times, context) = two_domains(), rows()
    module.set_intrinsic_attention(Constant(value=0), 0)
    base = Base("tiny").network(torch.float32).eval()
    with torch.no_grad():
        found, other = module.predict(image, intrinsic, times, {"context": context})
        expected = base(image, times, context).sample
        assert (found - expected).abs().max() < 2e-6
        assert (other - base(intrinsic, times, context).sample).abs().max() > 1e-2
        module.set_intrinsic_attention(Constant(), 0)
        assert (module.predict(image, intrinsic, times, {"context": context})[0] - expected).abs().max() > 1e-3


@pytest.mark.parametrize("weight", [1.0, 0.3, 0.0])
def test_attention_is_a_softmax_over_both_domains_with_weighted_intrinsic_columns(weight: float):
    """Eq. 1, 4, 5 written out: exp of logits, intrinsic columns times w for image rows, normalized."""
    module = two_domains()
    attention = module.network.down_blocks[0].attentions[0].transformer_blocks[0].attn1
    width = attention.to_q.in_features
    hidden = torch.randn(4, 9, width, generator=torch.Generator().manual_seed(5))
    attention.processor.weight = weight

    def project(layer, part: torch.Tensor, with_lora: bool) -> torch.Tensor:
        found = layer.base_layer(part)
        if with_lora:
            found = found + part @ layer.lora_A["default"].weight.T @ layer.lora_B["default"].weight.T
        return found

    expected = []
    with torch.no_grad():
        for picture, intrinsic in ((hidden[0], hidden[2]), (hidden[1], hidden[3])):
            query, key, value = (
                torch.cat([project(layer, picture, False), project(layer, intrinsic, True)])
                for layer in (attention.to_q, attention.to_k, attention.to_v)
            )
            mixed = []
            for start in range(0, width, width // attention.heads):
                one = slice(start, start + width // attention.heads)
                scores = (query[:, one] @ key[:, one].T / math.sqrt(width // attention.heads)).exp()
                scores[:9, 9:] *= weight
                mixed.append(scores / scores.sum(1, keepdim=True) @ value[:, one])
            both = torch.cat(mixed, dim=1)
            expected.append(
                (project(attention.to_out[0], both[:9], False), project(attention.to_out[0], both[9:], True))
            )
        found = attention(hidden)
    torch.testing.assert_close(found[:2], torch.stack([each[0] for each in expected]), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[2:], torch.stack([each[1] for each in expected]), atol=1e-5, rtol=1e-4)


def test_lora_affects_only_the_intrinsic_half():
    """With weight 0, LoRA has no effect on the image domain, but on the intrinsic domain."""
    image, intrinsic, times, context = rows()
    found = []
    for size in (0.0, 0.2, 0.5):
        module = two_domains(size)
        module.set_intrinsic_attention(Constant(value=0), 0)
        with torch.no_grad():
            found.append(module.predict(image, intrinsic, times, {"context": context}))
    assert all(torch.equal(first[0], second[0]) for first, second in pairwise(found))
    assert all((first[1] - second[1]).abs().max() > 1e-2 for first, second in pairwise(found))


def test_blocks_are_numbered_from_1_down_middle_up():
    module = two_domains()
    blocks = {name: each.block for name, each in module.network.attn_processors.items() if "attn1" in name}
    assert sorted({(name.split(".attentions")[0], block) for name, block in blocks.items()}) == [
        ("down_blocks.0", 1),
        ("mid_block", 3),
        ("up_blocks.1", 5),
    ]
    module.set_intrinsic_attention(Drop(tau=500, blocks=(3,)), 400)
    assert {each.block: each.weight for each in module.attentions()} == {1: 0, 3: 1, 5: 0}


@pytest.mark.parametrize("train_base", [False, True])
def test_only_lora_trains_and_in_float32(train_base: bool):
    module = make_module(tiny(train_base=train_base), CPU, torch.bfloat16)
    training = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    lora = {name for name, _ in module.named_parameters() if ".lora_" in name}
    assert lora and all(".attn1." in name for name in lora)
    assert training == ({name for name, _ in module.named_parameters()} if train_base else lora)
    assert {p.dtype for name, p in module.named_parameters() if name in training} == {torch.float32}
    assert module.dtype == (torch.float32 if train_base else torch.bfloat16)
    *latents, context = rows()
    found = module.predict(*latents, {"context": context})
    assert all(each.isfinite().all() and each.dtype == torch.float32 for each in found)


def test_the_loss_of_an_image_is_the_weighted_sum_of_both_errors():
    module, (image, intrinsic, times, context) = two_domains(intrinsic_weight=0.25), rows()
    targets = [torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in (6, 7)]
    inputs = {
        "image": image,
        "intrinsic": intrinsic,
        "timesteps": times,
        "context": context,
        "snr_weight": torch.tensor([1.0, 0.5]),
        "image_target": targets[0],
        "intrinsic_target": targets[1],
    }
    with torch.no_grad():
        found, predicted = module(inputs), module.predict(image, intrinsic, times, {"context": context})
    errors = [((one - two) ** 2).mean((1, 2, 3)) for one, two in zip(predicted, targets, strict=True)]
    torch.testing.assert_close(found["loss"], torch.tensor([1.0, 0.5]) * (errors[0] + 0.25 * errors[1]))
    torch.testing.assert_close(found["intrinsic"], errors[1])


def test_the_intrinsic_vae_initially_acts_as_the_base_on_images():
    layout = MapLayout()
    base, wide = Base("tiny").vae(torch.float32), widen(Base("tiny").vae(torch.float32), layout)
    assert (wide.config.in_channels, wide.config.out_channels) == (8, 8)
    gray = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(8)) * 2 - 1
    with torch.no_grad():
        expected = base.encode(gray.expand(-1, 3, -1, -1)).latent_dist
        found = wide.encode(gray.expand(-1, 8, -1, -1)).latent_dist
        torch.testing.assert_close(found.mean, expected.mean, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(found.std, expected.std, atol=1e-5, rtol=1e-4)
        picture, maps = base.decode(expected.mean).sample, wide.decode(expected.mean).sample
    for name, where in layout.slices.items():
        one = name in ("depth", "line")
        torch.testing.assert_close(
            maps[:, where], picture.mean(1, keepdim=True) if one else picture, atol=1e-5, rtol=1e-4
        )


def test_the_intrinsic_vae_is_restored_from_its_folder(tmp_path: Path):
    wide = widen(Base("tiny").vae(torch.float32), MapLayout(("normal", "line")))
    wide.save_pretrained(tmp_path)
    back = AutoencoderKL.from_pretrained(tmp_path)
    assert back.config.in_channels == back.config.out_channels == 4
    maps = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        assert torch.equal(back(maps).sample, wide(maps).sample)


def test_the_vae_loss_is_the_mean_error_plus_the_summed_kl():
    vae = widen(Base("tiny").vae(torch.float32), MapLayout())
    maps = torch.rand(2, 8, 16, 16, generator=torch.Generator().manual_seed(10)) * 2 - 1
    noise = torch.randn(2, 4, 2, 2, generator=torch.Generator().manual_seed(11))
    with torch.no_grad():
        found = IntrinsicVae(vae, "mse", 0.5)({"maps": maps, "noise": noise})
        posterior = vae.encode(maps).latent_dist
        error = (vae.decode(posterior.mean + posterior.std * noise).sample - maps).square().mean((1, 2, 3))
        kl = torch.distributions.kl_divergence(
            torch.distributions.Normal(posterior.mean, posterior.std), torch.distributions.Normal(0.0, 1.0)
        )
    torch.testing.assert_close(found["reconstruction"], error)
    kl = kl.sum((1, 2, 3))
    torch.testing.assert_close(found["kl"], kl, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found["loss"], error + 0.5 * kl, atol=1e-5, rtol=1e-4)


def test_lora_of_the_full_size_has_3_19_million_parameters():
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            sample_size=96, cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20), use_linear_projection=True
        )
        module = TwoDomains(unet, StableDiffusion(), rank=32, alpha=32, intrinsic_weight=1)
    assert sum(p.numel() for p in module.parameters() if not p.requires_grad) == 865_910_724
    assert sum(p.numel() for p in module.parameters() if p.requires_grad) == 3_194_880
    assert len(list(module.attentions())) == 16
    assert {each.block for each in module.attentions() if isinstance(each, CrossDomainAttention)} == {
        *(1, 2, 3),
        5,
        *(7, 8, 9),
    }
