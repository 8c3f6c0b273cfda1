"""Thin things: which may be as thin as they are, and which of them lie.

A pen, a picture frame or a sword does not stand on its tip or edge: whatever way its file holds it, it is laid down on
its flattest side. A door or a street sign stands, thin as it is. Of all else that is much longer than it is wide, few
are things at all, and hardly anything of them is seen.
"""

import re
from typing import Final, Literal

import numpy as np

from ...shards.colors import to_lab
from .glb import Floats
from .surface_samples import Surface

THINNEST: Final = 0.002
"""Meters: what is thinner cannot be told from a picture on the floor."""
_FLAT: Final = 5.0
"""Largest over smallest extent from which a thing that lies is laid down: a step ladder stands, a ladder does not."""
_AS_FLAT: Final = 1.2
"""A side at most so much higher than the flattest one is as good to lie on."""
_TOLD_BY_LOOKS: Final = 3.0
"""CIELAB distance by which the colors of one face must spread more than those of the other to be the upper one."""


def _words(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in re.split(r"[,\n]", text) if name.strip())


_LIES: Final = _words(
    """pen, pencil, marker, crayon, chalk, brush, paintbrush, toothbrush, comb, ruler, knife, fork, spoon, chopstick,
    chopsticks, spatula, ladle, scissors, tongs, screwdriver, wrench, hammer, saw, chisel, crowbar, axe, needle, nail,
    screw, key, coin, cigarette, remote control, tv remote control, phone, telephone, cellular telephone, smartphone,
    tablet, laptop, keyboard, picture frame, photo frame, picture, painting, poster, photograph, photo, map, card,
    playing card, card game, envelope, letter, paper, sheet of paper, newspaper, magazine, notebook, clipboard, plate,
    platter, tray, placemat, coaster, cutting board, chopping board, tile, license plate, disc, compact disc,
    vinyl record, frisbee, rug, carpet, mat, bathmat, doormat, towel, blanket, belt, tie, scarf, shirt, shorts, short,
    skirt, trousers, jeans, sword, katana, dagger, spear, arrow, bow, wand, cane, crutch, rifle, gun, pistol, flute,
    baseball bat, racket, tennis racket, hockey stick, golf club, fishing rod, oar, paddle, ski, snowboard, surfboard,
    broom, mop, rake, shovel, ladder, plank, electronic scale"""
)
_STANDS: Final = _words(
    """door, gate, fence, street sign, traffic sign, sign, signpost, traffic light, streetlight, street lamp, lamp post,
    lamp, floor lamp, pole, flagpole, coat rack, coat stand, hat stand, easel, room divider, whiteboard, blackboard,
    monitor, television, television set, tv, tree, palm tree, plant, potted plant, statue, column, pillar"""
)


def posture(category: str) -> Literal["lies", "stands", ""]:
    """How a thin thing of this category is put, by its whole name or last word; empty where it is no thin kind."""
    words = category.split()
    for name in (category, words[-1] if words else ""):
        if name in _LIES:
            return "lies"
        if name in _STANDS:
            return "stands"
    return ""


def lay_down(category: str, extent: Floats, *, over: bool = False) -> Floats:
    """The rotation (3, 3), of whole quarter turns, that lays a thing that lies on its flattest side; else none at all.

    Its upper face is the file's front (glTF's +z), or its right side.

    Args:
        extent: (3,) of the model, z up, above zero.
        over: the opposite face is the upper one.
    """
    flattest = int(np.argmin(extent))
    stands = extent[2] > _AS_FLAT * extent[flattest]
    if posture(category) != "lies" or not stands or extent.max() < _FLAT * extent[flattest]:
        return np.eye(3)
    usual = np.array([1.0, 0.0, 0.0]) if flattest == 0 else np.array([0.0, -1.0, 0.0])
    up = -usual if over else usual
    across = np.array([0.0, 1.0, 0.0]) if flattest == 0 else np.array([1.0, 0.0, 0.0])
    return np.stack([across, np.cross(up, across), up]) + 0.0


def lies_face_down(surface: Surface, over: Surface) -> bool:
    """Whether a laid thing's colors vary more where it lies on its other side (`over`); both z up, as seen then."""
    return _spread(over) > _spread(surface) + _TOLD_BY_LOOKS


def _spread(surface: Surface) -> float:
    """How much the colors of the upper quarter vary, where it faces up: CIELAB distance from their mean."""
    height = surface.points[:, 2]
    facing = surface.srgb[(surface.normals[:, 2] > 0.7) & (height > height.max() - 0.25 * np.ptp(height))]
    return float(np.linalg.norm(to_lab(facing).std(axis=0))) if len(facing) else 0.0
