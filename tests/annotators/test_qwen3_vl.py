"""Instructions by a VLM: the requests, the rows made from its answers, and the layer's fingerprint."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spatialdata_builder.annotators.case import Case
from spatialdata_builder.annotators.claims import ROOM_RELATIONS, SUPPORT_FIELDS, Claims
from spatialdata_builder.annotators.grounding import edit_facts
from spatialdata_builder.annotators.phrases import bare
from spatialdata_builder.annotators.qwen3_vl import Qwen3VLInstruction, answer_schema, parse_answer
from spatialdata_builder.annotators.templates import TemplateInstruction
from spatialdata_builder.annotators.vlm.prompts import fill, read_prompt
from spatialdata_builder.pipeline.config import load_config
from spatialdata_builder.pipeline.planning.samples import pair_arguments
from spatialdata_builder.pipeline.registry import build_stages
from spatialdata_builder.pipeline.store.fingerprints import fingerprint
from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.shards.codecs import decode_image
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.sample import Reject, Result, Row
from spatialdata_builder.shards.schema import EDIT_KINDS, Instruction
from spatialdata_builder.shards.stage import Stage
from tests.annotators.factory import SIDE, random_facts, without_poses
from tests.annotators.oracle import false_claims, false_motion
from tests.annotators.pictures import cut_off, draw, sample
from tests.annotators.vlm.server import Reply, images_of, serving, text_of

ANSWER: dict[str, Any] = {
    "source_caption": "A red mug stands to the left of a crate.",
    "target_caption": "A red mug stands behind a  crate.",
    "edit": "translate",
    "object": "the red mug",
    "relation": "behind",
    "references": ["the crate"],
    "frame": "viewer",
    "directions": ["right", "away"],
    "part": "none",
    "turn": "none",
    "view": "none",
    "size": "none",
    "metres": 0,
    "widths": 0,
    "degrees": 0,
    "factor": 0,
    "yaw": "none",
    "yaw_deg": 0,
    "pitch": "none",
    "pitch_deg": 0,
    "zoom": "none",
    "zoom_factor": 0,
    "instruction": "Move the red mug behind the crate.",
    "paraphrases": ["Put the red mug behind the crate.", "Place the red mug behind the crate."],
}
MOVED = random_facts(1, "translate")
ASKED = [name for name in Claims.model_fields if name not in SUPPORT_FIELDS]
"""The claims that the prompts of version 1 ask for."""


def stage(url: str = "http://nowhere.invalid", **options: Any) -> Qwen3VLInstruction:
    given = {"backend": "openai", "base_url": url, "model": "tiny", "send_attempts": 1, "variants": 2}
    return Qwen3VLInstruction(**{**given, **options})


def run(answer: dict[str, Any] | str, **options: Any) -> tuple[Result, list[dict[str, Any]]]:
    """The stage's result for one drawn pair if every answer is `answer`, and the bodies of its requests."""
    reply = answer if isinstance(answer, str) else json.dumps(answer)
    with serving(lambda body: reply) as service:
        asking = stage(service.url, **options)
        (result,) = asking(asking.setup(), [sample(*draw(MOVED))])
        return result, service.bodies


def test_the_columns_are_those_of_the_templates_and_the_claims():
    result, _ = run(ANSWER, revision="abc")
    assert isinstance(result, Row) and result.counts == {"answers_asked": 1}
    template = TemplateInstruction()
    (written,) = template(template.setup(), [sample(*draw(MOVED))])
    assert isinstance(written, Row) and set(result.columns) == {*written.columns, "claims"}
    instruction = Instruction.model_validate_json(str(result.columns["instruction"]))
    assert instruction == Instruction(
        text=ANSWER["instruction"], variants=ANSWER["paraphrases"], method="vlm", model="tiny@abc", verified=False
    )
    assert result.columns["source_caption"] == ANSWER["source_caption"]
    assert result.columns["caption"] == "A red mug stands behind a crate."
    claims = Claims.model_validate_json(str(result.columns["claims"]))
    assert claims == Claims.model_validate({name: ANSWER[name] for name in ASKED})
    assert set(json.loads(str(result.columns["claims"]))) == set(ASKED)


@pytest.mark.parametrize("mode", ["images", "grounded"])
def test_both_modes_show_source_then_target(mode: str):
    _, (body,) = run(ANSWER, mode=mode)
    _, members = draw(MOVED)
    for shown, view in zip(images_of(body), ("source", "target"), strict=True):
        np.testing.assert_array_equal(shown, decode_image(members[view]))
    text = text_of(body)
    assert '"paraphrases": 2 other ways' in text and "$" not in text
    for name in (*ASKED, "instruction", "source_caption", "target_caption"):
        assert f'"{name}"' in text  # every field is explained
    drawn, _ = draw(MOVED)
    facts = edit_facts(Case(drawn, SIDE, SIDE))
    assert (facts in text) == (mode == "grounded")
    assert ("mug" in text.split("Answer these fields")[0]) == (mode == "grounded")


@pytest.mark.parametrize("mode", ["images", "grounded"])
def test_the_prompts_of_version_2_ask_what_objects_stand_on(mode: str):
    supports = {"support": "on", "support_object": "the table", "shelf": "none", "riders": "none"}
    supports |= {"origin": "in", "origin_object": "the crate", "origin_shelf": "none"}
    result, (body,) = run(
        {**ANSWER, **supports, "relation": "corner", "references": ["the room"]}, mode=mode, prompt="v2"
    )
    assert isinstance(result, Row)
    claims = Claims.model_validate_json(str(result.columns["claims"]))
    assert {name: getattr(claims, name) for name in supports} == supports and claims.relation == "corner"
    assert all(f'"{name}"' in text_of(body) for name in Claims.model_fields)


def test_an_answer_to_version_1_has_the_fields_that_it_had_before():
    properties = answer_schema(2)["properties"]
    assert not SUPPORT_FIELDS & set(properties) and not ROOM_RELATIONS & set(properties["relation"]["enum"])
    assert set(answer_schema(2, supports=True)["properties"]) - set(properties) == SUPPORT_FIELDS


@pytest.mark.parametrize("supports", [False, True])
def test_the_schema_bounds_every_answer(supports: bool):
    schema = answer_schema(2, supports)
    jsonschema.Draft202012Validator.check_schema(schema)
    answer = ANSWER | {name: Claims(edit="remove").model_dump()[name] for name in SUPPORT_FIELDS if supports}
    jsonschema.validate(answer, schema)
    assert schema["required"] == list(schema["properties"]) and schema["additionalProperties"] is False
    assert list(schema["properties"])[:2] == ["source_caption", "target_caption"]
    assert list(schema["properties"])[-2:] == ["instruction", "paraphrases"]
    rules = list(schema["properties"].values())
    for rule in [*rules, *(rule["items"] for rule in rules if "items" in rule)]:
        match rule["type"]:
            case "string":
                repeats = re.findall(r"\{\d+,(\d+)\}", rule.get("pattern", ""))
                assert "enum" in rule or (repeats and all(int(most) <= 128 for most in repeats))
            case "number":
                assert {"minimum", "maximum"} <= rule.keys()
            case "array":
                assert "maxItems" in rule
            case other:
                raise AssertionError(other)
    assert answer_schema(3)["properties"]["paraphrases"]["minItems"] == 3
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**ANSWER, "paraphrases": ANSWER["paraphrases"][:1]}, schema)


def test_duplicate_paraphrases_are_removed():
    instruction = ANSWER["instruction"]
    parsed = parse_answer(json.dumps({**ANSWER, "paraphrases": [instruction, "Put it  back.", "Put it back."]}))
    assert parsed.paraphrases == ["Put it back."]
    assert parse_answer(f"Here it is:\n```json\n{json.dumps(ANSWER)}\n```").instruction == instruction


@pytest.mark.parametrize(
    "wrong",
    [
        {"edit": "paint"},
        {"paraphrases": [ANSWER["instruction"]]},
        {"instruction": ""},
        {"instruction": "Move it."[:-1]},
        {"source_caption": "A mug.\nA crate."},
        {"degrees": 400},
        {"mood": "good"},
        {"references": ["a", "b", "c"]},
    ],
)
def test_a_malformed_answer_is_asked_again_and_then_rejected(wrong: dict[str, Any]):
    result, bodies = run({**ANSWER, **wrong}, answer_attempts=2)
    assert isinstance(result, Reject) and result.reason == "malformed_answer"
    assert next(iter(wrong)) in result.detail or "paraphrase" in result.detail
    assert len(bodies) == 2 and result.counts == {"answers_asked": 2, "answers_retried": 1}


def test_samples_keep_their_order_if_some_are_unreadable():
    def named(body: dict[str, Any]) -> Reply:
        first = int(images_of(body)[0][0, 0, 0])
        return json.dumps({**ANSWER, "source_caption": f"The first value is {first}."})

    pairs = [sample(*draw(random_facts(seed, "remove")), f"k-{seed}") for seed in range(5)]
    pair = dict(pairs[2]["pair"])
    pairs[2] = replace(pairs[2], layers={"pair": {**pair, "target": b"no image"}})
    pairs[3] = replace(pairs[3], layers={"pair": {**pair, "target": cut_off(pair["target"])}})
    with serving(named) as service:
        asking = stage(service.url, answers="memory://order")
        results = asking(asking.setup(), pairs)
    assert isinstance(results[2], Reject) and results[2].reason == "unreadable_image"
    assert isinstance(results[3], Reject) and results[3].reason == "unreadable_image"
    for one, result in zip(pairs, results, strict=True):
        if isinstance(result, Row):
            value = int(decode_image(one["pair"]["source"])[0, 0, 0])  # type: ignore[arg-type]
            assert result.columns["source_caption"] == f"The first value is {value}."
    assert sum(isinstance(result, Row) for result in results) == 3


def fingerprint_of(**options: Any) -> str:
    return fingerprint(stage(**options), {"pair": "0" * 16, "screen": "1" * 16})


def test_the_fingerprint_covers_what_determines_an_answer(tmp_path: Path):
    changes = [{"mode": "images"}, {"variants": 3}, {"model": "huge"}, {"revision": "r2"}, {"temperature": 0.0}]
    changes += [
        {"max_tokens": 9},
        {"image_side": 64},
        {"dtype": "float16"},
        {"answer_attempts": 1},
        {"engine": {"a": 1}},
    ]
    assert len({fingerprint_of(), *(fingerprint_of(**change) for change in changes)}) == 1 + len(changes)
    for same in (
        {"url": "http://other"},
        {"answers": "s3://b/a"},
        {"in_flight": 2},
        {"batch_size": 1},
        {"send_attempts": 9},
    ):
        assert fingerprint_of(**same) == fingerprint_of()
    served, loaded = stage(revision="r"), stage(revision="r", backend="vllm", gpus=1)
    assert fingerprint(served, {"pair": "", "screen": ""}) == fingerprint(loaded, {"pair": "", "screen": ""})


def test_the_fingerprint_covers_the_text_of_the_prompt(tmp_path: Path):
    mine, copy = tmp_path / "mine.txt", tmp_path / "copy.txt"
    mine.write_text("What happened?\n$facts\n$fields")
    copy.write_text(mine.read_text())
    before = fingerprint_of(prompt=str(mine))
    assert before == fingerprint_of(prompt=str(copy)) != fingerprint_of()
    mine.write_text("What happened here?\n$facts\n$fields")
    assert fingerprint_of(prompt=str(mine)) != before
    _, (body,) = run(ANSWER, prompt=str(mine))
    assert text_of(body).startswith("What happened here?\n- kind of edit: translate")


def test_invalid_prompts_and_options(tmp_path: Path):
    with pytest.raises(BadInput, match=r"no prompt 'instruction_\w+_v0'.*instruction_grounded_v1"):
        stage(prompt="v0")
    with pytest.raises(BadInput, match=r"no prompt '/nowhere/mine\.txt'"):
        stage(prompt="/nowhere/mine.txt")
    mine = tmp_path / "mine.txt"
    mine.write_text("Tell me $everything.")
    with pytest.raises(BadInput, match=r"'everything'.*\$facts, \$fields, \$paraphrases"):
        stage(prompt=str(mine))
    assert fill("$a costs $$5", a="it") == "it costs $5"
    with pytest.raises(BadInput, match=r"variants is 13: give 1 to 12"):
        stage(variants=13)
    assert read_prompt("instruction_system_v1").endswith("ASCII characters.")


def test_a_configuration_builds_the_stage(tmp_path: Path):
    def stage_with(*settings: str) -> Stage:
        given = ("layers.screen=junk", "layers.instruction.stage=qwen3_vl", *settings)
        config = load_config(None, given)
        stages = build_stages(config, pair_arguments(config, LayerStore(str(tmp_path))), "s3://bucket/out")
        return next(one for one in stages if one.layer == "instruction")

    found = stage_with("layers.instruction.engine.quantization=fp8", "engine.resources.instruction.gpus=2")
    assert isinstance(found, Qwen3VLInstruction) and found.answers == "s3://bucket/out/answers"
    assert found.engine == {"quantization": "fp8"} and found.gpus == 2 and found.texts[0]
    with pytest.raises(BadInput, match=r"layers\.instruction\.mode: Input should be 'images' or 'grounded'"):
        stage_with("layers.instruction.mode=imagined")
    with pytest.raises(BadInput, match=r"layers\.instruction\.tensor_parallel is 4.*engine\.resources\.instruction"):
        stage_with("layers.instruction.tensor_parallel=4")


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**31))
@example(1890)
@pytest.mark.slow
def test_every_fact_in_the_prompt_is_true(seed: int):
    for kind in ("translate", "remove", "insert"):
        facts = random_facts(seed, kind)
        names = {bare(thing.name): thing.id for thing in facts.objects}
        for line in edit_facts(Case(facts, SIDE, SIDE)).splitlines():
            state = "target" if line.startswith(("- after the edit", "- in the target")) else "source"
            if line.startswith(("- after the edit", "- before the edit", "- in the ")):
                assert not list(false_claims(facts, line, 1, state, names)), line
            elif line.startswith(("- direction", "- the move", "- distance")):
                assert not list(false_motion(facts, line.replace(" of the move", ""))), line


def test_facts_of_each_kind():
    def facts(kind: Any, **edit: Any) -> str:
        drawn = random_facts(4, kind)
        return edit_facts(Case(drawn.model_copy(update={"edit": drawn.edit.model_copy(update=edit)}), SIDE, SIDE))

    assert "turn: 90 degrees clockwise, seen from above" in facts("rotate", rotation_deg=-90.0, view="")
    assert "turn: 135 degrees counterclockwise" in facts("rotate", rotation_deg=135.0)
    assert "half a turn" in facts("rotate", rotation_deg=180.0)
    turned = facts("rotate", view="the rear left side view.")
    assert "faces the camera after the edit: rear left side" in turned
    assert "new size: 1.5 times the old size (larger)" in facts("scale", scale=1.5)
    assert "new size: 0.6 times the old size (smaller)" in facts("scale", scale=0.6)
    orbit = facts("camera", yaw_deg=-45.0, pitch_deg=15.0, zoom=1.0)
    assert (
        "45 degrees to the viewer's left" in orbit
        and "rises by 15" in orbit
        and "distance of the camera is un" in orbit
    )
    assert "closer (zoom in): to 50 % of its distance" in facts("camera", yaw_deg=0.0, pitch_deg=0.0, zoom=2.0)


@pytest.mark.slow
def test_facts_of_released_pairs_leave_out_what_is_unknown():
    for seed in range(30):
        for kind in EDIT_KINDS:
            released = without_poses(random_facts(seed, kind))
            lines = edit_facts(Case(released, SIDE, SIDE)).splitlines()
            numbers = [line for line in lines if re.search(r"\d", line)]
            assert all(line.startswith("- turn") for line in numbers) and (kind == "rotate") >= bool(numbers)
            assert not any("as the camera sees it, " in line for line in lines if "edit it" in line)
