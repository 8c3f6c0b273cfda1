"""Which texture sets a scene has: on floors, walls, the ground, and the boards of tables.

Invariant: the choice depends on the random generator of the textures, not on that of the composition. So a scene is
composed alike with and without textures.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..assets.carriers import names_of
from ..scenes.footprints import apparent_size
from ..scenes.spec import SceneObjectSpec, SceneSpec
from ..scenes.values import Surface, TexturedSurface
from .table import PlannedSet, Use, with_surfaces

_TABLES = frozenset(("table", "desk", "sideboard", "counter", "workbench", "nightstand"))
"""Categories whose boards are covered. Only models with a flat top have one (`blender.table_top`)."""
_BOARD = Surface("wood", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 0.1, 0.0, 0.5, 0)
"""In place of the model's own material."""
SMALL_M = 0.4
"""Objects of an open scene that are all smaller stand on a table rather than on a floor."""


def textured(spec: SceneSpec, sets: Sequence[PlannedSet], share: float, rng: np.random.Generator) -> SceneSpec:
    """The scene with texture sets on a share of its floors, walls, grounds and tables, where one is made for them."""
    chosen: dict[Surface, Surface] = {}
    open_scene = spec.room is None and spec.garden is None and spec.environment is None
    open_floor = _open_floor(spec)

    def change(surface: Surface, use: Use) -> Surface:
        # One surface may have several places: both walls of a corner are alike.
        if surface not in chosen:
            chosen[surface] = _drawn(surface, sets, open_floor if open_scene and use == "floor" else (use,), share, rng)
        return chosen[surface]

    found = with_surfaces(spec, change)
    return replace(found, objects=tuple(_with_top(placed, sets, share, rng) for placed in found.objects))


def _with_top(
    placed: SceneObjectSpec, sets: Sequence[PlannedSet], share: float, rng: np.random.Generator
) -> SceneObjectSpec:
    if names_of(placed.asset.category).isdisjoint(_TABLES):
        return placed
    top = _drawn(_BOARD, sets, ("table",), share, rng)
    return replace(placed, top=top) if isinstance(top, TexturedSurface) else placed


def _open_floor(spec: SceneSpec) -> tuple[Use, ...]:
    """What the floor of an open scene may be."""
    small = all(apparent_size(placed.asset) < SMALL_M for placed in spec.objects)
    return ("table",) if small else ("floor", "ground")


def _drawn(
    surface: Surface, sets: Sequence[PlannedSet], uses: tuple[Use, ...], share: float, rng: np.random.Generator
) -> Surface:
    fit = [one for one in sets if not set(uses).isdisjoint(one.uses)]
    wanted, pick = rng.random() < share, rng.random()
    if not fit or not wanted:
        return surface
    one = fit[int(pick * len(fit))]
    return TexturedSurface(
        kind=surface.kind,
        colour=surface.colour,
        accent=surface.accent,
        scale_m=surface.scale_m,
        rotation_deg=0.0 if uses == ("wall",) else surface.rotation_deg,
        roughness=surface.roughness,
        seed=surface.seed,
        texture=one.name,
        maps={str(name): file for name, file in one.maps.items()},
        repeat_m=(one.size_m, round(one.size_m * one.aspect, 6)),
    )
