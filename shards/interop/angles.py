"""The layout of trainers of edit LoRAs, with the vocabularies of multi-angle LoRAs: camera edits only.

`<split>/<key>_start.png`, `<key>_end.png`, `<key>.txt` with the caption. Three vocabularies:

- `fal` (fal/Qwen-Image-Edit-2511-Multiple-Angles-LoRA): the view of the target, by azimuth, elevation and distance.
  Left and right are those of a viewer who looks at the object's front, so they are the opposite of those in the names
  of canonical views, which are the object's own.
- `dx8152` (dx8152/Qwen-Edit-2509-Multiple-angles): one step of the camera. To rotate it to the left is to orbit to the
  viewer's left, around what it looks at.
- `spatialedit`: the wording of SpatialEdit's bench.

A sample that a vocabulary cannot state exactly is left out and counted. Invariant: the same shards give the same bytes;
a sample's caption is written last, so a sample that has one is complete.
"""

from collections import Counter
from typing import Final, Literal, assert_never, get_args

from ..codecs import decode_image, encode_image
from ..geometry import wrap_degrees
from ..layout import filesystem, join
from ..reader import StoredSample
from ..schema import Edit, SampleRecord
from ..views import orbit_views
from ..writer import publish_bytes
from .destination import Exported, claim, find_input, finish, read_input
from .wording import bench_wording, view_name

LAYOUT: Final = "angles"
Vocabulary = Literal["fal", "dx8152", "spatialedit"]
VOCABULARIES: Final[tuple[Vocabulary, ...]] = get_args(Vocabulary)
_TRIGGER: Final = "<sks>"
_AZIMUTHS: Final = {
    "front view": "front view",
    "front left side view": "front-right quarter view",
    "left side view": "right side view",
    "rear left side view": "back-right quarter view",
    "rear view": "back view",
    "rear right side view": "back-left quarter view",
    "right side view": "left side view",
    "front right side view": "front-left quarter view",
}
"""Canonical view -> azimuth of `fal`: the object's own left is to the right of a viewer who looks at its front."""
_HEIGHTS: Final = {height: f"{height} shot" for height in ("low-angle", "eye-level", "elevated", "high-angle")}
_FRAMINGS: Final = {"close-up": "close-up", "medium": "medium shot", "wide": "wide shot"}
_TURNS: Final = (45, 90)
"""Degrees that the vocabulary `dx8152` names."""
_TOP_DOWN: Final = 80.0
"""Least elevation of a top-down view, degrees."""
_EXACT_DEG: Final = 0.01
_EXACT_ZOOM: Final = 1e-4


def export(shards_url: str, out: str, *, vocabulary: Vocabulary) -> Exported:
    """Write the camera edits of shards of recipe `full` (else `spatialedit`) as pairs of PNGs with a caption.

    Args:
        out: any fsspec URL.

    Raises:
        BadInput: no such shards, or `out` has other content than this export in this vocabulary.
        ShardError: a shard is damaged.
    """
    found = find_input(shards_url, ("full", "spatialedit"))
    layout = f"{LAYOUT} {vocabulary}"
    claim(out, layout, found)
    fs, _ = filesystem(out)
    written: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    for record, sample in read_input(found, ("source", "target")):
        text, reason = caption(record, vocabulary)
        if reason:
            skipped[reason] += 1
            continue
        written[record.split] += 1
        place = join(out, record.split, record.key)
        if not fs.exists(filesystem(f"{place}.txt")[1]):
            publish_bytes(_png(sample, "source"), f"{place}_start.png")
            publish_bytes(_png(sample, "target"), f"{place}_end.png")
            publish_bytes(f"{text}\n".encode(), f"{place}.txt")
    result = Exported(written.total(), dict(sorted(written.items())), dict(sorted(skipped.items())))
    finish(out, layout, found, result)
    return result


def caption(record: SampleRecord, vocabulary: Vocabulary) -> tuple[str, str]:
    """The caption of a sample and an empty reason, or an empty caption and the reason why there is none.

    Reasons: `no_task_for_<kind>`, `camera_unknown`; `no_named_side` (of `fal`: the front of the object is not known, or
    the view is between two named ones, or the camera does not go around one object), `no_word_for_view` (of `fal`: the
    elevation or distance is between two named ones), `no_phrase` (of `dx8152`: no sentence is exactly this edit).
    """
    edit = record.edit
    if edit.kind != "camera":
        return "", f"no_task_for_{edit.kind}"
    if not edit.known:
        return "", "camera_unknown"
    match vocabulary:
        case "fal":
            return _fal(record)
        case "dx8152":
            text = _dx8152(record)
            return text, "" if text else "no_phrase"
        case "spatialedit":
            return bench_wording(edit, ""), ""
        case _:
            assert_never(vocabulary)


def _fal(record: SampleRecord) -> tuple[str, str]:
    views = orbit_views(record.edit, record.objects, record.camera)
    side = _AZIMUTHS.get(view_name(record.edit.view), "")
    if views is None or not side:
        return "", "no_named_side"
    height, framing = views[1].height, views[1].framing
    if height is None or framing is None:
        return "", "no_word_for_view"
    return f"{_TRIGGER} {side} {_HEIGHTS[height]} {_FRAMINGS[framing]}", ""


def _dx8152(record: SampleRecord) -> str:
    edit = record.edit
    yaw, pitch, zoom = _steps(edit)
    if yaw and not pitch and not zoom:
        side = "right" if edit.yaw_deg > 0 else "left"
        turn = next((turn for turn in _TURNS if abs(abs(wrap_degrees(edit.yaw_deg)) - turn) <= _EXACT_DEG), 0)
        return f"Rotate the camera {turn} degrees to the {side}." if turn else ""
    views = orbit_views(record.edit, record.objects, record.camera)
    if zoom and edit.zoom > 1 and not yaw and not pitch:
        close = views is not None and views[1].framing == "close-up"
        return "Turn the camera to a close-up." if close else "Move the camera forward."
    if pitch and not yaw and not zoom and views is not None and views[1].elevation_deg >= _TOP_DOWN:
        return "Turn the camera to a top-down view."
    return ""


def _steps(edit: Edit) -> tuple[bool, bool, bool]:
    """Whether yaw, pitch and distance change."""
    return (
        abs(wrap_degrees(edit.yaw_deg)) > _EXACT_DEG,
        abs(edit.pitch_deg) > _EXACT_DEG,
        abs(edit.zoom - 1.0) > _EXACT_ZOOM,
    )


def _png(sample: StoredSample, name: str) -> bytes:
    """An image of the sample. A PNG is copied, not encoded again."""
    data = sample.members[name]
    return data if sample.extensions[name] == "png" else encode_image(decode_image(data), "png")
