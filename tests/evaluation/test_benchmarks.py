"""A set has the samples of the shards, bit for bit, and notices every change."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from spatialdata_builder.evaluation.benchmarks import Benchmark, read_benchmark
from spatialdata_builder.evaluation.making import make_benchmark
from spatialdata_builder.shards.codecs import decode_image, decode_labels, decode_mask
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.layout import find_shards
from spatialdata_builder.shards.reader import read_record, read_samples
from spatialdata_builder.shards.schema import EDIT_KINDS
from spatialdata_builder.shards.verify import verify_folder
from tests.evaluation.conftest import PER_KIND
from tests.pipeline.command_line import assert_fails, run


def stored(url: str) -> dict[str, dict[str, bytes]]:
    return {sample.key: sample.members for shard in find_shards(url) for sample in read_samples(shard)}


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_members_are_copied(out: Path, benchmark: Benchmark):
    original, copied = stored(str(out)), stored(str(benchmark.folder))
    assert list(copied) == list(benchmark.keys)
    assert len(copied) == PER_KIND * len(EDIT_KINDS)
    assert all(copied[key] == original[key] for key in copied)
    assert not any(key == "seen" for key in copied)
    problems = verify_folder(str(benchmark.folder)).problems
    assert {problem.key[:4] for problem in problems} == {"swap"}  # those of the shards have one object


def test_one_member_is_read_without_the_others(benchmark: Benchmark):
    whole = stored(benchmark.shards)
    for key in benchmark.keys:
        assert benchmark.member(key, "target") == whole[key]["target"]
        assert benchmark.record(key) == read_record(whole[key]["json"])
    with pytest.raises(BadInput, match="it has no member confidence"):
        benchmark.member(benchmark.keys[0], "confidence")


def test_plain_folders_show_what_an_editor_may_see(benchmark: Benchmark):
    whole = stored(benchmark.shards)
    assert {path.name for path in (benchmark.folder / "items").iterdir()} == set(benchmark.keys)
    for key in benchmark.keys:
        record, folder = benchmark.record(key), benchmark.folder / "items" / key
        assert {path.name for path in folder.iterdir()} == {"source.png", "prompt.txt", "mask.png", "box.json"}
        assert np.array_equal(decode_image((folder / "source.png").read_bytes()), decode_image(whole[key]["source"]))
        assert (folder / "prompt.txt").read_text() == record.instruction.text + "\n"
        labels = decode_labels(whole[key]["source_instances"])
        mask = decode_mask((folder / "mask.png").read_bytes())
        assert np.array_equal(mask, (labels == record.edit.object) & (record.edit.object > 0))
        x0, y0, x1, y1 = json.loads((folder / "box.json").read_text())["source"]
        assert mask[y0:y1, x0:x1].sum() == mask.sum()
        assert mask.any() == (record.edit.kind not in ("camera", "insert"))


def test_targets_are_there_only_on_demand_and_do_not_change_the_digest(out: Path, benchmark: Benchmark, tmp_path: Path):
    make_benchmark(str(out), tmp_path / "set", name="trial", per_kind=PER_KIND, with_targets=True)
    other = read_benchmark(tmp_path / "set")
    other.verify()
    assert (other.digest, other.keys) == (benchmark.digest, benchmark.keys)
    for key in other.keys:
        target = decode_image(other.item(key, "target.png").read_bytes())
        assert np.array_equal(target, decode_image(benchmark.member(key, "target")))
        assert json.loads(other.item(key, "box.json").read_text())["target"] == other.record(key).edit.box


def test_equal_inputs_give_equal_files(out: Path, benchmark: Benchmark, tmp_path: Path):
    make_benchmark(str(out), tmp_path / "again", name="trial", per_kind=PER_KIND)
    assert files(tmp_path / "again") == files(benchmark.folder)
    make_benchmark(str(out), tmp_path / "seed", name="trial", per_kind=PER_KIND, seed=1)
    assert read_benchmark(tmp_path / "seed").digest != benchmark.digest
    make_benchmark(str(out), tmp_path / "name", name="other", per_kind=PER_KIND)
    assert read_benchmark(tmp_path / "name").digest != benchmark.digest


@pytest.fixture
def copy(benchmark: Benchmark, tmp_path: Path) -> Path:
    return Path(shutil.copytree(benchmark.folder, tmp_path / "copy"))


def test_verify_notices_every_file(benchmark: Benchmark, copy: Path):
    opened = read_benchmark(copy)
    opened.verify()
    assert set(opened.manifest.files) == set(files(copy)) - {"benchmark.json"}
    for name in sorted(opened.manifest.files)[::7]:
        data = (copy / name).read_bytes()
        (copy / name).write_bytes(bytes([data[0] ^ 1]) + data[1:])
        with pytest.raises(BadInput, match=f"{name} differs"):
            opened.verify()
        (copy / name).unlink()
        with pytest.raises(BadInput, match=f"{name} cannot be read"):
            opened.verify()
        (copy / name).write_bytes(data)
    opened.verify()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda manifest: manifest["keys"].pop(), "digest does not match"),
        (lambda manifest: manifest.update(name="other"), "digest does not match"),
        (lambda manifest: manifest.update(version=2), "digest does not match"),
        (lambda manifest: manifest.update(format="spatialdata-benchmark-9"), "format"),
        (lambda manifest: manifest["files"].update({"../x": "0" * 64}), "outside its folder"),
        (lambda manifest: manifest.pop("keys"), "keys"),
    ],
)
def test_a_changed_manifest_is_noticed(copy: Path, change, words):
    path = copy / "benchmark.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(BadInput, match=words):
        read_benchmark(copy)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[]"])
def test_a_broken_manifest_is_one_line(copy: Path, data: bytes):
    (copy / "benchmark.json").write_bytes(data)
    assert_fails(run("edit", copy, "--with", "copy", "--out", copy.parent / "pred"), "benchmark.json")


def test_the_command_prints_counts_and_what_is_missing(out: Path, tmp_path: Path):
    arguments = ("benchmark", out, "--name", "trial", "--out", tmp_path / "set")
    found = run(*arguments, "--per-kind", 5)
    assert found.code == 0
    assert "missing: scale: asked 5, found 3" in found.out
    assert f"kind: {', '.join(f'{kind} 3' for kind in sorted(EDIT_KINDS))}" in found.out
    assert_fails(run(*arguments), "frozen")
    as_json = json.loads(run(*arguments[:-1], tmp_path / "two", "--json").out)
    assert as_json["digest"] == read_benchmark(tmp_path / "two").digest


def test_bad_input_of_the_command(out: Path, tmp_path: Path):
    def fails(url: object, *words: str, name: str = "x", to: Path = tmp_path / "set", options: tuple[str, ...] = ()):
        assert_fails(run("benchmark", url, "--name", name, "--out", to, *options), *words)

    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    fails(out, "other content", to=tmp_path / "full")
    fails(out, "a-z, 0-9 and -", name="My set")
    fails(out, "no split val", "test, train", options=("--split", "val"))
    fails(tmp_path / "none", "is not a folder")
    fails(out, "canonical views", options=("--preset", "object-view"))
    slim = tmp_path / "slim"
    shutil.copytree(out / "shards" / "full", slim / "shards" / "spatialdiff")
    fails(slim, f"spatialdata shard {slim} --recipe full")
    assert not (tmp_path / "set").exists()


def test_a_killed_command_leaves_nothing_that_counts(out: Path, tmp_path: Path):
    (tmp_path / ".set.half").mkdir()
    (tmp_path / ".set.half" / "benchmark.json").write_text("{}")
    make_benchmark(str(out), tmp_path / "set", name="trial", per_kind=1)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_set_is_exported_for_spatialedit_bench(benchmark: Benchmark, tmp_path: Path):
    found = run("export", benchmark.folder, "--layout", "spatialedit-bench", "--out", tmp_path / "se")
    assert found.code == 0
    items = json.loads((tmp_path / "se" / "SpatialEdit_Bench_Meta_File.json").read_text())
    kinds = {record.key: record.edit.kind for record, _ in benchmark.samples()}
    assert {item["image_id"] for item in items} == {
        k for k, v in kinds.items() if v in ("translate", "scale", "camera")
    }
    assert "layout does not support swap edits" in found.out
