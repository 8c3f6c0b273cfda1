"""Drawings of bright and dark pictures whose outlines are known."""

import json

import cv2
import numpy as np
import pytest

from spatialdata_builder.annotators.agreement import line_figures
from spatialdata_builder.annotators.xdog import XDoG, draw
from spatialdata_builder.pipeline.engine.runner import Task
from spatialdata_builder.shards import codecs
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.sample import Reject, Row, Sample
from spatialdata_builder.shards.stage import Stage

DEFAULTS = {"sigma": XDoG().sigma, "density": XDoG().density, "contrast": XDoG().contrast, "color": XDoG().colour}
SIDE = 160


def picture(
    things: tuple[int, int, int], ground: tuple[int, int, int], noise: float = 2.0
) -> tuple[np.ndarray, np.ndarray]:
    """A box and a disc on a shaded floor with grain, and a drawing of their outlines."""
    rng = np.random.default_rng(5)
    labels = np.zeros((SIDE, SIDE), np.uint8)
    cv2.rectangle(labels, (25, 30), (75, 90), 1, -1)
    cv2.circle(labels, (110, 100), 28, 2, -1)
    shade = np.linspace(0.8, 1.2, SIDE)[:, None, None]
    rgb = np.where(labels[..., None] > 0, np.array(things, float), np.array(ground, float) * shade)
    rgb = cv2.GaussianBlur(rgb, (0, 0), 0.6) + rng.normal(0, noise, rgb.shape)
    outline = np.full(labels.shape, 255, np.uint8)
    outline[cv2.morphologyEx(labels, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0] = 0
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8), outline


PICTURES = {
    "bright": ((250, 250, 250), (190, 185, 180)),
    "dark": ((45, 40, 38), (14, 14, 16)),
    "black things": ((5, 5, 5), (120, 118, 110)),
    "white things at night": ((180, 180, 180), (8, 8, 10)),
    "colors of equal lightness": ((205, 92, 92), (95, 140, 95)),
}


@pytest.mark.parametrize("name", PICTURES)
def test_outlines_are_drawn_and_nothing_else(name: str):
    noise = 0.7 if name == "dark" else 2.0
    rgb, outline = picture(*PICTURES[name], noise)
    lines = draw(rgb, **DEFAULTS)
    assert lines.dtype == np.uint8 and lines.shape == rgb.shape[:2]
    found = line_figures(outline, lines)
    assert found["f1"] > 0.9 and found["precision"] > 0.95, found


def test_dark_areas_stay_white():
    rgb, outline = picture(*PICTURES["black things"])
    lines = draw(rgb, **DEFAULTS)
    far = cv2.erode(outline, np.ones((9, 9), np.uint8)) == 255
    assert (lines[far] == 255).mean() > 0.99


@pytest.mark.parametrize("level", [0, 7, 128, 255])
def test_a_constant_image_gives_a_white_drawing(level: int):
    assert (draw(np.full((40, 60, 3), level, np.uint8), **DEFAULTS) == 255).all()


def test_density_bounds_the_drawn_share():
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    assert (draw(noise, **DEFAULTS) < 255).mean() <= DEFAULTS["density"] + 1e-3


def test_lightness_alone_misses_colors_of_equal_lightness():
    rgb, outline = picture(*PICTURES["colors of equal lightness"])
    assert line_figures(outline, draw(rgb, **DEFAULTS | {"color": 0.0}))["f1"] < 0.9


def test_the_threshold_is_soft():
    rgb, _ = picture(*PICTURES["bright"])
    lines = draw(rgb, **DEFAULTS)
    assert len(np.unique(lines)) > 20
    # Eq. 5 never reaches black, and the response epsilon is white.
    assert lines.min() < 40


class TestStage:
    def sample(self, **columns: object) -> Sample:
        source, _ = picture(*PICTURES["dark"])
        target, _ = picture(*PICTURES["bright"])
        pair = {"source": codecs.encode_image(source), "target": codecs.encode_image(target), **columns}
        return Sample("a-1", "train", {}, {"pair": pair})

    def test_maps_of_both_views(self):
        stage = XDoG()
        assert isinstance(stage, Stage)
        assert not Task(stage, "line-0", {}).own_pool
        row = stage(stage.setup(), [self.sample()])[0]
        assert isinstance(row, Row)
        assert set(row.columns) == {"line", "source_line", "maps"}
        infos = json.loads(str(row.columns["maps"]))
        assert infos["line"] == infos["source_line"]
        assert infos["line"]["kind"] == "lines" and infos["line"]["estimator"] == "xdog"
        for member, name in (("line", "bright"), ("source_line", "dark")):
            expected = draw(picture(*PICTURES[name])[0], **DEFAULTS)
            np.testing.assert_array_equal(codecs.decode_lines(row.columns[member]), expected)

    def test_only_the_drawn_images_are_read(self):
        stage = XDoG(views=("target",))
        assert stage.columns == {"pair": ("target",)}
        row = stage(None, [Sample("a-1", "train", {}, {"pair": {"target": self.sample()["pair"]["target"]}})])[0]
        assert set(row.columns) == {"line", "maps"}

    def test_a_damaged_image_is_a_reject(self):
        good, bad = XDoG()(None, [self.sample(), self.sample(source=b"no image")])
        assert isinstance(good, Row)
        assert isinstance(bad, Reject)
        assert bad.reason == "unreadable_image" and "source" in bad.detail

    @pytest.mark.parametrize("options", [{"sigma": 0}, {"density": 1}, {"contrast": 0}, {"colour": -1}, {"views": ()}])
    def test_invalid_options(self, options: dict):
        with pytest.raises(BadInput, match=r"layers\.line"):
            XDoG(**options)
