"""Whether what is seen of an edit will do: in a forecast before anything is rendered, and in the renders."""

from ..scenes.layout import Scene
from ..scenes.silhouettes import forecast
from ..scenes.spec import SceneSpec
from .checks import Seen, hides_others
from .draft import Draft, specify
from .limits import Limits
from .registry import RULES


def judge(
    spec: SceneSpec,
    source_visibility: Seen,
    target_visibility: Seen,
    limits: Limits | None = None,
) -> str | None:
    """Why a pair will not do, given what is seen of each object (by id) in its two states; None where it will.

    Reasons: `other_hidden` (of another object of the source a sliver is seen, or nothing), `out_of_frame`, `too_small`,
    `too_large`, `hidden` (the edited object), `sliver` (of an object of a camera's other view a sliver is seen),
    `occludes` (the edit hides another object), `moved_too_little`.
    """
    limits = limits or Limits()
    if hides_others(spec.source, spec.edit.edited, source_visibility, limits):
        return "other_hidden"
    rules = RULES[spec.edit.kind]
    return rules.view_fault(spec, source_visibility, target_visibility, limits) or rules.change_fault(
        spec, source_visibility, target_visibility, limits
    )


def forecast_fault(scene: Scene, draft: Draft, limits: Limits) -> str | None:
    """As `judge`, of what is forecast to be seen."""
    seen = [
        scene.outlook
        if state.camera == scene.camera and state.placements == scene.placements
        else forecast(scene.objects, state.placements, state.camera, scene.resolution)
        for state in (draft.source, draft.target)
    ]
    return judge(specify(scene, draft), seen[0], seen[1], limits)
