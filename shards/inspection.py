"""Checks one sample completely: every member decodes, agrees with the record, and follows the format.

A pure function of the sample's bytes, so that it can check samples from any source, not only those in shards.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from . import codecs
from .layout import TEXT_EXTENSIONS, field_of
from .reader import StoredSample, read_record
from .recipes import IMAGE_MEMBERS, MAP_MEMBERS
from .schema import (
    FAMILY_FIELDS,
    FAMILY_VERSION,
    SUPPORT_FIELDS,
    SUPPORT_VERSION,
    TWO_OBJECT_VERSION,
    MapInfo,
    SampleRecord,
    objects_edited,
)

ProblemKind = Literal[
    "manifest",
    "index",
    "parquet",
    "missing_shard",
    "unexpected_shard",
    "truncated",
    "damaged",
    "missing_sample",
    "missing_member",
    "unexpected_member",
    "duplicate_key",
    "undecodable",
    "schema",
    "image_size",
    "labels",
    "objects",
    "changed",
    "map",
    "split",
    "leak",
]

_KIND_OF_MAP: Final = {
    "depth": "relative_inverse",
    "metric": "metric",
    "confidence": "confidence",
    "normal": "normal",
    "segment": "segments",
    "line": "lines",
}


@dataclass(frozen=True)
class Problem:
    """One problem and its location. Empty strings where it does not concern one shard, sample or member."""

    kind: ProblemKind
    message: str
    member: str = ""
    key: str = ""
    shard: str = ""
    """File name of the tar."""
    folder: str = ""
    """URL of the split folder."""

    def __str__(self) -> str:
        where = ", ".join(part for part in (self.shard, self.key, self.member) if part)
        return f"{where or self.folder}: {self.kind}: {self.message}"


def inspect_sample(sample: StoredSample, *, split: str = "") -> tuple[list[Problem], SampleRecord | None]:
    """All problems of a sample, and its record (None where it cannot be read).

    `split`: the split that the record must name; empty: any. Does not check which members the recipe requires.
    """
    pixels: dict[str, NDArray[Any]] = {}
    problems: list[Problem] = []
    record = _read_json(sample, split, problems)
    for name, data in sample.members.items():
        if name != "json":
            try:
                found = _decode(name, sample.extensions[name], data)
            except ValueError as error:
                problems.append(_problem(sample, "undecodable", str(error), name))
            else:
                if found is not None:
                    pixels[name] = found
    problems += _check_sizes(sample, pixels)
    problems += _check_segments(sample, pixels)
    if record is not None:
        problems += _check_objects(sample, record, pixels)
        problems += _check_changed(sample, record, pixels)
        problems += _check_maps(sample, record, pixels)
    return problems, record


def _problem(sample: StoredSample, kind: ProblemKind, message: str, name: str = "") -> Problem:
    return Problem(kind, message, field_of(name, sample.extensions[name]) if name else "", sample.key)


def _read_json(sample: StoredSample, split: str, problems: list[Problem]) -> SampleRecord | None:
    data = sample.members.get("json")
    if data is None:
        return None
    try:
        json.loads(data, parse_constant=_reject_constant)
        record = read_record(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        problems.append(_problem(sample, "schema", f"{where}: {first['msg']}".removeprefix(": "), "json"))
        return None
    except ValueError as error:
        problems.append(_problem(sample, "schema", " ".join(str(error).split()), "json"))
        return None
    if record.key != sample.key:
        problems.append(_problem(sample, "schema", f"key: names a different sample, '{record.key}'", "json"))
    for name, since, given in (
        ("edit.second_object", TWO_OBJECT_VERSION, ["second_object" in record.edit.model_fields_set]),
        ("scene", SUPPORT_VERSION, ["scene" in record.model_fields_set]),
        ("objects.*_support", SUPPORT_VERSION, [one.model_fields_set >= SUPPORT_FIELDS for one in record.objects]),
        *(
            (f"provenance.{name}", FAMILY_VERSION, [name in record.provenance.model_fields_set])
            for name in sorted(FAMILY_FIELDS)
        ),
    ):
        if set(given) != {record.schema_version >= since}:
            what = f"must be there from version {since}, and not before; the record's is {record.schema_version}"
            problems.append(_problem(sample, "schema", f"{name}: {what}", "json"))
    if split and record.split != split:
        problems.append(_problem(sample, "split", f"the record says '{record.split}', the folder is '{split}'", "json"))
    return record


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _decode(name: str, extension: str, data: bytes) -> NDArray[Any] | None:
    """Pixels of a member by its own codec; depth maps and normals stay as stored. None for text. Raises ValueError."""
    if extension in TEXT_EXTENSIONS:
        text = data.decode()
        if extension == "json":
            json.loads(text, parse_constant=_reject_constant)
        return None
    if name in IMAGE_MEMBERS or (extension == "webp" and name.removeprefix("source_") not in MAP_MEMBERS):
        return codecs.decode_image(data)
    base = name.removeprefix("source_")
    decoders: Mapping[str, Callable[[bytes], NDArray[Any]]] = {
        "changed": codecs.decode_mask,
        "normal": codecs.decode_normals,
        "line": codecs.decode_lines,
    }
    return decoders.get(base, codecs.decode_labels)(data)


def _check_sizes(sample: StoredSample, pixels: Mapping[str, NDArray[Any]]) -> Iterator[Problem]:
    shapes = {name: array.shape[:2] for name, array in pixels.items()}
    if not shapes:
        return
    first = "target" if "target" in shapes else min(shapes)
    for name, shape in sorted(shapes.items()):
        if shape != shapes[first]:
            (height, width), (rows, columns) = shape, shapes[first]
            yield _problem(sample, "image_size", f"{width} x {height} pixels, {first} has {columns} x {rows}", name)


def _check_segments(sample: StoredSample, pixels: Mapping[str, NDArray[Any]]) -> Iterator[Problem]:
    for name in ("segment", "source_segment"):
        if name in pixels:
            areas = np.bincount(pixels[name].ravel())[1:]
            if np.any(areas == 0):
                missing = int(np.flatnonzero(areas == 0)[0]) + 1
                yield _problem(sample, "labels", f"label {missing} of 1..{len(areas)} is missing", name)
            elif np.any(np.diff(areas) > 0):
                yield _problem(sample, "labels", "larger areas must have smaller labels", name)


def _check_objects(sample: StoredSample, record: SampleRecord, pixels: Mapping[str, NDArray[Any]]) -> Iterator[Problem]:
    ids = [item.id for item in record.objects]
    if len(set(ids)) != len(ids):
        yield _problem(sample, "objects", f"ids in objects[] are not unique: {ids}", "json")
    for name in ("object", "second_object")[: objects_edited(record.edit.kind)]:
        if (edited := getattr(record.edit, name)) not in ids:
            yield _problem(sample, "objects", f"edit.{name} {edited} is not in objects[]", "json")
    for name in ("source_instances", "target_instances"):
        if name in pixels:
            found = np.flatnonzero(np.bincount(pixels[name].ravel()))
            unknown = sorted(set(found.tolist()) - {0, *ids})
            if unknown:
                yield _problem(sample, "labels", f"labels {unknown} are not ids in objects[]", name)


def _check_changed(sample: StoredSample, record: SampleRecord, pixels: Mapping[str, NDArray[Any]]) -> Iterator[Problem]:
    names = ("source", "target", "changed")
    if any(name not in pixels for name in names) or len({pixels[name].shape[:2] for name in names}) != 1:
        return
    if not objects_edited(record.edit.kind) or not {sample.extensions[name] for name in names} <= codecs.LOSSLESS:
        return
    differs = np.any(pixels["source"] != pixels["target"], axis=2) & ~pixels["changed"]
    count = int(np.count_nonzero(differs))
    if count:
        row, column = (int(axis[0]) for axis in np.nonzero(differs))
        yield _problem(
            sample,
            "changed",
            f"source and target differ in {count} pixels outside of it, first at x {column}, y {row}",
            "changed",
        )


def _check_maps(sample: StoredSample, record: SampleRecord, pixels: Mapping[str, NDArray[Any]]) -> Iterator[Problem]:
    for name, array in pixels.items():
        kind = _KIND_OF_MAP.get(name.removeprefix("source_"))
        if kind is None:
            continue
        info: MapInfo = getattr(record.maps, name)
        if info.kind != kind:
            yield _problem(sample, "map", f"maps.{name}.kind is '{info.kind}', must be '{kind}'", name)
        elif kind in ("metric", "confidence", "relative_inverse"):
            yield from _check_depth(sample, name, info, array)


def _check_depth(sample: StoredSample, name: str, info: MapInfo, pixels: NDArray[Any]) -> Iterator[Problem]:
    if pixels.dtype != np.uint16:
        yield _problem(sample, "map", "must be a 16-bit PNG", name)
    elif not info.scale > 0:
        yield _problem(sample, "map", f"maps.{name}.scale is {info.scale}, must be positive", name)
