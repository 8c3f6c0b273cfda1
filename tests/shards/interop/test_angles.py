"""The layout of multi-angle LoRAs: which captions a camera edit has, and what the folder holds."""

import numpy as np
import pytest

from spatialdata_builder.shards.codecs import decode_image
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.interop import angles
from spatialdata_builder.shards.schema import Camera, SampleRecord
from spatialdata_builder.shards.writer import encode_record
from tests.shards.interop.conftest import edited, pack, record_of
from tests.shards.orbits import Place, edit_between, thing, view_at

FIRST = (0, 0, 1.0)
AZIMUTHS = {
    0: "front view",
    45: "front-right quarter view",
    90: "right side view",
    135: "back-right quarter view",
    180: "back view",
    -135: "back-left quarter view",
    -90: "left side view",
    -45: "front-left quarter view",
}
"""Counter-clockwise from above is to the right of a viewer who stands in front of the object."""


def record_between(source: Place, target: Place, front: bool = True, key: str = "s-camera") -> SampleRecord:
    camera = Camera(source=view_at(source), target=view_at(target))
    update = {"edit": edit_between(source, target, front), "objects": [thing()], "camera": camera}
    return record_of(edited(key, "camera")).model_copy(update=update)


@pytest.mark.parametrize("azimuth", AZIMUTHS)
def test_fal_says_the_view_of_the_target(azimuth: int):
    for elevation, height in ((-30, "low-angle"), (0, "eye-level"), (30, "elevated"), (60, "high-angle")):
        for distance, framing in ((0.6, "close-up"), (1.0, "medium shot"), (1.8, "wide shot")):
            record = record_between((-45, 30, 1.3), (azimuth, elevation, distance))
            assert angles.caption(record, "fal") == (f"<sks> {AZIMUTHS[azimuth]} {height} shot {framing}", "")


def test_a_viewer_in_front_sees_the_camera_of_a_right_side_view_to_the_right():
    front, right = (np.reshape(view_at((azimuth, 0, 1.0)).world_from_camera, (4, 4)) for azimuth in (0, 90))
    towards = right[:3, 3] - front[:3, 3]
    assert towards @ front[:3, 0] > 0


def test_fal_leaves_out_what_it_cannot_say():
    assert angles.caption(record_between(FIRST, (45, 0, 1.0), front=False), "fal") == ("", "no_named_side")
    assert angles.caption(record_between(FIRST, (30, 0, 1.0)), "fal") == ("", "no_named_side")
    assert angles.caption(record_between(FIRST, (45, 45, 1.0)), "fal") == ("", "no_word_for_view")
    assert angles.caption(record_between(FIRST, (45, 0, 1.3)), "fal") == ("", "no_word_for_view")
    assert angles.caption(record_of(edited("s-camera", "camera")), "fal") == ("", "no_named_side")


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        (FIRST, (45, 0, 1.0), "Rotate the camera 45 degrees to the right."),
        ((180, 30, 1.0), (135, 30, 1.0), "Rotate the camera 45 degrees to the left."),
        ((135, 30, 1.0), (-135, 30, 1.0), "Rotate the camera 90 degrees to the right."),
        (FIRST, (0, 0, 0.6), "Turn the camera to a close-up."),
        ((0, 0, 1.8), (0, 0, 1.0), "Move the camera forward."),
        (FIRST, (0, 85, 1.0), "Turn the camera to a top-down view."),
        (FIRST, (135, 0, 1.0), ""),
        (FIRST, (180, 0, 1.0), ""),
        (FIRST, (0, 30, 1.0), ""),
        (FIRST, (45, 0, 0.6), ""),
        (FIRST, (0, 0, 1.8), ""),
        ((0, 85, 1.0), FIRST, ""),
    ],
)
def test_dx8152_says_what_is_exactly_one_step(source: Place, target: Place, said: str):
    reason = "" if said else "no_phrase"
    assert angles.caption(record_between(source, target), "dx8152") == (said, reason)
    assert angles.caption(record_between(source, target, front=False), "dx8152") == (said, reason)


def test_other_edits_and_unknown_cameras_are_left_out(built, tmp_path):
    for vocabulary in angles.VOCABULARIES:
        assert angles.caption(record_of(built[1]["s-translate"]), vocabulary)[1] == ("no_task_for_translate")
        record = record_between(FIRST, (45, 0, 1.0))
        unknown = record.model_copy(update={"edit": record.edit.model_copy(update={"known": False})})
        assert angles.caption(unknown, vocabulary) == ("", "camera_unknown")
    result = angles.export(built[0], str(tmp_path / "angles"), vocabulary="spatialedit")
    assert result.written == {"train": 1}
    assert result.skipped["no_task_for_translate"] == 2 and sum(result.skipped.values()) == 7


def packed(tmp_path) -> str:
    """OUT with three camera edits around one object."""
    samples: dict[str, dict[str, bytes]] = {}
    for key, target in (("s-a", (45, 30, 1.0)), ("s-b", (0, 0, 0.6)), ("s-c", (30, 0, 1.0))):
        members = edited(key, "camera")
        samples[key] = members | {"json": encode_record(record_between(FIRST, target, key=key))}
    pack(tmp_path / "packed", samples)
    return str(tmp_path / "packed")


def test_a_folder_has_two_images_and_a_caption_for_each_sample(tmp_path, tree):
    url = packed(tmp_path)
    result = angles.export(url, str(tmp_path / "fal"), vocabulary="fal")
    assert (result.written, result.skipped) == ({"train": 2}, {"no_named_side": 1})
    files = tree(tmp_path / "fal")
    ends = ("_end.png", "_start.png", ".txt")
    assert set(files) == {"export.json", *(f"train/{key}{end}" for key in ("s-a", "s-b") for end in ends)}
    assert files["train/s-a.txt"] == b"<sks> front-right quarter view elevated shot medium shot\n"
    source = decode_image(edited("s-a", "camera")["source.webp"])
    np.testing.assert_array_equal(decode_image(files["train/s-a_start.png"]), source)


def test_a_stopped_export_is_resumed_and_equal(tmp_path, tree):
    url = packed(tmp_path)
    angles.export(url, str(tmp_path / "one"), vocabulary="dx8152")
    angles.export(url, str(tmp_path / "two"), vocabulary="dx8152")
    (tmp_path / "two/train/s-b.txt").unlink()
    (tmp_path / "two/train/s-b_end.png").unlink()
    angles.export(url, str(tmp_path / "two"), vocabulary="dx8152")
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    with pytest.raises(BadInput, match="other content"):
        angles.export(url, str(tmp_path / "two"), vocabulary="fal")
