"""The Ray job entry, on a real head node: a job has only the packages that it ships."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spatialdata_builder.pipeline.engine.ray_cluster import shipped
from tests.needs import needs
from tests.pipeline.plugged import CANNY, CAPTION, write_package
from tests.pipeline.releases import CHECKOUT, build_arguments, files_of, spatialdata, write_release

RAY = Path(sys.executable).with_name("ray")
MARK = "SPATIALDATA_TEST_HEAD"
PATIENCE_S = 300
"""Seconds after which something hangs. Other tests use the same cores, and a build surveys its assets first."""
SHIPPED = ("annotators", "examples", "pipeline", "shards", "sources", "training", "spatialdata_builder.py")
MARKER = """
import os, sys
from pathlib import Path
Path({marks!r}, str(os.getpid())).write_text(sys.argv[0] + "\\n" + __file__)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


def processes() -> Iterator[tuple[int, bytes, bytes]]:
    """Pid, command line and environment of every readable process."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                yield int(folder.name), (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
            except OSError:
                continue


class Head:
    """A Ray cluster of one node on free ports, whose interpreter is not the python3 on its PATH."""

    def __init__(self, home: Path) -> None:
        self.temp = Path(tempfile.mkdtemp(prefix="rj", dir="/tmp"))  # a socket's path has 107 characters
        self.home = home
        self.mark = secrets.token_hex(8)
        self.dashboard, self.port = free_port(), free_port()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "PYTHONPATH"))}
        self.env = kept | {
            MARK: self.mark,
            "HOME": str(home),
            "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache"),
            "UV_OFFLINE": "1",  # no download for a job that is stopped at once
            "PATH": os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if Path(p) != RAY.parent),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
        }

    def start(self) -> None:
        ports = ("dashboard-agent-listen-port", "dashboard-agent-grpc-port", "metrics-export-port")
        arguments = [f"--{name}={free_port()}" for name in (*ports, "ray-client-server-port", "runtime-env-agent-port")]
        arguments += [
            f"--port={self.port}",
            f"--dashboard-port={self.dashboard}",
            "--dashboard-host=127.0.0.1",
            f"--temp-dir={self.temp}",
        ]
        arguments += ["--num-cpus=2", f"--object-store-memory={80 << 20}", "--disable-usage-stats"]
        command = [str(RAY), "start", "--head", *arguments]
        done = subprocess.run(command, cwd=CHECKOUT, env=self.env, capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == 0, done.stdout + done.stderr

    def submit(self, *arguments: str, cwd: Path = CHECKOUT) -> subprocess.Popen[str]:
        env = self.env | {"RAY_ADDRESS": f"http://127.0.0.1:{self.dashboard}"}
        return subprocess.Popen(
            [str(RAY), "job", "submit", *arguments],
            cwd=cwd,
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def stop_job(self, name: str) -> None:
        env = self.env | {"RAY_ADDRESS": f"http://127.0.0.1:{self.dashboard}"}
        subprocess.run([str(RAY), "job", "stop", name], env=env, capture_output=True, timeout=PATIENCE_S, check=True)

    def find(self, *parts: str) -> list[int]:
        """Pids of this head's processes whose command line contains all `parts`."""
        mark = f"{MARK}={self.mark}".encode()
        found = [(pid, line) for pid, line, env in processes() if mark in env and pid != os.getpid()]
        return [pid for pid, line in found if all(part.encode() in line for part in parts)]

    def stop(self) -> None:
        deadline = time.monotonic() + 20
        while (left := self.find()) and time.monotonic() < deadline:
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.1)
        shutil.rmtree(self.temp, ignore_errors=True)


@pytest.fixture(scope="module")
@needs("ray")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    if not Path("/proc/self/environ").exists():
        pytest.skip("needs /proc to find the processes of the head")
    head = Head(tmp_path_factory.mktemp("home"))
    try:
        head.start()
        yield head
    finally:
        head.stop()


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return marked_copy(tmp_path_factory.mktemp("copy"))


def marked_copy(folder: Path) -> Path:
    """A copy of the checkout that records which process imports it, and from where."""
    for name in SHIPPED:
        if (CHECKOUT / name).is_dir():
            shutil.copytree(CHECKOUT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(CHECKOUT / name, folder / name)
    marks = folder.parent / f"{folder.name}-marks"
    marks.mkdir()
    with (folder / "pipeline" / "__init__.py").open("a") as file:
        file.write(MARKER.format(marks=str(marks)))
    return folder


def marks_of(copy: Path) -> list[tuple[str, str]]:
    """Program and imported file of each process that used the copy."""
    marks = (copy.parent / f"{copy.name}-marks").iterdir()
    return [(program, file) for program, file in (mark.read_text().splitlines() for mark in marks)]


@pytest.fixture(scope="module")
def relative(head: Head, copy: Path, release: Path) -> subprocess.Popen[str]:
    """A job with a relative --out, which runs during the other tests."""
    return head.submit(*job(copy, Path("out/relative"), release))


def job(copy: Path, out: Path, release: Path) -> list[str]:
    settings = (f"source.root={release}", "unit_size=1", "shard.recipes=[full]")
    chosen = [part for text in settings for part in ("--set", text)]
    entry = ["pipeline/build.py", "--config", "examples/object3dit.yaml", "--out", str(out), *chosen]
    return ["--working-dir", str(copy), "--", *entry]


def records(out: Path) -> int:
    return len(list(out.glob("layers/*/*.json")))


@pytest.mark.usefixtures("relative")
def test_literally_ray_job_submit_pipeline_build(head: Head):
    run = head.submit("pipeline/build.py")
    out = head.home / "spatialdata" / "procedural"

    def drivers() -> list[int]:
        return [pid for pid in head.find("pipeline/build.py", "python") if pid not in head.find("out/relative")]

    try:
        wait_for(lambda: (out / "plan.json").is_file() or run.poll() is not None)
        assert run.poll() is None, run.communicate()[0]
        (driver,) = drivers()[-1:]
        os.kill(driver, signal.SIGTERM)
        result, _ = run.communicate(timeout=PATIENCE_S)
    finally:
        run.kill()
        for pid in drivers():  # a job that stays behind would take the cores of other tests
            os.kill(pid, signal.SIGKILL)
    plan = json.loads((out / "plan.json").read_text())
    assert (plan["samples"], plan["config"]["source"]["kind"]) == (120, "procedural")
    assert "assets to draw from" in result
    assert "rerun the command to resume" in result
    assert "Traceback" not in result


def test_a_killed_driver_and_a_killed_worker_give_the_same_bytes(head: Head, copy: Path, release: Path, tmp_path: Path):
    out = tmp_path / "out"
    first = head.submit(*job(copy, out, release))
    wait_for(lambda: records(out) >= 15 or first.poll() is not None)
    for pid in head.find("pipeline/build.py", str(out)):
        os.kill(pid, signal.SIGKILL)
    result, _ = first.communicate(timeout=PATIENCE_S)
    assert first.returncode != 0, result
    wait_for(lambda: not head.find("ray::Worker"))  # of the dead driver
    before = records(out)
    assert not (out / "shards").exists()

    second = head.submit(*job(copy, out, release))
    victim: list[int] = []

    def found() -> bool:
        if records(out) > before:
            victim[:] = head.find("ray::Worker.do")[:1]
        return bool(victim) or second.poll() is not None

    wait_for(found)
    for pid in victim:
        os.kill(pid, signal.SIGKILL)
    result, _ = second.communicate(timeout=PATIENCE_S)
    assert victim, result
    assert second.returncode == 0, result
    assert "32 of 32 samples accepted" in result
    assert "its worker died" in result
    assert "32 samples in 32 units; already done: pair" in result

    inline = tmp_path / "inline"
    assert spatialdata(*build_arguments(release, inline, "unit_size=1")).returncode == 0
    assert files_of(out / "shards" / "full") == files_of(inline / "shards" / "full")
    assert json.loads(spatialdata("verify", str(out), "--json").stdout)["ok"]

    # Driver and workers ran the code of the working directory, not the installed packages.
    ran = marks_of(copy)
    assert all(file.startswith(f"{head.temp}/") and "_ray_pkg_" in file for _, file in ran)
    programs = {Path(program).name for program, _ in ran}
    assert {"build.py", "default_worker.py"} <= programs


def test_a_relative_out_is_an_error(relative: subprocess.Popen[str]):
    result, _ = relative.communicate(timeout=PATIENCE_S)
    assert relative.returncode != 0
    (line,) = {line for line in result.splitlines() if line.startswith("error: ")}
    assert "--out out/relative" in line
    assert "absolute path or a URL" in line
    assert "Traceback" not in result


def test_a_driver_outside_of_a_job_sends_its_packages(head: Head, release: Path, tmp_path: Path):
    checkout = marked_copy(tmp_path / "checkout")
    shutil.copy(CHECKOUT / ".rayignore", checkout)
    settings = ("engine.kind=ray", f"engine.address=127.0.0.1:{head.port}", "shard.recipes=[]", "samples=4")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "spatialdata_builder.pipeline.cli",
            *build_arguments(release, tmp_path / "out", *settings),
        ],
        cwd=checkout,
        env=head.env | {"PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    workers = [file for program, file in marks_of(checkout) if Path(program).name == "default_worker.py"]
    assert workers
    assert all(file.startswith(f"{head.temp}/") and "_ray_pkg_" in file for file in workers)


def test_a_cluster_is_sent_the_package_of_a_users_stage(head: Head, release: Path, tmp_path: Path):
    """Only the driver's path has it."""
    user = write_package(tmp_path / "user")
    settings = (f"layers.line={CANNY}", f"layers.caption={CAPTION}", "shard.recipes=[]")
    on_cluster = ("engine.kind=ray", f"engine.address=127.0.0.1:{head.port}")
    built: dict[str, dict[str, bytes]] = {}
    for name, engine in (("cluster", on_cluster), ("inline", ())):
        arguments = build_arguments(release, tmp_path / name, *settings, *engine)
        done = subprocess.run(
            [sys.executable, "-m", "spatialdata_builder.pipeline.cli", *arguments],
            cwd=tmp_path,
            env=head.env | {"PYTHONPATH": os.pathsep.join([str(CHECKOUT), str(user)])},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        built[name] = {file: data for file, data in files_of(tmp_path / name).items() if file.startswith("layers/")}
    assert [name for name in built["cluster"] if name.startswith("layers/caption-")]
    assert built["cluster"] == built["inline"]


@pytest.mark.parametrize("address", ["", "local"])
def test_nothing_is_shipped_to_a_local_ray(address: str):
    assert shipped(address, None, "") == {}
    assert shipped(address, {"env_vars": {"A": "1"}}, "") == {"env_vars": {"A": "1"}}


def test_packages_shipped_to_a_cluster(tmp_path: Path):
    given = {"env_vars": {"A": "1"}}
    (tmp_path / ".rayignore").touch()
    assert shipped("10.0.0.1:6379", given, "", tmp_path) == given | {"working_dir": str(tmp_path)}
    assert shipped("auto", None, '{"runtime_env": {}}', tmp_path) == {"working_dir": str(tmp_path)}
    assert shipped("auto", None, '{"runtime_env": {"working_dir": "gcs://x.zip"}}', tmp_path) == {}
    assert shipped("auto", {"working_dir": "/mine"}, "", tmp_path) == {"working_dir": "/mine"}
    package = tmp_path / "site-packages" / "spatialdata_builder"
    assert shipped("auto", given, "", package) == given | {"py_modules": [str(package)]}


def test_the_package_of_a_users_stage_is_shipped(tmp_path: Path):
    (tmp_path / ".rayignore").touch()
    code = (tmp_path / "user" / "mypackage",)
    sent = {"working_dir": str(tmp_path), "py_modules": [str(code[0])]}
    assert shipped("auto", None, "", tmp_path, code) == sent
    assert shipped("", None, "", tmp_path, code) == {}  # workers of a local Ray find it where it lies
    in_job = '{"runtime_env": {"working_dir": "gcs://x.zip"}}'
    assert shipped("auto", None, in_job, tmp_path, code) == {"py_modules": [str(code[0])]}
    assert shipped("auto", None, in_job, tmp_path, (Path.cwd() / "mypackage",)) == {}  # it is in the job's copy
    assert shipped("auto", None, "", tmp_path, (tmp_path / "mypackage",)) == {"working_dir": str(tmp_path)}
    given = {"py_modules": ["/other"]}
    assert shipped("auto", given, "", tmp_path, code)["py_modules"] == ["/other", str(code[0])]
