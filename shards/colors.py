"""Colors and their plain names, in a perceptual space.

A name is given where people agree on it: the regions below lie in OKLCh (Björn Ottosson, "A perceptual color space for
image processing", 2020), what lies in none of them has no name, and neither has what lies at the border of two.
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
"""Name and a typical color, sRGB 0..255. `gold` and `silver` are names of bare metals alone."""

_GREYS: Final = ((0.24, "black"), (0.30, ""), (0.48, "dark grey"), (0.70, "grey"), (0.89, "light grey"), (2.0, "white"))
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
"""Sectors of OKLCh hue, by the degrees where they begin; the last goes on over 0. Of each: least and largest lightness,
least and largest chroma, name. The first that fits holds; what none fits is nobody's clear color."""
_NEUTRAL: Final = 0.025
"""Chroma below which nothing has a hue; more where it is nearly black or white."""
_SHARE: Final = 0.65
"""Share of the surface that must bear a name for it to name the object."""
_MARGIN: Final = 0.018
"""OKLab distance by which a color must lie within its name's region."""
_MIXED: Final = 0.1
"""Share that both light and dark shades may have of what bears their plain name."""
_EVEN: Final = 0.04
"""Deviation (OKLab) of a metal's color: what varies more is grained or painted."""
_GOLD: Final = ((0.60, 0.93), (0.05, 0.19), (68.0, 104.0))
"""Lightness, chroma and hue of a metal that is called gold."""
_LIT: Final = (0.27, 0.02)
"""Differences of lightness, and of hue and chroma, by which a pixel may lie off its name's colors under some light."""
_DARKER: Final = 0.06
"""Lightness that pictures take from what portraits show, on average."""
_FADED: Final = (1.0, 0.85, 0.7, 0.55, 0.4)
"""Shares of a color's chroma that light and view transform leave; what is less than `_LEAST_CHROMA` shows no hue."""
_TINTED: Final = (1.0, 1.6)
_LEAST_CHROMA: Final = 0.03
_STEP: Final = np.array([0.02, 0.008, 0.008])
"""To which the colors of a name are rounded, so that there are not too many."""
_LIT_SHARE: Final = 0.4
"""Share of a thing's pixels that a word of color must fit. All measured: benchmarks/color_shift.py."""
_REDS: Final = frozenset({"red", "dark red"})
_PINKS: Final = frozenset({"pink", "light pink"})
"""The one family that bright light carries into another: what it makes pink nobody calls red."""
_NAMES: Final = (*PALETTE, "")
_NONE: Final = len(PALETTE)
_STEPS: Final = (
    np.array(list(itertools.product((-1, 0, 1), repeat=3)))
    / np.sqrt(np.maximum([sum(map(abs, step)) for step in itertools.product((-1, 0, 1), repeat=3)], 1))[:, None]
)
"""No step, and unit steps to all sides."""
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
    """OKLab (N, 3) of `srgb` (N, 3) in 0..1: lightness 0..1, and two axes of hue."""
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

    The name that holds 65 % of the surface, else the plain one (`blue`) that does together with its dark and light
    shades. The middle of what bears it must lie within the name's region by a margin; across a border between shades
    of one plain name, that name remains.

    Args:
        metal: bare metal: yellowish is `gold`, bright without a hue is `silver`, dark without a hue has no name, for
            it shows what is around it.
    """
    if len(srgb) == 0:
        return ""
    lab = to_oklab(srgb)
    which = _classify(lab)
    counts = np.bincount(which, minlength=len(_NAMES))
    if metal and (name := _metal(lab)) is not None:
        return name
    name, mine = _commonest(which, counts)
    if not name:
        return ""
    around = {_NAMES[i] for i in _classify(np.median(lab[mine], axis=0) + _STEPS * _MARGIN).tolist()}
    if {family(near) for near in around} != {family(name)}:
        return ""
    return name if around == {name} else family(name)


def _commonest(which: NDArray[np.intp], counts: NDArray[np.intp]) -> tuple[str, NDArray[np.bool_]]:
    """The name that holds enough of the samples, and which of them; of shades of one name that name, unless light
    and dark ones stand side by side."""
    least = _SHARE * len(which)
    best = int(np.argmax(counts[:_NONE]))
    if counts[best] >= least:
        return _NAMES[best], which == best
    shades = {plain: [i for i, name in enumerate(PALETTE) if family(name) == plain] for plain in map(family, PALETTE)}
    plain = max(shades, key=lambda name: int(counts[shades[name]].sum()))
    light, dark = (
        sum(int(counts[i]) for i in shades[plain] if _NAMES[i].startswith(shade)) for shade in ("light", "dark")
    )
    if counts[shades[plain]].sum() < least or min(light, dark) > _MIXED * len(which):
        return "", which < 0
    return plain, np.isin(which, shades[plain])


def _metal(lab: Floats) -> str | None:
    """What a bare metal of these colors (N, 3) is called; None: as any other thing."""
    lightness, chroma = lab[:, 0], np.hypot(lab[:, 1], lab[:, 2])
    if float((chroma < _NEUTRAL).mean()) >= _SHARE:
        # Dark metals show what is around them, and the brightest are white to some.
        return "silver" if float(((lightness > 0.66) & (lightness < 0.92)).mean()) >= _SHARE else ""
    even = float(np.linalg.norm(lab.std(axis=0))) < _EVEN
    return "gold" if float(_golden(lab).mean()) >= _SHARE and even else None


def distances(lab: Floats, names: Collection[str], lightness: float, hue: float) -> Floats:
    """How far OKLab colors (N, 3) lie from the nearest color that one of these names of the palette fits.

    Args:
        lightness: difference of lightness that counts as 1.
        hue: distance in the plane of hue and chroma that counts as 1.
    """
    return _to_nearest(lab, np.concatenate([_grid()[name] for name in names]), lightness, hue)


def _to_nearest(lab: Floats, colors: Floats, lightness: float, hue: float) -> Floats:
    scale = np.array([1 / lightness, 1 / hue, 1 / hue])
    own, grid = lab * scale, colors * scale
    squares = np.maximum((own**2).sum(axis=1)[:, None] + (grid**2).sum(axis=1) - 2 * own @ grid.T, 0)
    return np.sqrt(squares.min(axis=1))


def contradicted(names: Collection[str], lab: Floats) -> bool:
    """Whether nobody would call a thing by one of these names of the palette whose pixels in a picture are these
    OKLab colors (N, 3), whatever the light. No names claim nothing, and no pixels show nothing."""
    if not names or not len(lab):
        return False
    far = _to_nearest(lab, np.concatenate([_lit_grid()[name] for name in names]), *_LIT)
    fits = far <= 1
    if _REDS.issuperset(names):
        fits &= ~np.isin(_classify(lab), [_NAMES.index(name) for name in _PINKS])
    return float(fits.mean()) < _LIT_SHARE


@cache
def _grid() -> dict[str, Floats]:
    """OKLab colors of each name, from an even grid of sRGB."""
    steps = np.linspace(0, 1, 22)
    lab = to_oklab(np.array(list(itertools.product(steps, repeat=3))))
    which = _classify(lab)
    found = {name: lab[which == number] for number, name in enumerate(PALETTE)}
    neutral = np.hypot(lab[:, 1], lab[:, 2]) < _NEUTRAL
    return found | {"gold": lab[_golden(lab)], "silver": lab[neutral & (lab[:, 0] > 0.5)]}


@cache
def _lit_grid() -> dict[str, Floats]:
    """The same as pictures may show them: darker and faded, greys tinted by the light."""
    found: dict[str, Floats] = {}
    for name, colors in _grid().items():
        tinted = name in NEUTRAL
        shown = np.concatenate([colors * (1, part, part) for part in (_TINTED if tinted else _FADED)])
        kept = tinted | (np.hypot(shown[:, 1], shown[:, 2]) > _LEAST_CHROMA)
        found[name] = np.unique(np.round((shown - (_DARKER, 0, 0))[kept] / _STEP) * _STEP, axis=0)
    return found


def _golden(lab: Floats) -> NDArray[np.bool_]:
    inside = np.ones(len(lab), np.bool_)
    for value, (low, high) in zip((lab[:, 0], np.hypot(lab[:, 1], lab[:, 2]), _hue(lab)), _GOLD, strict=True):
        inside &= (value >= low) & (value <= high)
    return inside


def _hue(lab: Floats) -> Floats:
    return np.rad2deg(np.arctan2(lab[:, 2], lab[:, 1])) % 360


def _classify(lab: Floats) -> NDArray[np.intp]:
    """Index into the names (the last: none) of each OKLab color (N, 3)."""
    lightness, chroma = lab[:, 0], np.hypot(lab[:, 1], lab[:, 2])
    sector = (np.searchsorted([start for start, _ in _SECTORS], _hue(lab), side="right") - 1) % len(_SECTORS)
    found = np.full(len(lab), -1)
    neutral = chroma < np.select([lightness < 0.28, lightness > 0.89], [1.3, 1.4], 1.0) * _NEUTRAL
    levels = np.array([level for level, _ in _GREYS])
    greys = np.array([_NAMES.index(name) for _, name in _GREYS])
    found[neutral] = greys[np.searchsorted(levels, lightness[neutral], side="right").clip(max=len(greys) - 1)]
    for number, (_, rows) in enumerate(_SECTORS):
        here = sector == number
        for low, high, least, most, name in rows:
            fits = here & (found < 0) & (lightness >= low) & (lightness < high) & (chroma >= least) & (chroma < most)
            found[fits] = _NAMES.index(name)
    found[found < 0] = _NONE
    return found
