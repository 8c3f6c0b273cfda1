"""Instructions and captions by a vision-language model, from the two images alone or also from the facts of the edit.

Invariant: every accepted answer fits `Answer`, whichever backend served it. `verified` is False until the geometry
check agrees with the instruction. The same configuration, prompts and answers give the same row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from ..shards.codecs import CodecError, image_size
from ..shards.errors import BadInput
from ..shards.sample import Reject, Result, Row, Sample
from ..shards.schema import Instruction, PairFacts
from .case import Case
from .claims import ROOM_RELATIONS, SUPPORT_FIELDS, Claims
from .grounding import edit_facts
from .phrases import distinct
from .vlm.client import Backend, Request
from .vlm.forms import read_form, schema_of, text_pattern
from .vlm.prompts import fill, read_prompt
from .vlm.stage import VlmStage

Sentence = Annotated[str, Field(pattern=f"^[A-Z]{text_pattern(4, 240)}[.]$")]
Phrase = Annotated[str, Field(pattern=r"^[A-Za-z0-9 ,'/-]{0,60}$")]
_MAX_VARIANTS: Final = 12
_MAX_NUMBER: Final = 100
"""Upper bound of numbers that have none of their own (meters, widths, factors), so that their digits end."""
DEFAULT_PROMPT: Final = "v1"


class Answer(Claims):
    """The model's answer: an instruction, its claims, its paraphrases, and a caption of each image."""

    object: Phrase = ""
    support_object: Phrase = ""
    origin_object: Phrase = ""
    references: Annotated[list[Phrase], Field(max_length=2)] = Field(default_factory=list)
    source_caption: Sentence
    target_caption: Sentence
    instruction: Sentence
    paraphrases: Annotated[list[Sentence], Field(min_length=1, max_length=_MAX_VARIANTS)]


_FIRST_FIELDS: Final = ("source_caption", "target_caption")
_LAST_FIELDS: Final = ("instruction", "paraphrases")


def answer_schema(variants: int, supports: bool = False) -> dict[str, Any]:
    """JSON Schema of `Answer` with `variants` paraphrases. All fields are required, in the order in which to reason.

    The model describes the images first, then states the edit, then words the instruction. The schema uses only
    keywords that grammar-guided decoding supports, and bounds every string, list and number, so that every answer ends.

    Args:
        supports: whether the answer says what objects stand on; the prompts of version 1 do not ask.
    """
    schema = schema_of(Answer)
    rules = schema["properties"]
    if not supports:
        rules = {name: rule for name, rule in rules.items() if name not in SUPPORT_FIELDS}
        rules["relation"]["enum"] = [name for name in rules["relation"]["enum"] if name not in ROOM_RELATIONS]
    middle = (name for name in rules if name not in (*_FIRST_FIELDS, *_LAST_FIELDS))
    order = [*_FIRST_FIELDS, *middle, *_LAST_FIELDS]
    for rule in rules.values():
        if rule["type"] == "number":
            rule.setdefault("maximum", _MAX_NUMBER)
    rules["paraphrases"] |= {"minItems": variants, "maxItems": variants}
    return {**schema, "properties": {name: rules[name] for name in order}, "required": order}


def parse_answer(text: str) -> Answer:
    """Parse a model's answer and normalize its spaces. Raises ValueError if it does not fit `Answer`."""
    answer = read_form(Answer, text)
    instruction = " ".join(answer.instruction.split())
    texts = distinct(" ".join(text.split()) for text in answer.paraphrases)
    paraphrases = [text for text in texts if text != instruction]
    if not paraphrases:
        raise ValueError("no paraphrase differs from the instruction")
    captions = {name: " ".join(getattr(answer, name).split()) for name in _FIRST_FIELDS}
    return answer.model_copy(update={"instruction": instruction, "paraphrases": paraphrases, **captions})


@dataclass(frozen=True)
class Qwen3VLInstruction(VlmStage):
    """Columns: those of `annotators.templates.TemplateInstruction`, and `claims` (JSON of annotators.claims.Claims).

    Rejects: `unreadable_image`, `malformed_answer`, `request_refused`.
    """

    layer: ClassVar[str] = "instruction"
    needs: ClassVar[tuple[str, ...]] = ("pair", "screen")
    version: ClassVar[int] = 2
    images: ClassVar[int] = 2

    mode: Literal["images", "grounded"] = "grounded"
    """`images`: the prompt has only the two images, as in SpatialDiff. `grounded`: it also has the facts of the
    edit."""
    variants: int = 4
    """Number of paraphrases, 1 to 12. Duplicates are removed."""
    prompt: str = field(default=DEFAULT_PROMPT, metadata={"fingerprint": False})
    """A version of the package's prompts, or the path of a .txt file with your own question, in which $facts, $fields
    and $paraphrases are replaced. `v2` also asks what objects stand on: for builds with other scenes than open ones."""
    texts: tuple[str, str, str] = field(init=False, repr=False, default=("", "", ""))
    """System prompt, question and fields that `prompt` names. They are read once, sent to the workers with the stage,
    and part of its fingerprint."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.variants <= _MAX_VARIANTS:
            raise BadInput(f"layers.instruction.variants is {self.variants}: give 1 to {_MAX_VARIANTS}")
        own = self.prompt.endswith(".txt")
        version = DEFAULT_PROMPT if own else self.prompt
        question = self.prompt if own else f"instruction_{self.mode}_{version}"
        names = (f"instruction_system_{version}", question, f"instruction_fields_{version}")
        object.__setattr__(self, "texts", tuple(read_prompt(name) for name in names))
        self._question("")  # reports an unknown placeholder now, not at the first sample

    @property
    def asks_for_supports(self) -> bool:
        """Whether the prompt asks for the fields of `annotators.claims.SUPPORT_FIELDS`."""
        return '"support_object"' in self.texts[2]

    @property
    def columns(self) -> Mapping[str, tuple[str, ...]]:
        return {"pair": ("facts", "source", "target"), "screen": ()}

    def __call__(self, model: Backend, samples: Sequence[Sample]) -> Sequence[Result]:
        schema = answer_schema(self.variants, self.asks_for_supports)
        requests = [self._request(sample, schema) for sample in samples]
        answers = iter(self.ask(model, [one for one in requests if isinstance(one, Request)], parse_answer))
        found = [one if isinstance(one, Reject) else next(answers) for one in requests]
        name = f"{model.model}@{model.revision}" if model.revision else model.model
        row = partial(_row, name, self.asks_for_supports)
        return [one if isinstance(one, Reject) else row(one.value, one.counts) for one in found]

    def _request(self, sample: Sample, schema: Mapping[str, Any]) -> Request | Reject:
        pair = sample["pair"]
        source, target = (data if isinstance(data := pair[view], bytes) else b"" for view in ("source", "target"))
        try:
            width, height = image_size(source)
            image_size(target)
        except CodecError as error:
            return Reject("unreadable_image", detail=str(error))
        facts = ""
        if self.mode == "grounded":
            facts = edit_facts(Case(PairFacts.model_validate_json(str(pair["facts"])), width, height))
        return Request(sample.key, self.texts[0], self._question(facts), (source, target), schema)

    def _question(self, facts: str) -> str:
        _, question, fields = self.texts
        fields = fill(fields, paraphrases=self.variants)
        return fill(question, facts=facts, fields=fields, paraphrases=self.variants)


def _row(model: str, supports: bool, answer: Answer, counts: Mapping[str, int]) -> Row:
    instruction = Instruction(
        text=answer.instruction, variants=answer.paraphrases, method="vlm", model=model, verified=False
    )
    claims = Claims.model_validate(answer.model_dump(include=set(Claims.model_fields)))
    columns = {
        "instruction": instruction.model_dump_json(),
        "caption": answer.target_caption,
        "source_caption": answer.source_caption,
        "claims": claims.model_dump_json(exclude=None if supports else set(SUPPORT_FIELDS)),
    }
    return Row(columns, counts)
