import gzip
import io
import os
import tarfile

import numpy as np
import pytest

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.sources.object3dit import archive
from spatialdata_builder.sources.object3dit.archive import Archive, digest, walk
from tests.sources.object3dit.conftest import pack


def content(size=300_000):
    """Files that do not compress, so that damage hits them."""
    rng = np.random.default_rng(0)
    return {f"rotate/train/{n:03d}/{name}": rng.bytes(size) for n in range(4) for name in ("1.png", "metadata.json")}


def read_all(path, tmp_path):
    return list(walk(str(path), str(tmp_path / "idx"), "metadata.json"))


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_ranges_read_what_was_packed(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(archive, "_SPACING", 2**18)
    files = content()
    path = pack(tmp_path / f"rotate{suffix}", files)
    entries = read_all(path, tmp_path)
    assert [str(entry.path) for entry in entries] == list(files)
    assert all(
        entry.data == (files[str(entry.path)] if entry.path.name == "metadata.json" else b"") for entry in entries
    )
    opened = Archive(str(path), digest(str(path)), str(tmp_path / "idx"))
    for entry in reversed(entries):
        assert opened.read({"x": entry.place})["x"] == files[str(entry.path)]
    opened.close()


def test_several_gzip_members_are_one_archive(tmp_path):
    plain = pack(tmp_path / "rotate.tar", content(1000)).read_bytes()
    path = tmp_path / "rotate.tar.gz"
    path.write_bytes(gzip.compress(plain[:5000]) + gzip.compress(plain[5000:]))
    entries = read_all(path, tmp_path)
    opened = Archive(str(path), digest(str(path)), str(tmp_path / "idx"))
    assert opened.read({"x": entries[-1].place})["x"] == content(1000)["rotate/train/003/metadata.json"]


def link(name, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info


def large(name, size):
    info = tarfile.TarInfo(name)
    info.size = size
    return info


@pytest.mark.slow
@pytest.mark.parametrize(
    ("member", "message"),
    [
        (large("../../evil.png", 1), r"is rejected: its member '../../evil.png' leads out of the archive"),
        (large("/rotate/train/a/1.png", 1), r"'/rotate/train/a/1.png' leads out"),
        (large("rotate\\..\\1.png", 1), "leads out"),
        (link("rotate/train/a/1.png", tarfile.SYMTYPE), r"'rotate/train/a/1.png' is a link to '/etc/passwd'"),
        (link("rotate/train/a/1.png", tarfile.LNKTYPE), "is a link"),
        (link("rotate/train/a/1.png", tarfile.CHRTYPE), "neither a plain file nor a folder"),
        (link("rotate/train/a/1.png", tarfile.FIFOTYPE), "neither a plain file nor a folder"),
        (large("rotate/train/a/1.png", 65 * 2**20), r"'rotate/train/a/1.png' has 68157440 bytes, over 67108864"),
        (large("rotate/train/a/metadata.json", 2**20 + 1), r"metadata.json' has 1048577 bytes"),
    ],
)
def test_unsafe_members_are_rejected_by_name(tmp_path, member, message):
    path = pack(tmp_path / "rotate.tar.gz", content(100), members=[member])
    with pytest.raises(BadInput, match=message) as caught:
        read_all(path, tmp_path)
    assert "rotate.tar.gz" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "idx").exists()


@pytest.mark.slow
def test_a_bomb_of_many_files_is_rejected(tmp_path):
    path = tmp_path / "rotate.tar.gz"
    zeros = bytes(8 * 2**20)
    with tarfile.open(path, "w:gz", compresslevel=9) as tar:
        for n in range(12):
            info = tarfile.TarInfo(f"rotate/train/{n}/1.png")
            info.size = len(zeros)
            tar.addfile(info, io.BytesIO(zeros))
    with pytest.raises(BadInput, match="100 times its size"):
        read_all(path, tmp_path)


def test_a_header_that_is_too_large_is_rejected(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_MEMBER", 2**20)
    path = tmp_path / "rotate.tar"
    info = tarfile.TarInfo("rotate/train/a/1.png")
    info.pax_headers = {"comment": "x" * 3 * 2**20}
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info)
    with pytest.raises(BadInput, match="a header over 1048576 bytes"):
        read_all(path, tmp_path)


def cut(data):
    return data[: len(data) * 2 // 3]


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, r"after member 'rotate/train/00\d/.*\(byte \d+ of its contents\)"),
        (lambda data: b"", "is empty"),
        (lambda data: os.urandom(5000), "is not gzip"),
        (lambda data: flip(data, len(data) // 2), "fetch it again"),
        (lambda data: flip(data, len(data) - 6), "is damaged"),
        (lambda data: gzip.compress(gzip.decompress(data)[:-10240]), "after member|truncated"),
        (lambda data: gzip.compress(flip(gzip.decompress(data), 512 + 300_032 + 3)), "a header is damaged"),
    ],
)
def test_damaged_archives_are_rejected_where_they_break(tmp_path, damage, message):
    path = pack(tmp_path / "rotate.tar.gz", content())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BadInput, match=message) as caught:
        read_all(path, tmp_path)
    assert "rotate.tar.gz" in str(caught.value)


def test_reading_needs_the_archive_of_the_plan_and_rebuilds_its_index(tmp_path):
    path = pack(tmp_path / "rotate.tar.gz", content(1000))
    read_all(path, tmp_path)
    index = next((tmp_path / "idx").iterdir())
    name = digest(str(path))
    stored = index.read_bytes()
    for damaged in (flip(stored, len(stored) // 2), stored[:-100], b"", None):
        index.unlink() if damaged is None else index.write_bytes(damaged)
        Archive(str(path), name, str(tmp_path / "idx"))
        assert index.read_bytes() == stored
    pack(path, content(1001))
    with pytest.raises(BadInput, match="has changed since it was planned"):
        Archive(str(path), name, str(tmp_path / "idx"))
