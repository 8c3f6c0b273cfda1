"""Different exports of a model are the same model; different models are not."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image
from pydantic import TypeAdapter
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from spatialdata_builder.shards.sample import Result, Row
from spatialdata_builder.sources.assets.asset import Asset
from spatialdata_builder.sources.assets.glb import open_glb
from spatialdata_builder.sources.assets.identity import (
    SHAPE_TOLERANCE,
    Description,
    content_of,
    describe,
    describe_shape,
    identify,
)
from spatialdata_builder.sources.assets.primitives import read_primitives
from spatialdata_builder.sources.assets.surface_samples import sample_surface
from tests.sources.conftest import Measure
from tests.sources.models import RED, box, checkered, glb, pack, unpack

SQUARE = ((-0.1, -0.1), (0.1, -0.1), (0.1, 0.1), (-0.1, 0.1))


def asset(uid: str, licence: str = "by", creator: str = "me") -> Asset:
    return Asset(uid, f"{uid}.glb", "mug", "red", licence, creator, 1.0, (0, 0, 0), (0.2, 0.2, 0.2), SQUARE, 12)


def description_of(found: Result) -> Description:
    """The description by the portrait stage."""
    assert isinstance(found, Row), found
    return TypeAdapter(Description).validate_json(str(found.columns["identity"]))


def described(folder: Path, data: bytes, name: str = "model") -> Description:
    """The description of a file without portraits: only its shape, because all colors are gray."""
    path = folder / f"{name}.glb"
    path.write_bytes(data)
    file = open_glb(path)
    primitives = read_primitives(file)
    corners = np.concatenate([primitive.positions[primitive.triangles] for primitive in primitives])
    return describe(content_of(path), corners, sample_surface(file, primitives).srgb)


def differences(one: Description, other: Description) -> tuple[float, float]:
    """Largest differences in shape and in look."""
    shapes, looks = (np.abs(np.subtract(a, b)) for a, b in ((one.shape, other.shape), (one.look, other.look)))
    return float(shapes.max()), float(looks.max())


def grouped(*descriptions: Description) -> tuple[list[str], list[str]]:
    found = identify([asset(f"u{number}") for number in range(len(descriptions))], descriptions)
    return [one.family for one in found], [one.model for one in found]


def mug() -> trimesh.Trimesh:
    """A mesh without any symmetry."""
    body = trimesh.creation.cylinder(0.04, 0.1, sections=24)
    handle = trimesh.creation.torus(0.03, 0.006, major_sections=16, minor_sections=8).apply_translation((0.05, 0, 0.01))
    return trimesh.util.concatenate([body, handle])


def textured(mesh: trimesh.Trimesh, picture: Image.Image) -> bytes:
    mesh = mesh.copy()
    uv = (mesh.vertices[:, :2] - mesh.vertices[:, :2].min(axis=0)) / np.ptp(mesh.vertices[:, :2], axis=0)
    mesh.visual = TextureVisuals(uv=uv, material=PBRMaterial(baseColorTexture=picture))
    return glb(mesh, material=None)


def photo(seed: int = 0) -> Image.Image:
    grain = np.random.default_rng(seed).integers(0, 60, (64, 64, 1)) * np.array([1.0, 0.8, 0.5])
    return Image.fromarray((np.linspace(20, 170, 64)[:, None, None] + grain).astype(np.uint8))


def as_jpeg(picture: Image.Image, quality: int) -> Image.Image:
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=quality)
    return Image.open(sink)


def shuffled(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    order, turn = np.random.default_rng(3).permutation(len(mesh.vertices)), np.random.default_rng(4)
    faces = turn.permutation(np.argsort(order)[mesh.faces])
    return trimesh.Trimesh(mesh.vertices[order], np.roll(faces, 1, axis=1), process=False)


def moved(mesh: trimesh.Trimesh, scale: float = 1.0) -> trimesh.Trimesh:
    turn = trimesh.transformations.rotation_matrix(1.1, (1, 2, 3), (4, 5, 6))
    return mesh.copy().apply_transform(turn).apply_translation((3, -1, 7)).apply_scale(scale)


def in_integers(mesh: trimesh.Trimesh, bits: int) -> trimesh.Trimesh:
    """Quantize positions as exporters do."""
    low, step = mesh.bounds[0], mesh.extents.max() / (2**bits - 1)
    return trimesh.Trimesh(np.round((mesh.vertices - low) / step) * step + low, mesh.faces, process=False)


def unwelded(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    corners = mesh.vertices[mesh.faces].reshape(-1, 3)
    return trimesh.Trimesh(corners, np.arange(len(corners)).reshape(-1, 3), process=False)


@pytest.mark.parametrize(
    "export",
    [
        shuffled,
        moved,
        lambda mesh: moved(mesh, 100.0),
        lambda mesh: moved(mesh, 0.001),
        lambda mesh: mesh.copy().subdivide(),
        unwelded,
        lambda mesh: mesh.copy().apply_transform(np.diag([-1.0, 1, 1, 1])),
        lambda mesh: in_integers(mesh, 12),
        lambda mesh: shuffled(moved(in_integers(mesh, 14), 39.37)),
    ],
    ids=["order", "transform", "centimeters", "kilometers", "subdivided", "unwelded", "mirrored", "12 bits", "all"],
)
@pytest.mark.parametrize(
    "mesh", [mug(), box(1, 1, 1), box(0.4, 0.35, 0.3), trimesh.creation.icosphere(2)], ids=range(4)
)
def test_another_export_is_the_same_model(mesh: trimesh.Trimesh, export: Any, tmp_path: Path):
    first, second = described(tmp_path, glb(mesh.copy())), described(tmp_path, glb(export(mesh)))
    assert first.content != second.content
    assert differences(first, second)[0] < SHAPE_TOLERANCE / 2
    assert grouped(first, second) == ([min(first.content, second.content)] * 2,) * 2


def test_node_transforms_do_not_matter(tmp_path: Path):
    content, binary = unpack(glb(mug()))
    node = next(node for node in content["nodes"] if "mesh" in node)
    node.pop("matrix", None)
    node |= {"translation": [1, 2, 3], "rotation": [0.5, 0.5, 0.5, 0.5], "scale": [2, 2, 2]}
    assert len(set(grouped(described(tmp_path, glb(mug())), described(tmp_path, pack(content, binary)))[1])) == 1


def test_other_shapes_are_other_models(tmp_path: Path):
    meshes = [mug(), mug().apply_scale((1, 1, 1.02)), box(1, 1, 1), box(1, 1, 1.01), trimesh.creation.icosphere(3)]
    meshes += [trimesh.creation.cylinder(0.5, 1.0), trimesh.creation.cone(0.5, 1.0), trimesh.creation.capsule(1.0, 0.5)]
    # Typical sizes of crates.
    meshes += [box(0.4, 0.35, 0.3), box(0.35, 0.4, 0.4), box(0.4, 0.4, 0.3), box(0.4, 0.5, 0.3)]
    families, _ = grouped(*(described(tmp_path, glb(mesh)) for mesh in meshes))
    assert len(set(families)) == len(meshes)


def test_texture_compression_does_not_matter_but_another_texture_does(measured: Measure):
    whole, small, other = photo(), as_jpeg(photo(), 40), photo(7)
    red = Image.fromarray(np.asarray(other) // np.array([1, 4, 4], np.uint8))
    found = [description_of(measured(textured(box(1, 1, 1), picture))) for picture in (whole, small, red)]
    families, models = grouped(*found)
    assert len(set(families)) == 1 and models[0] == models[1] != models[2]


def test_crates_of_two_paints_are_one_shape_and_two_models(measured: Measure):
    families, models = grouped(
        description_of(measured(glb(box(1, 1, 1), material=RED))),
        description_of(measured(glb(box(1, 1, 1), material=checkered()))),
        description_of(measured(glb(box(2, 2, 2), material=checkered()))),
    )
    assert len(set(families)) == 1 and models[0] != models[1] == models[2]


@pytest.mark.slow
def test_the_grid_never_separates_close_descriptions():
    """At any position on the grid, and for differences in any direction."""
    rng = np.random.default_rng(0)
    shapes = rng.uniform(0, 1, (300, 13))
    twins = shapes + rng.choice([-0.99, 0.99], shapes.shape) * SHAPE_TOLERANCE
    strangers = shapes.copy()
    strangers[np.arange(300), rng.integers(0, 13, 300)] += 1.01 * SHAPE_TOLERANCE
    look = (50.0, 0.0, 0.0, 1.0, 1.0, 1.0)
    for others, same in ((twins, True), (strangers, False)):
        rows = [Description(f"{n:04x}", tuple(row), look) for n, row in enumerate(np.concatenate([shapes, others]))]
        families, _ = grouped(*rows)
        assert [families[n] == families[n + 300] for n in range(300)] == [same] * 300


@pytest.mark.slow
def test_many_equal_descriptions_are_compared_once():
    one = Description("00", (0.5,) * 13, (50.0,) * 6)
    rows = [replace(one, content=f"{n:06x}") for n in range(20_000)]
    assert set(grouped(*rows)[1]) == {"000000"}


def test_all_licenses_and_creators_of_one_model_are_named():
    same = Description("aa", (0.5,) * 13, (50.0,) * 6)
    other = replace(same, content="bb", shape=(0.6,) * 13)
    assets = [
        asset("u2", "by-nc", "Zoe"),
        asset("u1", "by", "Ann"),
        asset("u3", "by", "Ann"),
        asset("u4", "cc0", "Bob"),
    ]
    found = identify(assets, [same, same, same, other])
    assert [one.uid for one in found] == ["u2", "u1", "u3", "u4"]
    assert [one.licence for one in found] == ["by;by-nc"] * 3 + ["cc0"]
    assert [one.creator for one in found] == ["Ann; Zoe"] * 3 + ["Bob"]


def test_integrals_are_exact():
    """For a unit square, by hand: second moments are 1/12, third moments are 0, E[r^4] = 7/180."""
    square = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]], process=False)
    radius = np.sqrt(1 / 6)
    values = describe_shape(np.asarray(square.triangles))
    assert values[:3] == pytest.approx([0, np.sqrt(1 / 12) / radius, np.sqrt(1 / 12) / radius], abs=1e-7)
    assert values[6:9] == pytest.approx([0, 0, 1], abs=1e-7)
    assert values[9:] == pytest.approx([0, 0, np.sqrt(7 / 180) / radius**2, 0], abs=1e-7)
