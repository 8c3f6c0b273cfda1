"""Finding models: folders, single files, and the hub's cache, read by the hub's client, offline."""

from pathlib import Path

import pytest

from spatialdata_builder.annotators.checkpoint import Checkpoint, digest_of, find_checkpoint, find_file, require
from spatialdata_builder.shards.errors import BadInput

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache with one repository at one commit, and no network."""
    snapshot = tmp_path / "models--lab--depth-small" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    refs = tmp_path / "models--lab--depth-small" / "refs"
    refs.mkdir()
    (refs / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "models" / "mine-hf"
    root.mkdir(parents=True)
    (root / "config.json").write_text('{"model_type": "depth_anything"}')
    (root / "model.safetensors").write_bytes(bytes(range(256)) * 20_000)
    return root


def test_a_folder_is_named_by_its_content_and_its_last_component(folder: Path):
    found = find_checkpoint(str(folder))
    assert found == Checkpoint(str(folder), folder, digest_of(folder))
    assert found.name == "mine-hf" and found.revision.startswith("sha256:")
    assert find_checkpoint(f"{folder.parent}/../models/mine-hf/").name == "mine-hf"


def test_the_digest_depends_on_names_sizes_and_content_but_not_on_the_path(folder: Path, tmp_path: Path):
    first = digest_of(folder)
    moved = folder.rename(tmp_path / "elsewhere")
    assert digest_of(moved) == first
    seen = {first}
    weights = moved / "model.safetensors"
    for position in (0, weights.stat().st_size - 1):
        data = bytearray(weights.read_bytes())
        data[position] ^= 1
        weights.write_bytes(data)
        seen.add(digest_of(moved))
    (moved / "config.json").rename(moved / "configuration.json")
    seen.add(digest_of(moved))
    weights.write_bytes(weights.read_bytes()[:-1])
    seen.add(digest_of(moved))
    assert len(seen) == 5


def test_a_tilde_is_the_home_folder(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    found = find_checkpoint("~/mine-hf")
    assert found.folder == folder and found.name == "mine-hf"


@pytest.mark.parametrize("model", ["/nowhere/depth", "./depth", "~/no-such-model"])
def test_a_missing_folder_is_not_searched_on_the_hub(model: str):
    with pytest.raises(BadInput, match="does not exist"):
        find_checkpoint(model)


@pytest.mark.parametrize("revision", ["", "main", COMMIT])
def test_a_cached_snapshot_is_named_by_its_commit(hub: Path, revision: str):
    found = find_checkpoint("lab/depth-small", revision, files=["*.json"])
    assert found.revision == COMMIT and found.name == "lab/depth-small"
    assert (found.folder / "config.json").read_text() == "{}"


def test_a_failed_download_names_the_command_that_downloads_it(hub: Path):
    with pytest.raises(BadInput, match="hf download lab/depth-huge --revision v2`") as caught:
        find_checkpoint("lab/depth-huge", "v2")
    assert "\n" not in str(caught.value) and "'lab/depth-huge'" in str(caught.value)


def test_a_single_file_model_is_given_by_its_file_or_folder(folder: Path, hub: Path):
    file = folder / "model.safetensors"
    by_file, by_folder = find_file(str(file), "ignored.onnx"), find_file(str(folder), "model.safetensors")
    assert by_file.folder == by_folder.folder == file
    assert by_file.revision == digest_of(file) and by_file.name == "model.safetensors"
    assert find_file("lab/depth-small", "config.json").revision == COMMIT
    with pytest.raises(BadInput, match=r"has no file model\.onnx"):
        find_file(str(folder), "model.onnx")


def test_a_missing_package_names_the_command_that_installs_it():
    assert require("json", "annotators").loads("1") == 1
    with pytest.raises(BadInput, match=r"pip install -c constraints\.txt -e '\.\[vllm\]'"):
        require("no_such_package_at_all.inner", "vllm")
