"""What a run tells about itself, step by step: DIR/metrics.jsonl, and tensorboard or wandb beside it.

Invariant: metrics.jsonl has one line for each step, in order, each written out before the next step begins; lines of
steps that a resumed run takes again are removed first. Only the main process writes.
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
from .config import TrainConfig

if TYPE_CHECKING:
    from accelerate import Accelerator

FILE: Final = "metrics.jsonl"


class Metrics:
    """The file of a run that goes on behind `step`.

    Args:
        write: whether this is the main process; others write nothing.
    """

    def __init__(self, folder: Path, step: int, *, write: bool) -> None:
        self._file = None
        if write:
            path = folder / FILE
            _cut(path, step)
            self._file = path.open("a", encoding="utf-8")

    def write(self, values: Mapping[str, float]) -> None:
        """One step. Numbers that JSON has no word for are written as null."""
        if self._file:
            plain = {name: value if math.isfinite(value) else None for name, value in values.items()}
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
    """The lines of a run so far; a last one that is half written is left out."""
    return [json.loads(line) for line in _whole_lines(folder / FILE)]


def start_trackers(accelerator: "Accelerator", name: str, config: TrainConfig, folder: Path, step: int) -> None:
    """Begin to log to tensorboard (its later steps are taken back) or wandb (the same run goes on), in `folder`.

    Nothing for `none`. Raises BadInput where wandb does not let it.
    """
    if config.log == "none":
        return
    told: dict[str, Any] = {
        "tensorboard": {"purge_step": step + 1} if step else {},
        "wandb": {"dir": str(folder), "name": folder.resolve().name, "config": config.model_dump(mode="json")},
    }
    if config.log == "wandb" and accelerator.is_main_process:
        told["wandb"] |= {"id": _wandb_run(folder, step), "resume": "allow"}
    try:
        accelerator.init_trackers(name, init_kwargs=told)
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "wandb":
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadInput(
            f"wandb does not start ({reason}): `wandb login`, or set WANDB_MODE=offline in the environment, or set "
            "log: none"
        ) from None


def _wandb_run(folder: Path, step: int) -> str:
    """The id of the run: that of the start before where it goes on behind `step`, else a new one."""
    kept = folder / "wandb" / "id"
    if step and kept.is_file():
        return kept.read_text(encoding="utf-8")
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(uuid.uuid4().hex, encoding="utf-8")
    return kept.read_text(encoding="utf-8")


def show_picture(accelerator: "Accelerator", picture: NDArray[np.uint8], step: int) -> None:
    """Log a picture (H, W, 3) to what the metrics go to."""
    for tracker in accelerator.trackers:
        given: dict[str, Any] = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
        tracker.log_images({"samples": picture[None]}, step=step, **given)


def check_logger(kind: str) -> None:
    """Raises BadInput where the package that a configuration logs with is not installed."""
    if kind == "none":
        return
    found = find_spec(kind)
    if found is None or found.origin is None:  # without one it is a mere folder: wandb leaves such where it ran
        extra = "train" if kind == "tensorboard" else kind
        raise BadInput(
            f"log is {kind}, which is not installed: `pip install 'spatialdata-builder[{extra}]'`, or set log: none"
        )


def _whole_lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    return [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]


def _cut(path: Path, step: int) -> None:
    """Keep the lines up to a step."""
    lines = _whole_lines(path)
    kept = [line for line in lines if json.loads(line)["step"] <= step]
    half = path.with_name(f".{path.name}.tmp")
    half.write_text("".join(kept), encoding="utf-8")
    half.replace(path)
