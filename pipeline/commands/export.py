"""Export shards to the layout of another project."""

from dataclasses import asdict
from typing import Any

from ...shards.errors import BadInput
from ...shards.interop import angles, object3dit, spatialedit, spatialedit_bench


def run_export(path: str, layout: str, out: str, vocabulary: str = "") -> dict[str, Any]:
    """Write the shards under `path` to `out`, in another project's layout.

    Args:
        vocabulary: of layout `angles`, which needs one; empty for the others.

    Raises BadInput where the vocabulary does not fit the layout.
    """
    if layout == angles.LAYOUT:
        if vocabulary not in angles.VOCABULARIES:
            raise BadInput(f"--layout angles needs --vocabulary: one of {', '.join(angles.VOCABULARIES)}")
        found = angles.export(path, out, vocabulary=vocabulary)
        return {"layout": layout, "vocabulary": vocabulary, "out": out, **asdict(found)}
    if vocabulary:
        raise BadInput(f"--vocabulary: layout {layout} has its own wording: remove it, or use --layout angles")
    export = {module.LAYOUT: module.export for module in (spatialedit, spatialedit_bench, object3dit)}[layout]
    return {"layout": layout, "out": out, **asdict(export(path, out))}
