"""Counts over the shards of one recipe, from the record of every sample: the facts of a dataset card.

Invariant: the `json` of each sample is read, at the offset in the shard's Parquet file. No image is read, except one
per shard for its size. A few numbers and the key are kept per sample.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from ...shards.codecs import CodecError, image_size
from ...shards.errors import SpatialdataError
from ...shards.index import read_rows
from ...shards.layout import filesystem, join
from ...shards.licenses import LicenseName, visible_licenses
from ...shards.reader import read_record
from ...shards.schema import Derivation, EditKind, Maps, SampleRecord, SceneObject, Scores, Split
from ...shards.sidecars import read_splits

_AT_ONCE: Final = 256
"""Records that are read together."""


@dataclass
class VisibleAsset:
    """An asset that is visible in some sample."""

    uid: str
    creator: str
    licence: str
    """As named by the source; several licenses of one model are joined (`shards.licenses.joined`)."""
    category: str
    family: str
    dataset: str
    samples: int = 0
    splits: set[Split] = field(default_factory=set[Split])


@dataclass
class Census:
    """Counts over the samples of a recipe's splits."""

    keys: dict[Split, set[str]] = field(default_factory=dict[Split, set[str]])
    edits: Counter[tuple[Split, EditKind]] = field(default_factory=Counter[tuple[Split, EditKind]])
    categories: Counter[str] = field(default_factory=Counter[str])
    """Of the edited objects; camera edits have none."""
    datasets: Counter[str] = field(default_factory=Counter[str])
    objects: Counter[int] = field(default_factory=Counter[int])
    """Samples by the number of visible objects."""
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter[tuple[int, int]])
    """Width and height of the first image of each shard."""
    assets: dict[str, VisibleAsset] = field(default_factory=dict[str, VisibleAsset])
    licences: Counter[tuple[LicenseName, ...]] = field(default_factory=Counter[tuple[LicenseName, ...]])
    """Samples by the licenses of their visible objects."""
    authors: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """Samples by method and model of the instruction."""
    texts: set[int] = field(default_factory=set[int])
    """Hashes of the instructions."""
    unverified: int = 0
    unknown: Counter[str] = field(default_factory=Counter[str])
    """Samples by the facts that are not known: `camera`, `objects`."""
    unknown_edits: Counter[EditKind] = field(default_factory=Counter[EditKind])
    """Samples by kind, for edits whose numbers are not known."""
    focal: Counter[str] = field(default_factory=Counter[str])
    maps: dict[str, Counter[tuple[str, str]]] = field(default_factory=dict[str, Counter[tuple[str, str]]])
    """For each map member, samples by estimator and revision."""
    scores: "dict[str, array[float]]" = field(default_factory=dict[str, Any])
    """Measured values of each score."""
    derived: Counter[Derivation] = field(default_factory=Counter[Derivation])
    """Samples by how they were derived; empty text: not derived."""
    plans: set[str] = field(default_factory=set[str])
    layers: set[str] = field(default_factory=set[str])
    versions: set[str] = field(default_factory=set[str])

    @property
    def samples(self) -> int:
        return sum(map(len, self.keys.values()))

    def add(self, record: SampleRecord) -> None:
        self.keys.setdefault(record.split, set()).add(record.key)
        self.edits[record.split, record.edit.kind] += 1
        self.datasets[record.dataset] += 1
        self.categories.update(item.category for item in record.objects if item.id in record.edit.edited)
        self._add_objects(record)
        self._add_knowledge(record)
        self.authors[record.instruction.method, record.instruction.model] += 1
        self.texts.add(hash(record.instruction.text))
        self.unverified += not record.instruction.verified
        for name in Maps.model_fields:
            info = getattr(record.maps, name)
            if info.kind:
                self.maps.setdefault(name, Counter())[info.estimator, info.revision] += 1
        for name in Scores.model_fields:
            values = self.scores.setdefault(name, array("f"))
            if (value := getattr(record.scores, name)) != -1:
                values.append(value)
        self.derived[record.provenance.derived] += 1
        self.plans.add(record.provenance.plan)
        self.layers.update(record.provenance.layers)
        self.versions.update(record.provenance.versions)

    def _add_objects(self, record: SampleRecord) -> None:
        shown = {item.asset: item for item in record.objects if item.visible}
        self.objects[sum(item.visible for item in record.objects)] += 1
        self.licences[visible_licenses(record.objects)] += 1
        for uid, item in shown.items():
            asset = self.assets.setdefault(uid, _shown(item, record.dataset))
            asset.samples += 1
            asset.splits.add(record.split)

    def _add_knowledge(self, record: SampleRecord) -> None:
        self.unknown["camera"] += not (record.camera.source.known and record.camera.target.known)
        self.unknown["objects"] += not all(item.known for item in record.objects)
        self.unknown_edits[record.edit.kind] += not record.edit.known
        self.focal[record.camera.target.focal] += 1


def take_census(folder: str) -> Census:
    """Count the samples in a recipe's folder (any fsspec URL).

    Raises FileNotFoundError if a split is not finished, and SpatialdataError if shards are damaged.
    """
    census = Census()
    for split in read_splits(folder):
        place = join(folder, split.split)
        source = next(name for name in split.members if name.startswith("source."))
        for shard in split.shards:
            rows = read_rows(place, shard.name)
            url = join(place, shard.name)
            census.sizes[_size(url, rows[0], source.partition(".")[0])] += 1
            for record in _records(url, rows):
                census.add(record)
    return census


def _shown(item: SceneObject, dataset: str) -> VisibleAsset:
    return VisibleAsset(item.asset, item.creator, item.licence, item.category, item.family, dataset)


def _records(url: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[SampleRecord]:
    for row, data in read_members(url, list(rows), "json"):
        try:
            yield read_record(data)
        except ValidationError:
            raise SpatialdataError(_damaged(url, row)) from None


def read_members(url: str, rows: Sequence[Mapping[str, Any]], member: str) -> Iterator[tuple[Mapping[str, Any], bytes]]:
    """One member of each sample, read at the offset in the Parquet file."""
    fs, path = filesystem(url)
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        first = [int(row[f"{member}_offset"]) for row in some]
        ends = [offset + int(row[f"{member}_size"]) for offset, row in zip(first, some, strict=True)]
        yield from zip(some, fs.cat_ranges([path] * len(some), first, ends, on_error="raise"), strict=True)


def _size(url: str, row: Mapping[str, Any], member: str) -> tuple[int, int]:
    ((_, data),) = read_members(url, [row], member)
    try:
        return image_size(data)
    except CodecError:
        raise SpatialdataError(_damaged(url, row)) from None


def _damaged(url: str, row: Mapping[str, Any]) -> str:
    return f"{url}: sample {row['key']} is damaged: run `spatialdata verify --repair`, then rebuild the card"
