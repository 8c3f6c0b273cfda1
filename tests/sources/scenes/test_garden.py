"""Sampled gardens are reproducible; on pads, the ground is flat and the grass short, and no path crosses them."""

import dataclasses
import json

import numpy as np
import pytest

from spatialdata_builder.shards.geometry import intrinsics_of_lens, look_at, to_json_list
from spatialdata_builder.sources.blender.ground import Ground, garden_parts
from spatialdata_builder.sources.blender.shell import FLOOR_OFFSET_M
from spatialdata_builder.sources.scenes.garden import Garden, sample_garden, sample_sky
from spatialdata_builder.sources.scenes.spec import CameraPose, to_json
from tests.sources.small_scenes import scene

PADS = ((0.0, 0.0, 0.6), (1.1, 0.7, 0.3), (-1.5, 0.4, 0.2))
CAMERA = CameraPose(
    tuple(to_json_list(intrinsics_of_lens(35.0, 64, 48))),
    tuple(to_json_list(look_at((0.4, -3.2, 1.5), (0.0, 0.2, 0.3)))),
)


def sampled(seed: int) -> Garden:
    return sample_garden(np.random.default_rng(seed), PADS, [CAMERA])


GARDENS = [sampled(seed) for seed in range(12)]


def test_same_seed_same_garden_of_plain_values():
    assert [sampled(seed) for seed in range(12)] == GARDENS
    assert len(set(GARDENS)) == 12
    spec = dataclasses.replace(scene(walls=()), garden=GARDENS[0], floor=GARDENS[0].ground)
    assert json.loads(json.dumps(to_json(spec)))["garden"] == json.loads(json.dumps(dataclasses.asdict(GARDENS[0])))


@pytest.mark.parametrize("garden", GARDENS[:6])
def test_the_ground_is_flat_on_pads_and_uneven_elsewhere(garden: Garden):
    ground = Ground(dataclasses.asdict(garden))
    rng = np.random.default_rng(1)
    for x, y, radius in PADS:
        inside = rng.uniform(-1, 1, (200, 2))
        inside = inside[np.hypot(*inside.T) < 1] * radius + (x, y)
        assert np.allclose(ground.height(inside), -FLOOR_OFFSET_M, atol=1e-9)
    assert ground.height(rng.uniform(-6, 6, (500, 2))).std() > 0.1 * garden.relief


@pytest.mark.slow
def test_grass_is_short_on_pads_and_no_path_crosses_them():
    for garden in GARDENS:
        parts = {part.name: part for part in garden_parts(dataclasses.asdict(garden))}
        grass = parts["grass"].vertices.reshape(-1, 5, 3)
        assert len(grass) > 5000
        for x, y, radius in PADS:
            on_pad = grass[np.hypot(grass[:, 4, 0] - x, grass[:, 4, 1] - y) < radius - 0.05]
            assert len(on_pad) and on_pad[:, :, 2].max() < 0.008
            if garden.path:
                line = np.array(garden.path.points)
                assert np.hypot(*(line - (x, y)).T).min() > radius + garden.path.width / 2
    assert {garden.border.kind for garden in GARDENS if garden.border} == {"fence", "hedge"}


def test_the_sky_is_drawn_from_what_is_allowed():
    def drawn(*hdris: str) -> set[str]:
        return {sample_sky(np.random.default_rng(seed), hdris).hdri for seed in range(60)}

    assert drawn("forest", "studio", "interior") == {"forest"}
    assert drawn("forest", "studio", "ab12.exr") == {"forest", "ab12.exr"}
    assert drawn("studio", "interior") == {"studio", "interior"}
