"""Exports shards as a set for the scores of SpatialEdit-Bench: moves, rotations and camera edits.

    <out>/SpatialEdit_Bench_Meta_File.json    a list of items
    <out>/move/<key>.jpg                      the source, with the target's box in red
    <out>/rotate/<key>.jpg, <key>_gt.jpg      the source; the target
    <out>/camera/<key>.jpg, <key>_gt.jpg, <key>.json

An item has `image_path` (relative to `<out>`), `type` (move, rotate, camera), `image_id`, `edit_id`, `prompt`, `object`
and `bbox_gt` (text, such as `[10,20,30,40]`). The JSON of a camera item has `metadata.edit_ypd`: `yaw` and `pitch` in
degrees, and `distance`.

Our reading, since the bench publishes no definition: `image_id` is the key; `edit_id` names the edit as the bench's
files do (`YP_spatial_edit_y45_p60_d0_000472`); `distance` is the change of the camera's distance as a share of it, so 0
is unchanged and negative is closer; `bbox_gt` is the edited object's box in the target, zeros for camera edits.
Scalings are moves, as in the bench's training data. Invariant: the same shards give the same bytes.
"""

import json
from collections import Counter
from typing import Any, Final, Literal, assert_never

from ..layout import join
from ..reader import StoredSample
from ..schema import SampleRecord
from ..writer import publish_bytes
from .destination import Exported, claim, find_input, finish, read_input
from .spatialedit import jpeg_of, name_of
from .wording import bench_wording

LAYOUT: Final = "spatialedit-bench"
META_FILE: Final = "SpatialEdit_Bench_Meta_File.json"
Type = Literal["move", "rotate", "camera"]


def export(shards_url: str, out: str) -> Exported:
    """Write shards of recipe `full` (else `spatialedit`), such as those of a benchmark set; `out` is any fsspec URL.

    Skipped and counted: removals, insertions and swaps, which the bench does not have; moves of an object that is
    outside the target image; rotations to no canonical view; camera edits whose numbers are unknown.

    Raises:
        BadInput: no such shards, or `out` has other content than this export.
        ShardError: a shard is damaged.
    """
    found = find_input(shards_url, ("full", "spatialedit"))
    claim(out, LAYOUT, found)
    items: list[dict[str, Any]] = []
    written: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    for record, sample in read_input(found, ("source", "target")):
        kind, reason = _type_of(record)
        if kind is None:
            skipped[reason] += 1
            continue
        for name, data in _files(kind, record, sample).items():
            publish_bytes(data, join(out, kind, name))
        items.append(_item(kind, len(items), record))
        written[kind] += 1
    publish_bytes((json.dumps(items, indent=2, ensure_ascii=False) + "\n").encode(), join(out, META_FILE))
    result = Exported(len(items), dict(sorted(written.items())), dict(sorted(skipped.items())))
    finish(out, LAYOUT, found, result)
    return result


def _type_of(record: SampleRecord) -> tuple[Type | None, str]:
    """The bench's type of an edit; or None, and why it has none."""
    edit = record.edit
    match edit.kind:
        case "translate" | "scale":
            return ("move", "") if any(edit.box) else (None, "no_box")
        case "rotate":
            return ("rotate", "") if edit.view else (None, "no_named_side")
        case "camera":
            return ("camera", "") if edit.known else (None, "camera_unknown")
        case "remove" | "insert" | "swap":
            return None, f"no_task_for_{edit.kind}"
        case _:
            assert_never(edit.kind)


def _item(kind: Type, number: int, record: SampleRecord) -> dict[str, Any]:
    edit = record.edit
    box = [0, 0, 0, 0] if kind == "camera" else edit.box
    return {
        "image_path": f"{kind}/{record.key}.jpg",
        "type": kind,
        "image_id": record.key,
        "edit_id": _edit_id(kind, number, record),
        "prompt": bench_wording(edit, name_of(record)),
        "object": "" if kind == "camera" else name_of(record),
        "bbox_gt": json.dumps(box, separators=(",", ":")),
    }


def _edit_id(kind: Type, number: int, record: SampleRecord) -> str:
    if kind != "camera":
        return f"{kind}_{number:06d}"
    ypd = _ypd(record)
    return f"YP_spatial_edit_y{ypd['yaw']:g}_p{ypd['pitch']:g}_d{ypd['distance']:g}_{number:06d}"


def _ypd(record: SampleRecord) -> dict[str, float]:
    edit = record.edit
    # Adding 0.0 turns -0.0 into 0.0.
    return {
        "yaw": round(edit.yaw_deg, 2) + 0.0,
        "pitch": round(edit.pitch_deg, 2) + 0.0,
        "distance": round(1 / edit.zoom - 1, 4) + 0.0,
    }


def _files(kind: Type, record: SampleRecord, sample: StoredSample) -> dict[str, bytes]:
    """The files of an item by name."""
    if kind == "move":
        return {f"{record.key}.jpg": jpeg_of(sample, "source", record.edit.box)}
    files = {f"{record.key}.jpg": jpeg_of(sample, "source"), f"{record.key}_gt.jpg": jpeg_of(sample, "target")}
    if kind == "camera":
        files[f"{record.key}.json"] = (json.dumps({"metadata": {"edit_ypd": _ypd(record)}}) + "\n").encode()
    return files
