"""Whether an edit is visible enough: in a forecast before anything is rendered, and in the renders."""

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
    """Why a pair is rejected, given the visibility of each object (by id) in its two states; None if it is accepted.

    Reasons: `other_hidden` (too little is visible of another object in the source), `out_of_frame`, `too_small`,
    `too_large`, `hidden` (the edited object), `sliver` (after a camera edit, too little is visible of an object),
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
    """Like `judge`, with the forecast visibility."""
    seen = [
        scene.outlook
        if state.camera == scene.camera and state.placements == scene.placements
        else forecast(scene.objects, state.placements, state.camera, scene.resolution, scene.supports)
        for state in (draft.source, draft.target)
    ]
    return judge(specify(scene, draft), seen[0], seen[1], limits)
