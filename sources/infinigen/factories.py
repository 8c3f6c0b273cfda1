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
    """Meters of the object per unit of Infinigen: 1, but for fruit."""
    size_m: tuple[float, float, float]
    """Width (x), depth (y) and height (z) of the object of seed 0."""


_TABLE: Final = """
seating.BedFactory               bed             0
seating.ChairFactory             chair           0
seating.BarChairFactory          barstool
seating.OfficeChairFactory       office chair    0
seating.ArmChairFactory          armchair        0
seating.SofaFactory              sofa            0
seating.PillowFactory            pillow
seating.MattressFactory          mattress
tables.TableDiningFactory        dining table
tables.CoffeeTableFactory        coffee table
tables.SideTableFactory          side table
tables.TableCocktailFactory      cocktail table
lamp.DeskLampFactory             desk lamp
lamp.FloorLampFactory            floor lamp
shelves.SimpleBookcaseFactory    bookcase        0
shelves.LargeShelfFactory        bookshelf       0
shelves.CellShelfFactory         shelf           0
shelves.TVStandFactory           tv stand        0
shelves.TriangleShelfFactory     shelf           0
shelves.SimpleDeskFactory        desk            0
shelves.SidetableDeskFactory     side table      0
shelves.SingleCabinetFactory     cabinet         0
shelves.KitchenCabinetFactory    kitchen cabinet 0
shelves.KitchenIslandFactory     kitchen island  0
appliances.MicrowaveFactory      microwave oven  0
appliances.OvenFactory           oven            0
appliances.DishwasherFactory     dishwasher      0
appliances.BeverageFridgeFactory fridge          0
bathroom.ToiletFactory           toilet          0
bathroom.BathtubFactory          bathtub
bathroom.StandingSinkFactory     sink            0
tableware.BottleFactory          bottle
tableware.BowlFactory            bowl
tableware.CanFactory             can
tableware.CupFactory             cup
tableware.FoodBagFactory         snack bag
tableware.FoodBoxFactory         food package
tableware.FruitContainerFactory  fruit bowl
tableware.JarFactory             jar
tableware.PanFactory             pan
tableware.PotFactory             pot
tableware.PlateFactory           plate
tableware.WineglassFactory       wine glass
tableware.ForkFactory            fork
tableware.KnifeFactory           knife
tableware.SpoonFactory           spoon
tableware.SpatulaFactory         spatula
tableware.ChopsticksFactory      pair of chopsticks
tableware.PlantContainerFactory  potted plant
tableware.LargePlantContainerFactory potted plant
table_decorations.BookFactory    book
table_decorations.BookStackFactory stack of books
table_decorations.BookColumnFactory row of books
table_decorations.VaseFactory    vase
decor.AquariumTankFactory        aquarium
elements.RackFactory             pallet rack
elements.PalletFactory           pallet
wall_decorations.BalloonFactory  balloon
clothes.TowelFactory             towel
clothes.BlanketFactory           blanket
clothes.ShirtFactory             shirt
clothes.PantsFactory             trousers
small_plants.SnakePlantFactory   snake plant
small_plants.SpiderPlantFactory  spider plant
small_plants.SucculentFactory    succulent
small_plants.FernFactory         fern
cactus.GlobularCactusFactory     cactus
cactus.ColumnarCactusFactory     cactus
mushroom.MushroomFactory         mushroom
fruits.FruitFactoryApple         apple
fruits.FruitFactoryPineapple     pineapple
fruits.FruitFactoryStrawberry    strawberry
fruits.FruitFactoryStarfruit     starfruit
fruits.FruitFactoryDurian        durian
fruits.FruitFactoryCoconuthairy  coconut
fruits.FruitFactoryBlackberry    blackberry
organizer.BasketBaseFactory      basket
organizer.PlateRackBaseFactory   plate rack
"""
"""Module and name; category; direction of the front."""
LEFT_OUT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "TVFactory": "its screen is a light, which bakes to a gray area",
        "MonitorFactory": "its screen is a light, which bakes to a gray area",
        "NatureShelfTrinketsFactory": "it makes animals from shapes that are data of Infinigen, not computed",
    }
)
"""Factories that users may expect, and why they are not used."""


def _read(line: str) -> Factory:
    place, *words = line.split()
    module, name = place.split(".")
    front = float(words.pop()) if words[-1].isdigit() else None
    return Factory(name, module, " ".join(words), front, 1.0, (0.0, 0.0, 0.0))


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
