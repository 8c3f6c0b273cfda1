"""Commands show the last finished configuration until another one finishes, and report which one they show."""

import json
import shlex
from pathlib import Path

import pytest

from spatialdata_builder.pipeline.config import load_config
from spatialdata_builder.pipeline.planning.configurations import BUILD, BUILDING, UNFINISHED, begin
from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.pipeline.store.lock import RunLock
from tests.annotators.vlm.server import Reply, serving
from tests.pipeline.command_line import CommandResult, assert_fails, build, run
from tests.pipeline.releases import build_arguments, files_of

AWAY = "layers.judge={stage: viescore, backend: openai, base_url: 'http://127.0.0.1:9/v1', model: m, tries: 1}"
"""A layer whose server does not exist."""
NOTHING_PASSES = "layers.screen={stage: junk, min_luminance: 0.99}"
KEY = "translate-train-uid000"


def command(message: str, file: str) -> CommandResult:
    """Run the command that a message gives for a file of OUT."""
    (text,) = [part for part in message.split("`") if part.startswith("spatialdata build --config ") and file in part]
    return run(*shlex.split(text)[1:])


@pytest.mark.slow
def test_a_failed_experiment_does_not_change_a_finished_build(release: Path, out: Path):
    before = files_of(out)
    assert_fails(build(release, out, AWAY), "cannot be reached")
    assert {name: data for name, data in files_of(out).items() if name != UNFINISHED} == before
    for arguments in (["status", out], ["card", out], ["view", out], ["why", out, KEY]):
        result = run(*arguments)
        assert result.code == 0, result
        text = " ".join(result.out.split())
        assert "showing the last finished configuration" in text
        assert 'layers.judge (none) -> "viescore"' in text
        assert f"--config {out / UNFINISHED}" in text and f"--config {out / BUILD}" in text
    found = json.loads(run("status", out, "--json").out)
    assert found["finished"] and found["accepted"] == 16
    assert found["unfinished"]["judge"] == {"done": 0, "samples_done": 0, "rejects": {}}
    assert "unfinished: judge 0 of 16 samples" in run("status", out).out
    result = run("shard", out, "--recipe", "spatialedit")
    assert result.code == 0, result
    assert "showing the last finished configuration" in result.err
    assert run("verify", out).code == 0
    assert run("rebuild", out, KEY).code == 0


def test_rebuilding_the_finished_configuration_discards_the_experiment(release: Path, finished: Path, out: Path):
    build(release, out, AWAY)
    assert command(run("status", out).out, BUILD).code == 0
    assert not (out / UNFINISHED).exists()
    assert files_of(out) == files_of(finished)
    assert "showing the" not in run("status", out).out


@pytest.mark.slow
def test_a_finished_experiment_is_shown(release: Path, out: Path):
    def judge(body: object) -> Reply:
        return 500, {}

    with serving(judge) as service:  # the server exists, but fails
        setting = AWAY.replace("http://127.0.0.1:9/v1", service.url).replace("model: m", "model: tiny")
        assert build(release, out, setting).code == 1
    values = json.loads((out / UNFINISHED).read_text())
    values["layers"] = {"line": "xdog"}  # as a user would correct it
    (out / UNFINISHED).write_text(json.dumps(values))
    assert command(run("status", out).out, UNFINISHED).code == 0
    assert not (out / UNFINISHED).exists()
    assert json.loads((out / BUILD).read_text())["layers"]["line"]["stage"] == "xdog"
    assert json.loads(run("status", out, "--json").out)["finished"]
    assert run("card", out).code == 0
    assert run("verify", out).code == 0


def test_two_experiments_in_a_row(release: Path, out: Path):
    build(release, out, AWAY)
    build(release, out, AWAY, "layers.line=xdog")
    text = " ".join(run("status", out).out.split())
    assert 'layers.line "exact" -> "xdog"' in text
    assert json.loads(run("status", out, "--json").out)["accepted"] == 16


@pytest.mark.parametrize("recipes", ["[full]", "[]"])
def test_an_experiment_whose_samples_are_all_rejected(release: Path, out: Path, recipes: str):
    shards = files_of(out / "shards")
    result = build(release, out, NOTHING_PASSES, f"shard.recipes={recipes}")
    assert result.code == (0 if recipes == "[]" else 2)
    assert files_of(out / "shards") == shards
    found = json.loads(run("status", out, "--json").out)
    assert (found["finished"], found["accepted"]) == (True, 16)
    assert "unfinished: screen 16 of 16 samples, rejected: too_dark 16" in run("status", out).out
    assert run("shard", out, "--recipe", "full").code == 0
    assert files_of(out / "shards") == shards


@pytest.mark.slow
def test_a_first_build_that_is_not_finished_is_shown(release: Path, tmp_path: Path):
    out = tmp_path / "out"
    assert_fails(build(release, out, AWAY), "cannot be reached")
    assert not (out / BUILD).exists()
    found = json.loads(run("status", out, "--json").out)
    assert (found["finished"], found["note"]) == (False, "")
    assert_fails(run("shard", out, "--recipe", "full"), "is not finished")
    assert build(release, out).code == 0
    assert (out / BUILD).exists() and not (out / UNFINISHED).exists()


def test_an_experiment_that_packs_no_sample(release: Path, out: Path):
    assert_fails(build(release, out, "shard.licenses=[cc0]"), "no sample")
    result = run("shard", out, "--recipe", "full")
    assert result.code == 0, result
    assert "shard.licenses" in result.err


def test_a_running_build_is_shown(release: Path, out: Path):
    config = load_config(None, build_arguments(release, out, "layers.line=xdog")[4::2])
    store = LayerStore(str(out))
    with RunLock(store, doing=BUILDING):
        begin(store, config)
        for arguments in (["status", out], ["view", out], ["why", out, KEY]):
            text = " ".join(run(*arguments).out.split())
            assert "showing the configuration that is being built (layers.line" in text
        assert json.loads(run("status", out, "--json").out)["layers"]["line"]["done"] == 0
    with RunLock(store):  # packing and repairing hold the lock too, but build nothing
        assert json.loads(run("status", out, "--json").out)["layers"]["line"]["done"] == 4


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"seed": -1}', b"\x00" * 100])
def test_a_damaged_unfinished_configuration(release: Path, finished: Path, out: Path, content: bytes):
    build(release, out, AWAY)
    (out / UNFINISHED).write_bytes(content)
    result = run("status", out)
    assert result.code == 0
    assert "is damaged" in result.out
    assert run("verify", out).code == 0
    assert command(result.out, BUILD).code == 0
    assert files_of(out) == files_of(finished)


@pytest.mark.slow
def test_a_configuration_of_another_folder(release: Path, out: Path, tmp_path: Path):
    other = tmp_path / "other"
    assert build(release, other, "samples=6").code == 0
    (out / BUILD).write_bytes((other / BUILD).read_bytes())
    for arguments in (["status", out], ["verify", out], ["shard", out, "--recipe", "full"]):
        assert_fails(run(*arguments), str(out / BUILD), "belongs to another build", "samples", "spatialdata build")
    assert build(release, out).code == 0
    assert run("verify", out).code == 0


@pytest.mark.slow
def test_derived_samples_do_not_change_unit_size(release: Path, out: Path, tmp_path: Path):
    message = assert_fails(
        build(release, out, "edits.invert=true"), "holds another plan", "edits.invert (none) -> true"
    )
    assert "unit_size" not in message
    assert "unit_size 4 -> 8" in assert_fails(build(release, out, "edits.invert=true", "unit_size=8"), "edits.invert")
    new = build(release, tmp_path / "new", "edits.invert=true")
    assert new.code == 0
    assert "unit_size: a unit has 4 samples of the source and their derived samples, 8 in total" in new.err
    assert "unit_size" not in build(release, tmp_path / "plain").err
