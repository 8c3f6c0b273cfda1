"""Which kinds of procedural object there are. The name of a kind is part of a uid: never rename one."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from . import furniture, plants, tableware, things
from .model import Dice, Model

KINDS: Final[Mapping[str, Callable[[Dice], Model]]] = MappingProxyType(
    {
        "alarm-clock": things.alarm_clock,
        "apple": tableware.apple,
        "ball": things.ball,
        "barrel": things.barrel,
        "book": tableware.book,
        "bottle": tableware.bottle,
        "bowl": tableware.bowl,
        "bucket": things.bucket,
        "cactus": plants.cactus,
        "candle": tableware.candle,
        "cardboard-box": tableware.box_of_card,
        "chair": furniture.chair,
        "crate": things.crate,
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
        "suitcase": things.suitcase,
        "table": furniture.table,
        "teapot": tableware.teapot,
        "television": furniture.television,
        "toy-car": things.toy_car,
        "traffic-cone": things.traffic_cone,
        "vase": tableware.vase,
    }
)
"""Kind (with dashes; its category has spaces): what builds it."""
