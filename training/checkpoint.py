"""Checkpoints: DIR/checkpoints/<step>/, from which the same command goes on as if it had never stopped.

Invariant: a folder whose name is a number is whole: it is filled under another name, and renamed when all of it is on
the disk. `checkpoint.json` tells of which recipe and configuration it is and where its data stood; a run takes no
other's.

A checkpoint holds `model/` (what the recipe saves, for use elsewhere), `ema/` (the same of the averaged weights, where
a run has them) and `state.pt` (optimizer, schedule, averaged weights). There is no state of random numbers, since each
step draws its own from seed, step and process.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from ..shards.errors import BadInput, SpatialdataError
from .config import differences

FACTS: Final = "checkpoint.json"
STATE: Final = "state.pt"
MODEL: Final = "model"
EMA: Final = "ema"
_FORMAT: Final = 1
_HALF: Final = ".half-"
_DROPPED: Final = ".dropped-"


@dataclass(frozen=True)
class Facts:
    """What a checkpoint says of itself."""

    recipe: str
    config: Mapping[str, Any]
    samples_per_step: int
    """batch_size x accumulate x processes."""
    step: int
    data: Mapping[str, Any]
    """Of the stream."""

    @property
    def digest(self) -> str:
        """16 hex digits over recipe and configuration."""
        text = json.dumps([self.recipe, self.config], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def check(self, recipe: str, config: Mapping[str, Any], samples_per_step: int, folder: Path) -> None:
        """Raises BadInput where a run of these would not be the one of this checkpoint, saying what differs."""
        if recipe != self.recipe:
            raise BadInput(f"{folder} is a checkpoint of {self.recipe}, not of {recipe}: give another --out")
        found = differences(self.config, config)
        if samples_per_step != self.samples_per_step:
            found.append(f"batch_size x accumulate x processes ({self.samples_per_step}, here {samples_per_step})")
        if found:
            raise BadInput(
                f"{folder} is a checkpoint of another configuration; it differs in {', '.join(found)}: set these back "
                "to go on, or give another --out"
            )


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, out: Path, keep: int) -> None:
        self._folder = out / "checkpoints"
        self._keep = keep

    def newest(self) -> Path | None:
        """The folder of the last complete one."""
        return (self._all() or [None])[-1]

    def of(self, step: int) -> Path:
        """The folder of one. Raises BadInput naming those that there are."""
        path = self._folder / str(step)
        if path not in self._all():
            steps = ", ".join(each.name for each in self._all()) or "none"
            raise BadInput(f"no checkpoint of step {step} in {self._folder}; there are: {steps}")
        return path

    @contextmanager
    def writing(self, facts: Facts) -> Generator[Path]:
        """A folder to fill with a checkpoint, which is one when it is left; the oldest beyond `keep` are dropped then.

        Raises SpatialdataError where the disk does not take it.
        """
        half, whole = self._folder / f"{_HALF}{facts.step}", self._folder / str(facts.step)
        try:
            shutil.rmtree(half, ignore_errors=True)
            half.mkdir(parents=True)
            yield half
            told = {"format": _FORMAT, "digest": facts.digest, **asdict(facts)}
            (half / FACTS).write_text(json.dumps(told, indent=1), encoding="utf-8")
            _to_disk(half)
            half.rename(whole)
            _sync(self._folder)
        except Exception as error:
            if not _of_the_disk(error):
                raise
            raise SpatialdataError(
                f"checkpoint {whole} cannot be written ({error}): free space and run the same command again"
            ) from error
        self._clean()

    def _all(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        found = [path for path in self._folder.iterdir() if path.name.isdecimal() and path.is_dir()]
        return sorted(found, key=lambda path: int(path.name))

    def _clean(self) -> None:
        """Drop old ones, under another name first: a folder that is half gone must not look whole."""
        for path in self._all()[: -self._keep]:
            path.rename(path.with_name(_DROPPED + path.name))
        for path in self._folder.iterdir():
            if path.name.startswith((_HALF, _DROPPED)):
                shutil.rmtree(path, ignore_errors=True)


def read_facts(folder: Path) -> Facts:
    """Raises SpatialdataError where they are damaged or of a later format."""
    try:
        told = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        if told.pop("format") != _FORMAT:
            raise SpatialdataError(f"checkpoint {folder} is of another version of spatialdata: use that one")
        digest, facts = told.pop("digest"), Facts(**told)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(folder, error) from error
    if digest != facts.digest:
        raise _damaged(folder, "its digest is wrong")
    return facts


def write_state(state: Mapping[str, Any], folder: Path) -> None:
    """Keep what training goes on with, besides the weights: tensors and numbers by name."""
    import torch

    torch.save(dict(state), folder / STATE)


def read_state(folder: Path) -> dict[str, Any]:
    """Of a checkpoint, on the CPU. Raises SpatialdataError where it is damaged."""
    import torch

    try:
        return torch.load(folder / STATE, map_location="cpu", weights_only=True)
    except Exception as error:  # of unpickling, of zip files, of the disk
        raise _damaged(folder, error) from error


@contextmanager
def only_run(out: Path) -> Generator[None]:
    """Hold DIR for this run. Raises BadInput where another process trains into it."""
    with (out / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(f"another run is training into {out}: wait for it, or give another --out") from None
        yield


def _damaged(folder: Path, why: object) -> SpatialdataError:
    reason = (str(why).splitlines() or [type(why).__name__])[0]
    return SpatialdataError(
        f"checkpoint {folder} is damaged ({reason}): remove it, and the run goes on from the one before"
    )


def _of_the_disk(error: Exception) -> bool:
    """Also in the words of safetensors and torch, which have errors of their own for a disk that is full."""
    return isinstance(error, OSError) or any(words in str(error) for words in ("I/O error", "inline_container"))


def _to_disk(folder: Path) -> None:
    for path in folder.rglob("*"):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
