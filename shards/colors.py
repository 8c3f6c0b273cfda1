"""Colors and their common names, in a perceptual space.

A color gets a name only where people agree on it. The regions below are defined in OKLCh (Björn Ottosson, "A perceptual
color space for image processing", 2020). A color outside all regions, or at the border of two, has no name.
"""

import itertools
from collections.abc import Collection, Mapping
from functools import cache
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
        "silver": (186, 188, 192),
        "red": (200, 32, 36),
        "dark red": (112, 16, 24),
        "orange": (232, 122, 24),
        "brown": (112, 72, 42),
        "dark brown": (66, 42, 26),
        "light brown": (172, 128, 84),
        "beige": (216, 198, 164),
        "gold": (212, 166, 72),
        "yellow": (240, 204, 40),
        "olive": (104, 104, 36),
        "green": (58, 148, 62),
        "dark green": (24, 74, 40),
        "light green": (152, 206, 122),
        "turquoise": (48, 172, 168),
        "light blue": (130, 186, 226),
        "blue": (38, 84, 190),
        "dark blue": (20, 34, 92),
        "purple": (114, 52, 150),
        "dark purple": (58, 26, 80),
        "light purple": (188, 164, 224),
        "pink": (234, 138, 176),
        "light pink": (244, 196, 210),
    }
)
"""Name and a typical color, sRGB 0..255. `gold` and `silver` are names of bare metals only."""

_GRAYS: Final = ((0.24, "black"), (0.30, ""), (0.48, "dark grey"), (0.70, "grey"), (0.89, "light grey"), (2.0, "white"))
_Row = tuple[float, float, float, float, str]
_SECTORS: Final[tuple[tuple[float, tuple[_Row, ...]], ...]] = (
    (
        2.0,  # pink to red
        (
            (0.00, 0.42, 0.07, 1.0, "dark red"),
            (0.60, 0.82, 0.06, 1.0, "pink"),
            (0.82, 1.01, 0.03, 1.0, "light pink"),
        ),
    ),
    (
        14.0,  # red
        (
            (0.00, 0.36, 0.00, 0.075, "dark brown"),
            (0.36, 0.58, 0.00, 0.075, "brown"),
            (0.00, 0.43, 0.075, 1.0, "dark red"),
            (0.43, 0.70, 0.095, 1.0, "red"),
            (0.73, 0.84, 0.07, 1.0, "pink"),
            (0.84, 1.01, 0.03, 1.0, "light pink"),
        ),
    ),
    (38.0, ((0.00, 0.36, 0.00, 0.09, "dark brown"), (0.36, 0.57, 0.00, 0.12, "brown"))),
    (
        44.0,  # orange
        (
            (0.00, 0.36, 0.00, 1.0, "dark brown"),
            (0.36, 0.57, 0.00, 1.0, "brown"),
            (0.57, 0.77, 0.00, 0.115, "light brown"),
            (0.77, 1.01, 0.00, 0.075, "beige"),
            (0.62, 1.01, 0.125, 1.0, "orange"),
        ),
    ),
    (
        78.0,  # amber
        (
            (0.00, 0.34, 0.00, 1.0, "dark brown"),
            (0.34, 0.54, 0.00, 1.0, "brown"),
            (0.54, 0.77, 0.00, 0.09, "light brown"),
            (0.77, 1.01, 0.00, 0.075, "beige"),
            (0.78, 1.01, 0.12, 1.0, "yellow"),
        ),
    ),
    (
        92.0,  # straw
        (
            (0.80, 1.01, 0.00, 0.065, "beige"),
            (0.78, 1.01, 0.10, 1.0, "yellow"),
        ),
    ),
    (
        94.0,  # yellow
        (
            (0.00, 0.68, 0.045, 1.0, "olive"),
            (0.80, 1.01, 0.00, 0.065, "beige"),
            (0.78, 1.01, 0.10, 1.0, "yellow"),
        ),
    ),
    (116.0, ((0.00, 0.56, 0.045, 1.0, "olive"), (0.60, 0.80, 0.12, 1.0, "green"))),
    (
        122.0,  # green
        (
            (0.00, 0.42, 0.03, 1.0, "dark green"),
            (0.42, 0.75, 0.03, 1.0, "green"),
            (0.75, 1.01, 0.20, 1.0, "green"),
            (0.75, 1.01, 0.03, 0.20, "light green"),
        ),
    ),
    (168.0, ((0.42, 0.75, 0.06, 1.0, "green"),)),
    (174.0, ((0.44, 0.93, 0.05, 1.0, "turquoise"),)),
    (208.0, ()),
    (
        211.0,  # blue
        (
            (0.00, 0.38, 0.03, 0.15, "dark blue"),
            (0.00, 0.34, 0.15, 1.0, "dark blue"),
            (0.34, 0.72, 0.045, 1.0, "blue"),
            (0.72, 1.01, 0.03, 1.0, "light blue"),
        ),
    ),
    (282.0, ()),
    (
        285.0,  # purple
        (
            (0.00, 0.36, 0.04, 1.0, "dark purple"),
            (0.36, 0.70, 0.05, 1.0, "purple"),
            (0.70, 1.01, 0.03, 1.0, "light purple"),
        ),
    ),
    (
        334.0,  # pink
        (
            (0.00, 0.50, 0.06, 1.0, "purple"),
            (0.60, 0.82, 0.06, 1.0, "pink"),
            (0.82, 1.01, 0.03, 1.0, "light pink"),
        ),
    ),
    (344.0, ((0.60, 0.82, 0.06, 1.0, "pink"), (0.82, 1.01, 0.03, 1.0, "light pink"))),
)
"""Sectors of OKLCh hue, by the degrees where they begin; the last one wraps over 0. Rows of a sector: minimum and
maximum lightness, minimum and maximum chroma, name. The first row that fits gives the name; if none fits, no name."""
_NEUTRAL_CHROMA: Final = 0.025
"""Chroma below which a color has no hue; the limit is higher near black and white."""
_MIN_NAMED_SHARE: Final = 0.65
"""Share of the surface that must have a name for the object to get it."""
_MARGIN: Final = 0.018
"""OKLab distance by which a color must lie within its name's region."""
_MAX_SHADE_SHARE: Final = 0.1
"""If both the light and the dark shades of one plain name exceed this share of the surface, it has no name."""
_MAX_METAL_DEVIATION: Final = 0.04
"""Largest deviation (OKLab) of a bare metal's color: a surface that varies more is grained or painted."""
_GOLD_RANGES: Final = ((0.60, 0.93), (0.05, 0.19), (68.0, 104.0))
"""Ranges of lightness, chroma and hue of a metal that is called gold."""
_LIGHTING_TOLERANCE: Final = (0.27, 0.02)
"""How far a pixel may be from the colors of its name, due to lighting: in lightness, and in hue and chroma."""
_RENDER_DARKENING: Final = 0.06
"""Lightness that colors lose in images, relative to portraits, on average."""
_CHROMA_FACTORS: Final = (1.0, 0.85, 0.7, 0.55, 0.4)
"""Factors by which lighting and the view transform scale chroma; below `_MIN_CHROMA` a color shows no hue."""
_NEUTRAL_CHROMA_FACTORS: Final = (1.0, 1.6)
_MIN_CHROMA: Final = 0.03
_ROUNDING_STEP: Final = np.array([0.02, 0.008, 0.008])
"""The colors of a name are rounded to this step, to keep their number small."""
_MIN_MATCHING_SHARE: Final = 0.4
"""Share of an object's pixels that a color word must fit. All of these are measured: benchmarks/color_shift.py."""
_REDS: Final = frozenset({"red", "dark red"})
_PINKS: Final = frozenset({"pink", "light pink"})
"""Bright light turns only reds into another family: nobody calls a pink surface red."""
_NAMES: Final = (*PALETTE, "")
_NONE: Final = len(PALETTE)
_DIRECTIONS: Final = (
    np.array(list(itertools.product((-1, 0, 1), repeat=3)))
    / np.sqrt(np.maximum([sum(map(abs, step)) for step in itertools.product((-1, 0, 1), repeat=3)], 1))[:, None]
)
"""The zero vector, and unit steps in all directions."""
NEUTRAL: Final = frozenset({"black", "dark grey", "grey", "light grey", "white", "silver"})


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


def to_oklab(srgb: Floats) -> Floats:
    """OKLab (N, 3) of `srgb` (N, 3) in 0..1: lightness in 0..1, and the two hue axes a and b."""
    cones = to_linear(np.asarray(srgb, np.float64)) @ np.array(
        [
            [0.4122214708, 0.2119034982, 0.0883024619],
            [0.5363325363, 0.6806995451, 0.2817188376],
            [0.0514459929, 0.1073969566, 0.6299787005],
        ]
    )
    return np.cbrt(cones) @ np.array(
        [
            [0.2104542553, 1.9779984951, 0.0259040371],
            [0.7936177850, -2.4285922050, 0.7827717662],
            [-0.0040720468, 0.4505937099, -0.8086757660],
        ]
    )


def family(name: str) -> str:
    """`blue` of `dark blue`: the plain name."""
    return name.removeprefix("dark ").removeprefix("light ")


def name_of_surface(srgb: Floats, metal: bool = False) -> str:
    """One name for a surface, from equal-area samples of it, `srgb` (N, 3) in 0..1; empty where none is clear.

    The name that covers 65 % of the surface; else the plain name (`blue`) that covers it together with its dark and
    light shades. The median of the covered samples must lie inside the name's region by a margin. Near a border between
    shades of one plain name, the result is the plain name.

    Args:
        metal: whether the surface is bare metal. Yellowish metal is `gold`, bright metal without a hue is `silver`, and
            dark metal without a hue has no name, since it reflects its surroundings.
    """
    if len(srgb) == 0:
        return ""
    lab = to_oklab(srgb)
    which = _classify(lab)
    counts = np.bincount(which, minlength=len(_NAMES))
    if metal and (name := _metal(lab)) is not None:
        return name
    name, covered = _dominant_name(which, counts)
    if not name:
        return ""
    around = {_NAMES[i] for i in _classify(np.median(lab[covered], axis=0) + _DIRECTIONS * _MARGIN).tolist()}
    if {family(near) for near in around} != {family(name)}:
        return ""
    return name if around == {name} else family(name)


def _dominant_name(which: NDArray[np.intp], counts: NDArray[np.intp]) -> tuple[str, NDArray[np.bool_]]:
    """The name that covers enough samples, and a mask of these samples. Shades of one plain name count together, unless
    light and dark ones are both frequent. An empty name if there is none."""
    least = _MIN_NAMED_SHARE * len(which)
    best = int(np.argmax(counts[:_NONE]))
    if counts[best] >= least:
        return _NAMES[best], which == best
    shades = {plain: [i for i, name in enumerate(PALETTE) if family(name) == plain] for plain in map(family, PALETTE)}
    plain = max(shades, key=lambda name: int(counts[shades[name]].sum()))
    light, dark = (
        sum(int(counts[i]) for i in shades[plain] if _NAMES[i].startswith(shade)) for shade in ("light", "dark")
    )
    if counts[shades[plain]].sum() < least or min(light, dark) > _MAX_SHADE_SHARE * len(which):
        return "", which < 0
    return plain, np.isin(which, shades[plain])


def _metal(lab: Floats) -> str | None:
    """The name of a bare metal of these colors (N, 3); None where it is named like any other surface."""
    lightness, chroma = lab[:, 0], np.hypot(lab[:, 1], lab[:, 2])
    if float((chroma < _NEUTRAL_CHROMA).mean()) >= _MIN_NAMED_SHARE:
        # Dark metals reflect their surroundings, and some people call the brightest ones white.
        return "silver" if float(((lightness > 0.66) & (lightness < 0.92)).mean()) >= _MIN_NAMED_SHARE else ""
    even = float(np.linalg.norm(lab.std(axis=0))) < _MAX_METAL_DEVIATION
    return "gold" if float(_is_gold(lab).mean()) >= _MIN_NAMED_SHARE and even else None


def distances(lab: Floats, names: Collection[str], lightness: float, hue: float) -> Floats:
    """Distances (N,) of OKLab colors (N, 3) to the nearest color that has one of these names of the palette.

    Args:
        lightness: difference of lightness that counts as 1.
        hue: distance in the plane of hue and chroma that counts as 1.
    """
    return _nearest_distances(lab, np.concatenate([_colors_by_name()[name] for name in names]), lightness, hue)


def _nearest_distances(lab: Floats, colors: Floats, lightness: float, hue: float) -> Floats:
    scale = np.array([1 / lightness, 1 / hue, 1 / hue])
    own, grid = lab * scale, colors * scale
    squares = np.maximum((own**2).sum(axis=1)[:, None] + (grid**2).sum(axis=1) - 2 * own @ grid.T, 0)
    return np.sqrt(squares.min(axis=1))


def contradicts(names: Collection[str], lab: Floats) -> bool:
    """Whether none of these names of the palette fits an object whose pixels in an image have these OKLab colors
    (N, 3), under any plausible light. False where there are no names or no pixels."""
    if not names or not len(lab):
        return False
    colors = np.concatenate([_lit_colors_by_name()[name] for name in names])
    fits = _nearest_distances(lab, colors, *_LIGHTING_TOLERANCE) <= 1
    if _REDS.issuperset(names):
        fits &= ~np.isin(_classify(lab), [_NAMES.index(name) for name in _PINKS])
    return float(fits.mean()) < _MIN_MATCHING_SHARE


@cache
def _colors_by_name() -> dict[str, Floats]:
    """OKLab colors of each name, from a regular grid of sRGB."""
    steps = np.linspace(0, 1, 22)
    lab = to_oklab(np.array(list(itertools.product(steps, repeat=3))))
    which = _classify(lab)
    found = {name: lab[which == number] for number, name in enumerate(PALETTE)}
    neutral = np.hypot(lab[:, 1], lab[:, 2]) < _NEUTRAL_CHROMA
    return found | {"gold": lab[_is_gold(lab)], "silver": lab[neutral & (lab[:, 0] > 0.5)]}


@cache
def _lit_colors_by_name() -> dict[str, Floats]:
    """The same colors as images may show them: darker and less saturated, grays tinted by the light."""
    found: dict[str, Floats] = {}
    for name, colors in _colors_by_name().items():
        tinted = name in NEUTRAL
        factors = _NEUTRAL_CHROMA_FACTORS if tinted else _CHROMA_FACTORS
        shown = np.concatenate([colors * (1, factor, factor) for factor in factors])
        kept = tinted | (np.hypot(shown[:, 1], shown[:, 2]) > _MIN_CHROMA)
        steps = np.round((shown - (_RENDER_DARKENING, 0, 0))[kept] / _ROUNDING_STEP)
        found[name] = np.unique(steps * _ROUNDING_STEP, axis=0)
    return found


def _is_gold(lab: Floats) -> NDArray[np.bool_]:
    inside = np.ones(len(lab), np.bool_)
    for value, (low, high) in zip((lab[:, 0], np.hypot(lab[:, 1], lab[:, 2]), _hue(lab)), _GOLD_RANGES, strict=True):
        inside &= (value >= low) & (value <= high)
    return inside


def _hue(lab: Floats) -> Floats:
    return np.rad2deg(np.arctan2(lab[:, 2], lab[:, 1])) % 360


def _classify(lab: Floats) -> NDArray[np.intp]:
    """Index into `_NAMES` (the last one: no name) of each OKLab color (N, 3)."""
    lightness, chroma = lab[:, 0], np.hypot(lab[:, 1], lab[:, 2])
    sector = (np.searchsorted([start for start, _ in _SECTORS], _hue(lab), side="right") - 1) % len(_SECTORS)
    found = np.full(len(lab), -1)
    neutral = chroma < np.select([lightness < 0.28, lightness > 0.89], [1.3, 1.4], 1.0) * _NEUTRAL_CHROMA
    levels = np.array([level for level, _ in _GRAYS])
    grays = np.array([_NAMES.index(name) for _, name in _GRAYS])
    found[neutral] = grays[np.searchsorted(levels, lightness[neutral], side="right").clip(max=len(grays) - 1)]
    for number, (_, rows) in enumerate(_SECTORS):
        here = sector == number
        for low, high, least, most, name in rows:
            fits = here & (found < 0) & (lightness >= low) & (lightness < high) & (chroma >= least) & (chroma < most)
            found[fits] = _NAMES.index(name)
    found[found < 0] = _NONE
    return found
