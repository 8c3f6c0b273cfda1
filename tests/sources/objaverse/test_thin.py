"""A thing that is laid down lies in Blender as the survey says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from pydantic import TypeAdapter

from shards.sample import Row, Sample
from sources.objaverse.facts import silhouette
from sources.objaverse.render import Renderer
from sources.objaverse.scene import propose
from sources.objaverse.spec import Asset, RenderOptions, SceneOptions, SceneSpec
from sources.objaverse.survey import SurveyAssets
from sources.objaverse.thin import posture
from tests.sources.objaverse.models import box, glb


def leaning_l(sides: tuple[float, float, float]) -> bytes:
    """A board with a bar on one end: no quarter turn of it looks like another."""
    board = box(*sides)
    bar = box(*(0.2 * side if side == max(sides) else 1.5 * side for side in sides))
    bar.apply_translation([0.4 * side if side == max(sides) else 0.5 * side for side in sides])
    return glb(trimesh.util.concatenate([board, bar]))


def surveyed(folder: Path, name: str, sides: tuple[float, float, float]) -> Asset:
    (folder / f"{name}.glb").write_bytes(leaning_l(sides))
    spec = {
        "uid": name,
        "path": f"{name}.glb",
        "licence": "by",
        "creator": "c",
        "name": "",
        "category": "picture frame",
    }
    stage = SurveyAssets(root=str(folder))
    (row,) = stage(stage.setup(), [Sample(name, "train", spec)])
    assert isinstance(row, Row), row
    return TypeAdapter(Asset).validate_json(str(row.columns["asset"]))


def test_it_lies_in_blender_as_in_the_survey(tmp_path: Path):
    assets = [surveyed(tmp_path, "front", (0.4, 0.3, 0.02)), surveyed(tmp_path, "side", (0.02, 0.3, 0.4))]
    assets = [replace(asset, front_deg=None) for asset in assets]
    assert all(asset.size_m[2] == min(asset.size_m) and asset.axes != Asset.axes for asset in assets)
    options = SceneOptions(objects=(2, 2), walls=0)
    found = (propose(assets, "remove", options, (128, 128), 0, attempt) for attempt in range(0, 200, 5))
    spec = next(spec for spec in found if isinstance(spec, SceneSpec))
    with Renderer(RenderOptions(resolution=(128, 128), samples=2, device="cpu"), threads=2) as renderer:
        files = {placed.id: tmp_path / placed.asset.path for placed in spec.objects}
        renderer.open(spec, files)  # refuses a file whose box is not the survey's
        view = renderer.render(spec.source)
        for placed in spec.objects:
            mask = view.instances == placed.id
            predicted = silhouette(renderer.points[placed.id], placed.id, spec.source, view.instances)
            assert mask.sum() > 200
            assert (mask & predicted).sum() / (mask | predicted).sum() > 0.85
    # What lies is lower than a tenth of its width, above the floor.
    assert all(np.array(placed.asset.size_m)[2] < 0.1 * max(placed.asset.size_m) for placed in spec.objects)


@pytest.mark.parametrize(
    ("category", "how"),
    [
        ("pen", "lies"),
        ("steak knife", "lies"),
        ("computer keyboard", "lies"),
        ("street sign", "stands"),
        ("pen holder", ""),
        ("door frame", ""),
        ("chair", ""),
        ("", ""),
    ],
)
def test_postures(category: str, how: str):
    assert posture(category) == how
