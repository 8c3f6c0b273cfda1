"""Commits are complete, written once and checked when read; equal rows give equal bytes."""

import hashlib
import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialdata_builder.pipeline.store.layers import LayerCorrupt, LayerStore, Record, Rejected, encode_rows
from spatialdata_builder.shards.errors import BadInput, SpatialdataError

LAYER = "pair-0123456789abcdef"
ROWS = {
    "b-1": {"image": b"\x00\xff" * 500, "mean": 0.5, "n": 3, "ok": True, "text": "ü"},
    "a-2": {"image": b"", "mean": 1.0, "n": -1, "ok": False, "text": ""},
}
REJECTS = (Rejected("c-3", "too_dark", 0.25, "mean 0.25"),)


def record(**values: object) -> Record:
    return Record(unit=0, layer=LAYER, **values)  # type: ignore[arg-type]


@pytest.fixture(params=["local", "memory", pytest.param("s3", marks=pytest.mark.s3)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> LayerStore:
    if request.param == "s3":
        return LayerStore(f"s3://bucket/{tmp_path.name}", **request.getfixturevalue("s3"))
    return LayerStore(str(tmp_path / "out") if request.param == "local" else f"memory://{tmp_path.name}")


def test_write_and_read(store: LayerStore):
    committed = store.write(LAYER, 7, ROWS, record(rejects=REJECTS, counts={"tried": 3}))
    assert (committed.unit, committed.rows) == (7, 2)
    assert store.read(LAYER, 7) == ROWS
    assert list(store.read(LAYER, 7)) == list(ROWS)
    assert store.read(LAYER, 7, ["n"]) == {"b-1": {"n": 3}, "a-2": {"n": -1}}
    assert store.done_units(LAYER) == [7]
    assert list(store.records(LAYER)) == [committed]
    assert store.record(LAYER, 7).rejects == REJECTS
    data = store.read_file(store.data_name(LAYER, 7))
    assert (committed.bytes, committed.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_peek_reads_only_some_columns(store: LayerStore):
    store.write(LAYER, 7, ROWS, record())
    assert store.peek(LAYER, 7, ["n", "text"]) == {
        key: {"n": row["n"], "text": row["text"]} for key, row in ROWS.items()
    }
    with pytest.raises(SpatialdataError, match="no column 'm'"):
        store.peek(LAYER, 7, ["m"])
    store.write(LAYER, 8, {}, record())
    assert store.peek(LAYER, 8, ["n"]) == {}
    with pytest.raises(LayerCorrupt, match="is missing"):
        store.peek(LAYER, 9, ["n"])
    whole = store.read_file(store.data_name(LAYER, 7))
    for damaged, words in ((whole[:-1], "its record says"), (bytes(len(whole)), "cannot be read")):
        store.write_file(store.data_name(LAYER, 7), damaged)
        with pytest.raises(LayerCorrupt, match=words):
            store.peek(LAYER, 7, ["n"])
    store.remove(store.data_name(LAYER, 7))
    with pytest.raises(LayerCorrupt, match="is missing"):
        store.peek(LAYER, 7, ["n"])


def test_a_record_is_written_once(store: LayerStore):
    first = store.write(LAYER, 0, ROWS, record(host="one"))
    assert store.write(LAYER, 0, ROWS, record(host="two")) == first
    assert store.create_file("x", b"1")
    assert not store.create_file("x", b"2")
    assert store.read_file("x") == b"1"


def test_a_second_writer_with_other_bytes_leaves_a_valid_unit(store: LayerStore):
    store.write(LAYER, 0, ROWS, record())
    other = {"b-1": {"image": b"other"}}
    store.write(LAYER, 0, other, record())
    store.check(LAYER, 0)
    assert store.read(LAYER, 0) == other


def test_two_writers_race(tmp_path: Path):
    def write(number: int) -> Record:
        return LayerStore(str(tmp_path)).write(LAYER, number // 8, ROWS, record(host=str(number)))

    with ThreadPoolExecutor(8) as threads:
        winners = list(threads.map(write, range(64)))
    store = LayerStore(str(tmp_path))
    for unit in range(8):
        assert len({winner.host for winner in winners[unit * 8 : unit * 8 + 8]}) == 1
        assert store.read(LAYER, unit) == ROWS
    assert not [file for file in (tmp_path / "layers" / LAYER).iterdir() if ".tmp" in file.name]


def test_a_unit_without_rows(store: LayerStore):
    store.write(LAYER, 0, {}, record(rejects=REJECTS))
    assert store.read(LAYER, 0, ["image"]) == {}


def test_an_empty_store(store: LayerStore):
    assert store.done_units(LAYER) == []
    assert list(store.records(LAYER)) == []
    with pytest.raises(LayerCorrupt):
        store.read(LAYER, 0)


values = st.dictionaries(
    st.from_regex("[a-z0-9-]{1,20}", fullmatch=True),
    st.tuples(
        st.binary(max_size=50),
        st.text(max_size=20),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False),
        st.booleans(),
    ),
    max_size=40,
)


@pytest.mark.slow
@given(values)
@settings(max_examples=40, deadline=None)
def test_values_round_trip_and_bytes_do_not_depend_on_the_order_of_columns(drawn: dict[str, tuple[object, ...]]):
    rows = {key: dict(zip(("b", "t", "i", "f", "o"), cells, strict=True)) for key, cells in drawn.items()}
    store = LayerStore("memory://any")
    store.set_aside(LAYER, 1)
    store.write(LAYER, 1, rows, record())
    assert store.read(LAYER, 1) == rows
    reordered = {key: dict(reversed(row.items())) for key, row in rows.items()}
    assert bytes(encode_rows(reordered, LAYER)) == bytes(encode_rows(rows, LAYER))


@pytest.mark.parametrize("row", [{"image": b"x", "more": 1}, {"image": "text"}, {"image": None}, {"key": "k"}])
def test_rows_that_differ_are_an_error_with_the_key(row: dict[str, object]):
    with pytest.raises(SpatialdataError, match="sample 'b'"):
        encode_rows({"a": {"image": b""}, "b": row}, LAYER)  # type: ignore[dict-item]


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "missing", "record"])
def test_damage_is_found_and_named(tmp_path: Path, damage: str):
    store = LayerStore(str(tmp_path))
    store.write(LAYER, 3, ROWS, record())
    store.read(LAYER, 3)  # verified once in this process; a later change must still be noticed
    file = tmp_path / store.data_name(LAYER, 3)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    if damage == "record":
        (tmp_path / store.record_name(LAYER, 3)).write_text("{")
    elif damage == "missing":
        file.unlink()
    else:
        file.write_bytes(data if damage == "flip" else data[:-9] if damage == "cut" else b"")
    advice = r"00000003\.(parquet|json) .*run `spatialdata verify .* --repair`"
    with pytest.raises(LayerCorrupt, match=advice) as caught:
        store.read(LAYER, 3)
    assert (caught.value.layer_dir, caught.value.unit) == (LAYER, 3)
    store.set_aside(LAYER, 3)
    assert store.done_units(LAYER) == []
    store.write(LAYER, 3, ROWS, record())
    assert store.read(LAYER, 3) == ROWS


@pytest.mark.slow
def test_listing_speed_is_at_least_a_hundred_thousand_units_per_second(tmp_path: Path):
    folder = tmp_path / "layers" / LAYER
    folder.mkdir(parents=True)
    for unit in range(20_000):
        os.close(os.open(folder / f"{unit:08d}.json", os.O_CREAT))
    began = time.process_time()
    assert LayerStore(str(tmp_path)).done_units(LAYER)[-1] == 19_999
    assert time.process_time() - began < 0.2


def test_not_writable(tmp_path: Path):
    (tmp_path / "file").write_text("")
    store = LayerStore(str(tmp_path / "file" / "out"))
    with pytest.raises(BadInput, match="not writable"):
        store.write(LAYER, 0, ROWS, record())
    if os.geteuid():
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(BadInput, match="not writable"):
            LayerStore(str(tmp_path / "closed")).write_file("probe", b"")


def test_a_missing_bucket_and_an_unknown_protocol_are_bad_input(s3: dict[str, object]):
    with pytest.raises(BadInput, match="not writable"):
        LayerStore("s3://nobody/out", **s3).write_file("probe", b"")
    with pytest.raises(BadInput, match="nope"):
        LayerStore("nope://x")


FULL = """
import resource, sys
from spatialdata_builder.pipeline.store.layers import LayerStore, Record
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
store = LayerStore(sys.argv[1])
try:
    store.write("pair-0", 0, {"a": {"image": bytes(100000)}}, Record(0, "pair-0"))
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.slow
def test_a_full_disk_is_reported_and_leaves_no_file(tmp_path: Path):
    """A limit on the file size simulates a full disk: the kernel fails the write midway."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    found = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert found.stdout.startswith("SpatialdataError"), found
    assert str(tmp_path) in found.stdout
    assert "MB free" in found.stdout
    assert list((tmp_path / "layers" / "pair-0").iterdir()) == []


@pytest.mark.slow
def test_a_full_temporary_folder_for_an_object_store(tmp_path: Path):
    """The error names the temporary folder of this machine."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", FULL, "memory://store"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert f"cannot write in {tmp_path} (" in found.stdout, found


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_the_error_of_a_full_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = LayerStore(str(tmp_path))
    original = Path.open
    monkeypatch.setattr(Path, "open", lambda self, mode: original(Path("/dev/full"), mode.replace("x", "w")))
    with pytest.raises(SpatialdataError, match=r"the disk is full: cannot write in .*MB free"):
        store.write(LAYER, 0, ROWS, record())
    assert list((tmp_path / "layers" / LAYER).iterdir()) == []


def test_temporary_files_of_killed_writers_are_removed(tmp_path: Path):
    folder = tmp_path / "layers" / LAYER
    folder.mkdir(parents=True)
    (folder / ".00000000.parquet-12-ab.tmp").write_bytes(b"half")
    store = LayerStore(str(tmp_path))
    assert store.done_units(LAYER) == []
    store.sweep(f"layers/{LAYER}")
    assert list(folder.iterdir()) == []
