"""Rotate: one object is turned in place about the vertical axis.

Formulas: `annotators.clauses.amounts.turn_clauses` judges sense and angle, `annotators.clauses.fronts.side_clause` a
claimed view.
"""

from collections.abc import Iterator, Mapping

from ...shards.geometry import wrap_degrees
from ...shards.interop.wording import bench_wording
from ...shards.schema import Edit, PairFacts, SceneObject
from ..case import Case
from ..claims import Claims
from ..clauses.amounts import turn_clauses
from ..clauses.clause import Clause, Tolerances
from ..clauses.fronts import side_clause, side_of_view
from ..clauses.places import place_clauses
from ..clauses.supports import support_clauses
from ..measure import Images, outline_change, pose_error
from ..phrases import is_plural, number
from ..wording import Group, Wordings
from .kind import ORIGIN_CLAIMS, PLACE_CLAIMS, Fault, Kind, Limits, Words
from .words import AFTER_VERB


class Rotate(Kind):
    name = "rotate"
    summary = "one object was turned on the spot"
    words = Words(
        verbs="rotate|turn|spin|pivot|swivel|twist|revolve|reorient|orient|face",
        participles="rotated|turned|spun|pivoted|swivelled|swiveled|twisted|reoriented|oriented",
        nouns="rotation|turn|spin",
        after_object=rf"(?:turn|rotate|spin|pivot|swivel){AFTER_VERB}",
    )
    claims = PLACE_CLAIMS | ORIGIN_CLAIMS | {"turn", "view", "degrees"}
    verbs_of_camera = True

    def wordings(self, case: Case) -> Wordings:
        """The angle, clockwise or counterclockwise seen from above, and the canonical view if there is one.

        The text of a turn to a canonical view has the wording of SpatialEdit's benchmark.
        """
        x, edit = case.edited_name, case.facts.edit
        own = "their" if is_plural(x) else "its"
        groups: list[Group] = []
        bench: list[str] = []
        if edit.view:
            bench = [bench_wording(edit, x.removeprefix("the "))] if edit.known else []
            side = side_of_view(edit.view)
            groups.append(
                [f"Turn {x} until {own} {side} faces the camera.", f"Rotate {x} so that we see {own} {side}."]
            )
            groups[-1] += [f"Turn {x} to show {own} own {side}.", f"Spin {x} around to reveal {own} {side}."]
        loose = [f"Rotate {x} on the spot.", f"Turn {x} in place.", f"Make {x} face another way.", f"Rotate {x}."]
        if not edit.known or not edit.rotation_deg:
            return Wordings(groups, [loose], bench)
        degrees = wrap_degrees(edit.rotation_deg)
        angle = number(abs(degrees), 0)
        if angle == "180":
            groups.append([f"{verb} {x} by 180 degrees." for verb in ("Rotate", "Turn", "Spin")])
            groups.append(
                [f"Give {x} half a turn.", f"Turn {x} around by half a turn.", f"Turn {x} the other way round."]
            )
            return Wordings(groups, first=bench)
        sense = "counter-clockwise" if degrees > 0 else "clockwise"
        groups.append([f"{verb} {x} {angle} degrees {sense}, seen from above." for verb in ("Rotate", "Turn", "Spin")])
        groups.append([f"{verb} {x} {sense} by {angle} degrees as seen from above." for verb in ("Rotate", "Turn")])
        groups.append(
            [f"Looking down from above, {verb} {x} {sense} by {angle} degrees." for verb in ("rotate", "turn")]
        )
        part = {"45": "an eighth of a turn", "90": "a quarter turn", "135": "three eighths of a turn"}.get(angle)
        if part:
            groups.append([f"Give {x} {part} {sense}, seen from above."])
        return Wordings(groups, first=bench)

    def facts(self, case: Case) -> Iterator[str]:
        edit = case.facts.edit
        if edit.known and edit.rotation_deg:
            degrees = wrap_degrees(edit.rotation_deg)
            sense = "counterclockwise" if degrees > 0 else "clockwise"
            half = abs(degrees) == 180
            which = " (half a turn: the sense makes no difference)" if half else f" {sense}, seen from above"
            yield f"turn: {number(abs(degrees), 1)} degrees{which}"
        if edit.view:
            yield f"side of the object that faces the camera after the edit: {side_of_view(edit.view)}"

    def clauses(
        self, claims: Claims, case: Case, fronts: Mapping[int, float], tolerances: Tolerances
    ) -> Iterator[Clause]:
        yield from _turn(claims, case, tolerances)
        if claims.view != "none":
            yield side_clause(claims.view, case.facts, case.edited, fronts)
        yield from place_clauses(claims, case, fronts, "source")
        yield from support_clauses(claims, case, "source")

    def unseen(self, facts: PairFacts, images: Images, limits: Limits) -> Iterator[Fault]:
        for id in facts.edit.edited:
            change = images.appearance_change(id)
            if change < limits.min_object_change and outline_change(*images.masks(id)) < limits.min_outline_change:
                yield "turned_too_little", change

    def amount(self, case: Case) -> float | None:
        """The turn, relative to 45 degrees."""
        return abs(wrap_degrees(case.facts.edit.rotation_deg)) / 45.0

    def edit_error(self, edit: Edit, edited: SceneObject) -> float:
        return pose_error(edit, edited, about_base=True)


def _turn(claims: Claims, case: Case, tolerances: Tolerances) -> list[Clause]:
    """Judge the sense and the angle."""
    if claims.turn == "none" and not claims.degrees:
        return []
    if not case.facts.edit.known:
        return [Clause("turn", "unchecked", "the turn is not known")]
    sense = {"none": 0, "counterclockwise": 1, "clockwise": -1}[claims.turn]
    true = wrap_degrees(case.facts.edit.rotation_deg)
    names = ("counterclockwise", "clockwise")
    return turn_clauses("turn", "degrees", sense, claims.degrees, true, names, tolerances.angle)
