"""The forecast of visibility in furnished scenes, compared with rays that Blender casts at the models."""

from collections import defaultdict

import numpy as np
import pytest

from spatialdata_builder.sources.blender.render import Renderer
from spatialdata_builder.sources.edits.proposals import generator
from spatialdata_builder.sources.procedural import write_glb
from spatialdata_builder.sources.scenes.kinds import compose_scene
from spatialdata_builder.sources.scenes.layout import Scene
from spatialdata_builder.sources.scenes.needs import SceneNeeds
from spatialdata_builder.sources.scenes.spec import EditSpec, RenderOptions, SceneOptions, SceneSpec, State
from tests.sources.furniture import furniture

pytestmark = [pytest.mark.blender, pytest.mark.slow]
SIZE = (96, 96)


def still(scene: Scene) -> SceneSpec:
    """A specification whose target is its source."""
    state = State(scene.placements, scene.camera)
    edit = EditSpec("camera", 0)
    return SceneSpec(
        *SIZE, scene.objects, scene.floor, scene.walls, scene.light, state, state, edit, scene.seed, room=scene.room
    )


def test_visibility_on_shelves_in_containers_and_under_tables(tmp_path):
    """Rays never see much less than was forecast: a prism hides more than its object, and covers more."""
    gaps: dict[str, list[float]] = defaultdict(list)
    with Renderer(RenderOptions(resolution=SIZE, samples=1, device="cpu"), threads=1) as renderer:
        for kind in ("room", "tabletop"):
            for seed in range(40):
                scene = compose_scene(
                    generator(seed, 0, 0), [], furniture(), SceneNeeds(), SceneOptions(kinds={kind: 1}), SIZE
                )
                places = {} if isinstance(scene, str) else scene.placements
                kinds = {place.standing.kind for place in places.values() if place.standing}
                if isinstance(scene, str) or kinds <= {"top"}:
                    continue
                renderer.open(still(scene), {one.id: write_glb(one.asset.uid, tmp_path) for one in scene.objects})
                (seen,) = renderer.visibility([still(scene).source])
                for identity, place in scene.placements.items():
                    what = place.standing.kind if place.standing else "floor"
                    gaps[what].append(seen[identity].visible - scene.outlook[identity].visible)
    print({what: (len(gap), np.round(np.quantile(gap, (0.05, 0.5, 0.95)), 2).tolist()) for what, gap in gaps.items()})
    for what in ("shelf", "inside", "under"):
        assert len(gaps[what]) >= 3
        assert np.mean(np.array(gaps[what]) > -0.25) >= 0.9, (what, gaps[what])
        assert abs(np.median(gaps[what])) <= 0.2, (what, gaps[what])
    every = np.concatenate(list(gaps.values()))
    assert np.mean(every > -0.25) >= 0.95
