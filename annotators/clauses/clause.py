"""What the geometry check says of one clause of an instruction, and by how much a number may be off.

Invariant: `contradicted` means that the geometry clearly says otherwise and `agrees` that it clearly says so; between
the two, and where the facts do not tell, a clause is `unchecked`.
"""

from dataclasses import dataclass
from typing import Final, Literal

Outcome = Literal["agrees", "contradicted", "unchecked"]
CLEARLY: Final = 2.0
"""A number is contradicted where its error is more than so many tolerances."""


@dataclass(frozen=True)
class Clause:
    """`name`: kind, object, relation, ...; `detail`: what is said and what is, as text."""

    name: str
    outcome: Outcome
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.detail}" if self.detail else self.name


@dataclass(frozen=True)
class Tolerances:
    """Within these a number agrees; beyond twice as much it is contradicted."""

    length: float = 0.15
    """Share of a move's length (at least 2 cm)."""
    angle: float = 7.5
    """Degrees."""
    factor: float = 0.1
    """Share of a change of size or of the camera's distance."""


DEFAULT: Final = Tolerances()


def within(name: str, error: float, tolerance: float, detail: str) -> Clause:
    """A clause on a number, from its error and its tolerance in the same unit."""
    if error <= tolerance:
        return Clause(name, "agrees", detail)
    return Clause(name, "contradicted" if error > CLEARLY * tolerance else "unchecked", detail)


def decided(name: str, true: bool, false: bool, detail: str) -> Clause:
    """A clause that is clearly so, clearly not so, or neither."""
    return Clause(name, "agrees" if true else "contradicted" if false else "unchecked", detail)
