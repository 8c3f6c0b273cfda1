"""Errors that are for people: what happened, where (key, stage, shard), and what to do.

The command line prints the message alone, without a traceback, and exits with `exit_code`.
"""

from .redact import redact


class SpatialdataError(Exception):
    """The run cannot go on. The message is one line (what, where, what to do), without secrets."""

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(redact(message))


class BadInput(SpatialdataError):
    """What the user gave cannot be used: a configuration key, a folder, an archive, a missing package."""

    exit_code = 2


class WorkerLost(SpatialdataError):
    """What a worker needs is gone for good: its GPU, or a model in a process of its own. Another worker may go on.

    Nothing is wrong with the samples, so none is rejected: on Ray the worker ends and its unit is tried by a new one.
    """
