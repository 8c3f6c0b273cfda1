import shutil
import tarfile
import tracemalloc
from itertools import islice

import pytest

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.interop.object3dit import FILES
from spatialdata_builder.sources.object3dit import scan
from tests.sources.object3dit.conftest import pack, pair_files

SHORT = b'{"object_data": [{"uid": "aaa"}]}'
KEYS = [
    ("translate-train-t1", "train"),
    ("translate-val-seen-v1", "val"),
    ("rotate-test-unseen-r1", "test"),
    ("remove-train-m1", "train"),
    ("insert-train-m1", "train"),
    ("remove-test-seen-m2", "val"),
    ("insert-test-seen-m2", "val"),
]


def listed(result):
    return [(row.key, row.split) for row in result.rows]


def test_all_tasks_and_splits_of_folders(release, tmp_path):
    rows = list(scan(str(release), str(tmp_path / "idx")).rows)
    assert [(row.key, row.split) for row in rows] == KEYS
    assert rows[1].spec["path"] == "translate/val/seen/v1"
    assert rows[4].spec["edit"] == "insert"
    assert not (tmp_path / "idx").exists()


def test_archives_give_the_same_keys(packed, tmp_path):
    assert listed(scan(str(packed), str(tmp_path / "idx"))) == KEYS
    assert listed(scan(str(packed / "rotate.tar"), str(tmp_path / "idx"))) == [KEYS[2]]
    # A plain tar needs no seek index.
    assert sorted(path.name.split("-")[0] for path in (tmp_path / "idx").iterdir()) == ["remove", "translate"]


def test_no_object_of_test_is_seen_in_train(release, packed, tmp_path):
    for root in (release, packed):
        result = scan(str(root), str(tmp_path / "idx"))
        # m2 was released as test, but its object is of train, in another role: all objects of a pair count.
        assert {row.key for row in result.rows if row.split != row.spec["released"].partition("/")[0]} == {
            "remove-test-seen-m2",
            "insert-test-seen-m2",
        }
        assert result.notes == ("1 released pairs of test show an object of train: they are moved to val",)


def test_names_are_not_patterns(release, tmp_path):
    odd = tmp_path / "a [b] *?"
    release.rename(odd)
    assert listed(scan(str(odd), str(tmp_path))) == KEYS


def test_kinds_choose_edits(release, tmp_path):
    result = scan(str(release), str(tmp_path), kinds=["insert"])
    assert [row.key for row in result.rows] == ["insert-train-m1", "insert-test-seen-m2"]


def test_a_folder_wins_over_an_archive_of_its_task(release, release_files, tmp_path):
    pack(release / "rotate.tar.gz", {name: data for name, data in release_files.items() if name.startswith("rotate")})
    result = scan(str(release), str(tmp_path / "idx"))
    assert listed(result) == KEYS
    assert "rotate.tar.gz is not read: there is another copy of rotate" in result.notes


def test_uids_that_are_not_valid_in_keys_are_renamed_without_collision(tmp_path):
    files = {
        f"rotate/train/{uid}/{n}": d for uid in ("A b.c", "A_b_c", "ok-1") for n, d in pair_files("rotate").items()
    }
    pack(tmp_path / "rotate.tar", files)
    keys = [row.key for row in scan(str(tmp_path), str(tmp_path)).rows]
    assert len(set(keys)) == 3
    assert "rotate-train-ok-1" in keys
    assert sum(key.startswith("rotate-train-a-b-c-") for key in keys) == 2


def test_broken_metadata_is_planned_and_left_to_the_stage(release, tmp_path):
    (release / "translate/train/t1/metadata.json").write_text("{")
    shutil.rmtree(release / "rotate/test/unseen/r1")
    (release / "rotate/test/unseen/empty").mkdir()
    keys = [row.key for row in scan(str(release), str(tmp_path)).rows]
    assert "translate-train-t1" in keys
    assert "rotate-test-unseen-empty" in keys


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "does not exist"),
        (lambda root: root.mkdir(), "is empty"),
        (lambda root: root.write_text("x"), "is not a folder"),
        (lambda root: (root / "chairs").mkdir(parents=True), r"no OBJECT-3DIT pairs .* translate/, rotate/, remove/"),
    ],
)
def test_a_root_without_pairs_is_rejected(tmp_path, make, message):
    root = tmp_path / "root"
    make(root)
    with pytest.raises(BadInput, match=message):
        scan(str(root), str(tmp_path / "idx"))


def test_files_of_a_pair_need_not_be_adjacent(release_files, tmp_path):
    """A tar may be sorted by file name, with metadata before the images."""
    names = sorted(release_files, key=lambda name: (name.rpartition("/")[2], name), reverse=True)
    (tmp_path / "root").mkdir()
    for task in ("translate", "rotate", "remove"):
        pack(tmp_path / f"root/{task}.tar", {name: release_files[name] for name in names if name.startswith(task)})
    result = scan(str(tmp_path / "root"), str(tmp_path / "idx"))
    rows = list(result.rows)
    assert sorted((row.key, row.split) for row in rows) == sorted(KEYS)
    assert all(len(row.spec["members"]) == 5 for row in rows)
    assert result.notes


@pytest.mark.parametrize("archived", [True, False])
@pytest.mark.slow
def test_pairs_are_not_kept_in_memory(tmp_path, archived):
    """At the last rows, the scan uses less than 150 bytes per pair; the metadata of one takes 1 kB."""
    pairs = 1000
    names = FILES if archived else ("metadata.json",)
    folders = (f"rotate/{'train' if number % 10 else 'test/unseen'}/{number:032x}" for number in range(pairs))
    files = {f"{folder}/{name}": SHORT for folder in folders for name in names}
    if archived:
        pack(tmp_path / "rotate.tar", files)
    else:
        for name, data in files.items():
            (tmp_path / name).parent.mkdir(parents=True)
            (tmp_path / name).write_bytes(data)
    tracemalloc.start()
    try:
        result = scan(str(tmp_path), str(tmp_path / "idx"))
        assert sum(1 for _ in islice(result.rows, pairs - 1)) == pairs - 1
        ours = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/sources/object3dit/*")])
        assert sum(statistic.size for statistic in ours.statistics("filename")) < 150 * pairs
    finally:
        tracemalloc.stop()
    assert len(list(result.rows)) == 1


def test_names_that_are_not_utf_8_are_rejected(release_files, tmp_path):
    info = tarfile.TarInfo("rotate/train/a\udcff/1.png")
    pack(tmp_path / "rotate.tar", {}, members=[info])
    with pytest.raises(BadInput, match="is not UTF-8"):
        scan(str(tmp_path / "rotate.tar"), str(tmp_path))
