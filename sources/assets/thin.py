"""Thin objects: which categories may be thin, and which of them lie on the floor.

A pen, a picture frame or a sword does not stand on its tip or edge. Whatever its orientation in the file, it is laid
down on its flattest side. A door or a street sign stands although it is thin. Other models that are much longer than
they are wide are rarely real objects, and hardly any of their surface is visible.
"""

import re
from typing import Final, Literal

import numpy as np

from ...shards.colors import to_lab
from .glb import Floats
from .surface_samples import Surface

THINNEST: Final = 0.002
"""Meters. A thinner object looks like a picture on the floor."""
_FLAT: Final = 5.0
"""Ratio of largest to smallest extent from which an object may be laid down: a ladder, but not a step ladder."""
_FLAT_TOLERANCE: Final = 1.2
"""An object whose height is at most so many times its smallest extent lies already."""
_MIN_SPREAD_DIFFERENCE: Final = 3.0
"""CIELAB distance by which the colors of the lower face must vary more than those of the upper one to turn it over."""


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
    """Whether thin objects of a category lie or stand, by its whole name or last word; empty for other categories."""
    words = category.split()
    for name in (category, words[-1] if words else ""):
        if name in _LIES:
            return "lies"
        if name in _STANDS:
            return "stands"
    return ""


def lay_down(category: str, extent: Floats, *, flipped: bool = False) -> Floats:
    """The rotation (3, 3) by quarter turns that lays an object on its flattest side; identity if it should not lie.

    Its upper face is the front of the file (glTF's +z), or its right side.

    Args:
        extent: (3,) of the model, z up, above zero.
        flipped: make the opposite face the upper one.
    """
    flattest = int(np.argmin(extent))
    stands = extent[2] > _FLAT_TOLERANCE * extent[flattest]
    if posture(category) != "lies" or not stands or extent.max() < _FLAT * extent[flattest]:
        return np.eye(3)
    usual = np.array([1.0, 0.0, 0.0]) if flattest == 0 else np.array([0.0, -1.0, 0.0])
    up = -usual if flipped else usual
    across = np.array([0.0, 1.0, 0.0]) if flattest == 0 else np.array([1.0, 0.0, 0.0])
    return np.stack([across, np.cross(up, across), up]) + 0.0


def lies_face_down(surface: Surface, flipped: Surface) -> bool:
    """Whether the upper face has more varied colors if the object lies on its other side (`flipped`); both z up."""
    return _spread(flipped) > _spread(surface) + _MIN_SPREAD_DIFFERENCE


def _spread(surface: Surface) -> float:
    """CIELAB standard deviation of the colors of the upper quarter, of surface that faces up."""
    height = surface.points[:, 2]
    facing = surface.srgb[(surface.normals[:, 2] > 0.7) & (height > height.max() - 0.25 * np.ptp(height))]
    return float(np.linalg.norm(to_lab(facing).std(axis=0))) if len(facing) else 0.0
