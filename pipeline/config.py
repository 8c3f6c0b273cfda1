"""The configuration of a build: typed, from one YAML file plus `--set a.b=c`.

The error for an unknown key or a bad value is one line with the key, the nearest valid key and the allowed values.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Final, Literal, cast, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from ..shards.errors import BadInput
from ..shards.options import License, Options, nearest, parse_yaml, read_yaml, shortened
from ..shards.recipes import MAP_MEMBERS, PAIR_MEMBERS
from ..shards.schema import EDIT_KINDS, TWO_OBJECT_KINDS, EditKind, Split
from ..sources.registry import all_sources, get_source, source_options
from ..sources.scenes.grid import OrbitOptions
from ..sources.scenes.spec import RenderOptions, SceneOptions
from ..sources.source import SourceOptions
from .secret_values import restored

LayerName = Literal["pair", "screen", "instruction", "depth", "metric", "normal", "segment", "line", "checks", "judge"]
PoolName = Literal[LayerName, "portraits", "orient"]
"""Layers of a build and of `spatialdata orient`."""
LAYERS: Final[tuple[str, ...]] = get_args(LayerName)
"""Built-in layers. A user's own layers name their stage by its import path."""
POOLS: Final[tuple[str, ...]] = get_args(PoolName)
_OWN_LAYER: Final = re.compile(r"(?!source_|target_)[a-z][a-z0-9_]{0,30}")
_TAKEN: Final = (*PAIR_MEMBERS, *MAP_MEMBERS, *POOLS, "json", "key", "record", "valid")
"""Names of members, of built-in layers, and of the entries of a `stream` batch: not allowed for a user's own layer."""
RecipeName = Literal["full", "spatialdiff", "ildm", "spatialedit", "spatialfusion"]
_ONE_OBJECT_KINDS: Final = tuple(kind for kind in EDIT_KINDS if kind not in TWO_OBJECT_KINDS)
Weight = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class EditOptions(Options):
    """`edits`: the weight of each kind of edit, and which samples are derived from the rendered ones.

    A kind that is not set has weight 0. If no kind is set, all have the same weight, except kinds with two objects,
    because these change the schema of the samples. Only keys that are set are serialized, so that configurations of
    earlier versions keep their serialized form.
    """

    translate: Weight = 0.0
    rotate: Weight = 0.0
    scale: Weight = 0.0
    remove: Weight = 0.0
    insert: Weight = 0.0
    camera: Weight = 0.0
    swap: Weight = 0.0
    invert: bool = Field(
        default=False, description="add the inverse of each sample: target to source (default with per_scene: true)"
    )
    per_scene: int = Field(
        default=1, ge=1, le=32, description="edits of each scene; edits between their targets are added"
    )
    pairs_per_scene: int | None = Field(
        default=None, ge=1, description="most samples of each scene, with derived ones (default: all)"
    )
    compose: bool = Field(default=False, description="older name for per_scene: 2, invert: false")
    orbit: OrbitOptions | None = Field(
        default=None, description="camera edits only, between the views of a grid around one object or scene"
    )

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        values = dict(cast("Mapping[str, Any]", given))
        if values.get("orbit") is not None:
            values.setdefault("camera", 1.0)
            return values
        if not set(EDIT_KINDS) & set(values):
            values = {**dict.fromkeys(_ONE_OBJECT_KINDS, 1.0), **values}
        if values.get("per_scene", 1) != 1:
            values.setdefault("invert", True)
        if values.get("compose") is True:
            values.setdefault("per_scene", 2)
        return values

    @model_validator(mode="after")
    def _check_scenes(self) -> "EditOptions":
        if self.orbit is not None:
            return self._check_orbit(self.orbit)
        if self.compose and self.per_scene != 2:
            raise ValueError(
                f"compose is another name for per_scene: 2: remove one of them (per_scene is {self.per_scene})"
            )
        least = self.per_scene * (2 if self.invert else 1)
        if self.pairs_per_scene is not None and self.pairs_per_scene < least:
            inverses = " and their inverses" if self.invert else ""
            raise ValueError(
                f"pairs_per_scene must be at least {least}, for the {self.per_scene} edits of a scene{inverses} (got "
                f"{self.pairs_per_scene})"
            )
        return self

    def _check_orbit(self, orbit: OrbitOptions) -> "EditOptions":
        others = [kind for kind in self.weights if kind != "camera"]
        others += [name for name in ("per_scene", "compose", "invert") if name in self.model_fields_set]
        if others:
            listed = ", ".join(others)
            raise ValueError(f"orbit makes camera edits only, all between the views of its grid: remove {listed}")
        if not self.camera:
            raise ValueError("orbit makes camera edits: remove camera: 0")
        if self.pairs_per_scene is not None and self.pairs_per_scene < orbit.count - 1:
            raise ValueError(
                f"pairs_per_scene must be at least {orbit.count - 1}, for the edits from the first of the "
                f"{orbit.count} views of the grid to each of the others (got {self.pairs_per_scene})"
            )
        return self

    @model_serializer
    def _given(self) -> dict[str, Any]:
        kinds = {kind: getattr(self, kind) for kind in EDIT_KINDS if kind in self.model_fields_set}
        if self.orbit is None:
            return kinds | self.derived
        return self.derived | {"orbit": self.orbit.model_dump(mode="json")}

    @property
    def rendered_per_scene(self) -> int:
        """Number of rendered (or read) samples of each scene: `per_scene`, or the views of a grid without the first."""
        return self.per_scene if self.orbit is None else self.orbit.count - 1

    @property
    def orbit_pairs(self) -> int:
        """Samples of each grid: `pairs_per_scene`, by default two for each view; at most all ordered pairs of views.

        0 without `orbit`.
        """
        views = 0 if self.orbit is None else self.orbit.count
        return min(self.pairs_per_scene or 2 * views, views * (views - 1))

    @property
    def derived(self) -> dict[str, int | bool]:
        """The options of derived samples that are set; two edits of each scene have the older name."""
        found: dict[str, int | bool] = {"invert": True} if self.invert else {}
        if self.per_scene == 2:
            found["compose"] = True
        elif self.per_scene > 2:
            found["per_scene"] = self.per_scene
            found["invert"] = self.invert
        if self.pairs_per_scene is not None:
            found["pairs_per_scene"] = self.pairs_per_scene
        return found

    @property
    def weights(self) -> dict[EditKind, float]:
        """The kinds of edit with a weight above 0."""
        return {kind: weight for kind in EDIT_KINDS if (weight := float(getattr(self, kind))) > 0}


class CodecOptions(Options):
    """`shard.codecs`."""

    image: Literal["webp", "png", "jpg"] = Field(default="webp", description="webp and png are lossless")


class SplitOptions(Options):
    """`shard.splits`: fractions of the samples, and of the assets."""

    train: Weight = 0.9
    val: Weight = 0.05
    test: Weight = 0.05

    @model_validator(mode="after")
    def _sum(self) -> "SplitOptions":
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError(f"the fractions sum to {self.train + self.val + self.test:g}, not 1")
        return self

    def fractions(self) -> dict[Split, float]:
        return {"train": self.train, "val": self.val, "test": self.test}


class DuplicateOptions(Options):
    """`shard.duplicates`: which samples are left out of the shards because they repeat others."""

    enabled: bool = True
    distance: int = Field(
        default=12, ge=0, le=16, description="most bits, of 256, in which the hashes of duplicate images differ"
    )
    across_splits: bool = Field(
        default=True, description="also leave out samples that repeat an image of test (or, in train, of val)"
    )


class ShardOptions(Options):
    """`shard`: how samples are packed."""

    name: str = Field(default="spatialdata", pattern=r"^[a-z0-9-]{1,40}$", description="first part of a tar's name")
    samples_per_shard: int = Field(default=1000, ge=1, le=1_000_000)
    recipes: tuple[RecipeName, ...] = Field(default=("full",), description="packed at the end of a build")
    codecs: CodecOptions = CodecOptions()
    splits: SplitOptions = SplitOptions()
    duplicates: DuplicateOptions = DuplicateOptions()
    licenses: tuple[License, ...] = Field(
        default=(), description="pack only samples whose visible assets all have one of these; empty: all samples"
    )


class Resources(Options):
    """Resources of one stage; the stage chooses those that are not set."""

    actors: int | None = Field(default=None, ge=1)
    cpus: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    gpus: float | None = Field(default=None, ge=0, allow_inf_nan=False)

    @field_validator("gpus")
    @classmethod
    def _share_or_whole(cls, gpus: float | None) -> float | None:
        if gpus is not None and gpus > 1 and gpus != int(gpus):
            raise ValueError(f"{gpus:g} is not allowed; allowed: a share of one GPU (0 to 1), or a whole number")
        return gpus


class EngineOptions(Options):
    """`engine`: where stages run, and with which resources."""

    kind: Literal["ray", "inline"] = "ray"
    address: str = Field(default="", description="of a Ray cluster; empty: that of the Ray job, else a local Ray")
    resources: dict[str, Resources] = Field(default_factory=dict[str, Resources])
    shared_fs: bool = Field(default=False, description="OUT is a folder that all nodes of the cluster share")


class LayerOptions(BaseModel):
    """One entry of `layers`: the name of a stage, or its import path `package.module:Class`, and its options."""

    stage: str
    options: dict[str, Any]

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"stage": value, "options": {}}
        if isinstance(value, Mapping) and "options" not in value:
            given = dict(value)
            return {"stage": given.pop("stage", ""), "options": given}
        return value


def _source(given: Any) -> SourceOptions:
    return source_options().model_validate(given)


class Config(Options):
    """A build. `samples: all` takes every pair of a released source."""

    source: SerializeAsAny[Annotated[SourceOptions, BeforeValidator(_source)]] = Field(
        default_factory=lambda: source_options()()
    )
    samples: Annotated[int, Field(ge=1, le=1_000_000_000)] | Literal["all"] = Field(
        default=24, union_mode="left_to_right"
    )
    seed: int = Field(default=0, ge=0, lt=2**63)
    unit_size: int = Field(
        default=64, ge=1, le=65_536, description="rendered samples in a unit, the unit of work, commit and retry"
    )
    edits: EditOptions = EditOptions()
    scene: SceneOptions = SceneOptions()
    render: RenderOptions = RenderOptions()
    layers: dict[str, LayerOptions] = Field(default_factory=dict[str, LayerOptions])
    shard: ShardOptions = ShardOptions()
    engine: EngineOptions = EngineOptions()
    orient: dict[str, Any] = Field(
        default_factory=dict[str, Any], description="options of the model that `spatialdata orient` asks"
    )

    @model_validator(mode="after")
    def _check_names(self) -> "Config":
        own = [name for name in self.layers if name not in LAYERS]
        for name in own:
            if ":" not in self.layers[name].stage:
                raise _unknown(("layers", name), LAYERS)
            if name in _TAKEN or not _OWN_LAYER.fullmatch(name):
                raise _in_words(
                    ("layers", name),
                    f"layers.{name}: not allowed as a layer name: use up to 31 of a-z, 0-9 and _, not starting with "
                    f"source_ or target_, and none of {', '.join(_TAKEN)}",
                )
        for name in self.engine.resources:
            if name not in (*POOLS, *own):
                raise _unknown(("engine", "resources", name), (*POOLS, *own))
        return self

    @model_validator(mode="after")
    def _check_keys_together(self) -> "Config":
        if not self.edits.weights:
            raise ValueError("edits: at least one kind needs a weight above 0")
        if self.edits.orbit is not None:
            self._check_grid(self.edits.orbit)
        elif self.edits.per_scene > 1:
            self._check_scenes()
        if self.samples == "all" and not get_source(self.source.kind).released:
            released = " or ".join(source.kind for source in all_sources() if source.released)
            raise ValueError(
                f"samples: 'all' needs source.kind {released}; {self.source.kind} has an unlimited number of scenes"
            )
        return self

    def _check_grid(self, orbit: OrbitOptions) -> None:
        if get_source(self.source.kind).released:
            raise ValueError(f"edits.orbit: {self.source.kind} has one edit per scene: remove edits.orbit")
        if set(self.scene.kinds) != {"open"}:
            raise ValueError(
                "edits.orbit: the camera goes all around, so walls would be in its way: remove scene.kinds"
            )
        each = self.edits.rendered_per_scene
        for key, count in (("samples", self.samples), ("unit_size", self.unit_size)):
            if isinstance(count, int) and count % each:
                raise ValueError(
                    f"{key} must be a multiple of {each}, the {orbit.count} views of a grid without the first (got "
                    f"{count}); {-(-count // each) * each} is the next one"
                )

    def _check_scenes(self) -> None:
        edits, kind = self.edits, self.source.kind
        name = "edits.compose" if edits.compose else "edits.per_scene"
        if get_source(kind).released:
            raise ValueError(f"{name}: {kind} has one edit per scene: remove {name}, or use edits.invert")
        for key, count in (("unit_size", self.unit_size), ("samples", self.samples)):
            if isinstance(count, int) and count % edits.per_scene and (key == "unit_size" or not edits.compose):
                what = "even" if edits.compose else f"a multiple of {edits.per_scene}"
                raise ValueError(f"{key} must be {what} when {name} is set (got {count})")
        from ..sources.edits.patterns import fault_of  # imports numpy

        if fault := fault_of(edits.weights, edits.per_scene):
            raise ValueError(f"{name}: {fault}")


def _unknown(place: tuple[str, ...], allowed: Sequence[str]) -> PydanticCustomError:
    key = ".".join(place)
    return _in_words(place, f"unknown key '{key}'{nearest(place[-1], allowed)}; allowed: {', '.join(allowed)}")


def _in_words(place: tuple[str, ...], message: str) -> PydanticCustomError:
    """An error about the key at `place`, for a validator of the whole configuration."""
    return PydanticCustomError("in_words", "{message}", {"message": message, "place": place})


def load_config(path: str | Path | None, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file, apply `a.b=c` overrides, and validate.

    Raises:
        BadInput: no such file, not YAML, an unknown key or a bad value. One line that says what to write instead.
    """
    values = read_yaml(path) if path is not None else {}
    return with_overrides(values, overrides, str(path) if path is not None else "configuration")


def with_overrides(values: dict[str, Any], overrides: Sequence[str], origin: str) -> Config:
    """Apply `a.b=c` overrides to plain values, restore their secrets, and validate; see `load_config`."""
    given = deepcopy(values)
    for override in overrides:
        _apply(values, override)
    try:
        return Config.model_validate(restored(values))
    except ValidationError as error:
        raise BadInput(f"{_wrong_overrides(error, given, overrides) or origin}: {explain(error, Config)}") from None


def _wrong_overrides(error: ValidationError, given: Mapping[str, Any], overrides: Sequence[str]) -> str:
    """The override that caused the first problem, or all of them if the file is valid without them.

    Empty if the problem is in the file.
    """
    first = error.errors()[0]
    place = [str(part) for part in first.get("ctx", {}).get("place", _location(first["loc"]))]
    for override in reversed(overrides):
        path = override.partition("=")[0].split(".")
        if place and path[: len(place)] == place[: len(path)]:
            return f"--set {shortened(override)}"
    if overrides and not place:
        with suppress(ValidationError):
            Config.model_validate(given)
            return " ".join(f"--set {shortened(override)}" for override in overrides)
    return ""


def parse_config(values: Mapping[str, Any], origin: str = "configuration") -> Config:
    """Validate plain values; see `load_config`."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise BadInput(f"{origin}: {explain(error, Config)}") from None


def _apply(values: dict[str, Any], override: str) -> None:
    name, separator, text = override.partition("=")
    if not separator or not name:
        what = shortened(override)
        raise BadInput(f"--set {what}: write --set key=value, such as --set source.root=/data/objaverse")
    if name != "".join(name.split()) or not all(name.split(".")):
        key = ".".join(filter(None, "".join(name.split()).split("."))) or "key"
        raise BadInput(
            f"--set '{shortened(override)}': '{name}' is not a key; write names with single dots and no spaces: "
            f"--set {shortened(f'{key}={text.strip()}')}"
        )
    *path, last = name.split(".")
    for part in path:
        inner = values.setdefault(part, {})
        if isinstance(inner, str) and path[0] == "layers":  # the shorthand `depth: exact`
            inner = values[part] = {"stage": inner}
        if not isinstance(inner, dict):
            raise BadInput(f"--set {shortened(override)}: '{part}' is not a section")
        values = inner
    values[last] = _value(text.strip(), f"--set {shortened(override)}: the value")


def read_options(texts: Sequence[str]) -> dict[str, Any]:
    """`key=value` texts as a mapping; values and errors as for `--set`."""
    values: dict[str, Any] = {}
    for text in texts:
        _apply(values, text)
    return values


def _value(text: str, origin: str) -> Any:
    """Parse numbers, lists and so on as YAML; keep other text unchanged, such as `/data/set #2: a`."""
    if not text or text[0] in "[{'\"":
        return parse_yaml(text, origin) if text else ""
    try:
        value = parse_yaml(text, origin)
    except BadInput:
        return text
    return text if isinstance(value, str | dict) else value


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """One line for the first problem of `error`: the key, the nearest valid key, the allowed values."""
    first, *others = error.errors()
    context = first.get("ctx", {})
    location = _location(first["loc"])
    # Do not count other alternatives of a union, or a list that is too short without its bad entry.
    others = [other for other in others if (place := _location(other["loc"])) != location[: len(place)]]
    key = ".".join(str(part) for part in location)
    last = str(location[-1]) if location else ""
    more = f" (and {len(others)} more)" if others else ""
    if first["type"] == "extra_forbidden":
        allowed = sorted(_section(model, location[:-1]).model_fields)
        return f"unknown key '{key}'{nearest(last, allowed)}; allowed: {', '.join(allowed)}{more}"
    if first["type"] == "literal_error":
        allowed = [part.strip().strip("'") for part in context["expected"].replace(" or ", ", ").split(",")]
        given = str(first["input"])
        what = f"unknown key '{key}'" if "[key]" in first["loc"] else f"{key}: '{given}' is not allowed"
        return f"{what}{nearest(given, allowed)}; allowed: {', '.join(allowed)}{more}"
    if first["type"] == "in_words":
        return f"{context['message']}{more}"
    if first["type"] == "value_error":
        message = str(context["error"])
        return f"{key}: {message}{more}" if key else f"{message}{more}"
    message = _PLAIN_WORDS.get(first["type"]) or f"{first['msg'][0].lower()}{first['msg'][1:]}"
    return f"{key}: {message.replace('tuple', 'list')} (got {first['input']!r}){more}"


_PLAIN_WORDS: Final = {
    "tuple_type": "write a list, such as [a, b]",
    "dict_type": "write a section, such as {key: value}",
    "dataclass_type": "write a section, such as {key: value}",
    "model_type": "write a section, such as {key: value}",
    "missing": "a value is missing",
}
"""Messages for errors that pydantic states in terms of Python types."""


def _location(loc: Sequence[str | int]) -> list[str | int]:
    """The parts of a key. Pydantic adds the names of a union's alternatives, which are not part of the key."""
    named = ("[key]", "constrained-", "literal")
    return [part for part in loc if not (isinstance(part, str) and part.startswith(named))]


def _section(model: type[BaseModel], location: Sequence[str | int]) -> type[BaseModel]:
    for part in location:
        field = model.model_fields.get(str(part))
        if field is None:
            continue
        candidates = [field.annotation, *get_args(field.annotation)]
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), model)
        model = source_options() if model is SourceOptions else model
    return model
