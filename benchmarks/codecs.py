"""CPU time to encode and decode a full sample at 512², per member, compared with Pillow's default PNG.

    python benchmarks/codecs.py [--side 512] [--repeat 10]

Two images: shaded surfaces with texture and a little sensor noise, like a render, and the worst case, pure noise.
Budget: 60 CPU ms for the first.
"""

import argparse
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from spatialdata_builder.shards import codecs

BUDGET_MS = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--repeat", type=int, default=10)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    for title, noise in (("rendered image", 1.0), ("worst case: pure noise", 64.0)):
        print(f"{title}, {arguments.side} x {arguments.side}, CPU ms")
        _report(_members(arguments.side, noise), arguments.repeat)


def _report(members: dict[str, tuple[Callable[[], bytes], Callable[[bytes], object]]], repeat: int) -> None:
    print(f"  {'member':18}{'encode':>9}{'decode':>9}{'KiB':>9}{'Pillow':>9}{'KiB':>9}{'ratio':>8}")
    total = np.zeros(5)
    for name, (encode, decode) in members.items():
        data = encode()
        pixels = _pixels(data)
        row = np.array(
            [
                _cpu_ms(encode, repeat),
                _cpu_ms(lambda data=data, decode=decode: decode(data), repeat),
                len(data) / 1024,
                _cpu_ms(lambda pixels=pixels: _pillow(pixels), max(1, repeat // 5)),
                len(_pillow(pixels)) / 1024,
            ]
        )
        total += row
        _print_row(name, row)
    _print_row("total", total)
    print(f"  budget {BUDGET_MS:.0f} ms: {total[0] / BUDGET_MS:.0%} used\n")


def _print_row(name: str, row: np.ndarray) -> None:
    print(f"  {name:18}" + "".join(f"{value:9.2f}" for value in row) + f"{row[3] / row[0]:7.1f}x")


def _cpu_ms(work: Callable[[], object], repeat: int) -> float:
    work()
    start = time.process_time()
    for _ in range(repeat):
        work()
    return (time.process_time() - start) / repeat * 1000


def _pixels(data: bytes) -> np.ndarray:
    """Stored pixels of a member, to encode with Pillow."""
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image)


def _pillow(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _members(side: int, noise: float) -> dict[str, tuple[Callable[[], bytes], Callable[[bytes], object]]]:
    """Encoder and decoder of each member; the decoder reads the encoder's output."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:side, 0:side] / side
    labels = np.zeros((side, side), np.uint8)
    for index in range(6):
        center = (int(side * (0.15 + 0.14 * index)), int(side * (0.3 + 0.1 * (index % 3))))
        cv2.circle(labels, center, side // 9, index + 1, -1)
    moved = np.roll(labels, side // 10, axis=1)
    shade = np.stack([0.5 + 0.3 * np.sin(3 * x + y), 0.4 + 0.3 * y, 0.5 + 0.2 * np.cos(4 * y)], -1) * 200
    texture = cv2.GaussianBlur(random.normal(size=(side, side, 3)), (0, 0), 1.0) * 20
    light = 1 + labels[..., None] * 0.05
    source = np.clip(shade * light + texture + random.normal(scale=noise, size=shade.shape), 0, 255).astype(np.uint8)
    changed = cv2.dilate(((labels == 1) | (moved == 1)).astype(np.uint8), np.ones((9, 9))) > 0
    target = np.where(changed[..., None], np.roll(source, side // 10, axis=1), source)
    jitter = random.normal(scale=1e-3 * noise, size=(side, side)) if noise > 1 else 0.0
    z = (3 + 2 * y + 0.5 * np.sin(9 * x) - 0.2 * moved + jitter).astype(np.float32)
    slope = np.stack([*np.gradient(z * side / 3), -np.ones_like(z)], -1).astype(np.float32)
    normals = slope / np.linalg.norm(slope, axis=2, keepdims=True)
    lines = np.where(cv2.morphologyEx(moved, cv2.MORPH_GRADIENT, np.ones((3, 3))) > 0, 0, 255).astype(np.uint8)
    metric = codecs.encode_metric(z, estimator="", revision="")[1]
    relative = codecs.encode_relative(1 / z, estimator="", revision="")[1]
    return {
        "source.webp": (lambda: codecs.encode_image(source), codecs.decode_image),
        "target.webp": (lambda: codecs.encode_image(target), codecs.decode_image),
        "source_instances": (lambda: codecs.encode_labels(labels), codecs.decode_labels),
        "target_instances": (lambda: codecs.encode_labels(moved), codecs.decode_labels),
        "changed": (lambda: codecs.encode_mask(changed), codecs.decode_mask),
        "metric": (
            lambda: codecs.encode_metric(z, estimator="", revision="")[0],
            lambda data: codecs.decode_depth(data, metric),
        ),
        "depth": (
            lambda: codecs.encode_relative(1 / z, estimator="", revision="")[0],
            lambda data: codecs.decode_depth(data, relative),
        ),
        "normal": (lambda: codecs.encode_normals(normals), codecs.decode_normals),
        "segment": (lambda: codecs.encode_labels(codecs.relabel(moved)), codecs.decode_labels),
        "line": (lambda: codecs.encode_lines(lines), codecs.decode_lines),
    }


if __name__ == "__main__":
    main()
