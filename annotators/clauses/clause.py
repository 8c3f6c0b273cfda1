"""The outcome of the geometry check for one clause of an instruction, and the tolerances of numbers.

Invariant: `agrees` means that the clause is clearly true, `contradicted` that it is clearly false. In between, and if
the facts do not decide, it is `unchecked`.
"""

from dataclasses import dataclass
from typing import Final, Literal

Outcome = Literal["agrees", "contradicted", "unchecked"]
CLEARLY: Final = 2.0
"""A number is contradicted if its error exceeds this many tolerances."""


@dataclass(frozen=True)
class Clause:
    """`name` is kind, object, relation, ...; `detail` says what is claimed and what is true."""

    name: str
    outcome: Outcome
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.detail}" if self.detail else self.name


@dataclass(frozen=True)
class Tolerances:
    """A number agrees within its tolerance and is contradicted beyond `CLEARLY` tolerances."""

    length: float = 0.15
    """Share of a move's length (at least 2 cm)."""
    angle: float = 7.5
    """Degrees."""
    factor: float = 0.1
    """Share of a change of size or of the camera's distance."""


DEFAULT: Final = Tolerances()


def number_clause(name: str, error: float, tolerance: float, detail: str) -> Clause:
    """A clause on a number. `error` and `tolerance` have the same unit."""
    if error <= tolerance:
        return Clause(name, "agrees", detail)
    return Clause(name, "contradicted" if error > CLEARLY * tolerance else "unchecked", detail)


def truth_clause(name: str, true: bool, false: bool, detail: str) -> Clause:
    """A clause that is clearly true, clearly false, or neither."""
    return Clause(name, "agrees" if true else "contradicted" if false else "unchecked", detail)
