"""Whether a turn, a ratio or an amount is the one that an instruction names.

Formulas:
- A turn `a` (degrees counter-clockwise seen from above, in (-180, 180]) against a claimed sense `s` (+1, -1) and angle
  `d`: its error with that sense is |wrapped(s d - a)|. The sense agrees where that is no more than the error with the
  other sense, and is contradicted where it is more; without an angle, signs are compared, and half a turn is of either
  sense. The angle is judged by the lesser of the two errors.
- A ratio: |log(claimed ratio / true ratio)| against log(1 + tolerance).
- `slightly` and `far`, of an amount that is 1 where it is neither (`annotators.edits.kind.Kind.amount`): `slightly`
  agrees up to 1 and is contradicted beyond 2; `far` and `a lot` agree from 1.5 and are contradicted below 0.75.
"""

from math import log
from typing import Final

from ...shards.geometry import wrap_degrees
from .clause import Clause, decided, within

STILL_DEG: Final = 1.0
"""A turn of less is none."""
STILL_LOG: Final = 0.02
"""A change of size or distance by less (its logarithm) is none."""


def turn_clauses(
    sense_name: str,
    angle_name: str,
    sense: int,
    angle: float,
    true: float,
    names: tuple[str, str],
    tolerance: float,
) -> list[Clause]:
    """Judge a claimed sense (+1, -1; 0: not said) and angle (0: not said) against the true turn in degrees.

    Args:
        names: what a positive and a negative turn are called.
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
        said = names[0] if sense > 0 else names[1]
        found.append(decided(sense_name, agrees, not agrees, f"says {said}, {actual}"))
    if angle:
        found.append(within(angle_name, min(errors), tolerance, f"says {angle:g} deg, {actual}"))
    return found


def ratio_clause(name: str, said: float, true: float, tolerance: float, actual: str) -> Clause:
    """Judge a claimed ratio."""
    return within(name, abs(log(said / true)), log(1 + tolerance), f"says {said:.2f}, {actual}")


def amount_clause(said: str, amount: float) -> Clause:
    """Judge `little` or `much` without a number."""
    true, false = (amount <= 1.0, amount > 2.0) if said == "little" else (amount >= 1.5, amount < 0.75)
    return decided("amount", true, false, f"says {said}, is {amount:.1f} of a middling one")
