"""A gallery appears complete or not at all, and never replaces anything else."""

import errno
import os
import socket
from pathlib import Path

import pytest

from spatialdata_builder.pipeline.report.gallery.folder import check_room, new_folder
from spatialdata_builder.shards.errors import BadInput, SpatialdataError
from tests.pipeline.command_line import assert_fails, run


def make(place: Path, text: str) -> None:
    with new_folder(place) as folder:
        assert not (place / "mine").exists() or (place / "mine").read_text() != text
        (folder / "mine").write_text(text)


def test_it_is_complete_and_can_be_rebuilt(tmp_path: Path):
    place = tmp_path / "deep" / "gallery"
    make(place, "first")
    assert (place / "index.html").is_file()
    make(place, "second")
    assert (place / "mine").read_text() == "second"
    with pytest.raises(ZeroDivisionError), new_folder(place):
        raise ZeroDivisionError
    assert (place / "mine").read_text() == "second"
    assert [path.name for path in place.parent.iterdir()] == ["gallery"]


def test_other_folders_are_not_replaced(tmp_path: Path, finished: Path):
    place, file = tmp_path / "thesis", tmp_path / "file"
    place.mkdir()
    (place / "thesis.tex").write_text("mine")
    (place / "gallery.json").write_text("{}")
    file.write_text("mine")
    for taken in (place, file, file / "below"):
        assert_fails(run("view", finished, "--out", taken), str(taken), "--out")
    assert sorted(path.name for path in place.iterdir()) == ["gallery.json", "thesis.tex"]
    assert file.read_text() == "mine"
    (tmp_path / "empty").mkdir()
    make(tmp_path / "empty", "into an empty folder")


def test_folders_of_killed_runs_are_removed(tmp_path: Path):
    dead = os.fork()
    if dead == 0:
        os._exit(0)
    os.waitpid(dead, 0)
    left = tmp_path / f".gallery.{socket.gethostname()}-{dead}.tmp"
    alive = tmp_path / f".gallery.{socket.gethostname()}-{os.getppid()}.tmp"
    other = tmp_path / ".gallery.tmp"
    for folder in (left, alive, other):
        folder.mkdir()
    make(tmp_path / "gallery", "x")
    assert not left.exists()
    assert alive.exists()
    assert other.exists()


def test_too_little_space_is_an_error_before_anything_is_written(tmp_path: Path):
    with pytest.raises(SpatialdataError, match=r"10000 samples take about .*--limit \d+"):
        check_room(tmp_path / "deep" / "gallery", 10**18, 10_000)
    assert not list(tmp_path.iterdir())
    check_room(tmp_path, 1, 1)


def test_a_full_disk_is_reported(tmp_path: Path):
    with pytest.raises(SpatialdataError, match="the disk is full"), new_folder(tmp_path / "gallery") as folder:
        raise OSError(errno.ENOSPC, "No space left on device", str(folder / "media"))
    assert not list(tmp_path.iterdir())


def test_remote_folders_are_not_written(finished: Path):
    assert_fails(run("view", finished, "--out", "s3://bucket/gallery"), "s3://bucket/gallery", "folder on this machine")
    assert_fails(run("view", "s3://bucket/set"), "s3://bucket/set", "--out")
    with pytest.raises(BadInput, match="not a folder"), new_folder(Path("/dev/null")):
        pass
