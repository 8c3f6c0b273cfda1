"""Errors for users: what happened, where (key, stage, shard), and what to do.

The command line prints only the message, without a traceback, and exits with `exit_code`.
"""

from .redact import redact


class SpatialdataError(Exception):
    """The run cannot continue. The message is one line (what, where, what to do), without secrets."""

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(redact(message))


class BadInput(SpatialdataError):
    """An input of the user cannot be used: a configuration key, a folder, an archive, a missing package."""

    exit_code = 2


class Stopped(SpatialdataError):
    """The user or the system stopped the command; everything committed is kept. Not an error."""

    exit_code = 130


class WorkerLost(SpatialdataError):
    """A worker lost something it cannot get back: its GPU, or the process of its model. Another worker may succeed.

    The samples are not at fault, so none is rejected: on Ray the worker exits and a new one retries its unit.
    """
