"""The formulas of a step, each against a short independent computation."""

import numpy as np
import pytest
import torch
from PIL import Image

from spatialdata_builder.shards.codecs import decode_image
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.interop.spatialedit import draw_box
from spatialdata_builder.training.recipe import StepRng
from tests.shards.factory import make_sample
from tests.training.spatialedit.conftest import build, opened, pack_moves, rng_of


def predicted_by_hand(case, index):
    """v_theta of one sample, computed separately."""
    inputs, net = case.inputs, case.module.transformer
    t = inputs["t"][index]
    noisy = (1 - t) * inputs["target"][index] + t * inputs["noise"][index]
    items = torch.stack([inputs["source"][index], noisy])[None]
    text = inputs["text"][index : index + 1, : inputs["length"][index]]
    return net(hidden_states=items, timestep=1000 * t[None], encoder_hidden_states=text).sample[0, 1]


def test_the_loss_is_that_of_noise_minus_target_on_the_last_item_only(case):
    inputs = case.inputs
    with torch.no_grad():
        errors = [
            ((predicted_by_hand(case, i) - (inputs["noise"][i] - inputs["target"][i])) ** 2).mean() for i in range(4)
        ]
        loss = case.module(inputs)["loss"]
    assert loss.tolist() == pytest.approx(torch.stack(errors).tolist(), rel=1e-5)
    assert min(errors).item() > 0.1


def test_texts_of_equal_length_share_a_pass_without_padding(case):
    lengths = case.inputs["length"].tolist()
    assert len(set(lengths)) == 2, "instructions of translations and rotations differ in length"
    calls = []
    handle = case.module.transformer.register_forward_pre_hook(
        lambda _, args, kwargs: calls.append(tuple(kwargs["encoder_hidden_states"].shape[:2])), with_kwargs=True
    )
    with torch.no_grad():
        case.module(case.inputs)
        junk = case.inputs["text"].clone()
        for row, length in zip(junk, lengths, strict=True):
            row[length:] = 1e3
        same = case.module({**case.inputs, "text": junk})["loss"], case.module(case.inputs)["loss"]
    handle.remove()
    assert calls[:2] == [(lengths.count(length), length) for length in sorted(set(lengths))]
    assert torch.equal(*same)


def test_velocities_are_in_batch_order(case):
    inputs = case.inputs
    t = inputs["t"].view(-1, 1, 1, 1, 1)
    items = torch.stack([inputs["source"], (1 - t) * inputs["target"] + t * inputs["noise"]], dim=1)
    with torch.no_grad():
        found = case.module.velocity(items, inputs["t"], inputs["text"], inputs["length"])
        for index in range(4):
            torch.testing.assert_close(found[index], predicted_by_hand(case, index), atol=1e-5, rtol=1e-4)


def test_times_are_shifted_logit_normal_and_the_network_gets_1000_t(case):
    rng = rng_of(case.batch)
    drawn = [torch.randn((), generator=one) for one in rng.generators("time")]
    by_hand = [1 / (1 + np.exp(-u.item())) for u in drawn]
    by_hand = [1.5 * u / (1 + 0.5 * u) for u in by_hand]
    np.testing.assert_allclose(case.inputs["t"].numpy(), by_hand, rtol=1e-5)
    seen = []
    handle = case.module.transformer.register_forward_pre_hook(
        lambda _, args, kwargs: seen.extend(kwargs["timestep"].tolist()), with_kwargs=True
    )
    with torch.no_grad():
        case.module(case.inputs)
    handle.remove()
    np.testing.assert_allclose(sorted(seen), sorted(1000 * each for each in by_hand), rtol=1e-5)


def test_latents_are_the_normalized_mode_of_each_channel(case):
    vae = case.recipe.pipeline.vae
    pixels = torch.from_numpy(np.array(case.batch["target"])).float() / 127.5 - 1
    with torch.no_grad():
        z = vae.encode(pixels.permute(0, 3, 1, 2)[:, :, None]).latent_dist.mean
    for channel in range(16):
        expected = (z[:, channel] - vae.config.latents_mean[channel]) / vae.config.latents_std[channel]
        torch.testing.assert_close(case.inputs["target"][:, channel], expected, atol=1e-5, rtol=1e-4)
    assert case.inputs["target"].shape == (4, 16, 1, 4, 4)


def test_noise_depends_on_the_sample_not_on_its_position(case):
    alone = {name: value[2:3] for name, value in case.batch.items()}
    inputs = case.recipe.prepare(alone, rng_of(alone))
    for name in ("noise", "t", "source", "target", "length"):
        assert torch.equal(inputs[name][0], case.inputs[name][2]), name
    length = inputs["length"][0]
    assert torch.equal(inputs["text"][0, :length], case.inputs["text"][2, :length])
    later = case.recipe.prepare(alone, rng_of(alone, step=1))
    assert not torch.equal(later["noise"], inputs["noise"])


def test_the_text_embedding_is_the_last_layer_before_its_norm(case):
    """Without the first 34 tokens; the prompt is the source with its box, then the instruction."""
    pipeline = case.recipe.pipeline
    source, _, words = case.recipe.model_view(case.batch, 0)
    assert words == "Move the box 1 into the red box and finally remove the red box."
    prompt = (
        "<|im_start|>system\n \\nDescribe the image by detailing the color, shape, size, texture, quantity, text, "
        "spatial relationships of the objects and background:<|im_end|>\n<|im_start|>user\n"
        f"<|vision_start|><|image_pad|><|vision_end|>{words}<|im_end|>\n<|im_start|>assistant\n"
    )
    tokens = pipeline.processor(text=[prompt], images=[Image.fromarray(source)], return_tensors="pt")
    model = pipeline.text_encoder.model.language_model
    inputs_of_norm = []
    handle = model.norm.register_forward_pre_hook(lambda _, args: inputs_of_norm.append(args[0]))
    with torch.no_grad():
        pipeline.text_encoder(**tokens)
    handle.remove()
    torch.testing.assert_close(case.inputs["text"][0, : case.inputs["length"][0]], inputs_of_norm[0][0, 34:])


def test_translations_show_the_box_of_their_instruction(case):
    source = decode_image(make_sample("s-0", kind="translate", side=32)["source.webp"])
    shown, target, _ = case.recipe.model_view(case.batch, 0)
    np.testing.assert_array_equal(shown, draw_box(source, [6, 4, 14, 12]))
    np.testing.assert_array_equal(target, case.batch["target"][0])
    rotated, _, words = case.recipe.model_view(case.batch, 1)
    np.testing.assert_array_equal(rotated, case.batch["source"][1])
    assert words == "Move it.", "a rotation to no canonical view keeps its stored instruction"


def test_stored_wording_draws_no_box(moves):
    recipe, _ = build(wording="stored")
    batch = next(opened(recipe, moves, order="stored").batches(1))
    assert "record" not in batch
    shown, _, words = recipe.model_view(batch, 0)
    np.testing.assert_array_equal(shown, batch["source"][0])
    assert words == "Move it."


def test_dropped_texts_are_empty_and_keep_the_image(moves):
    recipe, _ = build(text_drop=0.5)
    batch = next(opened(recipe, moves, order="stored").batches(8))
    inputs = recipe.prepare(batch, rng_of(batch))
    drops = [torch.rand(1, generator=one).item() < 0.5 for one in rng_of(batch).generators("drop")]
    assert 0 < sum(drops) < 8
    for index, dropped in enumerate(drops):
        source, _, words = recipe.model_view(batch, index)
        (expected,) = recipe.texts([source], ["" if dropped else words])
        torch.testing.assert_close(inputs["text"][index, : inputs["length"][index]], expected)


def test_the_share_of_dropped_texts():
    rng = StepRng(0, 3, tuple(f"s-{n}" for n in range(4000)))
    assert (rng.uniform("drop") < 0.1).float().mean().item() == pytest.approx(0.1, abs=0.02)


def test_an_unsupported_size_gives_an_error_with_a_supported_one(tmp_path):
    pack_moves(tmp_path, side=40, count=1)
    recipe, _ = build()
    batch = next(opened(recipe, str(tmp_path)).batches(1))
    with pytest.raises(BadInput, match=r"sample s-0 is 40 x 40.*set recipe.side, for example to 32"):
        recipe.prepare(batch, rng_of(batch))
    recipe.options = recipe.options.model_copy(update={"side": 32})
    assert recipe.prepare(batch, rng_of(batch))["target"].shape == (1, 16, 1, 4, 4)


def test_a_cache_gives_the_same_inputs(moves, tmp_path, case):
    recipe, _ = build(text_drop=0.0, cache=str(tmp_path))
    batch = next(opened(recipe, moves, order="stored").batches(4))
    first = recipe.prepare(batch, rng_of(batch))
    entries = sorted(tmp_path.rglob("*.safetensors"))
    assert len(entries) == 12, "one entry each for source, target and text of every sample"
    second = recipe.prepare(batch, rng_of(batch))
    for name, value in case.inputs.items():
        assert torch.equal(first[name], value)
        assert torch.equal(second[name], value)
    assert sorted(tmp_path.rglob("*.safetensors")) == entries
