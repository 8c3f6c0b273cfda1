"""Instructions and captions from the facts of a pair, without a model.

Invariant: every sentence is true by construction, in the frame that it names (`annotators.relations`,
`annotators.directions`). A pair without an unambiguous sentence is rejected. The choice among true sentences depends
only on the sample's key.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..shards.codecs import image_size
from ..shards.errors import BadInput
from ..shards.sample import Reject, Result, Row, Sample
from ..shards.schema import Instruction, PairFacts
from ..shards.stage import Stage
from .captions import caption
from .case import Case
from .edits.registry import kind_of
from .edits.standing import with_riders
from .phrases import distinct
from .wording import Group, Wordings


@dataclass(frozen=True)
class TemplateInstruction(Stage):
    """Columns: `instruction` (JSON of shards.schema.Instruction), `caption` (of the target), `source_caption`.

    For camera edits and rotations to a canonical view, the text is the wording of SpatialEdit's bench. For zooms, whose
    amount that wording does not state, it is the last variant instead. All other texts are natural English.
    """

    layer: ClassVar[str] = "instruction"
    needs: ClassVar[tuple[str, ...]] = ("pair",)
    version: ClassVar[int] = 4

    variants: int = 4
    """Number of paraphrases, at least 1. There are fewer if fewer sentences are true."""
    batch_size: int = field(default=32, metadata={"fingerprint": False})
    cpus: float = field(default=1.0, metadata={"fingerprint": False})
    gpus: float = field(default=0.0, metadata={"fingerprint": False})

    def __post_init__(self) -> None:
        if self.variants < 1:
            raise BadInput(f"layers.instruction.variants is {self.variants}: give 1 or more")

    @property
    def columns(self) -> Mapping[str, tuple[str, ...]]:
        return {"pair": ("facts", "source")}  # of `source`, only the image size is read

    def __call__(self, model: None, samples: Sequence[Sample]) -> Sequence[Result]:
        return [self._instruct(sample) for sample in samples]

    def _instruct(self, sample: Sample) -> Result:
        pair = sample["pair"]
        facts = PairFacts.model_validate_json(str(pair["facts"]))
        source = pair["source"]
        case = Case(facts, *image_size(source if isinstance(source, bytes) else b""))
        rng = generator(sample.key)
        texts = instructions(case, self.variants, rng)
        if isinstance(texts, str):
            ids = " and ".join(str(id) for id in facts.edit.edited) or "0"
            return Reject(texts, detail=f"{facts.edit.kind} of object {ids} in {facts.dataset}")
        instruction = Instruction(text=texts[0], variants=texts[1:], method="template", model="", verified=True)
        return Row(
            {
                "instruction": instruction.model_dump_json(),
                "caption": caption(facts, "target", rng),
                "source_caption": caption(facts, "source", rng),
            }
        )


def instructions(case: Case, variants: int, rng: np.random.Generator) -> list[str] | str:
    """The text and its variants (at least one), all distinct and true, or the reject reason if there are none.

    Reasons: `ambiguous_name` (no name fits only the edited object), `no_true_wording` (the facts support no sentence).
    """
    kind = kind_of(case.facts.edit.kind)
    if not kind.can_name(case):
        return "ambiguous_name"
    found = kind.wordings(case)
    if case.riders:
        found = with_riders(case, found)
    chosen = _choose(found, 1 + variants - len(found.first) - len(found.last), rng)
    texts = found.first + chosen + found.last
    return texts if len(texts) > 1 else "no_true_wording"


def _choose(found: Wordings, count: int, rng: np.random.Generator) -> list[str]:
    """`count` distinct sentences. Loose ones are used only if there are too few exact ones."""
    exact, loose = ([group for group in groups if group] for groups in (found.exact, found.loose))
    return (_round_robin(exact, rng) + _round_robin(loose, rng))[:count]


def _round_robin(groups: Sequence[Group], rng: np.random.Generator) -> list[str]:
    """All sentences, in rounds of one sentence per group, so that consecutive sentences differ in meaning."""
    shuffled = [[group[i] for i in rng.permutation(len(group)).tolist()] for group in groups]
    order = [shuffled[i] for i in rng.permutation(len(groups)).tolist()]
    rounds = max((len(group) for group in order), default=0)
    return distinct(group[index] for index in range(rounds) for group in order if index < len(group))


def generator(key: str) -> np.random.Generator:
    """Random generator for the choices of one sample, the same on every machine."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "big")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
