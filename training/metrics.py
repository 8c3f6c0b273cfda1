"""Metrics of each step: OUT/metrics.jsonl, and tensorboard or wandb if configured.

Invariant: metrics.jsonl has one line per step, in order, flushed before the next step begins. A resumed run first
removes the lines of steps that it will repeat. Only the main process writes. A run with initial weights (`init_from`)
has a line of step 0 that says which.
"""

import json
import math
import uuid
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from ..shards.errors import BadInput
from ..shards.extras import install_command
from .config import TrainConfig

if TYPE_CHECKING:
    from accelerate import Accelerator

FILE: Final = "metrics.jsonl"


class Metrics:
    """The metrics file of a run that starts after `step`.

    Args:
        write: whether this is the main process; other processes write nothing.
    """

    def __init__(self, folder: Path, step: int, *, write: bool) -> None:
        self._file = None
        if write:
            path = folder / FILE
            _truncate(path, step)
            self._file = path.open("a", encoding="utf-8")

    def write(self, values: Mapping[str, Any]) -> None:
        """Write one line. Infinite and NaN values, which JSON lacks, are written as null."""
        if self._file:
            plain = {
                name: None if isinstance(value, float) and not math.isfinite(value) else value
                for name, value in values.items()
            }
            self._file.write(json.dumps(plain) + "\n")
            self._file.flush()

    def __enter__(self) -> "Metrics":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file:
            self._file.close()


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """All lines of a run so far, without an incomplete last line."""
    return [json.loads(line) for line in _complete_lines(folder / FILE)]


def start_trackers(accelerator: "Accelerator", name: str, config: TrainConfig, folder: Path, step: int) -> None:
    """Start logging to tensorboard (events after `step` are purged) or wandb (the same run is resumed), in `folder`.

    Does nothing for `log: none`. Raises BadInput if wandb cannot start.
    """
    if config.log == "none":
        return
    options: dict[str, Any] = {
        "tensorboard": {"purge_step": step + 1} if step else {},
        "wandb": {"dir": str(folder), "name": folder.resolve().name, "config": config.model_dump(mode="json")},
    }
    if config.log == "wandb" and accelerator.is_main_process:
        options["wandb"] |= {"id": _wandb_run(folder, step), "resume": "allow"}
    try:
        accelerator.init_trackers(name, init_kwargs=options)
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "wandb":
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadInput(
            f"wandb cannot start ({reason}): run `wandb login`, or set WANDB_MODE=offline in the environment, or set "
            "log: none"
        ) from None


def _wandb_run(folder: Path, step: int) -> str:
    """The wandb run id: the stored one if the run resumes (`step` > 0), else a new one."""
    stored = folder / "wandb" / "id"
    if step and stored.is_file():
        return stored.read_text(encoding="utf-8")
    stored.parent.mkdir(exist_ok=True)
    stored.write_text(uuid.uuid4().hex, encoding="utf-8")
    return stored.read_text(encoding="utf-8")


def show_picture(accelerator: "Accelerator", picture: NDArray[np.uint8], name: str, step: int) -> None:
    """Log an image (H, W, 3) to the trackers of the run."""
    for tracker in accelerator.trackers:
        options: dict[str, Any] = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
        tracker.log_images({name: picture[None]}, step=step, **options)


def check_logger(kind: str) -> None:
    """Raises BadInput if the package that `log` needs is not installed."""
    if kind == "none":
        return
    found = find_spec(kind)
    if found is None or found.origin is None:  # no origin: only a folder of that name, such as wandb leaves behind
        extra = "train" if kind == "tensorboard" else kind
        raise BadInput(f"log is {kind}, which is not installed: run `{install_command(extra)}`, or set log: none")


def _complete_lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    return [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]


def _truncate(path: Path, step: int) -> None:
    """Remove the lines of later steps; of a new run (`step` 0), all."""
    lines = _complete_lines(path)
    kept = [line for line in lines if step and json.loads(line)["step"] <= step]
    partial = path.with_name(f".{path.name}.tmp")
    partial.write_text("".join(kept), encoding="utf-8")
    partial.replace(path)
