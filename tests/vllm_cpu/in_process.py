"""Run by the environment that holds vLLM: python -m tests.vllm_cpu.in_process FOLDER.

Makes the tiny checkpoint FOLDER/model, runs the instruction stage on it with the engine in this process, twice, asks
once for each other form, and writes what came of it to FOLDER/rows.json.
"""

import json
import sys
from pathlib import Path

from annotators.judge import Consistency, Quality
from annotators.orientation import SheetAnswer
from annotators.qwen3_vl import Qwen3VLInstruction
from annotators.vlm.client import Request
from annotators.vlm.forms import schema_of
from shards.sample import Row, Sample
from tests.annotators.factory import random_facts
from tests.annotators.pictures import draw, sample
from tests.vllm_cpu import tiny_qwen3_vl

KINDS = ("translate", "rotate", "camera")
FORMS = (Consistency, Quality, SheetAnswer)
TOO_LONG = "too-long"
# On a CPU vLLM cannot cut the prompt of a request that has a seed into pieces: the largest batch holds them all.
ENGINE = {"max_num_seqs": 4, "max_num_batched_tokens": 4 * tiny_qwen3_vl.LENGTH}
OPTIONS = {"variants": 1, "max_tokens": 2500, "batch_size": 8}


def samples() -> list[Sample]:
    """One pair a kind of edit, and one of which there is more to tell than the model can read."""
    found = [sample(*draw(random_facts(seed, kind)), f"{kind}-{seed}") for seed, kind in enumerate(KINDS)]
    facts, members = draw(random_facts(9, "remove"))
    endless = facts.model_copy(update={"description": "A very long story. " * 1000})
    return [found[0], sample(endless, members, TOO_LONG), *found[1:]]


def main(folder: Path) -> None:
    tiny_qwen3_vl.make(folder / "model")
    stage = Qwen3VLInstruction(
        model=str(folder / "model"),
        answers=str(folder / "answers"),
        gpus=0,
        dtype="bfloat16",
        enforce_eager=True,
        max_model_len=tiny_qwen3_vl.LENGTH,
        engine=ENGINE,
        **OPTIONS,
    )
    model = stage.setup()
    first, again = ([_plain(result) for result in stage(model, samples())] for _ in range(2))
    asked = [Request(form.__name__, "", "Fill the form.", (), schema_of(form)) for form in FORMS]
    told = {"revision": model.revision, "first": first, "again": again, "forms": model.complete(asked, 0)}
    (folder / "rows.json").write_text(json.dumps(told))


def _plain(result: object) -> dict[str, object]:
    return {"row": isinstance(result, Row), **vars(result)}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
