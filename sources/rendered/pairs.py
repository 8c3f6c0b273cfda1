"""The stage that renders pairs: propose, check visibility, render, measure, collect facts.

A sample is a pure function of its seed, the asset table and the options. Proposals are tried in order until one is
valid; rejected proposals are counted by reason. A broken asset is reported, its scene is skipped, and it is not drawn
again for the sample.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import groupby
from typing import ClassVar, Final

from ...shards.sample import Reject, Result, Row, Sample
from ...shards.stage import Stage
from ..assets.table import AssetTable
from ..blender.render import AssetError, Renderer, RenderTimeout, SceneError
from ..derived import is_derived, origin_rejected, origins_of
from ..edits.composition import composed
from ..edits.groups import Proposal, propose_group, without
from ..edits.judge import judge
from ..edits.limits import Limits
from ..edits.orbit import propose_orbit
from ..edits.proposals import TEXTURES, Rejection, generator, propose, scene_number
from ..materials.choice import textured
from ..materials.table import Materials
from ..registry import get_scene_source
from ..scenes.grid import OrbitOptions
from ..scenes.kinds import Furniture, needs_supports
from ..scenes.naming import name_objects
from ..scenes.physics import need_mujoco
from ..scenes.sites import MeshOf
from ..scenes.spec import BUILTIN, RenderOptions, SceneOptions, SceneSpec, State
from ..scenes.template import Templates, planned_templates
from ..source import ModelFiles
from .derived import RenderedPair, between, invert
from .facts import Seen, pair_columns
from .files import located, mesh_of_asset
from .lit_colors import truly_named

BROKEN = "broken_asset: "
"""Prefix of counts that name an asset and why Blender cannot render it."""
_NAMED = 10
"""Most broken assets that a reject names."""
_MESHES = 64
"""Meshes that a worker keeps for physics."""
CRASHES = 2
"""Number of Blender crashes after which a sample is rejected."""


@dataclass(frozen=True)
class PairRenderer:
    """The state of a worker: a Blender process, the asset table, and a function that finds model files."""

    renderer: Renderer
    table: AssetTable
    files: ModelFiles
    materials: Materials
    templates: Templates
    mesh_of: MeshOf | None = None
    """Meshes for physics; None: scenes do without."""


@dataclass(frozen=True)
class RenderPairs(Stage):
    """Renders pairs of scenes that are sampled from a seed, and derives the planned derived samples from them."""

    layer: ClassVar[str] = "pair"
    needs: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[int] = 6
    own_pool: ClassVar[bool] = True
    families: ClassVar[bool] = True
    spills: ClassVar[bool] = True
    faults: ClassVar[frozenset[str]] = frozenset({"blender_crash", "blender_timeout", "broken_asset"})
    """Faults of the machine: if all first samples are rejected for these, the run ends."""

    source: str
    """Kind of a `SceneSource`."""
    dataset: str
    assets: str = field(metadata={"fingerprint": False})
    """URL of the plan's asset table."""
    assets_sha256: str
    scene: SceneOptions
    render: RenderOptions
    place: str = field(default="", metadata={"fingerprint": False})
    """See `SceneSource.place`."""
    materials: str = field(default="", metadata={"fingerprint": False})
    """URL of the plan's table of materials; empty: it has none. Their content is part of the plan."""
    orbit: OrbitOptions | None = field(default=None, metadata={"fingerprint": False})
    """The grid of views of each scene, in place of other edits. It is part of the plan."""
    threads: int = field(default=0, metadata={"fingerprint": False})
    """Threads of Blender; 0: `cpus`, rounded up, so that workers on one machine do not compete for cores."""
    batch_size: int = field(default=1, metadata={"fingerprint": False})
    cpus: float = field(default=1.0, metadata={"fingerprint": False})
    gpus: float = field(default=0.0, metadata={"fingerprint": False})

    @property
    def supports(self) -> bool:
        return needs_supports(self.scene)

    @property
    def physics(self) -> bool:
        """Whether some things lean, lie or are in a heap."""
        return self.supports and self.scene.physics == "on"

    @property
    def packages(self) -> tuple[str, ...]:
        return ("mujoco",) if self.physics else ()

    def setup(self) -> PairRenderer:
        """Read the asset table and prepare Blender, which starts with the first scene.

        Raises BadInput on a node that does not have the models, or lacks MuJoCo although the plan uses it: it would
        reject all its samples, or make others.
        """
        files = get_scene_source(self.source).models(self.place)
        if self.physics:
            need_mujoco()
        renderer = Renderer(self.render, threads=self.threads or math.ceil(self.cpus))
        materials = Materials.read(self.materials) if self.materials else Materials()
        mesh_of = lru_cache(_MESHES)(partial(mesh_of_asset, files)) if self.physics else None
        templates = planned_templates(self.scene.templates if self.supports else (BUILTIN,), self.assets)
        return PairRenderer(renderer, AssetTable.read(self.assets), files, materials, templates, mesh_of)

    def cpu_seconds(self, model: PairRenderer) -> float:
        return model.renderer.cpu_s

    def __call__(self, model: PairRenderer, samples: Sequence[Sample]) -> Sequence[Result]:
        results: list[Result] = []
        for _, members in groupby(samples, lambda sample: sample.spec.get("family", sample.key)):
            results += self._family(model, list(members))
        return results

    def _family(self, model: PairRenderer, samples: Sequence[Sample]) -> list[Result]:
        """Samples of one scene, rendered ones before the samples derived from them."""
        rendered: list[RenderedPair | Reject] | Reject | None = None
        results: dict[str, RenderedPair | Result] = {}
        for sample in samples:
            if is_derived(sample):
                results[sample.key] = self._derive(model, sample, results)
                continue
            rendered = self._make(model, sample) if rendered is None else rendered
            results[sample.key] = rendered if isinstance(rendered, Reject) else rendered[sample.spec.get("turn", 0)]
            # Rejected proposals are counted once per scene.
            rendered = replace(rendered, counts={}) if isinstance(rendered, Reject) else rendered
        return [found.row if isinstance(found, RenderedPair) else found for found in results.values()]

    def _derive(
        self, model: PairRenderer, sample: Sample, results: Mapping[str, RenderedPair | Result]
    ) -> RenderedPair | Result:
        origins: list[RenderedPair] = []
        for key in origins_of(sample.spec):
            origin = results.get(key)
            if not isinstance(origin, RenderedPair):
                return origin_rejected(key, origin)
            origins.append(origin)
        limits = Limits(min_visible=self.scene.min_visible)
        if len(origins) == 1:
            return invert(origins[0], limits)
        return between(origins[0], origins[1], self.dataset, self.supports, model.renderer.points, limits)

    def _make(self, model: PairRenderer, sample: Sample) -> list[RenderedPair | Reject] | Reject:
        """The pair of a sample's scene or, if it shares the scene with other samples, the pairs of all.

        Of the proposals for a scene with more than two edits, the one of which most are possible is used.
        """
        seed = int(sample.spec["seed"])
        rejected: Counter[str] = Counter()
        broken: dict[str, str] = {}
        loaded: int | None = None
        ever_loaded = False
        attempt = crashes = 0
        best: _Judged | None = None
        while attempt < self.scene.max_proposals:
            scene = self._scene_number(attempt)
            last = self._scene_number(attempt + 1) != scene or attempt + 1 == self.scene.max_proposals
            try:
                proposed = self.proposals(model, sample, seed, attempt, broken)
                if isinstance(proposed, str):
                    fault = proposed
                else:
                    if scene != loaded:
                        spec = model.materials.located(proposed.whole)
                        files = {placed.id: located(model.files, placed.asset) for placed in spec.objects}
                        model.renderer.open(spec, files, states=1 + len(proposed.specs))
                        loaded, ever_loaded, best = scene, True, None
                    judged = self._judged(model.renderer, proposed)
                    if best is None or len(_valid(judged.specs)) > len(_valid(best.specs)):
                        best = judged
                    fault = _reason(judged.specs)
                if best and loaded == scene:
                    least = _enough(best.specs) if last else len(best.specs)
                    if len(_valid(best.specs)) >= least:
                        pairs = self._render(model.renderer, best)
                        if isinstance(pairs, list):
                            return _counted(pairs, rejected)
                        fault, best = pairs, None
                rejected[fault] += 1
                attempt += 1
            except AssetError as error:
                # A retry would fail as well: skip all edits of this scene, and do not draw the asset again.
                rejected[error.reason] += 1
                rejected[f"{BROKEN}{error}"[:300]] += 1
                broken[error.uid] = str(error)
                loaded = None
                while self._scene_number(attempt) == scene:
                    attempt += 1
            except SceneError as error:
                reason = "blender_timeout" if isinstance(error, RenderTimeout) else "blender_crash"
                rejected[reason] += 1
                loaded = None  # the same proposal again, in a fresh process
                crashes += 1
                if crashes >= CRASHES:
                    return Reject(reason, crashes, f"{error} (seed {seed}, attempt {attempt})", rejected)
        counts = (f"{reason} {count}" for reason, count in sorted(rejected.items()) if not reason.startswith(BROKEN))
        tried = f"{attempt} proposals rejected: {', '.join(counts)}"
        named = "; ".join(sorted(broken.values())[:_NAMED])
        reason = "no_valid_scene" if ever_loaded or not rejected["broken_asset"] else "broken_asset"
        return Reject(
            reason, attempt, f"{tried}; {len(broken)} assets cannot be shown: {named}" if broken else tried, rejected
        )

    def _scene_number(self, attempt: int) -> int:
        """The number of the scene of an attempt: a grid leaves nothing to try twice in one scene."""
        return attempt if self.orbit else scene_number(attempt)

    def proposals(
        self, model: PairRenderer, sample: Sample, seed: int, attempt: int, broken: Collection[str]
    ) -> "Proposed | str":
        """One proposal whose edited objects have names, or why there is none. Assets with the uids `broken` are not
        drawn."""
        scene = self._scene_number(attempt)
        drawn = model.table.candidates(sample.split, seed, scene)
        candidates = [asset for asset in drawn if asset.uid not in broken]
        furniture = None
        if needs_supports(self.scene):
            pieces = model.table.of_categories(sample.split, seed, scene, model.templates.categories)
            usable = [asset for asset in pieces if asset.uid not in broken]
            interiors = model.materials.interiors
            furniture = Furniture(usable, model.table.supports_of, model.mesh_of, model.templates, interiors)
        settings = (self.scene, self.render.resolution, seed, attempt, furniture)
        if self.orbit:
            proposal = propose_orbit(candidates, self.orbit, self.scene, self.render.resolution, seed, attempt)
        elif kinds := sample.spec.get("edits"):
            proposal = propose_group(candidates, kinds, *settings)
        else:
            spec = propose(candidates, sample.spec["edit"], *settings)
            proposal = spec if isinstance(spec, Rejection) else Proposal((spec,))
        if isinstance(proposal, Rejection):
            return proposal.reason
        whole: list[SceneSpec] = []
        specs: list[SceneSpec | str] = []
        for spec in proposal.specs:
            if isinstance(spec, SceneSpec):
                if sets := model.materials.sets:
                    spec = textured(spec, sets, self.scene.textured, generator(seed, scene, TEXTURES))
                whole.append(spec)
                spec = without(spec, proposal.inserted)
            if isinstance(spec, SceneSpec):
                names = name_objects(spec)
                spec = names if isinstance(names, str) else replace(spec, names=names)
            specs.append(spec)
        return Proposed(tuple(specs), whole[0]) if len(_valid(specs)) >= _enough(specs) else _reason(specs)

    def _judged(self, renderer: Renderer, proposed: "Proposed") -> "_Judged":
        """The proposal without the edits that are not visible enough; in place of each of them the reason."""
        valid = _valid(proposed.specs)
        states = [proposed.completed(state) for state in (valid[0].source, *(spec.target for spec in valid))]
        first, *others = renderer.visibility(states)
        seen = {turn: (first, other) for turn, other in zip(_possible(proposed.specs), others, strict=True)}
        limits = Limits(min_visible=self.scene.min_visible)
        found = [
            spec if isinstance(spec, str) else (judge(spec, *seen[turn], limits) or spec)
            for turn, spec in enumerate(proposed.specs)
        ]
        if len(found) == _BOTH == len(_valid(found)):
            reason = judge(composed(valid[0], valid[1]), others[0], others[1], limits)
            found = [reason or spec for spec in found]
        return _Judged(tuple(found), proposed.whole, seen)

    def _render(self, renderer: Renderer, judged: "_Judged") -> list[RenderedPair | Reject] | str:
        """Render the pairs, whose source is rendered once, or return why the proposal is rejected.

        Color words that the images contradict are removed from the names.
        """
        turns, valid = _possible(judged.specs), _valid(judged.specs)
        partial = self.render.partial == "on"
        source = renderer.render(judged.completed(valid[0].source))
        targets = [renderer.render(judged.completed(spec.target), spec.moved if partial else ()) for spec in valid]
        specs = dict(enumerate(judged.specs)) | dict(zip(turns, truly_named(valid, (source, *targets)), strict=True))
        if len(_valid([*specs.values()])) < _enough(specs):
            return _reason([specs[turn] for turn in turns])
        views = dict(zip(turns, targets, strict=True))
        pairs: list[RenderedPair | Reject] = []
        for turn, spec in specs.items():
            if isinstance(spec, str):
                pairs.append(Reject(spec, detail=f"edit {turn + 1} of the {len(specs)} of its scene"))
                continue
            seen, target = judged.seen[turn], views[turn]
            columns, changed = pair_columns(spec, self.dataset, self.supports, (source, target), seen, renderer)
            pairs.append(RenderedPair(spec, seen, Row(columns), target, changed))
        return pairs


@dataclass(frozen=True)
class Proposed:
    """Edits of one scene."""

    specs: tuple[SceneSpec | str, ...]
    """For each edit the scene as its images show it; in place of an edit that is not possible, the reason."""
    whole: SceneSpec
    """The scene with all its objects, also those that are in no image of some edits."""

    def completed(self, state: State) -> State:
        """A state of an edit, in which the objects that other edits insert are absent."""
        places = self.whole.source.placements
        absent = {id: replace(place, present=False) for id, place in places.items() if id not in state.placements}
        return replace(state, placements=state.placements | absent) if absent else state


@dataclass(frozen=True)
class _Judged(Proposed):
    """A proposal after its states were compared in Blender."""

    seen: Mapping[int, Seen]
    """Visibility in source and target, by the number of the edit."""


_BOTH: Final = 2
"""Up to so many edits of a scene are all possible, or their proposal is rejected."""


def _valid(specs: Sequence[SceneSpec | str]) -> list[SceneSpec]:
    return [spec for spec in specs if isinstance(spec, SceneSpec)]


def _possible(specs: Sequence[SceneSpec | str]) -> list[int]:
    return [turn for turn, spec in enumerate(specs) if isinstance(spec, SceneSpec)]


def _reason(specs: Sequence[SceneSpec | str]) -> str:
    """Why the first impossible edit of a proposal is not possible; empty if all are."""
    return next((spec for spec in specs if isinstance(spec, str)), "")


def _enough(edits: Collection[object]) -> int:
    """Least number of the edits of a scene that are possible in the best of its proposals."""
    return len(edits) if len(edits) <= _BOTH else -(-len(edits) // 2)


def _counted(pairs: Sequence[RenderedPair | Reject], rejected: Mapping[str, int]) -> list[RenderedPair | Reject]:
    """The pairs, the first of which states how often proposals were rejected, by reason."""
    first = next(index for index, pair in enumerate(pairs) if isinstance(pair, RenderedPair))
    return [
        replace(pair, row=replace(pair.row, counts=rejected))
        if index == first and isinstance(pair, RenderedPair)
        else pair
        for index, pair in enumerate(pairs)
    ]
