"""The demo: a small dataset, built without any data, packed, verified and shown."""

import time
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from ...shards.errors import SpatialdataError
from ...shards.schema import EDIT_KINDS
from ..config import with_overrides
from ..opened import open_out
from ..terminal import say
from .build import run_build
from .verify import run_verify
from .view import run_gallery, run_sheet

DEMO: dict[str, Any] = {
    "source": {"kind": "procedural", "variants": 12},
    "samples": 30,
    "seed": 7,
    "unit_size": 2,
    "edits": dict.fromkeys(EDIT_KINDS, 1),
    "scene": {"kinds": {"open": 1, "tabletop": 2, "room": 3, "garden": 1}},
    "render": {"resolution": [256, 256], "samples": 16},
    "shard": {"name": "demo", "samples_per_shard": 16, "splits": {"train": 0.7, "val": 0.15, "test": 0.15}},
}


def run_demo(out: str, overrides: Sequence[str] = (), *, quiet: bool = False) -> dict[str, Any]:
    """Build the demo under `out`, verify it, draw a contact sheet, write a gallery, and print what to try next.

    Resumes after a stop.

    Raises SpatialdataError if the shards are damaged.
    """
    began = time.monotonic()
    config = with_overrides(deepcopy(DEMO), overrides, "demo")
    if not quiet:
        size = " x ".join(str(side) for side in config.render.resolution)
        say(f"Building {config.samples} triplets at {size}. The first run downloads Blender (360 MB).", err=True)
    folder = str(open_out(out))
    built = run_build(config, folder, quiet=quiet)
    verified = run_verify(folder)
    if not verified["ok"]:
        raise SpatialdataError(f"the demo's shards are damaged: {verified['problems'][0]['message']}")
    picture = run_sheet(folder, f"{folder}/contact.png", limit=built["accepted"])["picture"]
    gallery = run_gallery(folder, quiet=quiet)["gallery"]
    if not quiet:
        _say(folder, built, verified, picture, time.monotonic() - began)
        say(f"\nOpen in a browser:\n  {gallery}")
    return {"built": built, "verified": verified, "picture": picture, "gallery": gallery}


def _say(folder: str, built: dict[str, Any], verified: dict[str, Any], picture: str, seconds: float) -> None:
    here = Path(folder)
    say(
        f"""
{built["accepted"]} triplets in {seconds:.0f} s ({built["rejected"]} rejected), {verified["shards"]} shards, verified.

  picture       {picture}
  shards        {here / "shards" / "full"}
  statistics    spatialdata status {here}

Next:
  spatialdata shard {here} --recipe spatialdiff      pack the same samples for another trainer
  spatialdata export {here} --layout spatialedit --out {here}-spatialedit
  spatialdata build --config examples/procedural.yaml --out out/procedural
  spatialdata build --config examples/objaverse.yaml --out out/objaverse --set source.root=/path/to/objaverse"""
    )
