"""A recipe also selects edits: samples with other edits are left out, counted and reported."""

import json
import logging
import pickle
from pathlib import Path

import pytest

from spatialdata_builder.shards import stream
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.reader import ShardError
from spatialdata_builder.shards.recipes import get_recipe
from spatialdata_builder.shards.schema import EDIT_KINDS, TWO_OBJECT_KINDS
from spatialdata_builder.shards.streaming.measure import measure
from tests.shards.factory import make_sample, make_split, out_of
from tests.shards.streaming.test_buckets import forget_sizes

KINDS = {f"{kind}-{n}": kind for n in range(3) for kind in EDIT_KINDS if kind not in TWO_OBJECT_KINDS}
KEYS = [list(KINDS)[:7], list(KINDS)[7:8], list(KINDS)[8:]]
WANTED = sorted(key for key, kind in KINDS.items() if kind in get_recipe("spatialdiff").edits)


def make_all(folder: str, side: int = 24) -> None:
    """Three samples of each of six edit kinds."""
    make_split(folder, KEYS, changes={key: make_sample(key, kind=kind, side=side) for key, kind in KINDS.items()})


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = out_of(tmp_path_factory.mktemp("full"))
    make_all(folder)
    return folder


def keys_of(url: str, recipe: str, **options: object) -> list[str]:
    return sorted(key for batch in stream(url, recipe, **options).batches(1) for key in batch["key"])


@pytest.mark.parametrize("order", ["global", "shard", "stored"])
def test_a_recipe_selects_its_edits(full: str, order: str, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        ds = stream(full, "spatialdiff", order=order)
    assert sorted(key for batch in ds.batches(1) for key in batch["key"]) == WANTED
    assert (ds.samples, ds.length, ds.steps(2)) == (9, 9, 4)
    assert ds.left_out == {"camera": 3, "insert": 3, "remove": 3}
    warning = "9 of 18 samples are left out, since recipe spatialdiff includes only translate, rotate, scale: camera 3"
    assert warning in caplog.text
    caplog.clear()
    assert stream(full).samples == 18
    assert stream(full, "spatialedit", rank=1, world=2).left_out == {"insert": 3, "remove": 3}
    assert not caplog.records, "only rank 0 logs, and only if samples are left out"


def test_ranks_share_the_selection_and_any_world_resumes(full: str):
    ranks = [stream(full, "spatialdiff", rank=rank, world=2, last="pad", seed=3) for rank in range(2)]
    runs = [rank.batches(2) for rank in ranks]
    seen = [key for each in runs for key in next(each)["key"]]
    state = json.loads(json.dumps(ranks[0].state_dict()))
    one = pickle.loads(pickle.dumps(stream(full, "spatialdiff", last="pad", seed=3)))
    one.load_state_dict(state)
    seen += [key for batch in one.batches(1) for key in batch["key"]]
    assert sorted(seen) == WANTED


def test_a_state_identifies_the_selection(full: str):
    diff, edit, whole = (stream(full, recipe) for recipe in ("spatialdiff", "spatialedit", "full"))
    for one, other in ((diff, edit), (diff, whole), (whole, diff)):
        with pytest.raises(BadInput, match="its sets is"):
            one.load_state_dict(other.state_dict())


def test_a_set_of_the_recipe_needs_only_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make_split(out_of(tmp_path, recipe="spatialdiff"), [["a", "b"]], recipe=get_recipe("spatialdiff"))
    monkeypatch.setattr(
        "spatialdata_builder.shards.streaming.choice.read_columns", lambda *_: pytest.fail("the manifest is enough")
    )
    ds = stream(str(tmp_path), "spatialdiff")
    assert (ds.samples, ds.left_out) == (2, {})


def test_selection_without_a_parquet_or_a_manifest(full: str, tmp_path: Path):
    for name, endings in (("bare", ("tar",)), ("listed", ("tar", "json"))):
        (tmp_path / name).mkdir()
        for ending in endings:
            for path in Path(full).glob(f"*.{ending}"):
                (tmp_path / name / path.name).write_bytes(path.read_bytes())
        with pytest.warns(UserWarning, match="no manifest|no parquet"):
            assert keys_of(str(tmp_path / name), "spatialdiff") == WANTED


def test_a_damaged_parquet_raises_or_is_skipped(tmp_path: Path):
    make_all(str(tmp_path))
    path = sorted(tmp_path.glob("*.parquet"))[0]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ShardError, match=r"00000.*parquet is damaged"):
        stream(str(tmp_path), "spatialdiff")
    ds = stream(str(tmp_path), "spatialdiff", on_error="skip")
    with pytest.warns(UserWarning, match="skipped"):
        keys = {key for batch in ds.batches(4) for key in batch["key"]}
    assert keys == {key for key in WANTED if key not in KEYS[0]}
    assert ds.skips == len(KEYS[0])


def test_a_set_without_edits_of_the_recipe_is_bad_input(tmp_path: Path):
    make_split(str(tmp_path), [["a"]], changes={"a": make_sample("a", kind="camera")})
    with pytest.raises(BadInput, match=r"has no sample with an edit of recipe spatialdiff .*, only camera 1"):
        stream(str(tmp_path), "spatialdiff")


def test_weights_and_sizes_apply_to_the_selection(full: str, tmp_path: Path):
    make_all(str(tmp_path / "large"), side=32)
    make_split(str(tmp_path / "views"), [["v"]], changes={"v": make_sample("v", kind="camera")})
    both = {full: 1.0, str(tmp_path / "large"): 1.0}
    ds = stream(both, "spatialdiff", buckets=True, last="pad")
    assert (ds.samples, ds.largest_bucket) == (18, 9)
    assert {key for batch in ds.batches(2) for key in batch["key"]} == set(WANTED)
    forget_sizes(tmp_path / "large")
    assert stream(both, "spatialdiff", buckets=True).samples == 18
    with pytest.raises(BadInput, match="a weighted set has no sample to draw"):
        stream({full: 1.0, str(tmp_path / "views"): 1.0}, "spatialdiff")
    assert stream([full, str(tmp_path / "views")], "spatialdiff").left_out["camera"] == 4


def test_the_benchmark_uses_only_the_selection(tmp_path: Path):
    """Images of another size are no error if they are not selected."""
    changes = {"v": make_sample("v", kind="camera", side=32), "m": make_sample("m")}
    make_split(str(tmp_path), [list(changes)], changes=changes)
    assert stream(str(tmp_path), "spatialdiff").samples == 1
    assert measure(str(tmp_path), "spatialdiff", seconds=0.1)["batch"] == 1
