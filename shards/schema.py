"""The schema of a sample: its members and its JSON record.

No nulls, no free-form dicts and no empty lists, since readers such as Hugging Face `datasets` infer a schema from the
first samples. Facts that a source does not know are zeros with `known: false` beside them, never guesses. Scores that
were not measured are -1.

The docstrings and descriptions of `SampleRecord` and its parts are published in `sample.schema.json`, which `verify`
compares byte by byte. Changing one makes `verify` report existing shards, so it needs a new `SCHEMA_VERSION`.
"""

from collections.abc import Collection
from typing import Annotated, Any, ClassVar, Literal, assert_never

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

SCHEMA_VERSION, TWO_OBJECT_VERSION, SUPPORT_VERSION, FAMILY_VERSION = 3, 4, 5, 6
"""Versions that are written: of a set without edits of two objects, of a set that may have such edits, of a set that
says what its objects stand on, and of a set whose scenes have more than two edits (both may have any edits)."""
WRITTEN_VERSIONS = (SCHEMA_VERSION, TWO_OBJECT_VERSION, SUPPORT_VERSION, FAMILY_VERSION)
READABLE_VERSIONS = (1, 2, 3, 4, 5, 6)
"""Versions of the record. Version 1 lacks `derived` and `origin` in `provenance`, since there were no derived samples.
Versions 1 and 2 lack `family` of objects. Versions 1 to 3 lack `second_object` in `edit`. Versions 1 to 4 lack
`scene`, and `source_support` and `target_support` of objects. Versions 1 to 5 lack `family` and `states` in
`provenance`."""

EditKind = Literal["translate", "rotate", "scale", "remove", "insert", "camera", "swap"]
EDIT_KINDS: tuple[EditKind, ...] = ("translate", "rotate", "scale", "remove", "insert", "camera", "swap")


def objects_edited(kind: EditKind) -> int:
    """How many objects an edit of this kind changes; 0 for an edit of the camera."""
    match kind:
        case "translate" | "rotate" | "scale" | "remove" | "insert":
            return 1
        case "camera":
            return 0
        case "swap":
            return 2
        case _:
            assert_never(kind)


TWO_OBJECT_KINDS: tuple[EditKind, ...] = tuple(kind for kind in EDIT_KINDS if objects_edited(kind) == 2)


def schema_version(kinds: Collection[EditKind], supports: bool = False, families: bool = False) -> int:
    """The version of the records of a set that may have edits of these kinds: all samples of a set have the same keys.

    Where one of the kinds edits two objects, every `edit` has `second_object`; else none has it.

    Args:
        supports: whether the set says what its objects stand on. Then every record has the keys of this, too.
        families: whether the set says which samples share a scene. Then every record has all keys.
    """
    if families:
        return FAMILY_VERSION
    if supports:
        return SUPPORT_VERSION
    return TWO_OBJECT_VERSION if set(kinds) & set(TWO_OBJECT_KINDS) else SCHEMA_VERSION


SupportKind = Literal["top", "shelf", "soft", "inside", "under"]
"""What a region of an object is to the things that stand on, in or under it (docs/scenes.md)."""
MapKind = Literal["", "metric", "confidence", "relative_inverse", "normal", "instances", "segments", "lines"]
Split = Literal["train", "val", "test"]
Derivation = Literal["", "invert", "compose"]
"""How a sample was derived from others without rendering; empty for samples that are not derived."""
UNKNOWN_FRONT = 360.0
"""In `PairFacts.fronts`: it is unknown which way the object faces."""
SPLITS: tuple[Split, ...] = ("train", "val", "test")
KEEPS_ITS_SPLITS = frozenset({"object3dit"})
"""Values of `dataset` that keep the released val split, which shares objects with train and test by design."""

Vec3 = Annotated[list[float], Field(min_length=3, max_length=3)]
Mat3 = Annotated[list[float], Field(min_length=9, max_length=9, description="3x3, row-major")]
Mat4 = Annotated[list[float], Field(min_length=16, max_length=16, description="4x4, row-major")]
Box = Annotated[
    list[int],
    Field(
        min_length=4,
        max_length=4,
        description="x0, y0, x1, y1 in pixels, x1 and y1 exclusive; zeros when absent",
    ),
]
Fraction = Annotated[float, Field(ge=0, le=1)]


class _Fixed(BaseModel):
    """Fixed keys, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


class _AsGiven(_Fixed):
    """A part with keys that are written where they were given, and nowhere else: earlier versions lack them."""

    added: ClassVar[frozenset[str]]
    """These keys."""

    @model_serializer(mode="wrap")
    def _as_given(self, handler: SerializerFunctionWrapHandler):  # noqa: ANN202 - it would replace the JSON Schema
        values: dict[str, Any] = handler(self)
        for name in self.added - self.model_fields_set:
            values.pop(name, None)
        return values


class Edit(_AsGiven):
    """What changes from source to target. Numbers that do not belong to `kind` are zero (`scale` and `zoom`: one)."""

    added: ClassVar = frozenset({"second_object"})

    kind: EditKind
    known: bool = Field(description="whether the numbers below are known; boxes always are")
    object: int = Field(ge=0, description="id of the edited object in `objects`; 0 for camera")
    second_object: int = Field(default=0, ge=0, description="id of the other object of an edit of two; 0 for others")
    translation: Vec3 = Field(description="metres, world frame")
    rotation_deg: float = Field(description="about world z, counter-clockwise seen from above")
    view: str = Field(description="canonical view in the SpatialEdit bench wording, or empty")
    scale: float = Field(gt=0)
    yaw_deg: float = Field(description="camera edits: the camera orbits by this angle, positive to the viewer's right")
    pitch_deg: float = Field(description="camera edits: positive raises the camera")
    zoom: float = Field(gt=0, description="camera edits: source distance over target distance; above 1 is closer")
    box: Box = Field(description="the object in the target image")

    @property
    def edited(self) -> tuple[int, ...]:
        """Ids of the edited objects in `objects`; empty for an edit of the camera."""
        return tuple(identity for identity in (self.object, self.second_object) if identity)


class Instruction(_Fixed):
    text: str = Field(min_length=1)
    variants: Annotated[list[str], Field(min_length=1)]
    method: Literal["template", "vlm"]
    model: str
    verified: bool = Field(description="the geometry check agreed")


class View(_Fixed):
    """OpenCV camera: x right, y down, z forward; pixels; metres."""

    known: bool
    focal: Literal["exact", "assumed", "unknown"]
    K: Mat3
    world_from_camera: Mat4


class Camera(_Fixed):
    source: View
    target: View


class SupportRef(_Fixed):
    """What an object stands on, in or under."""

    object: int = Field(
        ge=0, description="id of the supporting object; 0 for the floor, a room model, and where `kind` is empty"
    )
    kind: Literal["", "floor", SupportKind] = Field(description="empty if the object is absent or this is unknown")
    shelf: int = Field(ge=0, description="number of the shelf of the supporting object, 1 is the lowest; else 0")
    shelves: int = Field(ge=0, description="how many shelves the supporting object has, if `kind` is shelf; else 0")


NO_SUPPORT = SupportRef(object=0, kind="", shelf=0, shelves=0)
FLOOR = SupportRef(object=0, kind="floor", shelf=0, shelves=0)


SUPPORT_FIELDS = frozenset({"source_support", "target_support"})


class SceneObject(_AsGiven):
    added: ClassVar = SUPPORT_FIELDS

    id: int = Field(ge=1, description="the label in the instance maps")
    name: str = Field(description="what an instruction may call it")
    category: str
    asset: str
    family: str = Field(default="", description="assets of one shape have one; empty where every asset is its own")
    licence: str = Field(description="as the source names it; several of one model are joined by ';': all count")
    creator: str
    known: bool = Field(description="whether size, poses and visible fractions are known")
    size_m: Vec3 = Field(
        description="width (x), depth (y), height (z) in the object's own frame, before the pose scales it"
    )
    source_pose: Mat4 = Field(description="world_from_object; the object's origin is the centre of its base, z up")
    target_pose: Mat4
    source_box: Box
    target_box: Box
    source_visible: Fraction = Field(description="visible share of the object's own pixels, 0 when absent")
    target_visible: Fraction
    source_support: SupportRef = NO_SUPPORT
    target_support: SupportRef = NO_SUPPORT

    @property
    def visible(self) -> bool:
        """Whether any part is visible in source or target. Boxes are always known, visible fractions may be unknown."""
        return self.source_visible > 0 or self.target_visible > 0 or any(self.source_box) or any(self.target_box)


class MapInfo(_Fixed):
    """How to read a map member: value = offset + scale * pixel. Empty strings when the recipe lacks the member."""

    estimator: str
    revision: str
    kind: MapKind
    scale: float
    offset: float
    min: float
    max: float
    unit: str


NO_MAP = MapInfo(estimator="", revision="", kind="", scale=0.0, offset=0.0, min=0.0, max=0.0, unit="")


class Maps(_Fixed):
    depth: MapInfo = NO_MAP
    metric: MapInfo = NO_MAP
    confidence: MapInfo = NO_MAP
    normal: MapInfo = NO_MAP
    segment: MapInfo = NO_MAP
    line: MapInfo = NO_MAP
    source_depth: MapInfo = NO_MAP
    source_metric: MapInfo = NO_MAP
    source_confidence: MapInfo = NO_MAP
    source_normal: MapInfo = NO_MAP
    source_segment: MapInfo = NO_MAP
    source_line: MapInfo = NO_MAP


class Scores(_Fixed):
    """-1 where not measured."""

    visible_source: float = Field(default=-1.0, description="edited object, share of its own pixels")
    visible_target: float = -1.0
    displacement_px: float = Field(default=-1.0, description="centre of the edited object's mask, source to target")
    displacement_m: float = -1.0
    changed_fraction: float = Field(default=-1.0, description="share of the frame in changed.png")
    psnr_unchanged: float = Field(-1.0, description="dB outside changed.png, before the source's pixels were copied")
    box_iou: float = Field(default=-1.0, description="edited object's box projected from its pose, against its mask")
    mask_iou: float = Field(-1.0, description="edited object's silhouette projected from its pose, against its mask")
    semantic_consistency: float = -1.0
    perceptual_quality: float = -1.0
    overall: float = Field(default=-1.0, description="sqrt(semantic_consistency * perceptual_quality)")
    instruction_check: float = -1.0


FAMILY_FIELDS = frozenset({"family", "states"})


class Provenance(_AsGiven):
    added: ClassVar = FAMILY_FIELDS

    plan: str
    unit: int
    seed: int
    layers: Annotated[list[str], Field(min_length=1, description="layer-fingerprint of each layer, sorted")]
    versions: Annotated[list[str], Field(min_length=1, description="name=version, sorted")]
    derived: Derivation = Field(default="", description="how it was made from other samples; empty: it was rendered")
    origin: str = Field(default="", description="keys of those samples, joined by a space; empty where it was rendered")
    family: str = Field(default="", description="key of the first of the samples that share its scene")
    states: str = Field(
        default="",
        description="source and target, as states of the scene, joined by a space: 0 is the scene's source, i + 1 the "
        "target of its edit i",
    )


class SampleRecord(_AsGiven):
    """The `json` member of a sample."""

    added: ClassVar = frozenset({"scene"})

    key: str = Field(pattern=r"^[a-z0-9-]{1,80}$")
    schema_version: int = Field(alias="schema", ge=1)
    dataset: str
    split: Split
    caption: str = Field(description="of the target")
    source_caption: str
    edit: Edit
    instruction: Instruction
    camera: Camera
    objects: Annotated[list[SceneObject], Field(min_length=1)]
    maps: Maps
    scores: Scores
    provenance: Provenance
    scene: str = Field(default="", description="kind of scene: open, room, tabletop, garden")


def record_schema(version: int) -> dict[str, Any]:
    """The JSON Schema of the record as it is written for a set of this version."""
    schema = SampleRecord.model_json_schema(by_alias=True, mode="serialization")
    if version < TWO_OBJECT_VERSION:
        edit = schema["$defs"]["Edit"]["properties"]
        del edit["second_object"]
        edit["kind"]["enum"] = [kind for kind in EDIT_KINDS if kind not in TWO_OBJECT_KINDS]
    if version < SUPPORT_VERSION:
        for name in SUPPORT_FIELDS:
            del schema["$defs"]["SceneObject"]["properties"][name]
        del schema["$defs"]["SupportRef"]
        del schema["properties"]["scene"]
    if version < FAMILY_VERSION:
        for name in FAMILY_FIELDS:
            del schema["$defs"]["Provenance"]["properties"][name]
    return schema


class Measures(_Fixed):
    """Values that only the pair stage can measure; `checks` turns them into scores and a verdict."""

    visible_source: float = -1.0
    visible_target: float = -1.0
    displacement_px: float = -1.0
    displacement_m: float = -1.0
    changed_fraction: float = -1.0
    psnr_unchanged: float = -1.0
    box_iou: float = -1.0
    mask_iou: float = -1.0


class PairFacts(_Fixed):
    """Column `facts` of the `pair` layer (JSON): what the source knows about a pair. Not a member of a shard.

    The other columns of `pair` are encoded members: `source`, `target` (lossless WebP), `source_instances`,
    `target_instances`, `changed` (PNG), and, where the source knows them, `source_parts`, `parts` (labels from which
    segments are made, PNG), `source_metric`, `metric`, `source_normal`, `normal` (exact maps of the renderer). Columns
    that the source does not know contain empty bytes.
    """

    dataset: str
    edit: Edit
    camera: Camera
    objects: Annotated[list[SceneObject], Field(min_length=1)]
    metric: MapInfo = NO_MAP
    source_metric: MapInfo = NO_MAP
    normal: MapInfo = NO_MAP
    source_normal: MapInfo = NO_MAP
    measures: Measures = Measures()
    description: str = Field(default="", description="a caption that came with the source, or empty")
    colours: list[str] = Field(default_factory=list, description="color name of each object, in order; may be empty")
    fronts: list[float] = Field(
        default_factory=list,
        description="direction of the front of each object, in order: degrees about z from +x of its own frame, 360 "
        "where unknown; may be empty",
    )
    room: list[float] = Field(
        default_factory=list,
        description="width (x), depth (y) and height of the room in meters, whose middle is the world's origin; empty "
        "where there are no walls or they are unknown",
    )
    scene: str = Field(default="", description="as in `SampleRecord`; empty in a build that has open scenes only")

    @model_serializer(mode="wrap")
    def _as_given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """`room` and `scene` are written where they are not empty."""
        values: dict[str, Any] = handler(self)
        for name in ("room", "scene"):
            if not values[name]:
                del values[name]
        return values
