"""Tensors on disk that frozen models made: latents, text embeddings.

Invariant: the name of an entry is a digest of everything that its tensors follow from (the content itself, the model
and its revision, the dtype, the transform), and an entry is made from its content alone, never from a batch. So a
changed picture or model cannot hit an old entry, and a hit is what the model would give. Entries appear by a rename and
carry a checksum: what is cut off or altered is no entry. Any number of processes share a folder.
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
"""Pixels, a text, or several of them that are encoded together."""
Given = TypeVar("Given", bound=Content)

_ABANDONED_S: Final = 3600
"""After this time, half an entry was left by a process that is gone."""


@dataclass(frozen=True)
class MadeBy:
    """What an entry follows from, besides its content.

    Args:
        model: its id on the hub, or its folder.
        revision: of its weights: a commit, `folder_revision` or `module_revision`. Never a branch: a branch moves.
        dtype: in which it computes.
        transform: what is done before and after it, with all its numbers: `512x512 lanczos, mode`.
    """

    model: str
    revision: str
    dtype: str
    transform: str

    def key(self, content: Content) -> str:
        """The entry's name: sha256, hexadecimal."""
        digest = hashlib.sha256()
        for part in _parts((self.model, self.revision, self.dtype, self.transform, content)):
            digest.update(part)
        return digest.hexdigest()


class TensorCache:
    """A folder of entries; what was used longest ago goes first.

    Args:
        folder: made if it is not there; empty: nothing is kept.
        limit_bytes: of all entries together, which up to 16 processes that write at once will not pass.
    """

    def __init__(self, folder: str | Path, limit_bytes: int = 100 << 30) -> None:
        if limit_bytes < 1:
            raise BadInput(f"cache limit of {limit_bytes} bytes: give 1 or more, or no folder")
        self._folder = Path(folder).expanduser() if str(folder) else None
        self._limit = limit_bytes
        self._written = limit_bytes
        """Since the last sweep; so much that the first entry asks for one."""
        self.hits = self.misses = 0
        if self._folder:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise BadInput(f"cache folder {folder} cannot be made: {error}") from error

    def each(
        self, contents: Sequence[Given], made_by: MadeBy, make: Callable[[Given], Mapping[str, "torch.Tensor"]]
    ) -> list[Tensors]:
        """The tensors of each content, on the CPU: from disk, or made (one content at a time) and kept."""
        return [self.one(content, made_by, make) for content in contents]

    def one(self, content: Given, made_by: MadeBy, make: Callable[[Given], Mapping[str, "torch.Tensor"]]) -> Tensors:
        """The tensors of one content, see `each`."""
        if not self._folder:
            return _plain(make(content))
        key = made_by.key(content)
        found = self.get(key)
        if found is None:
            found = _plain(make(content))
            self.put(key, found)
        return found

    def get(self, key: str) -> Tensors | None:
        """An entry, or None where there is none or it is damaged."""
        found = _read(self._path(key))
        if found is None:
            self.misses += 1
            return None
        self.hits += 1
        with suppress(FileNotFoundError):  # dropped by another process in between
            os.utime(self._path(key))
        return found

    def put(self, key: str, tensors: Mapping[str, "torch.Tensor"]) -> None:
        """Keep an entry. Raises SpatialdataError where the disk does not take it."""
        from safetensors.torch import save

        data = save(_plain(tensors), metadata={"crc32": str(_checksum(tensors))})
        path = self._path(key)
        half = path.with_name(f"{uuid.uuid4().hex}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            half.write_bytes(data)
            half.replace(path)
        except OSError as error:
            half.unlink(missing_ok=True)
            raise SpatialdataError(
                f"cache folder {self._folder}: {error}: free space, lower its limit, or choose another"
            ) from error
        self._written += len(data)
        if self._written > self._limit // 128:
            self._sweep()

    def _path(self, key: str) -> Path:
        assert self._folder
        return self._folder / key[:2] / key[2:4] / f"{key}.safetensors"

    def _sweep(self) -> None:
        """Drop the longest unused down to 7/8 of the limit: with 1/128 in between, 16 processes stay below it. One
        that comes while another sweeps waits, and writes no more until the folder is small again."""
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
    """The revision of weights in a folder: the hub's commit where it is a snapshot of the hub, else a digest of all
    its files. Raises BadInput where there is no folder."""
    path = Path(folder)
    if not path.is_dir():
        raise BadInput(f"no folder of weights at {folder}")
    if commit := re.search(r"/snapshots/([0-9a-f]{40})(/|$)", path.absolute().as_posix()):
        return commit[1]
    digest = hashlib.sha256()
    for file in sorted(each for each in path.rglob("*") if each.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


def module_revision(module: "nn.Module") -> str:
    """A digest of all parameters and buffers, for a model that comes from no folder."""
    import torch

    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _parts(content: Content) -> Iterator[bytes]:
    """Bytes that no two contents have in common: each with its kind and its length before it."""
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
    """On the CPU, each in memory of its own, as safetensors wants them."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}


def _checksum(tensors: Mapping[str, "torch.Tensor"]) -> int:
    import torch

    crc = 0
    for name in sorted(tensors):
        data = tensors[name].detach().cpu().contiguous().flatten().view(torch.uint8)
        crc = zlib.crc32(data.numpy().data, zlib.crc32(name.encode(), crc))
    return crc


def _read(path: Path) -> Tensors | None:
    """Read in one piece: to open it twice, as `safe_open` does, another process may drop it in between."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        data = path.read_bytes()
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        told, found = header["__metadata__"]["crc32"], load(data)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None
    return found if told == str(_checksum(found)) else None


def _entries(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """(last use, bytes, path) of each entry; halves that nobody will finish are removed on the way."""
    for path in folder.glob("??/??/*"):
        with suppress(FileNotFoundError):
            stat = path.stat()
            if path.suffix == ".safetensors":
                yield stat.st_mtime, stat.st_size, path
            elif time.time() - stat.st_mtime > _ABANDONED_S:
                path.unlink()
