"""Logs which of the needs of tests (tests/needs) this process uses. Python runs it at start, by PYTHONPATH.

It observes and does not interfere: what a test does with an error of its own making stays as it is.
"""

import os
import re
import sys

LOG = os.environ.get("SPATIALDATA_NEEDS_LOG", os.devnull)
HERE = os.path.dirname(__file__)  # noqa: PTH120  # pathlib would slow the start of every child
MODULES = {"torch": "torch", "moto": "s3", "playwright": "browser", "vllm": "vllm"}
COMMANDS = {
    r"/spatialdata/(blender|infinigen)-\w+/bin/python -I": "blender",
    r"/gcs_server ": "ray",
    r"/\.venv-readers/": "readers",
    r"/\.venv-vllm/": "vllm",
}
ELSEWHERE = "/.venv-" in sys.prefix
"""The environments of vLLM and of foreign readers have torch of their own."""
SEEN: set[str] = set()
"""Needs that are in the log since it was read."""


def log(need: str, how: str) -> None:
    if need not in SEEN:
        SEEN.add(need)
        with open(LOG, "a") as file:  # noqa: PTH123
            file.write(f"{need}\t{how}\n")


def watch(event: str, args: tuple) -> None:
    if event == "import" and not ELSEWHERE:
        # importlib.import_module("torch") raises no event for torch itself, only for what torch imports in turn.
        if need := MODULES.get(args[0].partition(".")[0]):
            log(need, f"import {args[0]}")
    elif event == "subprocess.Popen":
        _, command, _, environment = args
        words = [command] if isinstance(command, str | bytes | os.PathLike) else command
        text = " ".join(map(os.fsdecode, words)).replace("\n", " ")
        for pattern, need in COMMANDS.items():
            if re.search(pattern, text):
                log(need, text[:200])
        if environment and HERE not in environment.get("PYTHONPATH", HERE):
            # A test that sets PYTHONPATH says where its child imports from, not that nobody may watch it.
            environment["PYTHONPATH"] = HERE + os.pathsep + environment["PYTHONPATH"]


sys.addaudithook(watch)
