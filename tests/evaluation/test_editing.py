"""A run keeps what it has: across stops, failures and kills; and its images do not depend on how it ran."""

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from spatialdata_builder.evaluation.benchmarks import Benchmark
from spatialdata_builder.evaluation.editing import run_editor, seed_of
from spatialdata_builder.evaluation.editors.editor import Base, EditFailed, EditorGone, Task
from spatialdata_builder.evaluation.editors.registry import open_editor
from spatialdata_builder.evaluation.predictions import read_predictions
from spatialdata_builder.shards.codecs import decode_image
from spatialdata_builder.shards.errors import BadInput
from tests.pipeline.command_line import assert_fails, run
from tests.pipeline.releases import CHECKOUT


class Noise(Base):
    """An image of the seed; fails for some keys, and counts its calls."""

    description = "noise"
    most_workers = 8

    def __init__(self, fails: dict[str, Exception] | None = None) -> None:
        self.fails = fails or {}
        self.calls: Counter[str] = Counter()
        self.setups = 0
        self._lock = threading.Lock()

    def setup(self) -> None:
        self.setups += 1

    def edit(self, task: Task) -> np.ndarray:
        with self._lock:
            self.calls[task.key] += 1
        if task.key in self.fails:
            raise self.fails[task.key]
        return np.random.default_rng(task.seed).integers(0, 256, task.image.shape, dtype=np.uint8)


def images(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


@pytest.mark.parametrize(("name", "member"), [("copy", "source"), ("oracle", "target")])
def test_copy_and_oracle_are_exact(benchmark: Benchmark, tmp_path: Path, name: str, member: str):
    found = run_editor(benchmark, open_editor(name, benchmark, timeout_s=1), tmp_path / "pred", workers=4)
    assert found.complete and found.edited == len(benchmark.keys)
    for key in benchmark.keys:
        expected = decode_image(benchmark.member(key, member))
        assert np.array_equal(decode_image((tmp_path / "pred" / f"{key}.png").read_bytes()), expected)


def test_images_depend_on_the_seed_and_not_on_threads_or_stops(benchmark: Benchmark, tmp_path: Path):
    run_editor(benchmark, Noise(), tmp_path / "one", seed=5)
    stopping = Noise({benchmark.keys[4]: EditorGone("away")})
    with pytest.raises(EditorGone):
        run_editor(benchmark, stopping, tmp_path / "two", seed=5)
    kept = images(tmp_path / "two")
    assert 0 < len(kept) < len(benchmark.keys)
    assert read_predictions(tmp_path / "two", benchmark).errors == {}
    resumed = Noise()
    found = run_editor(benchmark, resumed, tmp_path / "two", seed=5, workers=3)
    assert (found.kept, found.edited) == (len(kept), len(benchmark.keys) - len(kept))
    assert not {f"{key}.png" for key in resumed.calls} & set(kept)
    assert images(tmp_path / "two") == images(tmp_path / "one")
    run_editor(benchmark, Noise(), tmp_path / "three", seed=6)
    assert images(tmp_path / "three") != images(tmp_path / "one")
    seeds = {seed_of(seed, key) for seed in range(3) for key in benchmark.keys}
    assert len(seeds) == 3 * len(benchmark.keys)
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_failures_are_kept_and_tried_again_only_on_demand(benchmark: Benchmark, tmp_path: Path):
    first, second = benchmark.keys[1], benchmark.keys[3]
    failing = Noise({first: EditFailed("too dark"), second: RuntimeError("CUDA out of memory")})
    found = run_editor(benchmark, failing, tmp_path / "pred", workers=2)
    assert (found.edited, found.failed, found.skipped) == (len(benchmark.keys) - 2, 2, 0)
    assert found.errors == {first: "too dark", second: "RuntimeError: CUDA out of memory"}
    again = Noise()
    found = run_editor(benchmark, again, tmp_path / "pred")
    assert (found.skipped, found.edited, found.complete, again.setups) == (2, 0, False, 0)
    found = run_editor(benchmark, again, tmp_path / "pred", retry=True)
    assert (found.edited, found.complete) == (2, True)
    assert again.calls == {first: 1, second: 1}
    assert not (tmp_path / "pred" / "errors.jsonl").exists()


def test_a_damaged_image_is_edited_again(benchmark: Benchmark, tmp_path: Path):
    run_editor(benchmark, Noise(), tmp_path / "pred")
    before = images(tmp_path / "pred")
    victim = tmp_path / "pred" / f"{benchmark.keys[2]}.png"
    victim.write_bytes(victim.read_bytes()[:-20])
    again = Noise()
    run_editor(benchmark, again, tmp_path / "pred")
    assert again.calls == {benchmark.keys[2]: 1}
    assert images(tmp_path / "pred") == before


def test_an_editor_that_returns_no_image_fails_that_sample(benchmark: Benchmark, tmp_path: Path):
    class Odd(Base):
        description = "odd"

        def edit(self, task: Task) -> np.ndarray:
            return np.zeros((4, 4), np.float32)

    found = run_editor(benchmark, Odd(), tmp_path / "pred")
    assert found.failed == len(benchmark.keys)


SLOW = """
import shutil, sys, time
source, prompt, output, key = sys.argv[1:]
with open({log!r}, "a") as log:
    log.write(key + "\\n")
time.sleep(0.15)
shutil.copy(source, output)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_killed_resumes(benchmark: Benchmark, tmp_path: Path, number: signal.Signals):
    log, script, pred = tmp_path / "log", tmp_path / "slow.py", tmp_path / "pred"
    script.write_text(SLOW.format(log=str(log)))
    template = f"{shlex.join([sys.executable, '-S', str(script)])} {{input}} {{prompt}} {{output}} {{key}}"
    words = ["edit", str(benchmark.folder), "--with", template, "--out", str(pred), "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "spatialdata_builder.pipeline.cli", *words],
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while len(images(pred)) < 4:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (-9 if number == signal.SIGKILL else 130), errors
    assert "Traceback" not in errors
    before = {path: path.stat().st_mtime_ns for path in pred.glob("*.png")}
    assert 4 <= len(before) < len(benchmark.keys)
    time.sleep(0.3)  # a command that outlives SIGKILL of its parent writes its last line
    assert run(*words).code == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    calls = Counter(log.read_text().split())
    assert set(calls) == set(benchmark.keys)
    assert all(calls[path.stem] == 1 for path in before)
    assert calls.total() <= len(benchmark.keys) + 2
    assert not [path for path in pred.iterdir() if path.name.startswith(".") and number != signal.SIGKILL]


def test_the_command_says_what_failed(benchmark: Benchmark, tmp_path: Path):
    words = (
        "edit",
        benchmark.folder,
        "--out",
        tmp_path / "pred",
        "--with",
        "sh -c 'echo no; exit 4' {input} {prompt} {output}",
    )
    found = run(*words)
    count = len(benchmark.keys)
    assert found.code == 1
    assert f"  {benchmark.keys[0]}: the command ended with exit code 4: no" in found.out
    assert f"{count} samples failed, 5 of them above" in found.out
    assert len((tmp_path / "pred" / "errors.jsonl").read_text().splitlines()) == count
    as_json = json.loads(run(*words, "--json").out)
    assert (as_json["skipped"], as_json["failed"], as_json["complete"]) == (count, 0, False)


@pytest.mark.parametrize(
    ("editor", "words"),
    [
        ("nope", "names no editor: use copy, oracle, roundtrip:EDITOR"),
        ("roundtrip:copy", "copy has no VAE"),
        ("openai:http://x", "openai:URL#model"),
        ("absent-program {input} {prompt} {output}", "no program"),
        ("true {input}", "lacks {prompt}"),
    ],
)
def test_bad_editors(benchmark: Benchmark, tmp_path: Path, editor: str, words: str):
    assert_fails(run("edit", benchmark.folder, "--with", editor, "--out", tmp_path / "pred"), words)
    assert not (tmp_path / "pred").exists()


def test_a_folder_that_is_no_run(benchmark: Benchmark, tmp_path: Path):
    with pytest.raises(BadInput, match="neither a run of spatialdata train"):
        open_editor(str(tmp_path), benchmark, timeout_s=1)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(BadInput, match="holds no checkpoint"):
        open_editor(str(tmp_path), benchmark, timeout_s=1)


def test_a_damaged_set_is_not_edited(benchmark: Benchmark, tmp_path: Path):
    import shutil

    copy = shutil.copytree(benchmark.folder, tmp_path / "set")
    (copy / "items" / benchmark.keys[0] / "source.png").write_bytes(b"")
    assert_fails(run("edit", copy, "--with", "copy", "--out", tmp_path / "pred"), "source.png differs")
