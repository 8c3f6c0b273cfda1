"""megatron-energon reads the recipe's folder as one dataset, without its own `prepare`, and resumes exactly."""

import json
import shutil

import pytest

from tests.readers.apart import load_pixels, needs_environment, run_apart
from tests.readers.pixels import assert_same

pytestmark = [pytest.mark.readers, needs_environment]


def test_all_splits_and_exact_resume(packed, tmp_path):
    run_apart("energon_apart", packed.folder, tmp_path / "pixels.npz", tmp_path / "order.json")
    found = load_pixels(tmp_path / "pixels.npz")
    assert found.keys() == packed.values.keys()
    for split, samples in found.items():
        assert_same(samples, packed.records[split], packed.values[split])
    order = json.loads((tmp_path / "order.json").read_bytes())
    assert order["resumed"] == order["then"]
    assert sorted(order["first"] + order["then"]) == sorted(packed.values["train"])


def test_energon_prepare_writes_the_same(packed, tmp_path):
    """What `energon prepare` writes over tars alone: the same counts, splits and bytes of every offset index."""
    for split in packed.values:
        (tmp_path / "set" / split).mkdir(parents=True)
        for shard in packed.shards(split):
            shutil.copy(shard, tmp_path / "set" / split)
    run_apart("energon_prepare_apart", tmp_path / "set")
    indexes = sorted(path.relative_to(packed.folder) for path in packed.folder.glob("*/*.tar.idx"))
    assert len(indexes) == 4
    for path in indexes:
        assert (tmp_path / "set" / path).read_bytes() == (packed.folder / path).read_bytes()
    theirs, ours = (
        json.loads((root / ".nv-meta/.info.json").read_bytes()) for root in (tmp_path / "set", packed.folder)
    )
    assert theirs == ours
