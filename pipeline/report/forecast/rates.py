"""Cost of a sample, stage by stage: read from the records of a run, or from a file with earlier measured rates.

Invariant: every figure was measured. A figure that was not measured is -1 (times) or absent (recipes), never a guess.
"""

import json
import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from pydantic import Field, ValidationError

from ....shards.errors import BadInput, SpatialdataError
from ....shards.index import Manifest, read_manifest
from ....shards.layout import find_splits
from ....shards.options import Options
from ....shards.stage import Stage
from ...config import Config
from ...engine.render_device import gpus_found
from ...opened import RUNS, Build, open_build
from ...store.families import derived_share, rendered_of
from ...store.fingerprints import plain
from ...store.layers import Record

UNMEASURED: Final = -1.0
SCALED: Final = ("render.resolution", "render.samples")
"""Settings of layer `pair` that `scaled` can scale."""
PLANNED: Final = ("render.light_tree", "render.partial", "scene.physics")
"""Settings of layer `pair` whose `auto` is decided when a build is planned: a configuration lacks them until then."""
DENOISING: Final = 4
"""Constant cost of a view (denoising and passes), in render samples. Checked by `benchmarks/forecast.py --scale 2`."""

TARGET: Final = 0.5
"""Cost of a target of which only what changes is rendered, in renders of a whole image (`benchmarks/partial.py`)."""


class LayerRate(Options):
    """Rates of one stage, per sample that reaches it."""

    seconds: float = Field(ge=0, description="of one worker")
    cpu_seconds: float = Field(default=UNMEASURED, description="of the worker and its child processes; -1: not known")
    cpus: float = Field(ge=0, description="that one worker requests")
    gpus: float = Field(ge=0)
    bytes: float = Field(ge=0, description="of the layer file")
    reached: float = Field(ge=0, description="samples that reach the stage, per planned sample")
    settings: dict[str, Any] = Field(description="the stage's configuration, flat")


class RecipeRate(Options):
    """One recipe's shards."""

    samples: float = Field(ge=0, description="per planned sample")
    bytes: float = Field(ge=0, description="per packed sample")


class Rates(Options):
    """Measured cost of a run of `samples` samples."""

    machine: str
    cpus: float
    gpus: float
    samples: int
    unit_size: int = Field(description="rendered (or read) samples per unit")
    derived: float = Field(default=0.0, description="samples derived from others, per planned sample")
    per_scene: int = Field(default=1, description="rendered (or read) samples of each scene")
    accepted: float = Field(description="samples that no layer rejected, per planned sample")
    startup_s: float = Field(description="until workers are warmed up; -1: not known")
    pack_start_s: float = Field(description="wall time of packing outside the workers; -1: not known")
    pack_s: float = Field(description="time of packing workers, per planned sample; -1: not known")
    layers: dict[str, LayerRate]
    recipes: dict[str, RecipeRate]


def read_rates(measured: str) -> Rates:
    """The rates of a build (its OUT), or of a file that `spatialdata plan --save` wrote.

    Raises BadInput if it is neither, or the build has no complete unit.
    """
    if not measured.endswith(".json"):
        return measure(open_build(measured))
    try:
        return Rates.model_validate_json(Path(measured).expanduser().read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"--measured {measured}: no such file") from None
    except (OSError, ValidationError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(
            f"--measured {measured} has no rates ({reason}): write a file with `spatialdata plan --measured OUT --save`"
        ) from None


def measure(build: Build) -> Rates:
    """The rates of a build, from the units that all layers have. Raises BadInput if there is none."""
    folders, store = build.layers, build.store
    units = sorted(set[int].intersection(*(set(store.done_units(folder)) for folder in folders.values())))
    if not units:
        raise BadInput(
            f"no unit of {store} is complete yet: let the build finish at least one unit, preferably several"
        )
    planned = sum(build.plan.size(unit) for unit in units)
    records = {layer: [store.record(folder, unit) for unit in units] for layer, folder in folders.items()}
    rejected = {(record.unit, reject.key) for each in records.values() for record in each for reject in record.rejects}
    stages = {stage.layer: stage for stage in build.stages}
    startup, pack_start, pack = _run_times(build, records)
    layers = {layer: _layer(stages[layer], each, planned) for layer, each in records.items()}
    return Rates(
        machine=platform.node(),
        cpus=os.cpu_count() or 1,
        gpus=gpus_found(build.config.engine.model_copy(update={"kind": "inline"})),
        samples=planned,
        unit_size=rendered_of(build.plan.unit_size, build.config),
        derived=derived_share(build.config),
        per_scene=build.config.edits.rendered_per_scene,
        accepted=1 - len(rejected) / planned,
        startup_s=startup if startup < 0 else startup + max(map(_warm_up, records.values())),
        pack_start_s=pack_start,
        pack_s=pack,
        layers=layers,
        recipes=_recipes(build),
    )


def scaled(rates: Rates, wanted: Mapping[str, Any]) -> tuple[Rates, str]:
    """The rates scaled to another image size and number of render samples, and a text that states the assumption.

    Rendering time is proportional to pixels times (render samples + DENOISING); the time of other stages and the size
    of all files are proportional to pixels. A stage with a model keeps its time, because models resize images to their
    own size. If the rates or `wanted` have no image size (released pairs), or nothing differs, the rates are returned
    unchanged, with empty text.

    Args:
        wanted: the settings of layer `pair` to plan for, as in `LayerRate.settings`.
    """
    before, after = _frame(rates.layers["pair"].settings), _frame(wanted)
    if before is None or after is None or before == after:
        return rates, ""
    pixels = after[0] * after[1] / (before[0] * before[1])
    rendering = pixels * (after[2] + DENOISING) / (before[2] + DENOISING)
    layers = {
        name: _scale(rate, 1.0 if "model" in rate.settings else rendering if name == "pair" else pixels, pixels)
        for name, rate in rates.layers.items()
    }
    recipes = {
        name: RecipeRate(samples=rate.samples, bytes=rate.bytes * pixels) for name, rate in rates.recipes.items()
    }
    pack_s = rates.pack_s if rates.pack_s == UNMEASURED else rates.pack_s * pixels
    text = (
        f"measured at {_named(before)}, scaled to {_named(after)}: rendering by {rendering:.3g} (pixels x (render "
        f"samples + {DENOISING})), other stages and files by {pixels:.3g} (pixels), models by 1"
    )
    return rates.model_copy(update={"layers": layers, "recipes": recipes, "pack_s": pack_s}), text


def shared(rates: Rates, config: Config, wanted: Mapping[str, Any]) -> Rates:
    """The rates scaled to the edits of each scene, and the derived samples, of a configuration.

    Rendering time is proportional to the images: one of the source, and for each target as much, or `TARGET` where only
    what changes is rendered.

    Args:
        wanted: see `scaled`.
    """

    def images(settings: Mapping[str, Any], per_scene: int, derived: float) -> float:
        """Renders of whole images for each sample."""
        target = TARGET if settings.get("render.partial") == "on" else 1.0
        return (1.0 + target * per_scene) * (1.0 - derived) / per_scene

    pair = rates.layers["pair"]
    before = images(pair.settings, rates.per_scene, rates.derived)
    after = images({**pair.settings, **wanted}, config.edits.rendered_per_scene, derived_share(config))
    return rates.model_copy(update={"layers": {**rates.layers, "pair": _scale(pair, after / before, 1.0)}})


def _frame(settings: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """Width, height and render samples."""
    if not {*SCALED} <= settings.keys():
        return None
    (width, height), samples = (settings[name] for name in SCALED)
    return int(width), int(height), int(samples)


def _named(frame: tuple[int, int, int]) -> str:
    return f"{frame[0]} x {frame[1]} with {frame[2]} render samples"


def _scale(rate: LayerRate, time: float, size: float) -> LayerRate:
    cpu = rate.cpu_seconds if rate.cpu_seconds == UNMEASURED else rate.cpu_seconds * time
    return rate.model_copy(update={"seconds": rate.seconds * time, "cpu_seconds": cpu, "bytes": rate.bytes * size})


def flat(values: Any, name: str = "") -> dict[str, Any]:
    """Nested mappings as `a.b`: value, without class names and the digest of the assets, which belongs to the plan."""
    if not isinstance(values, dict):
        return {name: values}
    found: dict[str, Any] = {}
    for key, value in values.items():  # pyright: ignore[reportUnknownVariableType]
        if key not in ("class", "assets_sha256"):
            found |= flat(value, f"{name}.{key}" if name else str(key))
    return found


def _layer(stage: Stage, records: list[Record], planned: int) -> LayerRate:
    reached = sum(map(_samples, records))
    each = max(1, reached)
    warm = _split(records)[1]
    return LayerRate(
        seconds=_seconds(warm),
        cpu_seconds=sum(record.cpu_seconds for record in warm) / max(1, sum(map(_samples, warm))),
        cpus=stage.cpus,
        gpus=stage.gpus,
        bytes=sum(record.bytes for record in records) / each,
        reached=reached / planned,
        settings=flat(plain(stage)),
    )


def _samples(record: Record) -> int:
    """Number of samples that reached the stage."""
    return record.rows + len(record.rejects)


def _seconds(records: Sequence[Record]) -> float:
    """Worker seconds per sample."""
    return sum(record.seconds for record in records) / max(1, sum(map(_samples, records)))


def _split(records: Sequence[Record]) -> tuple[Sequence[Record], Sequence[Record]]:
    """The first unit of each worker (started before any unit was done), in which it warms up, and the rest.

    If there is no rest, all records count as rest.
    """
    ended = min(_started(record) + timedelta(seconds=record.seconds) for record in records)
    first = [record for record in records if _started(record) < ended]
    rest = [record for record in records if _started(record) >= ended]
    return (first, rest) if any(map(_samples, rest)) else ((), records)


def _warm_up(records: Sequence[Record]) -> float:
    """Seconds that a worker's first unit takes longer than later ones."""
    first, rest = _split(records)
    if not first:
        return 0.0
    return max(0.0, _seconds(first) - _seconds(rest)) * sum(map(_samples, first)) / len(first)


def _started(record: Record) -> datetime:
    return datetime.fromisoformat(record.started)


def _recipes(build: Build) -> dict[str, RecipeRate]:
    samples, size = Counter[str](), Counter[str]()
    for manifest in _manifests(build):
        samples[manifest.recipe] += manifest.samples
        size[manifest.recipe] += manifest.bytes
    planned = build.plan.samples
    return {name: RecipeRate(samples=n / planned, bytes=size[name] / n) for name, n in samples.items()}


def _manifests(build: Build) -> list[Manifest]:
    try:
        return [read_manifest(folder.url) for folder in find_splits(f"{build.store.url.rstrip('/')}/shards")]
    except (BadInput, FileNotFoundError, SpatialdataError):
        return []


def _run_times(build: Build, records: dict[str, list[Record]]) -> tuple[float, float, float]:
    """Times of the run that computed all units, in seconds; UNMEASURED if no single run did.

    Returns the time until the first unit started, the wall time of packing outside the workers, and the
    worker time of packing per planned sample.
    """
    first = min(_started(record) for each in records.values() for record in each)
    for name in sorted(build.store.names(RUNS)):
        if not name.endswith(".json"):
            continue
        run = json.loads(build.store.read_file(f"{RUNS}/{name}"))
        if any(stage["found"] for stage in run["stages"].values()):
            continue
        began = datetime.fromisoformat(run["started"])
        if began - timedelta(seconds=1) <= first:
            work = sum(packed["worker_seconds"] for packed in run["shards"])
            shared = sum(packed["worker_seconds"] / _packers(packed) for packed in run["shards"])
            start = max(0.0, run["pack_seconds"] - shared)
            return max(0.0, (first - began).total_seconds()), start, work / build.plan.samples
    return UNMEASURED, UNMEASURED, UNMEASURED


def _packers(packed: dict[str, Any]) -> int:
    """Number of parallel packers: splits are packed one after the other, the shards of a split in parallel."""
    return min(os.cpu_count() or 1, max(split["shards"] for split in packed["splits"].values()))
