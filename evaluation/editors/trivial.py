"""Editors that show what a metric is worth: nothing done, everything right, and the loss of an editor's VAE."""

from typing import Protocol, runtime_checkable

from ...shards.codecs import U8, decode_image
from ...shards.errors import BadInput
from ..benchmarks import Benchmark
from .editor import Base, Editor, Task


class Copy(Base):
    """Returns the source: the score of doing nothing."""

    description = "copy"
    most_workers = 64

    def edit(self, task: Task) -> U8:
        return task.image


class Oracle(Base):
    """Returns the target: the best score that a metric gives."""

    description = "oracle"
    most_workers = 64

    def __init__(self, benchmark: Benchmark) -> None:
        self._benchmark = benchmark

    def edit(self, task: Task) -> U8:
        return decode_image(self._benchmark.member(task.key, "target"))


@runtime_checkable
class HasVae(Protocol):
    """An editor that works in the latents of a VAE."""

    def roundtrip(self, image: U8) -> U8:
        """An image (H, W, 3) resized as for an edit, encoded, decoded, and resized back; after `setup`."""
        ...


class Roundtrip(Base):
    """The source through an editor's VAE: the best preservation that this editor can reach. Instruction and
    seed have no effect."""

    def __init__(self, editor: Editor) -> None:
        if not isinstance(editor, HasVae):
            raise BadInput(
                f"{editor.description} has no VAE that can be used: give roundtrip: a diffusers pipeline, or a run of "
                "spatialdiff or spatialedit"
            )
        self._editor = editor
        self._vae: HasVae = editor
        self.description = f"roundtrip of {editor.description}"

    def setup(self) -> None:
        self._editor.setup()

    def edit(self, task: Task) -> U8:
        return self._vae.roundtrip(task.image)
