"""The result of building a procedural object, and the random choices that it is built from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from ...shards.colors import name_of_surface
from .materials import Material, Pattern, Rgb, Texture, named
from .shapes import Mesh

T = TypeVar("T")

FRONT: Final = 270.0
"""Degrees: objects with a front face -y (toward the viewer of glTF, +z of the file)."""
BRIGHT: Final = ("red", "orange", "yellow", "green", "blue", "light blue", "purple", "pink", "turquoise", "white")
CALM: Final = ("white", "black", "grey", "dark grey", "dark blue", "dark green", "dark red", "beige", "brown", "blue")
GLAZES: Final = ("white", "red", "blue", "green", "yellow", "black", "turquoise", "orange", "light blue", "pink")
_WOODS: Final[tuple[Rgb, ...]] = ((0.68, 0.46, 0.27), (0.56, 0.36, 0.2), (0.45, 0.28, 0.16), (0.76, 0.58, 0.38))

STEEL: Final = Material((0.72, 0.73, 0.75), 0.28, 1.0)
BLACK: Final = Material((0.03, 0.03, 0.035), 0.45)
BRASS: Final = Material((0.83, 0.65, 0.3), 0.3, 1.0)


@dataclass(frozen=True)
class Part:
    """A surface and its material."""

    mesh: Mesh
    material: Material


@dataclass(frozen=True)
class Model:
    """An object in its own frame: centered, base at z = 0. Fields as in `Asset`."""

    parts: Sequence[Part]
    color: str
    front_deg: float | None = None
    rotatable: bool = True
    symmetry: int | None = None
    """None: 1 if there is a front, else measured from the shape and the plain colors of the parts."""
    supports: float = 0.0
    opening: tuple[float, float] = (0.0, 0.0)


def name_of_wood(tone: Rgb) -> str:
    """Name of the color of wood with this tone, including its grain; empty if it has no clear name."""
    return name_of_surface(np.linspace(0.78, 1.06, 15)[:, None] * np.array(tone))


class Rng:
    """Random choices for one object. The same entropy and order of calls give the same choices."""

    def __init__(self, *entropy: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))

    def between(self, low: float, high: float) -> float:
        """A length or factor, rounded to four decimals (a tenth of a millimeter)."""
        return round(float(self._generator.uniform(low, high)), 4)

    def pick(self, choices: Sequence[T]) -> T:
        return choices[int(self._generator.integers(len(choices)))]

    def chance(self, share: float) -> bool:
        return bool(self._generator.uniform() < share)

    def seed(self) -> int:
        return int(self._generator.integers(2**31))

    def shade(self, color: str) -> Rgb:
        """The named color, varied so little that the name stays correct."""
        red, green, blue = (float(np.clip(part + self._generator.uniform(-0.02, 0.02), 0, 1)) for part in named(color))
        return red, green, blue

    def coat(self, color: str, roughness: float = 0.5, metallic: float = 0.0) -> Material:
        """Plain paint, glaze or plastic."""
        return Material(self.shade(color), roughness, metallic)

    def wood(self) -> Material:
        """Oiled wood. Boxes need `Mesh.textured(0.5)` for its texture."""
        tone = self.pick(_WOODS)
        return Material(tone, 0.55, texture=Texture("wood", (tone,), self.seed()))

    def pattern(self, pattern: Pattern, *colors: Rgb, roughness: float = 0.6) -> Material:
        """A textured material. The first color is the ground."""
        return Material(colors[0], roughness, texture=Texture(pattern, colors, self.seed()))

    def wood_or(self, colors: Sequence[str], share: float = 0.5) -> tuple[Material, str]:
        """Wood or paint, and the name of its color for instructions."""
        if self.chance(share):
            wood = self.wood()
            return wood, name_of_wood(wood.rgb)
        color = self.pick(colors)
        return self.coat(color, 0.45), color
