"""The claims of an instruction, in fields that the geometry check can verify, for VLM answers and for parsed text.

Invariant: `none`, an empty value and 0 mean that the instruction makes no such claim. Every other value is a claim that
is true or false of a pair; `annotators.clauses` and `annotators.edits` have the formulas.
"""

from typing import Annotated, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from ..shards.schema import EditKind

Relation = Literal["none", "left", "right", "front", "behind", "between", "next", "into", "against", "corner"]
SupportRelation = Literal["none", "on", "in", "under"]
Shelf = Literal["none", "top", "upper", "middle", "lower", "bottom"]
Direction = Literal["left", "right", "towards", "away", "up", "down"]
Frame = Literal["viewer", "object"]
Turn = Literal["none", "clockwise", "counterclockwise"]
Part = Literal[
    "none",
    "left",
    "right",
    "upper",
    "lower",
    "centre",
    "upper left",
    "upper centre",
    "upper right",
    "lower left",
    "lower centre",
    "lower right",
]
CanonicalView = Literal[
    "none",
    "front",
    "front left side",
    "left side",
    "rear left side",
    "rear",
    "rear right side",
    "right side",
    "front right side",
]
CANONICAL_VIEWS: Final[tuple[CanonicalView, ...]] = get_args(CanonicalView)[1:]
SUPPORT_FIELDS: Final = frozenset(
    {"support", "support_object", "shelf", "origin", "origin_object", "origin_shelf", "riders"}
)
"""Fields of `Claims` about what objects stand on. The prompts of version 1 do not ask for them."""
ROOM_RELATIONS: Final = frozenset({"against", "corner"})
"""Relations to the room, for which they do not ask either. The reference is `wall` and `room`."""


class Claims(BaseModel):
    """The claims of one instruction. `none`, empty and 0: no claim, and nothing to check."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    edit: EditKind = Field(description="what the instruction asks for")
    object: str = Field(default="", description="noun phrase of the edited object, as said; empty for the camera")
    relation: Relation = Field(
        default="none", description="where the object shall end (remove: where it stands) relative to the references"
    )
    references: Annotated[list[str], Field(max_length=2)] = Field(
        default_factory=list, description="noun phrases of the reference objects; two for between"
    )
    frame: Frame = Field(
        default="viewer",
        description="whose left, right, front and behind is meant: the viewer's, or the (reference) object's own",
    )
    directions: Annotated[list[Direction], Field(max_length=2)] = Field(
        default_factory=list[Direction],
        description="of a move, in `frame`: left, right; towards or away from the camera; up or down in the image",
    )
    support: SupportRelation = Field(
        default="none",
        description="what the object shall end on, in or under (remove: what it stands on). `in` only beside another "
        "relation; alone, it is relation `into`",
    )
    support_object: str = Field(default="", description="noun phrase of that object, or `floor`")
    shelf: Shelf = Field(default="none", description="which shelf of `support_object`")
    origin: SupportRelation = Field(
        default="none", description="what the object stands on, in or under before the edit, as a place that it leaves"
    )
    origin_object: str = Field(default="", description="noun phrase of that object, or `floor`")
    origin_shelf: Shelf = Field(default="none", description="which shelf of `origin_object`")
    riders: Literal["none", "along"] = Field(
        default="none", description="whether the instruction says that what stands on the object comes along"
    )
    part: Part = Field(
        default="none", description="which part of the image the object shall end in (remove: where it is)"
    )
    turn: Turn = Field(default="none", description="seen from above")
    view: CanonicalView = Field(default="none", description="which side of the object faces the camera afterwards")
    size: Literal["none", "larger", "smaller"] = "none"
    metres: float = Field(default=0.0, ge=0, description="of a move")
    widths: float = Field(default=0.0, ge=0, description="of a move, in multiples of the object's own width")
    degrees: float = Field(default=0.0, ge=0, le=360, description="of a rotation")
    factor: float = Field(default=0.0, ge=0, description="of a change of size: new size over old size")
    yaw: Literal["none", "left", "right", "unchanged"] = Field(
        default="none", description="the camera orbits to this side"
    )
    yaw_deg: float = Field(default=0.0, ge=0, le=360)
    pitch: Literal["none", "up", "down", "unchanged"] = Field(default="none", description="the camera rises or sinks")
    pitch_deg: float = Field(default=0.0, ge=0, le=180)
    zoom: Literal["none", "in", "out", "unchanged"] = "none"
    zoom_factor: float = Field(
        default=0.0, ge=0, description="distance of the camera before over after: above 1 is closer"
    )
