"""The way back: an edit of a rendered scene read from target to source.

Invariant: the numbers are those of the two poses with their signs and ratios turned round, so the inverse of an
inverse is the edit itself; names and views are made anew for the image that is now the source.
"""

from dataclasses import replace

from ...shards.geometry import wrapped
from ..derived import INVERSE
from ..scenes.naming import name_objects
from ..scenes.rotations import VIEWS, bearing_of_camera
from ..scenes.spec import EditSpec, SceneSpec, State

VIEW_TOLERANCE = 1e-3
"""Degrees by which a canonical view may be missed: poses are rounded to six decimals."""


def inverted(spec: SceneSpec) -> SceneSpec | str:
    """The scene with its edit read backwards and its objects named anew, or why there is no such instruction."""
    back = replace(spec, source=spec.target, target=spec.source, edit=_inverted_edit(spec))
    names = name_objects(back)
    return names if isinstance(names, str) else replace(back, names=names)


def _inverted_edit(spec: SceneSpec) -> EditSpec:
    edit = spec.edit
    x, y, z = edit.translation
    return EditSpec(
        kind=INVERSE[edit.kind],
        object=edit.object,
        # Zero less a number, since the negative of zero prints as -0.
        translation=(0.0 - x, 0.0 - y, 0.0 - z),
        rotation_deg=wrapped(0.0 - edit.rotation_deg),
        view=canonical_view(spec, spec.source) if edit.kind == "rotate" else "",
        scale=1.0 / edit.scale,
        yaw_deg=wrapped(0.0 - edit.yaw_deg),
        pitch_deg=0.0 - edit.pitch_deg,
        zoom=1.0 / edit.zoom,
    )


def canonical_view(spec: SceneSpec, state: State) -> str:
    """The canonical view that the edited object shows in a state, or an empty string."""
    asset = next(placed.asset for placed in spec.objects if placed.id == spec.edit.object)
    if asset.front_deg is None:
        return ""
    bearing = bearing_of_camera(asset, state.placements[spec.edit.object], state.camera)
    return next((view for view, deg in VIEWS.items() if abs(wrapped(bearing - deg)) < VIEW_TOLERANCE), "")
