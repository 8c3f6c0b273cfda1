"""What a released pair tells: objects and their boxes, the edit, and nothing that would be a guess.

Invariant: object k of the facts is object k of `object_data` and label k of the masks; object 1 is the edited one.
The camera is not known; its focal length is that of the generator's near-identical public relatives, marked `assumed`.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from ...shards.geometry import box_of_mask, displacement, intrinsics_of_lens, to_json_list, wrap_degrees
from ...shards.interop.object3dit import Task, is_backwards
from ...shards.interop.set1 import MAX_OBJECTS
from ...shards.schema import Camera, Edit, EditKind, Measures, PairFacts, SceneObject, View

U8 = NDArray[np.uint8]

DATASET: Final = "object3dit"
FOCAL_MM: Final = 35.0
"""On a sensor 32 mm wide."""
UNKNOWN: Final = "unknown"
LONGEST: Final = 128
"""Characters of a uid or a category: released ones have up to 40."""
_ARTICLES: Final = ("the ", "a ", "an ")
_PLACE_MARGIN: Final = 0.06
"""Share of the image's width by which left and right must differ to be said."""


class NoName(ValueError):
    """No words tell the edited object from the others."""


@dataclass(frozen=True)
class Images:
    """A pair: colours sRGB uint8 (H, W, 3), labels uint8 (H, W)."""

    source: U8
    target: U8
    source_labels: U8
    target_labels: U8

    def reversed(self) -> "Images":
        return Images(self.target, self.source, self.target_labels, self.source_labels)


@dataclass(frozen=True)
class Described:
    """One entry of `object_data`."""

    asset: str
    category: str


@dataclass(frozen=True)
class Metadata:
    objects: tuple[Described, ...]
    rotation_deg: float
    """As released, degrees about the vertical, counter-clockwise seen from above; 0 for other tasks."""


def read_metadata(data: bytes, task: Task) -> Metadata:
    """Parse and check a metadata.json of a task. Raises ValueError naming the key that is missing or wrong."""
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from error
    if not isinstance(values, dict):
        raise ValueError("not a JSON object")
    known = cast("dict[str, Any]", values)
    objects = _read_objects(known.get("object_data"))
    removed = known.get("removed_object_uid", objects[0].asset)
    if task == "remove" and removed != objects[0].asset:
        raise ValueError(f"removed_object_uid {str(removed)[:LONGEST]} is not the first of object_data")
    return Metadata(objects, _read_angle(known) if task == "rotate" else 0.0)


def _read_objects(entries: Any) -> tuple[Described, ...]:
    if not isinstance(entries, list) or not entries:
        raise ValueError("no object_data")
    found: list[Described] = []
    for number, entry in enumerate(cast("list[Any]", entries)):
        values = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {}
        uid, category = values.get("uid"), values.get("category", "")
        if not isinstance(uid, str) or not uid or not isinstance(category, str):
            raise ValueError(f"object_data[{number}] has no uid, or a category that is no text")
        if len(uid) > LONGEST or len(category) > LONGEST or not (uid + category).isprintable():
            raise ValueError(f"object_data[{number}] has a uid or a category of over {LONGEST} characters, or odd ones")
        found.append(Described(uid, " ".join(category.replace("_", " ").lower().split())))
    if len(found) > MAX_OBJECTS:
        raise ValueError(f"{len(found)} objects, more than the {MAX_OBJECTS} that masks can tell apart")
    return tuple(found)


def _read_angle(values: dict[str, Any]) -> float:
    angle = values.get("rotation_angle")
    if isinstance(angle, bool) or not isinstance(angle, (int, float)) or not math.isfinite(angle):
        raise ValueError("no rotation_angle")
    return float(angle)


def make_facts(kind: EditKind, metadata: Metadata, images: Images, caption: Callable[[str], str]) -> PairFacts:
    """The facts of a pair whose images are already in the order of the edit.

    Args:
        caption: the release's description of an asset uid, or an empty string.

    Raises:
        NoName: the edited object cannot be told from another of its category.
    """
    boxes = [
        [box_of_mask(labels == number) for number in range(1, len(metadata.objects) + 1)]
        for labels in (images.source_labels, images.target_labels)
    ]
    captions = [caption(entry.asset) for entry in metadata.objects]
    width = images.source.shape[1]
    names = _names(metadata.objects, captions, boxes[1] if is_backwards(kind) else boxes[0], width)
    objects = [
        _object(number, entry, name, boxes[0][number - 1], boxes[1][number - 1])
        for number, (entry, name) in enumerate(zip(metadata.objects, names, strict=True), start=1)
    ]
    view = _view(width, images.source.shape[0])
    return PairFacts(
        dataset=DATASET,
        edit=_edit(kind, metadata, boxes[1][0]),
        camera=Camera(source=view, target=view),
        objects=objects,
        measures=Measures(displacement_px=displacement(images.source_labels == 1, images.target_labels == 1)),
        description=captions[0],
    )


def _edit(kind: EditKind, metadata: Metadata, box: list[int]) -> Edit:
    return Edit(
        kind=kind,
        # The release says where a moved object ends in the image, not in metres; the box says that.
        known=kind != "translate",
        object=1,
        translation=[0.0, 0.0, 0.0],
        # 315 degrees counter-clockwise are said as 45 clockwise.
        rotation_deg=wrap_degrees(metadata.rotation_deg),
        view="",
        scale=1.0,
        yaw_deg=0.0,
        pitch_deg=0.0,
        zoom=1.0,
        box=box,
    )


def _view(width: int, height: int) -> View:
    K = intrinsics_of_lens(FOCAL_MM, width, height)
    return View(known=False, focal="assumed", K=to_json_list(K), world_from_camera=[0.0] * 16)


def _object(number: int, entry: Described, name: str, source_box: list[int], target_box: list[int]) -> SceneObject:
    return SceneObject(
        id=number,
        name=name,
        category=entry.category,
        asset=entry.asset,
        licence=UNKNOWN,
        creator=UNKNOWN,
        known=False,
        size_m=[0.0] * 3,
        source_pose=[0.0] * 16,
        target_pose=[0.0] * 16,
        source_box=source_box,
        target_box=target_box,
        source_visible=0.0,
        target_visible=0.0,
    )


def _names(objects: Sequence[Described], captions: Sequence[str], boxes: list[list[int]], width: int) -> list[str]:
    """A noun phrase without an article for each object; the first one's fits no other object with a box.

    In this order: category, the release's own caption, place in the image.
    """
    nouns = [entry.category or "object" for entry in objects]
    rivals = [k for k in range(1, len(objects)) if any(boxes[k]) and f" {nouns[k]}".endswith(f" {nouns[0]}")]
    if not rivals:
        return nouns
    phrases = [_without_article(text) for text in captions]
    told = phrases[0] and phrases[0] != nouns[0]
    # `red mug` fits what its own caption calls a shiny red mug, too.
    if told and all(phrases[k] and not f" {phrases[k]}".endswith(f" {phrases[0]}") for k in rivals):
        return [phrases[0], *nouns[1:]]
    place = _place(boxes[0], [boxes[k] for k in rivals], width)
    if not place:
        raise NoName(f"{len(rivals)} other objects of category '{nouns[0]}', at no clear side of it")
    return [f"{place} {nouns[0]}", *nouns[1:]]


def _place(box: list[int], others: list[list[int]], width: int) -> str:
    centre = (box[0] + box[2]) / 2
    shifts = [(other[0] + other[2]) / 2 - centre for other in others]
    margin = _PLACE_MARGIN * width
    if all(shift > margin for shift in shifts):
        return "left" if len(others) == 1 else "leftmost"
    if all(shift < -margin for shift in shifts):
        return "right" if len(others) == 1 else "rightmost"
    return ""


def _without_article(text: str) -> str:
    lowered = text.lower().strip().rstrip(".")
    return next((lowered.removeprefix(word) for word in _ARTICLES if lowered.startswith(word)), lowered)
