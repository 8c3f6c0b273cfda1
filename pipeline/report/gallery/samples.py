"""Every sample of a dataset with its facts and state, streamed one unit or shard at a time, in order."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from ....shards.errors import SpatialdataError
from ....shards.index import read_manifest, read_rows
from ....shards.layout import join
from ...engine.summaries import Summary
from ...opened import Build
from ...packing.duplicates import Duplicates, per_unit
from ..census import read_members
from .entry import STATES
from .facts import Facts, facts_of

ACCEPTED, REJECTED, WAITING = range(len(STATES))
"""Positions in STATES; a sample is waiting if some layer has not computed it yet and none has rejected it."""


class GallerySample(NamedTuple):
    """One sample of the dataset."""

    kind: str
    """Planned kind of edit."""
    split: str
    state: int
    facts: Facts | None
    """None if it has no pair, or the pair cannot be read."""


@dataclass
class BuildReader:
    """The samples of a build, finished or not."""

    build: Build
    summary: Summary
    duplicates: Duplicates
    damaged: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    """Layer and unit of unreadable files, whose facts are unknown. Filled while reading."""

    def __post_init__(self) -> None:
        self._done = {layer: self._done_units(layer) for layer in self.build.layers}

    def __iter__(self) -> Iterator[list[GallerySample]]:
        states = self.states()
        size = self.build.plan.unit_size
        for unit, (rows, found) in per_unit(self.build.store, self.build.plan, self._read):
            decided = states[unit * size : unit * size + len(rows)].tolist()
            yield [
                GallerySample(str(row.spec.get("edit", "")), row.split, state, found.get(row.key))
                for row, state in zip(rows, decided, strict=True)
            ]

    def states(self) -> NDArray[np.uint8]:
        """The state of each planned sample, in plan order, as a position in STATES."""
        plan = self.build.plan
        states = np.full(plan.samples, WAITING, np.uint8)
        for layer, done in self._done.items():
            accepted = np.unpackbits(self.summary.layers[layer].accepted_bits, count=plan.samples)
            states[np.repeat(done, plan.unit_size)[: plan.samples] & (accepted == 0)] = REJECTED
        states[np.unpackbits(self.summary.accepted_bits, count=plan.samples) == 1] = ACCEPTED
        for unit, keys in self.duplicates.by_unit.items():
            places = {key: place for place, key in enumerate(plan.keys(unit))}
            states[[unit * plan.unit_size + places[key] for key in keys]] = REJECTED
        return states

    def _done_units(self, layer: str) -> NDArray[np.bool_]:
        done = np.zeros(self.build.plan.units, np.bool_)
        done[self.build.store.done_units(self.build.layers[layer])] = True
        done[[error.unit for error in self.summary.layers[layer].damaged]] = False
        return done

    def _read(self, unit: int) -> tuple[list[Any], dict[str, Facts]]:
        pairs = self._column("pair", unit, "facts")
        texts = self._column("instruction", unit, "instruction") if pairs else {}
        rewritten = self._column("checks", unit, "instruction") if pairs else {}
        maps = [self._column(layer, unit, "maps") for layer in ("depth", "metric")] if pairs else []
        found: dict[str, Facts] = {}
        for key, pair in pairs.items():
            text = rewritten.get(key) or texts.get(key)
            infos = {"metric": pair["metric"]}  # of the renderer, if the build has no such layer
            for layer in maps:
                infos |= layer.get(key, {})
            said, scene = text["text"] if text else "", pair.get("scene", "")
            found[key] = facts_of(pair["edit"], pair["objects"], infos, said, pair["colours"], scene)
        return self.build.plan.rows(unit), found

    def _column(self, layer: str, unit: int, name: str) -> dict[str, dict[str, Any]]:
        """A column of JSON, parsed, by key, without empty cells; empty if the unit is not done or damaged."""
        if layer not in self._done or not self._done[layer][unit]:
            return {}
        try:
            rows = self.build.store.peek(self.build.layers[layer], unit, (name,))
            return {key: from_json(str(row[name])) for key, row in rows.items() if row[name]}
        except (SpatialdataError, ValueError):  # `status` and `verify` report the damage
            self.damaged.add((layer, unit))
            return {}


def read_shards(folder: str, damaged: list[str]) -> Iterator[list[GallerySample]]:
    """The samples in a split's folder (any fsspec URL), all accepted. Reads only the records in the tars.

    Args:
        damaged: the URLs of unreadable shards are appended here.

    Raises FileNotFoundError if the split is not finished, and SpatialdataError if its manifest is damaged.
    """
    for shard in read_manifest(folder).shards:
        url = join(folder, shard.name)
        try:
            yield [_sample_of(from_json(data)) for _, data in read_members(url, read_rows(folder, shard.name), "json")]
        except (SpatialdataError, OSError, ValueError, KeyError, TypeError):  # `verify` reports the damage
            damaged.append(url)


def _sample_of(record: Mapping[str, Any]) -> GallerySample:
    text, scene = record["instruction"]["text"], record.get("scene", "")
    facts = facts_of(record["edit"], record["objects"], record["maps"], text, scene=scene)
    return GallerySample(facts.kind, record["split"], ACCEPTED, facts)
