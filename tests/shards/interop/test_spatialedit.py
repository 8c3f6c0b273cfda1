import json
import tarfile

import numpy as np
import pytest

from spatialdata_builder.shards.codecs import decode_image
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.geometry import psnr
from spatialdata_builder.shards.interop import spatialedit
from spatialdata_builder.shards.interop.spatialedit import bench_instruction, draw_box
from tests.shards.interop.conftest import edited, pack, record_of, supported


def members_of(path):
    with tarfile.open(path) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}


def test_layout_and_counts(built, tmp_path):
    result = spatialedit.export(built[0], str(tmp_path / "se"))
    assert result.written == {
        "test/move": 1,
        "train/camera": 1,
        "train/insert": 1,
        "train/move": 2,
        "train/remove": 1,
        "train/rotate": 1,
    }
    assert result.skipped == {"no_task_for_swap": 1}
    tars = sorted(str(path.relative_to(tmp_path / "se")) for path in tmp_path.glob("se/**/*.tar"))
    assert tars == [f"{folder}/worker0-000000.tar" for folder in result.written]
    names = list(members_of(tmp_path / "se/train/move/worker0-000000.tar"))
    assert names == [f"s-{kind}.{end}" for kind in ("scale", "translate") for end in ("0.jpg", "1.jpg", "json")]


def test_a_sample_has_the_published_layout(built, tmp_path):
    spatialedit.export(built[0], str(tmp_path / "se"))
    files = members_of(tmp_path / "se/train/move/worker0-000000.tar")
    content = json.loads(files["s-translate.json"])
    text = "Move the box 2 into the red box and finally remove the red box."
    assert content["conversations"] == [
        {"from": "human", "value": f"<image>\n{text}"},
        {"from": "gpt", "value": "<image>"},
    ]
    assert content["metadata"]["instruction"] == text
    assert content["meta"] == {"sample_id": "s-translate"}
    assert content["conversations_human"][0]["value"].endswith(content["metadata"]["instruction_human"])


def test_the_target_box_is_drawn_only_on_the_source_of_moves(built, tmp_path):
    url, samples = built
    spatialedit.export(url, str(tmp_path / "se"))
    moved = members_of(tmp_path / "se/train/move/worker0-000000.tar")
    source = decode_image(samples["s-translate"]["source.webp"])
    boxed = draw_box(source, [40, 12, 52, 26])
    # Noise compresses badly as JPEG; the test only checks that the box is in this image and in no other.
    assert psnr(decode_image(moved["s-translate.0.jpg"]), boxed) > 26
    red = decode_image(moved["s-translate.0.jpg"])[12, 41:51].mean(axis=0)
    assert red[0] > 200
    assert max(red[1:]) < 60
    turned = members_of(tmp_path / "se/train/rotate/worker0-000000.tar")
    assert psnr(decode_image(turned["s-rotate.0.jpg"]), decode_image(samples["s-rotate"]["source.webp"])) > 26
    assert psnr(decode_image(moved["s-translate.1.jpg"]), decode_image(samples["s-translate"]["target.webp"])) > 26


def test_what_objects_stand_on_is_added_and_changes_nothing_else(tmp_path):
    for name, make in (("plain", edited), ("room", supported)):
        pack(tmp_path / name, {"s-1": make("s-1", "translate")})
        spatialedit.export(str(tmp_path / name), str(tmp_path / f"{name}-se"))
    plain, room = (members_of(tmp_path / f"{name}-se/train/move/worker0-000000.tar") for name in ("plain", "room"))
    content = json.loads(room["s-1.json"])
    floor = {"kind": "floor", "object": 0, "shelf": 0, "shelves": 0}
    shelf = {"kind": "shelf", "object": 2, "shelf": 2, "shelves": 3}
    top = {"kind": "top", "object": 2, "shelf": 0, "shelves": 0}
    assert content["metadata"].pop("objects") == [  # the edited object is the first, what it stands on the second
        {"name": "box 2", "source_support": shelf, "target_support": top},
        {"name": "box 1", "source_support": floor, "target_support": floor},
    ]
    assert json.dumps(content).encode() == plain["s-1.json"]
    assert {**room, "s-1.json": b""} == {**plain, "s-1.json": b""}


@pytest.mark.parametrize(("side", "width"), [(64, 2), (512, 3), (1024, 6)])
def test_box_lines(side, width):
    image = np.zeros((side, side, 3), np.uint8)
    drawn = draw_box(image, [10, 20, 40, 60])
    red = (drawn == (255, 0, 0)).all(axis=2)
    assert red[20:60, 10:40].sum() == red.sum() == 30 * 40 - (30 - 2 * width) * (40 - 2 * width)
    assert red[20, 10]
    assert red[59, 39]
    assert not image.any()
    assert draw_box(image, [0, 0, 3, 3])[:3, :3].all(axis=(0, 1))[0]


def test_wordings(tmp_path):
    def text(kind, **edit):
        return bench_instruction(record_of(edited("s-1", kind, **edit)))

    unknown = "Move the box 2 into the red box and finally remove the red box."
    assert text("scale", known=False) == unknown
    for scale, expected in ((1.5, "1.5"), (0.7, "0.7"), (2.0, "2"), (1.234, "1.23")):
        expected = f"Move the box 2 into the red box at {expected} times its size and finally remove the red box."
        assert text("scale", scale=scale) == expected
    assert text("rotate", view="the front left side view.") == "Rotate the box 2 to show the front left side view."
    assert text("rotate") == "Move it."
    assert text("remove") == "Move it."
    assert text("camera", yaw_deg=45.0, pitch_deg=-15.0, zoom=1.5) == (
        "Move the camera.\n- Camera rotation: Yaw 45.0°, Pitch -15.0°.\n- Camera zoom: in.\n"
        "- Keep the 3D scene static; only change the viewpoint."
    )
    assert "Camera zoom: unchanged." in text("camera")
    assert "Camera zoom: out." in text("camera", zoom=0.7)


def test_same_shards_give_same_bytes_in_tars_of_the_given_size(tmp_path, tree):
    pack(tmp_path / "out", {f"s-{n}": edited(f"s-{n}", "rotate") for n in range(5)})
    for name in ("a", "b"):
        spatialedit.export(str(tmp_path / "out"), str(tmp_path / name), samples_per_tar=2)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    tars = sorted((tmp_path / "a/train/rotate").iterdir())
    assert [path.name for path in tars] == [f"worker0-{n:06d}.tar" for n in range(3)]
    assert [len(members_of(path)) for path in tars] == [6, 6, 3]
    with tarfile.open(tars[0]) as tar:
        assert all((info.mtime, info.uid, info.uname) == (0, 0, "") for info in tar)
    spatialedit.export(str(tmp_path / "out"), str(tmp_path / "a"), samples_per_tar=2)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_recipe_spatialedit_works_and_full_is_preferred(built, tmp_path):
    pack(tmp_path / "lean", {"s-1": edited("s-1", "rotate")}, recipe="spatialedit")
    assert spatialedit.export(str(tmp_path / "lean"), str(tmp_path / "se")).samples == 1
    pack(tmp_path / "out", {"s-1": edited("s-1", "rotate")}, recipe="spatialedit")
    assert spatialedit.export(built[0], str(tmp_path / "se2")).samples == 7
    pack(tmp_path / "two", {"s-1": edited("s-1", "rotate")}, recipe="spatialdiff")
    pack(tmp_path / "two", {"s-1": edited("s-1", "rotate")}, recipe="ildm")
    with pytest.raises(BadInput, match="has shards of ildm, spatialdiff"):
        spatialedit.export(str(tmp_path / "two"), str(tmp_path / "se3"))


def test_moves_out_of_the_image_are_skipped(tmp_path):
    pack(tmp_path / "out", {"s-1": edited("s-1", "translate", box=[0, 0, 0, 0]), "s-2": edited("s-2", "translate")})
    result = spatialedit.export(str(tmp_path / "out"), str(tmp_path / "se"))
    assert (result.samples, result.skipped) == (1, {"no_box": 1})


@pytest.mark.torch
def test_webdataset_reads_the_export(built, tmp_path):
    import webdataset as wds

    spatialedit.export(built[0], str(tmp_path / "se"))
    url = str(tmp_path / "se/train/move/worker0-000000.tar")
    samples = list(wds.WebDataset(url, shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == ["s-scale", "s-translate"]
    assert {"0.jpg", "1.jpg", "json"} <= samples[0].keys()


def test_the_human_instruction_of_a_scaling_states_the_factor(tmp_path):
    pack(tmp_path / "out", {"s-1": edited("s-1", "scale", scale=0.8)})
    spatialedit.export(str(tmp_path / "out"), str(tmp_path / "se"))
    content = json.loads(members_of(tmp_path / "se/train/move/worker0-000000.tar")["s-1.json"])
    human = "Make the box 2 0.8 times its size, as large as the red box, and take the red box away."
    assert content["metadata"]["instruction_human"] == human
    assert "at 0.8 times its size" in content["metadata"]["instruction"]
