"""Make a benchmark set from the shards of a build."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np

from ..shards.codecs import decode_image, decode_labels, encode_image, encode_mask, image_size
from ..shards.errors import BadInput
from ..shards.index import pack_shard, read_manifest, write_manifest
from ..shards.interop.destination import Input, find_input, read_input
from ..shards.layout import field_of, find_splits, shard_name
from ..shards.reader import StoredSample
from ..shards.schema import SampleRecord, Split
from ..shards.sidecars import write_sidecars
from .benchmarks import (
    BOX,
    ITEMS,
    MANIFEST,
    MASK,
    NAME_PATTERN,
    NAME_RULE,
    PROMPT,
    RECIPE,
    SOURCE,
    TARGET,
    VERSION,
    Manifest,
    digest_of,
    encode_manifest,
    sha256_of,
)
from .choice import PRESETS, Candidate, Choice, Preset, choose, strata_of

SAMPLES_PER_SHARD: Final = 200
_NEEDED: Final = ("source", "target", "source_instances", "target_instances", "changed")


def make_benchmark(
    url: str,
    folder: Path,
    *,
    name: str,
    preset: str = "balanced",
    per_kind: int = 0,
    split: Split = "test",
    seed: int = 0,
    with_targets: bool = False,
) -> tuple[Manifest, Choice]:
    """Choose samples from the shards of recipe `full` under `url`, and write the set to `folder`.

    The samples are those that the build accepted, since shards hold no others; their members are copied, not encoded
    again. `folder` appears only when it is complete.

    Args:
        per_kind: samples of each kind of edit; 0: as many as the preset says.
        with_targets: whether the plain folders also have `target.png` and the target's box.

    Raises:
        BadInput: no such shards, nothing to choose, a bad name, or `folder` has other content.
        ShardError: a shard is damaged.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise BadInput(f"--name {name!r} cannot name a set: use {NAME_RULE}")
    wanted = PRESETS[preset]
    source = _find(url, split)
    found = find_input(source, (RECIPE,))
    _check_free(folder)
    choice = choose(_candidates(found, wanted), wanted, per_kind or wanted.per_kind, seed)
    if not choice.chosen:
        needs = f" with {wanted.needs}" if wanted.needs else ""
        raise BadInput(
            f"split {split} of {url} has no sample of {', '.join(wanted.kinds)}{needs}: use another --preset, or build "
            "more samples"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.half")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    try:
        strata = {each.key: dict(each.strata) for each in choice.chosen}
        keys = _write_samples(partial, source, found, name, split, strata, with_targets)
        files = {path.relative_to(partial).as_posix(): path for path in sorted(partial.rglob("*")) if path.is_file()}
        hashes = {relative: sha256_of(path) for relative, path in files.items()}
        manifest = Manifest(
            name=name,
            version=VERSION,
            preset=preset,
            seed=seed,
            split=split,
            digest=digest_of(name, VERSION, keys, hashes),
            keys=keys,
            strata=strata,
            files=hashes,
        )
        (partial / MANIFEST).write_bytes(encode_manifest(manifest))
        if folder.is_dir():
            folder.rmdir()
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest, choice


def _find(url: str, split: Split) -> str:
    """The folder of the split."""
    folders = [folder for folder in find_splits(url) if folder.recipe == RECIPE]
    if not folders:
        raise BadInput(f"{url} has no shards of recipe {RECIPE}: run `spatialdata shard {url} --recipe {RECIPE}`")
    found = next((each.url for each in folders if each.split == split), "")
    if not found:
        there = ", ".join(each.split for each in folders)
        raise BadInput(
            f"{url} has no split {split} of recipe {RECIPE}, only {there}: choose one with --split, or build with a "
            f"share for it in shard.splits"
        )
    return found


def _check_free(folder: Path) -> None:
    if (folder / MANIFEST).exists():
        raise BadInput(f"{folder} holds a benchmark set already, and its keys are frozen: use another --out")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"{folder} has other content: use an empty folder as --out")


def _candidates(found: Input, preset: Preset) -> Iterator[Candidate]:
    for record, sample in read_input(found, (*_NEEDED, *preset.members)):
        if record.edit.kind in preset.kinds and preset.accepts(record, sample):
            strata = strata_of(record, min(image_size(sample.members["source"])))
            yield Candidate(record.key, record.edit.kind, _scene_of(record), strata)


def _scene_of(record: SampleRecord) -> str:
    """The same for all samples of a scene, as far as the record says so."""
    provenance = record.provenance
    return provenance.family or provenance.origin.partition(" ")[0] or record.key


def _write_samples(
    folder: Path,
    source: str,
    found: Input,
    name: str,
    split: Split,
    keys: Mapping[str, object],
    with_targets: bool,
) -> tuple[str, ...]:
    """Write the shards and the plain folders of the samples `keys`; returns the keys in the order of the shards."""
    manifest = read_manifest(source)
    root = folder / "shards" / RECIPE
    packed = str(root / split)
    order: list[str] = []

    def copied() -> Iterator[tuple[str, Mapping[str, bytes]]]:
        for record, sample in read_input(found, _NEEDED):
            if record.key in keys:
                order.append(record.key)
                _write_item(folder / ITEMS / record.key, record, sample, with_targets)
                yield (
                    sample.key,
                    {field_of(member, sample.extensions[member]): data for member, data in sample.members.items()},
                )

    samples = copied()
    count = -(-len(keys) // SAMPLES_PER_SHARD)
    entries = [
        pack_shard(packed, shard_name(name, split, number, count), islice(samples, SAMPLES_PER_SHARD))
        for number in range(count)
    ]
    write_manifest(
        packed,
        name=name,
        recipe=RECIPE,
        split=split,
        members=manifest.members,
        shards=entries,
        version=manifest.schema_version,
    )
    write_sidecars(str(root))
    return tuple(order)


def _write_item(folder: Path, record: SampleRecord, sample: StoredSample, with_targets: bool) -> None:
    """The plain folder of a sample: what an editor may see, as PNG and text."""
    folder.mkdir(parents=True)
    edited = next((item for item in record.objects if item.id == record.edit.object), None)
    labels = decode_labels(sample.members["source_instances"])
    mask = labels == edited.id if edited else np.zeros_like(labels, bool)
    boxes = {"source": edited.source_box if edited else [0, 0, 0, 0]}
    (folder / SOURCE).write_bytes(_png(sample, "source"))
    (folder / MASK).write_bytes(encode_mask(mask))
    (folder / PROMPT).write_text(record.instruction.text + "\n", encoding="utf-8")
    if with_targets:
        (folder / TARGET).write_bytes(_png(sample, "target"))
        boxes["target"] = record.edit.box
    (folder / BOX).write_text(json.dumps(boxes) + "\n")


def _png(sample: StoredSample, name: str) -> bytes:
    data = sample.members[name]
    return data if sample.extensions[name] == "png" else encode_image(decode_image(data), "png")
