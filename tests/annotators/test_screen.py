"""The junk screen: good pictures pass, degraded ones are rejected with the matching reason."""

import json

import numpy as np
import pytest

from spatialdata_builder.annotators.perceptual import change_hash, image_hash, thumbnail
from spatialdata_builder.annotators.screen import JunkScreen, blur, measure, structure
from spatialdata_builder.shards.codecs import U8
from spatialdata_builder.shards.sample import Reject, Result, Row, Sample
from tests.annotators.scenery import SIDE, blurred, lit, pair, scene, with_thing

RNG = np.random.default_rng(0)
FLOOR = np.clip(RNG.normal(120, 3, (SIDE, SIDE, 3)) + np.linspace(-20, 20, SIDE)[:, None, None], 0, 255)
HALF_BLACK = scene(2)
HALF_BLACK[: SIDE // 2] = 0
HALF_WHITE = scene(2)
HALF_WHITE[: SIDE // 2] = 255
DEGRADED = {
    "black": (np.zeros((SIDE, SIDE, 3), np.uint8), "too_dark", "luma"),
    "dim": (lit(scene(1), 0.1), "too_dark", "luma"),
    "half black": (HALF_BLACK, "too_dark", "black"),
    "white": (np.full((SIDE, SIDE, 3), 255, np.uint8), "blown_out", "luma"),
    "overexposed": (lit(scene(1), 4), "blown_out", "luma"),
    "half white": (HALF_WHITE, "blown_out", "white"),
    "one gray": (np.full((SIDE, SIDE, 3), 130, np.uint8), "nothing_visible", "structure"),
    "floor": (FLOOR.astype(np.uint8), "nothing_visible", "structure"),
    "blurred by 3": (blurred(scene(1), 3), "blurred", "blur"),
    "blurred by 5": (blurred(scene(4), 5), "blurred", "blur"),
}


def screened(sample: Sample, **options: float) -> Result:
    stage = JunkScreen(**options)
    return stage(stage.setup(), [sample])[0]


def gray(rgb: U8) -> U8:
    return (rgb.astype(np.float64) @ [0.299, 0.587, 0.114]).round().astype(np.uint8)


@pytest.mark.parametrize("seed", range(12))
def test_good_pictures_pass_with_their_hashes(seed: int):
    source, target = scene(seed), with_thing(scene(seed), 60, 120)
    result = screened(pair(source, target))
    assert isinstance(result, Row), result
    columns = dict(result.columns)
    measured = json.loads(str(columns.pop("screen")))
    assert measured == {"source": measure(source), "target": measure(target)}
    thumbnails = thumbnail(source), thumbnail(target)
    assert columns == {
        "source_hash": image_hash(thumbnails[0]),
        "target_hash": image_hash(thumbnails[1]),
        "change_hash": change_hash(*thumbnails),
    }


@pytest.mark.parametrize(("bad", "reason", "number"), DEGRADED.values(), ids=DEGRADED)
@pytest.mark.parametrize("view", ["source", "target"])
def test_junk_is_rejected_in_either_view(view: str, bad: U8, reason: str, number: str):
    good = scene(1)
    result = screened(pair(bad, good) if view == "source" else pair(good, bad))
    assert isinstance(result, Reject)
    assert (result.reason, result.score) == (reason, result.scores[f"{view}_{number}"])
    assert len(result.scores) == 10


@pytest.mark.parametrize("view", ["source", "target"])
def test_a_truncated_image_is_a_reject_with_its_reason(view: str):
    sample = pair(scene(3), scene(3))
    broken = dict(sample["pair"]) | {view: bytes(sample["pair"][view])[:200]}
    result = screened(Sample("a-1", "train", {}, {"pair": broken}))
    assert isinstance(result, Reject) and result.reason == "unreadable_image" and result.detail


def test_a_patterned_floor_without_objects_is_rejected_if_masks_are_known():
    for objects, passes in ((True, True), (None, True), (False, False)):
        result = screened(pair(scene(1), scene(1), objects=objects))
        assert isinstance(result, Row) == passes
    assert isinstance(result, Reject)
    assert result.reason == "nothing_visible"


def test_thresholds_are_options():
    sample = pair(scene(1), scene(1))
    numbers = measure(scene(1))
    for options, reason in (
        ({"min_luminance": numbers["luma"] + 0.01}, "too_dark"),
        ({"max_luminance": numbers["luma"] - 0.01}, "blown_out"),
        ({"min_structure": numbers["structure"] + 0.1}, "nothing_visible"),
        ({"max_blur": numbers["blur"] - 0.01}, "blurred"),
    ):
        result = screened(sample, **options)
        assert isinstance(result, Reject)
        assert result.reason == reason


def test_blur_increases_with_blur_but_not_with_contrast():
    for seed in range(6):
        values = [blur(gray(blurred(scene(seed), sigma) if sigma else scene(seed))) for sigma in (0, 1, 1.5, 2, 3, 4)]
        assert values == sorted(values)
        assert blur(gray(lit(scene(seed), 0.5, 60))) == pytest.approx(values[0], abs=0.03)


def test_one_sharp_object_on_a_smooth_backdrop_is_sharp():
    assert blur(gray(with_thing(blurred(scene(1), 8), 60, 120, radius=12))) < 0.5


def test_blur_equals_the_formula_step_by_step():
    picture = gray(scene(7)).astype(np.float64)
    offsets = np.arange(-9, 10)
    kernel = np.exp(-(offsets**2) / (2 * 1.5**2))
    kernel /= kernel.sum()
    smooth = np.pad(picture, 9, mode="reflect")
    for axis in (0, 1):
        smooth = np.apply_along_axis(np.convolve, axis, smooth, kernel, mode="valid")

    def energy(image: np.ndarray) -> np.ndarray:
        p = np.pad(image, 1, mode="reflect")
        across = p[:-2, 2:] - p[:-2, :-2] + 2 * (p[1:-1, 2:] - p[1:-1, :-2]) + p[2:, 2:] - p[2:, :-2]
        down = p[2:, :-2] - p[:-2, :-2] + 2 * (p[2:, 1:-1] - p[:-2, 1:-1]) + p[2:, 2:] - p[:-2, 2:]
        return (across**2 + down**2) / 64

    before, after = energy(picture), energy(smooth)
    edges = after > 1.5**2
    assert blur(picture.astype(np.uint8)) == pytest.approx(after[edges].sum() / before[edges].sum(), rel=0.01)


def test_grain_and_shading_are_not_structure():
    grain = RNG.normal(128, 6, (256, 256)).clip(0, 255).astype(np.uint8)
    slope = np.tile(np.linspace(60, 200, 256).astype(np.uint8), (256, 1))
    step = np.where(slope > 128, 150, 110).astype(np.uint8)
    assert structure(grain) < 4
    assert structure(slope) < 4
    assert structure(step) > 8
