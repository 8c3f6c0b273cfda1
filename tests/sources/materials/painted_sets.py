"""Texture sets and HDRIs made with numpy, named as those of ambientCG and Poly Haven."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

F64 = np.ndarray


def bricks(side: int, across: int = 8, rows: int = 24) -> tuple[F64, F64]:
    """Color (side, side, 3), 0 to 1, and height (side, side), 0 to 1, of a running bond that repeats without a seam."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    row = np.floor(y * rows)
    u, v = x * across + 0.5 * (row % 2), y * rows
    joint = 0.012
    width, height = 1 / across, 1 / rows
    edge = np.minimum(
        np.minimum(u % 1, 1 - u % 1) * width,
        np.minimum(v % 1, 1 - v % 1) * height,
    )
    body = np.clip(edge / (joint / 2), 0, 1) ** 4
    tone = np.random.default_rng(0).uniform(0.7, 1.1, (rows, across))[row.astype(int), np.floor(u).astype(int) % across]
    color = body[..., None] * (np.array([0.62, 0.27, 0.19]) * tone[..., None]) + (1 - body[..., None]) * 0.72
    return color, body


def boards(side: int, count: int = 14) -> tuple[F64, F64]:
    """Boards along the image's x, with a grain."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    board = np.floor(y * count)
    rng = np.random.default_rng(1)
    tone, phase = rng.uniform(0.7, 1.1, count)[board.astype(int)], rng.uniform(0, 9, count)[board.astype(int)]
    grain = 0.5 + 0.5 * np.sin(
        2 * np.pi * (y * 190 + 0.6 * np.sin(2 * np.pi * x + phase) + 0.3 * np.sin(4 * np.pi * x))
    )
    v = y * count
    body = np.clip(np.minimum(v % 1, 1 - v % 1) / 0.03, 0, 1)
    color = np.array([0.56, 0.38, 0.22]) * (tone * (0.8 + 0.2 * grain) * (0.3 + 0.7 * body))[..., None]
    return color, body


def tiles(side: int, count: int = 6) -> tuple[F64, F64]:
    """Square tiles with grout."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side * count
    body = np.clip(np.minimum(np.minimum(x % 1, 1 - x % 1), np.minimum(y % 1, 1 - y % 1)) / 0.02, 0, 1)
    tone = np.random.default_rng(2).uniform(0.85, 1.05, (count, count))[y.astype(int), x.astype(int)]
    return body[..., None] * np.array([0.75, 0.77, 0.74]) * tone[..., None] + (1 - body[..., None]) * 0.35, body


def normals(height: F64, depth: float) -> F64:
    """OpenGL normal map (H, W, 3), 0 to 1, of a height map that repeats; `depth` in widths of the image."""
    side = height.shape[0]
    slope_x = (np.roll(height, -1, 1) - np.roll(height, 1, 1)) / 2 * depth * side
    slope_up = (np.roll(height, 1, 0) - np.roll(height, -1, 0)) / 2 * depth * side
    normal = np.dstack([-slope_x, -slope_up, np.ones_like(height)])
    return normal / np.linalg.norm(normal, axis=2, keepdims=True) * 0.5 + 0.5


def write(path: Path, values: F64) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)).save(path)
    return path


def ambientcg(folder: Path, name: str, paint: Callable[[int], tuple[F64, F64]] = bricks, side: int = 256) -> Path:
    """A set as ambientCG names it. Returns its folder."""
    color, height = paint(side)
    maps = {
        "Color": color,
        "NormalGL": normals(height, 0.004),
        "NormalDX": normals(height, 0.004) * [1, -1, 1] + [0, 1, 0],
        "Roughness": 0.9 - 0.2 * height,
        "Displacement": height,
        "AmbientOcclusion": 0.5 + 0.5 * height,
        "Metalness": np.zeros_like(height),
    }
    for kind, values in maps.items():
        write(folder / f"{name}_2K-JPG_{kind}.jpg", values)
    write(folder / f"{name}_2K-JPG.png", color)  # the preview
    return folder


def polyhaven(folder: Path, name: str, paint: Callable[[int], tuple[F64, F64]] = boards, side: int = 256) -> Path:
    """A set as Poly Haven names it. Returns its folder."""
    color, height = paint(side)
    maps = {
        "diff": color,
        "nor_gl": normals(height, 0.002),
        "arm": np.dstack([0.5 + 0.5 * height, 0.6 - 0.2 * height, np.zeros_like(height)]),
        "disp": height,
    }
    for kind, values in maps.items():
        write(folder / f"{name}_{kind}_2k.png", values)
    return folder


def write_hdr(path: Path, pixels: F64) -> Path:
    """A Radiance HDR file of pixels (H, W, 3), linear, the top row first, without compression."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = pixels.shape[:2]
    peak = pixels.max(axis=2)
    exponent = np.where(peak > 1e-32, np.ceil(np.log2(np.maximum(peak, 1e-32))), -128)
    mantissa = pixels / 2.0 ** exponent[..., None] * 256
    rgbe = np.dstack([np.clip(mantissa, 0, 255), exponent + 128]).astype(np.uint8)
    path.write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n" + f"-Y {height} +X {width}\n".encode() + rgbe.tobytes())
    return path


def sky(height: int = 64, gain: float = 1.0) -> F64:
    """An equirectangular sky (H, 2 H, 3) with a sun, above dark ground."""
    y = np.linspace(0, 1, height)[:, None, None]
    pixels = np.where(y < 0.5, np.array([0.4, 0.6, 1.0]) * (0.5 + y), np.array([0.2, 0.17, 0.13])) * np.ones(
        (1, 2 * height, 1)
    )
    pixels[height // 5, height // 2] = 200.0
    return pixels * gain
