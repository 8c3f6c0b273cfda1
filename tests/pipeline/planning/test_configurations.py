"""The last finished configuration counts until another one is finished, and every command says which one it shows."""

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
"""A layer whose server is not there."""
NOTHING_PASSES = "layers.screen={stage: junk, min_luminance: 0.99}"
KEY = "translate-train-uid000"


def command(told: str, file: str) -> CommandResult:
    """Run the command that a message names for a file of OUT."""
    (text,) = [part for part in told.split("`") if part.startswith("spatialdata build --config ") and file in part]
    return run(*shlex.split(text)[1:])


def test_a_failed_experiment_leaves_a_good_dataset_as_it_is(release: Path, out: Path):
    before = files_of(out)
    assert_fails(build(release, out, AWAY), "cannot be reached")
    assert {name: data for name, data in files_of(out).items() if name != UNFINISHED} == before
    for words in (["status", out], ["card", out], ["view", out], ["why", out, KEY]):
        told = run(*words)
        assert told.code == 0, told
        text = " ".join(told.out.split())
        assert "shown is the last finished configuration" in text
        assert 'layers.judge (none) -> "viescore"' in text
        assert f"--config {out / UNFINISHED}" in text and f"--config {out / BUILD}" in text
    found = json.loads(run("status", out, "--json").out)
    assert found["finished"] and found["accepted"] == 16
    assert found["unfinished"]["judge"] == {"done": 0, "rejects": {}}
    assert "unfinished: judge 0 of 4 units" in run("status", out).out
    told = run("shard", out, "--recipe", "spatialedit")
    assert told.code == 0, told
    assert "shown is the last finished configuration" in told.err
    assert run("verify", out).code == 0
    assert run("rebuild", out, KEY).code == 0


def test_going_back_forgets_the_experiment(release: Path, finished: Path, out: Path):
    build(release, out, AWAY)
    assert command(run("status", out).out, BUILD).code == 0
    assert not (out / UNFINISHED).exists()
    assert files_of(out) == files_of(finished)
    assert "shown is" not in run("status", out).out


def test_finishing_the_experiment_makes_it_the_one_that_counts(release: Path, out: Path):
    def judge(body: object) -> Reply:
        return 500, {}

    with serving(judge) as service:  # it is there, and it fails
        setting = AWAY.replace("http://127.0.0.1:9/v1", service.url).replace("model: m", "model: tiny")
        assert build(release, out, setting).code == 1
    values = json.loads((out / UNFINISHED).read_text())
    values["layers"] = {"line": "xdog"}  # as a person would correct it
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
    told = " ".join(run("status", out).out.split())
    assert 'layers.line "exact" -> "xdog"' in told
    assert json.loads(run("status", out, "--json").out)["accepted"] == 16


@pytest.mark.parametrize("recipes", ["[full]", "[]"])
def test_an_experiment_whose_samples_are_all_rejected(release: Path, out: Path, recipes: str):
    shards = files_of(out / "shards")
    told = build(release, out, NOTHING_PASSES, f"shard.recipes={recipes}")
    assert told.code == (0 if recipes == "[]" else 2)
    assert files_of(out / "shards") == shards
    found = json.loads(run("status", out, "--json").out)
    assert (found["finished"], found["accepted"]) == (True, 16)
    assert "unfinished: screen 4 of 4 units, rejected: too_dark 16" in run("status", out).out
    assert run("shard", out, "--recipe", "full").code == 0
    assert files_of(out / "shards") == shards


def test_a_first_build_that_is_not_finished_is_shown(release: Path, tmp_path: Path):
    out = tmp_path / "out"
    assert_fails(build(release, out, AWAY), "cannot be reached")
    assert not (out / BUILD).exists()
    found = json.loads(run("status", out, "--json").out)
    assert (found["finished"], found["note"]) == (False, "")
    assert_fails(run("shard", out, "--recipe", "full"), "is not finished")
    assert build(release, out).code == 0
    assert (out / BUILD).exists() and not (out / UNFINISHED).exists()


def test_packing_otherwise_that_leaves_nothing_does_not_count(release: Path, out: Path):
    assert_fails(build(release, out, "shard.licenses=[cc0]"), "no sample")
    told = run("shard", out, "--recipe", "full")
    assert told.code == 0, told
    assert "shard.licenses" in told.err


def test_while_a_build_runs_it_is_the_one_that_is_shown(release: Path, out: Path):
    config = load_config(None, build_arguments(release, out, "layers.line=xdog")[4::2])
    store = LayerStore(str(out))
    with RunLock(store, doing=BUILDING):
        begin(store, config)
        for words in (["status", out], ["view", out], ["why", out, KEY]):
            text = " ".join(run(*words).out.split())
            assert "shown is the configuration that is being built (layers.line" in text
        assert json.loads(run("status", out, "--json").out)["layers"]["line"]["done"] == 0
    with RunLock(store):  # who packs or repairs holds the lock, too, and builds nothing
        assert json.loads(run("status", out, "--json").out)["layers"]["line"]["done"] == 4


@pytest.mark.parametrize("harmed", [b"", b"{", b"[]", b'{"seed": -1}', b"\x00" * 100])
def test_a_damaged_note_of_an_experiment(release: Path, finished: Path, out: Path, harmed: bytes):
    build(release, out, AWAY)
    (out / UNFINISHED).write_bytes(harmed)
    told = run("status", out)
    assert told.code == 0
    assert "is damaged" in told.out
    assert run("verify", out).code == 0
    assert command(told.out, BUILD).code == 0
    assert files_of(out) == files_of(finished)


def test_a_configuration_of_another_folder(release: Path, out: Path, tmp_path: Path):
    other = tmp_path / "other"
    assert build(release, other, "samples=6").code == 0
    (out / BUILD).write_bytes((other / BUILD).read_bytes())
    for words in (["status", out], ["verify", out], ["shard", out, "--recipe", "full"]):
        assert_fails(run(*words), str(out / BUILD), "of another build", "samples", "spatialdata build")
    assert build(release, out).code == 0
    assert run("verify", out).code == 0


def test_derived_samples_are_no_other_unit_size(release: Path, out: Path, tmp_path: Path):
    told = assert_fails(build(release, out, "edits.invert=true"), "holds another plan", "edits.invert (none) -> true")
    assert "unit_size" not in told
    assert "unit_size 4 -> 8" in assert_fails(build(release, out, "edits.invert=true", "unit_size=8"), "edits.invert")
    made = build(release, tmp_path / "new", "edits.invert=true")
    assert made.code == 0
    assert "unit_size: a unit has 4 samples of the source and those derived from them, 8 in all" in made.err
    assert "unit_size" not in build(release, tmp_path / "plain").err
