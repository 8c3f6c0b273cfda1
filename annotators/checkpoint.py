"""Finds a model's files: a local folder, or a snapshot of a repository on the Hugging Face hub.

Invariant: `Checkpoint.revision` identifies what a stage loads: the hub's commit, or a digest of the folder's content.
It is stored as `revision` of every map. An error is one line that names what is missing and the command that gets it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..shards.errors import BadInput
from ..shards.extras import require

_HASHED_BYTES = 1 << 20
"""Bytes up to which a file of a local folder is hashed completely; of a larger file, the first and last this many."""


@dataclass(frozen=True)
class Checkpoint:
    """The local files of one model."""

    model: str
    """Name or path in the configuration."""
    folder: Path
    revision: str

    @property
    def name(self) -> str:
        """Name for `MapInfo.estimator`: the hub id, or the last component of a local path."""
        path = Path(self.model).expanduser()
        return path.resolve().name if path.exists() else self.model


def find_checkpoint(model: str, revision: str = "", *, files: Sequence[str] = ()) -> Checkpoint:
    """Find a local folder, or a hub repository's snapshot, which is downloaded if it is not in the cache.

    Args:
        revision: branch, tag or commit on the hub; empty: the default branch. For a local folder, any label; it is part
            of the layer's fingerprint.
        files: glob patterns of the required files; all files by default.

    Raises BadInput, with the command that downloads it, if there is neither.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return Checkpoint(model, folder, digest_of(folder))
    if folder.is_absolute() or model.startswith((".", "~")):
        raise BadInput(f"checkpoint folder {model} does not exist: give one that exists on every node, or a hub id")
    hub = require("huggingface_hub", "annotators")
    try:
        path = Path(hub.snapshot_download(model, revision=revision or None, allow_patterns=list(files) or None))
    except Exception as error:  # the hub's client raises many types of errors, all meaning: not available
        command = f"hf download {model}" + (f" --revision {revision}" if revision else "")
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise BadInput(
            f"checkpoint '{model}' is not in the hub's cache and cannot be downloaded ({reason}): run `{command}`, or "
            "set `model` to its folder"
        ) from None
    return Checkpoint(model, path, path.name)


def find_file(model: str, name: str, revision: str = "") -> Checkpoint:
    """Find a model that is a single file; `folder` of the result is that file.

    Args:
        model: the file itself, or a folder or hub repository that contains file `name`.

    Raises BadInput if there is no such file.
    """
    path = Path(model).expanduser()
    if path.is_file():
        return Checkpoint(model, path, digest_of(path))
    found = find_checkpoint(model, revision, files=[name])
    if not (found.folder / name).is_file():
        raise BadInput(f"checkpoint '{model}' has no file {name}: give the file itself as `model`")
    return Checkpoint(model, found.folder / name, found.revision)


def digest_of(path: Path) -> str:
    """`sha256:` and 16 hex digits of a hash of names, sizes and content; for large files, of their first and last
    MiB."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    for file in files:
        size = file.stat().st_size
        name = file.name if file == path else file.relative_to(path).as_posix()
        digest.update(f"{name}\0{size}\0".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(_HASHED_BYTES))
            if size > _HASHED_BYTES:
                stream.seek(max(_HASHED_BYTES, size - _HASHED_BYTES))
                digest.update(stream.read(_HASHED_BYTES))
    return f"sha256:{digest.hexdigest()[:16]}"
