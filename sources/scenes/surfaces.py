"""Colors and sizes of real floors and walls, which `blender_materials` renders as patterns.

Every number of a sampled `Surface` is rounded to six decimals, so that a specification is equal on every machine.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...shards.colors import to_linear
from .spec import Surface, SurfaceKind

Role = Literal["floor", "wall"]
Range = tuple[float, float]


@dataclass(frozen=True)
class _Product:
    """Color pairs (main, accent) as sRGB hex, and ranges of size (meters) and roughness."""

    pairs: tuple[tuple[str, str], ...]
    scale_m: Range
    roughness: Range


_WOOD = (  # early wood, late wood
    ("b98d5c", "8a6238"),  # oak
    ("cbb08a", "a88a63"),  # pale oak
    ("d3c0a0", "b59f7c"),  # ash
    ("d2a66c", "b0793f"),  # pine
    ("9a6a3c", "744a26"),  # teak
    ("8f5436", "6a3822"),  # cherry
    ("6b4a32", "432c1d"),  # walnut
    ("46352b", "2c211b"),  # smoked oak
    ("a59c8e", "837a6d"),  # weathered gray
    ("d9d2c5", "bdb3a2"),  # limed
)
_TILE = (  # tile, grout
    ("dedcd6", "a7a39b"),
    ("d6c7ab", "aa9a80"),
    ("b06a48", "94836f"),  # terracotta
    ("c4b39a", "8f8371"),  # travertine
    ("9a9a97", "6f6e6a"),
    ("54585c", "8a8a86"),  # slate
    ("303236", "5e5e5e"),
    ("8fa08c", "c8c6bc"),
    ("7d8fa0", "b9bcbe"),
)
_WALL_TILE = (
    ("ebe9e4", "b5b2ab"),
    ("d9e0e0", "a5acac"),
    ("a9bdb4", "d5d6d0"),
    ("8ea6b8", "d2d4d4"),
    ("c9b59b", "9c8f7e"),
    ("4d6560", "9aa09c"),
)
_CONCRETE = (  # clean, stained
    ("9c9a95", "77756f"),
    ("b5b1a8", "928d83"),
    ("84837f", "62615e"),
    ("a69c8e", "857a6b"),
    ("c2bfb8", "a29e96"),
)
_CARPET = (  # two yarns
    ("b5a58c", "97876d"),
    ("d2c8b5", "b9ad97"),
    ("8d8c8b", "6f6f70"),
    ("45474b", "5c5e62"),
    ("2f3d5a", "465675"),
    ("6d2b31", "85474d"),
    ("6b6a46", "83825e"),
    ("8a7a6b", "a09080"),
    ("35605f", "4d7876"),
    ("9c6b45", "b58560"),
)
_GRASS = (  # blades, dry grass and soil
    ("56722e", "8a7a4a"),
    ("486629", "6d5b3a"),
    ("667a36", "9c8c58"),
    ("3f5c2c", "5c4d33"),
)
_PLASTER = (  # paint, the same in shade
    ("e6e1d6", "ddd7cb"),
    ("d9d4cb", "cec8be"),
    ("efece4", "e6e2d9"),
    ("c3cdd2", "b8c3c8"),
    ("cbd3bf", "c0c9b3"),
    ("e2cfb7", "d8c4ab"),
    ("bda58c", "b1987f"),
    ("8c9ca5", "82929b"),
    ("d9b9a0", "cfae94"),
    ("9a6f5c", "8f6553"),
    ("6f7f72", "667569"),
)
_BRICK = (  # brick, mortar
    ("9a4f38", "b3aa9c"),
    ("8a4634", "9c948a"),
    ("b8795a", "c6beb0"),
    ("cdc6bb", "b9b3a9"),  # whitewashed
    ("7a6256", "9a948c"),
    ("c2a27c", "bdb5a6"),  # yellow stock
)

_FLOORS: dict[SurfaceKind, tuple[float, _Product]] = {
    "wood": (0.3, _Product(_WOOD, (0.07, 0.2), (0.25, 0.6))),
    "tile": (0.2, _Product(_TILE, (0.2, 0.6), (0.15, 0.6))),
    "concrete": (0.17, _Product(_CONCRETE, (0.3, 1.2), (0.45, 0.85))),
    "carpet": (0.17, _Product(_CARPET, (0.004, 0.01), (0.95, 1.0))),
    "grass": (0.1, _Product(_GRASS, (0.05, 0.12), (0.9, 1.0))),
    "brick": (0.06, _Product(_BRICK, (0.19, 0.25), (0.8, 0.95))),
}
_WALLS: dict[SurfaceKind, tuple[float, _Product]] = {
    "plaster": (0.58, _Product(_PLASTER, (0.08, 0.5), (0.7, 0.95))),
    "brick": (0.16, _Product(_BRICK, (0.19, 0.25), (0.8, 0.95))),
    "concrete": (0.1, _Product(_CONCRETE, (0.3, 1.2), (0.6, 0.9))),
    "wood": (0.08, _Product(_WOOD, (0.08, 0.18), (0.4, 0.7))),
    "tile": (0.08, _Product(_WALL_TILE, (0.1, 0.25), (0.1, 0.35))),
}
_TURNS: dict[SurfaceKind, tuple[float, ...]] = {"wood": (0.0, 90.0), "tile": (0.0, 45.0)}


def sample_surface(rng: np.random.Generator, role: Role) -> Surface:
    """A floor or a wall that one could meet: kind by its share, a known colour pair a little varied.

    Floors lie at any angle to the world's axes; patterns of walls stay plumb.
    """
    products = _FLOORS if role == "floor" else _WALLS
    kinds = tuple(products)
    shares = np.array([products[kind][0] for kind in kinds])
    kind = kinds[int(rng.choice(len(kinds), p=shares / shares.sum()))]
    product = products[kind][1]
    pair = product.pairs[int(rng.integers(len(product.pairs)))]
    # One gain and one tint for both colors, so that they still match.
    gain = np.exp(rng.uniform(-0.15, 0.15)) * np.exp(rng.uniform(-0.04, 0.04, 3))
    turns = _TURNS.get(kind, (0.0,))
    turn = float(rng.uniform(0.0, 360.0)) if role == "floor" else turns[int(rng.integers(len(turns)))]
    return Surface(
        kind=kind,
        colour=_linear_rgb(pair[0], gain),
        accent=_linear_rgb(pair[1], gain),
        scale_m=round(float(np.exp(rng.uniform(*np.log(product.scale_m)))), 6),
        rotation_deg=round(turn, 6),
        roughness=round(float(rng.uniform(*product.roughness)), 6),
        seed=int(rng.integers(1_000_000)),
    )


def _linear_rgb(srgb: str, gain: np.ndarray) -> tuple[float, float, float]:
    """Linear RGB of an sRGB hex color times `gain`, clipped to the reflectance of real paint (2 to 85 %)."""
    value = np.array([int(srgb[i : i + 2], 16) for i in (0, 2, 4)]) / 255.0
    r, g, b = (round(float(x), 6) for x in np.clip(to_linear(value) * gain, 0.02, 0.85))
    return r, g, b
