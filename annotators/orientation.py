"""Which way an asset faces, and what it is called: a vision-language model votes on contact sheets of eight views.

Invariant: a front is told only where enough questions agree on it, each asked with the sheet begun at another side. A
model that answers by the place in the sheet instead of the picture gives another direction each time, and so none.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, ClassVar, Final, Literal, get_args

import cv2
import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ..shards.codecs import U8, CodecError, decode_image, encode_image
from ..shards.errors import BadInput
from ..shards.geometry import wrap_degrees
from ..shards.sample import Columns, Reject, Result, Row, Sample
from .vlm.answers import Answered
from .vlm.client import Backend, Request
from .vlm.forms import Sentences, read_form, schema_of
from .vlm.prompts import fill, read_prompt
from .vlm.stage import VlmStage

Panel = Literal["A", "B", "C", "D", "E", "F", "G", "H", "none"]
PANELS: Final[tuple[Panel, ...]] = get_args(Panel)[:-1]
STARTS: Final = (0, 3, 6, 1, 4, 7, 2, 5)
"""Where the sheets begin, in steps: any three in a row differ by 90 degrees or more, so that no fixed letter wins."""
_COLUMNS: Final = 4
_STEP: Final = 360.0 / len(PANELS)
NO_FRONT: Final = -1.0
_VIEW: Final = re.compile(r"view_(\d{3})")


def _plain(text: Any) -> Any:
    """Lower-case words without article; what is no phrase (`none`, `unknown`) is empty."""
    if not isinstance(text, str):
        return text
    words = re.sub(r"[^a-z0-9' -]+", " ", text.lower()).split()
    while words and words[0] in ("a", "an", "the", "some"):
        words = words[1:]
    return "" if words in (["none"], ["unknown"], ["object"], ["n/a"]) else " ".join(words)


Phrase = Annotated[str, Field(pattern=r"^[A-Za-z0-9' -]{0,40}$"), BeforeValidator(_plain)]


class SheetAnswer(BaseModel):
    """What the model says of one sheet; the prompt `orientation_sheet_v1` explains the fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Phrase
    colour: Phrase
    material: Phrase
    evidence: Sentences
    distinguishable: bool
    front: Panel
    rear: Panel


def sheet_order(azimuths: Sequence[int], turn: int) -> list[int]:
    """The azimuths of panels A to H of sheet number `turn`: the same walk, begun at another side."""
    first = STARTS[turn]
    return [*azimuths[first:], *azimuths[:first]]


def draw_sheet(views: Sequence[U8]) -> bytes:
    """Eight equal views (H, W, 3) as panels A to H, two rows of four, each with its letter; JPEG."""
    height, width = views[0].shape[:2]
    panels = [_lettered(view, letter) for view, letter in zip(views, PANELS, strict=True)]
    rows = [np.concatenate(panels[first : first + _COLUMNS], axis=1) for first in range(0, len(panels), _COLUMNS)]
    sheet = np.concatenate(rows)
    sheet[height::height, :] = sheet[:, width::width] = 255
    return encode_image(np.ascontiguousarray(sheet), "jpg")


def _lettered(view: U8, letter: str) -> U8:
    side = max(16, view.shape[0] // 9)
    panel = view.copy()
    panel[:side, :side] = 0
    scale = side / 30
    (width, height), _ = cv2.getTextSize(letter, cv2.FONT_HERSHEY_SIMPLEX, scale, 2)
    at = ((side - width) // 2, (side + height) // 2)
    cv2.putText(panel, letter, at, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 2, cv2.LINE_AA)
    return panel


def front_of(answer: SheetAnswer, order: Sequence[int]) -> float:
    """The direction of the front that one answer names, degrees; `NO_FRONT` where it names none or contradicts itself.

    The rear is asked for apart: it must be opposite, to within one step.
    """
    if not answer.distinguishable or "none" in (answer.front, answer.rear):
        return NO_FRONT
    front, rear = (float(order[PANELS.index(letter)]) for letter in (answer.front, answer.rear))
    return front if abs(wrap_degrees(rear - front - 180.0)) <= _STEP else NO_FRONT


def vote(
    answers: Sequence[SheetAnswer | None], orders: Sequence[Sequence[int]], agree: int, colours: Sequence[str]
) -> dict[str, Any]:
    """What the answers to one asset's sheets say together; None stands for an answer that could not be had.

    Args:
        orders: the azimuths of each sheet's panels.
        agree: votes that must name the same front.
        colours: words that a colour may be.

    Returns:
        `front_deg` (None where unknown), `name`, `colour`, `material` (empty where no majority names one),
        `distinguishable`, `votes` (a direction or `NO_FRONT` for each sheet).
    """
    given = [answer for answer in answers if answer is not None]
    votes = [front_of(a, order) if a is not None else NO_FRONT for a, order in zip(answers, orders, strict=True)]
    distinguishable = 2 * sum(answer.distinguishable for answer in given) > len(given)
    front, count = Counter(votes).most_common(1)[0]
    return {
        "front_deg": front if distinguishable and front != NO_FRONT and count >= agree else None,
        "name": _agreed_name([_bare(answer.name, colours) for answer in given]),
        "colour": _agreed([answer.colour if answer.colour in colours else "" for answer in given]),
        "material": _agreed([answer.material for answer in given]),
        "distinguishable": distinguishable,
        "votes": votes,
    }


def _agreed(words: Sequence[str]) -> str:
    """What more than half say, else nothing."""
    word, count = Counter(words).most_common(1)[0] if words else ("", 0)
    return word if 2 * count > len(words) else ""


def _agreed_name(names: Sequence[str]) -> str:
    """The name of more than half; else the noun that more than half end in: office chair, desk chair: chair."""
    return _agreed(names) or _agreed([name.split()[-1] if name else "" for name in names])


def _bare(name: str, colours: Sequence[str]) -> str:
    """A name without the colours before its noun, which instructions put there themselves where they are needed."""
    before = next((colour for colour in sorted(colours, key=len, reverse=True) if name.startswith(f"{colour} ")), "")
    return name.removeprefix(before).strip()


@dataclass(frozen=True)
class VlmOrientation(VlmStage):
    """Asks for the front and the name of assets. Layer `portraits`: columns `view_000` ... `view_315`, by azimuth.

    Columns: `orientation`, JSON of what `vote` returns, with `model` and `revision`; `answers`, JSON of the answers,
    null where there was none. Rejects: `malformed_answer` and `request_refused` where no sheet was answered;
    `unreadable_portrait`.
    """

    layer: ClassVar[str] = "orient"
    needs: ClassVar[tuple[str, ...]] = ("portraits",)
    version: ClassVar[int] = 1
    images: ClassVar[int] = 1

    votes: int = 3
    """Sheets to ask about, 1 to 8, each begun at another side."""
    agree: int = 0
    """Votes that must name the same front, more than half; 0: all."""
    colours: tuple[str, ...] = ()
    """What a colour may be called."""
    prompt: str = field(default="v1", metadata={"fingerprint": False})
    """A version of the package's prompts."""
    texts: tuple[str, str] = field(init=False, repr=False, default=("", ""))
    """System and question as `prompt` names them: they enter the fingerprint."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.votes <= len(STARTS):
            raise BadInput(f"{self.where}.votes is {self.votes}: give 1 to {len(STARTS)}")
        if self.agree and not self.votes / 2 < self.agree <= self.votes:
            raise BadInput(
                f"{self.where}.agree is {self.agree}: give 0 (all), or more than half of the {self.votes} votes"
            )
        system, sheet = (read_prompt(f"orientation_{part}_{self.prompt}") for part in ("system", "sheet"))
        object.__setattr__(self, "texts", (system, fill(sheet, colours=", ".join(self.colours))))

    @property
    def where(self) -> str:
        """What the options are called in the configuration: this is no layer of a build."""
        return self.layer

    def __call__(self, model: Backend, samples: Sequence[Sample]) -> Sequence[Result]:
        views = [_views(sample["portraits"]) for sample in samples]
        requests = [
            self._request(sample.key, seen, turn)
            for sample, seen in zip(samples, views, strict=True)
            if not isinstance(seen, Reject)
            for turn in range(self.votes)
        ]
        answers = iter(self.ask(model, requests, partial(read_form, SheetAnswer)))
        return [
            seen if isinstance(seen, Reject) else self._result(seen, [next(answers) for _ in range(self.votes)], model)
            for seen in views
        ]

    def _request(self, key: str, views: Mapping[int, U8], turn: int) -> Request:
        order = sheet_order(list(views), turn)
        return Request(
            key=f"{key}-sheet-{turn}",
            system=self.texts[0],
            text=self.texts[1],
            images=(draw_sheet([views[azimuth] for azimuth in order]),),
            schema=self._schema,
        )

    @property
    def _schema(self) -> dict[str, Any]:
        schema = schema_of(SheetAnswer)
        if self.colours:
            schema["properties"]["colour"] = {"type": "string", "enum": [*self.colours, "none"]}
        return schema

    def _result(
        self, views: Mapping[int, U8], answers: Sequence[Answered[SheetAnswer] | Reject], model: Backend
    ) -> Result:
        given = [None if isinstance(answer, Reject) else answer.value for answer in answers]
        counts: Counter[str] = Counter()
        for answer in answers:
            counts.update(answer.counts)
        if not any(given):
            first = next(answer for answer in answers if isinstance(answer, Reject))
            return Reject(first.reason, detail=first.detail, counts=counts)
        orders = [sheet_order(list(views), turn) for turn in range(self.votes)]
        told = vote(given, orders, self.agree or self.votes, self.colours)
        told |= {"model": model.model, "revision": model.revision}
        shown = [answer.model_dump() if answer else None for answer in given]
        return Row({"orientation": json.dumps(told), "answers": json.dumps(shown)}, counts)


def _views(columns: Columns) -> dict[int, U8] | Reject:
    """Decoded views by azimuth, in the order of the walk."""
    found = {int(match[1]): data for name, data in sorted(columns.items()) if (match := _VIEW.fullmatch(name))}
    if len(found) != len(PANELS):
        raise ValueError(f"layer portraits holds {len(found)} views, not {len(PANELS)}")
    try:
        return {azimuth: decode_image(data) for azimuth, data in found.items() if isinstance(data, bytes)}
    except CodecError as error:
        return Reject("unreadable_portrait", detail=str(error))
