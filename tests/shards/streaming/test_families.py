"""One sample of each family in an epoch: which one depends only on seed, epoch and family."""

import json
import pickle
import shutil
from collections import Counter, defaultdict
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spatialdata_builder.shards import stream
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.schema import FAMILY_VERSION, EditKind
from spatialdata_builder.shards.streaming.families import group
from spatialdata_builder.shards.streaming.order import FamilyOrder, OrderName, UnweightedOrder, make_order
from tests.shards.factory import make_sample, make_split, out_of, with_family

SIZES = (3, 1, 4, 2, 5, 1, 4)
"""Samples of each family, in the order of the set; every third is a removal, which spatialdiff leaves out."""
NAMES = [f"f{family}-{member}" for family, size in enumerate(SIZES) for member in range(size)]
KINDS: dict[str, EditKind] = {key: "remove" if n % 3 == 2 else "translate" for n, key in enumerate(NAMES)}
SHARDS = [NAMES[first:end] for first, end in pairwise([*range(0, len(NAMES), 6), len(NAMES)])]
"""Shards of six samples, which begin within families."""
CHEAP = ("changed",)


def family(key: str) -> str:
    return key.partition("-")[0]


def make_families(folder: str, side_of: dict[str, int] | None = None) -> str:
    """A set of version 6; a family is named by its first key."""
    changes = {
        key: with_family(key, f"{family(key)}-0", kind=KINDS[key], side=(side_of or {}).get(key, 24)) for key in NAMES
    }
    make_split(folder, SHARDS, changes=changes, version=FAMILY_VERSION)
    return folder


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_families(out_of(tmp_path_factory.mktemp("families")))


def opened(url: Any, recipe: str = "full", **options: Any) -> Any:
    return stream(url, recipe, **{"members": CHEAP, "one_per_family": True, "last": "pad", **options})


def epoch_of(ds: Any, size: int = 2) -> list[str]:
    """Keys of the rest of an epoch, without padding."""
    return [key for batch in ds.batches(size) for key, valid in zip(batch["key"], batch["valid"], strict=True) if valid]


@pytest.mark.parametrize("order", ["global", "shard", "stored"])
@pytest.mark.parametrize("recipe", ["full", "spatialdiff"])
def test_an_epoch_has_one_sample_of_each_family(shards: str, order: str, recipe: str):
    """Another one in the next: all n of a family in n epochs."""
    wanted = [key for key in NAMES if recipe == "full" or KINDS[key] == "translate"]
    sizes = Counter(map(family, wanted))
    ds = opened(shards, recipe, order=order, seed=3)
    assert (ds.length, ds.samples, ds.steps(2)) == (len(sizes), len(wanted), -(-len(sizes) // 2))
    drawn: defaultdict[str, list[str]] = defaultdict(list)
    for _ in range(2 * max(sizes.values())):
        keys = epoch_of(ds)
        assert sorted(map(family, keys)) == sorted(sizes)
        if order == "stored":
            assert keys == sorted(keys)
        for key in keys:
            drawn[family(key)].append(key)
    for name, keys in drawn.items():
        for first in range(len(keys) - sizes[name] + 1):
            cycle = keys[first : first + sizes[name]]
            assert sorted(cycle) == [key for key in wanted if family(key) == name]
    assert {name for name, keys in drawn.items() if keys[0] != min(keys)}, "families begin with different samples"


def test_seeds_draw_different_samples(shards: str):
    """The drawn samples differ, not only their order."""
    assert len({frozenset(epoch_of(opened(shards, seed=seed))) for seed in range(6)}) > 3


@given(data=st.data(), seed=st.integers(0, 100), order=st.sampled_from(["global", "shard", "stored"]))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.slow
def test_any_world_draws_and_resumes_the_same_samples(shards: str, data: st.DataObject, seed: int, order: str):
    """Random stops, each followed by a random world and batch size; the samples are those of one rank."""
    options = {"seed": seed, "order": order}
    one = opened(shards, **options)
    expected = [sorted(epoch_of(one)) for _ in range(3)]
    state: dict[str, Any] | None = None
    for epoch in range(3):
        seen: list[str] = []
        while len(seen) < len(SIZES):
            world, size = data.draw(st.sampled_from([1, 2, 4])), data.draw(st.integers(1, 3))
            ranks = [opened(shards, rank=rank, world=world, **options) for rank in range(world)]
            for rank in ranks:
                rank.load_state_dict(json.loads(json.dumps(state))) if state else rank.begin(epoch)
            runs = [rank.batches(size) for rank in ranks]
            for _ in range(data.draw(st.integers(1, 2))):
                for batch in [next(run, None) for run in runs]:
                    if batch:
                        seen += [key for key, valid in zip(batch["key"], batch["valid"], strict=True) if valid]
            state = ranks[0].state_dict()
            for run in runs:
                run.close()
        assert sorted(seen) == expected[epoch]


def test_resuming_within_an_epoch_gives_the_same_rest(shards: str):
    whole = [batch["key"] for batch in opened(shards, seed=4).batches(2, epochs=4)]
    for stop in range(1, len(whole)):
        first = opened(shards, seed=4)
        run = first.batches(2, epochs=None)
        keys = [next(run)["key"] for _ in range(stop)]
        run.close()
        second = pickle.loads(pickle.dumps(first)) if stop % 2 else opened(shards, seed=4)
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        rest = second.batches(2, epochs=None)
        assert keys + [next(rest)["key"] for _ in range(len(whole) - stop)] == whole
        rest.close()


def test_a_state_belongs_to_streams_with_the_same_option(shards: str):
    one, plain = opened(shards), opened(shards, one_per_family=False)
    with pytest.raises(BadInput, match="its one_per_family is False, here it is True"):
        one.load_state_dict(plain.state_dict())
    earlier = {name: value for name, value in plain.state_dict().items() if name != "one_per_family"}
    plain.load_state_dict(earlier)


@pytest.mark.torch
def test_workers_keep_the_order(shards: str):
    data = pytest.importorskip("torch.utils.data")
    from spatialdata_builder.shards.streaming.loader import torch_dataset

    ds = opened(shards, seed=3)
    expected = [[batch["key"] for batch in ds.batches(2)] for _ in range(2)]
    loader = data.DataLoader(torch_dataset(opened(shards, seed=3), 2), batch_size=None, num_workers=2)
    assert [[batch["key"] for batch in loader] for _ in range(2)] == expected


def test_a_bucket_has_families_of_its_own(tmp_path: Path):
    """Normally all images of a family have one size. If not, each bucket draws one of those of its size."""
    sides = {key: 32 for key in NAMES if family(key) in ("f1", "f4") or key == "f2-3"}
    make_families(str(tmp_path), sides)
    ds = opened(str(tmp_path), buckets=True, seed=2)
    groups = {(family(key), sides.get(key, 24)) for key in NAMES}
    assert (ds.length, ds.largest_bucket) == (len(groups), 5)
    for _ in range(3):
        assert sorted((family(key), sides.get(key, 24)) for key in epoch_of(ds)) == sorted(groups)


@pytest.mark.parametrize("buckets", [False, True])
def test_weighted_sets_have_epochs_of_their_own(shards: str, tmp_path: Path, buckets: bool):
    """A set that is drawn more often shows another sample of a family each time. Keys of two sets may be equal."""
    shutil.copytree(shards, tmp_path / "other")
    ds = opened({shards: 1.0, str(tmp_path / "other"): 3.0}, buckets=buckets)
    drawn = ds.order(ds.length)
    ends = [0, len(NAMES), 2 * len(NAMES)]
    for begin, end in pairwise(ends):
        mine = [NAMES[number - begin] for number in drawn if begin <= number < end]
        for first in range(0, len(mine) - len(SIZES) + 1, len(SIZES)):
            assert sorted(map(family, mine[first : first + len(SIZES)])) == [f"f{n}" for n in range(len(SIZES))]
        of_one = [key for key in mine if family(key) == "f0"]
        assert all(sorted(of_one[first : first + 3]) == NAMES[:3] for first in range(len(of_one) - 2))
    both = opened([shards, str(tmp_path / "other")])
    assert (both.length, both.samples) == (2 * len(SIZES), 2 * len(NAMES))


def test_families_of_shards_without_a_parquet_or_a_manifest(shards: str, tmp_path: Path):
    expected = epoch_of(opened(shards, seed=5))
    for name, endings in (("bare", ("tar",)), ("listed", ("tar", "json"))):
        (tmp_path / name).mkdir()
        for ending in endings:
            for path in Path(shards).glob(f"*.{ending}"):
                (tmp_path / name / path.name).write_bytes(path.read_bytes())
        with pytest.warns(UserWarning, match="no manifest|no parquet"):
            assert epoch_of(opened(str(tmp_path / name), seed=5)) == expected
            assert opened(str(tmp_path / name), "spatialdiff").samples == list(KINDS.values()).count("translate")


def test_a_set_without_derived_samples_has_one_sample_per_family(tmp_path: Path):
    make_split(str(tmp_path), [["a", "b"], ["c"]])
    one, plain = opened(str(tmp_path), seed=1), opened(str(tmp_path), seed=1, one_per_family=False)
    assert [epoch_of(one) for _ in range(3)] == [epoch_of(plain) for _ in range(3)]


@pytest.mark.parametrize("parquet", [True, False])
def test_derived_samples_without_families_are_an_error(tmp_path: Path, parquet: bool):
    record = json.loads(make_sample("a-inv")["json"])
    record["provenance"] |= {"derived": "invert", "origin": "a"}
    make_split(str(tmp_path), [["a", "a-inv"]], changes={"a-inv": {"json": json.dumps(record).encode()}})
    if not parquet:
        next(tmp_path.glob("*.parquet")).unlink()
    with pytest.raises(BadInput, match=r"derived from others.*stream without one_per_family, or build with edits\.per"):
        opened(str(tmp_path))
    with pytest.raises(BadInput, match="one_per_family must be of type bool"):
        opened(str(tmp_path), one_per_family="yes")


def test_a_damaged_sample_is_replaced_by_one_of_another_family(shards: str, tmp_path: Path):
    folder = Path(shutil.copytree(shards, tmp_path / "damaged"))
    (lost,) = (key for key in NAMES if family(key) == "f1")
    data = (tar := next(folder.glob("*-00000-of-*.tar"))).read_bytes()
    place = data.index(f"{lost}.changed.png".encode()) + 512
    tar.write_bytes(data[:place] + bytes(16) + data[place + 16 :])
    ds = opened(str(folder), on_error="skip")
    with pytest.warns(UserWarning, match=f"skipped.*{lost}"):
        keys = epoch_of(ds)
    assert sorted(map(family, keys)) == [f"f{n}" for n in range(len(SIZES)) if n != 1]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60))
def test_groups_are_in_the_order_of_their_first_samples(families: list[int]):
    found = group(np.array(families))
    starts = list(accumulate(found.sizes.tolist(), initial=0))
    groups = [found.members[first:end].tolist() for first, end in pairwise(starts)]
    firsts = [each[0] for each in groups]
    assert found.firsts.tolist() == firsts == sorted(firsts)
    assert sorted(families) == sorted(families[member] for member in found.members.tolist())
    assert [[n for n, name in enumerate(families) if name == families[first]] for first in firsts] == groups


def test_orders_do_not_change_between_versions():
    """A state saved by an older version must select the same samples: these numbers must never change."""
    sizes = np.array(SIZES)
    order = make_order([[4, 3]], None, "global", 7, families=[sizes])
    drawn = [order.draw(epoch, np.arange(7)).tolist() for epoch in (0, 1)]
    assert drawn == [[9, 6, 1, 16, 15, 10, 3], [7, 11, 3, 17, 15, 2, 8]]


@pytest.mark.parametrize("kind", ["global", "shard"])
def test_a_choice_does_not_depend_on_the_position(kind: OrderName):
    """Drawn at once or one by one, in any order of positions."""
    order = FamilyOrder(UnweightedOrder((40, 60), kind, 3), np.arange(100) % 7 + 1)
    whole = order.draw(5, np.arange(100))
    assert [int(order.draw(5, np.array([n]))[0]) for n in (17, 99, 0)] == whole[[17, 99, 0]].tolist()
    stored = FamilyOrder(UnweightedOrder((40, 60), "stored", 3), order.sizes).draw(5, np.arange(100))
    assert sorted(whole.tolist()) == stored.tolist()


def test_the_first_samples_of_large_sets_are_spread_evenly():
    """Over the samples of a family, in each epoch."""
    order = FamilyOrder(UnweightedOrder((500_000,), "stored", 0), np.full(500_000, 5))
    for epoch in (0, 3):
        counts = np.bincount(order.draw(epoch, np.arange(500_000)) % 5)
        assert abs(counts - 100_000).max() < 1500
