"""Reading ahead changes neither the batches nor the state in checkpoints, and happens before a batch is given out."""

import threading
from pathlib import Path

import pytest
import torch

from spatialdata_builder.shards import stream
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.training.ahead import ReadAhead
from tests.training.spatialdiff.factory import batch_of, built, inputs_of


def opened(folder: Path):
    return stream(str(folder), "spatialdiff", seed=3, images="uint8")


@pytest.mark.parametrize("accumulate", [1, 3])
def test_batches_and_states_are_those_of_the_stream(triplets: Path, accumulate: int):
    plain, seen = opened(triplets), []
    ahead = ReadAhead(opened(triplets), lambda batch: seen.append((tuple(batch["key"]), threading.get_ident())))
    assert (ahead.samples, ahead.largest_bucket, ahead.left_out) == (12, 12, {})
    assert ahead.state_dict() == plain.state_dict()
    pairs = zip(
        plain.batches(2, epochs=3, accumulate=accumulate),
        ahead.batches(2, epochs=3, accumulate=accumulate),
        strict=True,
    )
    count = 0
    for count, (one, two) in enumerate(pairs, 1):
        assert one["key"] == two["key"]
        assert plain.state_dict() == ahead.state_dict()
        assert tuple(two["key"]) in [keys for keys, _ in seen], "it was read before it was given out"
        assert len(seen) <= count + accumulate
    assert count == 18
    assert plain.state_dict() == ahead.state_dict()
    assert threading.get_ident() not in {thread for _, thread in seen}


def test_a_state_is_resumed(triplets: Path):
    ahead = ReadAhead(opened(triplets), lambda batch: None)
    batches = ahead.batches(2, epochs=None, accumulate=2)
    for _ in range(4):
        next(batches)
    state = ahead.state_dict()
    rest = [next(batches)["key"] for _ in range(4)]
    batches.close()
    again = ReadAhead(opened(triplets), lambda batch: None)
    again.load_state_dict(state)
    assert again.state_dict() == state
    batches = again.batches(2, epochs=None, accumulate=2)
    assert [next(batches)["key"] for _ in range(4)] == rest
    batches.close()


def test_an_error_of_the_reading_thread_reaches_the_loop(triplets: Path):
    def fail(batch) -> None:
        raise BadInput("sizes differ")

    with pytest.raises(BadInput, match="sizes differ"):
        next(ReadAhead(opened(triplets), fail).batches(2))


def test_a_step_reads_no_entries_that_were_prefetched(tmp_path: Path):
    recipe, _ = built(cache=str(tmp_path / "cache"))
    batch = batch_of(recipe, tmp_path / "set")
    expected = inputs_of(recipe, batch)
    recipe.prefetch(batch)
    for path in (tmp_path / "cache").rglob("*.safetensors"):
        path.unlink()
    found = inputs_of(recipe, batch)
    assert not list((tmp_path / "cache").rglob("*.safetensors")), "neither read nor computed"
    assert all(torch.equal(value, expected[name]) for name, value in found.items())
