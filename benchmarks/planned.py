"""Scenes as a build makes them, for the other benchmarks: a plan in a folder, and a worker of its pair stage."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from spatialdata_builder.pipeline.config import load_config
from spatialdata_builder.pipeline.planning.samples import pair_arguments, plan_build
from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.shards.sample import Sample
from spatialdata_builder.shards.schema import EditKind
from spatialdata_builder.sources.assets.asset import Asset
from spatialdata_builder.sources.rendered.files import located, mesh_of_asset
from spatialdata_builder.sources.rendered.pairs import PairRenderer, RenderPairs
from spatialdata_builder.sources.scenes.convex import Mesh
from spatialdata_builder.sources.scenes.kinds import Furniture
from spatialdata_builder.sources.scenes.spec import SceneKind, SceneOptions, SceneSpec
from tests.sources.environments.rooms import furniture, write_room

KINDS: tuple[SceneKind, ...] = ("open", "room", "tabletop", "garden", "environment")
_DEFAULTS = ("engine.kind=inline", "samples=1", "shard.splits={train: 1, val: 0, test: 0}", "render.device=cpu")
_SHELF = ((-2.5, 0.9, 0.0, -2.1, 1.9, 1.1), (0.9, 1.55, 0.0, 2.3, 2.0, 0.45), (1.9, -1.9, 0.0, 2.45, -1.3, 0.75))
"""Blocks in the generated room model, beside its table and counter."""


def settings_of(assets: str, variants: int = 6) -> list[str]:
    """The models of a build: those of a folder in Objaverse's layout, or procedural ones."""
    return ["source.kind=objaverse", f"source.root={assets}"] if assets else [f"source.variants={variants}"]


def room_model(folder: Path) -> Path:
    """A folder with a generated room model: a shell with a table, a counter and a few blocks."""
    write_room(folder / "room.glb", boxes=[*furniture(), *_SHELF], unit=100.0)
    return folder


@dataclass(frozen=True)
class Build:
    """A worker of a planned build whose scenes may be of every kind."""

    stage: RenderPairs
    worker: PairRenderer

    @classmethod
    def planned(cls, settings: Sequence[str], folder: Path, environments: str = "", threads: int = 2) -> "Build":
        """Plan in a folder that may hold the same plan already.

        Args:
            settings: `key=value` of the configuration.
            environments: folder of room models; default: a generated one.
        """
        root = environments or str(room_model(folder / "room models"))
        kinds = f"scene.kinds={{{', '.join(f'{kind}: 1' for kind in KINDS)}}}"
        config = load_config(None, [*_DEFAULTS, kinds, f"scene.environments.root={root}", *settings])
        store = LayerStore(str(folder))
        plan = plan_build(config, store, click.echo, quiet=True)
        stage = RenderPairs(**pair_arguments(config, store, plan) | {"threads": threads})
        return cls(stage, stage.setup())

    def options(self, kind: SceneKind) -> SceneOptions:
        """`scene` with scenes of one kind only."""
        return self.stage.scene.model_copy(update={"kinds": {kind: 1.0}})

    def candidates(self, seed: int) -> tuple[list[Asset], Furniture]:
        """What the first scene of a seed may draw from: as an open scene, and as any other."""
        worker = self.worker
        pieces = worker.table.of_categories("train", seed, 0, worker.templates.categories)
        interiors = worker.materials.interiors
        furnished = Furniture(pieces, worker.table.supports_of, worker.mesh_of, worker.templates, interiors)
        return list(worker.table.candidates("train", seed, 0)), furnished

    def propose(self, kind: SceneKind, edit: EditKind, seed: int, attempts: int = 20) -> SceneSpec | None:
        """The first valid proposal of a seed, with the paths of its files; None where there is none."""
        stage = replace(self.stage, scene=self.options(kind))
        sample = Sample("benchmark", "train", {"seed": seed, "edit": edit})
        for attempt in range(attempts):
            found = stage.proposals(self.worker, sample, seed, attempt, ())
            if not isinstance(found, str) and isinstance(found.specs[0], SceneSpec):
                return self.worker.materials.located(found.specs[0])
        return None

    def mesh_of(self, asset: Asset) -> Mesh:
        """The triangles of a model."""
        return mesh_of_asset(self.worker.files, asset)

    def files(self, spec: SceneSpec) -> dict[int, Path]:
        """The model of each object."""
        return {placed.id: located(self.worker.files, placed.asset) for placed in spec.objects}


def spread(values: Sequence[float]) -> str:
    """Median, 90 % and the largest."""
    middle, high = np.percentile(values, (50, 90))
    return f"median {middle:.3g}, 90 % {high:.3g}, maximum {max(values):.3g}"
