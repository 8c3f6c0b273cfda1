"""The recipes by name. The module of a recipe is imported when the recipe is requested."""

from importlib import import_module
from types import MappingProxyType
from typing import Final

from ..shards.errors import BadInput
from .recipe import TrainingRecipe

RECIPES: Final = MappingProxyType(
    {
        "spatialdiff": "spatialdata_builder.training.spatialdiff.recipe:SpatialDiff",
        "ildm": "spatialdata_builder.training.ildm.recipe:Ildm",
        "spatialedit": "spatialdata_builder.training.spatialedit.recipe:SpatialEdit",
        "spatialfusion": "spatialdata_builder.training.spatialfusion.recipe:SpatialFusion",
    }
)


def get_recipe(name: str) -> type[TrainingRecipe]:
    """The class of a recipe. Raises BadInput that lists the available recipes."""
    if name not in RECIPES:
        raise BadInput(f"no training recipe '{name}': use one of {', '.join(RECIPES)}")
    module, _, attribute = RECIPES[name].partition(":")
    return getattr(import_module(module), attribute)
