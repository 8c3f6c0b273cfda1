import json

import pytest

from spatialdata_builder.pipeline.packing.assemble import record_of
from spatialdata_builder.shards.recipes import Recipe
from spatialdata_builder.shards.sample import Columns, Sample
from spatialdata_builder.shards.schema import (
    FAMILY_VERSION,
    NO_SUPPORT,
    SUPPORT_FIELDS,
    Instruction,
    Provenance,
    SampleRecord,
    Scores,
)
from tests.annotators.factory import random_facts

RECIPE = Recipe("words", "test", ("source",))
FAMILIES = Recipe("words", "test", ("source",), families=True)
PROVENANCE = Provenance(plan="p", unit=0, seed=1, layers=["pair-1"], versions=["numpy=2"])
ORIGINAL = Instruction(text="Do it.", variants=["Do it now."], method="vlm", model="m", verified=False)
REWRITTEN = Instruction(text="Turn it.", variants=["Spin it."], method="template", model="", verified=False)


def recorded(checks: Columns, instruction: Instruction = ORIGINAL, recipe: Recipe = RECIPE) -> SampleRecord:
    layers = {
        "pair": {"facts": random_facts(0).model_dump_json()},
        "instruction": {"instruction": instruction.model_dump_json(), "caption": "a", "source_caption": "b"},
        "checks": {"scores": Scores().model_dump_json(), **checks},
    }
    return record_of(Sample("a-1", "train", {}, layers), recipe, PROVENANCE)


def recorded_instruction(checks: Columns, instruction: Instruction = ORIGINAL) -> Instruction:
    return recorded(checks, instruction).instruction


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


def test_every_record_of_a_set_with_families_has_all_keys():
    """Also in a build of open scenes, whose facts do not say what objects stand on."""
    plain, record = recorded({}), recorded({}, recipe=FAMILIES)
    assert (record.schema_version, record.scene) == (FAMILY_VERSION, "open")
    assert "second_object" in record.edit.model_fields_set
    assert all(thing.model_fields_set >= SUPPORT_FIELDS for thing in record.objects)
    assert {(thing.source_support, thing.target_support) for thing in record.objects} == {(NO_SUPPORT, NO_SUPPORT)}
    assert not any(thing.model_fields_set & SUPPORT_FIELDS for thing in plain.objects)


def test_without_a_verdict_the_instruction_is_unchanged():
    assert recorded_instruction({}) == ORIGINAL
