"""The facts of a card, gathered once from the shards, the plan and the records."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from ....shards.errors import BadInput
from ....shards.layout import join
from ....shards.licenses import CombinedLicense
from ....shards.sidecars.facts import RecipeFacts, read_facts
from ....sources.materials.table import Materials
from ...config import ShardOptions
from ...opened import Build, Rejects, rejects_of
from ...packing.packed_recipes import read_packing
from ...planning.request import planned_materials
from ...store.layers import LayerCorrupt
from ..census import Census, take_census
from ..layer_origins import LayerOrigin, layer_origins
from .attribution import titles_of, whole_license
from .limits import known_limits
from .splits import SplitCheck, check_splits


@dataclass(frozen=True)
class CardFacts:
    """One packed recipe of a build."""

    folder: str
    build: Build
    """With the `shard` options that the recipe was packed with, except the splits, which the plan fixes."""
    recipe: RecipeFacts
    census: Census
    origins: tuple[LayerOrigin, ...]
    rejects: Rejects | None
    """None if some records of the layers are missing."""
    splits: SplitCheck
    limits: tuple[str, ...]
    whole: CombinedLicense
    materials: Materials
    """HDRIs, texture sets and room models of the plan."""
    titles: Mapping[str, str]
    """Titles of assets in their source, by uid."""

    @property
    def options(self) -> ShardOptions:
        return self.build.config.shard

    @property
    def title(self) -> str:
        return f"{self.recipe.name}: {self.recipe.recipe}"

    @cached_property
    def version(self) -> str:
        """The version of this project that packed the shards."""
        found = dict(text.split("=", 1) for text in self.census.versions)
        return found.get("spatialdata-builder", "")


def gather(build: Build, recipe: str) -> CardFacts:
    """Read the facts of a recipe's card.

    Raises BadInput if its shards are not finished, or were packed from other layers than the build has;
    SpatialdataError if they are damaged.
    """
    folder = join(build.store.url, "shards", recipe)
    packing = read_packing(build.store, recipe)
    options = packing.options if packing else build.config.shard
    try:
        facts, census = read_facts(folder), take_census(folder)
    except FileNotFoundError as error:
        raise BadInput(
            f"{folder} is not finished ({error}): run `spatialdata shard {build.store} --recipe {recipe}`"
        ) from None
    _check_same(build, recipe, census)
    materials = planned_materials(build.store, build.plan)
    build = replace(build, config=build.config.model_copy(update={"shard": options}))
    return CardFacts(
        folder=folder,
        build=build,
        recipe=facts,
        census=census,
        origins=tuple(layer_origins(build)),
        rejects=_rejects(build),
        splits=check_splits(build, census, options.duplicates),
        limits=tuple(known_limits(census)),
        whole=whole_license(census, materials),
        materials=materials,
        titles=titles_of(build, census.assets),
    )


def _rejects(build: Build) -> Rejects | None:
    try:
        return rejects_of(build)
    except (LayerCorrupt, FileNotFoundError):
        return None


def _check_same(build: Build, recipe: str, census: Census) -> None:
    """Raise BadInput unless the shards were packed from the layers and the plan of this build."""
    others = census.layers - set(build.layers.values())
    if others or census.plans != {build.plan.hash}:
        what = f"layer {min(others)}" if others else "another plan"
        raise BadInput(
            f"the shards of {recipe} were packed from {what}, which {build.store} does not have now: "
            f"pack again with `spatialdata shard {build.store} --recipe {recipe}`"
        )
