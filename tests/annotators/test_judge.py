"""The judge: VIEScore's arithmetic, thresholds, and the scores in a sample's record."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from spatialdata_builder.annotators.judge import Consistency, Quality, VieScoreJudge, viescore
from spatialdata_builder.annotators.vlm.client import Request
from spatialdata_builder.pipeline.packing.assemble import record_of
from spatialdata_builder.pipeline.store.fingerprints import fingerprint
from spatialdata_builder.shards.codecs import decode_image, encode_image
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.recipes import Recipe
from spatialdata_builder.shards.sample import Reject, Row, Sample
from spatialdata_builder.shards.schema import Instruction, Provenance, Scores
from tests.annotators.factory import random_facts

STAGE = VieScoreJudge(backend="openai", base_url="http://nowhere.invalid", answer_attempts=2)


class Examiner:
    """A backend that reads its scores from the instruction (f and p) and from the target's pixels.

    So an answer is right only if the right texts and images are sent, in the right order.
    """

    model, revision = "examiner", ""

    def __init__(self, fail_quality: bool = False) -> None:
        self.asked: list[Request] = []
        self._fail_quality = fail_quality

    def stream(self, requests: list[Request], seed: int) -> Iterator[tuple[int, str]]:
        self.asked += requests
        return ((index, self._answer(request)) for index, request in enumerate(requests))

    def _answer(self, request: Request) -> str:
        target = decode_image(request.images[-1])
        naturalness, artifacts = (int(value) // 20 for value in target[0, 0, :2])
        if len(request.images) == 1:
            if self._fail_quality:
                return "It looks nice."
            return json.dumps({"reason": "Looks so.", "naturalness": naturalness, "artifacts": artifacts})
        assert decode_image(request.images[0])[0, 0, 2] == 255  # the source comes first
        scores = re.search(r"f=(\d+) p=(\d+)", request.text)
        assert scores is not None
        return json.dumps({"reason": "Meant so.", "following": int(scores[1]), "preserving": int(scores[2])})


def triplet(key: str, f: int, p: int, n: int, a: int, rewritten: str = "") -> Sample:
    source, target = np.zeros((16, 16, 3), np.uint8), np.zeros((16, 16, 3), np.uint8)
    source[..., 2] = 255
    target[..., 0], target[..., 1] = 20 * n, 20 * a
    facts = random_facts(3)
    return Sample(
        key,
        "train",
        {},
        {
            "pair": {
                "source": encode_image(source),
                "target": encode_image(target),
                "facts": facts.model_dump_json(),
            },
            "instruction": {"instruction": worded(f"Do f={f} p={p}."), "caption": "c", "source_caption": "s"},
            "checks": {"instruction": rewritten, "scores": Scores(instruction_check=0.5).model_dump_json()},
        },
    )


def worded(text: str) -> str:
    return Instruction(text=text, variants=["x"], method="template", model="", verified=True).model_dump_json()


def judged(stage: VieScoreJudge, *scores: tuple[int, int, int, int]) -> list[Row | Reject]:
    return list(stage(Examiner(), [triplet(f"s-{i}", *four) for i, four in enumerate(scores)]))


CASES = [(10, 10, 10, 10), (0, 10, 10, 10), (7, 9, 8, 4), (3, 2, 1, 10), (5, 5, 5, 5), (9, 10, 0, 0)]


def test_scores_are_those_of_the_paper():
    for case, result in zip(CASES, judged(STAGE, *CASES), strict=True):
        f, p, n, a = case
        assert isinstance(result, Row)
        scores = json.loads(str(result.columns["scores"]))
        # VIEScore: O = sqrt(SC * PQ) on a scale of 0 to 10; SC and PQ are the minimum of their sub-scores.
        assert scores["semantic_consistency"] * 10 == pytest.approx(min(f, p))
        assert scores["perceptual_quality"] * 10 == pytest.approx(min(n, a))
        assert scores["overall"] * 10 == pytest.approx(math.sqrt(min(f, p) * min(n, a)), abs=1e-4)
        assert result.counts == {"answers_asked": 2}
        reasons = json.loads(str(result.columns["judgement"]))
        assert reasons["semantic_consistency"] == {"reason": "Meant so.", "following": f, "preserving": p}
        assert reasons["perceptual_quality"] == {"reason": "Looks so.", "naturalness": n, "artifacts": a}


def test_scores_computed_by_hand():
    consistency, quality = (
        Consistency(reason="x", following=8, preserving=9),
        Quality(reason="x", naturalness=2, artifacts=7),
    )
    assert viescore(consistency, quality) == {"semantic_consistency": 0.8, "perceptual_quality": 0.2, "overall": 0.4}


@pytest.mark.parametrize(
    ("thresholds", "scores", "reason", "score"),
    [
        ({"min_semantic_consistency": 0.7}, (6, 9, 9, 9), "low_semantic_consistency", 0.6),
        ({"min_semantic_consistency": 0.6}, (6, 9, 9, 9), "", 0),
        ({"min_perceptual_quality": 0.5}, (9, 9, 4, 9), "low_perceptual_quality", 0.4),
        ({"min_overall": 0.61}, (9, 9, 4, 9), "low_overall", 0.6),
        ({"min_overall": 0.6}, (9, 9, 4, 9), "", 0),
        ({"min_overall": 0.9, "min_perceptual_quality": 0.5}, (9, 9, 4, 9), "low_perceptual_quality", 0.4),
    ],
)
def test_thresholds(thresholds: dict[str, float], scores: tuple[int, int, int, int], reason: str, score: float):
    (result,) = judged(replace(STAGE, **thresholds), scores)
    if not reason:
        assert isinstance(result, Row)
        return
    assert isinstance(result, Reject) and result.reason == reason and result.score == pytest.approx(score)
    least = min(scores[:2]) / 10, min(scores[2:]) / 10
    assert result.scores["semantic_consistency"] == least[0] and result.scores["perceptual_quality"] == least[1]
    assert result.scores["overall"] == pytest.approx(math.sqrt(least[0] * least[1]), abs=1e-6)
    assert set(result.scores) < set(Scores.model_fields)
    assert "Meant so. Looks so." in result.detail and result.counts == {"answers_asked": 2}


def test_a_rewritten_instruction_is_the_one_that_is_judged():
    old, new = triplet("a", 1, 1, 9, 9), triplet("a", 1, 1, 9, 9, worded("Better: f=8 p=9."))
    scores = [json.loads(str(result.columns["scores"])) for result in STAGE(Examiner(), [old, new])]
    assert [score["semantic_consistency"] for score in scores] == [0.1, 0.8]


def test_placeholders_in_an_instruction_are_not_replaced():
    tricky = triplet("a", 1, 1, 9, 9, worded("Pay $5 for $instruction and f=8 p=9."))
    examiner = Examiner()
    STAGE(examiner, [tricky])
    assert "Pay $5 for $instruction and f=8 p=9." in examiner.asked[0].text


def test_a_second_run_reuses_the_answers(tmp_path: Path):
    stage = replace(STAGE, answers=str(tmp_path / "answers"))
    first, second = Examiner(), Examiner()
    samples = [triplet("a", 7, 8, 9, 10), triplet("b", 5, 8, 9, 10)]
    before, after = stage(first, samples), stage(second, samples)
    # The two targets are equal, so their quality is asked about once.
    assert len(first.asked) == 4 and second.asked == []
    assert [result.columns for result in before] == [result.columns for result in after]
    assert [result.counts for result in after] == [{"answers_cached": 2}] * 2


def test_a_sample_that_cannot_be_judged_is_rejected_alone():
    blind = triplet("a", 7, 8, 9, 10)
    blind.layers["pair"]["target"] = b"no image"
    bad, good = STAGE(Examiner(), [blind, triplet("b", 7, 8, 9, 10)])
    assert isinstance(bad, Reject) and bad.reason == "unreadable_image" and isinstance(good, Row)
    (mute,) = STAGE(Examiner(fail_quality=True), [triplet("a", 7, 8, 9, 10)])
    assert isinstance(mute, Reject) and mute.reason == "malformed_answer" and "It looks nice." in mute.detail
    assert mute.counts == {"answers_asked": 3, "answers_retried": 1}


@pytest.mark.parametrize("form", [Consistency, Quality])
def test_the_schema_and_the_form_accept_the_same_answers(form: type[Consistency] | type[Quality]):
    examiner = Examiner()
    STAGE(examiner, [triplet("a", 7, 8, 9, 10)])
    request = next(r for r in examiner.asked if (len(r.images) == 2) == (form is Consistency))
    first, second = list(form.model_fields)[1:]
    check = jsonschema.Draft202012Validator(request.schema)
    good = {"reason": "All is well.", first: 10, second: 0}
    assert check.is_valid(good) and form.model_validate(good)
    for wrong in ({first: 11}, {second: -1}, {first: 7.5}, {"reason": ""}, {"more": 1}):
        assert not check.is_valid(good | wrong)
        with pytest.raises(ValueError):
            form.model_validate(good | wrong)
    assert list(request.schema["required"]) == list(good)


def test_the_record_has_the_scores_of_checks_and_judge():
    sample = triplet("a", 7, 8, 9, 4)
    (row,) = STAGE(Examiner(), [sample])
    assert isinstance(row, Row)
    recipe = Recipe("bare", "no members", ())
    provenance = Provenance(plan="p", unit=0, seed=0, layers=["x"], versions=["y"])
    alone = record_of(sample, recipe, provenance).scores
    both = record_of(replace(sample, layers={**sample.layers, "judge": row.columns}), recipe, provenance).scores
    assert (alone.overall, alone.instruction_check) == (-1, 0.5)
    assert (both.semantic_consistency, both.perceptual_quality, both.instruction_check) == (0.7, 0.4, 0.5)
    assert both.overall == pytest.approx(math.sqrt(0.28), abs=1e-6)


def test_options():
    with pytest.raises(BadInput, match=r"layers\.judge\.min_overall is 7: give 0 to 1"):
        replace(STAGE, min_overall=7)
    with pytest.raises(BadInput, match=r"no prompt 'judge_system_v99'"):
        replace(STAGE, prompt="v99")
    needs = dict.fromkeys(("pair", "instruction", "checks"), "x")
    changes = ({}, {"min_overall": 0.5}, {"model": "m"}, {"temperature": 0.5})
    assert len({fingerprint(replace(STAGE, **change), needs) for change in changes}) == 4
    assert fingerprint(replace(STAGE, in_flight=3), needs) == fingerprint(STAGE, needs)
