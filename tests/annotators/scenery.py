"""Synthetic pictures, a shaded backdrop, a patterned floor and a few sharp objects, and functions that degrade them."""

import cv2
import numpy as np

from spatialdata_builder.shards.codecs import U8, encode_image, encode_labels
from spatialdata_builder.shards.sample import Sample

SIDE = 192


def scene(seed: int, side: int = SIDE) -> U8:
    """A scene (side, side, 3): backdrop, floor, and five ellipses of random positions, sizes and colors."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[0 : 1 : side * 1j, 0 : 1 : side * 1j]
    shade = 60 + 90 * (down * rng.uniform(-1, 1) + across * rng.uniform(-1, 1) + 1) / 2
    tiles = ((down * rng.uniform(4, 9)).astype(int) + (across * rng.uniform(4, 9)).astype(int)) % 2
    shade += np.where(down > rng.uniform(0.3, 0.6), 12 * tiles + 30, 0)
    rgb = np.repeat(shade[..., None], 3, axis=2).clip(0, 255).astype(np.uint8)
    for _ in range(5):
        center, axes = rng.integers(side // 8, side * 7 // 8, 2), rng.integers(side // 16, side // 5, 2)
        color = [int(level) for level in rng.integers(20, 235, 3)]
        cv2.ellipse(rgb, center.tolist(), axes.tolist(), float(rng.uniform(0, 180)), 0, 360, color, -1)
    return rgb


def with_thing(rgb: U8, x: int, y: int, radius: int = 22) -> U8:
    """The scene with a red ball at x, y, as if an edit had inserted it."""
    drawn = rgb.copy()
    cv2.circle(drawn, (x, y), radius, (220, 30, 40), -1)
    return drawn


def blurred(rgb: U8, sigma: float) -> U8:
    return cv2.GaussianBlur(rgb, (0, 0), sigma)


def lit(rgb: U8, gain: float, offset: float = 0) -> U8:
    return np.clip(np.rint(rgb.astype(np.float64) * gain + offset), 0, 255).astype(np.uint8)


def as_jpeg(rgb: U8, quality: int = 80) -> U8:
    coded = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(coded, cv2.IMREAD_COLOR).astype(np.uint8)


def pair(source: U8, target: U8, *, objects: bool | None = True) -> Sample:
    """A sample whose instance maps have an object (True), have none (False), or are unknown (None)."""
    labels = np.zeros(source.shape[:2], np.uint8)
    labels[:20, :20] = bool(objects)
    coded = b"" if objects is None else encode_labels(labels)
    images = {"source": encode_image(source), "target": encode_image(target)}
    return Sample("a-1", "train", {}, {"pair": {**images, "source_instances": coded, "target_instances": coded}})
