"""The protocol of a source of pairs.

A source is a class in its own folder and one line in `sources.registry`. The pipeline asks it for everything that
differs between sources and never compares names of sources. The class derives from one of two bases:
- `PairSource`: the pairs already exist. The source lists them (`rows`), and its own pair stage reads them.
- `SceneSource`: a source of 3D models (`assets`, `models`), from which `sources.rendered.pairs` composes, edits and
  renders scenes.

A source has no state: one instance serves every build of a process. It does not import the pipeline; a `Request` has
everything that it needs from a build.
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
from .scenes.grid import OrbitOptions
from .scenes.spec import RenderOptions, SceneOptions

NOT_IN_CARD: Final[dict[str, Any]] = {"card": False}
"""`json_schema_extra` of an option that is a location on a machine: cards do not show it."""
LIGHT: Final = (
    "Floors and walls are procedural, and light comes from the HDRIs that ship with Blender (CC0), except for the "
    "texture sets, HDRIs and room models that the attribution lists."
)


class SourceOptions(Options):
    """`source`: the keys that all sources share; the options of each source derive from this class.

    A configuration has the keys of all registered sources (`sources.registry.source_options`), so its `source` section
    is an instance of the options of each source.
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
    """One sample of the plan: its key, its split and what to build (a scene seed, or a path in a source)."""

    key: str
    split: Split
    spec: Mapping[str, Any]


@dataclass(frozen=True)
class Request(Generic[Keys]):
    """The request of a build to a source: sections of its configuration, and a folder under OUT."""

    options: Keys
    out: str
    """OUT, for messages."""
    folder: str
    """Path or URL of `OUT/plan`, the same on every node. A source may store files there that only depend on its root.
    """
    samples: int | None
    """Samples to plan, not counting derived ones; None: all that the source has."""
    seed: int
    edits: Mapping[EditKind, float]
    """Kinds of edit to plan, with their weights."""
    invert: bool
    """Whether the pipeline also plans the inverse of each sample."""
    scene: SceneOptions
    render: RenderOptions
    """In `pair_arguments` with the device that OUT resolved, else as configured."""
    gpus: float
    """GPUs that one rendering worker requests."""
    threads: int
    """Threads of Blender; 0: as many as its worker has CPUs."""
    assets: str
    """Path or URL of the table of assets that scenes draw from, if the plan has one."""
    assets_sha256: str = ""
    """Its digest; empty before there is a plan."""
    materials: str = ""
    """Path or URL of the table of HDRIs, texture sets and room models, if the plan has one."""
    say: Callable[[str], None] = lambda _: None
    """Reports one line to the user."""
    orbit: OrbitOptions | None = None
    """The grid of views whose pairs are planned in place of other edits; None: there is none."""


class Survey(Protocol):
    """The pipeline's asset survey: a separate, resumable build whose stages examine every model once."""

    def __call__(self, specs: Sequence[Mapping[str, Any]], stages: Sequence[Any]) -> list[Asset]:
        """The usable assets, with their identity.

        Args:
            specs: for each model what the stages need, as plain JSON values, with its `uid` and its title, `name`.
            stages: the stages of layers `survey` and `appearance`, with the columns `asset` and `identity` (JSON).

        Raises BadInput if no asset can be used.
        """
        ...


class Source(ABC, Generic[Keys]):
    """A source of pairs. See the module; derive from `PairSource` or `SceneSource`.

    A source must define all attributes without a value and all abstract methods. `sources.registry` checks this when
    it loads the source.
    """

    kind: ClassVar[str]
    """Its name in `source.kind` and in the registry, and the `dataset` of its samples."""
    options: ClassVar[type[SourceOptions]]
    """Its keys in the section `source`."""
    planned: ClassVar[tuple[str, ...]]
    """The keys that determine which samples exist; they are part of plan.json. A location, such as the root, is not."""
    released: ClassVar[bool]
    """Whether its pairs exist before the build: `samples: all` takes all of them, and `edits` selects among them."""
    pair_stage: ClassVar[str]
    """Name of the stage of layer `pair` in the configuration and in reports."""
    pair_class: ClassVar[str]
    """`package.module:Class` of that stage (`pipeline.stage.Stage`)."""
    layers: ClassVar[Mapping[str, str]]
    """The default stages of the other layers, by layer."""
    not_exact: ClassVar[Mapping[str, str]]
    """Layers for which the pairs have no exact values, with the reason; stage `exact` is an error there."""
    summary: ClassVar[str]
    """For the dataset card: a description of the pairs, a sentence without its full stop. A `SceneSource` appends how
    they were rendered."""
    terms: ClassVar[str]
    """For the dataset card: terms in addition to the licenses of the models, as Markdown; may be empty."""
    citation: ClassVar[str]
    """For the dataset card: the work to cite; may be empty."""

    @abstractmethod
    def root(self, options: Keys) -> str:
        """The location of the source as an absolute path or URL; empty if it has none.

        Does not access it: a finished build can be packed on a machine without its source. Raises BadInput if a root is
        required and not set.
        """

    @abstractmethod
    def pair_arguments(self, request: Request[Keys]) -> dict[str, Any]:
        """The fields of the pair stage that the configuration and the plan determine. Accesses only OUT."""

    @abstractmethod
    def how_made(self, rendered: str) -> str:
        """For the dataset card: one sentence on how the pairs were made.

        Args:
            rendered: how this project's renderer was used: `rendered by ... with Cycles at 16 samples per pixel.`
        """

    def layer_options(self, scene: SceneOptions) -> Mapping[str, Mapping[str, Any]]:
        """Default options of the stages of `layers`, by layer."""
        return {}

    def survey_folder(self, options: Keys) -> str:
        """Path or URL of an asset survey that builds share; empty: `OUT/survey`, if the source has a survey."""
        return ""

    def citations(self, uids: Iterable[str]) -> tuple[str, ...]:
        """For the dataset card: the works to cite for a set that shows these assets."""
        return (self.citation,) if self.citation else ()

    def asset_page(self, uid: str) -> str:
        """For the dataset card: URL of the page of an asset; empty if not known."""
        return ""


class PairSource(Source[Keys]):
    """A source of existing pairs, with its own pair stage."""

    released: ClassVar[bool] = True

    @abstractmethod
    def rows(self, request: Request[Keys]) -> Iterator[PlanRow]:
        """The pairs in a fixed order, at most `request.samples`.

        A key does not depend on where the source is mounted. `spec` has what the pair stage needs, as plain JSON
        values, with the kind of the `edit`. The pipeline adds the inverses.

        Raises BadInput if the root has no pairs.
        """

    @abstractmethod
    def check_root(self, options: Keys, specs: Sequence[Mapping[str, Any]], out: str) -> None:
        """Raise BadInput (`root_lacks`) if the root has none of the first planned pairs: each would be rejected.

        Called before pairs are read. `specs` are those of the first rows, at most four.
        """

    def how_made(self, rendered: str) -> str:
        return f"{self.summary}."


class SceneSource(Source[Keys]):
    """A source of 3D models, from which scenes are composed, edited and rendered."""

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

        A source whose models must be examined first calls `survey` with what is known of each model and with the stages
        that examine it. Raises BadInput if the root has no usable model.
        """

    @abstractmethod
    def orientations(self, options: Keys) -> dict[str, Orientation]:
        """The entries of the root's orientation file, by uid; written by `spatialdata orient` or by hand."""

    def place(self, options: Keys, render: RenderOptions) -> str:
        """What `models` needs to know to find the files, as text: the root, unless a source needs more."""
        return self.root(options)

    @abstractmethod
    def models(self, place: str) -> ModelFiles:
        """A function that returns the glTF file of an asset on this node, and may create it.

        Called in a worker, with `root(options)`. Raises BadInput if the node does not have the root.
        """

    @abstractmethod
    def check_root(self, options: Keys, assets: Sequence[Asset], out: str) -> None:
        """Raise BadInput (`root_lacks`) if the root has none of these planned models: each scene would fail."""

    def how_made(self, rendered: str) -> str:
        return f"{self.summary}, {rendered}"

    def layer_options(self, scene: SceneOptions) -> Mapping[str, Mapping[str, Any]]:
        """The limits of the checks, not stricter than those of the sampler.

        For edits that put an object behind or into something, both use the lower limit.
        """
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
            "orbit": request.orbit,
            "materials": request.materials,
            "render": request.render,
            "gpus": request.gpus,
            "threads": request.threads,
        }


def root_lacks(root: str, what: str, out: str, example: str) -> BadInput:
    """The error of `check_root`."""
    return BadInput(
        f"source.root: {root} has none of the {what} that {out} was planned with (such as {example}): "
        "use the original source.root, or build into another --out"
    )
