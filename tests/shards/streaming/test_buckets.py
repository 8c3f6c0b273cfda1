"""Sets with several image sizes: detected when opened, never reported as damage, streamed in batches of one size."""

import hashlib
import json
import pickle
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spatialdata_builder.shards import codecs, stream
from spatialdata_builder.shards.errors import BadInput
from tests.shards.factory import make_sample, make_split, out_of
from tests.shards.streaming.test_dataset import damage

KEYS = [[f"s-{shard}-{i}" for i in range(count)] for shard, count in enumerate((5, 3, 6, 1, 4))]
ALL = sorted(key for keys in KEYS for key in keys)
SIDES = {key: (24, 32, 24, 40)[n % 4] for n, key in enumerate(ALL)}
"""Of 19 samples, 10 have side 24, 5 have 32 and 4 have 40."""
CHEAP = ("changed",)


def make_mixed(folder: str) -> str:
    make_split(folder, KEYS, changes={key: make_sample(key, side=side) for key, side in SIDES.items() if side != 24})
    return folder


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_mixed(out_of(tmp_path_factory.mktemp("mixed")))


@pytest.fixture(scope="module")
def old_mixed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same set, as packed by a version that did not record sizes."""
    folder = Path(make_mixed(out_of(tmp_path_factory.mktemp("old_mixed"))))
    forget_sizes(folder)
    return str(folder)


def forget_sizes(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    for shard in manifest["shards"]:
        path = folder / shard["name"].replace(".tar", ".parquet")
        pq.write_table(pq.read_table(path).drop_columns(["width", "height"]), path)
        shard["parquet_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        del shard["sizes"]
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_opening_a_set_of_several_sizes_is_bad_input(mixed: str, tmp_path: Path, on_error: str):
    with pytest.raises(BadInput, match=r"has images of 40 x 40, 32 x 32 and 24 x 24.*buckets=True") as error:
        stream(mixed, on_error=on_error)
    assert "repair" not in str(error.value)
    for name, side in (("small", 24), ("large", 48)):
        make_split(str(tmp_path / name), [["a"]], changes={"a": make_sample("a", side=side)})
        assert stream(str(tmp_path / name)).samples == 1
    both = [str(tmp_path / "small"), str(tmp_path / "large")]
    for urls in (both, dict.fromkeys(both, 1.0)):
        with pytest.raises(BadInput, match=r"small.*large has images of 48 x 48 and 24 x 24"):
            stream(urls, on_error=on_error)
        assert stream(urls, buckets=True).samples == 2


def test_the_parquet_records_sizes(mixed: str):
    tables = [pq.read_table(path, columns=["key", "width", "height"]) for path in sorted(Path(mixed).glob("*.parquet"))]
    rows = pa.concat_tables(tables).to_pylist()
    assert {row["key"]: (row["width"], row["height"]) for row in rows} == {
        key: (side, side) for key, side in SIDES.items()
    }


def run(url: str, size: int, **options: Any) -> list[dict[str, Any]]:
    return list(stream(url, members=CHEAP, buckets=True, **options).batches(size))


def valid_keys(batches: list[dict[str, Any]]) -> list[str]:
    """Keys of the valid samples; asserts that each batch has the one size with which its samples were packed."""
    found: list[str] = []
    for batch in batches:
        sides = {SIDES[key] for key in batch["key"]}
        assert sides == {batch["changed"].shape[1]}
        found += [key for key, valid in zip(batch["key"], batch["valid"], strict=True) if valid]
    return found


@pytest.mark.parametrize("order", ["global", "shard", "stored"])
@pytest.mark.parametrize("size", [1, 3, 4, 30])
def test_an_epoch_has_every_sample_once(mixed: str, order: str, size: int):
    assert sorted(valid_keys(run(mixed, size, order=order, last="pad"))) == ALL


def test_sizes_are_mixed_and_epochs_differ(mixed: str):
    ds = stream(mixed, members=CHEAP, buckets=True, seed=2)
    epochs = [[batch["key"][0] for batch in ds.batches(1)] for _ in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == ALL
    assert epochs[0] != epochs[1]
    turns = [SIDES[key] for key in epochs[0]]
    assert sum(a != b for a, b in pairwise(turns)) > 4, "not all batches of one size first"
    assert [batch["key"][0] for batch in run(mixed, 1, seed=2, threads=1, prefetch=0)] == epochs[0]


@given(data=st.data(), seed=st.integers(0, 100), order=st.sampled_from(["global", "shard", "stored"]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.slow
def test_any_world_resumes_exactly(mixed: str, data: st.DataObject, seed: int, order: str):
    """Random stops, each followed by a random world and batch size: every sample of an epoch occurs exactly once."""
    seen: list[str] = []
    state: dict[str, Any] | None = None
    ended = False
    while not ended:
        world, size = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
        chosen = {"members": CHEAP, "seed": seed, "order": order, "world": world, "last": "pad", "buckets": True}
        ranks = [stream(mixed, rank=rank, **chosen) for rank in range(world)]
        for rank in ranks:
            if state is not None:
                rank.load_state_dict(json.loads(json.dumps(state)))
        runs = [rank.batches(size) for rank in ranks]
        for _ in range(data.draw(st.integers(1, 4))):
            batches = [next(each, None) for each in runs]
            ended = batches[0] is None
            assert all((batch is None) == ended for batch in batches), "ranks must end together"
            if ended:
                break
            seen += valid_keys([batch for batch in batches if batch is not None])
            states = [rank.state_dict() for rank in ranks]
            assert all(each == states[0] for each in states), "the state is global"
        for each in runs:
            each.close()
        state = ranks[0].state_dict()
        ended = ended or sum(state["position"]) == len(ALL)
    assert sorted(seen) == ALL


@pytest.mark.parametrize("last", ["drop", "pad"])
@pytest.mark.parametrize(("world", "size"), [(1, 4), (2, 2), (3, 1), (2, 3), (4, 4)])
def test_all_ranks_have_the_reported_number_of_steps(mixed: str, last: str, world: int, size: int):
    ranks = [
        stream(mixed, members=CHEAP, buckets=True, rank=rank, world=world, last=last, seed=5) for rank in range(world)
    ]
    if last == "drop" and (world, size) == (4, 4):  # four ranks need four whole batches: there are 2 + 1 + 1
        assert ranks[0].steps(size) == 1
    batches = [list(rank.batches(size)) for rank in ranks]
    assert {len(each) for each in batches} == {ranks[0].steps(size)}
    keys = valid_keys([batch for each in batches for batch in each])
    assert len(keys) == len(set(keys))
    if last == "pad":
        assert sorted(keys) == ALL
    elif world == 1:
        assert len(keys) == sum(count // size * size for count in Counter(SIDES.values()).values())


@pytest.mark.slow
def test_resuming_continues_with_the_same_batches(mixed: str):
    options: dict[str, Any] = {"members": CHEAP, "seed": 4, "buckets": True, "rank": 1, "world": 2}
    whole = [batch["key"] for batch in stream(mixed, **options).batches(2, epochs=3)]
    for stop in range(1, len(whole)):
        first = stream(mixed, **options)
        begun = first.batches(2, epochs=3)
        keys = [next(begun)["key"] for _ in range(stop)]
        begun.close()
        second = pickle.loads(pickle.dumps(first)) if stop % 2 else stream(mixed, **options)
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        rest = second.batches(2, epochs=None)
        assert keys + [next(rest)["key"] for _ in range(len(whole) - stop)] == whole
        rest.close()


def test_a_state_with_buckets_does_not_fit_a_stream_without(mixed: str, tmp_path: Path):
    make_split(str(tmp_path), [["a", "b"]])
    plain, buckets = stream(str(tmp_path)), stream(str(tmp_path), buckets=True)
    with pytest.raises(BadInput, match="buckets"):
        buckets.load_state_dict(plain.state_dict())
    old = {name: value for name, value in plain.state_dict().items() if name != "buckets"}
    plain.load_state_dict(old)
    ds = stream(mixed, buckets=True)
    for position in ([1, 2], 3, [99, 0, 0], None):
        with pytest.raises(BadInput, match="damaged"):
            ds.load_state_dict({**ds.state_dict(), "position": position})


def test_sets_without_recorded_sizes(old_mixed: str, mixed: str, tmp_path: Path):
    """Packed by an older version, or without a manifest: sizes come from the headers of the images."""
    assert [batch["key"] for batch in run(old_mixed, 2, seed=1)] == [batch["key"] for batch in run(mixed, 2, seed=1)]
    for tar in Path(old_mixed).glob("*.tar"):
        (tmp_path / tar.name).write_bytes(tar.read_bytes())
    with pytest.warns(UserWarning, match="no manifest"):
        assert sorted(valid_keys(run(str(tmp_path), 3, last="pad"))) == ALL
    for on_error in ("raise", "skip"):
        ds = stream(old_mixed, on_error=on_error, members=CHEAP)
        with pytest.raises(BadInput, match=r"images of \d\d x \d\d and \d\d x \d\d.*buckets=True"):
            list(ds.batches(4))
        assert ds.skips == 0


def test_sets_with_and_without_recorded_sizes(tmp_path: Path):
    for name, side in (("new", 24), ("old", 48)):
        make_split(str(tmp_path / name), [["a", "b"]], changes={key: make_sample(key, side=side) for key in "ab"})
    forget_sizes(tmp_path / "old")
    both = [str(tmp_path / "new"), str(tmp_path / "old")]
    ds = stream(both, on_error="skip", members=CHEAP)
    with pytest.raises(BadInput, match="images of 48 x 48 and 24 x 24"):
        list(ds.batches(4))
    assert ds.skips == 0
    assert len(list(stream(both, buckets=True, members=CHEAP).batches(2))) == 2


def test_a_map_of_another_size_is_damage(tmp_path: Path):
    odd = {"a": {"depth.png": make_sample("a", side=32)["depth.png"]}}
    make_split(str(tmp_path), [["b", "a", "c"]], changes=odd)
    with pytest.warns(UserWarning, match=r"sample a: its images differ in size \(.*depth 32 x 32.*source 24 x 24"):
        batches = list(stream(str(tmp_path), recipe="spatialdiff", order="stored", on_error="skip").batches(3))
    assert batches[0]["valid"].tolist() == [True, False, True]


def test_a_damaged_sample_is_replaced_by_one_of_its_size(tmp_path: Path):
    folder = Path(make_mixed(out_of(tmp_path)))
    key = next(key for key in ALL if SIDES[key] == 40)
    damage(next(tar for tar in folder.glob(f"*-0000{key[2]}-*.tar")), key, "changed.png")
    ds = stream(str(folder), members=CHEAP, buckets=True, on_error="skip", last="pad")
    with pytest.warns(UserWarning, match=f"sample {key}"):
        keys = valid_keys(list(ds.batches(1)))
    assert sorted(keys) == [each for each in ALL if each != key]
    assert ds.skips == 1


@pytest.mark.slow
def test_weights_hold_over_all_sizes_together(tmp_path: Path):
    """Each set keeps its proportion, and so does each size within a set."""
    sides = {"a": (24, 24, 24, 32), "b": (32, 48, 48, 48)}
    for name, each in sides.items():
        changes = {f"{name}-{n}": make_sample(f"{name}-{n}", side=side) for n, side in enumerate(each)}
        make_split(str(tmp_path / name), [list(changes)], changes=changes)
    ds = stream({str(tmp_path / "a"): 1.0, str(tmp_path / "b"): 3.0}, members=CHEAP, buckets=True)
    drawn = Counter(key for batch in ds.batches(1, epochs=200) for key in batch["key"])
    total = drawn.total()
    for name, share in (("a", 0.25), ("b", 0.75)):
        assert sum(count for key, count in drawn.items() if key[0] == name) / total == pytest.approx(share, abs=0.03)
        for n in range(len(sides[name])):
            assert drawn[f"{name}-{n}"] / total == pytest.approx(share / len(sides[name]), rel=0.1)


@pytest.mark.torch
def test_torch_workers_keep_the_order_with_buckets(mixed: str):
    torch_data = pytest.importorskip("torch.utils.data")
    from spatialdata_builder.shards.streaming.loader import torch_dataset

    ds = stream(mixed, members=CHEAP, buckets=True, seed=3, last="pad")
    expected = [[batch["key"] for batch in ds.batches(2)] for _ in range(2)]
    made = torch_dataset(stream(mixed, members=CHEAP, buckets=True, seed=3, last="pad"), 2)
    loader = torch_data.DataLoader(made, batch_size=None, num_workers=2)
    assert [[batch["key"] for batch in loader] for _ in range(2)] == expected


def test_sizes_of_jpegs_with_large_metadata(tmp_path: Path):
    """The size of such an image is not in its first 4096 bytes."""
    import io

    from PIL import Image

    from spatialdata_builder.shards.index import pack_shard, write_manifest

    def photo(key: str, side: int) -> dict[str, bytes]:
        members = make_sample(key, side=side)
        for name in ("source", "target"):
            sink = io.BytesIO()
            pixels = Image.fromarray(codecs.decode_image(members[f"{name}.webp"]))
            pixels.save(sink, "JPEG", exif=b"Exif\0\0" + bytes(20_000), icc_profile=bytes(9000))
            members[f"{name}.jpg"] = sink.getvalue()
        return {field: members[field] for field in ("json", "source.jpg", "target.jpg")}

    entry = pack_shard(
        str(tmp_path), "x-train-00000-of-00001.tar", [(key, photo(key, side)) for key, side in (("a", 32), ("b", 48))]
    )
    assert entry.sizes == ((32, 32), (48, 48))
    write_manifest(
        str(tmp_path),
        name="x",
        recipe="full",
        split="train",
        shards=[entry],
        members=["json", "source.jpg", "target.jpg"],
    )
    forget_sizes(tmp_path)
    batches = list(stream(str(tmp_path), members=("source",), buckets=True).batches(1))
    assert sorted(batch["source"].shape[1] for batch in batches) == [32, 48]
