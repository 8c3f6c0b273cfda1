"""Templates of furnished rooms: data files that say what stands where, relative to what.

A template lists items in the order in which they are placed. An item that does not fit is left out, with all that is
placed relative to it; only a `needed` item that does not fit makes the arrangement fail. The project's own templates
are in `sources/scenes/templates`. `roles.yaml` beside them says which categories can play a role.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from ...shards.errors import BadInput
from ...shards.options import Options, read_yaml
from ..assets.carriers import names_of
from .loose import Loose
from .needs import Range

FOLDER: Final = Path(__file__).with_name("templates")
ROLES: Final = "roles.yaml"
Place = Literal["against wall", "in the middle", "anywhere", "in front", "beside", "around", "on"]
RELATIVE: Final[frozenset[Place]] = frozenset(("in front", "beside", "around", "on"))
"""Places that need another item (`of`)."""
_LOOSE: Final[Mapping[Loose, tuple[Place, ...]]] = {
    "leaning": ("on",),
    "lying": ("on", "anywhere", "in the middle"),
    "heap": ("on", "anywhere", "in the middle"),
}
"""Places of each pose."""
Count = Annotated[int, Field(ge=0, le=12)]


class Role(Options):
    """What can play a role: categories, and sizes in meters."""

    is_: tuple[str, ...] = Field(alias="is", min_length=1)
    """Categories. `table` includes `wooden table` and `table with tablecloth`."""
    size: Range = (0.0, 10.0)
    """Range of the largest side."""
    height: Range = (0.0, 10.0)
    carries: bool = False
    """Whether it needs a surface for other things."""

    def fits(self, category: str, size: tuple[float, float, float]) -> bool:
        """Whether a model of this category and size can play the role."""
        wanted = self.size[0] <= max(size) <= self.size[1] and self.height[0] <= size[2] <= self.height[1]
        return wanted and not names_of(category).isdisjoint(self.is_)


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
    gap: Range = (0.05, 0.4)
    """Meters to the other item; `in front` and `beside` only."""
    facing: bool = False
    """Whether it faces the other item; else it faces the same way. `in front` only."""
    same: bool = False
    """Whether all objects of the item are of one category."""
    needed: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.place in RELATIVE) != bool(self.of):
            needs = "needs `of`, the name of an earlier item" if self.place in RELATIVE else "does not take `of`"
            raise ValueError(f"place '{self.place}' {needs}")
        if self.pose != "upright" and self.place not in _LOOSE[self.pose]:
            raise ValueError(f"pose '{self.pose}' needs place {' or '.join(map(repr, _LOOSE[self.pose]))}")
        if self.count[0] > self.count[1]:
            raise ValueError(f"count [{self.count[0]}, {self.count[1]}]: the first number is larger than the second")
        return self


class Template(Options):
    """A furnished room, or a furnished part of a garden."""

    kind: Literal["room", "garden"]
    ground: Literal["lawn", "paving"] = "lawn"
    """Of a garden."""
    size: tuple[Range, Range, Range]
    """Ranges of width, depth and height, meters."""
    focus: str
    """Name of the item that the camera looks at; it must be `needed`."""
    items: tuple[Item, ...] = Field(min_length=1, max_length=40)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kind == "garden" and any(item.place == "against wall" for item in self.items):
            raise ValueError("place 'against wall' is for rooms: a garden has no walls")
        earlier: set[str] = set()
        for item in self.items:
            if item.of and item.of not in earlier:
                raise ValueError(f"item '{item.role}' refers to '{item.of}', which is no name of an earlier item")
            if item.name in earlier:
                raise ValueError(f"two items have the name '{item.name}'")
            earlier |= {item.name} - {""}
        if not any(item.name == self.focus and item.needed for item in self.items):
            raise ValueError(f"focus '{self.focus}' is not the name of an item that is `needed: true`")
        return self


_ROLES: Final = TypeAdapter(dict[str, Role])


@cache
def read_roles(folder: Path = FOLDER) -> Mapping[str, Role]:
    """The roles of a folder of templates. Raises BadInput for a file that is not valid."""
    return _parse(_ROLES, read_yaml(folder / ROLES), folder / ROLES)


@cache
def read_templates(folder: Path = FOLDER) -> Mapping[str, Template]:
    """The templates of a folder by name, sorted by name.

    Raises BadInput for a folder without templates, a file that is not valid, and an item whose role is unknown.
    """
    roles = read_roles(folder)
    found: dict[str, Template] = {}
    for path in sorted(folder.glob("*.yaml")):
        if path.name == ROLES:
            continue
        template = _parse(TypeAdapter(Template), read_yaml(path), path)
        for item in template.items:
            if item.role not in roles:
                raise BadInput(f"{path}: role '{item.role}' is unknown; {ROLES} has {', '.join(sorted(roles))}")
        found[path.stem] = template
    if not found:
        raise BadInput(f"{folder} has no templates (*.yaml)")
    return found


def _parse(adapter: TypeAdapter[Any], values: Any, path: Path) -> Any:
    try:
        return adapter.validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BadInput(f"{path}: {where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}") from None
