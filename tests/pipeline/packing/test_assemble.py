import json

import pytest

from spatialdata_builder.pipeline.packing.assemble import record_of
from spatialdata_builder.shards.recipes import Recipe
from spatialdata_builder.shards.sample import Columns, Sample
from spatialdata_builder.shards.schema import Instruction, Provenance, Scores
from tests.annotators.factory import random_facts

RECIPE = Recipe("words", "test", ("source",))
PROVENANCE = Provenance(plan="p", unit=0, seed=1, layers=["pair-1"], versions=["numpy=2"])
ORIGINAL = Instruction(text="Do it.", variants=["Do it now."], method="vlm", model="m", verified=False)
REWRITTEN = Instruction(text="Turn it.", variants=["Spin it."], method="template", model="", verified=False)


def recorded_instruction(checks: Columns, instruction: Instruction = ORIGINAL) -> Instruction:
    layers = {
        "pair": {"facts": random_facts(0).model_dump_json()},
        "instruction": {"instruction": instruction.model_dump_json(), "caption": "a", "source_caption": "b"},
        "checks": {"scores": Scores().model_dump_json(), **checks},
    }
    return record_of(Sample("a-1", "train", {}, layers), RECIPE, PROVENANCE).instruction


@pytest.mark.parametrize(("verdict", "verified"), [("agrees", True), ("unchecked", False), ("contradicted", False)])
def test_verified_follows_the_verdict_of_the_checks(verdict: str, verified: bool):
    for before in (True, False):
        original = ORIGINAL.model_copy(update={"verified": before})
        found = recorded_instruction(
            {"instruction_verdict": json.dumps({"verdict": verdict}), "instruction": ""}, original
        )
        assert found == ORIGINAL.model_copy(update={"verified": verified})


def test_an_instruction_rewritten_by_the_checks_replaces_the_original():
    verdict = json.dumps({"verdict": "agrees"})
    found = recorded_instruction({"instruction_verdict": verdict, "instruction": REWRITTEN.model_dump_json()})
    assert found == REWRITTEN.model_copy(update={"verified": True})


def test_without_a_verdict_the_instruction_is_unchanged():
    assert recorded_instruction({}) == ORIGINAL
