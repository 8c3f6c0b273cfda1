"""The browser draws a map with the same colors as the contact sheet, within 8-bit precision."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from spatialdata_builder.pipeline.report.gallery.contact_sheet import picture
from spatialdata_builder.pipeline.report.palette import turbo
from spatialdata_builder.shards import codecs
from spatialdata_builder.shards.reader import StoredSample, read_record, read_samples
from tests.pipeline.command_line import run
from tests.pipeline.report.gallery.conftest import Look
from tests.shards.factory import SIDE, make_split, out_of

Pixels = NDArray[np.integer[Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("colors")
    make_split(out_of(folder), [["a-1"]])
    assert run("view", folder, "--out", folder / "gallery").code == 0
    return folder


@pytest.fixture(scope="module")
def sample(folder: Path) -> StoredSample:
    (found,) = read_samples(str(next(folder.rglob("*.tar"))))
    return found


@pytest.fixture
def seen(folder: Path, look: Callable[..., Look]) -> Callable[[str], Pixels]:
    """The color at the center of each pixel of the target, with a map drawn over it; (SIDE, SIDE, 3)."""
    found = look(folder / "gallery" / "index.html", "#open=a-1")
    found.page.wait_for_selector(".stage .picture")
    for _ in range(2):
        found.page.keyboard.press("x")  # only the target
    found.page.evaluate("document.querySelectorAll('.label').forEach((label) => label.remove())")

    def draw(name: str) -> Pixels:
        found.page.click(f".map-tile[data-map={name}]")
        found.page.wait_for_function("() => [...document.images].every((one) => !one.src || one.complete)")
        shot = np.asarray(Image.open(io.BytesIO(found.page.locator(".stage").screenshot())).convert("RGB")).astype(int)
        at = ((np.arange(SIDE) + 0.5) * shot.shape[0] / SIDE).astype(int)
        return shot[at][:, at]

    return draw


@pytest.mark.parametrize("name", ["instances", "segment"])
def test_labels_have_the_colors_of_the_sheet(name: str, seen: Callable[[str], Pixels], sample: StoredSample):
    member = {"instances": "target_instances"}.get(name, name)
    expected = picture(member, sample.members, read_record(sample.members["json"]))
    assert len(np.unique(expected.reshape(-1, 3), axis=0)) == 3
    assert np.abs(seen(name) - expected).max() <= 1


@pytest.mark.parametrize("name", ["normal", "line"])
def test_maps_without_a_color_table_are_as_stored(name: str, seen: Callable[[str], Pixels], sample: StoredSample):
    expected = picture(name, sample.members, read_record(sample.members["json"])).astype(int)
    assert np.median(np.abs(seen(name) - expected)) <= 1


def test_relative_depth(seen: Callable[[str], Pixels], sample: StoredSample):
    high = codecs.decode_depth_pixels(sample.members["depth"]) >> 8
    expected = turbo()[high].astype(int)
    expected[high == 0] = 0
    assert np.abs(seen("depth") - expected).max() <= 10  # a browser may round where our code truncates


def test_metric_depth(seen: Callable[[str], Pixels], sample: StoredSample):
    pixels = codecs.decode_depth_pixels(sample.members["metric"])
    expected = picture("metric", sample.members, read_record(sample.members["json"])).astype(int)
    shown = seen("metric")
    assert (shown[pixels == 0] == 0).all()
    assert np.abs(shown - expected)[pixels > 512].max() <= 24


def test_the_changed_region_is_a_tint(seen: Callable[[str], Pixels], sample: StoredSample):
    changed = codecs.decode_mask(sample.members["changed"])
    target = codecs.decode_image(sample.members["target"]).astype(float)
    shown = seen("changed")
    tinted = (target[changed] + np.array([255, 45, 120])) / 2
    assert np.median(np.abs(shown[changed] - tinted)) < 16
