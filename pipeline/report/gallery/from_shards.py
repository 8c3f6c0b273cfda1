"""The samples of a folder of shards, of one recipe or of one of its splits; needs no build."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from ....shards.errors import BadInput, SpatialdataError
from ....shards.index import read_manifest
from ....shards.layout import TEXT_EXTENSIONS, base, filesystem, find_splits, list_shards
from ....shards.reader import ShardError, StoredSample, read_record, read_samples
from ....shards.schema import Provenance, SampleRecord
from .entry import Entry, map_infos
from .families import NO_EDGE, Edge
from .spread import PLACES
from .writer import GalleryWriter

_STATES: Final = re.compile(r"([0-9]{1,4}) ([0-9]{1,4})")


@dataclass(frozen=True)
class Shard:
    """One shard to show."""

    url: str
    samples: int
    """0 if there is no manifest."""


@dataclass(frozen=True)
class ShardSamples:
    """The shards of one recipe to show, in order."""

    place: str
    recipe: str
    splits: tuple[str, ...]
    shards: tuple[Shard, ...]

    @property
    def samples(self) -> int:
        """Number of samples; 0 if not known for some shard."""
        return sum(shard.samples for shard in self.shards) if all(shard.samples for shard in self.shards) else 0

    def chosen(self, limit: int) -> list[tuple[Shard, int]]:
        """The shards to read, and the number of samples from the start of each: spread evenly, at most `limit`."""
        mine = self.shards
        if self.samples:  # enough shards for the limit, and enough places
            needed = -(-limit * len(mine) // self.samples)
            count = min(len(mine), max(PLACES, needed), limit)
            mine = [mine[index * len(mine) // count] for index in range(count)]
        found: list[tuple[Shard, int]] = []
        left = limit
        for index, shard in enumerate(mine):
            share = -(-left // (len(mine) - index))
            found.append((shard, min(share, shard.samples or share)))
            left -= found[-1][1]
        return [(shard, count) for shard, count in found if count]

    def bytes_of(self, limit: int) -> int:
        """Approximate size of the samples to show."""
        total = 0.0
        for shard, count in self.chosen(limit):
            fs, path = filesystem(shard.url)
            total += fs.size(path) * min(1.0, count / shard.samples if shard.samples else 1.0)
        return int(total)

    def write(self, limit: int, writer: GalleryWriter) -> Iterator[int]:
        """Write the samples; yields 1 after each. Raises ShardError, with shard and sample, for damage."""
        for shard, count in self.chosen(limit):
            for sample in islice(read_samples(shard.url), count):
                writer.add(_entry(shard.url, sample, writer))
                yield 1

    def about(self) -> dict[str, Any]:
        """Facts about all the shards, for the page."""
        return {
            "kind": "shards",
            "name": f"{self.recipe} ({', '.join(self.splits)})",
            "place": self.place,
            "why": "OUT",
            "planned": self.samples,
            "recipe": self.recipe,
            "layers": [],
            "notes": [],
        }


def find_samples(path: str, recipe: str = "") -> ShardSamples:
    """The shards under `path`: of `recipe`, else of `full` if it exists, else of the first recipe.

    Raises BadInput if there are none, or none of the recipe.
    """
    folders = find_splits(path)
    recipes = sorted({folder.recipe for folder in folders})
    if recipe and recipe not in recipes:
        raise BadInput(
            f"{path} has shards of {', '.join(recipes)}, but none of {recipe}: run `spatialdata shard` first"
        )
    chosen = recipe or ("full" if "full" in recipes else recipes[0])
    mine = [folder for folder in folders if folder.recipe == chosen]
    shards: list[Shard] = []
    for folder in mine:
        try:
            counts = {shard.name: shard.samples for shard in read_manifest(folder.url).shards}
        except (FileNotFoundError, SpatialdataError):  # unfinished or damaged: existing shards are shown
            counts = {}
        shards += [Shard(url, counts.get(base(url), 0)) for url in list_shards(folder.url)]
    return ShardSamples(path, chosen, tuple(folder.split for folder in mine), tuple(shards))


def _entry(shard: str, sample: StoredSample, writer: GalleryWriter) -> Entry:
    try:
        record = read_record(sample.members["json"])
    except (KeyError, ValueError) as error:
        raise ShardError(shard, sample.key, f"no valid json member ({' '.join(str(error).split())[:200]})") from None
    position, media = writer.samples, list[str]()
    own: dict[str, str] = {}
    for name, extension in sample.extensions.items():
        if name != "json" and extension in TEXT_EXTENSIONS:
            own[name] = sample.members[name].decode(errors="replace")
        elif name != "json" and sample.members[name]:
            media.append(f"{name}.{extension}")
            writer.put(position, sample.key, media[-1], sample.members[name])
    entry = Entry(sample.key, record.split, record.edit.kind, "accepted", media=sorted(media))
    _add_record(entry, record, json.loads(sample.members["json"]))
    entry.facts["shard"] = base(shard)
    if own:
        entry.facts["own"] = own
    return entry


def _add_record(entry: Entry, record: SampleRecord, values: dict[str, Any]) -> None:
    entry.add_facts(values)
    entry.add_scores(values["scores"])
    entry.facts |= {name: values[name] for name in ("caption", "source_caption", "instruction") if values[name]}
    entry.facts["maps"] = map_infos(values["maps"], [name.partition(".")[0] for name in entry.media])
    origin = record.provenance
    entry.edge = _edge(origin)
    entry.facts["plan"] = {"hash": origin.plan, "unit": origin.unit, "seed": str(origin.seed)}
    entry.facts["made_from"] = origin.layers
    entry.facts["versions"] = origin.versions


def _edge(origin: Provenance) -> Edge:
    """The place of a sample in its family, which shards before schema version 6 do not have."""
    states = _STATES.fullmatch(origin.states)
    return Edge(origin.family, int(states[1]), int(states[2])) if states else NO_EDGE
