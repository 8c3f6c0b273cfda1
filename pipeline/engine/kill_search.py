"""Bisection for the samples of a unit that kill their worker.

Invariant: the number of trials per unit is bounded (about 2 k log2 n for k such samples among n), and the search ends
with a set of samples to leave out, so a unit is never retried forever.
"""

from dataclasses import dataclass, field

DEATHS_BEFORE_TRIALS = 3
DEATHS_OF_ONE = 2
ROUNDS = 2
"""Searches in one unit; after that, all its samples are left out."""


@dataclass
class Trials:
    """Trials of one unit of one layer whose worker died `DEATHS_BEFORE_TRIALS` times."""

    keys: tuple[str, ...]
    waiting: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    running: int = 0
    killers: set[str] = field(default_factory=set[str])
    _deaths_of_one: dict[str, int] = field(default_factory=dict[str, int])

    def __post_init__(self) -> None:
        self._halve(self.keys)

    def take(self) -> tuple[str, ...] | None:
        """The next keys to try together, or None if there are none now."""
        if not self.waiting:
            return None
        self.running += 1
        return self.waiting.pop()

    def survived(self) -> None:
        self.running -= 1

    def died(self, keys: tuple[str, ...]) -> None:
        """The worker that tried these keys (at least one) died. A single sample is blamed at its second death."""
        self.running -= 1
        key = "".join(keys[:1])
        if len(keys) > 1:
            self._halve(keys)
            return
        self._deaths_of_one[key] = self._deaths_of_one.get(key, 0) + 1
        if self._deaths_of_one[key] >= DEATHS_OF_ONE:
            self.killers.add(key)
        else:
            self.waiting.append(keys)

    @property
    def ended(self) -> bool:
        return not self.waiting and not self.running

    def _halve(self, keys: tuple[str, ...]) -> None:
        middle = (len(keys) + 1) // 2
        self.waiting += [part for part in (keys[middle:], keys[:middle]) if part]
