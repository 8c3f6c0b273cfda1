"""The asset survey: measurements of good models, and a reason for each bad model."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from trimesh.visual.material import PBRMaterial

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.sample import Reject, Row, Sample
from spatialdata_builder.shards.stage import Stage
from spatialdata_builder.sources.assets.asset import Asset
from spatialdata_builder.sources.assets.glb import open_glb
from spatialdata_builder.sources.assets.primitives import read_primitives
from spatialdata_builder.sources.assets.shape import footprint
from spatialdata_builder.sources.assets.surface_samples import z_up
from spatialdata_builder.sources.objaverse.cache import read_cache
from spatialdata_builder.sources.survey.geometry import SurveyAssets, category_from_name
from tests.sources.models import RED, box, checkered, glb, make_cache, pack, unpack

ASSET = TypeAdapter(Asset)


def survey(folder: Path, data: bytes | None, stage: SurveyAssets | None = None, **entry: Any) -> Asset | Reject:
    """The result of the survey for one model."""
    stage = stage or SurveyAssets("objaverse", str(folder))
    stage = dataclasses.replace(stage, place=str(folder))
    if data is not None:
        (folder / "model.glb").write_bytes(data)
    spec = {"uid": "u", "path": "model.glb", "licence": "by", "creator": "c", "name": "", "category": ""} | entry
    (result,) = stage(stage.setup(), [Sample("u", "train", spec)])
    return ASSET.validate_json(str(result.columns["asset"])) if isinstance(result, Row) else result


def reason(result: Asset | Reject) -> str:
    assert isinstance(result, Reject), result
    assert "\n" not in result.detail and result.detail
    return result.reason


def asset(result: Asset | Reject) -> Asset:
    assert isinstance(result, Asset), result
    return result


def test_is_a_stage():
    assert isinstance(SurveyAssets("objaverse"), Stage)


def test_measures_a_box(tmp_path: Path):
    mesh = box(0.4, 0.2, 0.6)
    mesh.apply_translation((5, 7, 9))
    found = asset(survey(tmp_path, glb(mesh)))
    assert found.scale == 1.0 and found.size_m == (0.4, 0.6, 0.2) and found.triangles == 12
    assert found.offset == pytest.approx((-5.0, 9.0, -6.9), abs=1e-5)
    assert found.footprint == ((-0.2, -0.3), (0.2, -0.3), (0.2, 0.3), (-0.2, 0.3))
    assert (found.front_deg, found.licence, found.cut) == (None, "by", False)


def test_the_object_frame_is_as_documented_in_asset(tmp_path: Path):
    mesh = trimesh.creation.cone(0.3, 1.0)  # the tip points to +z of the file, which is -y of the object frame
    found = asset(survey(tmp_path, glb(mesh)))
    points = z_up(np.asarray(mesh.vertices)) * found.scale + found.offset
    assert points[:, 2].min() == pytest.approx(0, abs=1e-6)
    assert points[:, :2].min(axis=0) == pytest.approx(-points[:, :2].max(axis=0), abs=1e-6)
    assert np.ptp(points, axis=0) == pytest.approx(found.size_m, abs=1e-6)
    tip = points[np.argmax(np.asarray(mesh.vertices)[:, 2])]
    assert tip[1] == pytest.approx(-0.5, abs=1e-6)


@pytest.mark.parametrize("tilt", [0.0, 0.002])
@pytest.mark.parametrize("shape", ["plant", "lamp", "desk", "ball", "tripod"])
def test_contact_is_the_center_of_the_base(tmp_path: Path, shape: str, tilt: float):
    """The center of the pot, foot or legs, wherever the rest of the model is. File: y up, z toward the viewer."""
    upright = trimesh.transformations.rotation_matrix(-np.pi / 2, (1, 0, 0))

    def column(radius: float, height: float, x: float, y: float, z: float) -> trimesh.Trimesh:
        return trimesh.creation.cylinder(radius, height, transform=upright).apply_translation((x, y + height / 2, z))

    def slab(size: tuple[float, float, float], middle: tuple[float, float, float]) -> trimesh.Trimesh:
        return box(*size).apply_translation(middle)

    meshes, spot = {
        "plant": ([column(0.1, 0.2, 3.0, 1.0, -2.0), slab((0.7, 0.3, 0.2), (3.3, 1.4, -2.2))], (3.0, 2.0)),
        "lamp": (
            [column(0.12, 0.03, 0.0, 0.0, 0.0), column(0.01, 1.0, 0.0, 0.03, 0.0), slab((0.6, 0.1, 0.1), (0.3, 1, 0))],
            (0.0, 0.0),
        ),
        "desk": ([slab((0.4, 0.7, 0.5), (1.0, 0.35, 1.0)), slab((1.6, 0.05, 0.5), (1.6, 0.72, 1.0))], (1.0, -1.0)),
        "ball": (
            [trimesh.creation.icosphere(3, 0.2).apply_transform(upright), slab((0.5, 0.01, 0.01), (0.25, 0, 0))],
            (0, 0),
        ),
        "tripod": (
            [
                *(column(0.01, 0.5, x, 0.0, z) for x, z in ((0, 0), (0.6, 0), (0.3, 0.6))),
                slab((1, 0.1, 1), (1, 0.5, 0)),
            ],
            (0.3, -0.2),
        ),
    }[shape]
    for mesh in meshes:
        mesh.apply_transform(trimesh.transformations.rotation_matrix(tilt, (0, 0, 1)))
    found = asset(survey(tmp_path, glb(*meshes)))
    stands_on = np.array(found.contact) - np.array(found.offset[:2])
    assert stands_on == pytest.approx(np.array(spot) * found.scale, abs=0.02 * found.scale)
    inside = np.abs(found.contact) <= np.array(found.size_m[:2]) / 2
    assert inside.all() and np.linalg.norm(found.contact) > 0.05 * max(found.size_m)


def test_several_roots_and_nested_transforms(tmp_path: Path):
    """Compared with the scene graph of trimesh."""
    scene = trimesh.Scene()
    turn = trimesh.transformations.rotation_matrix(0.7, (1, 2, 3))
    scale = trimesh.transformations.scale_matrix(0.5)
    for number, transform in enumerate((turn, turn @ scale, trimesh.transformations.translation_matrix((0.3, 0, 0)))):
        mesh = box(0.3, 0.4, 0.5)
        mesh.visual = trimesh.visual.TextureVisuals(material=RED)
        scene.add_geometry(mesh, node_name=f"n{number}", transform=transform)
    found = asset(survey(tmp_path, bytes(scene.export(file_type="glb"))))
    x, y, z = scene.extents
    assert found.size_m == pytest.approx((x, z, y), abs=1e-5)


def test_the_size_in_the_metadata_has_precedence(tmp_path: Path):
    found = asset(survey(tmp_path, glb(box(200, 100, 50)), size_m=[0.1, 0.05, 0.025], category="mug"))
    assert found.size_m == pytest.approx((0.1, 0.025, 0.05))


def test_huge_units_keep_their_precision(tmp_path: Path):
    found = asset(survey(tmp_path, glb(box(81234.5, 40000, 20000)), category="chair"))
    assert found.scale * 81234.5 == pytest.approx(0.8, rel=1e-7)


def test_a_texture_counts_as_color(tmp_path: Path):
    mesh = box(0.3, 0.3, 0.3)
    data = glb(mesh, material=checkered())
    assert isinstance(survey(tmp_path, data), Asset)


@pytest.mark.parametrize(
    "material",
    [
        {"emissiveFactor": [0.2, 0.6, 1.0]},
        {"emissiveTexture": {"index": 0}},
        {"extensions": {"KHR_materials_sheen": {"sheenColorFactor": [0.8, 0.1, 0.1]}}},
        {"extensions": {"KHR_materials_transmission": {"transmissionFactor": 1.0}}},
    ],
)
def test_emission_and_extensions_count_as_color(tmp_path: Path, material: dict[str, Any]):
    content, binary = unpack(glb(box(0.3, 0.3, 0.3), material=checkered()))
    content["materials"] = [{"pbrMetallicRoughness": {"baseColorFactor": [1, 1, 1, 1]}}]
    assert reason(survey(tmp_path, pack(content, binary))) == "untextured"
    content["materials"][0] |= material
    assert isinstance(survey(tmp_path, pack(content, binary)), Asset)


def test_vertex_colors_count(tmp_path: Path):
    mesh = box(0.3, 0.3, 0.3)
    mesh.visual.vertex_colors = np.tile([0, 120, 0, 255], (8, 1))
    mesh.visual.vertex_colors[:4] = [0, 100, 0, 255]
    assert isinstance(survey(tmp_path, glb(mesh, material=None)), Asset)


@pytest.mark.parametrize("length", [0, 3, 11, 40, 200, -1, -4])
def test_truncated(tmp_path: Path, length: int):
    assert reason(survey(tmp_path, glb(box(1, 1, 1))[:length])) == "unreadable"


@pytest.mark.parametrize("data", [b"", b"solid cube", b"PK\3\4" + b"\0" * 64, b"glTF\1\0\0\0" + b"\0" * 32])
def test_not_a_glb(tmp_path: Path, data: bytes):
    assert reason(survey(tmp_path, data)) == "unreadable"


@pytest.mark.slow
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_damaged_byte_never_raises(tmp_path_factory: pytest.TempPathFactory, place: int, value: int):
    folder = tmp_path_factory.mktemp("damaged")
    data = bytearray(glb(box(0.3, 0.3, 0.3), material=checkered()))
    data[place % len(data)] = value
    survey(folder, bytes(data))


def test_missing_file(tmp_path: Path):
    assert reason(survey(tmp_path, None)) == "missing_file"
    assert reason(survey(tmp_path, None, path="")) == "missing_file"


def test_missing_root(tmp_path: Path):
    with pytest.raises(BadInput):
        SurveyAssets("objaverse", str(tmp_path / "nowhere")).setup()


def test_license(tmp_path: Path):
    data = glb(box(1, 1, 1))
    assert reason(survey(tmp_path, data, licence="by-nc")) == "licence"
    assert asset(survey(tmp_path, data, SurveyAssets("objaverse", licences=("CC BY-NC 4.0",)), licence="by-nc"))


def test_no_geometry(tmp_path: Path):
    assert reason(survey(tmp_path, pack({"asset": {"version": "2.0"}, "nodes": [{}]}, b""))) == "no_geometry"


@pytest.mark.parametrize("factor", [None, [1.0, 1.0, 1.0, 1.0], [0.8, 0.8, 0.8, 1.0]])
def test_untextured(tmp_path: Path, factor: list[float] | None):
    material = PBRMaterial(baseColorFactor=factor)
    assert reason(survey(tmp_path, glb(box(1, 1, 1), material=material))) == "untextured"


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["images"][0].update(bufferView=99),
        lambda content: (content["images"][0].pop("bufferView"), content["images"][0].update(uri="gone.png")),
        lambda content: (content["images"][0].pop("bufferView"), content["images"][0].update(uri="../../x.png")),
        lambda content: content["textures"][0].update(source=4),
        lambda content: content["images"][0].update(bufferView=0),  # indices instead of an image
    ],
)
def test_missing_textures(tmp_path: Path, change: Any):
    content, binary = unpack(glb(box(1, 1, 1), material=checkered()))
    change(content)
    assert reason(survey(tmp_path, pack(content, binary))) == "missing_textures"


def test_texture_beside_the_model(tmp_path: Path):
    content, binary = unpack(glb(box(1, 1, 1), material=checkered()))
    view = content["bufferViews"][content["images"][0].pop("bufferView")]
    start = view.get("byteOffset", 0)
    (tmp_path / "a b.png").write_bytes(binary[start : start + view["byteLength"]])
    content["images"][0]["uri"] = "a%20b.png"
    assert isinstance(survey(tmp_path, pack(content, binary)), Asset)


def test_too_many_triangles(tmp_path: Path):
    found = survey(tmp_path, glb(box(1, 1, 1), box(1, 1, 2)), SurveyAssets("objaverse", max_triangles=20))
    assert reason(found) == "too_many_triangles" and isinstance(found, Reject) and found.score == 24


def test_degenerate(tmp_path: Path):
    flat = box(1, 1, 1)
    flat.apply_scale((1, 1e-9, 1))
    assert reason(survey(tmp_path, glb(flat))) == "degenerate"
    content, binary = unpack(glb(_with_nan()))
    for accessor in content["accessors"]:
        accessor.pop("min", None), accessor.pop("max", None)
    assert reason(survey(tmp_path, pack(content, binary))) == "degenerate"
    point = box(1, 1, 1)
    point.apply_scale(0.0)
    assert reason(survey(tmp_path, glb(point))) == "degenerate"


def _with_nan() -> trimesh.Trimesh:
    mesh = box(1, 1, 1)
    vertices = np.array(mesh.vertices)
    vertices[0, 0] = np.nan
    return trimesh.Trimesh(vertices, mesh.faces, process=False, validate=False)


def test_extreme_aspect(tmp_path: Path):
    found = survey(tmp_path, glb(box(0.05, 1.0, 0.05)))
    assert reason(found) == "extreme_aspect" and isinstance(found, Reject) and found.score == pytest.approx(20)
    assert reason(survey(tmp_path, None, category="chair")) == "extreme_aspect"


def _room(thick: bool) -> list[trimesh.Trimesh]:
    walls = []
    for x, z, width, depth in ((-2, 0, 0.1, 4), (2, 0, 0.1, 4), (0, -2, 4, 0.1), (0, 2, 4, 0.1)):
        wall = box(width, 2.5, depth)
        wall.apply_translation((x, 1.25, z))
        walls.append(wall)
    floor = box(4, 0.1, 4)
    table = box(1, 0.8, 0.6)
    table.apply_translation((0.3, 0.45, 0.2))
    if thick:
        return [*walls, floor, table]
    shell = box(4, 2.5, 4)
    shell.apply_translation((0, 1.25, 0))
    shell.invert()
    return [shell, table]


def test_whole_room(tmp_path: Path):
    assert reason(survey(tmp_path, glb(*_room(thick=False)))) == "whole_room"
    assert reason(survey(tmp_path, glb(*_room(thick=True)), name="Cosy bedroom")) == "whole_room"
    assert isinstance(survey(tmp_path, None, name="Bedroom wardrobe", category="wardrobe"), Asset)


def test_an_open_box_is_not_a_room(tmp_path: Path):
    assert isinstance(survey(tmp_path, glb(*_room(thick=True)), name="Crate", category="crate"), Asset)
    small = {"size_m": [0.4, 0.25, 0.4]}
    assert isinstance(survey(tmp_path, glb(*_room(thick=False)), name="Room box", **small), Asset)
    assert isinstance(survey(tmp_path, glb(box(4, 2.5, 4)), name="Room"), Asset)


def test_an_animation_that_starts_elsewhere_is_rejected(tmp_path: Path):
    content, binary = unpack(glb(box(0.3, 0.3, 0.3)))
    start = len(binary)
    binary += np.array([0.0, 1.0], "<f4").tobytes() + np.array([[5, 0, 0], [6, 0, 0]], "<f4").tobytes()
    content["bufferViews"] += [
        {"buffer": 0, "byteOffset": start, "byteLength": 8},
        {"buffer": 0, "byteOffset": start + 8, "byteLength": 24},
    ]
    views, accessors = len(content["bufferViews"]), len(content["accessors"])
    content["accessors"] += [
        {"bufferView": views - 2, "componentType": 5126, "count": 2, "type": "SCALAR"},
        {"bufferView": views - 1, "componentType": 5126, "count": 2, "type": "VEC3"},
    ]
    node = next(number for number, node in enumerate(content["nodes"]) if "mesh" in node)
    content["animations"] = [
        {
            "samplers": [{"input": accessors, "output": accessors + 1}],
            "channels": [{"sampler": 0, "target": {"node": node, "path": "translation"}}],
        }
    ]
    content["buffers"][0]["byteLength"] = len(binary)
    assert reason(survey(tmp_path, pack(content, binary))) == "animated"
    content["nodes"][node].pop("matrix", None)
    content["nodes"][node]["translation"] = [5, 0, 0]
    assert isinstance(survey(tmp_path, pack(content, binary)), Asset)


def test_compressed_geometry_is_reported(tmp_path: Path):
    content, binary = unpack(glb(box(1, 1, 1)))
    content["extensionsRequired"] = ["KHR_draco_mesh_compression"]
    found = survey(tmp_path, pack(content, binary))
    assert reason(found) == "unreadable" and isinstance(found, Reject) and "draco" in found.detail


def test_skinned_vertices_follow_their_joints(tmp_path: Path):
    content, binary = unpack(glb(box(0.2, 0.2, 0.2)))
    mesh_node = next(node for node in content["nodes"] if "mesh" in node)
    primitive = content["meshes"][mesh_node["mesh"]]["primitives"][0]
    count = content["accessors"][primitive["attributes"]["POSITION"]]["count"]
    start = len(binary)
    binary += np.zeros((count, 4), "<u1").tobytes() + np.tile(np.array([1, 0, 0, 0], "<f4"), (count, 1)).tobytes()
    views = len(content["bufferViews"])
    content["bufferViews"] += [
        {"buffer": 0, "byteOffset": start, "byteLength": 4 * count},
        {"buffer": 0, "byteOffset": start + 4 * count, "byteLength": 16 * count},
    ]
    accessors = len(content["accessors"])
    content["accessors"] += [
        {"bufferView": views, "componentType": 5121, "count": count, "type": "VEC4"},
        {"bufferView": views + 1, "componentType": 5126, "count": count, "type": "VEC4"},
    ]
    primitive["attributes"] |= {"JOINTS_0": accessors, "WEIGHTS_0": accessors + 1}
    content["nodes"].append({"scale": [2, 3, 1], "translation": [0, 1, 0]})
    content["scenes"][0]["nodes"].append(len(content["nodes"]) - 1)
    content["skins"] = [{"joints": [len(content["nodes"]) - 1]}]
    mesh_node |= {"skin": 0, "translation": [100, 0, 0]}  # the transform of the node of a skinned mesh is ignored
    found = asset(survey(tmp_path, pack(content, binary)))
    assert found.size_m == pytest.approx((0.4, 0.2, 0.6)) and found.offset == pytest.approx((0, 0, -0.7))


def test_strips_and_fans(tmp_path: Path):
    positions = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 1, 1]], "<f4")
    for mode, triangles in ((5, [[0, 1, 2], [1, 3, 2], [2, 3, 4]]), (6, [[0, 1, 2], [0, 2, 3], [0, 3, 4]])):
        content = {
            "asset": {"version": "2.0"},
            "nodes": [{"mesh": 0}],
            "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "mode": mode}]}],
            "accessors": [{"bufferView": 0, "componentType": 5126, "count": 5, "type": "VEC3"}],
            "bufferViews": [{"buffer": 0, "byteLength": 60}],
            "buffers": [{"byteLength": 60}],
        }
        path = tmp_path / "strip.glb"
        path.write_bytes(pack(content, positions.tobytes()))
        (primitive,) = read_primitives(open_glb(path))
        assert primitive.triangles.tolist() == triangles


@given(
    st.lists(
        st.tuples(st.floats(-2, 2, allow_nan=False), st.floats(-2, 2, allow_nan=False)), min_size=8, max_size=200
    ).filter(lambda points: min(np.ptp(np.array(points), axis=0)) > 0.05)
)
def test_footprint_contains_all_points(points: list[tuple[float, float]]):
    import shapely

    flat = np.array(points)
    try:
        outline = footprint(flat)
    except ValueError:
        return  # the points are on a line
    polygon = shapely.Polygon(outline)
    assert 3 <= len(outline) <= 24 and polygon.exterior.is_ccw
    assert shapely.contains_xy(polygon.buffer(2e-6), flat[:, 0], flat[:, 1]).all()
    low, high = flat.min(axis=0), flat.max(axis=0)
    assert (np.array(outline) >= low - 2e-6).all() and (np.array(outline) <= high + 2e-6).all()


def test_footprint_of_a_circle_is_tight():
    import shapely

    angle = np.linspace(0, 2 * np.pi, 500)
    area = shapely.Polygon(footprint(np.stack([np.cos(angle), np.sin(angle)], axis=1))).area
    assert 1.0 <= area / np.pi < 1.02


def test_category_from_title():
    assert category_from_name("Office Chair") == "office chair"
    assert category_from_name("SM_Chair_01") == "" and category_from_name("Abstract thing") == ""


def test_the_same_file_gives_the_same_row(tmp_path: Path):
    first = survey(tmp_path, glb(box(0.3, 0.2, 0.1), material=checkered()))
    assert first == survey(tmp_path, None)


@pytest.mark.slow
def test_real_models(shared_assets: Path):
    """All are usable at their real size, including flat ones (a mat, shorts, cards, a newspaper)."""
    root = shared_assets / "objaverse"
    entries = list(read_cache(root))
    stage = SurveyAssets("objaverse", str(root))
    results = stage(stage.setup(), [Sample(entry.uid, "train", entry.spec()) for entry in entries])
    rejects = {
        entry.name: result.reason for entry, result in zip(entries, results, strict=True) if isinstance(result, Reject)
    }
    assert rejects == {}
    for entry, result in zip(entries, results, strict=True):
        if isinstance(result, Row):
            found = json.loads(str(result.columns["asset"]))
            assert entry.size_m is not None and found["triangles"] == entry.faces
            width, height, depth = entry.size_m
            assert found["size_m"] == pytest.approx([width, depth, height], abs=2e-3)
            assert found["size_note"] == "" and found["axes"] == np.eye(3).ravel().tolist()


def test_cache_to_survey(tmp_path: Path):
    root = make_cache(tmp_path, {"good": glb(box(0.2, 0.2, 0.2)), "cut": glb(box(1, 1, 1))[:100], "gone": None})
    stage = SurveyAssets("objaverse", str(root))
    entries = list(read_cache(root))
    results = stage(stage.setup(), [Sample(entry.uid, "train", entry.spec()) for entry in entries])
    got = {entry.uid: getattr(result, "reason", "ok") for entry, result in zip(entries, results, strict=True)}
    assert got == {"cut": "unreadable", "gone": "missing_file", "good": "ok"}
