"""Damaged files are named and rebuilt from undamaged ones; all other files stay unchanged."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spatialdata_builder.pipeline.config import load_config
from spatialdata_builder.pipeline.planning.samples import plan_build
from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.shards.errors import SpatialdataError
from tests.pipeline.command_line import assert_fails, build, python, run
from tests.pipeline.releases import build_arguments, files_of
from tests.sources.models import box, glb, make_cache


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flip(data: bytes) -> bytes:
    return data[: len(data) // 3] + bytes([data[len(data) // 3] ^ 255]) + data[len(data) // 3 + 1 :]


def junk(_: bytes) -> bytes:
    return b"junk"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layer", "file", "change"),
    [
        ("pair", "parquet", cut),
        ("segment", "parquet", None),
        ("pair", "json", junk),
        ("line", "json", cut),
        ("checks", "json", lambda _: b"[]"),
    ],
)
def test_a_damaged_layer_is_recomputed_by_the_next_build(
    release: Path, finished: Path, out: Path, layer: str, file: str, change: Callable[[bytes], bytes] | None
):
    damaged = next(out.glob(f"layers/{layer}-*/00000001.{file}"))
    whole = damaged.read_bytes()
    if change is None:
        damaged.unlink()
    else:
        damaged.write_bytes(change(whole))
    result = run("verify", out)
    assert result.code == 1
    assert f"{damaged.parent.name}/1" in result.out
    assert f"spatialdata verify {out} --repair" in result.out
    result = build(release, out)
    assert result.code == 0, result
    assert "set aside, recomputing it" in result.err
    if file == "parquet":
        assert damaged.read_bytes() == whole
    assert run("verify", out).code == 0
    assert files_of(out / "shards") == files_of(finished / "shards")


@pytest.mark.slow
def test_a_changed_layer_file_is_found_when_it_is_read(release: Path, finished: Path, out: Path):
    damaged = next(out.glob("layers/pair-*/00000000.parquet"))
    damaged.write_bytes(flip(damaged.read_bytes()))
    result = run("shard", out, "--recipe", "spatialedit")
    assert result.code == 0, result
    assert "another sha256" in result.err
    assert run("verify", out).code == 0
    sound = shutil.copytree(finished, out.parent / "sound")
    assert run("shard", sound, "--recipe", "spatialedit").code == 0
    assert files_of(out / "shards") == files_of(sound / "shards")


@pytest.mark.parametrize(
    "change", [cut, junk, lambda _: b"[]", lambda data: data.replace(b'"samples": 16', b'"samples": 17')]
)
def test_a_damaged_plan(release: Path, finished: Path, out: Path, change: Callable[[bytes], bytes]):
    (out / "plan.json").write_bytes(change((out / "plan.json").read_bytes()))
    before = files_of(out)
    for result in (run("status", out), run("verify", out), run("shard", out, "--recipe", "full")):
        assert_fails(result, str(out), "plan.json", "rerun the same `spatialdata build`", code=1)
    assert_fails(build(release, out, "edits.rotate=2"), "plan.json", "edits.rotate")
    assert files_of(out) == before
    result = build(release, out)
    assert result.code == 0
    assert "plan.json was damaged: rebuilt" in result.err
    assert "already done: pair 16" in result.err
    assert without_corrupt(out) == files_of(finished)


def without_corrupt(out: Path) -> dict[str, bytes]:
    """The files under OUT, without those that were set aside."""
    return {name: data for name, data in files_of(out).items() if not name.endswith(".corrupt")}


def test_a_damaged_plan_of_a_source_that_changed(release: Path, out: Path, tmp_path: Path):
    """It is not silently rebuilt as another plan."""
    (out / "plan.json").write_bytes(b"")
    other = shutil.copytree(release, tmp_path / "release")
    shutil.rmtree(other / "rotate")
    before = files_of(out)
    assert_fails(build(other, out), "plan.json", "now give other samples", "remove plan.json and plan/", code=1)
    assert files_of(out) == before


@pytest.mark.slow
def test_layers_of_another_plan_are_not_used(release: Path, finished: Path, out: Path, tmp_path: Path):
    (out / "plan.json").unlink()
    shutil.rmtree(out / "plan")
    settings = ("edits={rotate: 1, translate: 1}",)
    result = build(release, out, *settings)
    assert result.code == 0, result
    assert "already done: pair 0" in result.err
    assert build(release, tmp_path / "new", *settings).code == 0
    assert files_of(out / "shards") == files_of(tmp_path / "new" / "shards")
    assert run("verify", out).code == 0


@pytest.mark.slow
def test_a_damaged_list_of_units(release: Path, out: Path):
    units = out / "plan" / "units.parquet"
    whole = units.read_bytes()
    units.write_bytes(cut(whole))
    # In separate processes, because one process reads the list only once.
    result = python("-m", "spatialdata_builder.pipeline.cli", "verify", str(out))
    assert result.code == 1
    assert "plan:" in result.out
    result = python("-m", "spatialdata_builder.pipeline.cli", *build_arguments(release, out))
    assert result.code == 0, result
    assert "plan/units.parquet was damaged: rebuilt" in result.err
    assert units.read_bytes() == whole


@pytest.mark.slow
def test_another_list_of_units_is_not_used(release: Path, finished: Path, out: Path):
    units = out / "plan" / "units.parquet"
    table = pq.read_table(units)
    splits = ["train"] * table.num_rows
    pq.write_table(table.set_column(table.schema.get_field_index("split"), "split", pa.array(splits)), units)
    before = files_of(out)
    result = run("verify", out)
    assert result.code == 1
    assert "plan: " in result.out
    for result in (run("shard", out, "--recipe", "full"), run("verify", out, "--repair")):
        assert_fails(result, "plan/units.parquet", "rerun the same `spatialdata build`", code=1)
    assert files_of(out) == before
    assert build(release, out).code == 0
    assert files_of(out) == files_of(finished)


@pytest.mark.parametrize("change", [junk, lambda _: b"[]", lambda data: data.replace(b'"seed"', b'"sed"')])
def test_a_damaged_build_file(release: Path, finished: Path, out: Path, change: Callable[[bytes], bytes]):
    (out / "build.json").write_bytes(change((out / "build.json").read_bytes()))
    for command in (["status"], ["verify"], ["verify", "--repair"], ["shard", "--recipe", "full"]):
        assert_fails(run(command[0], out, *command[1:]), str(out / "build.json"), "damaged", "spatialdata build")
    assert build(release, out).code == 0
    assert files_of(out) == files_of(finished)


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Settings: a cache of models, and a folder where plans share its survey."""
    folder = tmp_path_factory.mktemp("boxes")
    root = make_cache(folder / "cache", {f"box{n}": glb(box(1, 1, 1 + n / 10)) for n in range(12)})
    return f"source.root={root}", f"source.survey={folder / 'survey'}"


@pytest.mark.parametrize("change", [junk, flip, None])
@pytest.mark.blender
def test_a_damaged_table_of_assets(boxes: tuple[str, str], tmp_path: Path, change: Callable[[bytes], bytes] | None):
    out = tmp_path / "out"

    def plan(*settings: str) -> list[str]:
        given = ["source.kind=objaverse", *boxes, "samples=3", "engine.kind=inline", *settings]
        lines: list[str] = []
        plan_build(load_config(None, given), LayerStore(str(out)), lines.append, quiet=True)
        return lines

    plan()
    table = out / "plan" / "assets.parquet"
    whole = table.read_bytes()
    if change is None:
        table.unlink()
    else:
        table.write_bytes(change(whole))
    damaged = table.read_bytes() if table.exists() else None
    with pytest.raises(SpatialdataError):  # it is not replaced by another table
        plan("source.uids=[box1, box2, box3, box4]")
    assert (table.read_bytes() if table.exists() else None) == damaged
    assert any(line.startswith("plan/assets.parquet was damaged: rebuilt") for line in plan())
    assert table.read_bytes() == whole


@pytest.mark.slow
def test_shards_are_repaired_as_they_were_packed(out: Path):
    settings = ("--set", "shard.name=mine", "--set", "shard.samples_per_shard=3", "--set", "shard.codecs.image=png")
    assert run("shard", out, "--recipe", "full", *settings).code == 0
    before = files_of(out / "shards")
    damaged = sorted(out.glob("shards/full/train/mine-*.tar"))[1]
    damaged.write_bytes(flip(damaged.read_bytes()))
    result = run("verify", out, "--repair")
    assert result.code == 0, result
    assert f"rebuilt {damaged.name}" in result.out
    assert files_of(out / "shards") == before


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["full/test", "full", "spatialedit", "spatialedit/train", ""])
def test_missing_shards_are_noticed_and_rebuilt(out: Path, lost: str):
    assert run("shard", out, "--recipe", "spatialedit", "--set", "shard.samples_per_shard=3").code == 0
    before = files_of(out / "shards")
    shutil.rmtree(out / "shards" / lost)
    result = run("verify", out)
    assert result.code == 1, result
    assert f"{lost or 'full'}" in result.out
    assert "--repair" in result.out
    result = run("verify", out, "--repair")
    assert result.code == 0, result
    if lost:
        assert files_of(out / "shards") == before
    else:  # other recipes than those of the build are not recorded anywhere else
        kept = {name: data for name, data in before.items() if "spatialedit" not in name}
        assert files_of(out / "shards") == kept


@pytest.mark.slow
def test_layers_are_verified_without_shards(release: Path, tmp_path: Path):
    out = tmp_path / "out"
    assert build(release, out, "shard.recipes=[]").code == 0
    result = run("verify", out)
    assert result.code == 0, result
    damaged = next(out.glob("layers/pair-*/00000000.parquet"))
    whole = damaged.read_bytes()
    damaged.write_bytes(flip(whole))
    assert f"{damaged.parent.name}/0" in run("verify", out).out
    result = run("verify", out, "--repair")
    assert result.code == 0, result
    assert damaged.read_bytes() == whole
    assert not (out / "shards").exists()


@pytest.mark.slow
@pytest.mark.parametrize("change", [cut, junk, lambda _: b"[]"])
def test_a_damaged_packing_record(out: Path, change: Callable[[bytes], bytes]):
    before = files_of(out / "shards")
    note = out / "shards" / ".made" / "full.json"
    note.write_bytes(change(note.read_bytes()))
    result = run("verify", out)
    assert result.code == 1
    assert str(note) in result.out
    assert_fails(run("verify", out, "--repair"), str(note), f"spatialdata shard {out} --recipe full")
    assert run("shard", out, "--recipe", "full").code == 0
    assert files_of(out / "shards") == before


@pytest.mark.parametrize("change", [cut, flip, junk, None])
def test_a_damaged_shard_is_named(out: Path, change: Callable[[bytes], bytes] | None):
    shard = next(out.glob("shards/full/train/*.tar"))
    if change is None:
        shard.unlink()
    else:
        shard.write_bytes(change(shard.read_bytes()))
    result = run("verify", out)
    assert result.code == 1
    assert shard.name in result.out
    result = run("export", out, "--layout", "object3dit", "--out", out.parent / "export")
    if change is not flip:  # only verify finds a flipped pixel
        assert "spatialdata verify" in assert_fails(result, str(shard.parent), code=result.code)
        assert result.code in (1, 2)


def test_status_names_a_damaged_record_and_reports_the_rest(release: Path, out: Path):
    record = sorted(out.glob("layers/line-*/*.json"))[0]
    record.write_bytes(b"{")
    result = run("status", out)
    assert result.code == 0, result
    assert "line: the records of units 0 cannot be read" in result.out
    found = json.loads(run("status", out, "--json").out)
    assert found["layers"]["line"]["damaged"] == [0]
    assert found["layers"]["pair"]["damaged"] == []


def test_temporary_files_of_a_killed_packing_are_removed(out: Path):
    left = out / "shards" / "full" / "train" / ".trial.tar.0123456789abcdef.tmp"
    left.write_bytes(b"half a shard")
    assert run("shard", out, "--recipe", "full").code == 0
    assert not left.exists()


def test_splits_cannot_be_changed_by_packing(out: Path):
    assert_fails(
        run("shard", out, "--recipe", "full", "--set", "shard.splits={train: 1, val: 0, test: 0}"), "shard.splits"
    )


def test_a_retry_without_matches_is_reported(release: Path, out: Path):
    result = run(*build_arguments(release, out), "--retry", "nonsense")
    assert result.code == 0, result
    assert "no sample was rejected for nonsense" in result.err
