"""Shards of every edit kind, two splits, small."""

from collections.abc import Callable

import numpy as np
import pytest

from spatialdata_builder.shards import codecs
from spatialdata_builder.shards.geometry import box_of_mask
from spatialdata_builder.shards.index import Manifest, pack_shard, write_manifest
from spatialdata_builder.shards.layout import shard_name
from spatialdata_builder.shards.reader import read_record
from spatialdata_builder.shards.recipes import get_recipe
from spatialdata_builder.shards.schema import (
    EDIT_KINDS,
    FLOOR,
    NO_SUPPORT,
    SUPPORT_VERSION,
    EditKind,
    SampleRecord,
    Split,
    SupportRef,
)
from spatialdata_builder.shards.writer import encode_record
from tests.shards.factory import make_sample, out_of

SIDE = 64


def edited(key: str, kind: EditKind, split: Split = "train", **edit: object) -> dict[str, bytes]:
    """A sample whose edited object is number 2 (except for camera edits), with masks that fit the edit kind."""
    members = make_sample(key, split=split, kind=kind, side=SIDE)
    before, after = np.zeros((SIDE, SIDE), np.uint8), np.zeros((SIDE, SIDE), np.uint8)
    before[30:50, 4:24] = after[30:50, 4:24] = 1
    if kind != "insert":
        before[8:20, 30:40] = 2
    if kind != "remove":
        after[12:26, 40:52] = 2
    record = read_record(members["json"])
    number = 0 if kind == "camera" else 2
    objects = [
        entry.model_copy(
            update={"source_box": box_of_mask(before == entry.id), "target_box": box_of_mask(after == entry.id)}
        )
        for entry in record.objects
    ]
    changes = {"object": number, "box": box_of_mask(after == 2) if number else [0, 0, 0, 0], **edit}
    record = record.model_copy(update={"edit": record.edit.model_copy(update=changes), "objects": objects})
    return members | {
        "source_instances.png": codecs.encode_labels(before),
        "target_instances.png": codecs.encode_labels(after),
        "json": encode_record(record),
    }


def supported(key: str, kind: EditKind) -> dict[str, bytes]:
    """As `edited`, in a room: object 1 is on the floor, object 2 goes from the second shelf of object 1 to its top."""
    members = edited(key, kind)
    record = record_of(members)
    shelf = SupportRef(object=1, kind="shelf", shelf=2, shelves=3)
    top = SupportRef(object=1, kind="top", shelf=0, shelves=0)
    before, after = (NO_SUPPORT if kind == "insert" else shelf), (NO_SUPPORT if kind == "remove" else top)
    first, second = record.objects
    objects = [
        first.model_copy(update={"source_support": FLOOR, "target_support": FLOOR}),
        second.model_copy(update={"source_support": before, "target_support": after}),
    ]
    update = {"schema_version": SUPPORT_VERSION, "scene": "room", "objects": objects}
    return members | {"json": encode_record(record.model_copy(update=update))}


def pack(out, samples: dict[str, dict[str, bytes]], split: Split = "train", recipe: str = "full") -> Manifest:
    """Pack samples, given by key, into shards of two samples each, in the layout of OUT."""
    fields = get_recipe(recipe).fields()
    folder, keys = out_of(out, split, recipe), sorted(samples)
    groups = [keys[first : first + 2] for first in range(0, len(keys), 2)]
    entries = [
        pack_shard(
            folder,
            shard_name("trial", split, number, len(groups)),
            ((key, {name: samples[key][name] for name in fields if name in samples[key]}) for key in group),
        )
        for number, group in enumerate(groups)
    ]
    return write_manifest(folder, name="trial", recipe=recipe, split=split, members=fields, shards=entries)


def record_of(members: dict[str, bytes]) -> SampleRecord:
    return read_record(members["json"])


@pytest.fixture
def built(tmp_path) -> tuple[str, dict[str, dict[str, bytes]]]:
    """OUT of a build with one sample of each edit kind in train and a move in test, and the members by key."""
    train = {f"s-{kind}": edited(f"s-{kind}", kind, rotation_deg=-45.0) for kind in EDIT_KINDS}
    test = {"s-held": edited("s-held", "translate", "test")}
    out = tmp_path / "out"
    pack(out, train)
    pack(out, test, "test")
    return str(out), train | test


@pytest.fixture
def tree() -> Callable[..., dict[str, bytes]]:
    """A function that returns all files below a folder: relative path to bytes."""
    return lambda root: {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }
