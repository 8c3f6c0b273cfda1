"""Run by the environment that holds vLLM: python -m tests.vllm_cpu.in_process FOLDER [questions [AFTER [end|hang]]].

Makes the tiny checkpoint FOLDER/model, runs the instruction stage on it with the engine in this process, twice, asks
once for each other form, and writes what came of it to FOLDER/rows.json. With `questions`: asks QUESTIONS in one call,
with the cache FOLDER/asked, and writes how they were answered to FOLDER/counts.json; AFTER: kills itself when so many
answers are kept, or makes vLLM's engine end or hang, and prints what is raised. FOLDER/engine has the engine's number.
"""

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

from spatialdata_builder.annotators.judge import Consistency, Quality
from spatialdata_builder.annotators.orientation import SheetAnswer
from spatialdata_builder.annotators.qwen3_vl import Qwen3VLInstruction
from spatialdata_builder.annotators.vlm.client import Request
from spatialdata_builder.annotators.vlm.forms import read_form, schema_of
from spatialdata_builder.shards.errors import WorkerLost
from spatialdata_builder.shards.sample import Row, Sample
from tests.annotators.factory import random_facts
from tests.annotators.pictures import draw, sample
from tests.annotators.vlm.server import complete
from tests.vllm_cpu import tiny_qwen3_vl

KINDS = ("translate", "rotate", "camera")
FORMS = (Consistency, Quality, SheetAnswer)
TOO_LONG = "too-long"
# On a CPU vLLM cannot cut the prompt of a request that has a seed into pieces: the largest batch holds them all.
ENGINE = {"max_num_seqs": 4, "max_num_batched_tokens": 4 * tiny_qwen3_vl.LENGTH}
TIMEOUT_S = 20.0
OPTIONS = {"variants": 1, "max_tokens": 2500, "batch_size": 8}


def samples() -> list[Sample]:
    """One pair a kind of edit, and one of which there is more to tell than the model can read."""
    found = [sample(*draw(random_facts(seed, kind)), f"{kind}-{seed}") for seed, kind in enumerate(KINDS)]
    facts, members = draw(random_facts(9, "remove"))
    endless = facts.model_copy(update={"description": "A very long story. " * 1000})
    return [found[0], sample(endless, members, TOO_LONG), *found[1:]]


QUESTIONS = [Request(f"q-{number}", "", f"Question {number}.", (), schema_of(Quality)) for number in range(16)]


def main(folder: Path) -> None:
    tiny_qwen3_vl.make(folder / "model")
    stage = Qwen3VLInstruction(answers=str(folder / "answers"), **OPTIONS, **_engine(folder))
    model = stage.setup()
    first, again = ([_plain(result) for result in stage(model, samples())] for _ in range(2))
    asked = [Request(form.__name__, "", "Fill the form.", (), schema_of(form)) for form in FORMS]
    told = {"revision": model.revision, "first": first, "again": again, "forms": complete(model, asked)}
    (folder / "rows.json").write_text(json.dumps(told))


def question(folder: Path, after: int, fault: str) -> None:
    options = Qwen3VLInstruction(answers=str(folder / "asked"), max_tokens=1000, timeout_s=TIMEOUT_S, **_engine(folder))
    model = options.setup()
    engine = multiprocessing.active_children()[0].pid
    (folder / "engine").write_text(str(engine))
    if after:
        victim = engine if fault else os.getpid()
        what = signal.SIGSTOP if fault == "hang" else signal.SIGKILL
        threading.Thread(target=_send, args=(folder / "asked", after, victim, what), daemon=True).start()
    try:
        answers = options.ask(model, QUESTIONS, partial(read_form, Quality))
    except WorkerLost as error:
        sys.exit(f"lost: {error}")
    (folder / "counts.json").write_text(json.dumps([dict(answer.counts) for answer in answers]))


def _send(answers: Path, after: int, victim: int, what: signal.Signals) -> None:
    while len(list(answers.glob("*/*/*.json"))) < after:
        time.sleep(0.005)
    os.kill(victim, what)


def _engine(folder: Path) -> dict[str, Any]:
    options = {"gpus": 0, "dtype": "bfloat16", "enforce_eager": True, "max_model_len": tiny_qwen3_vl.LENGTH}
    return {"model": str(folder / "model"), "engine": ENGINE, **options}


def _plain(result: object) -> dict[str, object]:
    return {"row": isinstance(result, Row), **vars(result)}


if __name__ == "__main__":
    if "questions" in sys.argv[2:]:
        question(Path(sys.argv[1]), int((sys.argv[3:] or ["0"])[0]), (sys.argv[4:] or [""])[0])
    else:
        main(Path(sys.argv[1]))
