"""Judge claimed turns, ratios and amounts.

Formulas:
- Turn: `a` is the true turn (degrees counterclockwise seen from above, in (-180, 180]), `s` the claimed sense (+1, -1),
  `d` the claimed angle. The error of a sense is |wrapped(s d - a)|. The claimed sense agrees if its error is at most
  that of the opposite sense, else it is contradicted. Without an angle the signs are compared, and half a turn has
  either sense. The angle is judged by the smaller of the two errors.
- Ratio: |log(claimed ratio / true ratio)| against log(1 + tolerance).
- `slightly` and `far`: the amount (`annotators.edits.kind.Kind.amount`) is 1 for an edit that is neither. `slightly`
  agrees up to 1 and is contradicted above 2. `far` and `a lot` agree from 1.5 and are contradicted below 0.75.
"""

from math import log
from typing import Final

from ...shards.geometry import wrap_degrees
from .clause import Clause, number_clause, truth_clause

STILL_DEG: Final = 1.0
"""A turn by less counts as no turn."""
STILL_LOG: Final = 0.02
"""A change of size or distance counts as none if its logarithm is less."""


def turn_clauses(
    sense_name: str,
    angle_name: str,
    sense: int,
    angle: float,
    true: float,
    names: tuple[str, str],
    tolerance: float,
) -> list[Clause]:
    """Judge a claimed sense (+1, -1) and angle (degrees) against the true turn. 0 means that it is not claimed.

    Args:
        true: the true turn in degrees.
        names: what a positive and a negative turn are called.
        tolerance: of the angle, degrees.
    """
    actual = f"is {abs(true):.0f} deg {names[0] if true > 0 else names[1]}"
    if abs(true) < STILL_DEG:
        actual = "is not turned"
    errors = [abs(wrap_degrees(sign * angle - true)) for sign in ((sense, -sense) if sense else (1, -1))]
    found: list[Clause] = []
    if sense:
        if abs(true) < STILL_DEG:
            agrees = False
        elif angle:
            agrees = errors[0] <= errors[1] + 1e-6
        else:
            agrees = sense * true > 0 or abs(true) > 170
        claimed = names[0] if sense > 0 else names[1]
        found.append(truth_clause(sense_name, agrees, not agrees, f"says {claimed}, {actual}"))
    if angle:
        found.append(number_clause(angle_name, min(errors), tolerance, f"says {angle:g} deg, {actual}"))
    return found


def ratio_clause(name: str, claimed: float, true: float, tolerance: float, actual: str) -> Clause:
    """Judge a claimed ratio."""
    return number_clause(name, abs(log(claimed / true)), log(1 + tolerance), f"says {claimed:.2f}, {actual}")


def amount_clause(claimed: str, amount: float) -> Clause:
    """Judge `little` or `much`, claimed without a number."""
    true, false = (amount <= 1.0, amount > 2.0) if claimed == "little" else (amount >= 1.5, amount < 0.75)
    return truth_clause("amount", true, false, f"says {claimed}, is {amount:.1f} of a middling one")
