"""The factories of Infinigen that make furniture and household objects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final

from ...shards.errors import BadInput


@dataclass(frozen=True)
class Factory:
    """A class of Infinigen that makes objects of one kind."""

    name: str
    module: str
    """Below `infinigen.assets.objects`."""
    category: str
    """Of all its objects; what instructions call them."""
    front_deg: float | None
    """Direction of the front, degrees about z from +x; None where the object has none."""
    scale: float
    """Meters per unit of Infinigen: 1, but for fruit and appliances, which it makes too large."""
    size_m: tuple[float, float, float]
    """Width (x), depth (y) and height (z) of one of its objects. Others differ."""


_TABLE: Final = """
seating.ChairFactory                  0  1      0.569   0.575   0.918    chair
seating.BarChairFactory               -  1      0.483   0.483   1.03     barstool
seating.ArmChairFactory               0  1      1.4     1.04    0.887    armchair
seating.SofaFactory                   0  1      1.44    2.31    0.902    sofa
seating.PillowFactory                 -  1      0.566   0.424   0.252    pillow
seating.MattressFactory               -  1      1.38    2.27    0.28     mattress
tables.TableDiningFactory             -  1      1.17    1.07    0.745    dining table
tables.CoffeeTableFactory             -  1      1.3     0.84    0.46     coffee table
tables.SideTableFactory               -  1      0.624   0.624   0.58     side table
tables.TableCocktailFactory           -  1      0.689   0.689   1.36     cocktail table
lamp.DeskLampFactory                  -  1      0.282   0.282   0.533    desk lamp
lamp.FloorLampFactory                 -  1      0.282   0.282   1.59     floor lamp
shelves.SimpleBookcaseFactory         0  1      0.402   0.568   0.832    bookcase
shelves.LargeShelfFactory             0  1      0.35    0.884   1.71     bookshelf
shelves.CellShelfFactory              0  1      0.383   1.82    1.39     shelf
shelves.TVStandFactory                0  1      0.383   1.82    0.519    tv stand
shelves.TriangleShelfFactory          0  1      0.365   0.353   0.629    shelf
shelves.SimpleDeskFactory             0  1      0.745   1.18    0.729    desk
shelves.SidetableDeskFactory          0  1      0.481   0.481   0.498    side table
shelves.SingleCabinetFactory          0  1      0.362   0.623   1.55     cabinet
shelves.KitchenCabinetFactory         0  1      0.349   3.39    1.06     kitchen cabinet
appliances.MicrowaveFactory           0  0.65   0.421   0.576   0.267    microwave oven
appliances.OvenFactory                0  0.6    0.854   0.624   0.983    oven
appliances.DishwasherFactory          0  0.6    0.803   0.624   0.709    dishwasher
appliances.BeverageFridgeFactory      0  0.6    0.803   0.624   0.709    fridge
bathroom.ToiletFactory                0  1      0.787   0.478   1.03     toilet
bathroom.BathtubFactory               -  1      0.962   1.79    0.675    bathtub
bathroom.StandingSinkFactory          0  1      0.696   0.765   1.02     sink
tableware.BottleFactory               -  1      0.0944  0.0944  0.207    bottle
tableware.BowlFactory                 -  1      0.292   0.292   0.17     bowl
tableware.CanFactory                  -  1      0.146   0.146   0.116    can
tableware.CupFactory                  -  1      0.144   0.144   0.203    cup
tableware.FoodBagFactory              -  1      0.0714  0.0591  0.244    snack bag
tableware.FoodBoxFactory              -  1      0.147   0.134   0.18     food package
tableware.JarFactory                  -  1      0.0891  0.0986  0.224    jar
tableware.PanFactory                  -  1      0.581   0.34    0.112    pan
tableware.PotFactory                  -  1      0.303   0.303   0.176    pot
tableware.PlateFactory                -  1      0.271   0.271   0.0341   plate
tableware.WineglassFactory            -  1      0.191   0.191   0.34     wine glass
tableware.ForkFactory                 -  1      0.231   0.0284  0.0187   fork
tableware.KnifeFactory                -  1      0.191   0.0214  0.00489  knife
tableware.SpoonFactory                -  1      0.224   0.0405  0.0288   spoon
tableware.SpatulaFactory              -  1      0.234   0.0457  0.0183   spatula
tableware.ChopsticksFactory           -  1      0.316   0.144   0.0243   pair of chopsticks
table_decorations.BookFactory         -  1      0.152   0.241   0.017    book
table_decorations.BookStackFactory    -  1      0.348   0.379   0.137    stack of books
table_decorations.BookColumnFactory   -  1      0.309   0.201   0.307    row of books
table_decorations.VaseFactory         -  1      0.374   0.375   0.346    vase
elements.PalletFactory                -  1      1.34    1.31    0.232    pallet
clothes.TowelFactory                  -  1      0.187   0.239   0.0751   towel
fruits.FruitFactoryApple              -  0.045  0.0836  0.0834  0.0915   apple
fruits.FruitFactoryPineapple          -  0.04   0.179   0.18    0.308    pineapple
fruits.FruitFactoryStrawberry         -  0.04   0.0268  0.0281  0.0405   strawberry
fruits.FruitFactoryStarfruit          -  0.045  0.0831  0.0822  0.105    starfruit
fruits.FruitFactoryDurian             -  0.05   0.227   0.236   0.24     durian
fruits.FruitFactoryCoconuthairy       -  0.045  0.137   0.142   0.134    coconut
fruits.FruitFactoryBlackberry         -  0.02   0.0141  0.0145  0.0299   blackberry
organizer.BasketBaseFactory           -  1      0.395   0.328   0.176    basket
"""
"""Module and name; front, scale, size and category as in `Factory`."""
LEFT_OUT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "BedFactory": "a bed takes minutes of CPU time, and some of its frames are kilometers high",
        "FruitContainerFactory": "its fruit has tens of millions of triangles",
        "KitchenIslandFactory": "its islands are up to 5 m long",
        "LargePlantContainerFactory": "its plants have millions of triangles",
        "OfficeChairFactory": "reduction to few triangles tears its mesh",
        "PlantContainerFactory": "its plants have millions of triangles",
        "TVFactory": "its screen is a light, which bakes to a gray area",
        "MonitorFactory": "its screen is a light, which bakes to a gray area",
        "NatureShelfTrinketsFactory": "it makes animals from shapes that are data of Infinigen, not computed",
    }
)
"""Factories that users may expect, and why they are not used."""


def _read(line: str) -> Factory:
    place, front, scale, x, y, z, *category = line.split()
    module, name = place.split(".")
    front_deg = None if front == "-" else float(front)
    return Factory(name, module, " ".join(category), front_deg, float(scale), (float(x), float(y), float(z)))


FACTORIES: Final[Mapping[str, Factory]] = MappingProxyType(
    {factory.name: factory for factory in map(_read, _TABLE.strip().splitlines())}
)
"""By name."""


def choose_factories(names: Sequence[str]) -> list[Factory]:
    """The factories of these names or categories, without repetition, or all.

    The suffix `Factory` of a name may be left out; case is ignored.

    Raises BadInput for an unknown name, with those that are near it, and for one of `LEFT_OUT`.
    """
    if not names:
        return list(FACTORIES.values())
    by_key = {_key(name): name for name in (*FACTORIES, *LEFT_OUT)}
    chosen: dict[str, Factory] = {}
    for name in names:
        same = {factory.name: factory for factory in FACTORIES.values() if factory.category == name.lower()}
        if (found := by_key.get(_key(name))) is None and same:
            chosen |= same
            continue
        if found is None:
            near = [by_key[key] for key in get_close_matches(_key(name), by_key, n=3, cutoff=0.5)]
            by_category = [factory.name for factory in FACTORIES.values() if name.lower() in factory.category.split()]
            hint = ", ".join(dict.fromkeys([*by_category, *near]))
            advice = f"did you mean {hint}?" if hint else "--list shows all"
            raise BadInput(f"--factories: Infinigen has no factory '{name}'; {advice}")
        if found in LEFT_OUT:
            raise BadInput(f"--factories: {found} is not used: {LEFT_OUT[found]}")
        chosen[found] = FACTORIES[found]
    return list(chosen.values())


def _key(name: str) -> str:
    return name.lower().replace("factory", "")
