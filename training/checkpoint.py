"""Checkpoints: OUT/checkpoints/<step>/. A run resumes from one as if it had never stopped.

Invariant: a folder whose name is a number is complete: it is written under a temporary name and renamed after fsync.
`checkpoint.json` holds recipe, configuration and data position; a run resumes only from a matching checkpoint.

A checkpoint holds `model/` (what the recipe saves, usable on its own), `ema/` (the same for the averaged weights, if
the run keeps them) and `state.pt` (optimizer, schedule, averaged weights). No random number state is saved, since each
step seeds its generators from seed, step and process.
"""

import errno
import fcntl
import hashlib
import json
import os
import pickle
import shutil
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from ..shards.errors import BadInput, SpatialdataError
from .config import differences

FOLDER: Final = "checkpoints"
FACTS: Final = "checkpoint.json"
STATE: Final = "state.pt"
MODEL: Final = "model"
EMA: Final = "ema"
_FORMAT: Final = 1
_PARTIAL: Final = ".half-"
_DELETED: Final = ".dropped-"
_PROBE_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Facts:
    """The content of `checkpoint.json`."""

    recipe: str
    config: Mapping[str, Any]
    samples_per_step: int
    """batch_size x accumulate x processes."""
    step: int
    data: Mapping[str, Any]
    """State of the stream."""

    @property
    def digest(self) -> str:
        """16 hex digits of a hash of recipe and configuration."""
        text = json.dumps([self.recipe, self.config], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def check(self, recipe: str, config: Mapping[str, Any], samples_per_step: int, folder: Path) -> None:
        """Raises BadInput if a run of this recipe and configuration cannot resume from the checkpoint; the message
        names the differences."""
        if recipe != self.recipe:
            raise BadInput(f"{folder} is a checkpoint of {self.recipe}, not of {recipe}: give another --out")
        found = differences(self.config, config)
        if samples_per_step != self.samples_per_step:
            found.append(f"batch_size x accumulate x processes ({self.samples_per_step}, here {samples_per_step})")
        if found:
            raise BadInput(
                f"{folder} is a checkpoint of another configuration; it differs in {', '.join(found)}: restore these "
                "values to resume, or give another --out (with `--set init_from=RUN` to start from its weights)"
            )


def weights_at(path: Path) -> Path:
    """The weights in the folder of a run (those of its newest checkpoint) or of a checkpoint; averaged ones if it has
    them. Other paths are returned as they are: a folder of weights, or a file.

    Raises BadInput if there is nothing, or a run without a checkpoint.
    """
    if not path.exists():
        raise BadInput(f"init_from {path} does not exist: give the folder of a run, of a checkpoint, or a LoRA file")
    if (path / FOLDER).is_dir():
        newest = Checkpoints(path, keep=1).newest()
        if newest is None:
            raise BadInput(f"init_from {path} is a run without a checkpoint: give another run")
        path = newest
    return best_weights(path) if (path / FACTS).is_file() else path


def find_checkpoint(out: Path, step: int | None = None) -> Path:
    """The checkpoint of a step, or the newest one. Raises BadInput if there is none."""
    checkpoints = Checkpoints(out, keep=1)
    found = checkpoints.newest() if step is None else checkpoints.of(step)
    if found is None:
        raise BadInput(f"{out} holds no checkpoint: give the --out folder of a run")
    return found


def best_weights(checkpoint: Path) -> Path:
    """The folder of the weights of a checkpoint: the averaged ones if it has them."""
    return checkpoint / EMA if (checkpoint / EMA).is_dir() else checkpoint / MODEL


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, out: Path, keep: int) -> None:
        self._folder = out / FOLDER
        self._keep = keep

    def newest(self) -> Path | None:
        """The folder of the newest complete checkpoint."""
        return (self._all() or [None])[-1]

    def of(self, step: int) -> Path:
        """The folder of the checkpoint of a step. Raises BadInput that lists the available steps."""
        path = self._folder / str(step)
        if path not in self._all():
            steps = ", ".join(each.name for each in self._all()) or "none"
            raise BadInput(f"no checkpoint of step {step} in {self._folder}: available steps: {steps}")
        return path

    @contextmanager
    def writing(self, facts: Facts) -> Generator[Path]:
        """Yields a folder to write a checkpoint into. On exit it becomes a checkpoint, and old ones beyond `keep` are
        deleted.

        Raises SpatialdataError if it cannot be written to disk.
        """
        partial, final = self._folder / f"{_PARTIAL}{facts.step}", self._folder / str(facts.step)
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            yield partial
            content = {"format": _FORMAT, "digest": facts.digest, **asdict(facts)}
            (partial / FACTS).write_text(json.dumps(content, indent=1), encoding="utf-8")
            _sync_all(partial)
            partial.rename(final)
            _sync(self._folder)
        except Exception as error:
            reason = _disk_problem(error, self._folder)
            shutil.rmtree(partial, ignore_errors=True)  # it may be what fills the disk
            if reason is None:
                raise
            raise SpatialdataError(f"checkpoint {final} cannot be written ({reason}): {what_to_do(reason)}") from error
        self._clean()

    def _all(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        found = [path for path in self._folder.iterdir() if path.name.isdecimal() and path.is_dir()]
        return sorted(found, key=lambda path: int(path.name))

    def _clean(self) -> None:
        """Delete old checkpoints. They are renamed first, so that a partly deleted folder never looks complete."""
        for path in self._all()[: -self._keep]:
            path.rename(path.with_name(_DELETED + path.name))
        for path in self._folder.iterdir():
            if path.name.startswith((_PARTIAL, _DELETED)):
                shutil.rmtree(path, ignore_errors=True)


def read_facts(folder: Path) -> Facts:
    """Read `checkpoint.json`. Raises SpatialdataError if it is damaged or of another format."""
    try:
        content = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        if content.pop("format") != _FORMAT:
            raise SpatialdataError(
                f"checkpoint {folder} was written by another version of spatialdata: resume with that version"
            )
        digest, facts = content.pop("digest"), Facts(**content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(folder, error) from error
    if digest != facts.digest:
        raise _damaged(folder, "its digest does not match its content")
    return facts


def write_state(state: Mapping[str, Any], folder: Path) -> None:
    """Save what a resumed run needs besides the weights: tensors and numbers by name."""
    import torch

    torch.save(dict(state), folder / STATE)


def read_state(folder: Path) -> dict[str, Any]:
    """The saved state of a checkpoint, on the CPU. Raises SpatialdataError if it is damaged."""
    import torch

    try:
        return torch.load(folder / STATE, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's text recommends to load it without checks
        raise _damaged(folder, f"{STATE} holds something else") from error
    except Exception as error:  # from the zip file or the disk
        raise _damaged(folder, error) from error


@contextmanager
def lock_run(out: Path) -> Generator[None]:
    """Lock OUT for this run. Raises BadInput if another process trains into it."""
    with (out / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(f"another run is training into {out}: wait for it, or give another --out") from None
        yield


def _damaged(folder: Path, why: object) -> SpatialdataError:
    reason = (str(why).splitlines() or [type(why).__name__])[0]
    return SpatialdataError(
        f"checkpoint {folder} is damaged ({reason}): remove it and rerun to resume from the previous checkpoint"
    )


def what_to_do(error: OSError) -> str:
    """The advice for an error of a disk or a connection."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return "free space and rerun the command" if full else "mend this and rerun the command"


def _disk_problem(error: Exception, folder: Path) -> OSError | None:
    """Why a write failed, if the disk is the reason.

    safetensors and torch raise errors of their own for a full disk, whose texts change between versions. So another
    file is written to learn the reason, while the failed one is still there.
    """
    if isinstance(error, OSError):
        return error
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(_PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as found:
        return found
    return None


def _sync_all(folder: Path) -> None:
    for path in folder.rglob("*"):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
