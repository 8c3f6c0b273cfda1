"""Procedural assets: valid meshes, correct measurements, reproducible bytes."""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import trimesh

from spatialdata_builder.shards.colors import PALETTE
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.sample import Row, Sample
from spatialdata_builder.sources.assets.carriers import AssetSupports
from spatialdata_builder.sources.assets.mesh import read_mesh
from spatialdata_builder.sources.assets.supports import find_supports
from spatialdata_builder.sources.procedural import FURNISHINGS, KINDS, catalog, write_glb
from spatialdata_builder.sources.procedural.materials import Texture, named, paint
from spatialdata_builder.sources.procedural.model import Model, Rng
from spatialdata_builder.sources.procedural.shapes import Mesh, box, curve, extrude, lathe, sphere, sweep, torus
from spatialdata_builder.sources.survey.geometry import SurveyAssets

UIDS = [f"procedural-{kind}-{number:04d}" for kind in KINDS for number in (0, 5)]
VARIANTS = 16
"""Of each kind, in the largest catalog here. A build has 24."""


def build(kind: str, number: int) -> Model:
    return {**KINDS, **FURNISHINGS}[kind](Rng(int.from_bytes(kind.encode(), "big"), number))


def volume(mesh: Mesh) -> float:
    """Enclosed volume; negative if the surface is inside out."""
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    return float(np.einsum("ni,ni->n", a, np.cross(b, c)).sum() / 6)


def check_surface(mesh: Mesh) -> None:
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    across = np.cross(b - a, c - a)
    assert np.isfinite(mesh.vertices).all() and np.isfinite(mesh.uv).all()
    assert (np.linalg.norm(across, axis=1) > 0).all(), "a face has no area"
    assert np.linalg.norm(mesh.normals, axis=1) == pytest.approx(1, abs=1e-6)
    assert (np.einsum("ni,ni->n", across, mesh.normals[mesh.faces].sum(axis=1)) > 0).all(), (
        "a normal points to the back of its face"
    )


@pytest.mark.parametrize(
    ("mesh", "expected"),
    [
        (box(1, 2, 3, 0.001), 6.0),
        (box(1, 2, 3, 0.001).turned("x", 40).moved(5, 6, 7), 6.0),
        (box(1, 1, 1, 0.001).scaled(2, 3, 4), 24.0),
        (sphere(1.0, 60), 4 / 3 * np.pi),
        (lathe([(0, 0), (1, 0), (1, 2), (0, 2)]), 2 * np.pi),
        (torus(1.0, 0.2), 2 * np.pi * 5 * 0.04 * np.sin(np.pi / 5)),
        (sweep([(0, 0, 0), (0, 0, 1), (0, 0, 2)], 0.5, 40), np.pi / 2),
        (sweep(curve([(0, 0, 0), (1, 0, 0.5), (2, 0, 0)]), 0.1, 40), np.pi * 0.01 * 2.3),
        (extrude([(0, 0), (2, 0), (2, 1), (1, 0.5), (0, 1)], 3.0), 4.5),
    ],
)
def test_shapes_have_the_expected_volume(mesh: Mesh, expected: float):
    check_surface(mesh)
    assert volume(mesh) == pytest.approx(expected, rel=0.03)


def test_bounds_of_a_box():
    mesh = box(1, 2, 3, 0.05)
    assert np.round(mesh.vertices.min(axis=0), 9).tolist() == [-0.5, -1, 0]
    assert np.round(mesh.vertices.max(axis=0), 9).tolist() == [0.5, 1, 3]


def test_normals_of_a_warped_mesh():
    mesh = sphere(1.0).warped(lambda points: points * (1.0, 1.0, 0.3))
    want = sphere(1.0).scaled(z=0.3)
    assert mesh.normals == pytest.approx(want.normals, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*KINDS, *FURNISHINGS])
def test_every_kind_is_valid(kind: str):
    for number in range(8):
        model = build(kind, number)
        for part in model.parts:
            check_surface(part.mesh)
        points = np.concatenate([part.mesh.vertices for part in model.parts])
        assert points[:, 2].min() == pytest.approx(0, abs=2e-4), "does not stand on the floor"
        assert 0.05 < np.ptp(points, axis=0).max() < 2.4
        assert model.color in (*PALETTE, "")


@pytest.mark.slow
def test_catalog_is_fast_complete_and_reproducible():
    # In units of this machine's speed in the same run: CPU seconds alone depend on the machine and its load.
    points = np.random.default_rng(0).normal(size=(2000, 3))
    start = time.process_time()
    for _ in range(5_000):
        np.linalg.norm(np.cross(points, points[::-1]), axis=1)
    yardstick = time.process_time() - start
    start = time.process_time()
    assets = catalog(VARIANTS)
    cost = time.process_time() - start
    assert cost < 1.5 * VARIANTS * yardstick, (cost, yardstick)
    assert len(assets) == VARIANTS * len(KINDS) and len(KINDS) >= 16
    assert [asset.uid for asset in assets] == sorted({asset.uid for asset in assets})
    assert assets == catalog(VARIANTS)
    assert {asset.category for asset in assets} == {kind.replace("-", " ") for kind in KINDS}
    assert {asset.licence for asset in assets} == {"cc0"}
    for kind in KINDS:
        appearances = {(asset.colour, asset.size_m) for asset in assets if asset.uid.startswith(f"procedural-{kind}-")}
        assert len(appearances) >= 12, f"{kind}: too few variants differ"
    crates = [asset for asset in assets if asset.category == "crate"]
    assert all(asset.supports > 0 and min(asset.opening) > 0.15 for asset in crates)
    assert all(asset.front_deg == 270 for asset in assets if asset.category in ("chair", "shelf", "television"))


@pytest.mark.slow
def test_furnishings_are_added_to_a_catalog_that_is_otherwise_the_same():
    plain, furnished = catalog(2), catalog(2, furnishings=True)
    assert not {asset.category for asset in plain} & {kind.replace("-", " ") for kind in FURNISHINGS}
    assert [asset for asset in furnished if asset.uid in {one.uid for one in plain}] == plain
    assert len(furnished) == 2 * len(KINDS) + 2 * len(FURNISHINGS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "heights", "surface"),
    [
        ("bed", (0.3, 0.6), ("top", "soft")),
        ("bench", (0.4, 0.5), ("top", "soft")),
        ("cabinet", (0.6, 0.95), ("top",)),
        ("coffee-table", (0.34, 0.48), ("top",)),
        ("nightstand", (0.4, 0.6), ("top",)),
    ],
)
def test_furnishings_carry_things(tmp_path: Path, kind: str, heights: tuple[float, float], surface: tuple[str, ...]):
    for asset in (asset for asset in catalog(4, furnishings=True) if asset.uid.startswith(f"procedural-{kind}-")):
        found = find_supports(*read_mesh(asset, write_glb(asset.uid, tmp_path)))
        supports = AssetSupports.of(asset.category, asset.size_m, found).supports
        largest = max((one for one in supports if one.kind != "under"), key=lambda one: one.shape().area)
        assert largest.kind in surface
        assert heights[0] <= largest.z <= heights[1]
        assert largest.radius > 0.13


@pytest.mark.slow
def test_another_seed_gives_other_assets():
    first, second = catalog(2), catalog(2, seed=1)
    assert not {asset.uid for asset in first} & {asset.uid for asset in second}
    assert second[0].uid == "procedural-alarm-clock-1000"


@pytest.mark.parametrize(("variants", "seed"), [(0, 0), (1001, 0), (3, -1)])
def test_invalid_arguments_of_the_catalog(variants: int, seed: int):
    with pytest.raises(BadInput):
        catalog(variants, seed)


@pytest.mark.parametrize("uid", ["procedural-dragon-0001", "procedural-mug-1", "../x", "procedural-mug-0001/../../x"])
def test_unknown_uid(tmp_path: Path, uid: str):
    with pytest.raises(BadInput):
        write_glb(uid, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_bytes_do_not_depend_on_the_process(tmp_path: Path):
    """Another hash seed, order and process give equal files."""
    uids = [f"procedural-{kind}-0003" for kind in ("mug", "shelf", "book", "television", "potted-plant")]
    code = "import sys, pathlib, spatialdata_builder.sources.procedural as p\n"
    code += "for uid in sys.argv[2:]: p.write_glb(uid, pathlib.Path(sys.argv[1]))"
    environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "b"), *uids], check=True, env=environment)
    for uid in reversed(uids):
        ours = write_glb(uid, tmp_path / "a").read_bytes()
        theirs = (tmp_path / "b" / f"{uid}.glb").read_bytes()
        assert hashlib.sha256(ours).digest() == hashlib.sha256(theirs).digest(), uid
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(f"{uid}.glb" for uid in uids)


def test_an_existing_file_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_glb("procedural-ball-0001", tmp_path)
    path.write_bytes(b"mine")
    monkeypatch.setattr("spatialdata_builder.sources.procedural.KINDS", {"ball": None})
    assert write_glb("procedural-ball-0001", tmp_path).read_bytes() == b"mine"


@pytest.mark.slow
def test_measurements_agree_with_the_survey_of_the_files(tmp_path: Path):
    """The survey reads the GLB and knows nothing of the generator."""
    stage = SurveyAssets("objaverse", str(tmp_path))
    disagree = 0
    for asset in catalog(2):
        write_glb(asset.uid, tmp_path)
        spec = {"uid": asset.uid, "path": f"{asset.uid}.glb", "licence": "cc0", "creator": "", "name": ""}
        (result,) = stage(tmp_path.joinpath, [Sample("k", "train", {**spec, "category": asset.category})])
        assert isinstance(result, Row), (asset.uid, result)
        seen = json.loads(str(result.columns["asset"]))
        assert seen["size_m"] == list(asset.size_m) and seen["offset"] == list(asset.offset), asset.uid
        assert [tuple(point) for point in seen["footprint"]] == list(asset.footprint), asset.uid
        assert (seen["triangles"], seen["scale"]) == (asset.triangles, asset.scale) == (asset.triangles, 1.0)
        if seen["colour"] and asset.colour in PALETTE:
            disagree += seen["colour"].split()[-1] != asset.colour.split()[-1]
    assert disagree <= 4, "the names of colors differ from the measured colors"


@pytest.mark.slow
def test_trimesh_loads_the_file(tmp_path: Path):
    scene = trimesh.load(write_glb("procedural-mug-0001", tmp_path), force="scene")
    (asset,) = [asset for asset in catalog(2) if asset.uid == "procedural-mug-0001"]
    width, depth, height = asset.size_m
    assert scene.extents == pytest.approx((width, height, depth), abs=1e-5)  # y up
    assert all(mesh.visual.uv is not None for mesh in scene.geometry.values())


@pytest.mark.parametrize("pattern", ["wood", "cloth", "speckle", "wicker", "staves", "bands", "cover", "dial", "keys"])
def test_textures(pattern: str):
    colors = (named("brown"), named("white"))
    image = paint(Texture(pattern, colors, 5))  # type: ignore[arg-type]
    assert image.dtype == np.uint8 and image.ndim == 3 and image.std() > 1
    assert (image == paint(Texture(pattern, colors, 5))).all()  # type: ignore[arg-type]


def test_wood_has_no_seam():
    image = paint(Texture("wood", (named("brown"),), 3)).astype(float)
    inside = np.abs(np.diff(image, axis=1)).mean()
    assert np.abs(image[:, 0] - image[:, -1]).mean() < 3 * inside + 2


@pytest.mark.slow
def test_symmetry():
    folds = {asset.uid: asset.symmetry for asset in catalog(VARIANTS)}  # made by a test above
    for kind, number, expected in (
        *(("traffic-cone", number, {4}) for number in range(6)),
        *(("stool", number, {3, 4}) for number in range(6)),
        *(("crate", number, {2, 4}) for number in range(6)),
        *(("cardboard-box", number, {2}) for number in range(6)),
        *((kind, number, {1}) for kind in ("mug", "teapot", "chair", "bottle", "book") for number in range(6)),
    ):
        assert folds[f"procedural-{kind}-{number:04d}"] in expected, kind
