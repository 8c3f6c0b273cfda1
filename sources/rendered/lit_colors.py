"""Checks color words against the images: light, shade and view transform may change the color of an object.

Invariant: an object's color, in its `colour` or its category, fits its pixels in every image of the pair that shows it.
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
"""Least number of pixels of an object to judge its color."""
MOST_PX: Final = 256
"""Most pixels that are compared, evenly spread."""


def truly_named(specs: Sequence[SceneSpec], views: Sequence[RenderedView]) -> tuple[SceneSpec | str, ...]:
    """The scenes without color words that their images contradict, and with new names.

    In place of a scene whose edited object then has no name, the reason.

    Args:
        specs: edits of one scene, which differ in the objects that they show at most.
        views: all images of the scenes.
    """
    objects = {placed.id: placed for spec in specs for placed in spec.objects}
    true = {id: _without(placed, _pixels(id, views)) for id, placed in objects.items()}
    if true == objects:
        return tuple(specs)
    named: list[SceneSpec | str] = []
    for spec in specs:
        spec = replace(spec, objects=tuple(true[placed.id] for placed in spec.objects), names={})
        names = name_objects(spec)
        named.append(names if isinstance(names, str) else replace(spec, names=names))
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

    color = "" if false(names_of(asset.colour)) else asset.colour
    category = without_colors(asset.category, drops) if asset.category else ""
    if (color, category) == (asset.colour, asset.category):
        return placed
    return replace(placed, asset=replace(asset, colour=color, category=category))
