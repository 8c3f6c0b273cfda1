"""The mask contains everything that an edit changed, and outside the mask the target equals the source."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from spatialdata_builder.shards.geometry import EQUAL_DB
from spatialdata_builder.sources.changed_region import Changed, all_changed, changed_between, find_changed


@dataclass(frozen=True)
class Picture:
    rgb: NDArray[np.uint8]
    noisy: NDArray[np.float32] | None
    instances: NDArray[np.uint8]


@dataclass(frozen=True)
class Pair:
    source: Picture
    target: Picture
    influence: NDArray[np.float32]
    """True difference without noise, levels."""

    @property
    def own(self) -> NDArray[np.bool_]:
        return (self.source.instances == 1) | (self.target.instances == 1)

    def find(self) -> Changed:
        return find_changed(self.source, self.target, (1,))


def draw(size: int, center: tuple[float, float], rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """A textured floor in display levels, H x W x 3, and the mask of a ball with a wide, soft shadow."""
    y, x = np.mgrid[:size, :size] / size
    planks = np.where((x * 12).astype(int) % 2, 8.0, -8.0)
    image = np.stack([120 + 50 * y + planks, 110 + 40 * y + planks, 90 + 30 * y + planks], axis=-1)
    away = np.hypot(x - center[0] - 0.06, (y - center[1] - 0.08) * 1.6)
    image = image * (1 - 0.45 * np.exp(-((away / 0.11) ** 2)))[..., None]
    ball = np.hypot(x - center[0], y - center[1]) < 0.07
    image[ball] = rng.uniform(30, 220, 3)
    return image, ball


def as_u8(image: NDArray) -> NDArray[np.uint8]:
    return np.rint(image.clip(0, 255)).astype(np.uint8)


def make_pair(
    size: int, seed: int, grain: float, denoised: bool = True, shared: bool = True, moved: bool = True
) -> Pair:
    """A ball that moves.

    Args:
        grain: standard deviation of one pixel before denoising, levels.
        shared: both renders have the same seed. Pixels that the edit does not influence then have the same noise, bit
            for bit, and the denoiser spreads a little of the new noise around. Otherwise all noise is independent.
    """
    color_seed = np.random.default_rng(seed).integers(1 << 30)
    a, ball_a = draw(size, (0.35, 0.4), np.random.default_rng(color_seed))
    b, ball_b = draw(size, (0.55, 0.5) if moved else (0.35, 0.4), np.random.default_rng(color_seed))
    b = np.where(np.abs(b - a) > 0.05, b, a)
    influence = np.abs(b - a).max(axis=2).astype(np.float32)
    rng = np.random.default_rng([seed, 1])
    noise_a, fresh = rng.normal(0, grain, (2, size, size, 3))
    noise_b = np.where((influence > 0)[..., None], fresh, noise_a) if shared else fresh
    noisy = [((image + noise) / 255).astype(np.float32) for image, noise in ((a, noise_a), (b, noise_b))]
    if denoised:
        noise_a, noise_b = (cv2.GaussianBlur(noise, (0, 0), 3) for noise in (noise_a, noise_b))
    ids = [ball.astype(np.uint8) for ball in (ball_a, ball_b)]
    source = Picture(as_u8(a + noise_a), noisy[0] if shared else None, ids[0])
    target = Picture(as_u8(b + noise_b), noisy[1] if shared else None, ids[1])
    return Pair(source, target, influence)


def check(pair: Pair, changed: Changed) -> None:
    """Check the invariants of every result."""
    outside = ~changed.mask
    assert changed.mask[pair.own].all()
    assert (changed.target_rgb[outside] == pair.source.rgb[outside]).all()
    assert (changed.target_rgb[pair.own] == pair.target.rgb[pair.own]).all()
    assert changed.fraction == pytest.approx(changed.mask.mean())
    error = np.mean((pair.source.rgb[outside].astype(float) - pair.target.rgb[outside]) ** 2)
    expected = 10 * np.log10(255**2 / error) if error > 0 else EQUAL_DB
    assert changed.psnr_unchanged == pytest.approx(min(expected, EQUAL_DB), abs=1e-6)


def recall(pair: Pair, changed: Changed, level: float) -> float:
    return float(changed.mask[pair.influence > level].mean())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "grain", "denoised"),
    [(128, 3.0, True), (256, 6.0, True), (512, 3.0, True), (1024, 3.0, True), (256, 2.0, False), (512, 6.0, False)],
)
def test_the_region_contains_the_whole_influence_and_little_more(size: int, grain: float, denoised: bool):
    pair = make_pair(size, size, grain, denoised)
    changed = pair.find()
    check(pair, changed)
    assert recall(pair, changed, 1.5) >= 0.99
    assert recall(pair, changed, 5.0) == 1.0
    margin = max(8, round(0.05 * size))
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    near = cv2.dilate((pair.influence > 0.5).astype(np.uint8), disk) > 0
    assert changed.mask[~near].mean() < 0.005
    # The visible difference, and a little around it where it fades out.
    assert changed.fraction < 1.75 * (pair.influence > 6).mean()
    # Without denoising, the remaining difference is noise, and larger.
    assert changed.psnr_unchanged > (42 if denoised else 38)


@pytest.mark.parametrize("grain", [2.0, 8.0])
def test_images_with_different_seeds(grain: float):
    pair = make_pair(256, 5, grain, shared=False)
    changed = pair.find()
    check(pair, changed)
    assert recall(pair, changed, 6.0) >= 0.99
    assert changed.fraction < 2.0 * (pair.influence > 1.0).mean()
    assert changed.psnr_unchanged > 42


def test_no_seam_at_the_border():
    pair = make_pair(512, 9, 3.0)
    changed = pair.find()
    step = changed.target_rgb.astype(float) - pair.source.rgb
    for axis in (0, 1):
        border = np.diff(changed.mask.astype(np.int8), axis=axis) != 0
        jump = np.abs(np.diff(step, axis=axis)).max(axis=2)[border]
        assert jump.mean() < 0.3
        assert jump.max() <= 1


def test_differences_of_the_denoiser_are_not_part_of_the_edit():
    """A blotch of five levels far from the object is ignored, because the pixels before denoising are equal."""
    pair = make_pair(256, 3, 3.0)
    rgb = pair.target.rgb.copy()
    rgb[200:230, 20:60] += 5
    target = Picture(rgb, pair.target.noisy, pair.target.instances)
    changed = find_changed(pair.source, target, (1,))
    assert not changed.mask[205:225, 25:55].any()
    without_noisy = find_changed(Picture(pair.source.rgb, None, pair.source.instances), target, (1,))
    assert without_noisy.mask[205:225, 25:55].all()


def test_identical_images_change_only_the_object():
    pair = make_pair(256, 4, 3.0, moved=False)
    changed = pair.find()
    check(pair, changed)
    assert changed.psnr_unchanged == EQUAL_DB
    near = cv2.dilate(pair.own.astype(np.uint8), np.ones((17, 17), np.uint8)) > 0
    assert near[changed.mask].all()
    assert (changed.target_rgb == pair.source.rgb).all()


def test_identical_images_without_the_object_change_nowhere():
    pair = make_pair(128, 4, 3.0, moved=False)
    for view in (pair.source, Picture(pair.source.rgb, None, pair.source.instances)):
        changed = find_changed(view, view, (7,))
        assert not changed.mask.any()
        assert (changed.fraction, changed.psnr_unchanged) == (0.0, EQUAL_DB)


def test_wide_instance_ids():
    pair = make_pair(128, 6, 3.0)
    wide = [Picture(v.rgb, v.noisy, v.instances.astype(np.uint16) * 300) for v in (pair.source, pair.target)]
    assert (find_changed(wide[0], wide[1], (300,)).mask == pair.find().mask).all()


@pytest.mark.parametrize("size", [1, 2, 9, 30])
def test_tiny_images_and_objects_that_fill_the_frame(size: int):
    rng = np.random.default_rng(size)
    a, b = rng.integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    full = np.ones((size, size), np.uint8)
    for noisy in (None, a.astype(np.float32)):
        changed = find_changed(Picture(a, noisy, full), Picture(b, noisy, full * 0), (1,))
        assert changed.mask.all()
        assert (changed.target_rgb == b).all()
        assert (changed.fraction, changed.psnr_unchanged) == (1.0, EQUAL_DB)


def test_inputs_are_not_modified_and_the_result_is_reproducible():
    pair = make_pair(128, 8, 3.0)
    before = pair.source.rgb.copy(), pair.target.rgb.copy()
    first, second = pair.find(), pair.find()
    assert (pair.source.rgb == before[0]).all()
    assert (pair.target.rgb == before[1]).all()
    assert (first.mask == second.mask).all()
    assert (first.target_rgb == second.target_rgb).all()


def test_a_camera_edit_changes_everything():
    pair = make_pair(64, 2, 3.0)
    changed = all_changed(pair.source, pair.target)
    assert changed.mask.all()
    assert changed.mask.shape == (64, 64)
    assert (changed.target_rgb == pair.target.rgb).all()
    assert (changed.fraction, changed.psnr_unchanged) == (1.0, EQUAL_DB)


def test_images_of_different_sizes_are_rejected():
    with pytest.raises(ValueError, match="differ in size"):
        find_changed(make_pair(64, 1, 1.0).source, make_pair(32, 1, 1.0).target, (1,))


def test_between_two_targets_of_one_source_nothing_else_differs():
    for seed in range(3):
        first = make_pair(192, seed, grain=4.0)
        second = make_pair(192, seed, grain=4.0, moved=True)
        # The same source; the second ball ends one eighth of the image farther on.
        shifted = replace(
            second.target,
            **{name: np.roll(getattr(second.target, name), 24, axis=1) for name in ("rgb", "noisy", "instances")},
        )
        here, there = first.find(), find_changed(first.source, shifted, (1,))
        kept = [replace(view, rgb=found.target_rgb) for view, found in ((first.target, here), (shifted, there))]
        either = here.mask | there.mask
        mask = changed_between(kept[0], kept[1], (1,), either)
        unequal = (kept[0].rgb != kept[1].rgb).any(axis=2)
        assert not (unequal & ~mask).any()
        assert not (mask & ~either).any()
        assert mask[(kept[0].instances == 1) | (kept[1].instances == 1)].all()
        elsewhere = replace(kept[1], rgb=kept[1].rgb ^ np.uint8(255))
        if not either.all():
            with pytest.raises(ValueError, match="outside the region that their edits changed"):
                changed_between(kept[0], elsewhere, (1,), either)
