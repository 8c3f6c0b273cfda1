"""The table of a plan's HDRIs, texture sets and room models, and their files on this machine.

Invariant: a file is named after its sha256, so a copy is the planned file or is not used.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import TypeAdapter

from ...shards.errors import SpatialdataError
from ...shards.stores import open_store
from ..blender.environment import cache_folder
from ..scenes.interior import Interior
from ..scenes.spec import SceneOptions, SceneSpec
from ..scenes.values import OWN_HDRIS, Surface, TexturedSurface
from .credits import Credits

FOLDER: Final = "materials"
"""Name of the folder of the files, beside the table."""
Use = Literal["floor", "wall", "table", "ground"]
MapName = Literal["color", "normal_gl", "normal_dx", "height", "roughness", "metalness", "ao", "arm"]
"""`arm`: ambient occlusion, roughness and metalness in red, green and blue. `normal_dx`: green points down."""


@dataclass(frozen=True)
class PlannedHdri:
    name: str
    """Path below the given folder."""
    file: str
    """Name of the kept file."""
    bytes: int
    """Size of the original file."""
    credits: Credits


@dataclass(frozen=True)
class PlannedSet:
    """A PBR texture set."""

    name: str
    uses: tuple[Use, ...]
    size_m: float
    """Width of the image in the world, meters."""
    aspect: float
    """Height of the image divided by its width."""
    maps: dict[MapName, str]
    """Name of the kept file of each map."""
    originals: dict[str, int]
    """Size in bytes of each original file, by its path below the given folder."""
    credits: Credits


@dataclass(frozen=True)
class PlannedEnvironment:
    """A room model."""

    name: str
    """Path below the given folder."""
    file: str
    """Name of the kept file."""
    bytes: int
    interior: Interior
    unit_m: float | None
    """Meters per file unit, if the folder's table states it."""
    credits: Credits


@dataclass(frozen=True)
class Materials:
    """What scenes may use beside Blender's HDRIs, procedural surfaces and rooms."""

    hdris: tuple[PlannedHdri, ...] = ()
    sets: tuple[PlannedSet, ...] = ()
    sizes: dict[str, int] = field(default_factory=dict[str, int])
    """Size in bytes of each kept file, by its name."""
    environments: tuple[PlannedEnvironment, ...] = ()
    rejected: dict[str, str] = field(default_factory=dict[str, str])
    """Why room models of the folder are not used, by their names."""
    folder: str = field(default="", compare=False)
    """Path or URL of the folder of the files."""

    @classmethod
    def read(cls, url: str) -> "Materials":
        """Read a table from any fsspec URL. Its files are in the folder `FOLDER` beside it."""
        fs, path = open_store(url)
        with fs.open(path, "rb") as file:
            return replace(from_json(file.read()), folder=url.removesuffix(url.split("/")[-1]) + FOLDER)

    @property
    def credited(self) -> tuple[PlannedHdri | PlannedSet | PlannedEnvironment, ...]:
        """Everything that was made by somebody."""
        return (*self.hdris, *self.sets, *self.environments)

    @property
    def interiors(self) -> dict[str, Interior]:
        """The free space of each room model, by the name of its kept file."""
        return {one.file: one.interior for one in self.environments}

    def resolved(self, options: SceneOptions) -> SceneOptions:
        """The options with files instead of paths: kept HDRIs, and names of sets with what they look like.

        So they do not depend on where the user's folders are, and change with the content of a file.
        """
        own = tuple(name for name in options.light.hdris if name in OWN_HDRIS)
        light = options.light.model_copy(update={"hdris": (*own, *(one.file for one in self.hdris))})
        return options.model_copy(update={"light": light, "surfaces": tuple(one.name for one in self.sets)})

    def located(self, spec: SceneSpec) -> SceneSpec:
        """The specification with the paths of files on this machine in place of their names."""
        if spec.light.hdri in self.sizes:
            spec = replace(spec, light=replace(spec.light, hdri=self._local(spec.light.hdri)))
        if spec.environment is not None:
            spec = replace(spec, environment=replace(spec.environment, file=self._local(spec.environment.file)))
        objects = tuple(replace(one, top=self._with_paths(one.top)) if one.top else one for one in spec.objects)
        spec = replace(spec, objects=objects)
        return with_surfaces(spec, lambda one, _: self._with_paths(one) if isinstance(one, TexturedSurface) else one)

    def _with_paths(self, surface: TexturedSurface) -> TexturedSurface:
        return replace(surface, maps={name: self._local(file) for name, file in surface.maps.items()})

    def _local(self, name: str) -> str:
        """Path of a kept file. A file at a URL is copied into the user's cache once.

        Raises SpatialdataError if the file is missing or damaged.
        """
        fs, folder = open_store(self.folder)
        if "file" in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,)):
            path = Path(folder) / name
            if not path.is_file():
                raise SpatialdataError(f"{path} does not exist: run `spatialdata build` again, which writes it")
            return str(path)
        copy = cache_folder() / FOLDER / name
        if not copy.is_file():
            _fetch(fs, f"{folder}/{name}", copy)
        return str(copy)


def with_surfaces(spec: SceneSpec, change: Callable[[Surface, Use], Surface]) -> SceneSpec:
    """The specification with `change` applied to each of its large surfaces, given what it is used for."""
    walls = tuple(replace(wall, surface=change(wall.surface, "wall")) for wall in spec.walls)
    room, garden = spec.room, spec.garden
    if room is not None:
        feature = change(room.feature, "wall") if room.feature else None
        room = replace(room, floor=change(room.floor, "floor"), wall=change(room.wall, "wall"), feature=feature)
    if garden is not None:
        terrace = garden.terrace
        terrace = replace(terrace, surface=change(terrace.surface, "floor")) if terrace else None
        garden = replace(garden, ground=change(garden.ground, "ground"), terrace=terrace)
    if spec.environment is not None:
        floor = spec.floor
    else:
        floor = room.floor if room else garden.ground if garden else change(spec.floor, "floor")
    return replace(spec, floor=floor, walls=walls, room=room, garden=garden)


_TABLE: Final = TypeAdapter(Materials)


def to_json(table: Materials) -> bytes:
    """The table as it is stored."""
    return _TABLE.dump_json(table, exclude={"folder"}, indent=1)


def from_json(data: bytes) -> Materials:
    """Raises ValueError if `data` is no table."""
    return _TABLE.validate_json(data)


def _fetch(fs: Any, url: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}-{secrets.token_hex(4)}.tmp")
    try:
        try:
            fs.get_file(url, str(temporary))
        except FileNotFoundError:
            raise SpatialdataError(f"{url} does not exist: run `spatialdata build` again, which writes it") from None
        if hashlib.sha256(temporary.read_bytes()).hexdigest() != target.stem:
            raise SpatialdataError(f"{url} is damaged: run `spatialdata build` again, which writes it")
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
