"""fsspec's file systems for many threads.

fsspec keeps an instance (with its own connections, whose making costs 0.1 s of CPU) for each thread. The asynchronous
ones (s3, gcs, http, ...) and the local one may be shared, the others not. A forked process makes its own. To ask fsspec
takes a lock, which no thread should hold when a process forks: so it is asked once.
"""

import os
from functools import lru_cache
from threading import get_ident
from typing import Any

from ..layout import base, is_local
from ..stores import open_store
from .retry import retried


def file_at(url: str) -> tuple[Any, str]:
    """File system and path of a file, for use in this thread and process."""
    name = base(url)
    folder = url.removesuffix(name)
    fs, path = _folder_at(folder, os.getpid(), 0)
    if not getattr(fs, "async_impl", False) and not is_local(fs):
        fs, path = _folder_at(folder, os.getpid(), get_ident())
    return fs, f"{path.rstrip('/')}/{name}"


def read_whole(url: str) -> bytes:
    """A small file. Raises FileNotFoundError, PermissionError, and SpatialdataError after the last attempt."""
    fs, path = file_at(url)
    return retried(lambda: fs.cat_file(path), url)


@lru_cache(maxsize=1024)
def _folder_at(folder: str, process: int, thread: int) -> tuple[Any, str]:
    return open_store(folder)
