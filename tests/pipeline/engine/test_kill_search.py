"""The search finds exactly the samples that kill workers, in a bounded number of trials."""

from hypothesis import given
from hypothesis import strategies as st

from spatialdata_builder.pipeline.engine.kill_search import Trials


def search(keys: tuple[str, ...], killers: set[str]) -> tuple[set[str], int]:
    trials, count = Trials(keys), 0
    while not trials.ended:
        tried = trials.take()
        assert tried is not None
        count += 1
        if killers & set(tried):
            trials.died(tried)
        else:
            trials.survived()
    return trials.killers, count


@given(st.integers(1, 64), st.sets(st.integers(0, 63), max_size=5))
def test_samples_that_kill_are_found(size: int, numbers: set[int]):
    keys = tuple(f"k-{number}" for number in range(size))
    killers = {f"k-{number}" for number in numbers} & set(keys)
    found, count = search(keys, killers)
    assert found == killers
    assert count <= 2 + 14 * max(1, len(killers))


def test_a_single_death_of_a_single_sample_is_not_enough():
    trials = Trials(("a",))
    assert trials.take() == ("a",)
    trials.died(("a",))
    assert trials.take() == ("a",)
    trials.survived()
    assert trials.ended
    assert not trials.killers
