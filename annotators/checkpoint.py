"""Where a model's files are: a folder, or a snapshot of a repository on the Hugging Face hub.

Invariant: what a stage loads is named: `Checkpoint.revision` is the hub's commit, or a digest of the folder's content,
and goes into every map's `revision`. What is missing is one line that names it and the command that mends it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..shards.errors import BadInput
from ..shards.extras import require

_WHOLE = 1 << 20
"""Bytes up to which a file of a local folder is hashed whole; of a longer one its first and last so many."""


@dataclass(frozen=True)
class Checkpoint:
    """The files of one model, here."""

    model: str
    """As the configuration names it."""
    folder: Path
    revision: str

    @property
    def name(self) -> str:
        """For `MapInfo.estimator`: the hub id, or the own name of a folder or file, without where it lies."""
        path = Path(self.model).expanduser()
        return path.resolve().name if path.exists() else self.model


def find_checkpoint(model: str, revision: str = "", *, files: Sequence[str] = ()) -> Checkpoint:
    """A local folder as it stands, or a hub repository's snapshot, fetched where the cache lacks it.

    Args:
        revision: branch, tag or commit on the hub; empty: the default branch. For a local folder a free label, which
            enters the layer's fingerprint.
        files: glob patterns of the files that are needed; all by default.

    Raises BadInput where there is neither, naming the command that fetches it.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return Checkpoint(model, folder, digest_of(folder))
    if folder.is_absolute() or model.startswith((".", "~")):
        raise BadInput(f"checkpoint folder {model} does not exist: give a folder on every node, or a hub id")
    hub = require("huggingface_hub", "annotators")
    try:
        path = Path(hub.snapshot_download(model, revision=revision or None, allow_patterns=list(files) or None))
    except Exception as error:  # the hub's client raises many kinds, all of which mean: not here
        command = f"hf download {model}" + (f" --revision {revision}" if revision else "")
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise BadInput(
            f"checkpoint '{model}' is not in the hub's cache and cannot be fetched ({reason}): run `{command}`, or set "
            "`model` to a folder that holds it"
        ) from None
    return Checkpoint(model, path, path.name)


def find_file(model: str, name: str, revision: str = "") -> Checkpoint:
    """The same for a model of one file: `folder` is then that file.

    Args:
        model: the file itself, a folder that holds `name`, or a hub repository that does.

    Raises BadInput where there is no such file.
    """
    path = Path(model).expanduser()
    if path.is_file():
        return Checkpoint(model, path, digest_of(path))
    found = find_checkpoint(model, revision, files=[name])
    if not (found.folder / name).is_file():
        raise BadInput(f"checkpoint '{model}' holds no file {name}: give the file itself as `model`")
    return Checkpoint(model, found.folder / name, found.revision)


def digest_of(path: Path) -> str:
    """`sha256:` and 16 hex digits over names, sizes and content; of large files over both ends."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    for file in files:
        size = file.stat().st_size
        name = file.name if file == path else file.relative_to(path).as_posix()
        digest.update(f"{name}\0{size}\0".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(_WHOLE))
            if size > _WHOLE:
                stream.seek(max(_WHOLE, size - _WHOLE))
                digest.update(stream.read(_WHOLE))
    return f"sha256:{digest.hexdigest()[:16]}"
