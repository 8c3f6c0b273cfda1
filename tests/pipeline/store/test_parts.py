"""Parts hold what was written, or count as absent; nothing else in the store sees them."""

import subprocess
import sys
from pathlib import Path

import pytest

from spatialdata_builder.pipeline.store.layers import LayerStore, PartName, Record, Rejected
from spatialdata_builder.pipeline.store.parts import Part, read_part, write_part

LAYER = "pair-0123456789abcdef"
NAME = PartName(3, 8, 2)
PACKAGES = {"numpy": "2"}
PART = Part(
    {"a": {"image": b"\x00\n\n\xff", "mean": 0.1, "n": 3, "ok": True, "text": "ü"}},
    (Rejected("b", "too_dark", 0.25, "mean 0.25\n\nof 255", {"mean": 0.25}),),
    {"tried": 3},
    1.5,
    1.25,
)


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> LayerStore:
    return LayerStore(str(tmp_path / "out") if request.param == "local" else f"memory://{tmp_path.name}")


def test_write_and_read(store: LayerStore):
    assert (store.parts(LAYER), read_part(store, LAYER, NAME, PACKAGES)) == ([], None)
    write_part(store, LAYER, NAME, PART, PACKAGES)
    assert read_part(store, LAYER, NAME, PACKAGES) == PART
    assert PART.keys == {"a", "b"}
    rejected = Part(rejects=PART.rejects)
    write_part(store, LAYER, PartName(12, 0, 1), rejected, PACKAGES)
    assert read_part(store, LAYER, PartName(12, 0, 1), PACKAGES) == rejected
    assert store.parts(LAYER) == [NAME, PartName(12, 0, 1)]


def test_a_part_of_something_else_is_not_read(store: LayerStore):
    write_part(store, LAYER, NAME, PART, PACKAGES)
    data = store.read_file(store.part_name(LAYER, NAME))
    assert read_part(store, LAYER, NAME, {"numpy": "3"}) is None
    for layer, name in (("pair-fedcba9876543210", NAME), (LAYER, PartName(4, 8, 2))):
        store.write_file(store.part_name(layer, name), data)
        assert read_part(store, layer, name, PACKAGES) is None


@pytest.mark.parametrize("at", [0, 70, 100, -20])
def test_a_changed_byte_is_noticed(store: LayerStore, at: int):
    write_part(store, LAYER, NAME, PART, PACKAGES)
    data = bytearray(store.read_file(store.part_name(LAYER, NAME)))
    data[at] ^= 1
    store.write_file(store.part_name(LAYER, NAME), bytes(data))
    assert read_part(store, LAYER, NAME, PACKAGES) is None


def test_a_unit_with_parts_is_not_done_and_loses_them_when_it_is_reopened(store: LayerStore):
    def keep() -> None:
        for name in (NAME, PartName(3, 0, 8), PartName(4, 0, 8)):
            write_part(store, LAYER, name, PART, PACKAGES)

    keep()
    assert store.done_units(LAYER) == store.done_units(LAYER, range(2, 5)) == []
    store.write(LAYER, 3, PART.rows, Record(3, LAYER))
    assert store.done_units(LAYER) == store.done_units(LAYER, range(2, 5)) == [3]
    assert [record.unit for record in store.records(LAYER)] == [3]
    assert store.read(LAYER, 3) == PART.rows
    store.remove_parts(LAYER, 3)
    assert store.parts(LAYER) == [PartName(4, 0, 8)]
    for reopen in (store.set_aside, store.discard):
        keep()
        reopen(LAYER, 3)
        assert store.parts(LAYER) == [PartName(4, 0, 8)]


FULL = """
import resource, sys
from spatialdata_builder.pipeline.store.layers import LayerStore, PartName
from spatialdata_builder.pipeline.store.parts import Part, write_part
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    write_part(LayerStore(sys.argv[1]), "pair-0", PartName(0, 0, 1), Part({"a": {"image": bytes(100000)}}), {})
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.slow
def test_a_full_disk_is_reported_and_leaves_no_file(tmp_path: Path):
    found = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert found.stdout.startswith("SpatialdataError"), found
    assert f"cannot write in {tmp_path}" in found.stdout
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]
