"""Each formula of flow matching against a short numpy computation."""

import numpy as np
import pytest
import torch

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.training.flow import (
    changed_shares,
    denoised,
    draw_times,
    edit_weights,
    flow_loss,
    interpolate,
    shifted,
    velocity,
)
from spatialdata_builder.training.recipe import StepRng


def numbers(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32))


def test_interpolation_and_velocity():
    x, noise, t = numbers(3, 4, 5), numbers(3, 4, 6)[..., :5], torch.tensor([0.0, 0.25, 1.0])
    x_t = interpolate(x, noise, t)
    for i, time in enumerate([0.0, 0.25, 1.0]):
        np.testing.assert_allclose(x_t[i], (1 - time) * x[i].numpy() + time * noise[i].numpy(), rtol=1e-6)
    v = velocity(x, noise)
    np.testing.assert_array_equal(v, noise.numpy() - x.numpy())
    # v is the derivative with respect to t, and gives the image back.
    later = interpolate(x.double(), noise.double(), t.double() + 1e-3)
    torch.testing.assert_close((later - interpolate(x.double(), noise.double(), t.double())) / 1e-3, v.double())
    torch.testing.assert_close(denoised(x_t, v, t), x, rtol=1e-5, atol=1e-5)


def test_interpolation_keeps_the_dtype():
    x = numbers(2, 3).bfloat16()
    assert interpolate(x, x, torch.tensor([0.5, 0.1])).dtype == torch.bfloat16


@pytest.mark.parametrize("shift", [1.0, 1.5, 3.0])
def test_the_shift_matches_the_diffusers_scheduler(shift: float):
    from diffusers import FlowMatchEulerDiscreteScheduler

    sigma = torch.linspace(0, 1, 11)
    expected = [shift * s / (1 + (shift - 1) * s) for s in np.linspace(0, 1, 11)]
    np.testing.assert_allclose(shifted(sigma, shift), expected, rtol=1e-6)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    plain = FlowMatchEulerDiscreteScheduler(shift=1.0)
    torch.testing.assert_close(shifted(plain.sigmas, shift), scheduler.sigmas)


def test_a_negative_shift_is_an_error():
    with pytest.raises(BadInput, match=r"shift must be above 0 \(got -1\)"):
        shifted(torch.ones(1), -1)


def test_times_follow_their_distribution():
    rng = StepRng(0, 1, tuple(f"k{i}" for i in range(4000)))
    uniform = draw_times(rng, "uniform")
    assert uniform.shape == (4000,)
    assert uniform.dtype == torch.float32
    np.testing.assert_allclose(np.quantile(uniform, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.03)
    logits = torch.logit(draw_times(rng, "logit_normal", mean=-0.5, std=2.0).double()).numpy()
    np.testing.assert_allclose([logits.mean(), logits.std()], [-0.5, 2.0], atol=0.1)
    # A shift is applied after the draw, to the same numbers.
    torch.testing.assert_close(draw_times(rng, "uniform", shift=3.0), shifted(uniform, 3.0))


def test_times_depend_on_the_sample_not_on_its_position_in_the_batch():
    some, others = StepRng(5, 2, ("a", "b", "c")), StepRng(5, 2, ("c", "a"))
    assert draw_times(some)[[2, 0]].tolist() == draw_times(others).tolist()
    assert draw_times(StepRng(5, 3, ("a",)))[0] != draw_times(some)[0]


def test_the_loss_of_a_sample_is_the_mean_over_its_elements():
    predicted, target = numbers(3, 2, 4), numbers(3, 2, 5)[..., :4]
    each = ((predicted.numpy() - target.numpy()) ** 2).mean((1, 2))
    assert flow_loss(predicted, target).tolist() == pytest.approx(each.tolist())


def test_a_fixed_time_replaces_the_draw():
    assert draw_times(StepRng(0, 0, ("a", "b"), time=0.25), shift=3).tolist() == [0.25, 0.25]
    assert StepRng(0, 0, ("a", "b"), time=0.25).dropped(1.0) == [False, False]
    assert StepRng(0, 0, ("a", "b")).dropped(1.0) == [True, True]


def test_edit_weights_are_proportional_to_the_changed_share_with_mean_1():
    changed = torch.rand(3, 5, 1, generator=torch.Generator().manual_seed(3))
    weights = edit_weights(changed, 4.0)
    torch.testing.assert_close(weights.mean((1, 2)), torch.ones(3))
    torch.testing.assert_close(weights / weights[:, :1], (1 + 3 * changed) / (1 + 3 * changed[:, :1]))
    assert torch.equal(edit_weights(torch.ones(2, 4), 4.0), torch.ones(2, 4)), "a camera edit changes everything"
    predicted, target = numbers(3, 2, 4), numbers(3, 2, 5)[..., :4]
    weight = edit_weights(torch.tensor([[0.0, 1.0]] * 3)[..., None], 3.0)
    each = (0.5 * (predicted - target)[:, 0] ** 2 + 1.5 * (predicted - target)[:, 1] ** 2).mean(1) / 2
    torch.testing.assert_close(flow_loss(predicted, target, weight), each)


def test_changed_shares_are_means_of_cells():
    mask = np.zeros((1, 4, 6), bool)
    mask[0, :2, :2], mask[0, 3, 5] = True, True
    assert changed_shares(mask, 2).tolist() == [[[1, 0, 0], [0, 0, 0.25]]]
