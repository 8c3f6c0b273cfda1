"""Scenes from a configuration to shards: the content of shards is checked by ray casting through the named models."""

import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import trimesh

from spatialdata_builder.shards import codecs
from spatialdata_builder.shards.layout import find_shards
from spatialdata_builder.shards.reader import StoredSample, read_record, read_samples
from spatialdata_builder.shards.schema import EDIT_KINDS, TWO_OBJECT_KINDS, SampleRecord
from spatialdata_builder.sources.procedural import catalog, write_glb
from tests.needs import needs
from tests.pipeline.command_line import run
from tests.pipeline.releases import spatialdata

SETTINGS = (
    "samples=6",
    "unit_size=1",
    "source.variants=4",
    "render.resolution=[128, 96]",
    "render.samples=4",
    "shard.splits={train: 0.5, val: 0, test: 0.5}",
)


def arguments(out: Path, *settings: str) -> list[str]:
    return ["build", "--out", str(out), *(part for text in (*SETTINGS, *settings) for part in ("--set", text))]


@pytest.fixture(scope="module")
@needs("blender", "ray")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("scenes") / "out"
    done = spatialdata(*arguments(out))
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def samples(built: Path) -> list[tuple[StoredSample, SampleRecord]]:
    stored = [sample for shard in find_shards(str(built), recipe="full") for sample in read_samples(shard)]
    return [(sample, read_record(sample.members["json"])) for sample in stored]


def test_every_kind_of_edit_is_valid(built: Path, samples: list[tuple[StoredSample, SampleRecord]]):
    assert sorted(record.edit.kind for _, record in samples) == sorted(set(EDIT_KINDS) - set(TWO_OBJECT_KINDS))
    assert json.loads(run("verify", built, "--json").out)["problems"] == []


def test_nothing_else_moves(samples: list[tuple[StoredSample, SampleRecord]]):
    for sample, record in samples:
        source, target = (codecs.decode_image(sample.members[name]) for name in ("source", "target"))
        changed = codecs.decode_mask(sample.members["changed"])
        if record.edit.kind == "camera":
            assert changed.all()
            continue
        np.testing.assert_array_equal(source[~changed], target[~changed])
        for view in ("source", "target"):
            labels = codecs.decode_labels(sample.members[f"{view}_instances"])
            assert changed[labels == record.edit.object].all()
        assert (source != target).any()


@cache
def model(uid: str) -> tuple[trimesh.Trimesh, np.ndarray]:
    """The mesh in its file (y up), and its shading normals (z up): of the faces at each vertex, weighted by angle."""
    with TemporaryDirectory() as folder:
        mesh = trimesh.load(write_glb(uid, Path(folder)), force="mesh", process=False)
    shading = np.zeros((len(mesh.vertices), 3))
    np.add.at(shading, mesh.faces, mesh.face_normals[:, None] * mesh.face_angles[:, :, None])
    return mesh, trimesh.util.unitize(shading)[:, [0, 2, 1]] * (1, -1, 1)


def cast(record: SampleRecord, view: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Planar depth (0: none), object id and camera-frame normal of the objects and the floor, by ray casting."""
    camera = getattr(record.camera, view)
    K, pose = np.reshape(camera.K, (3, 3)), np.reshape(camera.world_from_camera, (4, 4))
    width, height = 128, 96
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    local = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones_like(u)], axis=-1).reshape(-1, 3)
    directions = local @ pose[:3, :3].T
    origins = np.broadcast_to(pose[:3, 3], directions.shape)
    assets = {asset.uid: asset for asset in catalog(4, 0)}
    with np.errstate(divide="ignore"):
        floor = np.where(directions[:, 2] < 0, -origins[:, 2] / directions[:, 2], np.inf)
    depth, ids = floor, np.zeros(len(floor), int)
    normals = np.tile(pose[:3, :3].T @ [0, 0, 1.0], (len(floor), 1))
    for item in record.objects:
        visible = item.source_visible if view == "source" else item.target_visible
        if visible == 0:
            continue
        asset = assets[item.asset]
        mesh, shading = model(item.asset)
        x, y, z = mesh.vertices.T
        placed = np.reshape(item.source_pose if view == "source" else item.target_pose, (4, 4))
        vertices = np.stack([x, -z, y], axis=1) * asset.scale + asset.offset
        mesh = trimesh.Trimesh(vertices @ placed[:3, :3].T + placed[:3, 3], mesh.faces, process=False)
        hits, rays, faces = mesh.ray.intersects_location(origins, directions, multiple_hits=False)
        # Directions have planar z = 1, so the distance along them is planar depth.
        along = np.linalg.norm(hits - origins[rays], axis=1) / np.linalg.norm(directions[rays], axis=1)
        closer = along < depth[rays]
        depth[rays[closer]], ids[rays[closer]] = along[closer], item.id
        # Shading normals: round objects have few flat faces, with normals interpolated across them.
        corners = mesh.triangles[faces[closer]]
        weights = trimesh.triangles.points_to_barycentric(corners, hits[closer])
        smooth = np.einsum("nk,nki->ni", weights, shading[mesh.faces[faces[closer]]]) @ placed[:3, :3].T
        normals[rays[closer]] = smooth / np.linalg.norm(smooth, axis=1, keepdims=True) @ pose[:3, :3]
    return (grid.reshape(height, width, -1).squeeze() for grid in (depth, ids, normals))


@pytest.mark.parametrize("view", ["source", "target"])
def test_maps_agree_with_rays_through_the_named_models(samples: list[tuple[StoredSample, SampleRecord]], view: str):
    prefix = "source_" if view == "source" else ""
    for sample, record in samples:
        depth, ids, normals = cast(record, view)
        labels = codecs.decode_labels(sample.members[f"{view}_instances"])
        metric = codecs.decode_depth(sample.members[f"{prefix}metric"], getattr(record.maps, f"{prefix}metric"))
        inverse = codecs.decode_depth(sample.members[f"{prefix}depth"], getattr(record.maps, f"{prefix}depth"))
        measured = codecs.decode_normals(sample.members[f"{prefix}normal"])
        assert (labels == ids).mean() > 0.985, record.key
        inside = (labels == ids) & (labels > 0)
        error = np.abs(metric[inside] - depth[inside]) / depth[inside]
        assert np.median(error) < 1e-3, record.key
        assert np.percentile(error, 95) < 0.02, record.key
        np.testing.assert_allclose(inverse[inside], 1 / metric[inside], rtol=0.02, atol=1e-3)
        # Normals may point to either side: thin leaves have only one face.
        cosine = np.abs(np.sum(measured[inside] * normals[inside], axis=-1))
        assert np.median(cosine) > np.cos(np.radians(6)), record.key


@pytest.mark.parametrize("recipe", ["spatialdiff", "ildm", "spatialedit"])
def test_every_recipe_can_be_packed_from_it(built: Path, recipe: str):
    done = run("shard", built, "--recipe", recipe, "--json")
    assert done.code == 0, done
    found = json.loads(done.out)
    kinds = {"spatialdiff": 3, "ildm": 6, "spatialedit": 4}
    assert sum(split["samples"] for split in found["splits"].values()) == kinds[recipe]
    assert run("verify", built / "shards" / recipe).code == 0


@pytest.mark.parametrize("layout", ["spatialedit", "object3dit"])
def test_exports(built: Path, tmp_path: Path, layout: str):
    done = run("export", built, "--layout", layout, "--out", tmp_path / "out", "--json")
    assert done.code == 0, done
    assert json.loads(done.out)["samples"] > 0


def test_a_contact_sheet(built: Path, tmp_path: Path):
    picture = tmp_path / "sheet.png"
    assert run("view", built, "--sheet", picture).code == 0
    assert picture.stat().st_size > 10_000
