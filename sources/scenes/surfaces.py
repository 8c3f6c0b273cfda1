"""Colors and sizes of real floors and walls, which `blender_materials` renders as patterns.

Every number of a sampled `Surface` is rounded to six decimals, so that a specification is equal on every machine.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...shards.colors import to_linear
from .values import Surface, SurfaceKind

Role = Literal[
    "floor",
    "wall",
    "room floor",
    "room wall",
    "feature wall",
    "ceiling",
    "trim",
    "door",
    "cloth",
    "lawn",
    "path",
    "fence",
    "hedge",
]
"""`floor` and `wall` are those of open scenes; the four last are parts of gardens, the others of rooms."""
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
_PAINT = (  # paint, the same in shade
    ("f0ede6", "e9e5dc"),
    ("e8e4da", "e0dbd0"),
    ("e4ddcd", "dbd3c2"),
    ("d8d2c6", "cfc8bb"),
    ("cfd2cf", "c5c9c6"),
    ("d5d9d0", "cbd0c5"),
    ("b9c4b2", "b0bba8"),  # sage
    ("a9b8c0", "9fafb8"),  # dusty blue
    ("d9bfae", "d0b5a4"),  # blush
    ("e0cba0", "d7c195"),  # straw
    ("c98f6f", "bf8565"),  # terracotta
)
_STRONG_PAINT = (
    ("3f5c6e", "3a5567"),  # petrol
    ("2f3e55", "2b394e"),  # navy
    ("4e6150", "485a4a"),  # forest
    ("7a8a6f", "728268"),
    ("8c4f3f", "844938"),  # brick red
    ("b7864f", "ae7d47"),  # ocher
    ("6d6a73", "65626b"),
    ("94707a", "8b6872"),  # mauve
)
_WALLPAPER = (  # ground, motif
    ("e9e3d5", "c9bea6"),
    ("e2e6e0", "a9b9a4"),
    ("dfe4e8", "9fb0bf"),
    ("efe6dc", "d0a58c"),
    ("d6cdb9", "8f8468"),
    ("46586a", "8c9aa5"),
    ("3d5247", "7f9382"),
    ("ece9e2", "5c6470"),
    ("e8d9d2", "b98a80"),
)
_CEILING = (("f3f1ec", "ebe8e1"), ("efece6", "e6e2da"))
_TRIM = (("f0eee8", "e2dfd6"), ("ebe7dd", "dcd7ca"), ("e6e6e4", "d6d6d3"))
_DOOR = (
    ("efece5", "e0dcd2"),
    ("e8e4da", "d8d3c6"),
    ("c9cac6", "b9bab5"),
    ("8d9a94", "7f8c86"),
    ("4a5560", "404a54"),
    ("8a5f3c", "6f4a2c"),  # varnished oak
    ("5b3d28", "47301f"),  # walnut
)
_CLOTH = (  # thread, weft
    ("e8e2d4", "d6cebd"),
    ("ddd6c8", "c5bcaa"),
    ("f1eee8", "dedad1"),
    ("a8aeb0", "93999c"),
    ("6f7f8c", "5e6d7a"),
    ("8c9a84", "798771"),
    ("b5654a", "9f543b"),
    ("c9a25e", "b58f4e"),
    ("51424f", "433642"),
)
_FENCE = (("8f8578", "6d6459"), ("a07a50", "7d5c39"), ("6f5a45", "574535"), ("d8d5cd", "c4c0b6"))
_HEDGE = (("587a36", "86a04c"), ("4a6f38", "6f9450"), ("6b8a3c", "97a556"))  # leaves in shade, leaves in light
_GRAVEL = (("b3a996", "7f7768"), ("9c9a96", "6a6966"), ("c4b08c", "8f7d5e"))

_ROOM_FLOORS: dict[SurfaceKind, tuple[float, _Product]] = {
    "wood": (0.62, _Product(_WOOD, (0.07, 0.2), (0.25, 0.5))),
    "tile": (0.15, _Product(_TILE, (0.2, 0.6), (0.15, 0.5))),
    "carpet": (0.16, _Product(_CARPET, (0.004, 0.01), (0.95, 1.0))),
    "concrete": (0.07, _Product(_CONCRETE, (0.3, 1.2), (0.35, 0.7))),
}
_FEATURE_WALLS: dict[SurfaceKind, tuple[float, _Product]] = {
    "paint": (0.4, _Product(_STRONG_PAINT, (0.3, 0.9), (0.75, 0.92))),
    "wallpaper": (0.3, _Product(_WALLPAPER, (0.2, 0.5), (0.75, 0.9))),
    "brick": (0.18, _Product(_BRICK, (0.19, 0.25), (0.8, 0.95))),
    "wood": (0.12, _Product(_WOOD, (0.08, 0.18), (0.4, 0.7))),
}
_ROOM_WALLS: dict[SurfaceKind, tuple[float, _Product]] = {
    "paint": (0.66, _Product(_PAINT, (0.3, 0.9), (0.78, 0.95))),
    "plaster": (0.12, _Product(_PLASTER, (0.08, 0.5), (0.8, 0.95))),
    "wallpaper": (0.16, _Product(_WALLPAPER, (0.2, 0.5), (0.75, 0.9))),
    "concrete": (0.03, _Product(_CONCRETE, (0.3, 1.2), (0.6, 0.9))),
    "brick": (0.03, _Product(_BRICK, (0.19, 0.25), (0.8, 0.95))),
}
_PATHS: dict[SurfaceKind, tuple[float, _Product]] = {
    "gravel": (0.4, _Product(_GRAVEL, (0.012, 0.03), (0.9, 1.0))),
    "tile": (0.25, _Product(_CONCRETE, (0.3, 0.5), (0.7, 0.95))),
    "brick": (0.35, _Product(_BRICK, (0.19, 0.25), (0.8, 0.95))),
}
_PRODUCTS: dict[Role, dict[SurfaceKind, tuple[float, _Product]]] = {
    "floor": _FLOORS,
    "wall": _WALLS,
    "room floor": _ROOM_FLOORS,
    "room wall": _ROOM_WALLS,
    "feature wall": _FEATURE_WALLS,
    "ceiling": {"paint": (1.0, _Product(_CEILING, (0.4, 0.9), (0.88, 0.96)))},
    "trim": {"lacquer": (1.0, _Product(_TRIM, (0.02, 0.05), (0.25, 0.5)))},
    "door": {"lacquer": (1.0, _Product(_DOOR, (0.02, 0.05), (0.25, 0.5)))},
    "cloth": {"cloth": (1.0, _Product(_CLOTH, (0.003, 0.006), (0.9, 1.0)))},
    "lawn": {"grass": (1.0, _Product(_GRASS, (0.05, 0.12), (0.9, 1.0)))},
    "path": _PATHS,
    "fence": {"wood": (1.0, _Product(_FENCE, (0.09, 0.14), (0.7, 0.95)))},
    "hedge": {"grass": (1.0, _Product(_HEDGE, (0.03, 0.06), (0.7, 0.9)))},
}
_WALL_TURNS: dict[SurfaceKind, tuple[float, ...]] = {"wood": (0.0, 90.0), "tile": (0.0, 45.0)}
_ROOM_FLOOR_TURNS: dict[SurfaceKind, tuple[float, ...]] = {
    "wood": (0.0, 0.0, 90.0, 90.0, 45.0),
    "tile": (0.0, 0.0, 0.0, 45.0),
    "carpet": (0.0, 90.0),
}


def sample_surface(rng: np.random.Generator, role: Role) -> Surface:
    """A surface that one could meet: kind by its share, a known color pair a little varied.

    Floors of open scenes lie at any angle to the world's axes, those of rooms mostly square to the walls; patterns of
    walls stay plumb.
    """
    products = _PRODUCTS[role]
    kinds = tuple(products)
    shares = np.array([products[kind][0] for kind in kinds])
    kind = kinds[int(rng.choice(len(kinds), p=shares / shares.sum()))]
    product = products[kind][1]
    pair = product.pairs[int(rng.integers(len(product.pairs)))]
    # One gain and one tint for both colors, so that they still match.
    gain = np.exp(rng.uniform(-0.15, 0.15)) * np.exp(rng.uniform(-0.04, 0.04, 3))
    turns = (_ROOM_FLOOR_TURNS if role == "room floor" else _WALL_TURNS).get(kind, (0.0,))
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
