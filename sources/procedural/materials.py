"""Materials, and small textures for them that numpy paints from a seed.

Invariant: textures that repeat (`wood`, `cloth`, `speckle`, `wicker`) have no seams, and the mean color of a texture is
close to its first color, so that the name of this color is correct.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from ...shards.colors import PALETTE
from .shapes import Floats

Rgb = tuple[float, float, float]
Image = NDArray[np.uint8]
Pattern = Literal[
    "wood",
    "cloth",
    "speckle",
    "wicker",
    "bands",
    "gores",
    "basketball",
    "cover",
    "label",
    "screen",
    "dial",
    "staves",
    "keys",
]

SIDE: Final = 192
"""Side of a texture, pixels."""
_TITLES: Final = ("ATLAS", "POEMS", "GARDEN", "ORBIT", "HARBOR", "TIDES", "NORTH", "ECHO", "FABLES", "COMPASS")


@dataclass(frozen=True)
class Texture:
    """A texture to paint. `colors` (sRGB, 0..1): ground, then accents."""

    pattern: Pattern
    colors: tuple[Rgb, ...]
    seed: int


@dataclass(frozen=True)
class Material:
    """A metallic-roughness material of glTF."""

    rgb: Rgb
    """sRGB, 0..1; not used if there is a texture."""
    roughness: float = 0.5
    metallic: float = 0.0
    texture: Texture | None = None
    double_sided: bool = False


def named(color: str) -> Rgb:
    """The color of the palette with this name, sRGB 0..1."""
    red, green, blue = PALETTE[color]
    return red / 255, green / 255, blue / 255


def paint(texture: Texture) -> Image:
    """Paint a texture: (H, W, 3), uint8 sRGB, top row first."""
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([texture.seed, 0x7EC5])))
    colors = np.array(texture.colors, np.float64)
    image = _PAINTERS[texture.pattern](colors, generator)
    return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)


def _noise(generator: np.random.Generator, across: float, along: float, side: int = SIDE) -> Floats:
    """Periodic smooth noise (side, side) with zero mean and unit standard deviation.

    `across` and `along`: size of its features as fraction of the side.
    """
    frequency_y, frequency_x = np.meshgrid(np.fft.fftfreq(side) * side, np.fft.fftfreq(side) * side, indexing="ij")
    fall = np.exp(-((frequency_y * across) ** 2) - (frequency_x * along) ** 2)
    field = np.fft.ifft2(np.fft.fft2(generator.standard_normal((side, side))) * fall).real
    field -= field.mean()
    return field / max(float(field.std()), 1e-9)


def _mix(low: Floats, high: Floats, share: Floats) -> Floats:
    part = np.clip(share, 0, 1)[..., None]
    return low * (1 - part) + high * part


def _grid(side: int = SIDE) -> tuple[Floats, Floats]:
    """x to the right and y up, 0..1, at pixel centers."""
    line = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(line, line[::-1])
    return x, y


def _wood(colors: Floats, generator: np.random.Generator) -> Floats:
    _, y = _grid()
    rings = 0.5 + 0.5 * np.sin(2 * np.pi * (9 * y + 0.35 * _noise(generator, 0.12, 0.7)))
    fiber = _noise(generator, 0.008, 0.35)
    return _mix(colors[0] * 1.08, colors[0] * 0.72, 0.55 * rings + 0.12 * fiber + 0.1)


def _cloth(colors: Floats, generator: np.random.Generator) -> Floats:
    x, y = _grid()
    weave = np.sin(2 * np.pi * 32 * x) * np.sin(2 * np.pi * 32 * y)
    return colors[0] * (0.97 + 0.07 * weave + 0.03 * _noise(generator, 0.1, 0.1))[..., None]


def _speckle(colors: Floats, generator: np.random.Generator) -> Floats:
    spots = _noise(generator, 0.02, 0.02) > 1.7
    return _mix(colors[0], colors[-1], spots.astype(np.float64) * 0.8)


def _wicker(colors: Floats, generator: np.random.Generator) -> Floats:
    x, y = _grid()
    row = np.floor(y * 12)
    strand = np.abs(np.sin(np.pi * (x * 12 + row / 2))) * np.abs(np.sin(np.pi * y * 12)) ** 0.5
    return colors[0] * (0.55 + 0.6 * strand + 0.03 * _noise(generator, 0.02, 0.02))[..., None]


def _bands(colors: Floats, generator: np.random.Generator) -> Floats:
    """Rings around a lathe."""
    _, y = _grid()
    at, width = generator.uniform(0.2, 0.3), generator.uniform(0.015, 0.04)
    ring = (np.abs(y - at) < width) | (np.abs(y - at - 3 * width) < width / 2)
    return _mix(colors[0], colors[-1], ring.astype(np.float64))


def _gores(colors: Floats, generator: np.random.Generator) -> Floats:
    """Segments of a beach ball, with a cap at each pole."""
    x, y = _grid()
    which = (np.floor(x * 6) % len(colors)).astype(np.intp)
    cap = (np.abs(y - 0.5) > 0.45)[..., None]
    return np.where(cap, np.ones(3), colors[which])


def _basketball(colors: Floats, generator: np.random.Generator) -> Floats:
    x, y = _grid(2 * SIDE)
    longitude, latitude = 2 * np.pi * x, np.pi * (y - 0.5)
    px, py, pz = np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)
    seam = np.minimum(np.abs(pz), np.abs(px))
    for sign in (1.0, -1.0):
        seam = np.minimum(seam, np.abs(np.hypot(py - sign * 1.15, 0.0 * pz) - 0.62 - 0.25 * pz**2))
    pebble = 0.96 + 0.04 * _noise(generator, 0.004, 0.004, 2 * SIDE)
    return _mix(colors[0] * pebble[..., None], colors[-1], (seam < 0.028).astype(np.float64))


def _cover(colors: Floats, generator: np.random.Generator) -> Floats:
    """The front of a book: a frame, a title, and a picture of bands or of a disk."""
    import cv2

    x, y = _grid(2 * SIDE)
    image = np.broadcast_to(colors[0], (2 * SIDE, 2 * SIDE, 3)).copy()
    edge = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
    image[(edge > 0.045) & (edge < 0.06)] = colors[1]
    if generator.uniform() < 0.5:
        image[np.hypot(x - 0.5, y - 0.4) < 0.2] = colors[1]
        image[np.hypot(x - 0.5, y - 0.4) < 0.13] = colors[0] * 0.8
    else:
        for level in range(3):
            image[(np.abs(y - 0.22 - 0.1 * level) < 0.022) & (np.abs(x - 0.5) < 0.34 - 0.06 * level)] = colors[1]
    title = _TITLES[int(generator.integers(len(_TITLES)))]
    scale = 1.5
    (width, _), _ = cv2.getTextSize(title, cv2.FONT_HERSHEY_DUPLEX, scale, 3)
    place = (SIDE - width // 2, int(0.26 * 2 * SIDE))
    letters = np.zeros((2 * SIDE, 2 * SIDE), np.uint8)
    cv2.putText(letters, title, place, cv2.FONT_HERSHEY_DUPLEX, scale, 255, 3, cv2.LINE_AA)
    return _mix(image, colors[1], letters / 255)


def _label(colors: Floats, generator: np.random.Generator) -> Floats:
    """The label of a bottle: paper, bands, an emblem, lines of small print."""
    x, y = _grid()
    image = np.broadcast_to(colors[0], (SIDE, SIDE, 3)).copy()
    image[(y > 0.88) | (y < 0.1)] = colors[1]
    image[np.hypot((x - 0.5) * 1.6, y - 0.62) < 0.16] = colors[1]
    for line in range(3):
        length = generator.uniform(0.15, 0.3)
        image[(np.abs(y - 0.36 + 0.07 * line) < 0.014) & (np.abs(x - 0.5) < length)] = colors[1] * 0.5
    return image


def _screen(colors: Floats, generator: np.random.Generator) -> Floats:
    """A landscape: sky, sun, and two ranges of hills."""
    x, y = _grid()
    image = _mix(np.array([0.75, 0.85, 0.95]), np.array([0.15, 0.4, 0.8]), y)
    image[np.hypot((x - generator.uniform(0.2, 0.8)) * 1.7, y - 0.75) < 0.1] = (1.0, 0.92, 0.6)
    for depth, (green, base) in enumerate((((0.25, 0.45, 0.4), 0.5), ((0.2, 0.5, 0.2), 0.28))):
        ridge = base + 0.1 * np.sin(2 * np.pi * ((1.2 + depth) * x + generator.uniform()))
        ridge = ridge + 0.03 * np.sin(2 * np.pi * (4.7 * x + generator.uniform()))
        image[y < ridge] = green
    return image


def _dial(colors: Floats, generator: np.random.Generator) -> Floats:
    """A clock face with twelve marks and two hands."""
    x, y = _grid(2 * SIDE)
    dx, dy = (x - 0.5) * 2, (y - 0.5) * 2
    radius, angle = np.hypot(dx, dy), np.arctan2(dx, dy)
    image = np.broadcast_to(colors[0], (2 * SIDE, 2 * SIDE, 3)).copy()
    mark = np.abs((angle * 12 / (2 * np.pi) + 0.5) % 1 - 0.5) * 2 * np.pi / 12 * radius
    image[(mark < 0.022) & (radius > 0.72) & (radius < 0.88)] = colors[1]
    hour = float(generator.integers(12)) + float(generator.integers(12)) / 12
    for turn, length, width in ((hour / 12, 0.48, 0.04), (hour % 1, 0.72, 0.026)):
        c, s = np.cos(2 * np.pi * turn), np.sin(2 * np.pi * turn)
        image[(np.abs(dx * c - dy * s) < width) & (dx * s + dy * c > -0.1) & (dx * s + dy * c < length)] = colors[1]
    return image


def _staves(colors: Floats, generator: np.random.Generator) -> Floats:
    """Boards around a barrel, with upright grain."""
    x, _ = _grid()
    board = np.floor(x * 14)
    shade = generator.uniform(0.82, 1.1, 14)[board.astype(np.intp)]
    seam = np.abs((x * 14 + 0.5) % 1 - 0.5) < 0.035
    grain = 1 + 0.06 * _noise(generator, 0.3, 0.006)
    return colors[0] * (shade * grain * np.where(seam, 0.45, 1.0))[..., None]


def _keys(colors: Floats, generator: np.random.Generator) -> Floats:
    """A keyboard: five rows of keys on a darker bed."""
    x, y = _grid()
    row = np.floor(y * 5)
    along = x * 13 + 0.3 * row
    key = (np.abs(along % 1 - 0.5) < 0.41) & (np.abs(y * 5 % 1 - 0.5) < 0.39)
    space = (row == 0) & (np.abs(x - 0.5) < 0.24) & (np.abs(y * 5 % 1 - 0.5) < 0.39)
    return _mix(colors[0], colors[1], (key | space).astype(np.float64))


_PAINTERS: Final[Mapping[Pattern, Callable[[Floats, np.random.Generator], Floats]]] = {
    "wood": _wood,
    "cloth": _cloth,
    "speckle": _speckle,
    "wicker": _wicker,
    "bands": _bands,
    "gores": _gores,
    "basketball": _basketball,
    "cover": _cover,
    "label": _label,
    "screen": _screen,
    "dial": _dial,
    "staves": _staves,
    "keys": _keys,
}
