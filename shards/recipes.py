"""Recipes: which members, of which views, from which layers, and which edits a trainer needs.

A member's base name is the name of the column that holds it, in exactly one layer. So adding a recipe takes one entry
in `RECIPES`, and a run derives from it which layers it must compute.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from .errors import BadInput
from .layout import ImageCodec, OwnExtension, field_of
from .schema import EDIT_KINDS, EditKind

ViewName = Literal["source", "target"]

PAIR_MEMBERS: Final = ("source", "target", "source_instances", "target_instances", "changed")
MAP_MEMBERS: Final = ("depth", "metric", "confidence", "normal", "segment", "line")
IMAGE_MEMBERS: Final = ("source", "target")
ALWAYS: Final = ("pair", "instruction", "checks")
"""Layers that every sample needs: images and facts, instruction, verdict."""
FILTERS: Final = ("screen", "judge")
"""Layers without members, whose rejections apply where a build has the layer."""


@dataclass(frozen=True)
class Column:
    """The source of a member."""

    member: str
    layer: str
    column: str


@dataclass(frozen=True)
class OwnLayer:
    """A layer that the package does not know, of a stage that a user plugged in. Its member has its name."""

    name: str
    extension: OwnExtension | Literal[""]
    """Empty: it holds no member, and only its rejects count."""
    views: tuple[ViewName, ...] = ("target",)

    @property
    def members(self) -> tuple[str, ...]:
        if not self.extension:
            return ()
        return tuple(self.name if view == "target" else f"source_{self.name}" for view in self.views)


@dataclass(frozen=True)
class Recipe:
    """The needs of one trainer. Use `dataclasses.replace` for a variant, such as one with maps of both views."""

    name: str
    purpose: str
    """Shown in dataset cards. The packing digest covers it, so changing it packs the shards of old builds again."""
    members: tuple[str, ...]
    """Base names: without view prefix and extension, and without `json`, which is always included."""
    edits: tuple[EditKind, ...] = EDIT_KINDS
    views: tuple[ViewName, ...] = ("target",)
    """The images that have maps; names of the source's maps have the prefix `source_`."""
    own: tuple[OwnLayer, ...] = ()
    """Layers of a build that the package does not know."""
    supports: bool = False
    """Whether the records say what each object stands on: a fact of the build."""
    families: bool = False
    """Whether the records say which samples share a scene: a fact of the build."""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.members) - {*PAIR_MEMBERS, *MAP_MEMBERS})
        if unknown:
            raise BadInput(
                f"recipe {self.name}: unknown member '{unknown[0]}'; members are {PAIR_MEMBERS + MAP_MEMBERS}"
            )

    @property
    def columns(self) -> tuple[Column, ...]:
        """All members except `json`, sorted, with the layer and the column that hold their bytes."""
        layers = {name: layer_of(name) for base in self.members for name in self._of_views(base)}
        layers |= {name: layer.name for layer in self.own for name in layer.members}
        return tuple(Column(name, layers[name], name) for name in sorted(layers))

    @property
    def needs(self) -> tuple[str, ...]:
        """The layers that a sample must have, sorted."""
        return tuple(sorted({*ALWAYS, *(column.layer for column in self.columns), *(own.name for own in self.own)}))

    def fields(self, codec: ImageCodec = "webp") -> tuple[str, ...]:
        """The file names after the key, sorted as in a shard: `changed.png`, `json`, `source.webp`."""
        return tuple(sorted(["json", *(self.field_of(column.member, codec) for column in self.columns)]))

    def field_of(self, member: str, codec: ImageCodec) -> str:
        """The file name of a member after the key: `source.webp`."""
        own = {name: layer.extension for layer in self.own for name in layer.members}
        return field_of(member, own.get(member) or extension_of(member, codec))

    def _of_views(self, base: str) -> list[str]:
        if base in PAIR_MEMBERS:
            return [base]
        return [base if view == "target" else f"source_{base}" for view in self.views]


def layer_of(member: str) -> str:
    """The layer whose column of the same name holds a member: `pair` for images, `metric` for confidence, and the layer
    of the same name for other maps."""
    if member in PAIR_MEMBERS:
        return "pair"
    name = member.removeprefix("source_")
    if name not in MAP_MEMBERS:
        raise BadInput(f"no layer has the member '{member}'")
    return "metric" if name == "confidence" else name


def extension_of(member: str, codec: ImageCodec = "webp") -> str:
    """The extension of a member: the codec for the two images, png for maps and masks, json for the record."""
    if member == "json":
        return "json"
    return codec if member in IMAGE_MEMBERS else "png"


_ALL: Final = (
    Recipe(
        "full",
        "images, masks and maps of both views, for study and for trainers to come",
        (*PAIR_MEMBERS, *(name for name in MAP_MEMBERS if name != "confidence")),
        views=("source", "target"),
    ),
    Recipe(
        "spatialdiff",
        "SpatialDiff: triplets of moved objects with the target's relative depth",
        ("source", "target", "depth"),
        edits=("translate", "rotate", "scale"),
    ),
    Recipe(
        "ildm",
        "I-LDM: both images as captioned pictures with depth, normals, segments and lines",
        ("source", "target", "depth", "normal", "segment", "line"),
        views=("source", "target"),
    ),
    Recipe(
        "spatialedit",
        "SpatialEdit: triplets of moves, turns, scalings and camera changes",
        ("source", "target", "changed"),
        edits=("translate", "rotate", "scale", "camera"),
    ),
    Recipe(
        "spatialfusion",
        "SpatialFusion: triplets with the target's metric depth and its confidence",
        ("source", "target", "metric", "confidence"),
    ),
)
RECIPES: Final[Mapping[str, Recipe]] = MappingProxyType({recipe.name: recipe for recipe in _ALL})


def get_recipe(name: str) -> Recipe:
    """A recipe by name. Raises BadInput with the known names."""
    if name not in RECIPES:
        raise BadInput(f"unknown recipe '{name}': use one of {', '.join(RECIPES)}")
    return RECIPES[name]
