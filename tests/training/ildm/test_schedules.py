import math

import pytest
from pydantic import ValidationError

from spatialdata_builder.training.ildm.options import IldmOptions
from spatialdata_builder.training.ildm.schedules import Drop, Gaussian


@pytest.mark.parametrize(
    ("block", "time", "weight"),
    [(3, 900, 1), (7, 0, 1), (5, 901, 0), (2, 500, 0), (8, 500, 0), (3, 900.5, 0)],
)
def test_drop_is_1_in_inner_blocks_at_times_up_to_tau(block: int, time: float, weight: float):
    """Eq. 2."""
    assert Drop().weight(block, time, 9) == weight


def test_drop_leaves_out_the_same_share_of_other_networks():
    """Of SDXL's seven blocks and PixArt's 28."""
    assert [block for block in range(1, 8) if Drop().weight(block, 0, 7)] == [3, 4, 5]
    assert [block for block in range(1, 29) if Drop().weight(block, 0, 28)] == list(range(7, 23))
    assert [block for block in range(1, 8) if Drop(blocks=(1, 9)).weight(block, 0, 7)] == [1]


def test_gaussian_is_highest_at_tau_and_falls_with_sigma():
    """Eq. 3 by hand: e^-1 at a distance of one sigma, e^-4 at two sigmas; the same in all blocks."""
    schedule = Gaussian(alpha=0.5)
    for time, expected in ((800, 0.5), (900, 0.5 * 0.36787944), (700, 0.5 * 0.36787944), (600, 0.5 * 0.01831564)):
        assert [schedule.weight(block, time, 9) for block in (1, 9)] == pytest.approx([expected] * 2, rel=1e-6)
    assert Gaussian().weight(1, 0, 9) == pytest.approx(math.exp(-64))


def test_a_schedule_is_chosen_by_its_kind():
    options = IldmOptions.model_validate({"sampling": {"schedule": {"kind": "drop", "tau": 700, "blocks": [4]}}})
    assert options.sampling.schedule == Drop(tau=700, blocks=(4,))
    assert IldmOptions().sampling.schedule == Gaussian(alpha=1, tau=800, sigma=100)
    with pytest.raises(ValidationError, match="sigma"):
        IldmOptions.model_validate({"sampling": {"schedule": {"kind": "gaussian", "sigma": 0}}})
