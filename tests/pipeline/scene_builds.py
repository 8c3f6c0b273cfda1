"""Small builds of rendered scenes: their settings, and copies that lost what was rendered."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from spatialdata_builder.pipeline.opened import open_build
from tests.pipeline.releases import files_of

SETTINGS = (
    "samples=4",
    "source.variants=3",
    "edits={translate: 1, remove: 1}",
    "render.resolution=[96, 96]",
    "render.samples=4",
    "engine.kind=inline",
    "shard.splits={train: 1, val: 0, test: 0}",
)


def arguments(out: Path, settings: Sequence[str]) -> list[str]:
    return ["build", "--out", str(out), *(part for text in (*SETTINGS, *settings) for part in ("--set", text))]


def without_pairs(out: Path, copy: Path) -> Path:
    """A copy of a build without its rendered pairs and its shards."""
    shutil.copytree(out, copy)
    shutil.rmtree(copy / "layers" / open_build(str(copy)).layers["pair"])
    shutil.rmtree(copy / "shards")
    return copy


def changed_shards(out: Path, copy: Path) -> set[str]:
    """Names of the files of shards that differ between two builds."""
    one, other = files_of(out / "shards"), files_of(copy / "shards")
    return {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}
