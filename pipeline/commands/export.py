"""Export shards to the layout of another project."""

from dataclasses import asdict
from typing import Any

from ...shards.interop import object3dit, spatialedit


def run_export(path: str, layout: str, out: str) -> dict[str, Any]:
    """Write the shards under `path` to `out`, in another project's layout."""
    export = spatialedit.export if layout == "spatialedit" else object3dit.export
    return {"layout": layout, "out": out, **asdict(export(path, out))}
