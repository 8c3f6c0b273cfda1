"""A garden around a scene: ground, grass and a path. Sampled in numpy, without Blender. The sky is the scene's `Light`.

Frame: the world's. Objects stand at z = 0 on pads, where the ground is flat; around them it is uneven.
"""

from dataclasses import dataclass

from .values import Surface

Pad = tuple[float, float, float]
"""A disk of flat ground: x, y, radius."""


@dataclass(frozen=True)
class Garden:
    ground: Surface
    pads: tuple[Pad, ...]
    seed: int
