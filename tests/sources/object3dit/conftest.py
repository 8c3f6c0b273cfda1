"""Small pairs in the release's layout: a colored object on a noisy floor, and another one beside it."""

import io
import json
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from spatialdata_builder.shards.interop.set1 import draw_mask

SIZE = 64


def png(pixels):
    return cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes()


def labels_of(edited_box, other_box=(40, 40, 52, 56)):
    labels = np.zeros((SIZE, SIZE), np.uint8)
    for label, box in ((2, other_box), (1, edited_box)):
        if box:
            labels[box[1] : box[3], box[0] : box[2]] = label
    return labels


def picture(labels, seed, tiles=0):
    """`tiles`: seed of a pattern of the floor, for images that are not duplicates; 0: a plain floor."""
    floor = np.random.default_rng(seed).integers(98, 101, (SIZE, SIZE, 3)).astype(np.uint8)
    if tiles:
        levels = np.random.default_rng(tiles).integers(0, 60, (8, 8, 1)).astype(np.uint8)
        floor += np.kron(levels, np.ones((SIZE // 8, SIZE // 8, 1), np.uint8))
    floor[labels == 1] = (200, 30, 40)
    floor[labels == 2] = (20, 160, 60)
    return floor


def pair_files(task="translate", assets=("aaa", "bbb"), categories=("mug", "book"), angle=90, tiles=0):
    """The five files of a pair by name."""
    before = labels_of((8, 10, 20, 24))
    after = {
        "translate": labels_of((24, 12, 38, 28)),
        "rotate": labels_of((8, 10, 22, 23)),
        "remove": labels_of(None),
    }
    metadata = {
        "object_data": [{"uid": uid, "category": name} for uid, name in zip(assets, categories, strict=True)],
        "translate": {"translation_category": categories[0], "end_location_2d": [0.5, 0.3]},
        "rotate": {"rotation_category": categories[0], "rotation_angle": angle},
        "remove": {"removed_object_uid": assets[0], "removed_object_camera_coords": [0.2, 0.3]},
    }
    return {
        "1.png": png(picture(before, 1, tiles)),
        "2.png": png(picture(after[task], 2, tiles)),
        "1_mask.png": png(draw_mask(before)),
        "2_mask.png": png(draw_mask(after[task])),
        "metadata.json": json.dumps({"object_data": metadata["object_data"], **metadata[task]}).encode(),
    }


def pack(path, files, *, members=()):
    """A tar or tar.gz of {name: bytes}, then raw TarInfo members."""
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for info in members:
            tar.addfile(info, io.BytesIO(bytes(info.size)) if info.isreg() else None)
    return path


RELEASE = {
    "translate/train/t1": ("translate", ("aaa", "bbb")),
    "translate/val/seen/v1": ("translate", ("bbb", "ccc")),
    "rotate/test/unseen/r1": ("rotate", ("ddd", "eee")),
    "remove/train/m1": ("remove", ("fff", "bbb")),
    "remove/test/seen/m2": ("remove", ("ggg", "fff")),
}


@pytest.fixture
def release_files():
    """A small release: {path: bytes}."""
    return {
        f"{folder}/{name}": data
        for folder, (task, assets) in RELEASE.items()
        for name, data in pair_files(task, assets).items()
    }


@pytest.fixture
def release(tmp_path, release_files):
    """The small release as folders."""
    root = tmp_path / "release"
    for name, data in release_files.items():
        path = Path(root / name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


@pytest.fixture
def packed(tmp_path, release_files):
    """The small release as one archive per task: two compressed, one not."""
    root = tmp_path / "packed"
    root.mkdir()
    for task, suffix in (("translate", ".tar.gz"), ("rotate", ".tar"), ("remove", ".tgz")):
        pack(root / f"{task}{suffix}", {n: d for n, d in release_files.items() if n.startswith(task)})
    return root
