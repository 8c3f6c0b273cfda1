"""View a dataset: a gallery for a browser, or a contact sheet of a few samples."""

import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final

from rich.progress import Progress

from ...shards.errors import BadInput
from ...shards.reader import read_samples
from ..opened import open_build
from ..planning.configurations import holds_build
from ..report.gallery.folder import check_place, check_room, new_folder
from ..report.gallery.from_build import BuildSamples
from ..report.gallery.from_shards import find_samples
from ..report.gallery.funnel_page import write_funnel_page
from ..report.gallery.writer import GalleryWriter
from ..store.layers import LayerStore
from ..terminal import terminal

LIMIT: Final = 10_000
SHEET_LIMIT: Final = 24


def run_gallery(
    path: str, out: str = "", *, recipe: str = "", limit: int = LIMIT, quiet: bool = False
) -> dict[str, Any]:
    """Write a gallery of OUT (also during a build) or of shards; with `recipe`, of that recipe's shards.

    Args:
        out: folder to write; default: `gallery` in OUT, or beside the folder of shards if they are not in an OUT here.
        limit: number of samples to show, spread evenly if there are more.

    Raises BadInput if there is no build and no shard, or the folder has other content; SpatialdataError if the disk has
    too little space.
    """
    began = time.monotonic()
    if "://" in path and not out:
        raise BadInput(f"{path} is remote: give a local folder for the gallery with --out")
    is_build = not recipe and holds_build(LayerStore(path))
    place = _place(path, out, recipe, is_build)
    check_place(place)
    shown = _show_build(path, place, limit, quiet) if is_build else _show_shards(path, place, recipe, limit, quiet)
    return shown | {"gallery": str(place / "index.html"), "seconds": round(time.monotonic() - began, 3)}


def _show_build(path: str, place: Path, limit: int, quiet: bool) -> dict[str, Any]:
    build = open_build(path, running=True)
    samples = BuildSamples(build)
    total = build.plan.samples
    check_room(place, samples.bytes_of(limit), min(limit, total))
    with new_folder(place) as folder:
        writer = GalleryWriter(folder)
        _follow(samples.write(limit, writer), min(limit, total), quiet)
        write_funnel_page(path, folder, families=writer.has_families)
        about = samples.about()
        writer.finish(about)
    return {"samples": writer.samples, "of": total, "bytes": writer.bytes, "notes": about["notes"]}


def _show_shards(path: str, place: Path, recipe: str, limit: int, quiet: bool) -> dict[str, Any]:
    samples = find_samples(path, recipe)
    total = samples.samples
    check_room(place, samples.bytes_of(limit), min(limit, total or limit))
    with new_folder(place) as folder:
        writer = GalleryWriter(folder)
        _follow(samples.write(limit, writer), min(limit, total or limit), quiet)
        write_funnel_page(path, folder, samples.recipe, families=writer.has_families)
        about = samples.about()
        writer.finish(about)
    return {"samples": writer.samples, "of": total or writer.samples, "bytes": writer.bytes, "notes": about["notes"]}


def _follow(done: Iterator[int], total: int, quiet: bool) -> None:
    """Run the iterator to its end, with a progress bar."""
    console = terminal(stderr=True)
    with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task("writing the gallery", total=total)
        for count in done:
            progress.advance(task, count)


def _place(path: str, out: str, recipe: str, is_build: bool) -> Path:
    """The gallery's folder. Raises BadInput if it is not a local folder."""
    if "://" in out:
        raise BadInput(f"--out {out}: give a folder on this machine, because a browser opens the gallery's files")
    if out:
        return Path(out).expanduser().absolute()
    here = Path(path).expanduser().absolute()
    if is_build:
        return here / "gallery"
    if not here.is_dir():
        raise BadInput(f"{path} is not a folder: give the folder of a build (--out) or of its shards")
    root = next((folder for folder in (here, *here.parents[:4]) if holds_build(LayerStore(str(folder)))), None)
    if root is None:
        return here.with_name(f"{here.name}-gallery")
    parts = [part for part in here.relative_to(root).parts if part != "shards"] or [recipe or "shards"]
    return root / "-".join(["gallery", *parts])


def run_sheet(
    path: str, picture: str, *, recipe: str = "", limit: int = SHEET_LIMIT, tile: int = 176
) -> dict[str, Any]:
    """Draw a contact sheet of the shards under `path`: of `recipe`, else of `full` if it exists.

    Raises BadInput if there are no samples of that recipe, or the name of the picture is not valid.
    """
    from ..report.gallery.contact_sheet import contact_sheet

    file = Path(picture).expanduser()
    if file.suffix.lower() != ".png" or file.is_dir():
        raise BadInput(f"--sheet {picture}: give the name of a PNG file to write, such as contact.png")
    stored = chain.from_iterable(read_samples(shard.url) for shard in find_samples(path, recipe).shards)
    drawn = contact_sheet(stored, file, limit=limit, tile=tile)
    if not drawn:
        raise BadInput(f"no samples under {path}")
    return {"picture": str(file), "samples": drawn}
