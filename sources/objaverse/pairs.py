"""The stage that makes a pair: propose, look, render, measure, and say what is known.

A sample is a pure function of its seed, the asset table and the options: proposals are tried in order until one is
valid, each refusal is counted by reason, and a broken asset skips the scene that holds it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from shards.sample import Columns, Reject, Result, Row, Sample
from shards.schema import EditKind
from sources.objaverse.assets import AssetFiles, AssetTable
from sources.objaverse.edits import judge
from sources.objaverse.facts import pair_columns
from sources.objaverse.naming import name_objects
from sources.objaverse.render import AssetError, Renderer, RenderTimeout, SceneError
from sources.objaverse.scene import Refusal, propose, scene_number
from sources.objaverse.spec import RenderOptions, SceneOptions

CRASHES = 2
"""Times that Blender may die on one sample before the sample is rejected."""


@dataclass(frozen=True)
class Studio:
    """What a worker holds: a Blender process, the asset table, and where the model files are."""

    renderer: Renderer
    table: AssetTable
    files: AssetFiles


@dataclass(frozen=True)
class RenderPairs:
    """Renders pairs of scenes that are sampled from a seed."""

    layer: ClassVar[str] = "pair"
    needs: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[int] = 1
    own_pool: ClassVar[bool] = True

    source: Literal["procedural", "objaverse"]
    dataset: str
    assets: str = field(metadata={"fingerprint": False})
    """URL of the plan's asset table."""
    assets_sha256: str
    scene: SceneOptions
    render: RenderOptions
    root: str = field(default="", metadata={"fingerprint": False})
    threads: int = field(default=0, metadata={"fingerprint": False})
    """Threads of Blender; 0: as many as `cpus`, rounded up."""
    batch_size: int = field(default=1, metadata={"fingerprint": False})
    cpus: float = field(default=1.0, metadata={"fingerprint": False})
    gpus: float = field(default=0.0, metadata={"fingerprint": False})

    def setup(self) -> Studio:
        """Read the asset table and prepare Blender, which starts with the first scene."""
        renderer = Renderer(self.render, threads=self.threads)
        return Studio(renderer, AssetTable.read(self.assets), AssetFiles(self.source, self.root))

    def __call__(self, model: Studio, samples: Sequence[Sample]) -> Sequence[Result]:
        return [self._make(model, sample) for sample in samples]

    def _make(self, studio: Studio, sample: Sample) -> Result:
        seed, kind = int(sample.spec["seed"]), sample.spec["edit"]
        refused: Counter[str] = Counter()
        attempt = crashes = 0
        while attempt < self.scene.attempts:
            try:
                outcome = self._attempt(studio, sample.split, kind, seed, attempt)
            except AssetError:
                refused["broken_asset"] += 1
                scene = scene_number(attempt)
                while scene_number(attempt) == scene:
                    attempt += 1
                continue
            except SceneError as error:
                reason = "blender_timeout" if isinstance(error, RenderTimeout) else "blender_crash"
                refused[reason] += 1
                crashes += 1
                if crashes >= CRASHES:
                    return Reject(reason, crashes, f"{error} (seed {seed}, attempt {attempt})", refused)
                continue  # the same proposal in a fresh process
            if not isinstance(outcome, str):
                return Row(outcome, refused)
            refused[outcome] += 1
            attempt += 1
        tried = ", ".join(f"{reason} {count}" for reason, count in sorted(refused.items()))
        return Reject("no_valid_scene", attempt, f"{attempt} proposals refused: {tried}", refused)

    def _attempt(self, studio: Studio, split: str, kind: EditKind, seed: int, attempt: int) -> Columns | str:
        """One proposal: the pair's columns, or why it was refused."""
        candidates = studio.table.candidates(split, seed, scene_number(attempt))
        spec = propose(candidates, kind, self.scene, self.render.resolution, seed, attempt)
        if isinstance(spec, Refusal):
            return spec.reason
        names = name_objects(spec)
        if isinstance(names, str):
            return names
        renderer = studio.renderer
        renderer.open(spec, {placed.id: studio.files.path(placed.asset) for placed in spec.objects})
        source_seen, target_seen = renderer.visibility([spec.source, spec.target])
        if reason := judge(spec, source_seen, target_seen):
            return reason
        views = renderer.render_pair()
        return pair_columns(spec, names, self.dataset, views, (source_seen, target_seen), renderer)
