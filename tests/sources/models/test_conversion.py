"""Models of other formats: converted once by Blender, as they look, and a reason for each that cannot be."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import trimesh
from pydantic import TypeAdapter

from spatialdata_builder.shards.codecs import decode_image
from spatialdata_builder.shards.sample import Row, Sample
from spatialdata_builder.sources.assets.asset import Asset
from spatialdata_builder.sources.assets.glb import GlbError
from spatialdata_builder.sources.blender.environment import python_of
from spatialdata_builder.sources.blender.process import SCRIPT
from spatialdata_builder.sources.blender.render import Renderer
from spatialdata_builder.sources.models.conversion import Converter
from spatialdata_builder.sources.survey.appearance import MeasureAppearance, PortraitModel
from spatialdata_builder.sources.survey.geometry import SurveyAssets
from tests.needs import needs
from tests.sources.models import box

FORMATS = ("fbx", "obj", "usdc", "usdz", "ply")
ASSET = TypeAdapter(Asset)


@pytest.fixture(scope="module")
@needs("blender")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A blue box in every format, the FBX with a texture path that is valid on this machine alone."""
    folder = tmp_path_factory.mktemp("exported") / "models"
    command = [str(python_of(SCRIPT)), "-I", str(Path(__file__).with_name("exports.py")), str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    painted = box(0.4, 0.2, 0.6)
    painted.visual.vertex_colors = np.tile([20, 60, 160, 255], (len(painted.vertices), 1))
    painted.export(folder / "box.ply")
    return folder


@pytest.fixture
def root(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "root"))


@pytest.fixture(scope="module")
@needs("blender")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache for the tests that do not count conversions."""
    yield tmp_path_factory.mktemp("cache")


def converter(root: Path, cache: Path, timeout_s: float = 300) -> Converter:
    return Converter(root, cache, "", timeout_s)


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_is_read_as_it_looks(suffix: str, root: Path, shared: Path, portraitist: Renderer):
    files = converter(root, shared).converted
    spec = {"uid": "u", "path": f"box.{suffix}", "licence": "by", "creator": "c", "name": "", "category": "box"}
    (row,) = SurveyAssets("models")(files, [Sample("u", "train", spec)])
    assert isinstance(row, Row), row
    (row,) = MeasureAppearance("models")(
        PortraitModel(portraitist, files), [Sample("u", "train", spec, {"survey": row.columns})]
    )
    assert isinstance(row, Row), row
    found = ASSET.validate_json(str(row.columns["asset"]))
    assert found.size_m == pytest.approx((0.4, 0.2, 0.6), abs=1e-4)
    assert "blue" in found.colour and found.path == f"box.{suffix}"


@pytest.mark.blender
def test_a_model_is_converted_once_and_again_when_a_file_of_it_changes(root: Path, tmp_path: Path):
    cache = tmp_path / "cache"
    first = converter(root, cache).converted("box.obj")
    made = first.stat().st_mtime_ns
    again = converter(root, cache)
    assert again.converted("box.obj") == first and first.stat().st_mtime_ns == made
    moved = Path(shutil.move(root, tmp_path / "moved"))
    assert converter(moved, cache).converted("box.obj") == first and first.stat().st_mtime_ns == made
    data = first.read_bytes()
    (moved / "textures" / "paint.png").write_bytes((moved / "textures" / "paint.png").read_bytes() + b"\0")
    assert converter(moved, cache).converted("box.obj").stat().st_mtime_ns > made
    first.with_suffix(".json").unlink()  # as after a kill between the two files
    assert converter(moved, cache).converted("box.obj").read_bytes() != b""
    assert len(data) > 1000 and [path.suffix for path in sorted(first.parent.iterdir())] == [".glb", ".json"]


def rejected(root: Path, cache: Path, path: str, timeout_s: float = 300) -> GlbError:
    with pytest.raises(GlbError) as caught:
        converter(root, cache, timeout_s).converted(path)
    assert not list(cache.rglob("*.glb")) and "\n" not in caught.value.detail
    return caught.value


@pytest.mark.blender
def test_what_cannot_be_converted_has_a_reason(root: Path, tmp_path: Path):
    cache = tmp_path / "cache"
    assert rejected(root, cache, "gone.obj").reason == "missing_file"
    (root / "broken.fbx").write_bytes(b"no model")
    assert rejected(root, cache, "broken.fbx").reason == "not_converted"
    (root / "empty.obj").write_text("# nothing\n")
    assert rejected(root, cache, "empty.obj").reason == "no_geometry"
    error = rejected(root, cache, "box.fbx", 0.001)
    assert error.reason == "not_converted" and "render.timeout_s" in error.detail


@pytest.mark.blender
def test_textures_that_are_missing_or_outside_the_root(root: Path, tmp_path: Path):
    library = root / "box.mtl"
    inside = library.read_text()
    outside = shutil.move(root / "textures" / "paint.png", tmp_path / "paint.png")
    error = rejected(root, tmp_path / "cache", "box.obj")
    assert error.reason == "missing_textures" and "'paint.png' does not exist" in error.detail
    library.write_text(inside.replace("textures/paint.png", str(outside)))
    error = rejected(root, tmp_path / "cache", "box.obj")
    assert error.reason == "missing_textures" and "is outside source.root" in error.detail
    (root / "elsewhere").mkdir()
    found = Path(shutil.move(outside, root / "elsewhere" / "Paint.PNG"))
    for given in (str(outside), "C:\\Users\\Jo Doe\\paint.png"):
        library.write_text(inside.replace("textures/paint.png", given))
        made = trimesh.load(converter(root, tmp_path / "cache").converted("box.obj"))
        (mesh,) = made.geometry.values()
        np.testing.assert_array_equal(
            mesh.visual.material.baseColorTexture.convert("RGB"), decode_image(found.read_bytes())
        )
