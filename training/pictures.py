"""What a model makes of samples, beside what the shards hold of them: one picture, a row a sample.

Invariant: every cell shows its array whole, at the height of the row's first one.
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
"""Members of a batch that are shown, in this order, before what the model made."""
_TITLE: Final = 16
"""Height of the line of titles, in pixels."""
_GAP: Final = 4
_TEXT_WIDTH: Final = 220
"""Width of the column of keys and instructions, in pixels."""
_TEXT_COLUMNS: Final = 36
"""Characters of the default font that fit into it."""


def write_sheet(path: Path, batch: Batch, made: Mapping[str, Any]) -> Picture:
    """Write a PNG: source, target, depth, each of what the model made (B, H, W[, 3]), then each sample's key and
    instruction (its caption where the recipe reads no instruction). Gives its pixels."""
    from PIL import Image

    columns = {name: np.asarray(batch[name]) for name in SHOWN if name in batch}
    columns |= {name if name not in columns else f"{name} made": np.asarray(value) for name, value in made.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.tmp")
    texts = batch.get("instruction", batch.get("caption", [""] * len(batch["key"])))
    picture = sheet(columns, [f"{key}\n{text}" for key, text in zip(batch["key"], texts, strict=True)])
    Image.fromarray(picture).save(half, format="png")
    half.replace(path)
    return picture


def sheet(columns: Mapping[str, NDArray[Any]], texts: Sequence[str]) -> Picture:
    """Arrays (B, H, W[, 3]) by name, as one uint8 picture with a title over each column; at the right, the B texts.

    uint8 is shown as it is, float32 with three channels from [-1, 1], float32 with one from its own range.
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
