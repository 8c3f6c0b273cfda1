"""A disk cache for outputs of frozen models: latents, text embeddings.

Invariant: the name of an entry is a digest of everything that determines its tensors (content, model and revision,
dtype, transform), and an entry is computed from its content only, never from a batch. So a changed image or model
never hits an old entry, and a hit equals what the model would compute. Entries are written with an atomic rename and
carry a checksum: a truncated or altered entry counts as missing. Any number of processes can share a folder.
"""

import fcntl
import hashlib
import json
import os
import re
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..shards.errors import BadInput, SpatialdataError

if TYPE_CHECKING:
    import torch
    from torch import nn

Tensors = dict[str, "torch.Tensor"]
Content = str | bytes | NDArray[Any] | tuple["Content", ...]
"""Pixels, a text, or a tuple of them that is encoded together."""
ContentT = TypeVar("ContentT", bound=Content)

_ABANDONED_S: Final = 3600
"""A temporary file older than this was left by a process that died."""


@dataclass(frozen=True)
class CacheSpec:
    """What determines an entry, besides its content.

    Args:
        model: hub id or folder of the model.
        revision: of its weights: a commit, `folder_revision` or `module_revision`. Never a branch, since branches move.
        dtype: dtype of its computation.
        transform: preprocessing and postprocessing with all their parameters, such as `512x512 lanczos, mode`.
    """

    model: str
    revision: str
    dtype: str
    transform: str

    def key(self, content: Content) -> str:
        """The entry's name: a SHA-256 in hexadecimal."""
        digest = hashlib.sha256()
        for part in _parts((self.model, self.revision, self.dtype, self.transform, content)):
            digest.update(part)
        return digest.hexdigest()


class TensorCache:
    """A folder of entries with least-recently-used eviction.

    Args:
        folder: created if missing; empty: no caching.
        limit_bytes: limit of the total size, respected by up to 16 concurrently writing processes.
    """

    def __init__(self, folder: str | Path, limit_bytes: int = 100 << 30) -> None:
        if limit_bytes < 1:
            raise BadInput(f"the cache limit must be at least 1 byte (got {limit_bytes} bytes)")
        self._folder = Path(folder).expanduser() if str(folder) else None
        self._limit = limit_bytes
        self._written = limit_bytes
        """Bytes written since the last sweep; the initial value makes the first write trigger one."""
        self.hits = self.misses = 0
        if self._folder:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise BadInput(f"cache folder {folder} cannot be created: {error}") from error

    def each(
        self, contents: Sequence[ContentT], spec: CacheSpec, make: Callable[[ContentT], Mapping[str, "torch.Tensor"]]
    ) -> list[Tensors]:
        """The tensors of each content, on the CPU: read from disk, or computed (one content at a time) and stored."""
        return [self.one(content, spec, make) for content in contents]

    def one(
        self, content: ContentT, spec: CacheSpec, make: Callable[[ContentT], Mapping[str, "torch.Tensor"]]
    ) -> Tensors:
        """The tensors of one content; see `each`."""
        if not self._folder:
            return _plain(make(content))
        key = spec.key(content)
        found = self.get(key)
        if found is None:
            found = _plain(make(content))
            self.put(key, found)
        return found

    def get(self, key: str) -> Tensors | None:
        """An entry, or None if it is missing or damaged."""
        found = _read(self._path(key))
        if found is None:
            self.misses += 1
            return None
        self.hits += 1
        with suppress(FileNotFoundError):  # evicted by another process in between
            os.utime(self._path(key))
        return found

    def put(self, key: str, tensors: Mapping[str, "torch.Tensor"]) -> None:
        """Store an entry. Raises SpatialdataError if it cannot be written."""
        from safetensors.torch import save

        data = save(_plain(tensors), metadata={"crc32": str(_checksum(tensors))})
        path = self._path(key)
        partial = path.with_name(f"{uuid.uuid4().hex}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(data)
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise SpatialdataError(
                f"cache folder {self._folder}: {error}: free space, lower the cache limit, or choose another folder"
            ) from error
        self._written += len(data)
        if self._written > self._limit // 128:
            self._sweep()

    def _path(self, key: str) -> Path:
        assert self._folder
        return self._folder / key[:2] / key[2:4] / f"{key}.safetensors"

    def _sweep(self) -> None:
        """Evict the least recently used entries down to 7/8 of the limit. Each process sweeps after writing 1/128 of
        the limit, so 16 processes stay below it. A process that finds another one sweeping waits, and so does not
        write until the folder is small enough."""
        assert self._folder
        with (self._folder / "sweep.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._written = 0
            found = sorted(_entries(self._folder))
            total = sum(size for _, size, _ in found)
            for _, size, path in found:
                if total <= self._limit * 7 // 8:
                    return
                total -= size
                path.unlink(missing_ok=True)


def folder_revision(folder: str | Path) -> str:
    """The revision of weights in a folder: the commit if it is a hub snapshot, else a digest of all its files. Raises
    BadInput if there is no folder."""
    path = Path(folder)
    if not path.is_dir():
        raise BadInput(f"weights folder {folder} does not exist")
    if commit := re.search(r"/snapshots/([0-9a-f]{40})(/|$)", path.absolute().as_posix()):
        return commit[1]
    digest = hashlib.sha256()
    for file in sorted(each for each in path.rglob("*") if each.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


def module_revision(module: "nn.Module") -> str:
    """A digest of all parameters and buffers, for a model that was not loaded from a folder."""
    import torch

    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _parts(content: Content) -> Iterator[bytes]:
    """An unambiguous byte encoding: each part is preceded by its type and its length."""
    if isinstance(content, tuple):
        yield f"tuple {len(content)}\0".encode()
        for each in content:
            yield from _parts(each)
    elif isinstance(content, np.ndarray):
        yield f"array {content.dtype.str} {content.shape}\0".encode()
        yield np.ascontiguousarray(content).tobytes()
    else:
        data = content.encode() if isinstance(content, str) else content
        yield f"{type(content).__name__} {len(data)}\0".encode()
        yield data


def _plain(tensors: Mapping[str, "torch.Tensor"]) -> Tensors:
    """Copies on the CPU that share no memory, as safetensors requires."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}


def _checksum(tensors: Mapping[str, "torch.Tensor"]) -> int:
    import torch

    crc = 0
    for name in sorted(tensors):
        data = tensors[name].detach().cpu().contiguous().flatten().view(torch.uint8)
        crc = zlib.crc32(data.numpy().data, zlib.crc32(name.encode(), crc))
    return crc


def _read(path: Path) -> Tensors | None:
    """Read the file at once: `safe_open` would open it twice, and another process may evict it in between."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        data = path.read_bytes()
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        checksum, found = header["__metadata__"]["crc32"], load(data)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None
    return found if checksum == str(_checksum(found)) else None


def _entries(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """(last use, bytes, path) of each entry. Also removes abandoned temporary files."""
    for path in folder.glob("??/??/*"):
        with suppress(FileNotFoundError):
            stat = path.stat()
            if path.suffix == ".safetensors":
                yield stat.st_mtime, stat.st_size, path
            elif time.time() - stat.st_mtime > _ABANDONED_S:
                path.unlink()
