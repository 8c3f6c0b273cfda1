"""What an editor is, and what it gets."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ...shards.codecs import U8
from ...shards.errors import SpatialdataError
from ...shards.schema import SampleRecord


@dataclass(frozen=True)
class Task:
    """One edit. An editor uses `image`, `instruction` and `seed`; what else it reads is said where it is defined."""

    key: str
    image: U8
    """The source, sRGB (H, W, 3)."""
    instruction: str
    seed: int
    """0 to 2**31 - 1; it depends on the run's seed and the key only."""
    path: Path
    """The source as PNG."""
    record: SampleRecord
    """All facts of the sample, for editors whose own instructions need some (SpatialEdit's red box)."""


class EditFailed(Exception):
    """The editor has no image for this sample; the message says why, in one line. Other samples are edited."""


class EditorGone(SpatialdataError):
    """The editor works for no sample any more, such as a server that is away. The run stops and can be resumed."""


class Editor(Protocol):
    """Turns a source and an instruction into an image. Made by `editors.registry.open_editor`."""

    @property
    def description(self) -> str:
        """For people, one line; predictions of two editors with one description can be continued by each other."""
        ...

    @property
    def most_workers(self) -> int:
        """How many threads may call `edit` at once."""
        ...

    def setup(self) -> None:
        """Load what is expensive; called once, before the first edit. Raises BadInput for what cannot be used."""
        ...

    def edit(self, task: Task) -> U8:
        """The edited image, sRGB (H, W, 3), of any size.

        Raises EditFailed, EditorGone; any other exception counts as a failure of this sample.
        """
        ...

    def close(self) -> None:
        """End all work at once; calls of `edit` in other threads may fail."""
        ...


class Base:
    """Defaults for editors that run in this process, one edit at a time."""

    description = ""
    most_workers = 1

    def setup(self) -> None:
        """Nothing to load."""

    def close(self) -> None:
        """Nothing to end."""
