"""The samples of a build, finished or not, from its plan, records and layers.

The layers of a unit are read one after the other, a few rows at a time, with the images that a shard would contain.
Nothing is decoded. Damaged files are reported and treated as missing.
"""

import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from ....shards.layout import TEXT_EXTENSIONS, field_of
from ....shards.recipes import MAP_MEMBERS, PAIR_MEMBERS, extension_of, layer_of
from ....shards.schema import Scores
from ....shards.stage import members_of
from ...config import LAYERS
from ...opened import Build
from ...packing.assemble import STORED_CODEC
from ...packing.duplicates import Dropped
from ...store.families import family_of, planned_rows, states_of
from ...store.layers import LayerCorrupt, Record, Rejected
from ...store.plan import PlanRow
from ..funnel import packed_duplicates
from ..layer_origins import layer_origins
from .entry import Entry, map_infos, parsed
from .families import Edge
from .spread import by_unit, spread
from .writer import GalleryWriter

TEXTS: Final = (
    "facts",
    "maps",
    "instruction",
    "caption",
    "source_caption",
    "scores",
    "instruction_verdict",
    "judgement",
    "screen",
)
"""Columns with texts, read from every layer that has them."""
_MISSING: Final = {"waiting": "not computed yet", "damaged": "damaged", "skipped": "not computed"}
SAMPLED_UNITS: Final = 64
"""Units from whose sizes the total size is estimated."""
MEMBERS: Final = (*PAIR_MEMBERS, *MAP_MEMBERS, *(f"source_{name}" for name in MAP_MEMBERS))


@dataclass
class _Sample:
    """One sample of a unit, with the results of the layers so far."""

    position: int
    row: PlanRow
    place: int
    """Row within the unit."""
    states: dict[str, str] = field(default_factory=dict[str, str])
    reject: tuple[str, Rejected] | None = None
    texts: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    media: list[str] = field(default_factory=list[str])


class BuildSamples:
    """Writes the samples of a build into a gallery."""

    def __init__(self, build: Build) -> None:
        self._build = build
        self._layers = build.layers
        self._fields = {
            layer: {
                name: field_of(name, extension_of(name, STORED_CODEC)) for name in MEMBERS if layer_of(name) == layer
            }
            for layer in self._layers
        }
        self._own: dict[str, list[str]] = {}
        """Text columns of the user's own layers, by layer."""
        for stage in build.stages:
            if stage.layer not in LAYERS and stage.member in TEXT_EXTENSIONS:
                self._own[stage.layer] = [*members_of(stage)]
            elif stage.layer not in LAYERS and stage.member:
                self._fields[stage.layer] = {name: field_of(name, stage.member) for name in members_of(stage)}
        self._dropped: dict[str, Dropped] = {one.key: one for one in packed_duplicates(build).dropped}
        self.done = {layer: frozenset(build.store.done_units(folder)) for layer, folder in self._layers.items()}
        """Done units of each layer."""
        self.damaged: list[LayerCorrupt] = []
        """Errors for files that could not be read."""

    def write(self, limit: int, writer: GalleryWriter) -> Iterator[int]:
        """Write at most `limit` samples, spread evenly over the plan; yields the number of samples after each unit."""
        for unit, places in self._shown(limit):
            rows = self._build.plan.rows(unit)
            states = states_of(rows)
            first = writer.samples
            found = {rows[place].key: _Sample(first + index, rows[place], place) for index, place in enumerate(places)}
            for layer in self._layers:
                self._read(layer, unit, found, writer)
            for sample in found.values():
                writer.add(self._entry(unit, sample, states[sample.row.key]))
            yield len(places)

    def _shown(self, limit: int) -> Iterator[tuple[int, list[int]]]:
        """The samples to show: (unit, its rows)."""
        plan, edits = self._build.plan, self._build.config.edits
        runs = spread(plan.samples, limit, planned_rows(edits.rendered_per_scene, edits))
        return by_unit(runs, plan.unit_size)

    def bytes_of(self, limit: int) -> int:
        """Estimated size of the layer files of these samples, from the sizes of a few units; opens no file."""
        store, plan = self._build.store, self._build.plan
        shown = list(self._shown(limit))
        measured = shown[:: -(-len(shown) // SAMPLED_UNITS)]
        total = 0.0
        for unit, places in measured:
            for layer, folder in self._layers.items():
                if unit in self.done[layer]:
                    with suppress(FileNotFoundError):
                        total += store.size(store.data_name(folder, unit)) * len(places) / plan.size(unit)
        return int(total * len(shown) / len(measured))

    def _read(self, layer: str, unit: int, found: Mapping[str, _Sample], writer: GalleryWriter) -> None:
        store, folder = self._build.store, self._layers[layer]
        if unit not in self.done[layer]:
            for sample in found.values():
                sample.states[layer] = "waiting"
            return
        try:
            record = store.record(folder, unit)
            self._take(layer, folder, record, found, writer)
        except LayerCorrupt as error:
            self.damaged.append(error)
            for sample in found.values():
                sample.states.setdefault(layer, "damaged")
            return
        for sample in found.values():
            sample.states.setdefault(layer, "skipped")

    def _take(
        self, layer: str, folder: str, record: Record, found: Mapping[str, _Sample], writer: GalleryWriter
    ) -> None:
        for reject in record.rejects:
            if reject.key in found:
                sample = found[reject.key]
                sample.states[layer] = "rejected"
                sample.reject = sample.reject or (layer, reject)
        fields = self._fields[layer]
        wanted = {*TEXTS, *fields, *self._own.get(layer, ())}
        for table in self._build.store.groups(folder, record, wanted, found.keys()):
            keys = table.column("key").to_pylist()
            columns = {name: table.column(name).combine_chunks() for name in table.column_names if name != "key"}
            texts = {name: values.to_pylist() for name, values in columns.items() if name not in fields}
            for index, key in enumerate(keys):
                if (sample := found.get(key)) is None:
                    continue
                sample.states[layer] = "made"
                sample.texts[layer] = {name: str(values[index]) for name, values in texts.items()}
                for name in fields.keys() & columns.keys():
                    if data := columns[name][index].as_buffer():
                        writer.put(sample.position, key, fields[name], data)
                        sample.media.append(fields[name])

    def _entry(self, unit: int, sample: _Sample, states: tuple[int, int]) -> Entry:
        row, dropped = sample.row, self._dropped.get(sample.row.key)
        entry = Entry(row.key, row.split, str(row.spec.get("edit", "")), media=sorted(sample.media))
        entry.edge = Edge(family_of(row.key, row.spec), *states)
        _add_texts(entry, sample.texts)
        own = {name: sample.texts.get(layer, {}).get(name, "") for layer, names in self._own.items() for name in names}
        if shown := {name: text for name, text in own.items() if text}:
            entry.facts["own"] = shown
        entry.facts["layers"] = sample.states
        entry.facts["plan"] = {  # 63-bit numbers as text, because JavaScript has 53 bits
            "unit": unit,
            "row": sample.place,
            "seed": str(row.spec.get("seed", self._build.plan.seed)),
            "spec": json.dumps(dict(row.spec), ensure_ascii=False),
        }
        if sample.reject:
            layer, reject = sample.reject
            _add_reject(entry, layer, reject)
        elif missing := [f"{layer}: {_MISSING[state]}" for layer, state in sample.states.items() if state in _MISSING]:
            entry.because = missing[0]
        elif dropped:
            entry.state, entry.because = "rejected", f"pack: {dropped.reason}"
            entry.facts["reject"] = {"stage": "pack", "reason": dropped.reason, "score": dropped.distance, "detail": ""}
            entry.facts["twin"] = {"key": dropped.twin, "distance": dropped.distance}
        else:
            entry.state = "accepted"
        return entry

    def about(self) -> dict[str, Any]:
        """Facts about the whole build, for the page."""
        build = self._build
        layers = [
            {
                "layer": maker.layer,
                "folder": maker.folder,
                "stage": maker.stage,
                "version": maker.version,
                "model": maker.model,
                "revision": maker.revision,
                "address": maker.address,
            }
            for maker in layer_origins(build)
        ]
        notes = [build.note] if build.note else []
        if self.damaged:
            files = f"{len(self.damaged)} layer file{'s' * (len(self.damaged) > 1)}"
            notes.append(f"{files} could not be read and count as missing: rerun `spatialdata build`")
        left = {layer: build.plan.units - len(units) for layer, units in self.done.items()}
        if waiting := [f"{layer} {units}" for layer, units in left.items() if units]:
            notes.append(f"the build is not finished; units left: {', '.join(waiting)}")
        return {
            "kind": "build",
            "name": build.config.shard.name,
            "place": str(build.store),
            "why": shlex.quote(str(build.store)),
            "planned": build.plan.samples,
            "plan": build.plan.hash,
            "seed": build.plan.seed,
            "versions": dict(build.plan.versions),
            "layers": layers,
            "notes": notes,
        }


def _add_texts(entry: Entry, texts: Mapping[str, Mapping[str, str]]) -> None:
    """Add the texts and scores of the layers."""
    if facts := parsed(texts.get("pair", {}).get("facts")):
        entry.add_facts(facts)
    written, checks = texts.get("instruction", {}), texts.get("checks", {})
    entry.facts["instruction"] = parsed(checks.get("instruction")) or parsed(written.get("instruction"))
    entry.facts |= {name: written[name] for name in ("caption", "source_caption") if written.get(name)}
    if verdict := parsed(checks.get("instruction_verdict")):
        entry.facts["check"] = verdict
        entry.facts["instruction"]["verified"] = verdict.get("verdict") == "agrees"
    for layer in ("checks", "judge"):
        entry.add_scores(parsed(texts.get(layer, {}).get("scores")))
    if judgement := parsed(texts.get("judge", {}).get("judgement")):
        entry.facts["judgement"] = judgement
    if screen := parsed(texts.get("screen", {}).get("screen")):
        entry.facts["screen"] = screen
    maps = {name: info for columns in texts.values() for name, info in parsed(columns.get("maps")).items()}
    entry.facts["maps"] = map_infos(maps, [name.partition(".")[0] for name in entry.media])


def _add_reject(entry: Entry, layer: str, reject: Rejected) -> None:
    """Add the reject of a layer, and the scores that it measured, which are in the detail if a check failed."""
    entry.state, entry.because = "rejected", f"{layer}: {reject.reason}"
    numbers = parsed(reject.detail)
    numbers = numbers if numbers.keys() <= Scores.model_fields.keys() else {}
    entry.add_scores({**numbers, **reject.scores})
    entry.facts["reject"] = {
        "stage": layer,
        "reason": reject.reason,
        "score": reject.score,
        "detail": "" if numbers else reject.detail,
    }
