"""The folder of a gallery: written beside its place and renamed when complete, so no partial gallery is visible.

A folder that is not a gallery is never replaced.
"""

import json
import os
import shutil
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ....shards.errors import BadInput, SpatialdataError
from ...store.storage import FULL, disk_full

MARKER: Final = "gallery.json"
FORMAT: Final = "spatialdata-gallery-1"
PAGE: Final = Path(__file__).parent / "page"
_SPARE: Final = 64 << 20
"""Bytes that a gallery leaves free on the disk."""


@contextmanager
def new_folder(place: Path) -> Generator[Path]:
    """A new folder with the page in it, which is renamed to `place` when the block ends without an error.

    Raises BadInput if `place` has other content than a gallery or cannot be written, SpatialdataError if the disk is
    full.
    """
    check_place(place)
    new = place.with_name(f".{place.name}.{socket.gethostname()}-{os.getpid()}.tmp")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _sweep(place)
        shutil.copytree(PAGE, new, copy_function=shutil.copyfile)
        yield new
        (new / MARKER).write_text(json.dumps({"format": FORMAT}) + "\n")
        _swap(new, place)
    except OSError as error:
        if error.errno in FULL:
            raise disk_full(str(new), error) from error
        if error.filename is not None and Path(str(error.filename)).is_relative_to(place.parent):
            raise BadInput(f"cannot write {place} ({error.strerror}): give another --out") from error
        raise
    finally:
        shutil.rmtree(new, ignore_errors=True)


def check_place(place: Path) -> None:
    """Raise BadInput if `place` may not become a gallery."""
    if place.is_dir():
        if any(place.iterdir()) and not _is_gallery(place):
            raise BadInput(f"{place} has other content than a gallery: give another --out")
    elif place.exists() or place.is_symlink():
        raise BadInput(f"{place} is not a folder: give another --out")


def check_room(place: Path, needed: int, samples: int) -> None:
    """Raise SpatialdataError if the disk has less than `needed` bytes, an estimate for `samples`."""
    folder = place
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed > free - _SPARE:
        fit = max(1, int(samples * max(0, free - _SPARE) / needed * 0.95))
        raise SpatialdataError(
            f"{samples} samples take about {_size(needed)}, but {folder} has {_size(free)} free: show "
            f"fewer (--limit {fit}), give an --out on another disk, or free some space"
        )


def _size(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


def _is_gallery(place: Path) -> bool:
    try:
        marker = json.loads((place / MARKER).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(marker, dict) and marker.get("format") == FORMAT


def _swap(new: Path, place: Path) -> None:
    old = new.with_suffix(".old.tmp")
    if place.exists():
        place.rename(old)
    try:
        new.rename(place)
    except OSError:
        if old.exists():
            old.rename(place)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _sweep(place: Path) -> None:
    """Remove the folders of killed runs on this machine."""
    prefix = f".{place.name}.{socket.gethostname()}-"
    for left in place.parent.iterdir():
        number = left.name.removeprefix(prefix).partition(".")[0]
        if left.name.startswith(prefix) and left.name.endswith(".tmp") and number.isdigit() and not _runs(int(number)):
            shutil.rmtree(left, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process != os.getpid()
