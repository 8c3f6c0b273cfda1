"""What a kind of object hands over: parts with materials, and what a scene must know of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from ...shards.colors import name_of_surface
from .materials import Material, Pattern, Rgb, Texture, named
from .shapes import Mesh

T = TypeVar("T")

FRONT: Final = 270.0
"""Degrees: objects that have a front face -y (the viewer of glTF: the file's +z)."""
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
    """One object in its own frame: base at z = 0, centred; fields as in `sources.scenes.spec.Asset`."""

    parts: Sequence[Part]
    colour: str
    front_deg: float | None = None
    rotatable: bool = True
    symmetry: int | None = None
    """None: 1 where there is a front, else what the shape and the parts' own colours say, without their textures."""
    supports: float = 0.0
    opening: tuple[float, float] = (0.0, 0.0)


def name_of_wood(tone: Rgb) -> str:
    """What the colour of wood of this tone is called with its grain, empty where it has no clear name."""
    return name_of_surface(np.linspace(0.78, 1.06, 15)[:, None] * np.array(tone))


class Dice:
    """Choices of one object: the same for the same numbers, in the same order."""

    def __init__(self, *entropy: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))

    def between(self, low: float, high: float) -> float:
        """A length or factor, rounded to a tenth of a millimetre."""
        return round(float(self._generator.uniform(low, high)), 4)

    def pick(self, choices: Sequence[T]) -> T:
        return choices[int(self._generator.integers(len(choices)))]

    def chance(self, share: float) -> bool:
        return bool(self._generator.uniform() < share)

    def seed(self) -> int:
        return int(self._generator.integers(2**31))

    def shade(self, colour: str) -> Rgb:
        """The named colour, varied so little that the name holds."""
        red, green, blue = (float(np.clip(part + self._generator.uniform(-0.02, 0.02), 0, 1)) for part in named(colour))
        return red, green, blue

    def coat(self, colour: str, roughness: float = 0.5, metallic: float = 0.0) -> Material:
        """Plain paint, glaze or plastic."""
        return Material(self.shade(colour), roughness, metallic)

    def wood(self) -> Material:
        """Oiled wood; its texture wants `Mesh.textured(0.5)` on boxes."""
        tone = self.pick(_WOODS)
        return Material(tone, 0.55, texture=Texture("wood", (tone,), self.seed()))

    def pattern(self, pattern: Pattern, *colours: Rgb, roughness: float = 0.6) -> Material:
        """A textured material; the first colour is the ground."""
        return Material(colours[0], roughness, texture=Texture(pattern, colours, self.seed()))

    def wood_or(self, colours: Sequence[str], share: float = 0.5) -> tuple[Material, str]:
        """Wood or paint, and what an instruction calls its colour."""
        if self.chance(share):
            wood = self.wood()
            return wood, name_of_wood(wood.rgb)
        colour = self.pick(colours)
        return self.coat(colour, 0.45), colour
