"""Checks of image files before a plan keeps them."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.sources.blender.render import ImageFacts, Renderer
from spatialdata_builder.sources.materials.hdris import find_hdris
from spatialdata_builder.sources.materials.images import prepared_hdri, prepared_map
from spatialdata_builder.sources.scenes.spec import RenderOptions
from tests.needs import needs
from tests.sources.materials.painted_sets import ambientcg, sky, write, write_hdr

KEY = "scene.light.hdris"


@pytest.fixture(scope="module")
@needs("blender")
def renderer():
    with Renderer(RenderOptions(device="cpu"), threads=1) as shared:
        yield shared


def never(path: Path, most: int, smaller: Path) -> ImageFacts:
    """The header alone must tell."""
    raise AssertionError(f"{path} was opened")


def png_header(width: int, height: int) -> bytes:
    """A PNG of any size without its pixels."""
    chunk = b"IHDR" + struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return start + struct.pack(">I", 99) + b"IDAT"


def exr_header(width: int, height: int, version: int = 2) -> bytes:
    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    return (
        struct.pack("<2I", 20000630, version)
        + b"compression\0compression\0"
        + struct.pack("<IB", 1, 0)
        + b"dataWindow\0box2i\0"
        + struct.pack("<I", 16)
        + window
        + b"\0"
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.hdr", png_header(64, 32), "is a PNG image with 8 or 16 bits, not an HDRI"),
        ("a.exr", b"\xff\xd8\xff\xe0" + bytes(99), "is a JPEG image"),
        ("a.hdr", b"", "cannot be read"),
        ("a.hdr", b"BM" + bytes(99), "not a Radiance HDR file"),
        ("a.hdr", b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\nnothing", "names no resolution"),
        ("a.hdr", b"#?RADIANCE\n\n-Y 40000 +X 80000\n", "80000 x 40000 pixels, more than"),
        ("a.hdr", b"#?RADIANCE\n\n-Y 64 +X 64\n", "64 x 64 pixels, but an equirectangular HDRI is twice as wide"),
        ("a.exr", b"v/1\x01", "cannot be read"),
        ("a.exr", exr_header(64, 32)[:40], "cannot be read"),
        ("a.exr", exr_header(64, 32, 2 | 0x800), "deep image"),
        ("a.exr", exr_header(60_000, 30_000), "60000 x 30000 pixels"),
        ("a.exr", exr_header(0, 0), "0 x 0 pixels"),
    ],
)
def test_files_that_are_no_hdris(tmp_path: Path, name: str, content: bytes, message: str):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BadInput, match=message) as error:
        prepared_hdri(KEY, path, never, tmp_path)
    assert KEY in str(error.value) and str(path) in str(error.value)


@pytest.mark.blender
def test_hdris_that_light_nothing(renderer: Renderer, tmp_path: Path):
    dark = write_hdr(tmp_path / "dark.hdr", np.zeros((16, 32, 3)))
    with pytest.raises(BadInput, match="mean luminance of 0, so it cannot light a scene"):
        prepared_hdri(KEY, dark, renderer.measure_image, tmp_path)
    cut = write_hdr(tmp_path / "cut.hdr", sky(32))
    cut.write_bytes(cut.read_bytes()[:70])
    with pytest.raises(BadInput, match="cannot be read"):
        prepared_hdri(KEY, cut, renderer.measure_image, tmp_path)


@pytest.mark.blender
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite(renderer: Renderer, tmp_path: Path, value: float):
    path = write_exr(tmp_path / "odd.exr", np.where(np.arange(32)[:, None] == 5, value, 1.0) * np.ones((32, 64)))
    with pytest.raises(BadInput, match="values that are not finite"):
        prepared_hdri(KEY, path, renderer.measure_image, tmp_path)
    with pytest.raises(BadInput, match="values that are not finite"):
        prepared_map(KEY, path, renderer.measure_image, tmp_path)


def write_exr(path: Path, gray: np.ndarray) -> Path:
    """An uncompressed OpenEXR file of one float image (H, W) as R, G and B."""
    height, width = gray.shape
    channels = b"".join(name + b"\0" + struct.pack("<IB3xII", 2, 0, 1, 1) for name in (b"B", b"G", b"R")) + b"\0"

    def attribute(name: bytes, kind: bytes, value: bytes) -> bytes:
        return name + b"\0" + kind + b"\0" + struct.pack("<I", len(value)) + value

    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    head = (
        struct.pack("<2I", 20000630, 2)
        + b"".join(
            [
                attribute(b"channels", b"chlist", channels),
                attribute(b"compression", b"compression", b"\0"),
                attribute(b"dataWindow", b"box2i", window),
                attribute(b"displayWindow", b"box2i", window),
                attribute(b"lineOrder", b"lineOrder", b"\0"),
                attribute(b"pixelAspectRatio", b"float", struct.pack("<f", 1.0)),
                attribute(b"screenWindowCenter", b"v2f", struct.pack("<2f", 0.0, 0.0)),
                attribute(b"screenWindowWidth", b"float", struct.pack("<f", 1.0)),
            ]
        )
        + b"\0"
    )
    line = 8 + 12 * width
    offsets = len(head) + 8 * height + line * np.arange(height, dtype="<u8")
    lines = b"".join(struct.pack("<iI", y, 12 * width) + gray[y].astype("<f4").tobytes() * 3 for y in range(height))
    path.write_bytes(head + offsets.tobytes() + lines)
    return path


@pytest.mark.blender
def test_the_mean_luminance_and_a_smaller_hdri(renderer: Renderer, tmp_path: Path):
    """Of a sky that is bright above and dark below; negative values count as 0."""
    rows = np.where(np.arange(64) < 32, 3.0, -50.0)
    path = write_exr(tmp_path / "half.exr", np.repeat(rows[:, None], 128, axis=1))
    facts = renderer.measure_image(path, 4096, tmp_path / "small.exr")
    assert (facts.width, facts.height, facts.finite, facts.shrunk) == (128, 64, True, False)
    assert facts.radiance == pytest.approx(1.5, rel=1e-3)
    assert not (tmp_path / "small.exr").exists()
    facts = renderer.measure_image(path, 100, tmp_path / "small.exr")
    assert facts.shrunk
    small = renderer.measure_image(tmp_path / "small.exr", 4096, tmp_path / "none.exr")
    assert (small.width, small.height) == (64, 32)
    assert small.radiance == pytest.approx(1.5, rel=1e-3)
    first = (tmp_path / "small.exr").read_bytes()
    renderer.measure_image(path, 100, tmp_path / "small.exr")
    assert (tmp_path / "small.exr").read_bytes() == first  # or a kept file could not be made again


def test_hdris_of_a_folder(tmp_path: Path):
    write_hdr(tmp_path / "b.hdr", sky(8))
    write_hdr(tmp_path / "sub" / "a_4k.HDR", sky(8))
    ambientcg(tmp_path, "Bricks076", side=8)
    write_exr(tmp_path / "brick_nor_gl_2k.exr", np.ones((8, 8)))
    (tmp_path / "hdris.csv").write_text("file,license,creator,source\nsub/a_4k.HDR,CC0,Jo,https://example.org\n")
    (tmp_path / "LICENSE").write_text("CC BY 4.0")
    first, second = find_hdris(tmp_path)
    assert (first.name, first.credits.license, second.name) == ("b.hdr", "by", "sub/a_4k.HDR")
    assert (second.credits.license, second.credits.creator, second.credits.source) == (
        "cc0",
        "Jo",
        "https://example.org",
    )
    (alone,) = find_hdris(tmp_path / "b.hdr")
    assert alone == first
    with pytest.raises(BadInput, match=r"LICENSE is not an \.hdr or \.exr file"):
        find_hdris(tmp_path / "LICENSE")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"empty has no \.hdr or \.exr files"):
        find_hdris(tmp_path / "empty")
    (tmp_path / "hdris.csv").write_text("file\nc.hdr\n")
    with pytest.raises(BadInput, match=r"hdris\.csv:2: there is no HDRI 'c\.hdr'"):
        find_hdris(tmp_path)


def test_maps_are_kept_as_they_are_or_smaller(tmp_path: Path):
    color = np.random.default_rng(0).uniform(0, 1, (48, 64, 3))
    path = write(tmp_path / "a.png", color)
    assert prepared_map(KEY, path, never, tmp_path / "scratch") == (path, 0.75)
    (tmp_path / "scratch").mkdir()
    wide = np.kron(color[:32], np.ones((1, 96, 1)))  # 32 x 6144
    kept, aspect = prepared_map(KEY, write(tmp_path / "wide.png", wide), never, tmp_path / "scratch")
    assert aspect == pytest.approx(32 / 6144)
    with Image.open(kept) as image:
        assert image.size == (2048, 10)
        exact = np.rint(wide * 255)[:30].reshape(10, 3, 2048, 3, 3).mean(axis=(1, 3))
        assert np.abs(np.asarray(image) - exact).max() <= 0.5
    deep = (np.arange(8 * 4096).reshape(8, 4096)).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    kept, _ = prepared_map(KEY, tmp_path / "deep.png", never, tmp_path / "scratch")
    with Image.open(kept) as image:
        assert np.asarray(image).astype(int).max() > 4 * 4096


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no image", "cannot be read"),
        (png_header(64, 32), "cannot be read"),
        (png_header(20_000, 20_000), "pixels, more"),
    ],
)
def test_maps_that_cannot_be_read(tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "Bricks_Color.png"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=message):
        prepared_map("scene.surfaces", path, never, tmp_path)
    jpg = write(tmp_path / "whole.jpg", np.random.default_rng(0).uniform(0, 1, (64, 64, 3)))
    jpg.write_bytes(jpg.read_bytes()[:-600])
    with pytest.raises(BadInput, match=r"whole\.jpg cannot be read"):
        prepared_map("scene.surfaces", jpg, never, tmp_path)
