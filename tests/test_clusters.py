"""The examples for Kubernetes and Slurm, as far as they can be checked without such a cluster."""

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from spatialdata_builder import __version__
from spatialdata_builder.pipeline.cli import cli
from spatialdata_builder.pipeline.config import load_config
from tests.pipeline.releases import spatialdata, write_release

ROOT = Path(__file__).resolve().parents[1]
KUBERAY = ROOT / "examples" / "kuberay.yaml"
SLURM = ROOT / "examples" / "slurm.sh"
CHECKOUT = "/opt/spatialdata/"
"""Where the image of the example has a checkout."""
SRUN = """#!/usr/bin/env bash
echo "$@" >> {log}
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""
SCONTROL = """#!/usr/bin/env bash
[[ "$1 $2" == "show hostnames" ]] && tr , '\\n' <<< "$3"
"""


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    return yaml.safe_load(KUBERAY.read_text())


def groups(job: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = job["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def test_the_job_has_what_the_resource_requires(job: dict[str, Any]):
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", job["metadata"]["name"])
    known = {"entrypoint", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "rayClusterSpec"}
    assert set(job["spec"]) == known
    assert job["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    for group in job["spec"]["rayClusterSpec"]["workerGroupSpecs"]:
        assert group["groupName"]
        assert group["minReplicas"] == group["replicas"] == group["maxReplicas"]
    for group in groups(job):
        # Values of `ray start` are strings: a number is rejected by the API server.
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
        resources = container["resources"]
        assert all(isinstance(text, str) for part in resources.values() for text in part.values())
        assert resources["requests"] == resources["limits"]


def test_the_job_names_the_versions_of_the_project(job: dict[str, Any]):
    (ray,) = re.findall(r"^ray==(.*)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == ray
    for group in groups(job):
        (container,) = group["template"]["spec"]["containers"]
        assert container["image"].rpartition(":")[2] == __version__


@pytest.mark.slow
def test_the_entrypoint_of_the_job_is_a_build(job: dict[str, Any]):
    python, script, *arguments = shlex.split(job["spec"]["entrypoint"])
    assert python == "python"
    assert script.startswith(CHECKOUT)
    command = cli.get_command(None, "build")  # type: ignore[arg-type]
    assert command is not None
    given = command.make_context("build", list(arguments)).params
    (container,) = groups(job)[0]["template"]["spec"]["containers"]
    assert Path(given["config"]).parent.as_posix() in {mount["mountPath"] for mount in container["volumeMounts"]}
    # The configuration that the comment makes a ConfigMap of.
    (name,) = re.findall(rf"--from-file={Path(given['config']).name}=(\S+)", KUBERAY.read_text())
    config = load_config(str(ROOT / name), given["overrides"])
    assert config.source.root == "/shared/objaverse"
    # The script of the image runs, and stops at the root, which is not on this machine.
    arguments[arguments.index("--config") + 1] = str(ROOT / name)
    command = [sys.executable, str(ROOT / script.removeprefix(CHECKOUT)), *arguments]
    command[command.index("--out") + 1] = "/nonexistent/set"
    command += ["--set", "engine.kind=inline"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    assert "/shared/objaverse" in done.stderr


def test_the_batch_script_is_sound():
    subprocess.run(["bash", "-n", str(SLURM)], check=True)
    assert os.access(SLURM, os.X_OK)
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([str(shellcheck), str(SLURM)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.ray
def test_the_batch_script_builds_on_two_nodes(tmp_path: Path):
    """With a `srun` that starts each step on this machine: two nodes of a real Ray, and the build as submitted."""
    tools = tmp_path / "tools"
    tools.mkdir()
    log = tmp_path / "steps"
    for name, text in (("srun", SRUN.format(log=shlex.quote(str(log)))), ("scontrol", SCONTROL)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    host, out = socket.gethostname(), tmp_path / "out"
    root = write_release(tmp_path / "release", 4)
    (command,) = re.findall(r"^#   sbatch .* (examples/slurm\.sh [^\\\n]*(?:\\\n.*)?)$", SLURM.read_text(), re.M)
    told = shlex.split(command.replace("\\\n#", " "))
    told[told.index("--config") + 1] = "examples/object3dit.yaml"
    told[told.index("--out") + 1] = str(out)
    settings = [f"source.root={root}", "shard.recipes=[full]"]
    number = free_number()
    done = subprocess.run(
        ["bash", *told, *(part for text in settings for part in ("--set", text))],
        cwd=ROOT,
        env=os.environ
        | {
            "PATH": os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]]),
            "SLURM_JOB_ID": str(number),
            "SLURM_JOB_NODELIST": f"{host},{host}",
            "SLURM_CPUS_ON_NODE": "1",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    shutil.rmtree(f"/tmp/ray-{number}", ignore_errors=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 of 5 samples accepted" in done.stdout + done.stderr
    # Steps start in the background, so their lines come in either order.
    head, worker = sorted(log.read_text().splitlines(), key=lambda step: "--head" not in step)
    assert f"--nodelist={host}" in head
    assert "--head" in head
    assert f"--exclude={host}" in worker
    assert "--head" not in worker
    assert spatialdata("verify", str(out)).returncode == 0


def free_number() -> int:
    """A job id whose port on this machine is free."""
    for number in range(os.getpid() % 10000, 10000 + os.getpid() % 10000):
        with socket.socket() as probe:
            if probe.connect_ex((socket.gethostname(), 20000 + number % 10000)):
                return number
    raise AssertionError("no free port from 20000 to 29999")
