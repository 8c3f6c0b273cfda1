"""The kinds of procedural objects. The name of a kind is part of uids, so never rename one."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from . import furnishings, furniture, household, plants, tableware
from .model import Model, Rng

KINDS: Final[Mapping[str, Callable[[Rng], Model]]] = MappingProxyType(
    {
        "alarm-clock": household.alarm_clock,
        "apple": tableware.apple,
        "ball": household.ball,
        "barrel": household.barrel,
        "book": tableware.book,
        "bottle": tableware.bottle,
        "bowl": tableware.bowl,
        "bucket": household.bucket,
        "cactus": plants.cactus,
        "candle": tableware.candle,
        "cardboard-box": tableware.box_of_card,
        "chair": furniture.chair,
        "crate": household.crate,
        "gift-box": tableware.gift_box,
        "lamp": furniture.lamp,
        "laptop": furniture.laptop,
        "mug": tableware.mug,
        "potted-plant": plants.potted_plant,
        "pumpkin": tableware.pumpkin,
        "shelf": furniture.shelf,
        "sofa": furniture.sofa,
        "step-ladder": furniture.ladder,
        "stool": furniture.stool,
        "suitcase": household.suitcase,
        "table": furniture.table,
        "teapot": tableware.teapot,
        "television": furniture.television,
        "toy-car": household.toy_car,
        "traffic-cone": household.traffic_cone,
        "vase": tableware.vase,
    }
)
"""Function that builds an object, by kind. The category is the name of the kind with spaces instead of dashes."""

FURNISHINGS: Final[Mapping[str, Callable[[Rng], Model]]] = MappingProxyType(
    {
        "bed": furnishings.bed,
        "bench": furnishings.bench,
        "cabinet": furnishings.cabinet,
        "coffee-table": furnishings.coffee_table,
        "cushion": furnishings.cushion,
        "nightstand": furnishings.nightstand,
        "orange": furnishings.orange,
        "pillow": furnishings.pillow,
        "plate": furnishings.plate,
    }
)
"""The same for kinds that only builds with furnished scenes use. Builds with open scenes only keep their catalogs."""
