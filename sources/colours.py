"""Plain colour names for surfaces. A name is given only where it fits the whole of an object."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PALETTE: Final[Mapping[str, tuple[int, int, int]]] = MappingProxyType(
    {
        "black": (18, 18, 18),
        "dark grey": (66, 66, 68),
        "grey": (125, 125, 127),
        "light grey": (190, 190, 192),
        "white": (244, 244, 242),
        "red": (200, 32, 36),
        "dark red": (112, 16, 24),
        "orange": (232, 122, 24),
        "brown": (112, 72, 42),
        "dark brown": (58, 36, 22),
        "light brown": (172, 128, 84),
        "beige": (216, 198, 164),
        "yellow": (240, 204, 40),
        "green": (58, 148, 62),
        "dark green": (24, 74, 40),
        "light green": (152, 206, 122),
        "turquoise": (48, 172, 168),
        "light blue": (130, 186, 226),
        "blue": (38, 84, 190),
        "dark blue": (20, 34, 92),
        "purple": (114, 52, 150),
        "pink": (234, 138, 176),
    }
)
"""Name and a typical colour, sRGB 0..255."""

_MUTED: Final = (
    ("blue", (62, 104, 142)),
    ("dark blue", (44, 58, 92)),
    ("light blue", (150, 176, 200)),
    ("green", (86, 122, 84)),
    ("green", (112, 116, 56)),
    ("red", (156, 66, 62)),
    ("dark red", (88, 36, 38)),
    ("purple", (98, 76, 118)),
    ("turquoise", (80, 136, 136)),
    ("dark brown", (66, 26, 6)),
    ("light brown", (200, 160, 118)),
)
"""Other colours that bear the same name; without them a faded blue would be nearest to grey."""

_TYPICAL: Final = (*PALETTE.items(), *_MUTED)
_NAMES: Final = tuple(PALETTE)
_NAME_OF: Final = np.array([_NAMES.index(name) for name, _ in _TYPICAL])
_SHARE: Final = 0.65
"""Share of the surface that must bear a name for it to name the object."""


def to_linear(srgb: Floats) -> Floats:
    """IEC 61966-2-1 decoding; `srgb` of any shape, 0..1."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: Floats) -> Floats:
    """IEC 61966-2-1 encoding; `linear` of any shape, clipped to 0..1."""
    clipped = np.clip(linear, 0.0, 1.0)
    return np.where(clipped <= 0.0031308, clipped * 12.92, 1.055 * clipped ** (1 / 2.4) - 0.055)


def to_lab(srgb: Floats) -> Floats:
    """CIELAB under D65 of `srgb` (N, 3) in 0..1."""
    import cv2

    image = np.asarray(srgb, np.float32).reshape(-1, 1, 3)
    return cv2.cvtColor(image, cv2.COLOR_RGB2LAB).reshape(-1, 3).astype(np.float64)


def name_of_surface(srgb: Floats) -> str:
    """One name for a surface, from equal-area samples of it, `srgb` (N, 3) in 0..1.

    The commonest name where it holds 65 % of the surface; else the plain name (`blue`) where it does together with
    its dark and light shades; else empty.
    """
    if len(srgb) == 0:
        return ""
    shares = np.bincount(_nearest(srgb), minlength=len(_NAMES)) / len(srgb)
    best = int(np.argmax(shares))
    if shares[best] >= _SHARE:
        return _NAMES[best]
    families: dict[str, float] = {}
    for name, share in zip(_NAMES, shares.tolist(), strict=True):
        plain = name.removeprefix("dark ").removeprefix("light ")
        families[plain] = families.get(plain, 0.0) + share
    plain = max(families, key=lambda name: families[name])
    return plain if families[plain] >= _SHARE else ""


def _nearest(srgb: Floats) -> NDArray[np.intp]:
    """Index into the names of the typical colour that is nearest in CIELAB."""
    typical = to_lab(np.array([colour for _, colour in _TYPICAL]) / 255)
    return _NAME_OF[np.argmin(np.linalg.norm(to_lab(srgb)[:, None] - typical[None], axis=2), axis=1)]
