"""What stops a run early: Ctrl-C, SIGTERM, SIGUSR1 (Slurm's warning before a time limit), or `max_hours`.

Invariant: once steps run, a stop takes effect after the current step, in all processes after the same one, and with a
checkpoint. Before the first step there is nothing to save, and a signal raises KeyboardInterrupt at once. So does a
second Ctrl-C more than `AGAIN_S` after the first, for a person who does not want to wait for the step.
"""

import signal
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from ..shards.errors import Stopped

if TYPE_CHECKING:
    from accelerate import Accelerator

AGAIN_S: Final = 2.0
"""Launchers forward a signal that the terminal has already sent: closer ones count as one."""
MAX_HOURS: Final = "max_hours"
SIGNALS: Final = ("SIGUSR1", "SIGTERM", "SIGINT")
_REASONS: Final = ("", MAX_HOURS, *SIGNALS)
"""In order of precedence: processes may have different ones."""


def exit_code(reason: str) -> int:
    """The exit code of a run that stopped for this reason: 0 if that was planned, so that a job counts as done."""
    return Stopped.exit_code if reason in ("SIGTERM", "SIGINT") else 0


class StopRequest:
    """Notes the signals while it is entered. In threads other than the main one, only `max_hours` has an effect.

    Args:
        max_hours: hours from now; 0: no limit.
    """

    def __init__(self, max_hours: float = 0) -> None:
        self._deadline = time.monotonic() + 3600 * max_hours if max_hours else float("inf")
        self._signal = ""
        self._first = 0.0
        self._waits = False
        self._former: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            numbers = [signal.Signals[name] for name in SIGNALS]
            self._former = {number: signal.signal(number, self._on_signal) for number in numbers}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    @property
    def signal(self) -> str:
        """Name of the first signal; empty if there was none."""
        return self._signal

    def wait_for_steps(self) -> None:
        """From now on, signals do not raise: `reason` is asked after every step."""
        self._waits = True

    def reason(self, accelerator: "Accelerator") -> str:
        """Why to stop after this step, the same in all processes; empty to go on. Collective."""
        import torch

        own = self._signal or (MAX_HOURS if time.monotonic() > self._deadline else "")
        found: Any = accelerator.gather(torch.tensor([_REASONS.index(own)], device=accelerator.device))
        return _REASONS[int(found.max())]

    def _on_signal(self, number: int, _: object) -> None:
        now = time.monotonic()
        again = number == signal.SIGINT and self._signal == "SIGINT" and now - self._first > AGAIN_S
        self._first = self._first if self._signal else now
        self._signal = self._signal or signal.Signals(number).name
        if again or not self._waits:
            raise KeyboardInterrupt
