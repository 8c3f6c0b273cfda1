"""Maps of furnished scenes against an independent ray caster on the triangles of their models."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh

from spatialdata_builder.shards.geometry import transform
from spatialdata_builder.sources.blender.render import Renderer
from spatialdata_builder.sources.changed_region import find_changed
from spatialdata_builder.sources.edits.proposals import propose
from spatialdata_builder.sources.procedural import write_glb
from spatialdata_builder.sources.scenes.footprints import pose_of
from spatialdata_builder.sources.scenes.spec import Placement, RenderOptions, SceneKind, SceneOptions, SceneSpec
from spatialdata_builder.sources.scenes.standing import carrying
from tests.needs import needs
from tests.sources.blender.test_render import cast
from tests.sources.furniture import furniture, mesh_of, with_physics

pytestmark = pytest.mark.slow
SIDE = 144
LEAST_PX = 60
"""Objects with fewer pixels are not compared: at this size they are mostly edges."""


@pytest.fixture(scope="module")
@needs("blender")
def renderer():
    with Renderer(RenderOptions(resolution=(SIDE, SIDE), samples=2, device="cpu"), threads=2) as shared:
        yield shared


def kinds_of(spec: SceneSpec) -> set[str]:
    return {place.standing.kind for place in spec.source.placements.values() if place.standing}


def is_stacked(spec: SceneSpec) -> bool:
    """Whether something stands on a thing that stands on another."""
    places = spec.source.placements
    return any(places[id].standing for id in carrying(places))


def is_settled(spec: SceneSpec) -> bool:
    return any(place.settled for place in spec.source.placements.values())


CASES: dict[str, tuple[SceneKind, Callable[[SceneSpec], bool]]] = {
    "shelf": ("room", lambda spec: "shelf" in kinds_of(spec)),
    "container": ("tabletop", lambda spec: "inside" in kinds_of(spec)),
    "stack": ("tabletop", is_stacked),
    "settled": ("room", is_settled),
    "garden": ("garden", lambda spec: "top" in kinds_of(spec)),
}


def found(case: str) -> SceneSpec:
    """The first scene that fits a case."""
    if case == "settled":
        pytest.importorskip("mujoco", reason="MuJoCo (extra `physics`) is not installed")
    kind, fits = CASES[case]
    made = with_physics() if case == "settled" else furniture()
    for seed in range(60):
        spec = propose([], "translate", SceneOptions(kinds={kind: 1}), (SIDE, SIDE), seed, 0, made)
        if isinstance(spec, SceneSpec) and fits(spec):
            return spec
    raise AssertionError(f"no scene with {case}")


def placed_mesh(spec: SceneSpec, identity: int, place: Placement) -> trimesh.Trimesh:
    mesh = mesh_of(spec.asset(identity))
    return trimesh.Trimesh(transform(pose_of(place), mesh.vertices), mesh.faces, process=False)


@pytest.mark.parametrize("case", list(CASES))
def test_maps_of_furnished_scenes_are_exact(renderer: Renderer, tmp_path: Path, case: str):
    spec = found(case)
    renderer.open(spec, {placed.id: write_glb(placed.asset.uid, tmp_path) for placed in spec.objects})
    views = [renderer.render(state) for state in (spec.source, spec.target)]
    for view, state in zip(views, (spec.source, spec.target), strict=True):
        truth = cast(spec, state, placed_mesh)
        inner = truth.inner & (truth.depth > 0)
        assert inner.mean() > 0.2
        assert np.median(np.abs(view.depth - truth.depth)[inner]) < 1e-3
        cosine = (view.normal * truth.normal).sum(-1)[inner]
        assert np.median(np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))) < 1
        compared = 0
        for placed in spec.objects:
            ours, theirs = view.instances == placed.id, truth.instances == placed.id
            if theirs.sum() >= LEAST_PX:
                assert (ours & theirs).sum() / (ours | theirs).sum() > 0.98, placed.asset.category
                compared += 1
        assert compared >= 2
        assert (view.instances == truth.instances).mean() > 0.99
    changed = find_changed(*views, spec.moved)
    assert np.array_equal(changed.target_rgb[~changed.mask], views[0].rgb[~changed.mask])
    assert 0 < changed.fraction < 0.8
