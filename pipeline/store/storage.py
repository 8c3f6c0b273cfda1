"""Files under OUT, on any fsspec URL.

Invariants: a name in OUT is a complete file or does not exist (files are written elsewhere, synced, then renamed or
put). `create_file` never replaces an existing file. On object stores, `create_file` is atomic if the store supports it
(S3, GCS). For others, fsspec checks and then writes; the layer store resolves the races that this allows.
"""

import errno
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from ...shards.errors import BadInput, SpatialdataError
from ...shards.layout import check_file
from ...shards.stores import open_store
from ...shards.writer import move_aside

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
OBJECT_STORES = ("botocore", "aiobotocore", "aiohttp", "gcsfs", "google")
"""Packages whose errors are about an account, an endpoint or a network. By name, since they may not be installed."""
Given = ParamSpec("Given")
Value = TypeVar("Value")


def _explain_client_errors(
    method: "Callable[Concatenate[Storage, Given], Value]",
) -> "Callable[Concatenate[Storage, Given], Value]":
    """Turn errors of an object store's client about its account or endpoint into BadInput."""

    @wraps(method)
    def call(storage: "Storage", *args: Given.args, **kwargs: Given.kwargs) -> Value:
        try:
            return method(storage, *args, **kwargs)
        except Exception as error:
            denied = isinstance(error, PermissionError) and not storage.is_local
            if not denied and type(error).__module__.partition(".")[0] not in OBJECT_STORES:
                raise
            raise BadInput(
                f"cannot use {storage} ({' '.join(str(error).split()) or type(error).__name__}): check the "
                "credentials (for S3: AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), the endpoint "
                "(AWS_ENDPOINT_URL) and the name of the bucket"
            ) from error

    return call


class Storage:
    """A folder, given as a path or an fsspec URL. `options` go to the file system (such as `endpoint_url`).

    Picklable: each worker opens its own connection. Methods take names relative to the folder, with `/`.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self.url = url
        self.options = options
        try:
            self._fs, root = open_store(url, **({"use_listings_cache": False} | options))
        except (ValueError, ImportError) as error:
            raise BadInput(f"cannot use '{url}' as an output folder: {error}") from error
        self.root = str(root).rstrip("/")
        protocol = self._fs.protocol
        names = (protocol,) if isinstance(protocol, str) else tuple(protocol)
        self.is_local = "file" in names
        self.is_memory = "memory" in names

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (type(self), self.url, self.options)

    def __str__(self) -> str:
        return self.root if self.is_local else self.url.rstrip("/")

    def path(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root

    def local(self, name: str) -> Path:
        """The path of a file; only if `is_local`."""
        return Path(self.path(name))

    @_explain_client_errors
    def exists(self, name: str) -> bool:
        return bool(self._fs.exists(self.path(name)))

    @_explain_client_errors
    def size(self, name: str) -> int:
        """Size of a file in bytes. Raises FileNotFoundError."""
        return int(self._fs.info(self.path(name))["size"])

    @_explain_client_errors
    def read_file(self, name: str) -> bytes:
        """The content of a file. Raises FileNotFoundError, or NotAFile if it is not a file."""
        if self.is_local:
            check_file(self.path(name))
            return self.local(name).read_bytes()
        return bytes(self._fs.cat_file(self.path(name)))

    @_explain_client_errors
    def open_file(self, name: str) -> Any:
        """Open a file for binary reading and seeking. Raises FileNotFoundError, or NotAFile if it is not a file."""
        if self.is_local:
            check_file(self.path(name))
        return self._fs.open(self.path(name), "rb")

    @_explain_client_errors
    def open_ranges(self, name: str) -> Any:
        """Open a remote file without read-ahead, to read a few parts of a large file."""
        return self._fs.open(self.path(name), "rb", cache_type="none")

    @_explain_client_errors
    def names(self, folder: str, prefix: str = "") -> list[str]:
        """Names of the files in a folder, in no order; empty if there is no such folder.

        Args:
            prefix: object stores list only names that begin with it; other stores may return other names as well.
        """
        try:
            if self.is_local:
                with os.scandir(self.path(folder)) as entries:
                    return [entry.name for entry in entries]
            place = self.path(folder)
            found = self._fs.find(place, prefix=prefix) if prefix else self._fs.ls(place, detail=False)
            return [str(name).rsplit("/", 1)[-1] for name in found]
        except FileNotFoundError:
            return []

    @_explain_client_errors
    def write_file(self, name: str, data: bytes | memoryview) -> None:
        """Publish a complete file, replacing an existing one."""
        with self._explained(name):
            if self.is_local:
                with self._temporary(name, data) as temporary:
                    move_aside(self.local(name))
                    temporary.replace(self.local(name))
                _sync_folder(self.local(name).parent)
            else:
                with tempfile.NamedTemporaryFile(prefix="spatialdata-") as temporary:
                    temporary.write(data)
                    temporary.flush()
                    self._fs.put_file(temporary.name, self.path(name))

    @_explain_client_errors
    def create_file(self, name: str, data: bytes) -> bool:
        """Publish a small file unless one of that name exists. Returns whether it was written."""
        try:
            with self._explained(name):
                if not self.is_local:
                    self._fs.pipe_file(self.path(name), data, mode="create")
                    return True
                with self._temporary(name, data) as temporary:
                    move_aside(self.local(name))
                    os.link(temporary, self.path(name))
                _sync_folder(self.local(name).parent)
        except FileExistsError:
            return False
        except OSError as error:
            if _was_there(error) or (not self.is_local and self.exists(name)):
                return False
            raise
        return True

    @_explain_client_errors
    def publish_file(self, name: str, finished: Path) -> None:
        """Publish a finished local file (synced by the caller if needed) by moving it, replacing an existing one."""
        with self._explained(name):
            if self.is_local:
                self.local(name).parent.mkdir(parents=True, exist_ok=True)
                move_aside(self.local(name))
                finished.replace(self.local(name))
                _sync_folder(self.local(name).parent)
            else:
                self._fs.put_file(str(finished), self.path(name))
                finished.unlink()

    def workplace(self) -> Path:
        """Folder to write a file for `publish_file` in: on the same disk if this folder is local."""
        if not self.is_local:
            return Path(tempfile.gettempdir())
        with self._explained("plan"):
            self.local("plan").mkdir(parents=True, exist_ok=True)
        return self.local("plan")

    @_explain_client_errors
    def move(self, name: str, to: str) -> None:
        """Rename a file; a missing file is not an error."""
        with suppress(FileNotFoundError):
            if self.is_local:
                move_aside(self.local(to))
                self.local(name).replace(self.path(to))
            else:
                self._fs.mv(self.path(name), self.path(to))

    @_explain_client_errors
    def remove(self, name: str) -> None:
        if self.is_local:
            move_aside(self.local(name))
        with suppress(FileNotFoundError):
            self._fs.rm_file(self.path(name))

    def sweep(self, folder: str) -> None:
        """Remove temporary files of writers that were killed. Call it only while no other run writes here."""
        if self.is_local:
            for name in self.names(folder):
                if name.startswith(".") and name.endswith(".tmp"):
                    left = self.local(f"{folder}/{name}")
                    if left.is_dir():
                        shutil.rmtree(left, ignore_errors=True)
                    else:
                        left.unlink(missing_ok=True)

    def remove_empty(self, folder: str) -> None:
        """Remove a local folder if it exists and is empty. Call it only while no other run writes here."""
        if self.is_local:
            with suppress(OSError):
                self.local(folder).rmdir()

    @contextmanager
    def _temporary(self, name: str, data: bytes | memoryview) -> Generator[Path]:
        """A finished, synced file beside `name`, removed at the end in any case."""
        final = self.local(name)
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = final.with_name(f".{final.name}-{os.getpid()}-{secrets.token_hex(4)}.tmp")
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    @contextmanager
    def _explained(self, name: str) -> Generator[None]:
        """Turn disk errors into errors for users; FileExistsError of a file is left to `create_file`."""
        try:
            yield
        except OSError as error:
            if error.errno in FULL:
                # A bucket does not fill up: the full disk is the one where the file was prepared.
                place = self.path(name) if self.is_local else f"{tempfile.gettempdir()}/file"
                raise disk_full(place, error) from error
            final_exists = isinstance(error, FileExistsError) and self.is_local and self.local(name).is_file()
            if final_exists or _was_there(error):
                raise
            if isinstance(error, PermissionError | FileNotFoundError) or error.errno in _FORBIDDEN:
                raise BadInput(
                    f"{self} is not writable ({_short(error)}): use another folder, or fix its permissions"
                ) from error
            raise


def disk_full(path: str, error: OSError) -> SpatialdataError:
    """The error for a `path` that could not be written because of a full disk, a quota or a size limit."""
    folder = Path(path).parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e6
    limit = {errno.EDQUOT: "the quota is used up", errno.EFBIG: "the limit on the size of a file is reached"}
    what = limit.get(error.errno or 0, "the disk is full")
    return SpatialdataError(
        f"{what}: cannot write in {folder} ({free:.0f} MB free); free some space and rerun the command, finished units "
        "are kept"
    )


def _short(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).splitlines()[0]


def _was_there(error: OSError) -> bool:
    """Whether a write-once write failed because the file exists: S3 returns 412 or 409, s3fs raises a plain OSError."""
    text = str(error)
    return "PreconditionFailed" in text or "pre-conditions" in text or "ConditionalRequestConflict" in text


def _reopen(kind: type[Storage], url: str, options: dict[str, Any]) -> Storage:
    return kind(url, **options)


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power failure; file systems that cannot sync folders are skipped."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
