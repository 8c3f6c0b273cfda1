"""Appearance: the color of the visible part of a model; invisible parts have no effect."""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image
from pydantic import TypeAdapter

from spatialdata_builder.shards.sample import Reject, Row, Sample
from spatialdata_builder.shards.stage import Stage
from spatialdata_builder.sources.assets.asset import Asset
from spatialdata_builder.sources.blender.render import Renderer
from spatialdata_builder.sources.survey.appearance import MeasureAppearance, PortraitModel
from spatialdata_builder.sources.survey.geometry import SurveyAssets
from tests.sources.conftest import Measure
from tests.sources.models import box, checkered, glb, pack, unpack

Look = Callable[..., Asset | Reject]
RED, GREEN, BLUE, YELLOW = (200, 20, 20), (20, 150, 30), (25, 50, 200), (235, 200, 20)
LINEAR = {"red": [0.5, 0.01, 0.01], "green": [0.02, 0.3, 0.03], "blue": [0.01, 0.05, 0.5]}


@pytest.fixture
def look(measured: Measure) -> Look:
    """The result of survey and portrait for one model."""

    def looked(data: bytes, **entry: Any) -> Asset | Reject:
        found = measured(data, **entry)
        return found if isinstance(found, Reject) else TypeAdapter(Asset).validate_json(str(found.columns["asset"]))

    return looked


def shown(found: Asset | Reject) -> Asset:
    assert isinstance(found, Asset), found
    return found


def png(image: Image.Image) -> dict[str, str]:
    data = io.BytesIO()
    image.save(data, "PNG")
    return {"uri": f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"}


def halves(left: tuple[int, ...], right: tuple[int, ...]) -> Image.Image:
    pixels = np.zeros((16, 16, len(left)), np.uint8)
    pixels[:, :8], pixels[:, 8:] = left, right
    return Image.fromarray(pixels)


def textured(image: Image.Image, u: tuple[float, float] = (0.1, 0.4), **material: Any) -> tuple[dict[str, Any], bytes]:
    """A box of one matte material with an image, whose texture coordinates lie between the two `u`."""
    mesh = box(0.4, 0.5, 0.3)
    mesh.visual = trimesh.visual.TextureVisuals(
        uv=np.stack([np.resize(u, len(mesh.vertices)), np.full(len(mesh.vertices), 0.5)], axis=1),
        material=checkered(),
    )
    content, binary = unpack(glb(mesh, material=None))
    content["images"] = [png(image)]
    content["textures"] = [{"source": 0}]
    rough = {"metallicFactor": 0, "roughnessFactor": 0.9} | material.pop("pbrMetallicRoughness", {})
    content["materials"] = [{"pbrMetallicRoughness": rough} | material]
    return content, binary


def base(image: Image.Image, u: tuple[float, float] = (0.1, 0.4), **reference: Any) -> tuple[dict[str, Any], bytes]:
    return textured(image, u, pbrMetallicRoughness={"baseColorTexture": {"index": 0} | reference})


def plain(color: list[float], alpha: float = 1.0, **material: Any) -> dict[str, Any]:
    rough = {"baseColorFactor": [*color, alpha], "metallicFactor": 0, "roughnessFactor": 0.9}
    return {"pbrMetallicRoughness": rough} | material


def with_materials(materials: list[dict[str, Any]], *meshes: trimesh.Trimesh) -> bytes:
    """Meshes with one material each."""
    content, binary = unpack(glb(*meshes))
    content["materials"] = materials
    for number, mesh in enumerate(content["meshes"]):
        mesh["primitives"][0]["material"] = number
    return pack(content, binary)


def transformed(**values: Any) -> dict[str, Any]:
    return {"extensions": {"KHR_texture_transform": values}}


def test_is_a_stage():
    assert isinstance(MeasureAppearance("objaverse"), Stage)


@pytest.mark.parametrize(
    ("reference", "color"),
    [({}, "red"), (transformed(offset=[0.5, 0]), "blue"), (transformed(rotation=np.pi, offset=[1, 1]), "blue")],
    ids=["none", "offset", "rotation"],
)
def test_texture_transforms_are_applied(look: Look, reference: dict[str, Any], color: str):
    content, binary = base(halves(RED, BLUE), **reference)
    content["extensionsUsed"] = ["KHR_texture_transform"]
    assert shown(look(pack(content, binary))).colour == color


@pytest.mark.parametrize(("wrap", "color"), [(10497, "red"), (33071, "blue"), (33648, "blue")])
def test_the_wrap_mode_of_the_sampler_is_applied(look: Look, wrap: int, color: str):
    content, binary = base(halves(RED, BLUE), u=(1.1, 1.4))
    content["samplers"] = [{"wrapS": wrap, "wrapT": 10497}]
    content["textures"][0]["sampler"] = 0
    assert shown(look(pack(content, binary))).colour == color


def test_sixteen_bit_gray(look: Look):
    gray = Image.fromarray(np.full((8, 8), 125 * 257, np.uint16))
    assert shown(look(pack(*base(gray)))).colour == "grey"


def test_emission_determines_the_color(look: Look):
    image = Image.new("RGB", (8, 8), YELLOW)
    black = {"baseColorFactor": [0, 0, 0, 1]}
    glowing = textured(image, pbrMetallicRoughness=black, emissiveTexture={"index": 0}, emissiveFactor=[1, 1, 1])
    assert shown(look(pack(*glowing))).colour == "yellow"
    factor = plain([0, 0, 0], emissiveFactor=LINEAR["blue"])
    assert shown(look(with_materials([factor], box(0.4, 0.5, 0.3)))).colour == "blue"


def test_a_metal_is_gold_and_rough_wood_of_that_color_is_not(look: Look):
    glossy = {"diffuseFactor": [0, 0, 0, 1], "specularFactor": [1.0, 0.56, 0.07], "glossinessFactor": 0.6}
    gold = {"extensions": {"KHR_materials_pbrSpecularGlossiness": glossy}}
    content, binary = unpack(with_materials([gold], box(0.4, 0.5, 0.3)))
    content["extensionsUsed"] = ["KHR_materials_pbrSpecularGlossiness"]
    assert shown(look(pack(content, binary))).colour == "gold"
    steel = {"pbrMetallicRoughness": {"baseColorFactor": [0.6, 0.6, 0.61, 1], "roughnessFactor": 0.2}}
    assert shown(look(with_materials([steel], box(0.4, 0.5, 0.3)))).colour == "silver"
    matte = plain([0.5, 0.25, 0.06])
    assert shown(look(with_materials([matte], box(0.4, 0.5, 0.3)))).colour != "gold"


def test_the_default_material_variant_is_shown(look: Look):
    content, binary = unpack(with_materials([plain(LINEAR["red"])], box(0.4, 0.5, 0.3)))
    content["materials"].append(plain(LINEAR["blue"]))
    content["extensionsUsed"] = ["KHR_materials_variants"]
    content["extensions"] = {"KHR_materials_variants": {"variants": [{"name": "a"}]}}
    mapped = {"mappings": [{"material": 1, "variants": [0]}]}
    content["meshes"][0]["primitives"][0]["extensions"] = {"KHR_materials_variants": mapped}
    assert shown(look(pack(content, binary))).colour == "red"


def test_cut_out_texels_have_no_color(look: Look):
    image = halves((*RED, 0), (*BLUE, 255))
    content, binary = textured(
        image, u=(0.1, 0.9), pbrMetallicRoughness={"baseColorTexture": {"index": 0}}, alphaMode="MASK", doubleSided=True
    )
    assert shown(look(pack(content, binary))).colour == "blue"


def test_hidden_parts_do_not_affect_the_color(look: Look):
    """Red boxes inside a blue box, with many times its area."""
    inner = [box(0.3, 0.3, 0.3) for _ in range(12)]
    data = with_materials([plain(LINEAR["blue"]), *[plain(LINEAR["red"])] * 12], box(0.5, 0.5, 0.5), *inner)
    found = shown(look(data))
    assert (found.colour, found.size_m, found.cut) == ("blue", (0.5, 0.5, 0.5), False)


def test_an_invisible_hull_affects_neither_size_nor_color(look: Look):
    inner = box(0.3, 0.2, 0.3)
    inner.apply_translation((0.25, 0.1, 0.25))
    hull = plain([1, 1, 1], alpha=0.0, alphaMode="BLEND")
    found = shown(look(with_materials([plain(LINEAR["red"]), hull], inner, box(0.9, 0.9, 0.9))))
    assert (found.colour, found.cut) == ("red", True)
    assert found.size_m == pytest.approx((0.3, 0.3, 0.2), abs=0.002)
    assert np.abs(found.footprint).max(axis=0) == pytest.approx([0.15, 0.15], abs=0.002)


def test_nothing_to_see(look: Look):
    for alpha in (0.0, 0.3):
        found = look(with_materials([plain(LINEAR["red"], alpha=alpha, alphaMode="BLEND")], box(0.4, 0.5, 0.3)))
        assert isinstance(found, Reject) and found.reason == "mostly_transparent"
    image = halves((*RED, 0), (*RED, 0))
    clear = textured(image, pbrMetallicRoughness={"baseColorTexture": {"index": 0}}, alphaMode="MASK")
    found = look(pack(*clear))
    assert isinstance(found, Reject) and found.reason == "nothing_to_see"


def test_color_words_of_titles_are_dropped_if_they_are_wrong(look: Look):
    def category(text: str, *colors: list[float]) -> str:
        boxes = [box(0.4, 0.2, 0.3) for _ in colors]
        for number, mesh in enumerate(boxes):
            mesh.apply_translation((0, 0.2 * number, 0))
        return shown(look(with_materials([plain(color) for color in colors], *boxes), category=text)).category

    white = [0.9, 0.9, 0.88]
    for text in ("red bowl", "red-brown bowl", "bluish bowl", "colorful bowl", "light blue bowl"):
        assert category(text, white) == "bowl"
    assert category("white wine glass", LINEAR["red"]) == "white wine glass"
    assert category("redwood bowl", white) == "redwood bowl"
    # The whole has no single color, so words that match a part are kept.
    assert category("red chair", LINEAR["red"], white) == "red chair"
    assert category("red and white chair", LINEAR["red"], white) == "red and white chair"
    assert category("blue chair", LINEAR["red"], white) == "chair"


def test_rotational_symmetry(look: Look):
    up = trimesh.transformations.rotation_matrix(-np.pi / 2, (1, 0, 0))
    round_one = trimesh.creation.cylinder(0.2, 0.5, sections=48, transform=up)
    knob = box(0.12, 0.05, 0.05)
    knob.apply_translation((0.24, 0, 0))
    assert not shown(look(glb(round_one))).rotatable
    assert shown(look(glb(round_one, knob))).rotatable
    assert shown(look(glb(box(0.3, 0.3, 0.3)))).rotatable


def legs(count: int, reach: float) -> list[trimesh.Trimesh]:
    """Thin legs on a circle, y up."""
    result = [box(0.03, 0.5, 0.03) for _ in range(count)]
    for leg, angle in zip(result, np.arange(count) * 2 * np.pi / count + 0.3, strict=True):
        leg.apply_translation((reach * np.cos(angle), -0.25, reach * np.sin(angle)))
    return result


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6, 8])
def test_symmetry_equals_the_number_of_legs(look: Look, count: int):
    up = trimesh.transformations.rotation_matrix(-np.pi / 2, (1, 0, 0))
    seat = trimesh.creation.cylinder(0.2, 0.04, sections=48, transform=up)
    stool = shown(look(glb(trimesh.util.concatenate([seat, *legs(count, 0.19)]))))
    assert (stool.symmetry, stool.rotatable) == (count, True)
    missing_leg = shown(look(glb(trimesh.util.concatenate([seat, *legs(count, 0.19)[1:]]))))
    assert missing_leg.symmetry == 1
    handle = box(0.1, 0.03, 0.08)
    handle.apply_translation((0.24, 0.1, 0))
    assert shown(look(glb(trimesh.util.concatenate([seat, *legs(count, 0.19), handle])))).symmetry == 1


def test_symmetry_of_boxes_and_of_colors(look: Look):
    assert shown(look(glb(box(0.3, 0.3, 0.3)))).symmetry == 4
    assert shown(look(glb(box(0.3, 0.4, 0.2)))).symmetry == 2
    wedge = box(0.3, 0.4, 0.3)
    wedge.vertices[wedge.vertices[:, 0] > 0, 1] *= 0.3
    assert shown(look(glb(wedge))).symmetry == 1
    painted = box(0.3, 0.3, 0.3).subdivide().subdivide().subdivide()
    colors = np.tile([40, 90, 160, 255], (len(painted.vertices), 1))
    for sides, folds in ((1, 1), (-1, 2)):
        marked = (painted.vertices[:, 0] * np.array([1, sides])[:, None] > 0.14).any(axis=0)
        marked &= np.abs(painted.vertices[:, 1:]).max(axis=1) < 0.1
        painted.visual.vertex_colors = np.where(marked[:, None], [240, 240, 240, 255], colors)
        assert shown(look(glb(painted, material=None))).symmetry == folds


def test_colors_of_real_models(shared_assets: Path, portraitist: Renderer):
    root = shared_assets / "objaverse"
    from spatialdata_builder.sources.objaverse.cache import read_cache

    wanted = {"Extinguisher": "red", "Convertible sofa BZ": "blue", "Glove": "black", "Cup cake": "", "Mixer": ""}
    for entry in read_cache(root):
        if entry.name in wanted:
            (row,) = SurveyAssets("objaverse")(root.joinpath, [Sample(entry.uid, "train", entry.spec())])
            assert isinstance(row, Row)
            (row,) = MeasureAppearance("objaverse")(
                PortraitModel(portraitist, root.joinpath),
                [Sample(entry.uid, "train", entry.spec(), {"survey": row.columns})],
            )
            assert isinstance(row, Row)
            found = TypeAdapter(Asset).validate_json(str(row.columns["asset"]))
            assert found.colour == wanted.pop(entry.name), entry.name
    assert not wanted
