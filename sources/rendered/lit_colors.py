"""Words of color held against the pictures themselves: light, shade and view transform may make another color of one.

Invariant: what is said of an object's color by its `colour` or its category fits its pixels in every image of the pair
that shows it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from ...shards.color_words import ColorRun, names_of, without_colors
from ...shards.colors import Floats, contradicts, to_oklab
from ..blender.render import RenderedView
from ..scenes.naming import name_objects
from ..scenes.spec import SceneObjectSpec, SceneSpec

LEAST_PX: Final = 24
"""Pixels of an object from which its color is judged."""
MOST_PX: Final = 256
"""Pixels that are looked at, evenly spread."""


def truly_named(specs: Sequence[SceneSpec], views: Sequence[RenderedView]) -> tuple[SceneSpec, ...] | str:
    """Scenes of the same objects, without the words of color that their images contradict, and named anew; or why an
    edited object has no name then.

    Args:
        views: all images of the scenes.
    """
    objects = tuple(_without(placed, _pixels(placed.id, views)) for placed in specs[0].objects)
    if objects == specs[0].objects:
        return tuple(specs)
    named: list[SceneSpec] = []
    for spec in specs:
        names = name_objects(spec := replace(spec, objects=objects, names={}))
        if isinstance(names, str):
            return names
        named.append(replace(spec, names=names))
    return tuple(named)


def _pixels(id: int, views: Sequence[RenderedView]) -> list[Floats]:
    """OKLab colors of an object in each image that shows enough of it."""
    masks = [(view, view.instances == id) for view in views]
    shown = [view.rgb[mask] for view, mask in masks if mask.sum() >= LEAST_PX]
    return [to_oklab(pixels[:: -(-len(pixels) // MOST_PX)] / 255) for pixels in shown]


def _without(placed: SceneObjectSpec, pixels: Sequence[Floats]) -> SceneObjectSpec:
    asset = placed.asset

    def false(names: frozenset[str]) -> bool:
        return any(contradicts(names, lab) for lab in pixels)

    def drops(spoken: ColorRun) -> bool:
        return len(spoken.colors) == 1 and false(spoken.colors[0])

    colour = "" if false(names_of(asset.colour)) else asset.colour
    category = without_colors(asset.category, drops) if asset.category else ""
    if (colour, category) == (asset.colour, asset.category):
        return placed
    return replace(placed, asset=replace(asset, colour=colour, category=category))
