"""Thin objects: which lie and which stand, and that they lie in Blender as in the survey."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from pydantic import TypeAdapter

from spatialdata_builder.shards.sample import Reject, Row
from spatialdata_builder.sources.assets.asset import Asset
from spatialdata_builder.sources.assets.surface_samples import z_up
from spatialdata_builder.sources.assets.thin import posture
from spatialdata_builder.sources.blender.render import Renderer
from spatialdata_builder.sources.edits.proposals import propose
from spatialdata_builder.sources.rendered.facts import silhouette
from spatialdata_builder.sources.scenes.spec import RenderOptions, SceneOptions, SceneSpec
from tests.sources.conftest import Measure
from tests.sources.models import RED, box, checkered, glb
from tests.sources.survey.test_geometry import asset, reason, survey


def leaning_l(sides: tuple[float, float, float]) -> bytes:
    """A board with a bar at one end, which looks different after every quarter turn."""
    board = box(*sides)
    bar = box(*(0.2 * side if side == max(sides) else 1.5 * side for side in sides))
    bar.apply_translation([0.4 * side if side == max(sides) else 0.5 * side for side in sides])
    return glb(trimesh.util.concatenate([board, bar]))


def surveyed(folder: Path, name: str, sides: tuple[float, float, float]) -> Asset:
    found = asset(survey(folder, leaning_l(sides), category="picture frame"))
    (folder / "model.glb").rename(folder / f"{name}.glb")
    return replace(found, uid=name, path=f"{name}.glb")


@pytest.mark.blender
def test_objects_lie_in_blender_as_in_the_survey(tmp_path: Path):
    assets = [surveyed(tmp_path, "front", (0.4, 0.3, 0.02)), surveyed(tmp_path, "side", (0.02, 0.3, 0.4))]
    assert all(one.size_m[2] == min(one.size_m) and one.axes != Asset.axes for one in assets)
    options = SceneOptions(objects=(2, 2), walls=0)
    found = (propose(assets, "remove", options, (128, 128), 0, attempt) for attempt in range(0, 200, 5))
    spec = next(spec for spec in found if isinstance(spec, SceneSpec))
    with Renderer(RenderOptions(resolution=(128, 128), samples=2, device="cpu"), threads=2) as renderer:
        files = {placed.id: tmp_path / placed.asset.path for placed in spec.objects}
        renderer.open(spec, files)  # raises an error if the box of a file is not that of the survey
        view = renderer.render(spec.source)
        for placed in spec.objects:
            mask = view.instances == placed.id
            predicted = silhouette(renderer.points[placed.id], placed.id, spec.source, view.instances)
            assert mask.sum() > 200
            assert (mask & predicted).sum() / (mask | predicted).sum() > 0.85
    # The height of an object that lies is less than a tenth of its width.
    assert all(np.array(placed.asset.size_m)[2] < 0.1 * max(placed.asset.size_m) for placed in spec.objects)


@pytest.mark.parametrize(
    ("category", "expected"),
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
def test_postures(category: str, expected: str):
    assert posture(category) == expected


@pytest.mark.parametrize(
    ("category", "sides", "size"),
    [  # width, height and depth in the file; width, depth and height in the scene
        ("knife", (0.21, 0.012, 0.02), (0.21, 0.02, 0.012)),  # lies in the file already
        ("knife", (0.21, 0.02, 0.008), (0.21, 0.02, 0.008)),  # stands on its edge in the file
        ("steak knife", (0.02, 0.21, 0.008), (0.02, 0.21, 0.008)),  # stands on its tip
        ("pen", (0.01, 0.14, 0.01), (0.01, 0.14, 0.01)),
        ("picture frame", (0.6, 0.45, 0.02), (0.6, 0.45, 0.02)),
        ("picture frame", (0.02, 0.45, 0.6), (0.45, 0.6, 0.02)),
        ("plate", (0.25, 0.25, 0.03), (0.25, 0.25, 0.03)),
        ("rug", (2.0, 0.008, 1.4), (2.0, 1.4, 0.008)),
        ("door", (0.9, 2.0, 0.04), (0.9, 0.04, 2.0)),  # stands
        ("ladder", (0.6, 1.8, 0.9), (0.6, 0.9, 1.8)),  # a step ladder
        ("ladder", (0.4, 2.4, 0.06), (0.4, 2.4, 0.06)),
    ],
)
def test_thin_objects_lie_or_stand(tmp_path: Path, category: str, sides: tuple[float, ...], size: tuple[float, ...]):
    found = asset(survey(tmp_path, glb(box(*sides)), category=category, size_m=list(sides)))
    assert found.size_m in (pytest.approx(size, abs=1e-5), pytest.approx((size[1], size[0], size[2]), abs=1e-5))
    axes = np.reshape(found.axes, (3, 3))
    assert np.linalg.det(axes) == pytest.approx(1) and np.allclose(axes @ axes.T, np.eye(3))
    turned = z_up(box(*sides).vertices) @ axes.T * found.scale + found.offset
    assert np.ptp(turned, axis=0) == pytest.approx(found.size_m, abs=1e-5)


def test_a_picture_lies_face_up(tmp_path: Path, measured: Measure):
    """The side with the picture is the upper one, or without a picture the front of glTF (+z)."""
    sides = (0.6, 0.45, 0.02)
    plain = asset(survey(tmp_path, glb(box(*sides)), category="picture frame", size_m=list(sides)))
    assert np.reshape(plain.axes, (3, 3)) @ z_up(np.array([[0.0, 0, 1]]))[0] == pytest.approx((0, 0, 1))
    for side in (1, -1):
        frame, picture = box(*sides), trimesh.creation.box(extents=(0.5, 0.4, 0.001))
        picture.apply_translation((0, 0, side * 0.0105))
        picture.visual = trimesh.visual.TextureVisuals(uv=picture.vertices[:, :2] / 0.5, material=checkered())
        scene = trimesh.Scene([frame, picture])
        frame.visual = trimesh.visual.TextureVisuals(uv=np.zeros((8, 2)), material=RED)
        data = bytes(scene.export(file_type="glb"))
        found = measured(data, category="picture frame", size_m=list(sides))
        assert isinstance(found, Row), found
        found = TypeAdapter(Asset).validate_json(str(found.columns["asset"]))
        assert np.reshape(found.axes, (3, 3)) @ z_up(np.array([[0.0, 0, side]]))[0] == pytest.approx((0, 0, 1))


def test_a_sheet_of_paper_is_too_thin(tmp_path: Path):
    sheet = (0.21, 0.0005, 0.297)
    found = survey(tmp_path, glb(box(*sheet)), category="sheet of paper", size_m=list(sheet))
    assert reason(found) == "too_thin" and isinstance(found, Reject) and found.score == pytest.approx(0.0005)
