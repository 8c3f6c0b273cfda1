"""A disk cache for outputs of frozen models: latents, text embeddings.

Invariant: the name of an entry is a digest of everything that determines its tensors (content, model and revision,
dtype, transform, rows per call), and its tensors do not depend on the contents that are encoded with it. So a changed
image or model never hits an old entry, and a hit equals what the model would compute. Entries are written with an
atomic rename and carry a checksum: a truncated or altered entry counts as missing. Any number of processes can share a
folder.
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
from threading import Lock
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

Make = Callable[[Sequence[ContentT]], Mapping[str, "torch.Tensor"]]
"""Encodes contents to tensors (contents, ...) by name."""

ROWS: Final = 4
"""Default number of contents in a call: enough to use a GPU well, and few to compute twice where a call is not full."""
_KEPT_CALLS: Final = 64
"""An entry that was prefetched, but not used, is forgotten after this many calls: more than are ahead at a time."""
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
        rows: number of contents in each call of the model. Kernels round differently for another number of rows, so
            every call has exactly this many; the last one repeats a content.
    """

    model: str
    revision: str
    dtype: str
    transform: str
    rows: int = ROWS

    def key(self, content: Content) -> str:
        """The entry's name: a SHA-256 in hexadecimal."""
        digest = hashlib.sha256()
        for part in _parts((self.model, self.revision, self.dtype, self.transform, str(self.rows), content)):
            digest.update(part)
        return digest.hexdigest()


@dataclass
class CacheStats:
    """What a `TensorCache` has done: numbers of entries, and bytes."""

    hits: int = 0
    misses: int = 0
    evicted: int = 0
    bytes_written: int = 0


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
        self.stats = CacheStats()
        self._ahead: dict[str, tuple[int, Tensors]] = {}
        """Entries that were read ahead, by key, each with the number of its call of `prefetch`."""
        self._calls = 0
        self._lock = Lock()
        if self._folder:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise BadInput(f"cache folder {folder} cannot be created: {error}") from error

    def each(self, contents: Sequence[ContentT], spec: CacheSpec, make: Make[ContentT]) -> list[Tensors]:
        """The tensors of each content: read from disk, on the CPU, or computed, on the model's device, and stored.

        Args:
            contents: of one shape.
            make: called with `spec.rows` contents; returns tensors (spec.rows, ...) by name.
        """
        if not self._folder:
            return in_rows(contents, spec.rows, make)
        keys = [spec.key(content) for content in contents]
        found = {key: tensors for key in dict.fromkeys(keys) if (tensors := self.get(key)) is not None}
        missing = {key: content for key, content in zip(keys, contents, strict=True) if key not in found}
        found |= self._compute(missing, spec, make)
        return [found[key] for key in keys]

    def fill(self, contents: Sequence[ContentT], spec: CacheSpec, make: Make[ContentT]) -> None:
        """Compute and store the entries that do not exist. Existing ones are not read."""
        assert self._folder, "without a folder there is nothing to fill"
        keys = {spec.key(content): content for content in contents}
        missing = {key: content for key, content in keys.items() if not _touch(self._path(key))}
        self.stats.hits += len(keys) - len(missing)
        self.stats.misses += len(missing)
        self._compute(missing, spec, make)

    def prefetch(self, contents: Sequence[ContentT], spec: CacheSpec) -> None:
        """Read the entries of these contents now, in another thread than the one that will call `each`.

        What is not used is forgotten after some more calls.
        """
        if not self._folder:
            return
        found = {key: tensors for key in map(spec.key, contents) if (tensors := _read(self._path(key))) is not None}
        with self._lock:
            self._calls += 1
            kept = {key: each for key, each in self._ahead.items() if each[0] > self._calls - _KEPT_CALLS}
            self._ahead = kept | {key: (self._calls, tensors) for key, tensors in found.items()}

    def _compute(self, missing: Mapping[str, ContentT], spec: CacheSpec, make: Make[ContentT]) -> dict[str, Tensors]:
        """Compute and store the entries of these contents, by key."""
        made = dict(zip(missing, in_rows(list(missing.values()), spec.rows, make), strict=True))
        for key, tensors in made.items():
            self.put(key, tensors)
        return made

    def get(self, key: str) -> Tensors | None:
        """An entry, or None if it is missing or damaged."""
        with self._lock:
            _, found = self._ahead.pop(key, (0, None))
        if found is None:  # also if another process has written the entry since it was prefetched
            found = _read(self._path(key))
        if found is None:
            self.stats.misses += 1
            return None
        self.stats.hits += 1
        _touch(self._path(key))
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
        self.stats.bytes_written += len(data)
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
                self.stats.evicted += 1


def in_rows(contents: Sequence[ContentT], rows: int, make: Make[ContentT]) -> list[Tensors]:
    """The tensors of each content, computed with calls of exactly `rows` contents; see `CacheSpec`.

    Without autocast, which would change what validation encodes.
    """
    import torch

    found: list[Tensors] = []
    with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        for first in range(0, len(contents), rows):
            group = contents[first : first + rows]
            made = make([*group, *[group[-1]] * (rows - len(group))])
            found += [{name: value[row] for name, value in made.items()} for row in range(len(group))]
    return found


def stacked(found: Sequence[Tensors], device: "torch.device") -> Tensors:
    """The tensors of n contents, which may be on several devices, as (n, ...) on one device."""
    import torch

    return {name: torch.stack([each[name].to(device) for each in found]) for name in found[0]}


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


def _touch(path: Path) -> bool:
    """Mark an entry as used; False if it does not exist."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


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
