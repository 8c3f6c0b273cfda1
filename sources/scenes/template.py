"""Templates of furnished rooms: data files that say what stands where, relative to what.

A template lists items in the order in which they are placed. An item that does not fit is left out, with all that is
placed relative to it; only a `needed` item that does not fit makes the arrangement fail. The project's own templates
are in `sources/scenes/templates`. `roles.yaml` beside them says which categories can play a role. `scene.templates`
names other folders of templates.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from ...shards.errors import BadInput
from ...shards.options import Options, read_yaml
from ...shards.stores import open_store
from ..assets.carriers import names_of
from ..assets.sizes import LARGEST, plausible_range, typical_extent
from .loose import Loose
from .needs import Range
from .spec import BUILTIN

FOLDER: Final = Path(__file__).with_name("templates")
ROLES: Final = "roles.yaml"
PLANNED: Final = "templates.json"
"""Name of the templates of a plan that has others than the project's own."""
Place = Literal[
    "against wall",
    "in a corner",
    "at the edge",
    "in the middle",
    "anywhere",
    "in front",
    "beside",
    "around",
    "in a row",
    "on",
    "in",
    "under",
    "on each other",
]
RELATIVE: Final[frozenset[Place]] = frozenset(
    ("in front", "beside", "around", "in a row", "on", "in", "under", "on each other")
)
"""Places that need another item (`of`). `in a corner` takes one if it is `facing` it."""
_LOOSE: Final[Mapping[Loose, tuple[Place, ...]]] = {
    "leaning": ("on", "against wall"),
    "lying": ("on", "anywhere", "in the middle"),
    "heap": ("on", "in", "anywhere", "in the middle"),
}
"""Places of each pose."""
Surface = Literal["top", "shelf", "soft"]
Count = Annotated[int, Field(ge=0, le=12)]
_OVERSIZE: Final = 5.0
"""Largest size of a thing, in typical sizes of its category: wide ranges are of what may be a toy or a giant."""
_names_of = lru_cache(maxsize=4096)(names_of)


@lru_cache(maxsize=4096)
def _largest(category: str) -> float:
    """Largest side of a thing of a category that is in proportion with the furniture of a room, meters."""
    typical = typical_extent(category)
    return min(plausible_range(category)[1], _OVERSIZE * typical if typical else LARGEST)


class Role(Options):
    """What can play a role: categories, and sizes in meters."""

    is_: tuple[str, ...] = Field(alias="is", min_length=1)
    """Categories. `table` includes `wooden table` and `table with tablecloth`."""
    except_: tuple[str, ...] = Field(default=(), alias="except")
    """Categories that cannot play the role, although `is` includes them."""
    size: Range = (0.0, 10.0)
    """Range of the largest side."""
    height: Range = (0.0, 10.0)
    carries: bool = False
    """Whether it needs a surface on top, or a shelf, for other things."""
    holds: bool = False
    """Whether it needs an inside for other things."""

    def fits(self, category: str, size: tuple[float, float, float]) -> bool:
        """Whether a model of this category and size can play the role, and is in proportion for its category."""
        wanted = self.size[0] <= max(size) <= self.size[1] and self.height[0] <= size[2] <= self.height[1]
        names = _names_of(category)
        named = not names.isdisjoint(self.is_) and names.isdisjoint(self.except_)
        return wanted and named and max(size) <= _largest(category)


class Item(Options):
    """One line of a template: one or more objects of a role, and where they stand."""

    role: str
    place: Place
    pose: Literal["upright", Loose] = "upright"
    """How the objects are: all but `upright` needs physics (`scene.physics`), without which the item is left out."""
    of: str = ""
    """Name of the earlier item that `place` refers to."""
    name: str = ""
    """For items that refer to this one."""
    count: tuple[Count, Count] = (1, 1)
    chance: float = Field(default=1.0, gt=0, le=1)
    """Probability that the item is wanted at all."""
    support: Surface | None = None
    """Which surfaces of the other item: its top, its covered shelves, or where one sits or lies. `on` and `on each
    other` only; all of them if it is not given."""
    gap: Range = (0.05, 0.4)
    """Meters to the other item; `in front`, `beside` and `in a row` only."""
    facing: bool = False
    """Whether it faces the other item. `in front` (else it faces the same way) and `in a corner` (else the middle)."""
    same: bool = False
    """Whether all objects of the item are of one category."""
    needed: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        relative = self.place in RELATIVE or (self.place == "in a corner" and self.facing)
        if relative != bool(self.of):
            needs = "needs `of`, the name of an earlier item" if relative else "does not take `of`"
            raise ValueError(f"place '{self.place}' {needs}")
        if self.pose != "upright" and self.place not in _LOOSE[self.pose]:
            raise ValueError(f"pose '{self.pose}' needs place {' or '.join(map(repr, _LOOSE[self.pose]))}")
        if self.count[0] > self.count[1]:
            raise ValueError(f"count [{self.count[0]}, {self.count[1]}]: the first number is larger than the second")
        if self.support is not None and self.place not in ("on", "on each other"):
            raise ValueError(f"place '{self.place}' does not take `support`; only `on` and `on each other` do")
        if self.facing and self.place not in ("in front", "in a corner"):
            raise ValueError(f"place '{self.place}' does not take `facing`; only `in front` and `in a corner` do")
        return self


class Template(Options):
    """A furnished room, or a furnished part of a garden."""

    kind: Literal["room", "garden"]
    ground: Literal["lawn", "paving"] = "lawn"
    """Of a garden."""
    size: tuple[Range, Range, Range]
    """Ranges of width, depth and height, meters: walls of 2 to 12 m, and 2.3 to 5 m high."""
    focus: str
    """Name of the item that the camera looks at; it must be `needed`."""
    surface: str = ""
    """Name of the item on which a near view looks; the focus if it is not given, or was left out."""
    items: tuple[Item, ...] = Field(min_length=1, max_length=40)

    @field_validator("size")
    @classmethod
    def _possible(cls, size: tuple[Range, Range, Range]) -> tuple[Range, Range, Range]:
        for given, (least, most) in zip(size, ((2.0, 12.0), (2.0, 12.0), (2.3, 5.0)), strict=True):
            if not least <= given[0] <= given[1] <= most:
                allowed = f"[a, b] with {least:g} <= a <= b <= {most:g}"
                raise ValueError(f"[{given[0]:g}, {given[1]:g}] is not allowed; allowed: {allowed}")
        return size

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for item in self.items:
            if self.kind == "garden" and item.place in ("against wall", "in a corner"):
                raise ValueError(f"place '{item.place}' is for rooms: a garden has no walls; use 'at the edge'")
            if self.kind == "room" and item.place == "at the edge":
                raise ValueError(f"place '{item.place}' is for gardens: use 'against wall'")
        earlier: set[str] = set()
        for item in self.items:
            if item.of and item.of not in earlier:
                raise ValueError(f"item '{item.role}' refers to '{item.of}', which is no name of an earlier item")
            if item.name in earlier:
                raise ValueError(f"two items have the name '{item.name}'")
            earlier |= {item.name} - {""}
        if not any(item.name == self.focus and item.needed for item in self.items):
            raise ValueError(f"focus '{self.focus}' is not the name of an item that is `needed: true`")
        if self.surface and self.surface not in earlier:
            raise ValueError(f"surface '{self.surface}' is not the name of an item")
        return self


@dataclass(frozen=True)
class Templates:
    """Templates by name, sorted by name, and the roles that they use."""

    rooms: Mapping[str, Template]
    roles: Mapping[str, Role]

    @cached_property
    def categories(self) -> frozenset[str]:
        """Categories that some role names."""
        return frozenset(name for role in self.roles.values() for name in role.is_)

    def to_json(self) -> str:
        """As the plan stores them: one text for equal templates."""
        parts = {
            "roles": {name: role.model_dump(mode="json", by_alias=True) for name, role in sorted(self.roles.items())},
            "rooms": {name: room.model_dump(mode="json") for name, room in sorted(self.rooms.items())},
        }
        return json.dumps(parts, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Templates":
        """Templates that `to_json` stored."""
        parts = json.loads(text)
        return cls(_ROOMS.validate_python(parts["rooms"]), _ROLES.validate_python(parts["roles"]))


_ROLES: Final = TypeAdapter(dict[str, Role])
_ROOMS: Final = TypeAdapter(dict[str, Template])


@cache
def builtin_templates() -> Templates:
    """The project's own templates."""
    return _read_folder(FOLDER, {})


def read_templates(places: Sequence[str]) -> Templates:
    """Templates of some folders, in this order. A role or template replaces an earlier one of its name.

    Args:
        places: folders with templates (`*.yaml`) and, if they add or replace roles, `roles.yaml`; or `BUILTIN`. All may
            use the project's own roles.

    Raises:
        BadInput: a folder is missing or has no templates, a file is not valid, or the role of an item is unknown.
    """
    rooms: dict[str, Template] = {}
    roles: dict[str, Role] = dict(builtin_templates().roles)
    for place in places:
        found = builtin_templates() if place == BUILTIN else _read_folder(Path(place).expanduser(), roles)
        roles |= found.roles
        rooms |= found.rooms
    return Templates(dict(sorted(rooms.items())), roles)


def planned_templates(places: Sequence[str], assets: str) -> Templates:
    """The templates of a build: those of its plan, or the project's own.

    Args:
        places: `SceneOptions.templates`.
        assets: URL of the plan's table of assets. `PLANNED` is beside it.
    """
    if tuple(places) == (BUILTIN,):
        return builtin_templates()
    fs, path = open_store(assets.removesuffix(assets.split("/")[-1]) + PLANNED)
    return Templates.from_json(fs.cat_file(path).decode())


def _read_folder(folder: Path, roles: Mapping[str, Role]) -> Templates:
    """The templates of one folder, with their roles added to `roles`."""
    if not folder.is_dir():
        raise BadInput(f"scene.templates: {folder} is no folder; give a folder with templates (*.yaml), or '{BUILTIN}'")
    own = folder / ROLES
    known = dict(roles) | (_parse(_ROLES, read_yaml(own), own) if own.exists() else {})
    found: dict[str, Template] = {}
    for path in sorted(folder.glob("*.yaml")):
        if path.name == ROLES:
            continue
        template: Template = _parse(TypeAdapter(Template), read_yaml(path), path)
        for item in template.items:
            if item.role not in known:
                raise BadInput(f"{path}: role '{item.role}' is unknown; {ROLES} has {', '.join(sorted(known))}")
        found[path.stem] = template
    if not found:
        raise BadInput(f"scene.templates: {folder} has no templates (*.yaml)")
    return Templates(found, known)


def _parse(adapter: TypeAdapter[Any], values: Any, path: Path) -> Any:
    try:
        return adapter.validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BadInput(f"{path}: {where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}") from None
