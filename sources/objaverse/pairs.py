"""The stage that makes a pair: propose, look, render, measure, and say what is known.

A sample is a pure function of its seed, the asset table and the options: proposals are tried in order until one is
valid, each refusal is counted by reason, and a broken asset skips the scene that holds it.
"""

import math
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

from shards.errors import BadInput
from shards.sample import Columns, Reject, Result, Row, Sample
from shards.schema import EditKind, PairFacts
from sources.derived import inverted_columns, is_derived, origin_rejected, origins_of
from sources.objaverse.assets import AssetFiles, AssetTable
from sources.objaverse.edits import Limits, judge
from sources.objaverse.facts import pair_columns
from sources.objaverse.inverse import inverted, inverted_facts
from sources.objaverse.naming import name_objects
from sources.objaverse.render import AssetError, ObjectVisibility, Renderer, RenderTimeout, SceneError
from sources.objaverse.scene import Refusal, propose, scene_number
from sources.objaverse.spec import RenderOptions, SceneOptions, SceneSpec

Seen = tuple[dict[int, ObjectVisibility], dict[int, ObjectVisibility]]
"""Visibility of each object in source and target."""
CRASHES = 2
"""Times that Blender may die on one sample before the sample is rejected."""


@dataclass(frozen=True)
class Studio:
    """What a worker holds: a Blender process, the asset table, and where the model files are."""

    renderer: Renderer
    table: AssetTable
    files: AssetFiles


@dataclass(frozen=True)
class Made:
    """A pair that was rendered, and what others are derived from."""

    spec: SceneSpec
    seen: Seen
    row: Row


@dataclass(frozen=True)
class RenderPairs:
    """Renders pairs of scenes that are sampled from a seed; planned inverses are those pairs read backwards."""

    layer: ClassVar[str] = "pair"
    needs: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[int] = 2
    own_pool: ClassVar[bool] = True
    families: ClassVar[bool] = True
    faults: ClassVar[frozenset[str]] = frozenset({"blender_crash", "blender_timeout", "broken_asset"})
    """Of the machine: where nothing else comes, the run ends instead of rejecting every sample."""

    source: Literal["procedural", "objaverse"]
    dataset: str
    assets: str = field(metadata={"fingerprint": False})
    """URL of the plan's asset table."""
    assets_sha256: str
    scene: SceneOptions
    render: RenderOptions
    root: str = field(default="", metadata={"fingerprint": False})
    threads: int = field(default=0, metadata={"fingerprint": False})
    """Threads of Blender; 0: as many as `cpus`, rounded up, so that workers side by side do not fight for cores."""
    batch_size: int = field(default=1, metadata={"fingerprint": False})
    cpus: float = field(default=1.0, metadata={"fingerprint": False})
    gpus: float = field(default=0.0, metadata={"fingerprint": False})

    def setup(self) -> Studio:
        """Read the asset table and prepare Blender, which starts with the first scene.

        Raises BadInput on a node that does not have the models: it would reject each sample that it is given.
        """
        if self.source == "objaverse" and not Path(self.root).is_dir():
            raise BadInput(
                f"source.root: {self.root} is no folder on node {socket.gethostname()}: mount it there, at the same "
                "place on all nodes, or leave that node out of the cluster"
            )
        renderer = Renderer(self.render, threads=self.threads or math.ceil(self.cpus))
        return Studio(renderer, AssetTable.read(self.assets), AssetFiles(self.source, self.root))

    def __call__(self, model: Studio, samples: Sequence[Sample]) -> Sequence[Result]:
        results: list[Result] = []
        made: dict[str, Made | Reject] = {}
        for sample in samples:
            if is_derived(sample):
                results.append(self._invert(sample, made))
                continue
            made = {sample.key: self._make(model, sample)}
            found = made[sample.key]
            results.append(found if isinstance(found, Reject) else found.row)
        return results

    def _invert(self, sample: Sample, made: Mapping[str, "Made | Reject"]) -> Result:
        """The pair of its origin, read backwards."""
        (key,) = origins_of(sample.spec)
        origin = made.get(key)
        if not isinstance(origin, Made):
            return origin_rejected(key, origin)
        back = inverted(origin.spec)
        if isinstance(back, str):
            return Reject(back, detail=f"{back} of the inverse of {key}")
        if reason := judge(back, origin.seen[1], origin.seen[0], Limits(min_visible=self.scene.min_visible)):
            return Reject(reason, detail=f"in the image that is the source of the inverse of {key}")
        facts = PairFacts.model_validate_json(str(origin.row.columns["facts"]))
        return Row(inverted_columns(origin.row.columns, inverted_facts(back, facts)))

    def _make(self, studio: Studio, sample: Sample) -> "Made | Reject":
        seed, kind = int(sample.spec["seed"]), sample.spec["edit"]
        refused: Counter[str] = Counter()
        loaded: int | None = None
        ever_loaded = False
        attempt = crashes = 0
        while attempt < self.scene.attempts:
            scene = scene_number(attempt)
            try:
                spec = self._propose(studio, sample.split, kind, seed, attempt)
                if not isinstance(spec, str):
                    if scene != loaded:
                        files = {placed.id: studio.files.path(placed.asset) for placed in spec.objects}
                        studio.renderer.open(spec, files)
                        loaded, ever_loaded = scene, True
                    outcome = self._render(studio.renderer, spec)
                    if not isinstance(outcome, str):
                        columns, seen = outcome
                        return Made(spec, seen, Row(columns, refused))
                    spec = outcome
                refused[spec] += 1
                attempt += 1
            except AssetError:
                # The file is what it is: none of this scene's edits can be rendered.
                refused["broken_asset"] += 1
                loaded = None
                while scene_number(attempt) == scene:
                    attempt += 1
            except SceneError as error:
                reason = "blender_timeout" if isinstance(error, RenderTimeout) else "blender_crash"
                refused[reason] += 1
                loaded = None  # the same proposal again, in a fresh process
                crashes += 1
                if crashes >= CRASHES:
                    return Reject(reason, crashes, f"{error} (seed {seed}, attempt {attempt})", refused)
        tried = ", ".join(f"{reason} {count}" for reason, count in sorted(refused.items()))
        reason = "no_valid_scene" if ever_loaded or not refused["broken_asset"] else "broken_asset"
        return Reject(reason, attempt, f"{attempt} proposals refused: {tried}", refused)

    def _propose(self, studio: Studio, split: str, kind: EditKind, seed: int, attempt: int) -> SceneSpec | str:
        """One proposal whose edited object has a name, or why there is none."""
        candidates = studio.table.candidates(split, seed, scene_number(attempt))
        spec = propose(candidates, kind, self.scene, self.render.resolution, seed, attempt)
        if isinstance(spec, Refusal):
            return spec.reason
        names = name_objects(spec)
        return names if isinstance(names, str) else replace(spec, names=names)

    def _render(self, renderer: Renderer, spec: SceneSpec) -> "tuple[Columns, Seen] | str":
        """The pair's columns and what is seen of it, or why that will not do."""
        seen = renderer.visibility([spec.source, spec.target])
        if reason := judge(spec, seen[0], seen[1], Limits(min_visible=self.scene.min_visible)):
            return reason
        views = (renderer.render(spec.source), renderer.render(spec.target))
        return pair_columns(spec, self.dataset, views, (seen[0], seen[1]), renderer), (seen[0], seen[1])
