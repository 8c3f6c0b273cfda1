"""The worst maps of a layer as one PNG: image, exact map, estimated map and error, one row per map.

Invariant: exact and estimated maps share one color scale, so that equal colors mean equal values. Relative depth is
shown after the alignment of the comparison.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ....annotators.agreement import aligned_depth, line_matches
from ....shards.codecs import U8
from ....shards.writer import replace_file
from ..palette import label_palette
from .map_pairs import Estimate, Pixels, Scene, error_map

TILE: Final = 224
GAP: Final = 6
CAPTION: Final = 18
PAPER, INK = (250, 250, 248), (25, 25, 25)
NOTHING: Final = 40
"""Gray value of pixels without depth, or that are not compared."""
HIT, FALSE, MISSED = (30, 150, 60), (215, 40, 40), (40, 80, 220)
"""Line pixels that agree, estimated pixels far from any exact line, and exact pixels that were missed."""


def draw_sheet(path: Path, layer: str, maps: Iterable[tuple[Scene, Estimate, str]]) -> None:
    """Draw one row for each map, with its caption, into a PNG at `path`."""
    rows = [_row(layer, scene, estimate, caption) for scene, estimate, caption in maps]
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), PAPER)
    y = 0
    for row in rows:
        sheet.paste(row, (0, y))
        y += row.height
    with replace_file(path) as file:
        sheet.save(file, "PNG", compress_level=3)


def _row(layer: str, scene: Scene, estimate: Estimate, caption: str) -> Image.Image:
    exact, estimated = scene.exact(layer), estimate.decode()
    if exact is None:
        raise ValueError("only maps with an exact map can be drawn")
    pictures = [scene.rgb, *_pictures(layer, exact, estimated)]
    height = round(TILE * pictures[0].shape[0] / pictures[0].shape[1])
    row = Image.new("RGB", (len(pictures) * (TILE + GAP) + GAP, height + CAPTION), PAPER)
    for index, picture in enumerate(pictures):
        smooth = layer != "segment" or index == 0
        resampling = Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
        row.paste(Image.fromarray(picture).resize((TILE, height), resampling), (GAP + index * (TILE + GAP), CAPTION))
    text = f"{caption}   {estimate.info.estimator} {estimate.info.revision}"
    ImageDraw.Draw(row).text((GAP, 2), text, INK, ImageFont.load_default(12))
    return row


def _pictures(layer: str, exact: Pixels, estimated: Pixels) -> tuple[U8, U8, U8]:
    """Exact map, estimated map and error as RGB (H, W, 3)."""
    if layer == "line":
        return _gray(exact), _gray(estimated), _line_errors(exact, estimated)
    errors = _error_colors(*error_map(layer, exact, estimated))
    match layer:
        case "depth" | "metric":
            found = aligned_depth(exact, estimated) if layer == "depth" else estimated
            inverse = 1.0 / exact[exact > 0]
            span = float(inverse.min()), float(inverse.max())
            return _depth(exact, span), _depth(found, span), errors
        case "normal":
            return _normals(exact), _normals(estimated), errors
        case _:
            return _labels(exact), _labels(estimated), errors


def _depth(z: Pixels, span: tuple[float, float]) -> U8:
    """Inverse depth over `span`; near is red."""
    known = z > 0
    low, high = span
    shade = np.clip((1.0 / np.where(known, z, 1.0) - low) / max(high - low, 1e-9), 0, 1)
    return _colored(shade, known, cv2.COLORMAP_TURBO)


def _error_colors(errors: Pixels, full: float) -> U8:
    """Errors as RGB: black for 0, bright for `full` and above."""
    compared = np.isfinite(errors)
    return _colored(np.clip(np.where(compared, errors, 0) / full, 0, 1), compared, cv2.COLORMAP_INFERNO)


def _colored(shade: Pixels, known: Pixels, colormap: int) -> U8:
    picture = cv2.applyColorMap(np.rint(shade * 255).astype(np.uint8), colormap)
    picture[~known] = NOTHING
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def _normals(normals: Pixels) -> U8:
    return np.rint((normals + 1) * 127.5).astype(np.uint8)


def _labels(labels: Pixels) -> U8:
    return label_palette(int(labels.max()) + 1, NOTHING)[labels]


def _gray(lines: Pixels) -> U8:
    return np.repeat(lines[..., None], 3, axis=2)


def _line_errors(exact: Pixels, estimated: Pixels) -> U8:
    picture = np.full((*exact.shape, 3), 255, np.uint8)
    for mask, color in zip(line_matches(exact, estimated), (HIT, FALSE, MISSED), strict=True):
        picture[mask] = color
    return picture
