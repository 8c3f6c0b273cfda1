# pyright: basic
"""Pictures, rugs and wallpapers as images, drawn in numpy from a seed. Linear RGB or gray, (H, W, ...), row 0 below."""

import numpy as np

TILE = 192
"""Pixels of a wallpaper's repeat, across and up."""
ART = 160
"""Pixels of the longer side of a picture."""


def picture_image(style: str, aspect: float, seed: int) -> np.ndarray:
    """A painting or print (H, W, 3). `aspect`: height / width."""
    rng = np.random.default_rng(seed)
    width, height = (ART, max(8, round(ART * aspect))) if aspect < 1 else (max(8, round(ART / aspect)), ART)
    x, y = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    return np.clip(_PICTURES[style](rng, x, y * aspect, aspect), 0.01, 0.9)


def _blend(image: np.ndarray, color: np.ndarray, share: np.ndarray) -> np.ndarray:
    return image + (color - image) * np.clip(share, 0, 1)[..., None]


def _palette(rng: np.random.Generator, count: int) -> np.ndarray:
    """Muted colors (count, 3) around two hues, from dark to light."""
    hue = rng.uniform(0, 2 * np.pi) + rng.choice([0, 0, 2.2, np.pi], count)
    value, chroma = np.sort(rng.uniform(0.04, 0.7, count)), rng.uniform(0.1, 0.55, count)
    wheel = np.stack([np.cos(hue - k * 2 * np.pi / 3) for k in range(3)], -1)
    return value[:, None] * (1 + chroma[:, None] * wheel)


def _waves(rng: np.random.Generator, x: np.ndarray, octaves: int, base: float) -> np.ndarray:
    """Sum of sines with falling amplitude, about -1 to 1."""
    shifts, rates = rng.uniform(0, 7, octaves), base * 2.1 ** np.arange(octaves) * rng.uniform(0.8, 1.25, octaves)
    return np.sin(x[..., None] * rates + shifts) @ (1.9 ** -np.arange(octaves)) / 1.6


def _abstract(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, aspect: float) -> np.ndarray:
    """Soft fields and strokes."""
    colors = _palette(rng, 5)
    split = np.clip((y / aspect - rng.uniform(0.25, 0.7)) * rng.uniform(2, 14) + 0.5, 0, 1)
    image = colors[4] + (colors[3] - colors[4]) * split[..., None]
    for _ in range(int(rng.integers(3, 8))):
        cx, cy, turn = rng.uniform(0, 1), rng.uniform(0, aspect), rng.uniform(0, np.pi)
        u, v = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn), (y - cy) * np.cos(turn) - (x - cx) * np.sin(turn)
        rough = 0.12 * _waves(rng, u * 9 + v * 5, 3, 4.0)
        d = np.hypot(u / rng.uniform(0.1, 0.45), v / rng.uniform(0.06, 0.3)) + rough
        image = _blend(image, colors[int(rng.integers(5))], (1 - d) * rng.uniform(4, 30))
    return image


def _landscape(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, aspect: float) -> np.ndarray:
    """A sky above ridges that darken toward the viewer."""
    colors = _palette(rng, 4)
    level = y / aspect
    image = colors[3] + (np.array([0.75, 0.72, 0.66]) - colors[3]) * (1 - level)[..., None]
    sun = np.hypot(x - rng.uniform(0.2, 0.8), y - aspect * rng.uniform(0.65, 0.9)) / 0.07
    image = _blend(image, np.array([0.85, 0.75, 0.5]), (1 - sun) * 8 * (rng.random() < 0.6))
    count = int(rng.integers(3, 6))
    for k in range(count):
        ridge = 0.62 - 0.55 * k / count + 0.07 * _waves(rng, x, 4, 5.0 + 3 * k)
        shade = colors[2] * (1 - k / count) + colors[0] * (k / count)
        image = _blend(image, shade, (ridge - level) * 60 * aspect)
    return image


def _shapes(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, aspect: float) -> np.ndarray:
    """Disks, half disks and bars on a pale ground."""
    colors = _palette(rng, 5)
    image = np.broadcast_to(np.array([0.72, 0.68, 0.6]), (*x.shape, 3))
    for _ in range(int(rng.integers(3, 6))):
        cx, cy, r = rng.uniform(0.15, 0.85), rng.uniform(0.15, 0.85) * aspect, rng.uniform(0.1, 0.3)
        inside = (r - np.hypot(x - cx, y - cy)) * 80
        if rng.random() < 0.45:
            turn = rng.uniform(0, 2 * np.pi)
            inside = np.minimum(inside, ((x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)) * 80)
        elif rng.random() < 0.3:
            inside = np.minimum((0.3 * r - np.abs(x - cx)) * 80, (1.4 * r - np.abs(y - cy)) * 80)
        image = _blend(image, colors[int(rng.integers(4))], inside)
    return image


def _botanical(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, aspect: float) -> np.ndarray:
    """A stem with leaves on paper."""
    ink = np.array([0.08, 0.16, 0.07]) * rng.uniform(0.6, 1.6) * rng.uniform(0.7, 1.3, 3)
    image = np.broadcast_to(np.array([0.78, 0.75, 0.67]), (*x.shape, 3))
    lean, bend = rng.uniform(-0.25, 0.25), rng.uniform(-0.25, 0.25)
    level = y / aspect
    stem = 0.5 + lean * (level - 0.5) + bend * (level - 0.5) ** 2
    image = _blend(image, ink, (0.006 - np.abs(x - stem)) * 200 * ((level > 0.1) & (level < 0.85)))
    size, spread = rng.uniform(0.09, 0.2), rng.uniform(0.3, 1.0)
    for k, at in enumerate(np.linspace(0.22, 0.86, int(rng.integers(6, 13)))):
        side = 1 if k % 2 else -1
        turn = np.pi / 2 - side * (spread + rng.uniform(-0.15, 0.15))
        length = size * (1.2 - 0.6 * at)
        sx, sy = 0.5 + lean * (at - 0.5) + bend * (at - 0.5) ** 2, at * aspect
        u = (x - sx) * np.cos(turn) + (y - sy) * np.sin(turn)
        v = (y - sy) * np.cos(turn) - (x - sx) * np.sin(turn)
        leaf = np.hypot((u - length) / length, v / (0.32 * length))
        image = _blend(image, ink * rng.uniform(0.8, 1.8), (1 - leaf) * 12)
    return image


_PICTURES = {"abstract": _abstract, "landscape": _landscape, "shapes": _shapes, "botanical": _botanical}


def rug_image(rug: dict) -> np.ndarray:
    """The top of a rug (H, W, 3), 1 cm each pixel, along its length and width."""
    rng = np.random.default_rng(rug["seed"])
    ground, pattern, accent = (np.array(color) for color in rug["colors"])
    columns, rows = round(rug["length"] * 100), round(rug["width"] * 100)
    x, y = np.meshgrid((np.arange(columns) + 0.5) / 100, (np.arange(rows) + 0.5) / 100)
    edge = np.minimum(np.minimum(x, rug["length"] - x), np.minimum(y, rug["width"] - y))
    dx, dy = np.abs(x - rug["length"] / 2), np.abs(y - rug["width"] / 2)
    image = np.broadcast_to(ground, (rows, columns, 3))
    style, pitch = rug["style"], rng.uniform(0.09, 0.22)
    if style == "border":
        image = _blend(image, pattern, (np.abs(edge - 0.13) < rng.uniform(0.02, 0.06)).astype(float))
        image = _blend(image, accent, (np.abs(edge - 0.05) < 0.012).astype(float))
    elif style == "stripes":
        phase = x / pitch % 3
        image = _blend(image, pattern, (phase < 0.8).astype(float))
        image = _blend(image, accent, ((phase > 1.5) & (phase < 1.65)).astype(float))
    elif style == "checks":
        image = _blend(image, pattern, 0.5 * (x / pitch % 2 < 1) + 0.5 * (y / pitch % 2 < 1))
        image = _blend(image, accent, 0.7 * ((x / pitch % 2 < 0.06) | (y / pitch % 2 < 0.06)))
    elif style == "kilim":
        band = np.floor(y / pitch)
        zigzag = np.abs((x / pitch + 0.5 * band) % 1 - 0.5) * 2
        level = y / pitch % 1
        image = _blend(image, pattern, (level < zigzag).astype(float) * (band % 2))
        image = _blend(image, accent, (np.abs(level - zigzag) < 0.14).astype(float))
        image = _blend(image, pattern, (level < 0.07).astype(float))
    elif style == "medallion":
        image = _blend(image, pattern, (edge < 0.2).astype(float))
        image = _blend(image, accent, (np.abs(edge - 0.2) < 0.012).astype(float))
        image = _blend(image, accent, (np.abs(edge - 0.03) < 0.01).astype(float))
        # Mirrored waves make a dense ornament, as knotted rugs have.
        field = np.cos(dx * rng.uniform(40, 60)) * np.cos(dy * rng.uniform(40, 60)) + np.cos(
            (dx + dy) * rng.uniform(25, 45)
        )
        image = _blend(image, accent, ((field > 0.75) & (edge > 0.2)) * 0.85)
        image = _blend(image, ground, ((field > 0.9) & (edge < 0.17)) * 0.9)
        star = np.hypot(dx / (0.3 * rug["length"]), dy / (0.34 * rug["width"])) * (
            1 + 0.08 * np.cos(8 * np.arctan2(dy, dx))
        )
        image = _blend(image, pattern, (star < 1).astype(float))
        image = _blend(image, accent, ((np.abs(star - 1) < 0.05) | ((field > 0.5) & (star < 0.85))).astype(float))
    return image * rng.uniform(0.86, 1.08, (rows, columns, 1))


def wallpaper_image(seed: int) -> np.ndarray:
    """One repeat (TILE, TILE) of a wallpaper: share of the motif's color, equal at opposite edges."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid((np.arange(TILE) + 0.5) / TILE, (np.arange(TILE) + 0.5) / TILE)
    kind = ("stripes", "pinstripes", "trellis", "dots", "leaves", "leaves", "hexagons")[int(rng.integers(7))]
    if kind == "stripes":
        return (np.abs(x * 2 % 1 - 0.5) < rng.uniform(0.12, 0.25)) * 0.8
    if kind == "pinstripes":
        return (np.abs(x * 5 % 1 - 0.5) < 0.07) * 0.9
    if kind == "trellis":
        u, v = np.abs((x + y) * 2 % 1 - 0.5), np.abs((x - y) * 2 % 1 - 0.5)
        return np.clip((0.045 - np.minimum(u, v)) * 60, 0, 1)
    if kind == "dots":
        found = np.zeros_like(x)
        for cx, cy in ((0.25, 0.25), (0.75, 0.75)):
            found = np.maximum(found, np.clip((rng.uniform(0.05, 0.1) - np.hypot(x - cx, y - cy)) * 80, 0, 1))
        return found
    if kind == "hexagons":
        lines = [np.abs(np.sin(np.pi * 4 * (x * c + y * s))) for c, s in ((1, 0), (0.5, 1.0), (-0.5, 1.0))]
        return np.clip((0.12 - np.min(lines, axis=0)) * 12, 0, 1)
    found = np.zeros_like(x)
    for _ in range(int(rng.integers(14, 26))):
        cx, cy, turn, length = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0, 2 * np.pi), rng.uniform(0.07, 0.15)
        dx, dy = (x - cx + 0.5) % 1 - 0.5, (y - cy + 0.5) % 1 - 0.5
        u, v = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
        leaf = np.clip((1 - np.hypot(u / length, v / (0.36 * length))) * 10, 0, 1)
        vein = np.clip((0.006 - np.abs(v)) * 300, 0, 1) * (np.abs(u) < length)
        found = np.maximum(found * (1 - leaf), leaf * rng.uniform(0.5, 1.0) * (1 - 0.6 * vein))
    return found
