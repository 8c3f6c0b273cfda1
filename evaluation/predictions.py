"""Predictions on disk: one image per sample of a benchmark set, and why the others are missing.

Invariant: `<key>.png` is complete (it is written under another name and renamed), and `predictions.json` names the set,
the editor and the seed that made it. A key with an image has no error.
"""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..shards.codecs import U8, CodecError, decode_image, encode_image
from ..shards.errors import BadInput
from ..shards.index import as_json
from ..shards.redact import redact
from ..shards.writer import replace_file
from .benchmarks import Benchmark, Digest

MANIFEST: Final = "predictions.json"
ERRORS: Final = "errors.jsonl"
MAX_ERROR: Final = 600
"""Characters of an error that are kept."""


class Manifest(BaseModel):
    """`predictions.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["spatialdata-predictions-1"] = "spatialdata-predictions-1"
    benchmark: Digest = Field(description="digest of the set")
    editor: str = Field(min_length=1, description="for people: what made the images")
    seed: int


@dataclass(frozen=True)
class Predictions:
    """The predictions of one editor. Made by `read_predictions` or `open_predictions`."""

    folder: Path
    manifest: Manifest
    keys: tuple[str, ...]
    """All keys of the set, in its order."""
    errors: dict[str, str]
    """Why a key has no image, for those that the editor failed on."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def editor(self) -> str:
        return self.manifest.editor

    @property
    def seed(self) -> int:
        return self.manifest.seed

    def path(self, key: str) -> Path:
        """Where the image of a key is, or would be."""
        return self.folder / f"{key}.png"

    def has(self, key: str) -> bool:
        """Whether a key has an image that can be read to its end."""
        try:
            decode_image(self.path(key).read_bytes())
        except (OSError, CodecError):
            return False
        return True

    def add(self, key: str, image: U8) -> None:
        """Store the image (H, W, 3) of a key as PNG; it replaces one that is there. Safe in threads."""
        with replace_file(self.path(key)) as file:
            file.write(encode_image(image, "png"))
        with self._lock:
            self.errors.pop(key, None)

    def fail(self, key: str, error: str) -> None:
        """Append why a key has no image to `errors.jsonl`, without secrets. Safe in threads."""
        text = " ".join(redact(error).split())[:MAX_ERROR]
        with self._lock:
            self.errors[key] = text
            with (self.folder / ERRORS).open("a", encoding="utf-8") as file:
                file.write(_line(key, text))

    def tidy(self) -> None:
        """Write `errors.jsonl` again: one line for each key that still has no image, in the order of the set."""
        path = self.folder / ERRORS
        if not self.errors:
            path.unlink(missing_ok=True)
            return
        with replace_file(path) as file:
            file.write("".join(_line(key, self.errors[key]) for key in self.keys if key in self.errors).encode())


def read_predictions(folder: str | Path, benchmark: Benchmark) -> Predictions:
    """Open the predictions for a benchmark set.

    Raises BadInput if the folder holds none, or those for another set.
    """
    folder = Path(folder)
    manifest = _read_manifest(folder)
    if manifest is None:
        raise BadInput(
            f"{folder} holds no predictions ({MANIFEST} is missing): make them with `spatialdata edit "
            f"{benchmark.folder} --with EDITOR --out {folder}`"
        )
    if manifest.benchmark != benchmark.digest:
        raise BadInput(
            f"{folder} holds predictions for another benchmark set (digest {manifest.benchmark[:16]}); "
            f"{benchmark.name} in {benchmark.folder} has {benchmark.digest[:16]}: use the set that they were made for"
        )
    return Predictions(folder, manifest, benchmark.keys, _read_errors(folder, benchmark.keys))


def open_predictions(folder: str | Path, benchmark: Benchmark, *, editor: str, seed: int) -> Predictions:
    """Predictions to add to: new ones, or those of an earlier run with the same editor and seed.

    Raises BadInput if the folder holds predictions for another set, editor or seed, or other content.
    """
    folder = Path(folder)
    wanted = Manifest(benchmark=benchmark.digest, editor=editor, seed=seed)
    found = _read_manifest(folder)
    if found is None:
        if folder.exists() and (not folder.is_dir() or any(not path.name.startswith(".") for path in folder.iterdir())):
            raise BadInput(f"{folder} has other content: use an empty folder as --out")
        with replace_file(folder / MANIFEST) as file:
            file.write(as_json(wanted.model_dump()))
    elif found.benchmark == wanted.benchmark and found != wanted:
        raise BadInput(
            f"{folder} holds predictions of {found.editor}, seed {found.seed}, not of {editor}, seed {seed}: use "
            "another --out"
        )
    predictions = read_predictions(folder, benchmark)
    predictions.tidy()  # a process that was killed may have left half a line, to which nothing can be appended
    return predictions


def _read_manifest(folder: Path) -> Manifest | None:
    """None where there is no such file. Raises BadInput where it is invalid."""
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BadInput(f"{path}: {where}: {first['msg']}: correct it, or use another folder") from None


def _read_errors(folder: Path, keys: tuple[str, ...]) -> dict[str, str]:
    """The last error of each key that has no image. A line that a killed process left unfinished is ignored."""
    try:
        lines = (folder / ERRORS).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    found: dict[str, str] = {}
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, Mapping) and "key" in entry and "error" in entry:
            found[str(entry["key"])] = str(entry["error"])
    return {key: found[key] for key in keys if key in found and not (folder / f"{key}.png").exists()}


def _line(key: str, error: str) -> str:
    return json.dumps({"key": key, "error": error}, ensure_ascii=False) + "\n"
