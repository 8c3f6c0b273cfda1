"""What counts as surface, compared with analytic rays that know the opacity and sides of each sheet."""

from pathlib import Path

import numpy as np
import pytest

from spatialdata_builder.shards.geometry import matrix3, matrix4
from spatialdata_builder.sources.blender.render import AssetError, Renderer
from spatialdata_builder.sources.rendered.portraits import portrait_options, portrait_scene
from spatialdata_builder.sources.scenes.spec import RenderOptions
from tests.needs import needs
from tests.sources.sheets import Sheet, meet, upright, write

SIDE = 128
FRONT, REAR, SLANTED = 270, 90, 315


@pytest.fixture(scope="module")
@needs("blender")
def renderer():
    with Renderer(portrait_options(RenderOptions(device="cpu"), SIDE), threads=2) as shared:
        yield shared


def paint(alpha=1.0, mode="BLEND", double=True, **extensions):
    """A material. Keywords are extensions without the prefix `KHR_materials_`."""
    return {
        "pbrMetallicRoughness": {"baseColorFactor": [0.7, 0.3, 0.2, alpha], "metallicFactor": 0.0},
        "alphaMode": mode,
        "doubleSided": double,
        "extensions": {f"KHR_materials_{name}": value for name, value in extensions.items()},
    }


def glossy(alpha):
    return paint(1.0, pbrSpecularGlossiness={"diffuseFactor": [0.2, 0.4, 0.8, alpha]})


def halves(material, first, second, **more):
    """A sheet with a texture of two halves of different opacity."""
    return {"material": material, "opacity": (first, second), "texture": True, **more}


def pane(alpha, **extensions):
    return {"material": paint(alpha, **extensions), "opacity": (alpha, alpha)}


def plain(**more):
    """An opaque, single-sided sheet."""
    return {"material": paint(0.1, "OPAQUE", double=False), **more}


SOLID = paint(mode="OPAQUE")
UNLIT = {"unlit": {}}
GLASS = {"transmission": {"transmissionFactor": 1.0}}
LOW = paint(1.0, "MASK") | {"alphaCutoff": 0.1}
FRONTS = {
    "faint": [pane(0.3)],
    "dense": [pane(0.7)],
    "half": [pane(0.5)],
    "invisible": [pane(0.0)],
    "opaque mode ignores alpha": [{"material": paint(0.1, "OPAQUE")}],
    "unlit faint": [pane(0.45, **UNLIT)],
    "unlit dense": [pane(0.6, **UNLIT)],
    "unlit opaque": [{"material": paint(1.0, "OPAQUE", **UNLIT)}],
    "unlit cut-out": [halves(paint(1.0, "MASK", **UNLIT), 0.0, 1.0)],
    "cut-out": [halves(paint(1.0, "MASK"), 0.3, 0.9)],
    "low cut-off": [halves(LOW, 0.3, 0.9)],
    "texture": [halves(paint(), 0.2, 0.9)],
    "texture times factor": [halves(paint(0.6), 0.7, 0.95)],
    "unlit texture": [halves(paint(**UNLIT), 0.45, 0.8)],
    "vertex alpha": [{"material": paint(), "vertex_alpha": 0.3, "opacity": (0.3, 0.3)}],
    "specular-glossiness": [{"material": glossy(0.4), "opacity": (0.4, 0.4)}],
    "glass": [{"material": paint(1.0, "OPAQUE", **GLASS)}],
    "thick glass": [{"material": paint(1.0, "OPAQUE", volume={"thicknessFactor": 0.1}, clearcoat={}, **GLASS)}],
    "panes": [pane(0.45)] * 3,
    "thirty panes": [pane(0.05)] * 30,
    "facing": [plain()],
    "turned away": [plain(turned=True)],
    "mirrored, facing": [plain(mirrored=True)],
    "mirrored, turned away": [plain(mirrored=True, turned=True)],
    "unlit, turned away": [{"material": paint(1.0, "OPAQUE", double=False, **UNLIT), "turned": True}],
    "texture, turned away": [halves(paint(double=False), 0.2, 0.9, turned=True)],
}
"""Sheets one behind the other; each list is a column of the display."""


def display() -> list[Sheet]:
    """Each of `FRONTS` in front of an opaque, double-sided sheet; in rows of nine."""
    sheets: list[Sheet] = []
    for number, layers in enumerate(FRONTS.values()):
        x, z = number % 9 * 0.12, number // 9 * 0.12
        for depth, layer in enumerate(layers):
            fields = dict(layer)
            corners = upright(x, -0.1 + 0.002 * depth, 0.1, fields.pop("turned", False), z)
            sheets.append(Sheet(corners, **fields))
        sheets.append(Sheet(upright(x, 0.0, 0.11, z=z), SOLID))
    return sheets


@pytest.fixture(scope="module")
def shown(renderer, tmp_path_factory):
    """The display from three sides: for each the view, and what the rays hit."""
    file = tmp_path_factory.mktemp("sheets") / "display.glb"
    stored = display()
    asset = write(file, stored)
    spec, states = portrait_scene(asset, SIDE)
    renderer.open(spec, {1: file})
    found = {}
    for azimuth in (FRONT, REAR, SLANTED):
        state = states[azimuth]
        K, pose = matrix3(state.camera.K), matrix4(state.camera.world_from_camera)
        columns, rows = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5)
        local = np.stack([columns, rows, np.ones_like(rows)], -1).reshape(-1, 3) @ np.linalg.inv(K).T
        turn = np.deg2rad(state.placements[1].yaw_deg)
        rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
        directions, eye = local @ pose[:3, :3].T @ rotation, pose[:3, 3] @ rotation
        met = meet(solid_where_cut(stored), asset.offset, eye, directions)
        found[azimuth] = (renderer.render(state), met, directions, eye, rotation.T @ pose[:3, :3])
    return found


def solid_where_cut(sheets: list[Sheet]) -> list[Sheet]:
    """Sheets with the final opacity of textures: times the factor of the material, and cut off (by default at 0.5)."""
    result = []
    for sheet in sheets:
        material, (first, second) = sheet.material, sheet.opacity
        if sheet.texture:
            factor = material["pbrMetallicRoughness"]["baseColorFactor"][3]
            first, second = first * factor, second * factor
            if material["alphaMode"] == "MASK":
                first, second = (float(a >= material.get("alphaCutoff", 0.5)) for a in (first, second))
        result.append(Sheet(sheet.corners, material, (first, second), sheet.texture))
    return result


@pytest.mark.parametrize("azimuth", [FRONT, REAR, SLANTED])
def test_depth_id_normal_and_part_are_of_the_first_surface(shown, azimuth):
    view, met, directions, eye, _ = shown[azimuth]
    z, sheet = met.z.reshape(SIDE, SIDE), met.sheet.reshape(SIDE, SIDE)
    floor = np.where(directions[:, 2] < 0, -eye[2] / np.minimum(directions[:, 2], -1e-9), np.inf).reshape(SIDE, SIDE)
    on_sheet, sure = sheet >= 0, met.sure.reshape(SIDE, SIDE)
    assert (sure & on_sheet).mean() > 0.05
    assert np.array_equal((view.instances == 1)[sure], on_sheet[sure])
    expected = np.where(on_sheet, z, floor)
    assert np.abs(view.depth / expected - 1)[sure & (expected < 50)].max() < 2e-4
    length = np.linalg.norm(view.normal, axis=-1)
    assert np.allclose(length[view.depth > 0], 1, atol=1e-4)
    # All sheets are parallel, so they have the same normal.
    normals = view.normal[sure & on_sheet]
    assert np.abs(normals - normals[0]).max() < 1e-3
    seen = np.unique(np.stack([view.parts[sure & on_sheet], sheet[sure & on_sheet]]), axis=1)
    assert len(np.unique(seen[0])) == len(np.unique(seen[1])) == seen.shape[1]  # one part number for each sheet
    assert view.parts[view.depth > 0].min() > 0


def one_box(alpha: float, **more) -> list[Sheet]:
    return [Sheet(upright(0, y, 0.4), paint(alpha), (alpha, alpha), **more) for y in (0.0, 0.3)]


def test_an_object_without_any_surface_is_rejected(renderer, tmp_path: Path):
    file = tmp_path / "ghost.glb"
    spec, _ = portrait_scene(write(file, one_box(0.45)), SIDE)
    with pytest.raises(AssetError, match=r"ghost\.glb.*no part of it has an opacity of at least 0\.5") as error:
        renderer.open(spec, {1: file})
    assert error.value.reason == "mostly_transparent"


def test_smoke_is_rejected_when_it_is_rendered(renderer, tmp_path: Path):
    """Only the render shows that little of it is surface."""
    file = tmp_path / "smoke.glb"
    sheets = [Sheet(upright(0, y, 0.4), paint(), (0.3, 0.4), texture=True) for y in (0.0, 0.3)]
    spec, states = portrait_scene(write(file, [*sheets, Sheet(upright(0, 0.15, 0.1), SOLID)]), SIDE)
    renderer.open(spec, {1: file})
    with pytest.raises(AssetError, match=r"smoke: \d+% of its visible part") as error:
        renderer.render(states[FRONT])
    assert error.value.reason == "mostly_transparent"


def test_rays_do_not_see_back_faces(renderer, tmp_path: Path):
    """An open box whose fronts face outward: from above, the backs of the far walls are invisible."""
    file = tmp_path / "open.glb"
    a, b, h = 0.2, 0.15, 0.3
    walls = [
        ((-a, -b, 0), (a, -b, 0), (a, -b, h), (-a, -b, h)),
        ((a, -b, 0), (a, b, 0), (a, b, h), (a, -b, h)),
        ((a, b, 0), (-a, b, 0), (-a, b, h), (a, b, h)),
        ((-a, b, 0), (-a, -b, 0), (-a, -b, h), (-a, b, h)),
    ]
    spec, states = portrait_scene(write(file, [Sheet(wall, **plain()) for wall in walls]), SIDE)
    renderer.open(spec, {1: file})
    seen, view = renderer.visibility([states[SLANTED]])[0][1], renderer.render(states[SLANTED])
    assert seen.own_px == pytest.approx(int((view.instances == 1).sum()), rel=0.04)
    assert seen.visible == 1


def test_light_passes_through_backs(renderer, tmp_path: Path):
    """A red box in a larger black box with inverted faces, as in cartoon outlines. Light reaches the red box."""
    file = tmp_path / "toon.glb"
    red, black = paint(1.0, "OPAQUE"), paint(1.0, "OPAQUE", double=False)
    red["pbrMetallicRoughness"]["baseColorFactor"] = [0.6, 0.02, 0.02, 1]
    black["pbrMetallicRoughness"]["baseColorFactor"] = [0, 0, 0, 1]
    sheets = []
    for low, high, material, inward in ((0.05, 0.35, red, False), (0.0, 0.4, black, True)):
        half = (high - low) / 2
        for y, turned in ((-half, inward), (half, not inward)):
            sheets.append(Sheet(upright(0, y, high - low, turned, low), material))
        for x, turned in ((-half, inward), (half, not inward)):
            side = ((x, half, low), (x, -half, low), (x, -half, high), (x, half, high))
            sheets.append(Sheet(side[::-1] if turned else side, material))
        for z, turned in ((high, inward), (low, not inward)):
            top = ((-half, -half, z), (half, -half, z), (half, half, z), (-half, half, z))
            sheets.append(Sheet(top[::-1] if turned else top, material))
    spec, states = portrait_scene(write(file, sheets), SIDE)
    renderer.open(spec, {1: file})
    view = renderer.render(states[SLANTED])
    red_px = view.rgb[view.instances == 1].reshape(-1, 3).astype(int)
    assert np.median(red_px[:, 0]) > 120 and np.median(red_px[:, 0] - red_px[:, 1]) > 60


@pytest.mark.parametrize("split", [False, True])
def test_back_to_back_faces_show_the_one_that_faces_the_camera(renderer, tmp_path: Path, split: bool):
    """Two coincident quads with opposite winding, divided along the same diagonal or along the other one."""
    file = tmp_path / "sheet.glb"
    green, red = paint(mode="OPAQUE", double=False), paint(mode="OPAQUE", double=False)
    green["pbrMetallicRoughness"]["baseColorFactor"] = [0.02, 0.4, 0.02, 1]
    red["pbrMetallicRoughness"]["baseColorFactor"] = [0.6, 0.02, 0.02, 1]
    corners = upright(0, 0.1, 0.4)
    turned = corners[::-1] if split else (corners[0], corners[3], corners[2], corners[1])
    far = Sheet(upright(0, -0.1, 0.1), SOLID)
    spec, states = portrait_scene(write(file, [Sheet(corners, green), Sheet(turned, red), far]), SIDE)
    renderer.open(spec, {1: file})
    for azimuth, channel in ((FRONT, 1), (REAR, 0)):
        view = renderer.render(states[azimuth])
        shown = view.rgb[view.instances == 1].reshape(-1, 3).astype(int)
        mine = shown[:, channel] - shown[:, 1 - channel] > 40
        assert mine.mean() > (0.8 if azimuth == FRONT else 0.95)
