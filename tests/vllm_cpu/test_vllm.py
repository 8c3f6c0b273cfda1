"""Instructions by the real engine on real Qwen3-VL code; the weights are random, so an answer's form is what is shown.

tests/vllm_cpu/set_up.py makes the environment; without it these tests skip.
"""

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from spatialdata_builder.annotators.claims import Claims
from spatialdata_builder.annotators.qwen3_vl import Qwen3VLInstruction
from spatialdata_builder.annotators.vlm.forms import read_form
from spatialdata_builder.shards.sample import Reject, Row
from spatialdata_builder.shards.schema import Instruction
from tests.needs import needs
from tests.vllm_cpu.in_process import ENGINE, FORMS, KINDS, OPTIONS, QUESTIONS, TOO_LONG, samples
from tests.vllm_cpu.set_up import FOLDER, ROOT

PYTHON = FOLDER / "bin" / "python"
QUIET = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
READY = "Application startup complete"

pytestmark = pytest.mark.skipif(
    not (FOLDER / ".made").is_file(), reason="no vLLM here: python tests/vllm_cpu/set_up.py makes its environment"
)


@pytest.fixture(scope="module")
@needs("vllm")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the checkpoint, the answers and the rows of a run of the engine in a process."""
    folder = tmp_path_factory.mktemp("vllm")
    command = [str(PYTHON), "-m", "tests.vllm_cpu.in_process", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | QUIET, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return folder


@pytest.fixture(scope="module")
def server(trial: Path) -> Iterator[str]:
    """The address of an OpenAI-compatible server that has the checkpoint as `tiny`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # The `vllm` command asks for the version of a package of that name, which the build for CPUs is not.
    command = [str(PYTHON), "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(trial / "model"), "--served-model-name", "tiny"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "bfloat16", "--enforce-eager"]
    command += [part for name, value in ENGINE.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    command += ["--limit-mm-per-prompt", '{"image": 2, "video": 0}']
    command += ["--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}']
    process = subprocess.Popen(
        command, cwd=trial, env=os.environ | QUIET, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    told: list[str] = []
    for line in process.stdout:
        told.append(line)
        if READY in line:
            break
    threading.Thread(target=process.stdout.read, daemon=True).start()  # or the pipe fills and the server stands still
    try:
        assert READY in told[-1], "".join(told)[-4000:]
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def check_columns(columns: dict[str, Any], model: str) -> None:
    assert set(columns) == {"instruction", "caption", "source_caption", "claims"}
    instruction = Instruction.model_validate_json(columns["instruction"])
    assert instruction.method == "vlm" and instruction.model == model and not instruction.verified
    assert instruction.variants and instruction.text not in instruction.variants
    Claims.model_validate_json(columns["claims"])
    for text in (instruction.text, *instruction.variants, columns["caption"], columns["source_caption"]):
        assert text[0].isupper() and text.endswith(".") and text.isascii() and len(text) <= 242


def test_the_engine_in_a_process(trial: Path):
    told = json.loads((trial / "rows.json").read_text())
    assert told["revision"].startswith("sha256:")
    by_key = dict(zip([one.key for one in samples()], told["first"], strict=True))
    refused = by_key.pop(TOO_LONG)
    assert not refused["row"] and refused["reason"] == "request_refused" and "8192" in refused["detail"]
    assert len(by_key) == len(KINDS)
    for result in by_key.values():
        assert result["row"], result
        check_columns(result["columns"], f"{trial / 'model'}@{told['revision']}")
    texts = {result["columns"]["instruction"] for result in by_key.values()}
    assert len(texts) == len(KINDS)  # other requests, other seeds


def test_no_answer_is_paid_for_twice(trial: Path):
    told = json.loads((trial / "rows.json").read_text())
    assert [one.get("columns") for one in told["again"]] == [one.get("columns") for one in told["first"]]
    for first, again in zip(told["first"], told["again"], strict=True):
        if first["row"]:
            assert again["counts"]["answers_cached"] == first["counts"]["answers_asked"]
            assert "answers_asked" not in again["counts"]


def test_a_process_that_is_killed_in_a_call_loses_no_answer_that_was_finished(trial: Path):
    asker = [str(PYTHON), "-m", "tests.vllm_cpu.in_process", str(trial), "questions"]
    ask = partial(subprocess.run, cwd=ROOT, env=os.environ | QUIET, capture_output=True, text=True, check=False)
    killed = ask([*asker, "3"])
    assert killed.returncode == -signal.SIGKILL, (killed.stdout + killed.stderr)[-4000:]
    kept = {json.loads(file.read_text())["key"] for file in trial.glob("asked/*/*/*.json")}
    assert 3 <= len(kept) < len(QUESTIONS)
    # An engine that ends, or hangs, is the worker's end, not a fault of what was asked.
    for after, fault, told in ((6, "end", ""), (9, "hang", "its engine hangs: no step in timeout_s, 20 s")):
        lost = ask([*asker, str(after), fault])
        assert lost.returncode == 1, (lost.stdout + lost.stderr)[-4000:]
        assert f"lost: vLLM failed in layers.instruction ({told}" in lost.stderr, lost.stderr[-4000:]
        kept = {json.loads(file.read_text())["key"] for file in trial.glob("asked/*/*/*.json")}
        assert after <= len(kept) < len(QUESTIONS)
        assert not Path("/proc", (trial / "engine").read_text()).exists()
    done = ask(asker)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    counts = json.loads((trial / "counts.json").read_text())
    assert counts == [{f"answers_{'cached' if one.key in kept else 'asked'}": 1} for one in QUESTIONS]


def test_the_engine_holds_the_model_to_every_form(trial: Path):
    told = json.loads((trial / "rows.json").read_text())["forms"]
    for form, text in zip(FORMS, told, strict=True):
        assert isinstance(read_form(form, text), form)
        assert list(json.loads(text)) == list(form.model_fields)


def test_a_server_that_speaks_openai_s_protocol(server: str, trial: Path):
    stage = Qwen3VLInstruction(
        backend="openai",
        base_url=server,
        model="tiny",
        answers=str(trial / "served"),
        send_attempts=2,
        in_flight=4,
        **OPTIONS,
    )
    model = stage.setup()
    results = dict(zip([one.key for one in samples()], stage(model, samples()), strict=True))
    refused = results.pop(TOO_LONG)
    assert isinstance(refused, Reject) and refused.reason == "request_refused" and "8192" in refused.detail
    for result in results.values():
        assert isinstance(result, Row), result
        check_columns(dict(result.columns), "tiny")
