"""Sums over the records of a layer, maintained as records are written, so that no command reads a million of them.

The records are the only source of truth. `OUT/summaries/<layer>-<fingerprint>.json` is a cache with the sums of whole
blocks of BLOCK units. It can be deleted at any time; the next run rebuilds it. Invariants:
- One process writes it: the driver, under the run lock (`pipeline.engine.summary_keeper`).
- `touched` is raised before a unit of a new block is handed out. So each record is in a summed block, in another block
  below `touched`, or in the last, partial block. Readers look for records in the latter two.
- A unit that becomes not done is marked (`<unit>.reopened`) before its record is removed, and a marked block counts as
  not summed. The mark is removed after the block has been summed again.
- A digest covers the file: a truncated or changed file is ignored, and all records are read.
"""

import base64
import hashlib
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..store.fingerprints import canonical
from ..store.layers import LayerCorrupt, LayerStore
from ..store.plan import Plan
from .runner import UnitSummary, summarize

BLOCK = 1000
"""Units per block: a power of ten, so that an object store can list a block by prefix, and a multiple of eight."""
RECENT = 128
_DIGEST = 77
"""Length of `_digest` in bytes."""
_MARK = re.compile(r"(\d+)\.reopened")
Bits = NDArray[np.uint8]
"""One bit per sample, in the plan's order, eight per byte."""


class Commit(NamedTuple):
    """A committed unit: when it ended (seconds since 1970), and its number of accepted and rejected samples."""

    unit: int
    ended: float
    samples: int


@dataclass
class Totals:
    """Sums over units of one layer."""

    units: int = 0
    samples: int = 0
    """Samples with a row."""
    bytes: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0
    rejects: Counter[str] = field(default_factory=Counter[str])
    counts: Counter[str] = field(default_factory=Counter[str])

    def add(self, unit: UnitSummary) -> None:
        self.units += 1
        self.samples += unit.rows
        self.bytes += unit.bytes
        self.seconds += unit.seconds
        self.cpu_seconds += unit.cpu_seconds
        self.gpu_seconds += unit.gpu_seconds
        self.rejects.update(unit.rejects)
        self.counts.update(unit.counts)

    def merge(self, values: Mapping[str, Any]) -> None:
        """Add sums of other units, as returned by `to_json`."""
        for name in ("units", "samples", "bytes", "seconds", "cpu_seconds", "gpu_seconds"):
            setattr(self, name, getattr(self, name) + values[name])
        self.rejects.update(values["rejects"])
        self.counts.update(values["counts"])

    def to_json(self) -> dict[str, Any]:
        return {
            "units": self.units,
            "samples": self.samples,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "cpu_seconds": round(self.cpu_seconds, 3),
            "gpu_seconds": round(self.gpu_seconds, 3),
            "rejects": dict(sorted(self.rejects.items())),
            "counts": dict(sorted(self.counts.items())),
        }


@dataclass
class LayerSummary:
    """Sums over the records of one layer."""

    accepted_bits: Bits
    """Samples of committed units that the layer itself did not reject."""
    totals: Totals = field(default_factory=Totals)
    recent: list[Commit] = field(default_factory=list[Commit])
    """The latest RECENT commits, in order of time."""
    damaged: list[LayerCorrupt] = field(default_factory=list[LayerCorrupt])
    """Errors for unreadable records; their units are not counted."""


@dataclass(frozen=True)
class Summary:
    """Sums over the records of a build."""

    layers: Mapping[str, LayerSummary]
    accepted_bits: Bits
    """Samples that every layer accepted."""

    @property
    def accepted(self) -> int:
        return int(np.bitwise_count(self.accepted_bits).sum())


@dataclass(frozen=True)
class SummaryFile:
    """`summaries/<layer>-<fingerprint>.json`."""

    blocks: Mapping[int, Mapping[str, Any]]
    """Block number -> `sum_block` of its units."""
    block: int
    touched: int
    recent: tuple[Commit, ...]
    writer: str
    """The run that wrote it."""


def summarize_layers(store: LayerStore, plan: Plan, layers: Mapping[str, str]) -> Summary:
    """Sums over the current records of layers (layer -> folder)."""
    found: dict[str, LayerSummary] = {}
    accepted = np.full(-(-plan.samples // 8), 255, np.uint8)
    for layer, folder in layers.items():
        found[layer] = summarize_layer(store, plan, layer, folder)
        accepted &= found[layer].accepted_bits
    return Summary(found, accepted)


def summarize_layer(store: LayerStore, plan: Plan, layer: str, folder: str) -> LayerSummary:
    """Sums over the records of one layer: from the summary file where it has them, else from the records."""
    marked = reopened_units(store, folder)  # before the file: marks are removed after the file is written
    kept = read_summary(store, folder, plan)
    found = LayerSummary(np.zeros(-(-plan.samples // 8), np.uint8))
    if kept is None:
        _add_records(store, plan, layer, folder, found, None)
        return found
    summed = kept.blocks.keys() - {unit // kept.block for unit in marked}
    for number in summed:
        found.totals.merge(kept.blocks[number])
        first = number * kept.block * plan.unit_size // 8
        refused = _refused(kept.blocks[number], plan, kept.block)
        found.accepted_bits[first : first + len(refused)] = ~refused
    found.recent = [commit for commit in kept.recent if commit.unit // kept.block in summed]
    whole = plan.units // kept.block
    for number in sorted({*range(min(kept.touched, whole)), whole} - summed):
        among = range(number * kept.block, min((number + 1) * kept.block, plan.units))
        if among:
            _add_records(store, plan, layer, folder, found, among)
    return found


def _add_records(
    store: LayerStore, plan: Plan, layer: str, folder: str, found: LayerSummary, among: range | None
) -> None:
    """Add records one by one; `among` starts at a block."""
    span = among or range(plan.units)
    first = span[0] * plan.unit_size
    accepted = np.zeros(span[-1] * plan.unit_size + plan.size(span[-1]) - first, np.bool_)
    for record in store.records(folder, found.damaged, among):
        if record.unit not in span:
            continue
        unit = summarize(layer, record, plan)
        found.totals.add(unit)
        begin = unit.unit * plan.unit_size - first
        accepted[begin : begin + plan.size(unit.unit)] = True
        accepted[[begin + place for place in unit.rejected]] = False
        found.recent.append(commit_of(unit))
        if len(found.recent) > 8 * RECENT:
            found.recent = latest(found.recent)
    found.recent = latest(found.recent)
    packed = np.packbits(accepted)
    found.accepted_bits[first // 8 : first // 8 + len(packed)] = packed


def commit_of(unit: UnitSummary) -> Commit:
    """The commit of a unit."""
    return Commit(unit.unit, round(unit.ended, 3), unit.rows + sum(unit.rejects.values()))


def latest(commits: Iterable[Commit]) -> list[Commit]:
    """The RECENT commits that ended last, in order of time."""
    return sorted(commits, key=lambda commit: (commit.ended, commit.unit))[-RECENT:]


def sum_block(units: Iterable[UnitSummary], plan: Plan) -> dict[str, Any]:
    """The entry of a whole block in the summary file.

    It is `Totals.to_json` and `refused`: a bit per sample, packed, compressed, in base 64; empty if no sample was
    rejected.

    Args:
        units: all units of the block, in any order.
    """
    ordered = sorted(units, key=lambda unit: unit.unit)
    totals = Totals()
    refused = np.zeros(len(ordered) * plan.unit_size, np.bool_)
    for index, unit in enumerate(ordered):  # sorted, because sums of floating-point numbers depend on the order
        totals.add(unit)
        refused[[index * plan.unit_size + place for place in unit.rejected]] = True
    packed = base64.b64encode(zlib.compress(np.packbits(refused).tobytes())).decode() if refused.any() else ""
    return totals.to_json() | {"refused": packed}


def _refused(values: Mapping[str, Any], plan: Plan, block: int) -> Bits:
    if not values["refused"]:
        return np.zeros(block * plan.unit_size // 8, np.uint8)
    return np.frombuffer(zlib.decompress(base64.b64decode(values["refused"])), np.uint8)


def reopened_units(store: LayerStore, folder: str) -> list[int]:
    """The units of a layer that are marked as reopened."""
    matches = (_MARK.fullmatch(name) for name in store.names(f"summaries/{folder}"))
    return sorted(int(match.group(1)) for match in matches if match)


def read_summary(store: LayerStore, folder: str, plan: Plan) -> SummaryFile | None:
    """The summary file of a layer; None if there is none, or it is damaged or of another layer."""
    try:
        data = store.read_file(store.summary_name(folder))
        if not data.startswith(_digest(data[_DIGEST:])):
            return None
        values = json.loads(data)
        if (values["layer"], values["units"]) != (folder, plan.units):
            return None
        blocks = {int(number): block for number, block in values["blocks"].items()}
        recent = tuple(Commit(*commit) for commit in values["recent"])
        return SummaryFile(blocks, values["block"], values["touched"], recent, values["writer"])
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None


def summary_matches_records(store: LayerStore, plan: Plan, layer: str, folder: str) -> bool:
    """Whether the summary file agrees with the records, all of which are read. True if there is no file."""
    marked = reopened_units(store, folder)
    kept = read_summary(store, folder, plan)
    if kept is None:
        return not store.exists(store.summary_name(folder))
    for number in sorted(kept.blocks.keys() - {unit // kept.block for unit in marked}):
        among = range(number * kept.block, (number + 1) * kept.block)
        units = [summarize(layer, record, plan) for record in store.records(folder, [], among)]
        if sum_block(units, plan) != kept.blocks[number]:
            return False
    beyond = range(kept.touched * kept.block, plan.units // kept.block * kept.block)
    return not beyond or not store.done_units(folder, beyond)


def write_summary(store: LayerStore, folder: str, plan: Plan, kept: SummaryFile) -> None:
    """Write a summary file. Only for the driver of a run."""
    values = {
        "layer": folder,
        "units": plan.units,
        "block": kept.block,
        "touched": kept.touched,
        "blocks": {str(number): block for number, block in sorted(kept.blocks.items())},
        "recent": kept.recent,
        "writer": kept.writer,
    }
    rest = canonical(values)[1:].encode()
    store.write_file(store.summary_name(folder), _digest(rest) + rest)


def _digest(rest: bytes) -> bytes:
    """The start of a summary file: the sha256 of the rest."""
    return b'{"digest":"' + hashlib.sha256(rest).hexdigest().encode() + b'",'
