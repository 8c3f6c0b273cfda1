"""A process that is killed takes along what it started, and nothing else."""

import os
import signal
import subprocess
import sys
from pathlib import Path

PARENT = """
import multiprocessing, sys, time
from spatialdata_builder.annotators.vlm.orphans import end_with_me
def sleep(): time.sleep(600)
if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=sleep)
    child.start()
    end_with_me()
    print(child.pid, flush=True)
    time.sleep(600)
"""


def test_a_killed_process_leaves_no_child_behind(tmp_path: Path):
    (tmp_path / "parent.py").write_text(PARENT)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    command = [sys.executable, str(tmp_path / "parent.py")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(child, 0)
        parent.send_signal(signal.SIGKILL)
        # The child holds the other end too: what is read ends once both are gone.
        assert parent.stdout.read() == ""


def test_another_process_of_the_same_number_is_let_be():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        script = Path(__file__).resolve().parents[3] / "annotators" / "vlm" / "orphans.py"
        subprocess.run([sys.executable, str(script), f"{bystander.pid}:1"], stdin=subprocess.DEVNULL, check=True)
        assert bystander.poll() is None
        bystander.communicate(b"\n")
        assert bystander.returncode == 0
