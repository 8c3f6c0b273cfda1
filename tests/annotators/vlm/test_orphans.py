"""The children of a killed process are killed, and no other processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

PARENT = """
import multiprocessing, sys, time
from spatialdata_builder.annotators.vlm.orphans import kill_children_on_exit
def sleep(): time.sleep(600)
if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=sleep)
    child.start()
    kill_children_on_exit()
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
        # The child has the pipe open too, so reading ends only when both are gone.
        assert parent.stdout.read() == ""


def test_another_process_with_the_same_pid_is_not_killed():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        script = Path(__file__).resolve().parents[3] / "annotators" / "vlm" / "orphans.py"
        subprocess.run([sys.executable, str(script), f"{bystander.pid}:1"], stdin=subprocess.DEVNULL, check=True)
        assert bystander.poll() is None
        bystander.communicate(b"\n")
        assert bystander.returncode == 0
