"""Files beside the shards: a parquet and an offset index for each, a manifest, a wids index, a sample's JSON Schema.

All of them are derived from the shards' content, so they are as reproducible as the shards, and each is published
atomically. The manifest is written last: a folder without a manifest is incomplete.
"""

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .codecs import CodecError, image_size
from .errors import SpatialdataError
from .layout import base, filesystem, is_local, join, open_url, split_field
from .licenses import join_licenses
from .reader import read_record
from .schema import SCHEMA_VERSION, EditKind, SampleRecord, Split, record_schema
from .writer import BLOCK, SampleEntry, ShardInfo, publish, publish_bytes, write_shard

MANIFEST: Final = "manifest.json"
WIDS_INDEX: Final = "index.json"
SAMPLE_SCHEMA: Final = "sample.schema.json"
INDEX_VERSION: Final = 2
"""Version of the files beside a tar; a change rebuilds them. 2: image sizes and edit kinds."""
LIST_SEPARATOR: Final = ";"
"""Between the values of a list in one parquet cell (licences, assets, families)."""
UNKNOWN_SIZE: Final = (0, 0)
"""Width and height in a parquet row whose images have no readable header."""
REBUILD_HINT: Final = "run `spatialdata verify OUT --repair` where the layers are, or copy the file again"

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Fixed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ShardEntry(_Fixed):
    """One shard in the manifest."""

    name: str = Field(pattern=r"^[a-z0-9-]+-\d{5}-of-\d{5}\.tar$")
    samples: int = Field(ge=1)
    bytes: int = Field(ge=1)
    sha256: Digest
    md5: str = Field(pattern=r"^[0-9a-f]{32}$")
    parquet_sha256: Digest
    sizes: tuple[tuple[int, int], ...] = ()
    """(width, height) of its images, each once, sorted; empty in shards packed by versions that did not record them."""
    edits: tuple[EditKind, ...] = ()
    """Kinds of its edits, sorted; empty in the same shards as `sizes`."""

    @property
    def parquet(self) -> str:
        return parquet_name(self.name)


class Manifest(_Fixed):
    """`manifest.json`: the required content of a split folder."""

    format: Literal["spatialdata-shards-1"] = "spatialdata-shards-1"
    schema_version: int = Field(ge=1)
    name: str
    recipe: str
    split: Split
    members: Annotated[tuple[str, ...], Field(min_length=1, description="file names after the key, sorted")]
    samples: int = Field(ge=1)
    bytes: int = Field(ge=1)
    shards: Annotated[tuple[ShardEntry, ...], Field(min_length=1)]


def parquet_name(shard: str) -> str:
    """The name of the parquet beside a shard."""
    return f"{shard.removesuffix('.tar')}.parquet"


def offsets_name(shard: str) -> str:
    """The name of the offset index beside a shard, as megatron-energon expects it."""
    return f"{shard}.idx"


def offset_index(starts: Sequence[int], end: int) -> bytes:
    """The start of each sample in the tar (the header of its first member), then the end of the last one.

    64-bit little-endian byte offsets: the `.tar.idx` of megatron-energon.
    """
    return struct.pack(f"<{len(starts) + 1}Q", *starts, end)


def pack_shard(
    folder: str, name: str, samples: Iterable[tuple[str, Mapping[str, bytes]]], *, scratch: Path | None = None
) -> ShardEntry:
    """Write one shard, its parquet and its offset index into `folder` (any fsspec URL); return its manifest entry.

    Samples are (key, members by field), including `json`, as for `write_shard`. A local folder is written directly;
    for other URLs the shard is written in `scratch` (default: the system's temporary folder) and then uploaded.
    Raises SpatialdataError where a record violates the schema or has a different key, or where members differ.
    """
    rows: list[dict[str, Any]] = []
    fs, path = filesystem(folder)
    if is_local(fs):
        info = write_shard(Path(path) / name, _collect_rows(name, samples, rows))
    else:
        with TemporaryDirectory(dir=scratch, prefix="spatialdata-shard-") as temporary:
            info = write_shard(Path(temporary) / name, _collect_rows(name, samples, rows))
            publish(Path(temporary) / name, join(folder, name))
    table = _parquet(info, rows)
    publish_bytes(table, join(folder, parquet_name(name)))
    starts = [entry.members[0].offset - BLOCK for entry in info.entries]
    publish_bytes(offset_index(starts, info.bytes - 2 * BLOCK), join(folder, offsets_name(name)))
    return ShardEntry(
        name=name,
        samples=info.samples,
        bytes=info.bytes,
        sha256=info.sha256,
        md5=info.md5,
        parquet_sha256=hashlib.sha256(table).hexdigest(),
        sizes=tuple(sorted({(row["width"], row["height"]) for row in rows} - {UNKNOWN_SIZE})),
        edits=tuple(sorted({row["edit"] for row in rows})),
    )


def is_whole(folder: str, entry: ShardEntry) -> bool:
    """Whether a shard and the files beside it are intact: the parquet by its digest, the others by their size."""
    fs, path = filesystem(folder)
    tar, offsets = (join(path, name) for name in (entry.name, offsets_name(entry.name)))
    sizes = {tar: entry.bytes, offsets: 8 * (entry.samples + 1)}
    if not all(fs.isfile(file) and fs.size(file) == size for file, size in sizes.items()):
        return False
    try:
        with open_url(join(folder, entry.parquet)) as file:
            return hashlib.sha256(file.read()).hexdigest() == entry.parquet_sha256
    except FileNotFoundError:
        return False


def write_manifest(
    folder: str,
    *,
    name: str,
    recipe: str,
    split: Split,
    members: Sequence[str],
    shards: Sequence[ShardEntry],
    version: int = SCHEMA_VERSION,
) -> Manifest:
    """Publish `sample.schema.json`, `index.json` (wids) and, last, `manifest.json`; shards are sorted by name.

    `version` is that of the records (`shards.schema.schema_version`).
    """
    ordered = tuple(sorted(shards, key=lambda shard: shard.name))
    manifest = Manifest(
        schema_version=version,
        name=name,
        recipe=recipe,
        split=split,
        members=tuple(sorted(members)),
        samples=sum(shard.samples for shard in ordered),
        bytes=sum(shard.bytes for shard in ordered),
        shards=ordered,
    )
    publish_bytes(sample_schema(manifest.schema_version), join(folder, SAMPLE_SCHEMA))
    publish_bytes(as_json(wids_index(manifest)), join(folder, WIDS_INDEX))
    publish_bytes(as_json(manifest.model_dump(mode="json")), join(folder, MANIFEST))
    return manifest


def read_manifest(folder: str) -> Manifest:
    """The manifest of a split folder. Raises FileNotFoundError, and SpatialdataError where it is invalid."""
    url = join(folder, MANIFEST)
    with open_url(url) as file:
        data = file.read()
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise SpatialdataError(
            f"{url}: {where}: {first['msg']}; pack the recipe again with `spatialdata shard`"
        ) from None


def wids_index(manifest: Manifest) -> dict[str, Any]:
    """`index.json` as the `wids` package and its kin read it."""
    shards = [
        {"url": shard.name, "nsamples": shard.samples, "filesize": shard.bytes, "md5sum": shard.md5}
        for shard in manifest.shards
    ]
    return {
        "__kind__": "wids-shard-index-v1",
        "wids_version": 1,
        "name": f"{manifest.name}-{manifest.split}",
        "shardlist": shards,
    }


@cache  # 20 ms, and asked for once a split
def sample_schema(version: int) -> bytes:
    """The JSON Schema of a sample's `json` member, for a version that is written; in it every key is required."""
    return as_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **record_schema(version)})


def as_json(value: Mapping[str, Any]) -> bytes:
    """Readable JSON with sorted keys and a final newline."""
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def read_rows(folder: str, shard: str) -> list[dict[str, Any]]:
    """The rows of a shard's parquet, in the order of the tar. Raises FileNotFoundError, SpatialdataError."""
    with open_url(join(folder, parquet_name(shard))) as file:
        data = file.read()
    try:
        return parse_rows(data, parquet_name(shard))
    except SpatialdataError as error:
        raise SpatialdataError(f"{folder}: {error}: {REBUILD_HINT}") from None


def parse_rows(data: bytes, name: str) -> list[dict[str, Any]]:
    """The rows of a parquet in memory. Raises SpatialdataError where it is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Threads that Arrow starts for a small file may still be starting when the process exits, which aborts it.
        return pq.read_table(pa.BufferReader(data), use_threads=False, pre_buffer=False).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise SpatialdataError(f"{base(name)}: not a parquet file ({str(error).splitlines()[0]})") from error


def _collect_rows(
    shard: str, samples: Iterable[tuple[str, Mapping[str, bytes]]], rows: list[dict[str, Any]]
) -> Iterator[tuple[str, Mapping[str, bytes]]]:
    """Pass the samples through and append their parquet rows to `rows`, so that no sample is kept in memory."""
    for key, members in samples:
        try:
            record = read_record(members["json"])
        except (KeyError, ValueError) as error:
            detail = str(error).splitlines()
            raise SpatialdataError(
                f"shard {shard}, sample {key}: no valid json member ({' '.join(detail[:3])})"
            ) from None
        if record.key != key:
            raise SpatialdataError(f"shard {shard}, sample {key}: its json names a different key, '{record.key}'")
        width, height = size_of(members)
        rows.append(_row_of(record) | {"width": width, "height": height})
        yield key, members


def _row_of(record: SampleRecord) -> dict[str, Any]:
    edited = [item.category for id in record.edit.edited for item in record.objects if item.id == id]
    shown = [item for item in record.objects if item.visible]
    return {
        "key": record.key,
        "split": record.split,
        "dataset": record.dataset,
        "edit": record.edit.kind,
        "derived": record.provenance.derived,
        **record.provenance.model_dump(include={"family"}),
        "category": edited[0] if edited else "",
        "instruction": record.instruction.text,
        "caption": record.caption,
        "licences": join_licenses(item.licence for item in shown if item.licence),
        "assets": LIST_SEPARATOR.join(sorted({item.asset for item in shown if item.asset})),
        "families": LIST_SEPARATOR.join(sorted({item.family for item in shown if item.family})),
        **{f"score_{name}": float(value) for name, value in record.scores.model_dump().items()},
    }


def size_of(members: Mapping[str, bytes]) -> tuple[int, int]:
    """Width and height of a sample's images, which share one size; `UNKNOWN_SIZE` where the header is unreadable.

    `members` are by field, such as `source.webp`.
    """
    name = next((field for field in members if split_field(field)[0] == "source"), "")
    try:
        return image_size(members[name]) if name else UNKNOWN_SIZE
    except CodecError:
        return UNKNOWN_SIZE


def assets_of(row: Mapping[str, Any]) -> list[str]:
    """Asset uids in a parquet row."""
    return [asset for asset in str(row["assets"]).split(LIST_SEPARATOR) if asset]


def families_of(row: Mapping[str, Any]) -> list[str]:
    """Asset families in a parquet row; none before schema version 3."""
    return [family for family in str(row.get("families", "")).split(LIST_SEPARATOR) if family]


def _parquet(info: ShardInfo, rows: Sequence[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist([row | _offsets_of(entry) for row, entry in zip(rows, info.entries, strict=True)])
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def _offsets_of(entry: SampleEntry) -> dict[str, int]:
    """`<member>_offset`, `<member>_size` and `<member>_crc32`, in the order of the tar."""
    offsets: dict[str, int] = {}
    for member in entry.members:
        name = split_field(member.field)[0]
        offsets |= {f"{name}_offset": member.offset, f"{name}_size": member.size, f"{name}_crc32": member.crc32}
    return offsets
