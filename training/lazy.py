"""Frozen models that are loaded when they are first used, for runs whose encodings are all in the cache."""

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any


class LazyParts:
    """Models of a pipeline, each an attribute of it that is None until it is loaded.

    Args:
        pipeline: some of the parts may already be loaded.
        names: of the parts.
        load: (name) -> the part, frozen and on its device.
    """

    def __init__(self, pipeline: Any, names: Sequence[str], load: Callable[[str], Any]) -> None:
        self._pipeline = pipeline
        self._names = tuple(names)
        self._load = load
        self._restores = False

    def use(self, *names: str) -> None:
        """Load the parts that are not loaded. Outside `restored`, they stay, and a line is logged."""
        for name in names:
            if getattr(self._pipeline, name) is not None:
                continue
            if not self._restores:
                logging.getLogger(__name__).warning("loading %s: not all that it encodes is in the cache", name)
            setattr(self._pipeline, name, self._load(name))

    @contextmanager
    def restored(self) -> Generator[None]:
        """Afterwards only the parts are loaded that were loaded before."""
        absent = [name for name in self._names if getattr(self._pipeline, name) is None]
        self._restores = True
        try:
            yield
        finally:
            self._restores = False
            for name in absent:
                setattr(self._pipeline, name, None)
