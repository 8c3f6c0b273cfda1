"""Scores triplets with a vision-language model, as VIEScore does.

Ku et al., VIEScore: Towards Explainable Metrics for Conditional Image Synthesis Evaluation, ACL 2024, section 3: two
questions, each with sub-scores of 0 to 10. Semantic consistency SC and perceptual quality PQ are the minimum of their
sub-scores; overall = sqrt(SC * PQ). The question on semantic consistency shows both images and the instruction, that on
perceptual quality only the target. Here, all scores are divided by 10.

Invariant: a verdict depends only on the scores and the thresholds. The scores of accepted and rejected samples are
    kept.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field

from ..shards.codecs import CodecError, image_size
from ..shards.errors import BadInput
from ..shards.sample import Reject, Result, Row, Sample
from ..shards.schema import Instruction
from .vlm.answers import Answered
from .vlm.client import Backend, Request
from .vlm.forms import Sentences, read_form, schema_of
from .vlm.prompts import fill, read_prompt
from .vlm.stage import VlmStage

HIGHEST: Final = 10
SubScore = Annotated[int, Field(ge=0, le=HIGHEST)]


class Consistency(BaseModel):
    """The model's answer on source, instruction and target; the prompt `judge_consistency_v1` explains the fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: Sentences
    following: SubScore
    preserving: SubScore


class Quality(BaseModel):
    """The model's answer on the target; the prompt `judge_quality_v1` explains the fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: Sentences
    naturalness: SubScore
    artifacts: SubScore


def viescore(consistency: Consistency, quality: Quality) -> dict[str, float]:
    """`semantic_consistency`, `perceptual_quality` and `overall`, each 0 to 1."""
    semantic = min(consistency.following, consistency.preserving) / HIGHEST
    perceptual = min(quality.naturalness, quality.artifacts) / HIGHEST
    overall = round(math.sqrt(semantic * perceptual), 6)
    return {"semantic_consistency": semantic, "perceptual_quality": perceptual, "overall": overall}


@dataclass(frozen=True)
class VieScoreJudge(VlmStage):
    """Columns: `scores` (JSON of the result of `viescore`), `judgement` (JSON: the sub-scores and their reasons).

    It judges the instruction that goes into the shard: the one that `checks` rewrote, if any.

    Rejects: `low_semantic_consistency`, `low_perceptual_quality`, `low_overall` (with the three scores, and the reasons
    as detail); `unreadable_image`, `malformed_answer`, `request_refused`.
    """

    layer: ClassVar[str] = "judge"
    needs: ClassVar[tuple[str, ...]] = ("pair", "instruction", "checks")
    version: ClassVar[int] = 1
    images: ClassVar[int] = 2

    temperature: float = 0.0
    min_semantic_consistency: float = 0.0
    """0 to 1. Samples with a lower score are rejected; 0 rejects none."""
    min_perceptual_quality: float = 0.0
    min_overall: float = 0.0
    prompt: str = field(default="v1", metadata={"fingerprint": False})
    """A version of the package's prompts."""
    texts: tuple[str, str, str] = field(init=False, repr=False, default=("", "", ""))
    """System prompt and the two questions that `prompt` names; part of the fingerprint."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in self._thresholds.items():
            if not 0 <= least <= 1:
                raise BadInput(f"{self.where}.min_{name} is {least:g}: give 0 to 1")
        names = ("system", "consistency", "quality")
        object.__setattr__(self, "texts", tuple(read_prompt(f"judge_{name}_{self.prompt}") for name in names))

    @property
    def _thresholds(self) -> dict[str, float]:
        return {
            "semantic_consistency": self.min_semantic_consistency,
            "perceptual_quality": self.min_perceptual_quality,
            "overall": self.min_overall,
        }

    @property
    def columns(self) -> Mapping[str, tuple[str, ...]]:
        return {"pair": ("source", "target"), "instruction": ("instruction",)}

    def __call__(self, model: Backend, samples: Sequence[Sample]) -> Sequence[Result]:
        requests = [self._requests(sample) for sample in samples]
        valid = [pair for pair in requests if not isinstance(pair, Reject)]
        consistency = self.ask(model, [pair[0] for pair in valid], partial(read_form, Consistency))
        quality = self.ask(model, [pair[1] for pair in valid], partial(read_form, Quality))
        results = (self._result(*answers) for answers in zip(consistency, quality, strict=True))
        return [pair if isinstance(pair, Reject) else next(results) for pair in requests]

    def _requests(self, sample: Sample) -> tuple[Request, Request] | Reject:
        pair = sample["pair"]
        source, target = (data if isinstance(data := pair[view], bytes) else b"" for view in ("source", "target"))
        try:
            image_size(source)
            image_size(target)
        except CodecError as error:
            return Reject("unreadable_image", detail=str(error))
        system, consistency, quality = self.texts
        question = fill(consistency, instruction=instruction_of(sample).text)
        return (
            Request(sample.key, system, question, (source, target), schema_of(Consistency)),
            Request(sample.key, system, quality, (target,), schema_of(Quality)),
        )

    def _result(self, consistency: Answered[Consistency] | Reject, quality: Answered[Quality] | Reject) -> Result:
        counts = Counter(consistency.counts) + Counter(quality.counts)
        if isinstance(consistency, Reject):
            return replace(consistency, counts=counts)
        if isinstance(quality, Reject):
            return replace(quality, counts=counts)
        scores = viescore(consistency.value, quality.value)
        judgement = {
            "semantic_consistency": consistency.value.model_dump(),
            "perceptual_quality": quality.value.model_dump(),
        }
        for name, least in self._thresholds.items():
            if scores[name] < least:
                detail = f"{consistency.value.reason} {quality.value.reason}"
                return Reject(f"low_{name}", scores[name], detail, counts, scores)
        return Row({"scores": json.dumps(scores), "judgement": json.dumps(judgement)}, counts)


def instruction_of(sample: Sample) -> Instruction:
    """The instruction that goes into the shard: the one that `checks` rewrote, if any, else that of layer
    `instruction`."""
    rewritten = sample["checks"].get("instruction", "")
    return Instruction.model_validate_json(str(rewritten or sample["instruction"]["instruction"]))
