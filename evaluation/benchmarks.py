"""Benchmark sets on disk: samples with frozen keys, packed as shards, and beside them what an editor may see.

Invariant: `benchmark.json` is in place only when all files are, and it names each with its SHA-256. Two folders with
the same digest hold the same samples, bit for bit.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..shards.errors import BadInput, SpatialdataError
from ..shards.index import read_rows
from ..shards.interop.destination import find_input, read_input
from ..shards.layout import base
from ..shards.reader import StoredSample, read_record
from ..shards.schema import SampleRecord, Split

MANIFEST: Final = "benchmark.json"
FORMAT: Final = "spatialdata-benchmark-1"
VERSION: Final = 1
"""Version of how samples are chosen and stored; a change gives other sets for the same seed."""
RECIPE: Final = "full"
ITEMS: Final = "items"
SOURCE, TARGET, PROMPT, MASK, BOX = "source.png", "target.png", "prompt.txt", "mask.png", "box.json"
NAME_RULE: Final = "1 to 40 of a-z, 0-9 and -"
NAME_PATTERN: Final = r"^[a-z0-9-]{1,40}$"

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Key = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,80}$")]


class Manifest(BaseModel):
    """`benchmark.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["spatialdata-benchmark-1"] = FORMAT
    name: str = Field(pattern=NAME_PATTERN)
    version: int = Field(ge=1)
    preset: str
    seed: int
    split: Split
    digest: Digest
    keys: Annotated[tuple[Key, ...], Field(min_length=1, description="in the order of the shards")]
    strata: dict[str, dict[str, str]] = Field(description="of each key, the values that the choice balanced")
    files: dict[str, Digest] = Field(description="SHA-256 of each file by its path in the folder")


def digest_of(name: str, version: int, keys: Sequence[str], files: Mapping[str, str]) -> str:
    """SHA-256 over name, version, keys, and the SHA-256 of each tar, which hold everything that a sample is.

    Other files follow from the tars. They are left out, so that a set has one digest with and without `target.png`,
    and with any version of the libraries that write PNG and Parquet.
    """
    tars = {path: value for path, value in files.items() if path.endswith(".tar")}
    text = json.dumps([name, version, list(keys), sorted(tars.items())], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Benchmark:
    """A benchmark set. Made by `read_benchmark`."""

    folder: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def digest(self) -> str:
        return self.manifest.digest

    @property
    def keys(self) -> tuple[str, ...]:
        """In the order of the shards."""
        return self.manifest.keys

    @property
    def strata(self) -> Mapping[str, Mapping[str, str]]:
        return self.manifest.strata

    @property
    def shards(self) -> str:
        """The folder of the packed set, for `shards.stream` and `find_splits`."""
        return str(self.folder / "shards" / RECIPE / self.manifest.split)

    def item(self, key: str, name: str) -> Path:
        """A file of the plain folder of a sample, such as `source.png`."""
        return self.folder / ITEMS / key / name

    def samples(self) -> Iterator[tuple[SampleRecord, StoredSample]]:
        """All samples in order. Raises BadInput if a member is missing, ShardError on damage."""
        return read_input(find_input(self.shards, (RECIPE,)), ("source", "target"))

    def member(self, key: str, name: str) -> bytes:
        """The bytes of one member of a sample, such as `target` or `json`, without reading the others.

        Raises BadInput if the sample lacks it or the shard ends before it.
        """
        try:
            shard, offset, size = self._places[key][name]
        except KeyError:
            raise BadInput(f"benchmark {self.folder}, sample {key}: it has no member {name}") from None
        with shard.open("rb") as file:
            file.seek(offset)
            data = file.read(size)
        if len(data) != size:
            raise BadInput(f"benchmark {self.folder}, sample {key}: {shard.name} is truncated: copy the set again")
        return data

    def record(self, key: str) -> SampleRecord:
        """The record of a sample. Raises BadInput as `member` does, and where it violates the schema."""
        try:
            return read_record(self.member(key, "json"))
        except ValueError as error:
            detail = " ".join(str(error).split())[:200]
            raise BadInput(f"benchmark {self.folder}, sample {key}: its json violates the schema ({detail})") from None

    def verify(self) -> None:
        """Compare every file with its SHA-256.

        Raises BadInput that names the first files that are missing or differ, and how many there are.
        """
        wrong: list[str] = []
        for path, expected in self.manifest.files.items():
            try:
                if sha256_of(self.folder / path) != expected:
                    wrong.append(f"{path} differs")
            except OSError:
                wrong.append(f"{path} cannot be read")
        if wrong:
            more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            raise BadInput(
                f"benchmark {self.folder} is not as it was made: {', '.join(wrong[:3])}{more}: copy the set again"
            )

    @cached_property
    def _places(self) -> dict[str, dict[str, tuple[Path, int, int]]]:
        """Shard, offset and size of each member, by key and member."""
        found: dict[str, dict[str, tuple[Path, int, int]]] = {}
        for path in sorted(Path(self.shards).glob("*.tar")):
            try:
                rows = read_rows(self.shards, base(str(path)))
            except (FileNotFoundError, SpatialdataError) as error:
                raise BadInput(f"benchmark {self.folder}: {error}: copy the set again") from error
            for row in rows:
                names = [column.removesuffix("_offset") for column in row if column.endswith("_offset")]
                found[row["key"]] = {name: (path, row[f"{name}_offset"], row[f"{name}_size"]) for name in names}
        return found


def read_benchmark(folder: str | Path) -> Benchmark:
    """Open a benchmark set. Its manifest is checked; `Benchmark.verify` checks the files.

    Raises BadInput if the folder holds no set, or its manifest was changed.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(
            f"{folder} holds no benchmark set ({MANIFEST}: {error.strerror}): make one with `spatialdata benchmark`"
        ) from None
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BadInput(f"{path}: {where}: {first['msg']}: copy the set again") from None
    outside = [
        name for name in manifest.files if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts
    ]
    if outside:
        raise BadInput(f"{path} lists {outside[0]!r}, which is outside its folder: copy the set again")
    if manifest.digest != digest_of(manifest.name, manifest.version, manifest.keys, manifest.files):
        raise BadInput(f"{path}: its digest does not match its name, keys and files: copy the set again")
    return Benchmark(folder, manifest)


def encode_manifest(manifest: Manifest) -> bytes:
    """The bytes of `benchmark.json`: sorted keys, one line per entry."""
    content: dict[str, Any] = manifest.model_dump(mode="json")
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
