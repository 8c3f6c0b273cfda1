"""The contact sheet: one PNG with one row per sample.

Every picture is decoded from the shard by the codec of its member, so errors in the data are visible here.
"""

import textwrap
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ....shards import codecs
from ....shards.reader import StoredSample, read_record
from ....shards.schema import Maps, SampleRecord
from ....shards.writer import replace_file
from ..palette import label_palette

U8 = NDArray[np.uint8]
COLUMNS = ("source", "target", "changed", "depth", "metric", "normal", "target_instances", "segment", "line")
TITLES = {"target_instances": "instances", "metric": "metric depth", "depth": "relative depth"}
PAPER, INK, FAINT = (250, 250, 248), (25, 25, 25), (120, 120, 120)
GAP, TEXT_WIDTH = 8, 330


def contact_sheet(samples: Iterable[StoredSample], path: Path, *, limit: int = 24, tile: int = 176) -> int:
    """Draw up to `limit` samples, one row each, into a PNG at `path`. Returns the number of drawn samples.

    Args:
        tile: width of one picture in pixels.
    """
    chosen = list(islice(samples, limit))
    if not chosen:
        return 0
    columns = [name for name in COLUMNS if name in chosen[0].members]
    rows = [_row(sample, columns, tile) for sample in chosen]
    header = _header(columns, tile)
    sheet = Image.new("RGB", (header.width, header.height + sum(row.height for row in rows)), PAPER)
    y = 0
    for part in (header, *rows):
        sheet.paste(part, (0, y))
        y += part.height
    with replace_file(path) as file:
        sheet.save(file, "PNG", compress_level=3)
    return len(chosen)


def _header(columns: list[str], tile: int) -> Image.Image:
    image = Image.new("RGB", (len(columns) * (tile + GAP) + TEXT_WIDTH + 2 * GAP, 26), PAPER)
    draw = ImageDraw.Draw(image)
    for index, name in enumerate(columns):
        draw.text((GAP + index * (tile + GAP), 6), TITLES.get(name, name), INK, _font(13))
    draw.text((2 * GAP + len(columns) * (tile + GAP), 6), "instruction", INK, _font(13))
    return image


def _row(sample: StoredSample, columns: list[str], tile: int) -> Image.Image:
    record = read_record(sample.members["json"])
    pictures = [Image.fromarray(picture(name, sample.members, record)) for name in columns]
    height = round(tile * pictures[0].height / pictures[0].width)
    row = Image.new("RGB", (len(columns) * (tile + GAP) + TEXT_WIDTH + 2 * GAP, height + GAP), PAPER)
    for index, image in enumerate(pictures):
        row.paste(image.resize((tile, height), Image.Resampling.LANCZOS), (GAP + index * (tile + GAP), 0))
    _write_text(ImageDraw.Draw(row), 2 * GAP + len(columns) * (tile + GAP), height, record)
    return row


def _write_text(draw: ImageDraw.ImageDraw, x: int, height: int, record: SampleRecord) -> None:
    y = 0
    draw.text((x, y), f"{record.edit.kind}  ·  {record.split}  ·  {record.key}"[:56], FAINT, _font(11))
    y += 18
    for line in textwrap.wrap(record.instruction.text, 44)[:4]:
        draw.text((x, y), line, INK, _font(14))
        y += 18
    y += 4
    for variant in record.instruction.variants:
        for line in textwrap.wrap(variant, 58):
            if y > height - 14:
                return
            draw.text((x, y), line, FAINT, _font(11))
            y += 14


def picture(name: str, members: Mapping[str, bytes], record: SampleRecord) -> U8:
    """A member as an RGB picture (H, W, 3) uint8."""
    data = members[name]
    match name.removeprefix("source_").removeprefix("target_"):
        case "source" | "target":
            return codecs.decode_image(data)
        case "depth" | "metric":
            return _depth_picture(name, data, record.maps)
        case "normal":
            return ((codecs.decode_normals(data) + 1) * 127.5).astype(np.uint8)
        case "instances" | "segment":
            return _label_picture(codecs.decode_labels(data))
        case "changed":
            return np.repeat(codecs.decode_mask(data)[..., None].astype(np.uint8) * 255, 3, axis=2)
        case _:
            return np.repeat(codecs.decode_lines(data)[..., None], 3, axis=2)


def _depth_picture(name: str, data: bytes, maps: Maps) -> U8:
    info = getattr(maps, name)
    values = codecs.decode_depth(data, info)
    known = values > 0
    inverse = np.where(known, values if info.kind == "relative_inverse" else 1 / np.maximum(values, 1e-6), 0)
    low, high = (float(inverse[known].min()), float(inverse.max())) if known.any() else (0.0, 1.0)
    shade = np.clip((inverse - low) / max(high - low, 1e-9), 0, 1)
    colored = cv2.applyColorMap((shade * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
    colored[~known] = 0
    return cv2.cvtColor(colored, cv2.COLOR_BGR2RGB).astype(np.uint8)


def _label_picture(labels: NDArray[np.integer]) -> U8:
    return label_palette(int(labels.max()) + 1)[labels]


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
