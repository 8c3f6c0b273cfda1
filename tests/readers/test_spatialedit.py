"""`spatialdata export --layout spatialedit`, read with webdataset, json and Pillow as that layout's public trainers do.

The layout's images are JPEGs. The pixels that are read must equal the shard's image (with the red box of moves),
encoded once as JPEG of quality 95 without chroma subsampling; from shards with JPEGs, the pixels are unchanged.
"""

import json

import cv2
import numpy as np
import pytest
import webdataset

from spatialdata_builder.shards.index import pack_shard, write_manifest
from spatialdata_builder.shards.layout import shard_name
from spatialdata_builder.shards.recipes import get_recipe
from tests.pipeline.command_line import run
from tests.readers.pixels import pillow
from tests.shards.factory import out_of
from tests.shards.interop.conftest import SIDE, edited

FAMILIES = {"s-translate": "move", "s-scale": "move", "s-rotate": "rotate", "s-camera": "camera"}
BOX = (40, 12, 52, 26)
LINE_WIDTH = 2


def jpeg(pixels):
    options = (cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    return cv2.imencode(".jpg", np.ascontiguousarray(pixels[..., ::-1]), options)[1].tobytes()


def boxed(pixels):
    x0, y0, x1, y1 = BOX
    drawn = pixels.copy()
    for inset in range(LINE_WIDTH):
        left, top, right, bottom = x0 + inset, y0 + inset, x1 - 1 - inset, y1 - 1 - inset
        drawn[[top, bottom], left : right + 1] = drawn[top : bottom + 1, [left, right]] = (255, 0, 0)
    return drawn


def read(folder):
    """Family, source, target and instruction by key, as the layout defines: images by number, the target is last."""
    found = {}
    for tar in sorted(folder.glob("*/worker*-*.tar")):
        for sample in webdataset.WebDataset(str(tar), shardshuffle=False):
            content = json.loads(sample["json"])
            images = [pillow(sample[name]) for name in sorted(name for name in sample if name.endswith(".jpg"))]
            human, answer = content["conversations"]
            assert (human["from"], answer) == ("human", {"from": "gpt", "value": "<image>"})
            assert content["meta"]["sample_id"] == sample["__key__"]
            prefix, text = human["value"].split("\n", 1)
            assert (prefix, text) == ("<image>", content["metadata"]["instruction"])
            source, target = images
            found[sample["__key__"]] = (tar.parent.name, source, target, text)
    return found


@pytest.fixture(params=["webp", "jpg"])
def exported(request, tmp_path):
    """Stored images by key, and the export's training split."""
    codec = request.param
    stored, samples = {}, []
    for key in sorted(FAMILIES):
        members = edited(key, key.removeprefix("s-"))
        for name in ("source", "target"):
            data = members.pop(f"{name}.webp")
            members[f"{name}.{codec}"] = data if codec == "webp" else jpeg(pillow(data))
            stored[key, name] = pillow(members[f"{name}.{codec}"])
        samples.append((key, {field: members[field] for field in get_recipe("spatialedit").fields(codec)}))
    folder = out_of(tmp_path / "out", recipe="spatialedit")
    fields = get_recipe("spatialedit").fields(codec)
    entry = pack_shard(folder, shard_name("trial", "train", 0, 1), samples)
    write_manifest(folder, name="trial", recipe="spatialedit", split="train", members=fields, shards=[entry])
    assert run("export", tmp_path / "out", "--layout", "spatialedit", "--out", tmp_path / "set").code == 0
    return codec, stored, tmp_path / "set" / "train"


def test_every_pixel_is_as_expected(exported):
    codec, stored, folder = exported
    found = read(folder)
    assert {key: family for key, (family, *_) in found.items()} == FAMILIES
    for key, (family, source, target, text) in found.items():
        assert source.shape == target.shape == (SIDE, SIDE, 3)
        expected = {name: stored[key, name] for name in ("source", "target")}
        if family == "move":
            assert "red box" in text
            expected["source"] = pillow(jpeg(boxed(expected["source"])))
        elif codec == "webp":
            expected["source"] = pillow(jpeg(expected["source"]))
        if codec == "webp":
            expected["target"] = pillow(jpeg(expected["target"]))
        assert np.array_equal(source, expected["source"]), key
        assert np.array_equal(target, expected["target"]), key
