"""Hashes of similar images are near, others are far. They are compared with a DCT computed step by step."""

import cv2
import numpy as np
import pytest

from spatialdata_builder.annotators.perceptual import BITS, change_hash, distance, image_hash, thumbnail
from spatialdata_builder.pipeline.config import DuplicateOptions
from spatialdata_builder.shards.codecs import U8
from tests.annotators.scenery import SIDE, as_jpeg, lit, scene, with_thing

SEEDS = range(24)
NEAR = DuplicateOptions().distance


def hash_of(rgb: U8) -> str:
    return image_hash(thumbnail(rgb))


def change_of(source: U8, target: U8) -> str:
    return change_hash(thumbnail(source), thumbnail(target))


def grained(rgb: U8) -> U8:
    return np.clip(rgb + np.random.default_rng(0).normal(0, 3, rgb.shape), 0, 255).astype(np.uint8)


VARIANTS = {
    "jpeg": as_jpeg,
    "brighter": lambda rgb: lit(rgb, 1, 1),
    "darker": lambda rgb: lit(rgb, 1, -1),
    "smaller": lambda rgb: cv2.resize(rgb, None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA),
    "larger": lambda rgb: cv2.resize(rgb, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC),
    "grained": grained,
}


def test_hashes_are_the_documented_dct():
    small = thumbnail(scene(3))
    assert small.shape == (64, 64)
    n = np.arange(64)
    basis = np.cos(np.pi * (2 * n + 1) * n[:17, None] / 128) * np.sqrt(2 / 64)
    basis[0] /= np.sqrt(2)
    spectrum = basis @ small.astype(np.float64) @ basis.T
    kept = spectrum[:16, :16].copy()
    kept[0, 0] = spectrum[0, 16]
    bits = "".join(str(int(bit)) for bit in (kept > np.median(kept)).ravel())
    found = hash_of(scene(3))
    assert len(found) == 64
    assert distance(found, f"{int(bits, 2):064x}") <= 2  # the two coefficients next to the median may be swapped
    assert int(found, 16).bit_count() == BITS // 2


@pytest.mark.parametrize("change", VARIANTS.values(), ids=VARIANTS)
def test_variants_of_an_image_are_near(change):
    assert max(distance(hash_of(scene(seed)), hash_of(change(scene(seed)))) for seed in SEEDS) <= NEAR


def test_other_scenes_are_far():
    hashes = [hash_of(scene(seed)) for seed in range(80)]
    assert min(distance(a, b) for i, a in enumerate(hashes) for b in hashes[:i]) > 4 * NEAR


@pytest.mark.parametrize(
    "change", [VARIANTS["jpeg"], VARIANTS["smaller"], VARIANTS["larger"]], ids=["jpeg", "smaller", "larger"]
)
def test_a_reencoded_edit_is_near(change):
    for seed in SEEDS:
        source, target = scene(seed), with_thing(scene(seed), 60, 120)
        assert distance(change_of(source, target), change_of(change(source), change(target))) <= 2 * NEAR


def test_edits_of_one_scene_are_far_apart():
    for seed in SEEDS:
        source = with_thing(scene(seed), 40, 110, radius=9)
        here, there = with_thing(scene(seed), 100, 110, radius=9), with_thing(scene(seed), 130, 110, radius=9)
        assert distance(change_of(source, here), change_of(source, there)) > 2 * NEAR


def test_an_edit_and_its_inverse_are_opposite():
    source, target = scene(5), with_thing(scene(5), 60, 120)
    assert distance(change_of(source, target), change_of(target, source)) == BITS


def test_identical_images_have_a_hash():
    assert change_of(scene(1), scene(1)) == "0" * 64
    assert thumbnail(scene(1)[: SIDE // 2]).shape == (64, 64)
