"""fsspec file systems shared by many threads.

fsspec keeps one instance per thread, with its own connections (0.1 s of CPU to create). Asynchronous file systems (s3,
gcs, http, ...) and the local one can be shared between threads, the others cannot. A forked process creates its own.
Calling fsspec takes a lock that no thread should hold when a process forks, so the result is cached.
"""

import os
from functools import lru_cache
from threading import get_ident
from typing import Any

from ..layout import base, is_local
from ..stores import open_store
from .retry import call_with_retries


def file_at(url: str) -> tuple[Any, str]:
    """fsspec file system and path of a file, for use in this thread and process."""
    name = base(url)
    folder = url.removesuffix(name)
    fs, path = _folder_at(folder, os.getpid(), 0)
    if not getattr(fs, "async_impl", False) and not is_local(fs):
        fs, path = _folder_at(folder, os.getpid(), get_ident())
    return fs, f"{path.rstrip('/')}/{name}"


def read_whole(url: str) -> bytes:
    """Read a small file. Raises FileNotFoundError, PermissionError, and SpatialdataError after the last attempt."""
    fs, path = file_at(url)
    return call_with_retries(lambda: fs.cat_file(path), url)


@lru_cache(maxsize=1024)
def _folder_at(folder: str, process: int, thread: int) -> tuple[Any, str]:
    return open_store(folder)
