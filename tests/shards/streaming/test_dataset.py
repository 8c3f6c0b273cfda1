"""Every sample of an epoch occurs exactly once, with any stops and any world sizes; pixels are as packed."""

import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spatialdata_builder.shards import codecs, stream
from spatialdata_builder.shards.errors import BadInput, SpatialdataError
from spatialdata_builder.shards.reader import ShardError, read_record
from tests.shards.factory import make_sample, make_split, out_of

KEYS = [[f"s-{shard}-{i}" for i in range(count)] for shard, count in enumerate((5, 3, 6, 1, 4))]
ALL = sorted(key for keys in KEYS for key in keys)
CHEAP = ("changed",)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = out_of(tmp_path_factory.mktemp("set"))
    make_split(folder, KEYS)
    return folder


def keys_of(url: str, size: int, **options: object) -> list[str]:
    return [key for batch in stream(url, members=CHEAP, **options).batches(size) for key in batch["key"]]


@pytest.mark.parametrize("order", ["global", "shard", "stored"])
def test_an_epoch_has_every_sample_once(shards: str, order: str):
    assert sorted(keys_of(shards, 1, order=order)) == ALL


def test_the_order_does_not_depend_on_threads(shards: str):
    orders = [keys_of(shards, 4, threads=threads, prefetch=prefetch) for threads, prefetch in ((1, 0), (2, 3), (7, 9))]
    assert orders[0] == orders[1] == orders[2]
    assert orders[0] != keys_of(shards, 4, seed=1)


@given(data=st.data(), seed=st.integers(0, 100), order=st.sampled_from(["global", "shard"]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.slow
def test_any_world_resumes_exactly(shards: str, data: st.DataObject, seed: int, order: str):
    """Random stops, each followed by a random world: every sample of an epoch occurs exactly once."""
    seen: list[str] = []
    state = None
    while True:
        world, size = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
        ranks = [
            stream(shards, members=CHEAP, seed=seed, order=order, rank=rank, world=world, last="pad")
            for rank in range(world)
        ]
        for rank in ranks:
            if state is not None:
                rank.load_state_dict(state)
        stop = data.draw(st.integers(1, 4))
        ended = False
        runs = [rank.batches(size) for rank in ranks]
        for _ in range(stop):
            batches = [next(run, None) for run in runs]
            ended = batches[0] is None
            assert all((batch is None) == ended for batch in batches), "ranks must end together"
            if ended:
                break
            for batch in batches:
                assert batch is not None
                seen += [key for key, valid in zip(batch["key"], batch["valid"], strict=True) if valid]
            states = [rank.state_dict() for rank in ranks]
            assert all(state == states[0] for state in states), "the state is global"
        for run in runs:
            run.close()
        state = ranks[0].state_dict()
        if ended or (state["position"] == len(ALL)):
            break
    assert sorted(seen) == ALL


def test_resuming_continues_with_the_same_batches(shards: str):
    whole = [batch["key"] for batch in stream(shards, members=CHEAP, seed=4).batches(3, epochs=3)]
    first = stream(shards, members=CHEAP, seed=4)
    run = first.batches(3, epochs=None)
    begun = [next(run)["key"] for _ in range(8)]
    second = stream(shards, members=CHEAP, seed=4)
    second.load_state_dict(first.state_dict())
    rest = second.batches(3, epochs=None)
    assert begun + [next(rest)["key"] for _ in range(len(whole) - 8)] == whole


def test_ranks_share_a_batch_and_the_last_is_padded_or_dropped(shards: str):
    for last, batches in (("drop", 2), ("pad", 3)):
        ranks = [list(stream(shards, members=CHEAP, rank=rank, world=2, last=last).batches(4)) for rank in range(2)]
        assert [len(rank) for rank in ranks] == [batches, batches]
        keys = [
            key
            for rank in ranks
            for batch in rank
            for key, valid in zip(batch["key"], batch["valid"], strict=True)
            if valid
        ]
        assert len(keys) == len(set(keys)) == (16 if last == "drop" else 19)


def test_pixels_are_as_packed(shards: str):
    floats = {batch["key"][0]: batch for batch in stream(shards, images="float").batches(1)}
    for batch in stream(shards, records=True).batches(1):
        key = batch["key"][0]
        packed = make_sample(key)
        record = read_record(packed["json"])
        assert batch["record"][0]["key"] == key
        source = codecs.decode_image(packed["source.webp"])
        np.testing.assert_array_equal(batch["source"][0], source)
        np.testing.assert_allclose(floats[key]["source"][0], source / 127.5 - 1, atol=1e-6)
        z = codecs.decode_depth(packed["metric.png"], record.maps.metric)
        np.testing.assert_array_equal(batch["metric"][0], z)
        assert (batch["metric"][0][:2] == 0).all()
        assert batch["metric"].max() > 2
        inverse = codecs.decode_depth(packed["depth.png"], record.maps.depth)
        span = inverse.max() - inverse.min()
        np.testing.assert_allclose(batch["depth"][0], (inverse - inverse.min()) / span, atol=1e-5)
        assert len(np.unique(batch["depth"][0])) > 256, "16 bits stay 16 bits"
        np.testing.assert_allclose(np.linalg.norm(batch["normal"][0][2:], axis=2), 1, atol=1e-5)
        np.testing.assert_array_equal(batch["segment"][0], codecs.decode_labels(packed["segment.png"]))
        np.testing.assert_array_equal(batch["changed"][0], codecs.decode_mask(packed["changed.png"]))
        assert batch["changed"].dtype == np.bool_


def test_the_pixels_of_a_batch_do_not_change_while_it_is_in_use(shards: str):
    kept = list(stream(shards, recipe="spatialdiff").batches(2))
    for batch in kept:
        for key, source in zip(batch["key"], batch["source"], strict=True):
            np.testing.assert_array_equal(source, codecs.decode_image(make_sample(key)["source.webp"]))


def test_all_variants_of_an_instruction_are_used(tmp_path: Path):
    record = read_record(make_sample("a")["json"])
    instruction = record.instruction.model_copy(update={"variants": ["Two.", "Three."]})
    changed = record.model_copy(update={"instruction": instruction}).model_dump_json(by_alias=True).encode()
    make_split(out_of(tmp_path), [["a"]], changes={"a": {"json": changed}})
    ds = stream(str(tmp_path), members=CHEAP, instruction="any")
    texts = [batch["instruction"][0] for batch in ds.batches(1, epochs=40)]
    assert set(texts) == {"Move it.", "Two.", "Three."}
    assert texts == [
        batch["instruction"][0]
        for batch in stream(str(tmp_path), members=CHEAP, instruction="any").batches(1, epochs=40)
    ]


def test_members_that_are_not_selected_are_not_read(shards: str, monkeypatch: pytest.MonkeyPatch):
    import os

    read: list[int] = []
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda file, size, at: read.append(size) or real(file, size, at))
    keys_of(shards, 1)
    few, read[:] = sum(read), []
    list(stream(shards).batches(1))
    packed = sum(len(data) for data in make_sample("s-0-0").values())
    assert few < 0.5 * sum(read)
    assert few < 0.5 * len(ALL) * packed


@pytest.mark.slow
def test_sets_are_mixed_by_weight(tmp_path: Path):
    for name, count in (("a", 6), ("b", 4)):
        make_split(out_of(tmp_path / name), [[f"{name}-{i}" for i in range(count)]])
    urls = {str(tmp_path / "a"): 1.0, str(tmp_path / "b"): 4.0}
    drawn: Counter[str] = Counter()
    ds = stream(urls, members=CHEAP)
    for batch in ds.batches(10, epochs=None):
        drawn.update(key[0] for key in batch["key"])
        if drawn.total() == 1000:
            break
    assert drawn == {"a": 200, "b": 800}
    assert sorted(stream(list(urls), members=CHEAP).batches(10).__next__()["key"]) == sorted(
        [f"a-{i}" for i in range(6)] + [f"b-{i}" for i in range(4)]
    )


def damage(tar: Path, key: str, member: str) -> None:
    with tarfile.open(tar) as file:
        offset = file.getmember(f"{key}.{member}").offset_data
    data = bytearray(tar.read_bytes())
    data[offset + 20] ^= 0xFF
    tar.write_bytes(data)


def test_damage_raises_or_is_skipped_and_counted(tmp_path: Path):
    folder = Path(out_of(tmp_path))
    make_split(str(folder), [["a", "b"], ["c", "d"]])
    damage(sorted(folder.glob("*.tar"))[1], "c", "source.webp")
    with pytest.raises(ShardError, match=r"trial-train-00001.*sample c.*source is damaged"):
        list(stream(str(folder)).batches(2))
    ds = stream(str(folder), on_error="skip")
    with pytest.warns(UserWarning, match="sample c"):
        batches = list(ds.batches(4))
    assert (ds.skips, len(ds.skipped)) == (1, 1)
    assert "c" not in batches[0]["key"]
    assert batches[0]["valid"].sum() == 3
    # The damaged member is not selected here, so it is not read.
    assert len(list(stream(str(folder), members=CHEAP).batches(4))) == 1


def test_a_truncated_shard_is_detected(tmp_path: Path):
    folder = Path(out_of(tmp_path))
    make_split(str(folder), [["a", "b"], ["c", "d"]])
    tar = sorted(folder.glob("*.tar"))[0]
    tar.write_bytes(tar.read_bytes()[:-4096])
    with pytest.raises(ShardError, match="truncated"):
        list(stream(str(folder), members=CHEAP, order="stored").batches(1))
    ds = stream(str(folder), members=CHEAP, on_error="skip")
    with pytest.warns(UserWarning, match="truncated"):
        list(ds.batches(4))
    assert ds.skips == 2


def test_a_shard_newer_than_its_index_is_detected(tmp_path: Path):
    folder = Path(out_of(tmp_path))
    make_split(str(folder), [["a", "b"]])
    tar = next(folder.glob("*.tar"))
    other = tmp_path / "other"
    make_split(str(other), [["b", "a"]])
    tar.write_bytes(next(other.glob("*.tar")).read_bytes())
    with pytest.raises(SpatialdataError, match=r"newer|damaged|truncated"):
        list(stream(str(folder)).batches(1))


def test_without_an_index_the_tars_are_scanned(shards: str, tmp_path: Path):
    bare = tmp_path / "bare"
    bare.mkdir()
    for tar in Path(shards).glob("*.tar"):
        (bare / tar.name).write_bytes(tar.read_bytes())
    with pytest.warns(UserWarning, match="no manifest"):
        ds = stream(str(bare), recipe="spatialdiff")
    found = {batch["key"][0]: batch["depth"][0] for batch in ds.batches(1)}
    assert sorted(found) == ALL
    for batch in stream(shards, recipe="spatialdiff").batches(1):
        np.testing.assert_array_equal(found[batch["key"][0]], batch["depth"][0])


def test_states_of_other_streams_are_bad_input(shards: str, tmp_path: Path):
    make_split(out_of(tmp_path), [["x", "y"]])
    state = stream(shards, seed=1).state_dict()
    for other, word in (
        (stream(shards, seed=2), "seed"),
        (stream(shards, seed=1, order="shard"), "order"),
        (stream(str(tmp_path), seed=1), "sets"),
    ):
        with pytest.raises(BadInput, match=word):
            other.load_state_dict(state)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"recipe": "nonsense"}, "unknown recipe"),
        ({"members": ("albedo",)}, "lacks albedo"),
        ({"members": ("json",)}, "json cannot be decoded"),
        ({"world": 0}, "rank 0 of world 0"),
    ],
)
def test_invalid_options_are_bad_input(shards: str, options: dict[str, object], words: str):
    with pytest.raises(BadInput, match=words):
        stream(shards, **options)  # type: ignore[arg-type]


def test_too_few_samples_for_the_world_are_bad_input(shards: str):
    with pytest.raises(BadInput, match="use a smaller batch or fewer ranks"):
        next(stream(shards, members=CHEAP, world=8).batches(4))


def test_missing_members_and_missing_shards_are_bad_input(tmp_path: Path):
    from spatialdata_builder.shards.recipes import get_recipe

    make_split(out_of(tmp_path, recipe="spatialedit"), [["a"]], recipe=get_recipe("spatialedit"))
    with pytest.raises(BadInput, match="lacks depth, which recipe spatialdiff needs"):
        stream(str(tmp_path), recipe="spatialdiff")
    with pytest.raises(BadInput, match="not a folder"):
        stream(str(tmp_path / "nothing"))
    (tmp_path / "empty" / "train").mkdir(parents=True)
    with pytest.raises(BadInput, match="no shards"):
        stream(str(tmp_path / "empty"))
