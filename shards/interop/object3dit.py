"""OBJECT-3DIT's layout: names of its folders and files, and the export of shards into it.

`<task>/train/<key>/{1.png, 2.png, 1_mask.png, 2_mask.png, metadata.json}`; in val and test, the key is preceded by
`seen/` if train also shows one of the sample's assets, else by `unseen/`. Pixels are copied from the shard. The edited
object is the first one in `object_data` and color 1 of the masks. An insertion is written as a removal with source and
target exchanged. Where the records say what objects stand on, so do the entries of `object_data`, in keys that this
layout does not have (docs/formats.md). Invariant: a folder's metadata.json is written last, so a folder that has one is
complete.
"""

import json
from collections import Counter
from typing import Any, Final, Literal, assert_never

import cv2
import numpy as np
from numpy.typing import NDArray

from ..codecs import decode_image, decode_labels
from ..geometry import matrix3, matrix4, project, transform
from ..layout import filesystem, join
from ..reader import StoredSample
from ..schema import EditKind, SampleRecord, SceneObject, View
from ..writer import publish_bytes
from .destination import Exported, assets_of_train, claim, edited_first, find_input, finish, read_input, supports_of
from .set1 import MAX_OBJECTS, draw_mask

Task = Literal["translate", "rotate", "remove"]
TASKS: Final[dict[Task, tuple[EditKind, ...]]] = {
    "translate": ("translate",),
    "rotate": ("rotate",),
    "remove": ("remove", "insert"),
}
"""Folder of the release: edits that its pairs show. A removal with source and target exchanged is an insertion."""
GROUPS: Final = ("seen", "unseen")
METADATA: Final = "metadata.json"
FILES: Final = ("1.png", "2.png", "1_mask.png", "2_mask.png", METADATA)
CAPTIONS: Final = "objaverse_cat_descriptions_64k.json"
"""{asset: {"description": text}}, beside the tasks."""

LAYOUT: Final = "object3dit"
_MEMBERS: Final = ("source", "target", "source_instances", "target_instances")
_PNG: Final = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY)
_FLAT_PNG: Final = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)


def export(shards_url: str, out: str) -> Exported:
    """Write shards of recipe `full` as OBJECT-3DIT folders; `out` is any fsspec URL.

    Edits that no task shows, and scenes with more objects than the masks have colors, are skipped and counted.

    Raises:
        BadInput: no such shards, or `out` has other content than this export.
        ShardError: a shard is damaged.
    """
    found = find_input(shards_url, ("full",))
    claim(out, LAYOUT, found)
    fs, _ = filesystem(out)
    trained = assets_of_train(found)
    written: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    captions: dict[str, dict[str, str]] = {}
    for record, sample in read_input(found, _MEMBERS):
        task = task_of(record.edit.kind)
        if task is None or len(record.objects) > MAX_OBJECTS:
            skipped["too_many_objects" if task else f"no_task_for_{record.edit.kind}"] += 1
            continue
        captions |= {entry.asset: {"description": f"the {entry.category or entry.name}"} for entry in record.objects}
        folder = f"{task}/{_folder(record, trained)}"
        written[folder] += 1
        place = join(out, folder, record.key)
        if not fs.exists(filesystem(join(place, METADATA))[1]):
            for name, data in _files(task, record, sample).items():
                publish_bytes(data, join(place, name))
    publish_bytes(_json(dict(sorted(captions.items()))), join(out, CAPTIONS))
    result = Exported(written.total(), dict(sorted(written.items())), dict(sorted(skipped.items())))
    finish(out, LAYOUT, found, result)
    return result


def task_of(kind: EditKind) -> Task | None:
    """The task whose pairs show edits of this kind; None where the release has none."""
    return next((task for task, kinds in TASKS.items() if kind in kinds), None)


def is_backwards(kind: EditKind) -> bool:
    """Whether an edit of this kind is a pair of the release read from its second image to its first."""
    return any(kind in kinds[1:] for kinds in TASKS.values())


def _folder(record: SampleRecord, trained: frozenset[str]) -> str:
    """`train`, `val/seen`, ...: a sample is seen if train has one of its assets."""
    if record.split == "train":
        return "train"
    seen = any(entry.asset in trained for entry in record.objects)
    return f"{record.split}/{GROUPS[0] if seen else GROUPS[1]}"


def _files(task: Task, record: SampleRecord, sample: StoredSample) -> dict[str, bytes]:
    """The five files of a sample by name, in the order in which they are written."""
    objects = edited_first(record)
    source, target = (decode_image(sample.members[name]) for name in ("source", "target"))
    masks = [_color_mask(sample.members[f"{name}_instances"], objects) for name in ("source", "target")]
    metadata = _metadata(task, record, objects, source.shape[1], source.shape[0])
    pictures = [source, target]
    if is_backwards(record.edit.kind):
        pictures.reverse()
        masks.reverse()
    # As in the release: masks of removals have no alpha channel, all other images have one.
    opaque_masks = task == "remove"
    return {
        "1.png": _png(pictures[0], _PNG),
        "2.png": _png(pictures[1], _PNG),
        "1_mask.png": _png(masks[0], _FLAT_PNG, alpha=not opaque_masks),
        "2_mask.png": _png(masks[1], _FLAT_PNG, alpha=not opaque_masks),
        METADATA: _json(metadata),
    }


def _color_mask(instances: bytes, objects: list[SceneObject]) -> NDArray[np.uint8]:
    """Color-coded mask (H, W, 3) of an instance map, with colors in the order of `objects`."""
    labels = decode_labels(instances)
    colors = np.zeros(int(labels.max()) + 1, np.uint8)
    for number, entry in enumerate(objects, start=1):
        if entry.id < len(colors):
            colors[entry.id] = number
    return draw_mask(colors[labels])


def _metadata(task: Task, record: SampleRecord, objects: list[SceneObject], width: int, height: int) -> dict[str, Any]:
    edited = objects[0]
    category = edited.category or edited.name
    content: dict[str, Any] = {
        "object_data": [
            {"uid": entry.asset, "category": entry.category or entry.name, **supports}
            for entry, supports in zip(objects, _supports(record.edit.kind, objects), strict=True)
        ]
    }
    before = _location(edited, record.camera.source, edited.source_pose, edited.source_box, width, height)
    after = _location(edited, record.camera.target, edited.target_pose, edited.target_box, width, height)
    match task:
        case "translate":
            content |= {"translation_category": category, "start_location_2d": before, "end_location_2d": after}
        case "rotate":
            content |= {"rotation_category": category, "rotation_angle": _angle(record.edit.rotation_deg)}
        case "remove":
            there = after if is_backwards(record.edit.kind) else before
            content |= {"removed_object_uid": edited.asset, "removed_object_camera_coords": there}
        case _:
            assert_never(task)
    return content


def _supports(kind: EditKind, objects: list[SceneObject]) -> list[dict[str, Any]]:
    """What each object stands on in 1.png (`source_support`) and in 2.png (`target_support`)."""
    found = supports_of(objects)
    if not is_backwards(kind):
        return found
    ends = ("source_support", "target_support")
    return [{end: values[other] for end, other in zip(ends, ends[::-1], strict=True) if values} for values in found]


def _location(
    edited: SceneObject, view: View, pose: list[float], box: list[int], width: int, height: int
) -> list[float]:
    """Center of the object, x and y in 0..1 of the image: projected; the box's center where poses are unknown."""
    if edited.known and view.known and any(pose):
        center = transform(matrix4(pose), [[0.0, 0.0, edited.size_m[2] / 2]])
        pixels, depth = project(center, matrix3(view.K), matrix4(view.world_from_camera))
        if depth[0] > 0:
            return [round(float(pixels[0, 0]) / width, 4), round(float(pixels[0, 1]) / height, 4)]
    return [round((box[0] + box[2]) / 2 / width, 4), round((box[1] + box[3]) / 2 / height, 4)]


def _angle(degrees: float) -> float | int:
    """The angle in 0 <= angle < 360; an int where it is integral."""
    angle = round(degrees % 360.0, 4) % 360.0
    return int(angle) if angle.is_integer() else angle


def _png(rgb: NDArray[np.uint8], parameters: tuple[int, ...], *, alpha: bool = True) -> bytes:
    pixels = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA if alpha else cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", pixels, list(parameters))[1].tobytes()


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode()
