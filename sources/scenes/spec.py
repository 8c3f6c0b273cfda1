"""The specification of a scene before it is rendered: plain values, equal on every machine.

Frames. World: meters, z up, the floor is z = 0. Object: meters, z up, origin at the center of the base (the middle of
the bounding box in x and y, its lowest point in z), which may differ from the contact center (`Asset.contact`). File: a
GLB's own units, y up. Camera: OpenCV (x right, y down, z forward). All floats of a specification are rounded to six
decimals when they are created, so that they do not depend on the last bit of a machine's arithmetic.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, ClassVar, Final, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ...shards.options import Options, nearest
from ...shards.schema import EditKind, SupportKind
from ..assets.asset import Asset
from .garden import Garden
from .interior import EnvironmentSpec
from .room import Room
from .values import OWN_HDRIS, CameraPose, Light, Surface, TexturedSurface

SceneKind = Literal["open", "room", "tabletop", "garden", "environment"]
BUILTIN: Final = "builtin"
"""Name of the project's own templates in `SceneOptions.templates`."""
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Wall:
    """A vertical plane through (x, y, 0), facing `normal_deg` (degrees about z from +x)."""

    x: float
    y: float
    normal_deg: float
    height: float
    surface: Surface


@dataclass(frozen=True)
class Pedestal:
    """A board on a column, which raises the object of a studio above the floor. Outlines: convex, world meters."""

    board: tuple[tuple[float, float], ...]
    column: tuple[tuple[float, float], ...]
    height: float
    """Of the top of the board above the floor."""
    thickness: float
    """Of the board."""
    surface: Surface


@dataclass(frozen=True)
class Standing:
    """What an object stands on, in or under, other than the floor."""

    object: int
    """Id of the object whose support it is; 0 for a surface of the room model of the scene, or for a pedestal."""
    support: int
    """Index of the support among those of that object (`Scene.supports`)."""
    kind: SupportKind
    shelf: int = 0
    """Number of the shelf among those of that object, 1 is the lowest; 0 for other kinds."""
    shelves: int = 0
    """How many shelves that object has, for kind `shelf`; 0 for other kinds."""


@dataclass(frozen=True)
class Settled:
    """How an object lies or leans where physics has left it (`scenes.physics`)."""

    tilt_deg: tuple[float, float]
    """Rotation vector along x and y, in degrees: before it is rotated about z, the object is tilted about this level
    axis by the vector's length."""
    on_support: bool
    """Whether it touches the floor or the surface that `standing` names; else it lies on other objects only."""
    held_by: tuple[int, ...] = ()
    """Ids of other objects that it lies on or leans against: without them it would fall."""


@dataclass(frozen=True)
class Placement:
    """The pose of one object, a similarity: world_from_object = translate(x, y, z) rotate_z(yaw) rotate(tilt) scale."""

    x: float
    y: float
    z: float
    yaw_deg: float
    scale: float = 1.0
    present: bool = True
    standing: Standing | None = None
    """None: on the floor, or in the container of an open scene."""
    settled: Settled | None = None
    """None: upright, without a tilt."""


@dataclass(frozen=True)
class SceneObjectSpec:
    id: int
    asset: Asset
    layer: Literal["foreground", "midground", "background"]
    top: TexturedSurface | None = None
    """Of a table: what covers its board, in place of the model's own material."""


@dataclass(frozen=True)
class State:
    """One image of the pair: the placements of the objects, by id, and the camera."""

    placements: dict[int, Placement]
    camera: CameraPose


@dataclass(frozen=True)
class EditSpec:
    """The edit as sampled; fields as in `shards.schema.Edit`."""

    kind: EditKind
    object: int
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rotation_deg: float = 0.0
    view: str = ""
    scale: float = 1.0
    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    zoom: float = 1.0
    allows_occlusion: bool = False
    second_object: int = 0

    @property
    def edited(self) -> tuple[int, ...]:
        """Ids of the edited objects; empty for an edit of the camera."""
        return tuple(identity for identity in (self.object, self.second_object) if identity)


@dataclass(frozen=True)
class SceneSpec:
    """A scene and its edit: everything that the renderer needs."""

    width: int
    height: int
    objects: tuple[SceneObjectSpec, ...]
    floor: Surface
    """Of a room: equal to `room.floor`. Of a garden: equal to `garden.ground`. Not used in a room model."""
    walls: tuple[Wall, ...]
    """Of an open scene; others have none here."""
    light: Light
    """Of an open scene, a garden and a room model: the light. Of a room: what is seen through its windows and in
    reflections, with `strength` as its mean radiance."""
    source: State
    target: State
    edit: EditSpec
    seed: int
    """Seed of the renderer, the same for both images."""
    names: dict[int, str] = field(default_factory=dict[int, str])
    room: Room | None = None
    garden: Garden | None = None
    kind: SceneKind = "open"
    environment: EnvironmentSpec | None = None
    pedestal: Pedestal | None = None
    """In an open scene: what its object stands on."""

    @property
    def moved(self) -> tuple[int, ...]:
        """Ids of the edited objects, then of those that move along because they stand on them."""
        edited = self.edit.edited
        after = self.target.placements
        along = (id for id, place in self.source.placements.items() if id not in edited and after[id] != place)
        return (*edited, *along)

    def asset(self, identity: int) -> Asset:
        """The asset of the object with this id."""
        return next(placed.asset for placed in self.objects if placed.id == identity)


def to_json(spec: SceneSpec) -> dict[str, Any]:
    """The specification as plain JSON values (object ids become strings), without `second_object`, `room`, `garden`,
    `environment`, `pedestal`, `standing`, `settled` and `top` where there is none, and without `kind` of an open scene.
    """
    values = asdict(spec)
    if not spec.edit.second_object:
        del values["edit"]["second_object"]
    for name in ("room", "garden", "environment", "pedestal"):
        if values[name] is None:
            del values[name]
    if spec.kind == "open":
        del values["kind"]
    for placed in values["objects"]:
        if placed["top"] is None:
            del placed["top"]
    for state in (values["source"], values["target"]):
        for placement in state["placements"].values():
            for name in ("standing", "settled"):
                if placement[name] is None:
                    del placement[name]
    return values


def _from_to(low: float, high: float) -> Callable[[tuple[float, float]], tuple[float, float]]:
    """A validator for a range within [low, high]; rejects NaN."""

    def check(given: tuple[float, float]) -> tuple[float, float]:
        if not low <= given[0] <= given[1] <= high:
            allowed = f"[a, b] with {low:g} <= a <= b <= {high:g}"
            raise ValueError(f"[{given[0]:g}, {given[1]:g}] is not allowed; allowed: {allowed}")
        return given

    return check


def _square(given: Any) -> Any:
    """One number is the side of a square."""
    return (given, given) if isinstance(given, int) and not isinstance(given, bool) else given


def _switch(given: Any) -> Any:
    """In YAML, `on` and `off` are true and false."""
    return ("on" if given else "off") if isinstance(given, bool) else given


def _several(given: Any) -> Any:
    """One text is a list of one."""
    return (given,) if isinstance(given, str) else given


def _each_within(low: int, high: int) -> Callable[[tuple[int, int]], tuple[int, int]]:
    def check(given: tuple[int, int]) -> tuple[int, int]:
        if not all(low <= value <= high for value in given):
            raise ValueError(f"{list(given)} is not allowed; allowed: each {low} to {high}")
        return given

    return check


def _some_weight(given: dict[SceneKind, float]) -> dict[SceneKind, float]:
    """The kinds with a weight above zero; one at least."""
    kept: dict[SceneKind, float] = {kind: weight for kind, weight in given.items() if weight > 0}
    if not kept:
        raise ValueError(f"no kind has a weight above 0; kinds: {', '.join(get_args(SceneKind))}")
    return kept


def _hdri(given: str) -> str:
    if given in OWN_HDRIS or is_hdri_path(given):
        return given
    raise ValueError(
        f"'{given}' is not allowed{nearest(given, OWN_HDRIS)}; allowed: {', '.join(OWN_HDRIS)}, and paths of .hdr and "
        ".exr files and of folders of them, such as ./hdris"
    )


def is_hdri_path(given: str) -> bool:
    """Whether an entry of `scene.light.hdris` is a path, not a name."""
    return "/" in given or given.startswith("~") or given.lower().endswith((".hdr", ".exr"))


class CameraOptions(Options):
    """`scene.camera`."""

    elevation_deg: Annotated[tuple[float, float], AfterValidator(_from_to(5, 75))] = (12.0, 45.0)
    focal_mm: Annotated[tuple[float, float], AfterValidator(_from_to(6, 300))] = Field(
        default=(28.0, 50.0), description="on a 32 mm wide sensor"
    )


class LightOptions(Options):
    """`scene.light`."""

    hdris: tuple[Annotated[str, AfterValidator(_hdri)], ...] = Field(
        default=OWN_HDRIS,
        min_length=1,
        description="names of HDRIs of Blender; paths of .hdr and .exr files, or of folders of them",
    )
    strength: Annotated[tuple[float, float], AfterValidator(_from_to(0.01, 100))] = Field(
        default=(0.7, 1.5), description="of the HDRI; in rooms, of the daylight"
    )


class EnvironmentOptions(Options):
    """`scene.environments`."""

    root: str = Field(
        default="",
        description="folder of room models (GLB) for scenes of kind environment",
        json_schema_extra={"fingerprint": False},
    )


class SceneOptions(Options):
    """`scene`: how scenes are composed."""

    renamed: ClassVar[Mapping[str, str]] = {"attempts": "max_proposals"}

    kinds: Annotated[dict[SceneKind, Weight], AfterValidator(_some_weight)] = Field(
        default={"open": 1.0},
        description="weights of the kinds of scenes: objects on a floor (open), a furnished room, seen as a whole "
        "(room) or near what stands on a table or cabinet (tabletop), a garden, or a room model of `environments` "
        "(environment)",
        json_schema_extra={"fingerprint": "if changed"},
    )
    physics: Annotated[Literal["auto", "on", "off"], BeforeValidator(_switch)] = Field(
        default="auto",
        description="things that lean, lie or are in a heap in furnished rooms, by MuJoCo (extra `physics`); a build "
        "resolves auto once, to on where MuJoCo is installed",
        json_schema_extra={"fingerprint": "if changed"},
    )
    templates: Annotated[tuple[str, ...], BeforeValidator(_several)] = Field(
        default=(BUILTIN,),
        min_length=1,
        description="of furnished rooms: folders of templates (*.yaml, perhaps roles.yaml), or builtin for the "
        "project's own; of several templates with one name the last counts. The plan keeps their contents",
        json_schema_extra={"fingerprint": False},
    )
    objects: Annotated[tuple[int, int], AfterValidator(_from_to(2, 8))] = Field(
        default=(2, 6), description="fewest and most objects in a scene; at least 2, or `remove` would leave nothing"
    )
    layers: int = Field(
        default=3, ge=1, le=3, description="layers of depth: 1 midground, 2 + background, 3 + foreground"
    )
    walls: float = Field(default=0.5, ge=0, le=1, description="share of scenes with walls")
    min_visible: float = Field(default=0.35, ge=0, le=1, description="of the edited object's own pixels")
    max_proposals: int = Field(default=40, ge=1, le=10_000, description="proposals before a sample is rejected")
    camera: CameraOptions = CameraOptions()
    light: LightOptions = LightOptions()
    environments: EnvironmentOptions = Field(
        default=EnvironmentOptions(), json_schema_extra={"fingerprint": "if changed"}
    )
    surfaces: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(),
        description="folders of PBR texture sets, named as those of ambientCG and Poly Haven",
        json_schema_extra={"fingerprint": "if changed"},
    )
    textured: float = Field(
        default=0.7,
        ge=0,
        le=1,
        description="share of floors, walls and grounds that have a texture set of `surfaces`, if one is made for them",
        json_schema_extra={"fingerprint": "if changed"},
    )

    @model_validator(mode="after")
    def _has_environments(self) -> Self:
        if "environment" in self.kinds and not self.environments.root:
            raise ValueError("kinds: environment needs environments.root, a folder of room models (GLB)")
        return self


class RenderOptions(Options):
    """`render`. Options marked `fingerprint: False` cannot change a pixel and are not part of the fingerprint."""

    renamed: ClassVar[Mapping[str, str]] = {"recycle": "scenes_per_process"}

    resolution: Annotated[tuple[int, int], BeforeValidator(_square), AfterValidator(_each_within(32, 8192))] = Field(
        default=(512, 512), description="width, height; one number for a square"
    )
    samples: int = Field(default=32, ge=1, le=65_536)
    denoise: bool = True
    partial: Annotated[Literal["auto", "on", "off"], BeforeValidator(_switch)] = Field(
        default="auto",
        description="render only the part of a target that the edit changes, the rest is that of the source; a build "
        "resolves auto once: to on, but to off in builds that were planned before this option existed",
        json_schema_extra={"fingerprint": "if changed", "unchanged": "off"},
    )
    light_tree: Annotated[Literal["auto", "on", "off"], BeforeValidator(_switch)] = Field(
        default="auto",
        description="sample lights in open scenes and gardens by Cycles' tree of lights, which is slower and noisier; "
        "a build resolves auto once: to off, but to on in builds that were planned before this option existed",
        json_schema_extra={"fingerprint": "if changed", "unchanged": "on"},
    )
    device: Literal["auto", "cpu", "gpu", "cuda", "optix", "hip", "metal", "oneapi"] = Field(
        default="auto", description="gpu: the best that Blender finds; a build resolves auto to gpu or cpu, once"
    )
    blender: str = Field(default="", description="a Blender executable; empty: the bpy package through uv")
    timeout_s: float = Field(
        default=300.0,
        gt=0,
        allow_inf_nan=False,
        description="limit for one scene, after which Blender is killed and the sample is rejected",
        json_schema_extra={"fingerprint": False},
    )
    scenes_per_process: int = Field(
        default=50,
        ge=1,
        description="scenes after which a Blender process is replaced",
        json_schema_extra={"fingerprint": False},
    )
