"""Sensible real sizes: the largest extent, in metres, of what a category names. For files whose units mean nothing."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

DEFAULT_EXTENT: Final = 0.4

_BY_EXTENT: Final[Mapping[float, str]] = {
    0.03: "coin, ring, die, pill, button, battery",
    0.06: "key, cupcake, cup cake, egg, strawberry, padlock, chess piece, lighter, thimble, eraser, earring",
    0.08: "apple, orange, tomato, lemon, peach, tennis ball, baseball, muffin, cookie, doughnut, watch",
    0.1: "mug, cup, teacup, coffee cup, cigarette, candle, card game, glass, can, soap, computer mouse, mouse, onion",
    0.15: "glove, sunglasses, wineglass, wine glass, cellular telephone, telephone, phone, bowl, camera, hamburger, "
    "sandwich, pencil, pen, screwdriver, sculpture toy, pear, potato, skull, brush, sugar, jar, candle holder",
    0.2: "alarm clock, banana, carrot, fork, knife, spoon, remote control, tv remote control, pistol, toy, teapot, "
    "toothbrush, plate, bread, shoe, sandal, figurine, binoculars, scissors, hammer, wrench, toilet tissue, game",
    0.25: "book, bottle, beer bottle, wine bottle, vase, kettle, hat, helmet, ball, football, basketball, "
    "drill, boot, radio, flowerpot, pitcher, cake, cap, crown, doll, teddy bear, mask, pumpkin, toaster, basket",
    0.35: "bucket, lantern, globe, clock, wall clock, laptop, keyboard, handbag, pineapple, watermelon, blender, "
    "roasted chicken, sandwich maker, deep fryer, newspaper, printer, electronic scale, kitchen sink, crate, box",
    0.45: "cat, fan, coffee machine, microwave oven, backpack, stool, sword toy, lamp, plant, potted plant, "
    "mixer, barrel toy, traffic cone, typewriter, birdcage, extinguisher, fire extinguisher, skateboard, drum",
    0.6: "suitcase, monitor, television, television set, chicken, rabbit, duck, dog, sink, trash can, shield, bathmat",
    0.8: "chair, armchair, cushion chair, toilet, umbrella, sword, axe, rifle, gun, shovel, broom, barrel, fireplug, "
    "guitar, trumpet, violin, mailbox, nightstand, end table, high chair, scooter, trousers, jacket, dress, coat",
    1.0: "desk chair, office chair, stove, furnace, washing machine, dishwasher, baby bed, bench small, ladder small",
    1.3: "table, desk, coffee table, dresser, cabinet, dining table, rocking chair, workbench, seesaw, cupboard",
    1.6: "bench, bookcase, shelf, refrigerator, bicycle, bathtub, wardrobe, door, statue, surfboard, piano",
    1.9: "sofa, couch, person, motorcycle, bed, mattress, motor scooter, wheelchair, loveseat, jacuzzi, fountain",
    2.8: "horse, cow, canoe, street sign, streetlight, tent, bunk bed, golfcart, table tennis, ping pong table",
    4.0: "car, car automobile, tree, elephant, boat, van, pickup truck, jeep, tractor, dinosaur, race car, cab taxi",
}

TYPICAL_EXTENT: Final[Mapping[str, float]] = MappingProxyType(
    {name.strip(): extent for extent, names in _BY_EXTENT.items() for name in names.split(",")}
)
"""Category: largest extent in metres."""


def typical_extent(category: str) -> float | None:
    """The typical largest extent of a category: of its whole name, else of its last word; None where unknown.

    What calls itself a toy or a miniature is as large as a toy, whatever it imitates.
    """
    words = category.split()
    if words and words[0] in ("toy", "miniature"):
        return TYPICAL_EXTENT["toy"]
    return TYPICAL_EXTENT.get(category) or (TYPICAL_EXTENT.get(words[-1]) if words else None)


def metres_per_unit(extent: float, category: str, known: tuple[float, float, float] | None) -> float:
    """How many metres one file unit is.

    In this order: the real size where the metadata holds it; metres, as glTF demands, where the largest extent is
    plausible (within a factor of 2.5 of what is typical of the category, or 0.02 to 4 m where nothing is typical);
    the typical size; 0.4 m.

    Args:
        extent: largest extent, file units, above zero.
        known: real size in metres, any axes.
    """
    if known is not None:
        return max(known) / extent
    typical = typical_extent(category)
    if typical is None:
        return 1.0 if 0.02 <= extent <= 4.0 else DEFAULT_EXTENT / extent
    return 1.0 if typical / 2.5 <= extent <= typical * 2.5 else typical / extent
