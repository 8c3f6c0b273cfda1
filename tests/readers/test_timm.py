"""timm's reader takes splits and counts from `_info.json`, and any image member by `input_key`."""

import numpy as np
import pytest

from spatialdata_builder.shards.sidecars.facts import PUBLIC_SPLIT
from tests.readers.apart import load_pixels, needs_environment, run_apart

pytestmark = [pytest.mark.readers, needs_environment]


def test_every_split(packed, tmp_path):
    run_apart("timm_apart", packed.folder, tmp_path / "pixels.npz")
    found = load_pixels(tmp_path / "pixels.npz")
    assert found.keys() == set(PUBLIC_SPLIT.values())
    for split, samples in packed.values.items():
        images = [members["target"] for members in found[PUBLIC_SPLIT[split]].values()]
        assert len(images) == len(samples)
        assert all(np.array_equal(a, b["target"]) for a, b in zip(images, samples.values(), strict=True))
