"""Camera: the scene stays the same; the camera orbits it, rises or sinks, moves closer or away.

Formulas: yaw and pitch are judged like turns (`annotators.clauses.amounts.turn_clauses`): to the right and up are
positive, and pitch has half the tolerance. The distance is judged like a change of size.
"""

from collections.abc import Iterator, Mapping
from math import log
from typing import Final

from ...shards.geometry import box_iou, matrix4, wrap_degrees
from ...shards.interop.wording import bench_wording
from ...shards.schema import PairFacts
from ...shards.views import orbit_views
from ..case import Case
from ..claims import Claims
from ..clauses.amounts import STILL_DEG, STILL_LOG, ratio_clause, turn_clauses
from ..clauses.clause import Clause, Tolerances, truth_clause
from ..clauses.fronts import side_of_view
from ..measure import Images
from ..phrases import number, sentence
from ..shots import sentence_of
from ..wording import Wordings
from .kind import Fault, Kind, Limits

_LEVEL: Final = 0.02
"""Sine of the angle, about one degree, up to which a camera looks level."""


class Camera(Kind):
    name = "camera"
    summary = "the scene stayed as it was, the camera moved"
    words = None
    claims = frozenset({"yaw", "yaw_deg", "pitch", "pitch_deg", "zoom", "zoom_factor"})
    verbs_of_camera = True

    def wordings(self, case: Case) -> Wordings:
        """Yaw, pitch and distance.

        The text has the wording of SpatialEdit's benchmark. That wording says `zoom: in` without an amount, so it is
        the last variant if the camera zooms. A view of one object that has words of multi-angle LoRAs is the very last.
        """
        edit = case.facts.edit
        bench = [bench_wording(edit, "")] if edit.known else []
        first, last = (bench, []) if edit.zoom == 1 else ([], bench)
        if shot := sentence_of(case):
            last = [*last, shot]
        parts = [
            part for part in (_yaw(edit.yaw_deg), _pitch(edit.pitch_deg, _looks(case.facts)), _zoom(edit.zoom)) if part
        ]
        if not edit.known or not parts:
            return Wordings([], first=first, last=last)
        plain = [", then ".join(choice) for choice in zip(*parts, strict=True)]
        groups = [[sentence(text) for text in plain]]
        groups.append([f"Keep the scene as it is: {text}." for text in plain])
        groups.append([f"Without changing the scene, {plain[0]}.", f"Leave every object where it is: {plain[-1]}."])
        if edit.yaw_deg and len(parts) == 1:
            side, angle = "right" if edit.yaw_deg > 0 else "left", number(abs(edit.yaw_deg), 1)
            groups.append([f"Show the same scene from a viewpoint {angle} degrees further to the {side}."])
        return Wordings(groups, first=first, last=last)

    def facts(self, case: Case) -> Iterator[str]:
        edit = case.facts.edit
        if not edit.known:
            return
        if edit.yaw_deg:
            side = "right" if edit.yaw_deg > 0 else "left"
            yield f"the camera orbits the scene by {number(abs(edit.yaw_deg), 1)} degrees to the viewer's {side}"
        if edit.pitch_deg:
            verb = "rises" if edit.pitch_deg > 0 else "sinks"
            yield f"the camera {verb} by {number(abs(edit.pitch_deg), 1)} degrees and keeps looking at the scene"
        if edit.view:
            yield f"side of the object that faces the camera after the edit: {side_of_view(edit.view)}"
        if edit.zoom == 1:
            yield "the distance of the camera is unchanged"
            return
        direction = "closer (zoom in)" if edit.zoom > 1 else "farther away (zoom out)"
        yield f"the camera comes {direction}: to {number(100 / edit.zoom, 0)} % of its distance"

    def clauses(
        self, claims: Claims, case: Case, fronts: Mapping[int, float], tolerances: Tolerances
    ) -> Iterator[Clause]:
        edit = case.facts.edit
        if not edit.known:
            yield Clause("camera", "unchecked", "the camera's way is not known")
            return
        for name, claimed, claimed_deg, true, names in (
            ("yaw", claims.yaw, claims.yaw_deg, wrap_degrees(edit.yaw_deg), ("right", "left")),
            ("pitch", claims.pitch, claims.pitch_deg, edit.pitch_deg, ("up", "down")),
        ):
            if claimed == "unchanged":
                still = abs(true) < STILL_DEG
                yield truth_clause(name, still, not still, f"says unchanged, is {true:g} deg")
            else:
                sense = 0 if claimed == "none" else 1 if claimed == names[0] else -1
                # Pitch changes by few degrees: the tolerance of yaw would accept 15 for 5.
                tolerance = tolerances.angle if name == "yaw" else tolerances.angle / 2
                yield from turn_clauses(name, f"{name}_deg", sense, claimed_deg, true, names, tolerance)
        if claims.zoom != "none":
            yield _zoom_clause(claims.zoom, log(edit.zoom))
        if claims.zoom_factor:
            detail = f"is {edit.zoom:.2f}"
            yield ratio_clause("zoom_factor", claims.zoom_factor, edit.zoom, tolerances.factor, detail)

    def unseen(self, facts: PairFacts, images: Images, limits: Limits) -> Iterator[Fault]:
        """`camera_too_still`: every object is almost where it was in the image.

        A camera that goes around one object keeps it in the middle: there, the steps of the grid say that it moves.
        """
        if orbit_views(facts.edit, facts.objects, facts.camera):
            return
        least = min(box_iou(one.source_box, one.target_box) for one in facts.objects)
        if least > limits.max_still:
            yield "camera_too_still", least


def _yaw(degrees: float) -> list[str]:
    if not degrees:
        return []
    side, angle = "right" if degrees > 0 else "left", number(abs(degrees), 1)
    return [
        f"orbit the camera {angle} degrees to the {side}",
        f"move the camera around the scene, {angle} degrees to the {side}",
        f"swing the camera {angle} degrees to the {side} around the scene",
        f"walk around the scene to the {side} by {angle} degrees",
    ]


def _looks(facts: PairFacts) -> str:
    """Where both cameras look: `up`, `down`; empty where they differ, or where one of them looks level."""
    heights = [matrix4(view.world_from_camera)[2, 2] for view in (facts.camera.source, facts.camera.target)]
    return "down" if max(heights) < -_LEVEL else "up" if min(heights) > _LEVEL else ""


def _pitch(degrees: float, looks: str) -> list[str]:
    if not degrees:
        return []
    angle = number(abs(degrees), 1)
    verb, direction = ("raise", "up") if degrees > 0 else ("lower", "down")
    steep = "more steeply" if (degrees > 0) == (looks == "down") else "less steeply"
    so = f" so that it looks {looks} {steep}" if looks else ""
    return [
        f"{verb} the camera by {angle} degrees",
        f"{verb} the viewpoint {angle} degrees along its orbit",
        f"move the camera {direction} by {angle} degrees{so}",
        f"{verb} the camera's elevation by {angle} degrees",
    ]


def _zoom(factor: float) -> list[str]:
    if factor == 1:
        return []
    share = number(100 / factor, 0)
    word, direction = ("in", "closer to the scene") if factor > 1 else ("out", "farther away from the scene")
    bring = "bring the camera" if factor > 1 else "pull the camera back,"
    return [
        f"zoom {word} by moving the camera to {share} % of its distance",
        f"move the camera {direction}, to {share} % of its distance",
        f"zoom {word}: move the camera to {share} % of its distance",
        f"{bring} {direction}, to {share} % of its distance",
    ]


def _zoom_clause(claimed: str, closer: float) -> Clause:
    true = "unchanged" if abs(closer) < STILL_LOG else "in" if closer > 0 else "out"
    return truth_clause("zoom", claimed == true, claimed != true, f"says {claimed}, is {true}")
