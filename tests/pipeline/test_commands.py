"""Every failing command prints one error line and changes nothing; with `--json`, stdout has only JSON."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.pipeline.command_line import assert_fails, build, run
from tests.pipeline.releases import build_arguments, files_of, spatialdata
from tests.shards.interop.conftest import edited, pack

COMMANDS = {
    "status": (),
    "status watch": ("--watch",),
    "why": ("some-key",),
    "rebuild": ("some-key",),
    "verify": (),
    "verify repair": ("--repair",),
    "view": (),
    "shard": ("--recipe", "full"),
    "export": ("--layout", "spatialedit", "--out", "EXPORT"),
}


@pytest.mark.parametrize("command", list(COMMANDS))
@pytest.mark.parametrize("what", ["missing", "empty", "file"])
def test_commands_without_a_build(tmp_path: Path, command: str, what: str):
    place, export = tmp_path / "place", tmp_path / "export"
    if what == "empty":
        place.mkdir()
    elif what == "file":
        place.write_text("mine")
    options = [str(export) if option == "EXPORT" else option for option in COMMANDS[command]]
    assert_fails(run(command.split()[0], place, *options), str(place))
    assert not export.exists()
    assert place.exists() == (what != "missing")
    assert what != "empty" or not list(place.iterdir())


def test_shard_before_the_build_is_finished(release: Path, out: Path):
    for file in out.glob("layers/checks-*/00000003.*"):
        file.unlink()
    before = files_of(out)
    assert_fails(run("shard", out, "--recipe", "full"), "3 of 4 units", "rerun the build")
    assert files_of(out) == before
    assert build(release, out).code == 0


def test_recipes_that_cannot_be_packed(finished: Path):
    before = files_of(finished)
    assert_fails(run("shard", finished, "--recipe", "ful"), "'ful'", "spatialdiff")
    assert_fails(run("shard", finished, "--recipe", "ildm"), "ildm", "depth, normal", "add to `layers`")
    assert_fails(run("shard", finished, "--recipe", "full", "--set", "seed=4"), "seed=4", "rerun `build`")
    assert_fails(
        run("shard", finished, "--recipe", "full", "--set", "shard.sampels=4"), "shard.sampels", "samples_per_shard"
    )
    assert_fails(run("view", finished, "--recipe", "ildm"), "ildm", "full")
    assert files_of(finished) == before


def test_exports_to_a_bad_place(finished: Path, tmp_path: Path):
    full, file = tmp_path / "full", tmp_path / "file"
    full.mkdir()
    (full / "thesis.tex").write_text("mine")
    file.write_text("mine")
    for place in (full, file, file / "below"):
        assert_fails(run("export", finished, "--layout", "spatialedit", "--out", place), str(place))
    assert [path.name for path in full.iterdir()] == ["thesis.tex"]
    assert file.read_text() == "mine"


def test_pictures_at_a_bad_place(finished: Path, tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    assert_fails(run("view", finished, "--sheet", tmp_path / "file" / "x.png"), str(tmp_path / "file"))
    assert_fails(run("view", finished, "--sheet", tmp_path), str(tmp_path), "contact.png")
    assert_fails(run("view", finished, "--sheet", tmp_path / "x.jpg"), "x.jpg", "contact.png")
    assert_fails(run("view", finished, "--sheet", tmp_path / "x.png", "--recipe", "ildm"), "ildm", "full")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_sheet(finished: Path, tmp_path: Path):
    result = run("view", finished, "--sheet", tmp_path / "x.png", "--limit", "3")
    assert result.out == f"3 samples drawn: {tmp_path / 'x.png'}\n"
    with Image.open(tmp_path / "x.png") as sheet:
        assert sheet.width > sheet.height > 3 * 176


@pytest.mark.parametrize(
    "arguments", [["biuld"], ["build"], ["view", "x", "--tile", "0"], ["view", "x", "--limit", "0"]]
)
def test_wrong_usage(arguments: list[str]):
    result = run(*arguments)
    assert result.code == 2
    assert result.err.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in result.err


@pytest.mark.blender
def test_stdout_has_only_json(release: Path, tmp_path: Path):
    out = tmp_path / "out"
    result = spatialdata(*build_arguments(release, out), "--json")
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout)["accepted"] == 16
    commands = [
        ["shard", out, "--recipe", "spatialedit"],
        ["status", out],
        ["verify", out],
        ["verify", out, "--repair"],
        ["view", out],
        ["view", out, "--sheet", tmp_path / "sheet.png"],
        ["export", out, "--layout", "spatialedit", "--out", tmp_path / "export"],
    ]
    for command in commands:
        result = run(*command, "--json")
        assert (result.code, result.err) == (0, ""), command
        assert isinstance(json.loads(result.out), dict)
    result = run("doctor", "--blender", "/bin/true", "--out", tmp_path, "--json")
    assert result.code == 1
    assert isinstance(json.loads(result.out), dict)
    result = spatialdata("status", str(tmp_path / "nowhere"), "--json")
    assert (result.returncode, result.stdout) == (2, "")


@pytest.mark.slow
def test_paths_in_other_scripts(tmp_path: Path, finished: Path, release: Path):
    place = tmp_path / "größe 数据 [x] #1: *"
    place.mkdir()
    root = shutil.copytree(release, place / "réf #2")
    out = place / "aus gäbe"
    result = build(root, out)
    assert result.code == 0, result
    assert files_of(out / "shards") == files_of(finished / "shards")
    for command in (["status"], ["verify"], ["view"], ["shard", "--recipe", "spatialedit"]):
        result = run(command[0], out, *command[1:])
        assert result.code == 0, result
    assert str(out) in run("status", out).out
    assert run("export", out, "--layout", "spatialedit", "--out", place / "export").code == 0


def test_an_export_reports_what_it_leaves_out(tmp_path: Path):
    kinds = ("camera", "camera", "scale", "rotate")
    pack(tmp_path / "out", {f"s-{n}": edited(f"s-{n}", kind) for n, kind in enumerate(kinds)})
    result = run("export", tmp_path / "out", "--layout", "object3dit", "--out", tmp_path / "export")
    assert result.code == 0
    assert result.out.splitlines() == [
        f"1 sample exported to {tmp_path / 'export'}",
        "2 samples left out: the layout does not support camera edits",
        "1 sample left out: the layout does not support scale edits",
    ]


def test_verify_of_a_build_without_shards(out: Path):
    shutil.rmtree(out / "shards")
    result = run("verify", out)
    assert "there are no shards; " in result.out
    assert f"`spatialdata shard {out} --recipe full`" in result.out
    for file in out.glob("layers/checks-*/00000003.*"):
        file.unlink()
    result = run("verify", out)
    assert result.out.splitlines()[-1].endswith(
        f"there are no shards; its layers and plan are not damaged; pack with `spatialdata shard {out} --recipe full`"
    )
