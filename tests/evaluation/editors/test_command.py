"""Commands that hang, fail, write nothing, print megabytes; and prompts that a shell would break."""

import shlex
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from spatialdata_builder.evaluation.benchmarks import Benchmark
from spatialdata_builder.evaluation.editing import seed_of
from spatialdata_builder.evaluation.editors.command import Command
from spatialdata_builder.evaluation.editors.editor import EditFailed, Task
from spatialdata_builder.shards.codecs import decode_image
from spatialdata_builder.shards.errors import BadInput

ARGUMENTS = "{input} {prompt} {output} {seed} {key}"


@pytest.fixture
def task(benchmark: Benchmark) -> Task:
    key = benchmark.keys[0]
    path = benchmark.item(key, "source.png")
    return Task(key, decode_image(path.read_bytes()), "Move it.", seed_of(0, key), path, benchmark.record(key))


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., Command]:
    """A command that runs Python code with the words in `sys.argv`."""

    def make(code: str, timeout_s: float = 30) -> Command:
        path = tmp_path / "a folder" / "edit's.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text("import os, shutil, sys, time\nsource, prompt, output, seed, key = sys.argv[1:]\n" + code)
        return Command(f"{shlex.join([sys.executable, '-S', str(path)])} {ARGUMENTS}", timeout_s)

    return make


def test_a_command_gets_source_prompt_seed_and_key(script, task: Task, tmp_path: Path):
    notes = tmp_path / "notes"
    code = f"shutil.copy(source, output); open({str(notes)!r}, 'w').write('|'.join([prompt, seed, key]))"
    assert np.array_equal(script(code).edit(task), task.image)
    assert notes.read_text() == f"Move it.|{task.seed}|{task.key}"


@pytest.mark.parametrize(
    "prompt",
    [
        'it\'s "quoted" $HOME `id` $(id) \\ * ; rm -rf x & | > y',
        "{output} {seed}",
        "-rf --help",
        "",
        "a\nb\tc",
        "椅子 🪑",
    ],
)
def test_any_prompt_is_one_argument(script, task: Task, tmp_path: Path, prompt: str):
    notes = tmp_path / "notes"
    code = f"shutil.copy(source, output); open({str(notes)!r}, 'wb').write(os.fsencode(prompt))"
    script(code).edit(replace(task, instruction=prompt))
    assert notes.read_bytes() == prompt.encode()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("print('a\\nout of memory'); sys.exit(3)", "ended with exit code 3: out of memory"),
        ("raise ValueError('bad color')", "ended with exit code 1: ValueError: bad color"),
        ("os.kill(os.getpid(), 9)", "killed by signal 9"),
        ("print('done')", "wrote no image to {output}: done"),
        ("open(output, 'w').write('hello')", "no readable image"),
        ("os.mkdir(output)", "no readable image"),
        ("open(output, 'wb').write(open(source, 'rb').read()[:-40])", "no readable image"),
        ("sys.stdout.write('x' * (1 << 23)); sys.exit(1)", "exit code 1: xxx"),
    ],
)
def test_a_failure_is_one_short_line(script, task: Task, code: str, words: str):
    with pytest.raises(EditFailed) as failed:
        script(code).edit(task)
    assert words in str(failed.value)
    assert "\n" not in str(failed.value)
    assert len(str(failed.value)) < 4500


def test_megabytes_of_output_do_not_block_a_command(script, task: Task):
    code = "for _ in range(64): sys.stdout.write('noise ' * 100_000); sys.stderr.write('y' * 1000)\n"
    assert np.array_equal(script(code + "shutil.copy(source, output)").edit(task), task.image)


def test_a_prompt_that_no_process_can_get_fails_one_sample(script, task: Task):
    with pytest.raises(EditFailed, match="cannot be started"):
        script("shutil.copy(source, output)").edit(replace(task, instruction="a\0b"))


def test_the_set_is_safe_from_its_editors(script, task: Task):
    before = task.path.read_bytes()
    script("shutil.copy(source, output); open(source, 'w').write('mine')").edit(task)
    assert task.path.read_bytes() == before


HANGS = """
import subprocess
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open({pids!r}, "w").write(f"{{os.getpid()}} {{child.pid}}")
time.sleep(600)
"""


def running(pids: Path) -> list[int]:
    numbers = [int(word) for word in pids.read_text().split()]
    return [pid for pid in numbers if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def gone(pids: Path) -> bool:
    deadline = time.monotonic() + 10
    while running(pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not running(pids)


def test_a_command_that_hangs_ends_with_its_children(script, task: Task, tmp_path: Path):
    began = time.monotonic()
    with pytest.raises(EditFailed, match="took more than 2 s and was killed"):
        script(HANGS.format(pids=str(tmp_path / "pids")), timeout_s=2).edit(task)
    assert time.monotonic() - began < 20
    assert gone(tmp_path / "pids")


def test_close_ends_what_runs(script, task: Task, tmp_path: Path):
    command = script(HANGS.format(pids=str(tmp_path / "pids")), timeout_s=600)
    failures: list[EditFailed] = []

    def edit() -> None:
        try:
            command.edit(task)
        except EditFailed as error:
            failures.append(error)

    thread = threading.Thread(target=edit)
    thread.start()
    deadline = time.monotonic() + 20
    while not ((tmp_path / "pids").exists() and len((tmp_path / "pids").read_text().split()) == 2):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    command.close()
    thread.join(20)
    assert not thread.is_alive()
    assert gone(tmp_path / "pids")
    assert len(failures) == 1
    with pytest.raises(EditFailed, match="stopped"):
        command.edit(task)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("edit 'x {input} {prompt} {output}", "check its quotes"),
        ("edit {input} {output}", "lacks {prompt}"),
        ("true {input} {prompt} {output} {mask}", "{mask} is unknown"),
        ("no-such-program {input} {prompt} {output}", "no program 'no-such-program'"),
    ],
)
def test_bad_templates(template: str, words: str):
    with pytest.raises(BadInput) as bad:
        Command(template, 1)
    assert words in str(bad.value)
