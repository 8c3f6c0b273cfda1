"""The protocol of a source: where pairs come from.

A source is a class in a folder of its own and one line in `sources.registry`. The pipeline asks it for everything that
differs between sources and compares no names of sources. A class derives from one of two bases:

- `PairSource`: the pairs exist already. It lists them (`rows`), and a pair stage of its own reads them.
- `SceneSource`: there are 3D models. It gives them (`assets`, `models`); scenes are composed of them, edited and
  rendered by `sources.rendered.pairs`.

A source has no state: one instance serves every build of a process. It does not import the pipeline. What it needs
from a build comes in a `Request`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, Protocol, TypeAlias, TypeVar

from pydantic import Field

from ..shards.errors import BadInput
from ..shards.options import License, Options
from ..shards.schema import EditKind, Split
from .assets.asset import Asset
from .assets.orientations import Orientation
from .scenes.spec import RenderOptions, SceneOptions

NOT_IN_CARD: Final[dict[str, Any]] = {"card": False}
"""`json_schema_extra` of an option that says where something lies on a machine: cards do not show it."""
LIGHT: Final = "Floors and walls are computed; light comes from the HDRIs that Blender carries, CC0."


class SourceOptions(Options):
    """`source`: the keys that belong to no single source; the options of a source derive from it and add its own.

    A configuration holds the keys of all registered sources (`sources.registry.source_options`), so an instance of it
    is an instance of the options of each.
    """

    kind: str = "procedural"
    root: str = Field(
        default="",
        description="folder of models, of an Objaverse cache, or of OBJECT-3DIT folders and archives",
        json_schema_extra=NOT_IN_CARD,
    )
    licenses: tuple[License, ...] = Field(
        default=("cc0", "by", "by-sa"),
        min_length=1,
        description="asset licenses to use; unknown: the source names none, or another text such as MIT",
    )


Keys = TypeVar("Keys", bound=SourceOptions)
ModelFiles: TypeAlias = Callable[[str], Path]
"""Where the glTF file of an `Asset.path` is on this node. Raises `assets.glb.GlbError` where it cannot be made."""


@dataclass(frozen=True)
class PlanRow:
    """One sample of the plan: its key, its split and what to make (a scene seed, or a path in a source)."""

    key: str
    split: Split
    spec: Mapping[str, Any]


@dataclass(frozen=True)
class Request(Generic[Keys]):
    """What a build asks a source with: sections of its configuration, and a place under OUT."""

    options: Keys
    out: str
    """OUT, for messages."""
    folder: str
    """Path or URL of `OUT/plan`, the same on every node. A source may keep files there that follow from its root."""
    samples: int | None
    """Samples to plan, derived ones not counted; None: all that the source has."""
    seed: int
    edits: Mapping[EditKind, float]
    """Kinds of edit to plan, with their weights."""
    invert: bool
    """The inverse of each planned sample is planned, too (by the pipeline)."""
    scene: SceneOptions
    render: RenderOptions
    """For `pair_arguments` with the device that OUT settled, else as configured."""
    gpus: float
    """GPUs that one rendering worker asks for."""
    threads: int
    """Threads of Blender; 0: as many as its worker has CPUs."""
    assets: str
    """Path or URL of the table of assets that scenes draw from, where the plan has one."""
    assets_sha256: str = ""
    """Its digest; empty before there is a plan."""
    say: Callable[[str], None] = lambda _: None
    """Reports one line to the user."""


class Survey(Protocol):
    """The pipeline's asset survey: stages look at every model once, as a resumable build of its own."""

    def __call__(self, specs: Sequence[Mapping[str, Any]], stages: Sequence[Any]) -> list[Asset]:
        """The assets that can be used, identified.

        Args:
            specs: of each model what the stages need, as plain JSON values, with its `uid` and its title, `name`.
            stages: make the layers `survey` and `appearance`, with the columns `asset` and `identity` (JSON).

        Raises BadInput where none can be used.
        """
        ...


class Source(ABC, Generic[Keys]):
    """Where the pairs of a build come from. See the module; derive from `PairSource` or `SceneSource`.

    Attributes without a value and abstract methods must be there: `sources.registry` names what is missing when it
    loads the source, before any work.
    """

    kind: ClassVar[str]
    """Its name in `source.kind` and in the registry, and the `dataset` of its samples."""
    options: ClassVar[type[SourceOptions]]
    """Its keys of the section `source`."""
    planned: ClassVar[tuple[str, ...]]
    """Those that decide which samples exist: they are part of plan.json. A place, such as the root, is not."""
    released: ClassVar[bool]
    """Whether its pairs exist before the build: `samples: all` takes them all, and `edits` chooses among them."""
    pair_stage: ClassVar[str]
    """Name of the stage of layer `pair` in the configuration and in reports."""
    pair_class: ClassVar[str]
    """`package.module:Class` of that stage (`pipeline.stage.Stage`)."""
    layers: ClassVar[Mapping[str, str]]
    """The other layers of a build unless `layers` says otherwise, each with its stage."""
    not_exact: ClassVar[Mapping[str, str]]
    """Layers of which the pairs hold no exact values, so that stage `exact` is an error; each with the reason."""
    summary: ClassVar[str]
    """For the dataset card: what the pairs are. A sentence without its end, to which a `SceneSource` adds how they were
    rendered."""
    terms: ClassVar[str]
    """For the dataset card: terms beside the licenses of the models, as Markdown; may be empty."""
    citation: ClassVar[str]
    """For the dataset card: the work to cite; may be empty."""

    @abstractmethod
    def root(self, options: Keys) -> str:
        """Where the source lies, as an absolute path or URL; empty where it lies nowhere.

        Does not look there: a finished build can be packed where its source is not. Raises BadInput where a root is
        needed and not given.
        """

    @abstractmethod
    def pair_arguments(self, request: Request[Keys]) -> dict[str, Any]:
        """The fields of the pair stage that follow from the configuration and the plan. Looks at nothing but OUT."""

    @abstractmethod
    def how_made(self, rendered: str) -> str:
        """For the dataset card: one sentence.

        Args:
            rendered: how this project's renderer was used: `rendered by ... with Cycles at 16 samples a pixel.`
        """

    def layer_options(self, scene: SceneOptions) -> Mapping[str, Mapping[str, Any]]:
        """Options of the stages of `layers` unless the configuration gives them, by layer."""
        return {}

    def survey_folder(self, options: Keys) -> str:
        """Path or URL of an asset survey that builds share; empty: `OUT/survey`, where there is one."""
        return ""

    def citations(self, uids: Iterable[str]) -> tuple[str, ...]:
        """For the dataset card: the works to cite for a set that shows these assets."""
        return (self.citation,) if self.citation else ()

    def asset_page(self, uid: str) -> str:
        """For the dataset card: address of the page of an asset; empty where it has none that is known."""
        return ""


class PairSource(Source[Keys]):
    """A source whose pairs exist already, with their own pair stage."""

    released: ClassVar[bool] = True

    @abstractmethod
    def rows(self, request: Request[Keys]) -> Iterator[PlanRow]:
        """The pairs in a fixed order, `request.samples` at most.

        A key is the same wherever the source is mounted. `spec` is what the pair stage needs, as plain JSON values,
        with the kind of the `edit`. The pipeline adds the inverses.

        Raises BadInput where the root holds no pairs.
        """

    @abstractmethod
    def check_root(self, options: Keys, specs: Sequence[Mapping[str, Any]], out: str) -> None:
        """Raise BadInput where the root holds none of the first planned pairs (`root_lacks`): each would be rejected.

        Called before pairs are read. `specs` are those of `rows`, four at most.
        """

    def how_made(self, rendered: str) -> str:
        return f"{self.summary}."


class SceneSource(Source[Keys]):
    """A source of 3D models, of which scenes are composed, edited and rendered."""

    released: ClassVar[bool] = False
    pair_stage: ClassVar[str] = "render"
    pair_class: ClassVar[str] = "spatialdata_builder.sources.rendered.pairs:RenderPairs"
    layers: ClassVar[Mapping[str, str]] = {
        "screen": "junk",
        "metric": "exact",
        "normal": "exact",
        "depth": "exact",
        "segment": "exact",
        "line": "exact",
        "instruction": "template",
        "checks": "geometry",
    }
    not_exact: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def assets(self, request: Request[Keys], survey: Survey) -> list[Asset]:
        """The models that scenes may show, measured, sorted by uid.

        A source whose models must be looked at first gives what is known of each to `survey`, with the stages that
        look. Raises BadInput where the root holds none that can be used.
        """

    @abstractmethod
    def orientations(self, options: Keys) -> dict[str, Orientation]:
        """What `spatialdata orient`, or a person, has written about the models of the root, by uid."""

    def place(self, options: Keys, render: RenderOptions) -> str:
        """What `models` needs to know to find the files, as text: the root, unless a source needs more."""
        return self.root(options)

    @abstractmethod
    def models(self, place: str) -> ModelFiles:
        """Where the glTF files are on this node; called in a worker. Files may be made there.

        Raises BadInput on a node that does not have the root.
        """

    @abstractmethod
    def check_root(self, options: Keys, assets: Sequence[Asset], out: str) -> None:
        """Raise BadInput where the root holds none of these planned models (`root_lacks`): each scene would fail."""

    def how_made(self, rendered: str) -> str:
        return f"{self.summary}, {rendered}"

    def layer_options(self, scene: SceneOptions) -> Mapping[str, Mapping[str, Any]]:
        """The checks ask for no more than scenes were sampled for; where the edit puts an object behind or into
        something, sampler and checks ask for the lesser of the two."""
        least = scene.min_visible
        return {"checks": {"min_visible": least, "min_visible_behind": min(0.2, least)}}

    def pair_arguments(self, request: Request[Keys]) -> dict[str, Any]:
        return {
            "source": self.kind,
            "dataset": self.kind,
            "assets": request.assets,
            "assets_sha256": request.assets_sha256,
            "place": self.place(request.options, request.render),
            "scene": request.scene,
            "render": request.render,
            "gpus": request.gpus,
            "threads": request.threads,
        }


def root_lacks(root: str, what: str, out: str, example: str) -> BadInput:
    """The error of `check_root`."""
    return BadInput(
        f"source.root: {root} holds none of the {what} that {out} was planned with (such as {example}): "
        "use the original source.root, or build into another --out"
    )
