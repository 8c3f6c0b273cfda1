"""Plausible real sizes of models, from the metadata, the file's units and the typical extent of each category.

Units of files are often meaningless. A size in the metadata is used if it has the model's proportions and is in the
range of its category when read in meters, else in centimeters or millimeters. Other sizes are dropped with a note.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from types import MappingProxyType
from typing import Final

DEFAULT_EXTENT: Final = 0.4
SMALLEST: Final = 0.005
LARGEST: Final = 10.0
"""Meters: range of extents that a scene can hold, for any category."""
_FILE_RANGE: Final = (0.02, 4.0)
"""Meters: a file's own extent is used in this range if the category is unknown."""
_FILE_FACTOR: Final = 2.5
"""Factor by which a file's own extent may differ from the typical extent of its category."""
_RANGE_FACTOR: Final = 2.5
"""Factor by which a known size may differ from the typical one, unless `_BY_RANGE` has a range."""
_UNITS: Final[Mapping[float, str]] = MappingProxyType({1.0: "meters", 100.0: "centimeters", 1000.0: "millimeters"})
"""Units by their number in a meter. Inches and feet are missing: they cannot be distinguished from centimeters."""
_PROPORTION: Final = 0.1
"""Amount by which sides of a known size may differ from the model's, both divided by their largest side."""

_BY_EXTENT: Final[Mapping[float, str]] = {
    0.03: "coin, ring, die, pill, button, battery",
    0.06: "key, cupcake, cup cake, egg, strawberry, padlock, chess piece, lighter, thimble, eraser, earring, screw, "
    "nail",
    0.08: "apple, orange, tomato, lemon, peach, tennis ball, baseball, muffin, cookie, doughnut, watch, cigarette",
    0.1: "mug, cup, teacup, coffee cup, candle, card game, glass, can, soap, computer mouse, mouse, onion, "
    "playing card",
    0.15: "glove, sunglasses, wineglass, wine glass, cellular telephone, telephone, phone, bowl, camera, hamburger, "
    "sandwich, pencil, pen, marker, crayon, screwdriver, sculpture toy, pear, potato, skull, brush, sugar, jar, "
    "candle holder, smartphone, comb, compact disc, disc",
    0.2: "alarm clock, banana, carrot, fork, knife, spoon, chopstick, remote control, tv remote control, pistol, toy, "
    "teapot, toothbrush, plate, bread, shoe, sandal, figurine, binoculars, scissors, hammer, wrench, toilet tissue, "
    "game, envelope, arrow toy, faucet, soap dispenser",
    0.25: "book, bottle, beer bottle, wine bottle, vase, kettle, hat, helmet, ball, football, basketball, tablet, "
    "drill, boot, radio, flowerpot, pitcher, cake, cap, crown, doll, teddy bear, mask, pumpkin, toaster, basket, "
    "frisbee, spatula, flute, dagger, notebook, magazine",
    0.3: "ruler, sheet of paper, paper, letter, photograph, clipboard, license plate, vinyl record, platter, tile",
    0.35: "bucket, lantern, globe, clock, wall clock, laptop, keyboard, handbag, pineapple, watermelon, blender, "
    "roasted chicken, sandwich maker, deep fryer, newspaper, printer, electronic scale, kitchen sink, crate, box, "
    "cutting board, chopping board, tray, placemat, projector",
    0.4: "picture frame, photo frame, saw, towel, belt",
    0.45: "cat, fan, coffee machine, microwave oven, backpack, stool, sword toy, lamp, plant, potted plant, "
    "mixer, barrel toy, traffic cone, typewriter, birdcage, extinguisher, fire extinguisher, skateboard, drum, scale, "
    "computer keyboard, oven",
    0.6: "suitcase, monitor, television, television set, tv, chicken, rabbit, duck, dog, sink, trash can, shield, "
    "bathmat, doormat, mat, picture, painting, poster, map, shorts, short, skirt, shirt, racket, tennis racket, sign, "
    "bench small, hood, trolley",
    0.8: "chair, armchair, cushion chair, toilet, umbrella, sword, axe, rifle, gun, shovel, barrel, fireplug, bow, "
    "guitar, trumpet, violin, mailbox, nightstand, end table, high chair, scooter, trousers, jeans, jacket, dress, "
    "coat, baseball bat, crowbar, cane, arrow, katana, mirror, barstool",
    1.0: "desk chair, office chair, stove, furnace, washing machine, dishwasher, baby bed, ladder small, crutch, "
    "golf club, rack, cart, island, counter, vanity, locker",
    1.3: "table, desk, coffee table, dresser, cabinet, dining table, rocking chair, workbench, seesaw, cupboard, "
    "broom, mop, rake, blanket, whiteboard, blackboard, drawer, sideboard, hockey stick, paddle, carriage",
    1.6: "bench, bookcase, bookshelf, shelf, refrigerator, fridge, bicycle, bathtub, wardrobe, statue, surfboard, "
    "piano, snowboard, ski, oar, shower, closet, window, curtain, spear, fishing rod, floor lamp, pole",
    1.9: "sofa, couch, person, motorcycle, bed, mattress, motor scooter, wheelchair, loveseat, jacuzzi, fountain, rug, "
    "carpet, ladder, punching ball",
    2.1: "door",
    2.8: "horse, cow, canoe, street sign, streetlight, street lamp, tent, bunk bed, golfcart, table tennis, "
    "ping pong table, gate, fence",
    4.0: "car, car automobile, tree, elephant, boat, van, pickup truck, jeep, tractor, dinosaur, race car, cab taxi, "
    "truck, bus, train, airplane, helicopter, ship, yacht, whale",
}

TYPICAL_EXTENT: Final[Mapping[str, float]] = MappingProxyType(
    {name.strip(): extent for extent, names in _BY_EXTENT.items() for name in names.split(",")}
)
"""Largest extent in meters, by category."""

_BY_RANGE: Final[Mapping[tuple[float, float], str]] = {
    (0.02, 0.8): "candle, candle holder, can, jar, ring, button, brush, battery, mask, bread, cake, lantern, clock",
    (0.03, 1.5): "toy, figurine, doll, teddy bear, ball, box, basket, vase, flowerpot, crate, bucket, lamp, bottle, "
    "sculpture toy, book, picture frame, photo frame, picture, painting, bowl, plate, tray, paper, camera, globe, "
    "tile",
    (
        0.05,
        3.0,
    ): "plant, potted plant, statue, skull, fan, cat, dog, chicken, rabbit, duck, sink, fountain, scale, "
    "game, drum, barrel, poster, map, sign, mat, mirror, carpet, rug, towel, shield, tablet, pole, printer",
    (
        0.2,
        6.0,
    ): "table, desk, bench, shelf, cabinet, bed, sofa, couch, counter, piano, bathtub, curtain, window, ladder",
    (0.3, 10.0): "tree, dinosaur, boat, streetlight, street lamp, street sign, tent, gate, fence, elephant",
    (0.3, 2.6): "refrigerator, fridge, stove, furnace, washing machine, dishwasher, oven, person, chair, armchair, "
    "desk chair, office chair, rocking chair, wheelchair, bicycle, scooter, motor scooter, toilet, wardrobe",
    (0.8, 3.5): "door, motorcycle",
    (1.0, 10.0): "car, car automobile, van, pickup truck, tractor, cab taxi, truck, bus, train, airplane, helicopter, "
    "ship, yacht, whale",
}
_RANGES: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {name.strip(): limits for limits, names in _BY_RANGE.items() for name in names.split(",")}
)
_SMALL: Final = ("toy", "miniature", "mini", "dollhouse", "lego", "plush")


@dataclass(frozen=True)
class Size:
    """Scale of a model, and how it was found."""

    scale: float
    """Meters per file unit."""
    known: bool
    """Whether it follows from the size in the metadata."""
    note: str = ""
    """How a known size that is not in meters was interpreted; empty otherwise. Part of the plan (`Asset.size_note`)."""


def typical_extent(category: str) -> float | None:
    """Typical largest extent of a category, by its whole name, else by its last word; None if unknown.

    A toy or a miniature has the extent of a toy, whatever it represents.
    """
    words = category.split()
    if words and words[0] in _SMALL:
        return TYPICAL_EXTENT["toy"]
    return TYPICAL_EXTENT.get(category) or (TYPICAL_EXTENT.get(words[-1]) if words else None)


def plausible_range(category: str) -> tuple[float, float]:
    """Smallest and largest plausible extent of an object of this category, meters.

    The range of the category, else within a factor of 2.5 of its typical extent. For unknown categories the range that
    a scene can hold.
    """
    words = category.split()
    if words and words[0] in _SMALL:
        return _RANGES["toy"]
    typical = typical_extent(category)
    if typical is None:
        return SMALLEST, LARGEST
    named = category if category in TYPICAL_EXTENT else words[-1]
    return _RANGES.get(named, (typical / _RANGE_FACTOR, min(typical * _RANGE_FACTOR, LARGEST)))


def find_size(
    extents: Sequence[float], category: str, known: Sequence[float] | None, *, guess_unit: bool = False
) -> Size:
    """Find how many meters one file unit is.

    In this order: the size in the metadata, if it is plausible; meters, as glTF requires, if the largest extent is
    plausible (within a factor of 2.5 of the typical extent of the category, or 0.02 to 4 m without a typical extent);
    the typical extent; 0.4 m.

    Args:
        extents: width, height and depth, file units, the largest above zero.
        known: the size in the metadata, axes in any order; or its largest side alone.
        guess_unit: without a known size, a file that is not plausible in meters may be in centimeters or millimeters,
            and one that is in none of them is in meters if that is in the range of its category.
    """
    largest = max(extents)
    if known is None:
        return _guess_unit(largest, category) if guess_unit else Size(_scale_of_file(largest, category), False)
    if len(known) == 1:
        known = [side * known[0] / largest for side in extents]
    known_text = " x ".join(f"{side:g}" for side in known)
    sides = [sorted(side / max(sides) for side in sides) for sides in (extents, known)]
    if any(abs(ours - theirs) > _PROPORTION for ours, theirs in zip(*sides, strict=True)):
        measured = " x ".join(f"{side:.3g}" for side in extents)
        return Size(
            _scale_of_file(largest, category), False, f"size_m {known_text} is not of this model ({measured} units)"
        )
    low, high = plausible_range(category)
    if fitting := [factor for factor in _UNITS if low <= max(known) / factor <= high]:
        factor = min(fitting, key=lambda factor: _rank(max(known) / factor, factor, largest, category))
        note = "" if factor == 1 else f"size_m {known_text} is in {_UNITS[factor]}"
        return Size(max(known) / factor / largest, True, note)
    too_large = high == LARGEST < max(known)  # a whale of 25 m is plausible, but does not fit a scene
    article = "an" if category[:1] in tuple("aeiou") else "a"
    named = typical_extent(category) is not None and not too_large
    what = f"of {article} {category}" if named else "of a thing in a scene"
    note = f"size_m {known_text} cannot be the size {what} ({low:.2g} to {high:.2g} m)"
    return Size(_scale_of_file(largest, category), False, note)


def _guess_unit(largest: float, category: str) -> Size:
    for factor, unit in _UNITS.items():
        if _is_plausible(largest / factor, category):
            return Size(1 / factor, False, "" if factor == 1 else f"a file in {unit}")
    low, high = plausible_range(category)
    in_range = typical_extent(category) is not None and low <= largest <= high
    return Size(1.0 if in_range else _scale_of_file(largest, category), False)


def _rank(size: float, factor: float, largest: float, category: str) -> tuple[bool, bool, float]:
    """Sort key for plausible sizes: that of the file, then meters, the nearest to the typical one, large units."""
    agrees = abs(size - largest) <= _PROPORTION * largest
    typical = typical_extent(category)
    return not agrees, factor != 1, abs(log(size / typical)) if typical else factor


def _is_plausible(extent: float, category: str) -> bool:
    """Whether the largest extent of a file may be in meters."""
    typical = typical_extent(category)
    low, high = _FILE_RANGE if typical is None else (typical / _FILE_FACTOR, typical * _FILE_FACTOR)
    return low <= extent <= high


def _scale_of_file(extent: float, category: str) -> float:
    return 1.0 if _is_plausible(extent, category) else (typical_extent(category) or DEFAULT_EXTENT) / extent
