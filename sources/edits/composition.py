"""The edit between the targets of two edits of one scene: second after first undone.

Invariant: both edits are of one object (or of the camera), so in the world of the two targets nothing else differs, and
the numbers are the differences and ratios of theirs.
"""

from dataclasses import replace

import numpy as np

from ...shards.geometry import flat, wrapped
from ..derived import composed_kind
from ..scenes.naming import name_objects
from ..scenes.rotations import shows
from ..scenes.spec import EditSpec, SceneSpec, State
from .inverse import canonical_view

LEAST_ZOOM = 1.15
"""Ratio of two distances from which it is said that one camera is closer."""


def composed(first: SceneSpec, second: SceneSpec) -> SceneSpec:
    """The scene with the edit from the target of `first` to that of `second`; the names are those of `first`.

    Raises ValueError where no one edit leads there.
    """
    one, two = first.edit, second.edit
    kind = composed_kind(one.kind, two.kind)
    if kind is None or one.object != two.object or first.objects != second.objects:
        raise ValueError(f"no one edit leads from the target of a {one.kind} to that of a {two.kind}")
    source, target = _states(first.target, second.target, one.object)
    edit = EditSpec(kind, one.object, allows_occlusion=two.allows_occlusion)
    spec = replace(first, source=source, target=target, edit=edit)
    if kind == "translate":
        before, after = source.placements[one.object], target.placements[one.object]
        x, y, z = flat(np.subtract((after.x, after.y, after.z), (before.x, before.y, before.z)))
        return replace(spec, edit=replace(edit, translation=(x, y, z)))
    if kind == "rotate":
        turn = round(wrapped(two.rotation_deg - one.rotation_deg), 6)
        return replace(spec, edit=replace(edit, rotation_deg=turn, view=canonical_view(spec, target)))
    if kind == "scale":
        return replace(spec, edit=replace(edit, scale=two.scale / one.scale))
    if kind == "camera":
        yaw = wrapped(two.yaw_deg - one.yaw_deg)
        return replace(
            spec, edit=replace(edit, yaw_deg=yaw, pitch_deg=two.pitch_deg - one.pitch_deg, zoom=two.zoom / one.zoom)
        )
    return spec


def named(spec: SceneSpec) -> SceneSpec | str:
    """With the names that fit the image that is the source, or why there are none."""
    names = name_objects(replace(spec, names={}))
    return names if isinstance(names, str) else replace(spec, names=names)


def alike(spec: SceneSpec) -> bool:
    """Whether the edit of a composed scene leads to what looks or is said the same."""
    edit = spec.edit
    if edit.kind == "rotate":
        return not shows(next(placed.asset for placed in spec.objects if placed.id == edit.object), edit.rotation_deg)
    if edit.kind == "camera":
        little = edit.zoom != 1 and max(edit.zoom, 1 / edit.zoom) < LEAST_ZOOM
        return little or not (edit.yaw_deg or edit.pitch_deg or edit.zoom != 1)
    return False


def _states(source: State, target: State, edited: int) -> tuple[State, State]:
    """An object that is in one of the states alone has the same place in the other, as with every such edit."""
    if not edited:
        return source, target
    before, after = source.placements[edited], target.placements[edited]
    if not before.present:
        source = replace(source, placements=source.placements | {edited: replace(after, present=False)})
    if not after.present:
        target = replace(target, placements=target.placements | {edited: replace(before, present=False)})
    return source, target
