"""Retries with exponential backoff for remote reads."""

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

from ..errors import SpatialdataError

Result = TypeVar("Result")
_ATTEMPTS: Final = 6
_FIRST_S: Final = 0.2
_FINAL: Final = (FileNotFoundError, PermissionError, IsADirectoryError, SpatialdataError)
"""Errors that are not transient: raised at once."""


def call_with_retries(
    call: Callable[[], Result], what: str, attempts: int = _ATTEMPTS, first_s: float = _FIRST_S
) -> Result:
    """`call()`, retried after 0.2, 0.4, 0.8, ... seconds (plus up to a quarter at random) if it fails.

    Errors for a missing or forbidden file are raised at once. Raises SpatialdataError that names `what` after the last
    attempt.
    """
    for attempt in range(attempts):
        try:
            return call()
        except _FINAL:
            raise
        # Every file system raises errors of its own libraries (botocore, aiohttp), which have no other common base.
        except Exception as error:
            if attempt == attempts - 1:
                raise SpatialdataError(f"{what} cannot be read after {attempts} attempts: {error}") from error
            time.sleep(first_s * 2**attempt * random.uniform(1, 1.25))
    raise AssertionError("unreachable")
