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
seating.BedFactory                    0  1      0.00  0.00  0.00  bed
seating.ChairFactory                  0  1      0.57  0.58  0.92  chair
seating.BarChairFactory               -  1      0.48  0.48  1.03  barstool
seating.OfficeChairFactory            0  1      0.56  0.55  1.29  office chair
seating.ArmChairFactory               0  1      1.40  1.04  0.89  armchair
seating.SofaFactory                   0  1      1.44  2.31  0.90  sofa
seating.PillowFactory                 -  1      0.57  0.42  0.25  pillow
seating.MattressFactory               -  1      1.38  2.27  0.28  mattress
tables.TableDiningFactory             -  1      1.17  1.07  0.74  dining table
tables.CoffeeTableFactory             -  1      1.30  0.84  0.46  coffee table
tables.SideTableFactory               -  1      0.62  0.62  0.58  side table
tables.TableCocktailFactory           -  1      0.69  0.69  1.36  cocktail table
lamp.DeskLampFactory                  -  1      0.28  0.28  0.53  desk lamp
lamp.FloorLampFactory                 -  1      0.28  0.28  1.59  floor lamp
shelves.SimpleBookcaseFactory         0  1      0.40  0.57  0.83  bookcase
shelves.LargeShelfFactory             0  1      0.35  0.88  1.71  bookshelf
shelves.CellShelfFactory              0  1      0.38  1.82  1.39  shelf
shelves.TVStandFactory                0  1      0.38  1.82  0.52  tv stand
shelves.TriangleShelfFactory          0  1      0.36  0.35  0.63  shelf
shelves.SimpleDeskFactory             0  1      0.75  1.18  0.73  desk
shelves.SidetableDeskFactory          0  1      0.48  0.48  0.50  side table
shelves.SingleCabinetFactory          0  1      0.36  0.62  1.55  cabinet
shelves.KitchenCabinetFactory         0  1      0.35  3.39  1.06  kitchen cabinet
appliances.MicrowaveFactory           0  0.65   0.42  0.58  0.27  microwave oven
appliances.OvenFactory                0  0.6    0.85  0.62  0.98  oven
appliances.DishwasherFactory          0  0.6    0.80  0.62  0.71  dishwasher
appliances.BeverageFridgeFactory      0  0.6    0.80  0.62  0.71  fridge
bathroom.ToiletFactory                0  1      0.00  0.00  0.00  toilet
bathroom.BathtubFactory               -  1      0.00  0.00  0.00  bathtub
bathroom.StandingSinkFactory          0  1      0.00  0.00  0.00  sink
tableware.BottleFactory               -  1      0.00  0.00  0.00  bottle
tableware.BowlFactory                 -  1      0.00  0.00  0.00  bowl
tableware.CanFactory                  -  1      0.00  0.00  0.00  can
tableware.CupFactory                  -  1      0.00  0.00  0.00  cup
tableware.FoodBagFactory              -  1      0.00  0.00  0.00  snack bag
tableware.FoodBoxFactory              -  1      0.00  0.00  0.00  food package
tableware.FruitContainerFactory       -  1      0.00  0.00  0.00  fruit bowl
tableware.JarFactory                  -  1      0.00  0.00  0.00  jar
tableware.PanFactory                  -  1      0.00  0.00  0.00  pan
tableware.PotFactory                  -  1      0.00  0.00  0.00  pot
tableware.PlateFactory                -  1      0.00  0.00  0.00  plate
tableware.WineglassFactory            -  1      0.00  0.00  0.00  wine glass
tableware.ForkFactory                 -  1      0.00  0.00  0.00  fork
tableware.KnifeFactory                -  1      0.00  0.00  0.00  knife
tableware.SpoonFactory                -  1      0.00  0.00  0.00  spoon
tableware.SpatulaFactory              -  1      0.00  0.00  0.00  spatula
tableware.ChopsticksFactory           -  1      0.00  0.00  0.00  pair of chopsticks
tableware.PlantContainerFactory       -  1      0.00  0.00  0.00  potted plant
tableware.LargePlantContainerFactory  -  1      0.00  0.00  0.00  potted plant
table_decorations.BookFactory         -  1      0.00  0.00  0.00  book
table_decorations.BookStackFactory    -  1      0.00  0.00  0.00  stack of books
table_decorations.BookColumnFactory   -  1      0.00  0.00  0.00  row of books
table_decorations.VaseFactory         -  1      0.00  0.00  0.00  vase
decor.AquariumTankFactory             -  1      0.00  0.00  0.00  aquarium
elements.RackFactory                  -  1      0.00  0.00  0.00  pallet rack
elements.PalletFactory                -  1      0.00  0.00  0.00  pallet
wall_decorations.BalloonFactory       -  1      0.00  0.00  0.00  balloon
clothes.TowelFactory                  -  1      0.00  0.00  0.00  towel
clothes.ShirtFactory                  -  1      0.00  0.00  0.00  shirt
clothes.PantsFactory                  -  1      0.00  0.00  0.00  trousers
small_plants.SnakePlantFactory        -  1      0.00  0.00  0.00  snake plant
small_plants.SpiderPlantFactory       -  1      0.00  0.00  0.00  spider plant
small_plants.SucculentFactory         -  1      0.00  0.00  0.00  succulent
small_plants.FernFactory              -  1      0.00  0.00  0.00  fern
cactus.GlobularCactusFactory          -  1      0.00  0.00  0.00  cactus
cactus.ColumnarCactusFactory          -  1      0.00  0.00  0.00  cactus
mushroom.MushroomFactory              -  1      0.00  0.00  0.00  mushroom
fruits.FruitFactoryApple              -  0.045  0.00  0.00  0.00  apple
fruits.FruitFactoryPineapple          -  1      0.00  0.00  0.00  pineapple
fruits.FruitFactoryStrawberry         -  1      0.00  0.00  0.00  strawberry
fruits.FruitFactoryStarfruit          -  1      0.00  0.00  0.00  starfruit
fruits.FruitFactoryDurian             -  1      0.00  0.00  0.00  durian
fruits.FruitFactoryCoconuthairy       -  1      0.00  0.00  0.00  coconut
fruits.FruitFactoryBlackberry         -  1      0.00  0.00  0.00  blackberry
organizer.BasketBaseFactory           -  1      0.00  0.00  0.00  basket
organizer.PlateRackBaseFactory        -  1      0.00  0.00  0.00  plate rack
"""
"""Module and name; front, scale, size and category as in `Factory`."""
LEFT_OUT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "KitchenIslandFactory": "its islands are up to 5 m long",
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
    """The factories of these names, without repetition, or all. The suffix `Factory` may be left out; case is ignored.

    Raises BadInput for an unknown name, with those that are near it, and for one of `LEFT_OUT`.
    """
    if not names:
        return list(FACTORIES.values())
    by_key = {_key(name): name for name in (*FACTORIES, *LEFT_OUT)}
    chosen: dict[str, Factory] = {}
    for name in names:
        if (found := by_key.get(_key(name))) is None:
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
