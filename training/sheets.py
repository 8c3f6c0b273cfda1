"""Sample sheets: one image with a row per sample that shows members of the shards beside the model's predictions.

Invariant: every cell shows its whole array, scaled to the height of the first column.
"""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .recipe import Batch

Picture = NDArray[np.uint8]
SHOWN: Final = ("source", "target", "depth")
"""Members of a batch that are shown, in this order, before the predictions."""
_TITLE: Final = 16
"""Height of the title row, in pixels."""
_GAP: Final = 4
_TEXT_WIDTH: Final = 220
"""Width of the text column (keys and instructions), in pixels."""
_TEXT_COLUMNS: Final = 36
"""Characters of the default font that fit into the text column."""


def write_sheet(path: Path, batch: Batch, predictions: Mapping[str, Any]) -> Picture:
    """Write a PNG: source, target, depth, each prediction (B, H, W[, 3]), then each sample's key and instruction (the
    caption if the recipe reads no instruction). Returns its pixels."""
    from PIL import Image

    columns = {name: np.asarray(batch[name]) for name in SHOWN if name in batch}
    columns |= {
        name if name not in columns else f"{name} predicted": np.asarray(value) for name, value in predictions.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.tmp")
    texts = batch.get("instruction", batch.get("caption", [""] * len(batch["key"])))
    picture = sheet(columns, [f"{key}\n{text}" for key, text in zip(batch["key"], texts, strict=True)])
    Image.fromarray(picture).save(partial, format="png")
    partial.replace(path)
    return picture


def sheet(columns: Mapping[str, NDArray[Any]], texts: Sequence[str]) -> Picture:
    """Arrays (B, H, W[, 3]) by name as one uint8 image, with a title above each column and the B texts at the right.

    uint8 is shown unchanged. float32 is mapped from [-1, 1] with three channels, from its own range with one.
    """
    from PIL import Image, ImageDraw

    first = next(iter(columns.values()))
    count, height = first.shape[:2]
    widths = {name: max(1, round(value.shape[2] * height / value.shape[1])) for name, value in columns.items()}
    total = sum(widths.values()) + _GAP * len(widths) + _TEXT_WIDTH
    canvas = Image.new("RGB", (total, _TITLE + count * (height + _GAP) - _GAP), "white")
    draw = ImageDraw.Draw(canvas)
    left = 0
    for name, values in columns.items():
        draw.text((left + 2, 2), name, fill="black")
        for row in range(count):
            cell = Image.fromarray(as_picture(values[row])).resize((widths[name], height))
            canvas.paste(cell, (left, _TITLE + row * (height + _GAP)))
        left += widths[name] + _GAP
    for row, text in enumerate(texts):
        lines = [part for line in text.splitlines() for part in textwrap.wrap(line, _TEXT_COLUMNS)]
        draw.multiline_text((left, _TITLE + row * (height + _GAP)), "\n".join(lines), fill="black", spacing=2)
    return np.asarray(canvas)


def as_picture(array: NDArray[Any]) -> Picture:
    """(H, W[, 3]) as uint8 (H, W, 3), see `sheet`."""
    if array.dtype != np.uint8:
        low, high = (-1.0, 1.0) if array.ndim == 3 else (float(array.min()), float(array.max()))
        scaled = (array.astype(np.float32) - low) / max(high - low, 1e-6)
        array = (scaled.clip(0, 1) * 255).round().astype(np.uint8)
    return array if array.ndim == 3 else np.repeat(array[..., None], 3, axis=2)
