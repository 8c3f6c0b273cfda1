"""Small consistent samples in which verify finds no problems."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spatialdata_builder.shards import codecs
from spatialdata_builder.shards.geometry import box_of_mask, intrinsics_of_lens, look_at, similarity, to_json_list
from spatialdata_builder.shards.index import Manifest, ShardEntry, pack_shard, write_manifest
from spatialdata_builder.shards.layout import join, shard_name
from spatialdata_builder.shards.reader import read_record
from spatialdata_builder.shards.recipes import Recipe, get_recipe
from spatialdata_builder.shards.schema import (
    FAMILY_VERSION,
    NO_SUPPORT,
    SCHEMA_VERSION,
    Camera,
    Edit,
    EditKind,
    Instruction,
    Maps,
    Provenance,
    SampleRecord,
    SceneObject,
    Scores,
    Split,
    View,
)
from spatialdata_builder.shards.writer import encode_record

SIDE = 24


def make_sample(
    key: str,
    *,
    split: Split = "train",
    asset: str = "",
    kind: EditKind = "translate",
    side: int = SIDE,
    dataset: str = "test",
    recipe: Recipe | None = None,
) -> dict[str, bytes]:
    """The members of a sample of a recipe (default: `full`), by field: two boxes, the first of which moves right."""
    random = np.random.default_rng([len(key), *key.encode()])
    source = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
    before, after = np.zeros((side, side), np.uint8), np.zeros((side, side), np.uint8)
    before[4:12, 2:10], after[4:12, 6:14] = 1, 1
    before[14:18, 14:18] = after[14:18, 14:18] = 2
    changed = (before == 1) | (after == 1) if kind != "camera" else np.ones((side, side), bool)
    target = source.copy()
    target[changed] = random.integers(0, 256, (int(changed.sum()), 3), dtype=np.uint8)
    z = (2 + random.random((side, side))).astype(np.float32)
    z[:2] = 0
    normals = np.zeros((side, side, 3), np.float32)
    normals[2:] = [0, 0, -1]
    metric, metric_info = codecs.encode_metric(z, estimator="test", revision="1")
    depth, depth_info = codecs.encode_relative(
        np.divide(1, z, out=np.zeros_like(z), where=z > 0), estimator="test", revision="1"
    )
    confidence, confidence_info = codecs.encode_confidence(
        np.where(z > 0, 1 + 3 * random.random(z.shape), 0).astype(np.float32), estimator="test", revision="1"
    )
    normal_info = codecs.map_info("normal", estimator="test", revision="1")
    segment_info = codecs.map_info("segments", estimator="test", revision="1", count=2)
    line_info = codecs.map_info("lines", estimator="test", revision="1")
    maps = Maps(
        depth=depth_info,
        source_depth=depth_info,
        metric=metric_info,
        source_metric=metric_info,
        confidence=confidence_info,
        source_confidence=confidence_info,
        normal=normal_info,
        source_normal=normal_info,
        segment=segment_info,
        source_segment=segment_info,
        line=line_info,
        source_line=line_info,
    )
    view = View(
        known=True,
        focal="exact",
        K=to_json_list(intrinsics_of_lens(35, side, side)),
        world_from_camera=to_json_list(look_at([2, -2, 1], [0, 0, 0])),
    )
    record = SampleRecord(
        key=key,
        schema=SCHEMA_VERSION,
        dataset=dataset,
        split=split,
        caption="two boxes",
        source_caption="two boxes",
        edit=Edit(
            kind=kind,
            known=True,
            object=0 if kind == "camera" else 1,
            translation=[0.1, 0, 0],
            rotation_deg=0,
            view="",
            scale=1,
            yaw_deg=0,
            pitch_deg=0,
            zoom=1,
            box=box_of_mask(after == 1),
        ),
        instruction=Instruction(text="Move it.", variants=["Move it."], method="template", model="", verified=True),
        camera=Camera(source=view, target=view),
        objects=[_object(i, asset or f"asset-{key}", before == i, after == i) for i in (1, 2)],
        maps=maps,
        scores=Scores(visible_source=1.0, visible_target=1.0),
        provenance=Provenance(plan="0" * 8, unit=0, seed=7, layers=["pair-0"], versions=["numpy=2"]),
    )
    members = {
        "source.webp": codecs.encode_image(source),
        "target.webp": codecs.encode_image(target),
        "source_instances.png": codecs.encode_labels(before),
        "target_instances.png": codecs.encode_labels(after),
        "changed.png": codecs.encode_mask(changed),
        **{
            f"{view}{name}.png": data
            for view, labels in (("", after), ("source_", before))
            for name, data in (
                ("depth", depth),
                ("metric", metric),
                ("confidence", confidence),
                ("normal", codecs.encode_normals(normals)),
                ("segment", codecs.encode_labels(codecs.relabel(labels))),
                ("line", codecs.encode_lines(np.where(labels == 1, 0, 255).astype(np.uint8))),
            )
        },
        "json": encode_record(record),
    }
    return {field: members[field] for field in (recipe or get_recipe("full")).fields()}


def _object(number: int, asset: str, before: np.ndarray, after: np.ndarray) -> SceneObject:
    return SceneObject(
        id=number,
        name=f"box {number}",
        category="box",
        asset=f"{asset}-{number}",
        licence="cc0",
        creator="nobody",
        known=True,
        size_m=[1, 1, 1],
        source_pose=to_json_list(similarity(0, 0, 0, 0)),
        target_pose=to_json_list(similarity(0.1, 0, 0, 0)),
        source_box=box_of_mask(before),
        target_box=box_of_mask(after),
        source_visible=1.0,
        target_visible=1.0,
    )


def with_family(key: str, family: str, states: str = "0 1", **sample: Any) -> dict[str, bytes]:
    """The members of a sample that says which samples share its scene, as every one of version 6 does.

    Args:
        sample: arguments of `make_sample`.
    """
    members = make_sample(key, **sample)
    record = read_record(members["json"]).model_dump(mode="json", by_alias=True)
    record |= {"schema": FAMILY_VERSION, "scene": "open"}
    record["edit"]["second_object"] = 0
    for thing in record["objects"]:
        thing |= {"source_support": NO_SUPPORT.model_dump(), "target_support": NO_SUPPORT.model_dump()}
    record["provenance"] |= {"family": family, "states": states}
    return members | {"json": encode_record(SampleRecord.model_validate(record))}


def make_split(
    folder: str,
    keys: Sequence[Sequence[str]],
    *,
    split: Split = "train",
    recipe: Recipe | None = None,
    changes: dict[str, dict[str, bytes]] | None = None,
    asset: str = "",
    dataset: str = "test",
    version: int = SCHEMA_VERSION,
) -> Manifest:
    """Pack one shard for each sequence of keys; `changes` replaces members (by key, then field)."""
    recipe = recipe or get_recipe("full")
    entries: list[ShardEntry] = []
    for index, shard_keys in enumerate(keys):

        def samples(shard_keys: Sequence[str] = shard_keys) -> Iterator[tuple[str, dict[str, bytes]]]:
            for key in shard_keys:
                members = make_sample(key, split=split, asset=asset, dataset=dataset, recipe=recipe)
                members |= (changes or {}).get(key, {})
                yield key, {field: members[field] for field in recipe.fields() if field in members}

        entries.append(pack_shard(folder, shard_name("trial", split, index, len(keys)), samples()))
    return write_manifest(
        folder,
        name="trial",
        recipe=recipe.name,
        split=split,
        members=recipe.fields(),
        shards=entries,
        version=version,
    )


def out_of(path: Path, split: str = "train", recipe: str = "full") -> str:
    """The folder of a split below OUT."""
    return join(str(path), "shards", recipe, split)
