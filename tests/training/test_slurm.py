"""The batch script for training under Slurm, as far as it can be checked without Slurm."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from spatialdata_builder.pipeline.cli import cli
from spatialdata_builder.training.metrics import read_metrics
from tests.training.test_processes import ROOT
from tests.training.test_recipes_in_processes import shards_for

SCRIPT = ROOT / "examples" / "train_slurm.sh"
SRUN = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift; done
SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NTASKS=1 exec "$@"
"""
SCONTROL = """#!/usr/bin/env bash
if [[ "$1 $2" == "show hostnames" ]]; then tr , '\\n' <<< "$3"; else echo "$@" >> {log}; fi
"""


def test_the_batch_script_is_sound():
    assert os.access(SCRIPT, os.X_OK)
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([str(shellcheck), str(SCRIPT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_command_of_the_comment_is_known():
    (documented,) = re.findall(r"train_slurm\.sh (spatialdiff [^\\\n]*\\\n#.*)$", SCRIPT.read_text(), re.M)
    train = cli.get_command(None, "train")  # type: ignore[arg-type]
    name, *arguments = shlex.split(documented.replace("\\\n#", " "))
    command = train.get_command(None, name)  # type: ignore[union-attr]
    assert (ROOT / command.make_context(name, arguments).params["config"]).is_file()


def test_the_warning_before_the_time_limit_saves_and_requeues(tmp_path: Path):
    tools, log, out = tmp_path / "tools", tmp_path / "requeued", tmp_path / "run"
    tools.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL.format(log=shlex.quote(str(log))))):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    steps = ["--set", "save_every=100000", "--set", "validate_every=0"]
    command = [
        "bash",
        str(SCRIPT),
        "spatialdiff",
        "--preset",
        "tiny",
        "--shards",
        str(shards_for("spatialdiff", tmp_path)),
    ]
    process = subprocess.Popen(
        [*command, "--out", str(out), *steps, "--set", "steps=100000"],
        cwd=ROOT,
        env=os.environ
        | {
            "PATH": os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": str(ROOT),
            "ACCELERATE_USE_CPU": "true",
            "OMP_NUM_THREADS": "1",
            "SLURM_JOB_ID": str(os.getpid()),
            "SLURM_JOB_NODELIST": "localhost",
        },
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and len(read_metrics(out)) < 2:
        time.sleep(0.05)
    process.send_signal(signal.SIGUSR1)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert log.read_text() == f"requeue {os.getpid()}\n"
    (saved,) = (path.name for path in (out / "checkpoints").iterdir())
    assert int(saved) == read_metrics(out)[-1]["step"]
