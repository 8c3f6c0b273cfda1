"""The meta file and the folders of SpatialEdit-Bench."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest

from spatialdata_builder.shards.codecs import decode_image, encode_image
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.interop import spatialedit_bench
from spatialdata_builder.shards.interop.spatialedit import draw_box
from tests.shards.interop.conftest import edited, pack, record_of

META = "SpatialEdit_Bench_Meta_File.json"
ORBIT = {"yaw_deg": 45.0, "pitch_deg": -60.0, "zoom": 0.5}


@pytest.fixture
def samples() -> dict[str, dict[str, bytes]]:
    return {
        "a-move": edited("a-move", "translate", "test"),
        "b-scale": edited("b-scale", "scale", "test", scale=1.5),
        "c-rotate": edited("c-rotate", "rotate", "test", view="the rear left side view."),
        "d-camera": edited("d-camera", "camera", "test", **ORBIT),
        "e-plain": edited("e-plain", "rotate", "test"),
        "f-lost": edited("f-lost", "translate", "test", box=[0, 0, 0, 0]),
        "g-remove": edited("g-remove", "remove", "test"),
        "h-unknown": edited("h-unknown", "camera", "test", known=False),
    }


@pytest.fixture
def exported(samples, tmp_path: Path):
    pack(tmp_path / "out", samples, "test")
    result = spatialedit_bench.export(str(tmp_path / "out"), str(tmp_path / "bench"))
    return result, tmp_path / "bench"


def test_the_meta_file_has_the_fields_of_the_bench(exported, samples):
    _, folder = exported
    items = json.loads((folder / META).read_text())
    box = record_of(samples["a-move"]).edit.box
    assert items == [
        {
            "image_path": "move/a-move.jpg",
            "type": "move",
            "image_id": "a-move",
            "edit_id": "move_000000",
            "prompt": "Move the box 2 into the red box and finally remove the red box.",
            "object": "box 2",
            "bbox_gt": "[40,12,52,26]",
        },
        {
            "image_path": "move/b-scale.jpg",
            "type": "move",
            "image_id": "b-scale",
            "edit_id": "move_000001",
            "prompt": "Move the box 2 into the red box at 1.5 times its size and finally remove the red box.",
            "object": "box 2",
            "bbox_gt": "[40,12,52,26]",
        },
        {
            "image_path": "rotate/c-rotate.jpg",
            "type": "rotate",
            "image_id": "c-rotate",
            "edit_id": "rotate_000002",
            "prompt": "Rotate the box 2 to show the rear left side view.",
            "object": "box 2",
            "bbox_gt": "[40,12,52,26]",
        },
        {
            "image_path": "camera/d-camera.jpg",
            "type": "camera",
            "image_id": "d-camera",
            "edit_id": "YP_spatial_edit_y45_p-60_d1_000003",
            "prompt": "Move the camera.\n- Camera rotation: Yaw 45.0°, Pitch -60.0°.\n- Camera zoom: out.\n"
            "- Keep the 3D scene static; only change the viewpoint.",
            "object": "",
            "bbox_gt": "[0,0,0,0]",
        },
    ]
    assert ast.literal_eval(items[0]["bbox_gt"]) == box


def test_images_and_ground_truth_are_where_the_bench_looks(exported, samples):
    _, folder = exported
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {
        META,
        "export.json",
        "move/a-move.jpg",
        "move/b-scale.jpg",
        "rotate/c-rotate.jpg",
        "rotate/c-rotate_gt.jpg",
        "camera/d-camera.jpg",
        "camera/d-camera_gt.jpg",
        "camera/d-camera.json",
    }
    content = json.loads((folder / "camera" / "d-camera.json").read_text())
    assert content == {"metadata": {"edit_ypd": {"yaw": 45.0, "pitch": -60.0, "distance": 1.0}}}
    for path, key, member in (
        ("camera/d-camera.jpg", "d-camera", "source"),
        ("camera/d-camera_gt.jpg", "d-camera", "target"),
        ("rotate/c-rotate_gt.jpg", "c-rotate", "target"),
    ):
        expected = decode_image(encode_image(decode_image(samples[key][f"{member}.webp"]), "jpg"))
        assert np.array_equal(decode_image((folder / path).read_bytes()), expected)
    boxed = draw_box(decode_image(samples["a-move"]["source.webp"]), [40, 12, 52, 26])
    assert np.array_equal(
        decode_image((folder / "move/a-move.jpg").read_bytes()), decode_image(encode_image(boxed, "jpg"))
    )


def test_what_the_bench_does_not_have_is_counted(exported):
    result, _ = exported
    assert (result.samples, result.written) == (4, {"camera": 1, "move": 2, "rotate": 1})
    assert result.skipped == {"no_named_side": 1, "no_box": 1, "no_task_for_remove": 1, "camera_unknown": 1}


def test_equal_shards_give_equal_files_and_others_are_refused(exported, samples, tmp_path: Path, tree):
    before = tree(tmp_path / "bench")
    spatialedit_bench.export(str(tmp_path / "out"), str(tmp_path / "bench"))
    assert tree(tmp_path / "bench") == before
    pack(tmp_path / "other", {"a-move": samples["a-move"]}, "test")
    with pytest.raises(BadInput, match="other content"):
        spatialedit_bench.export(str(tmp_path / "other"), str(tmp_path / "bench"))
