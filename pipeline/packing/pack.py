"""Pack the accepted samples of a build into shards.

Invariants: the samples of a shard depend only on the plan and the records, so they are the same in every run. An
existing complete shard of the same samples and layers is not packed again. A split folder without a manifest is
unfinished.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from ...shards.codecs import ImageCodec
from ...shards.errors import BadInput, SpatialdataError
from ...shards.index import (
    INDEX_VERSION,
    MANIFEST,
    ShardEntry,
    is_whole,
    offsets_name,
    pack_shard,
    parquet_name,
    write_manifest,
)
from ...shards.layout import filesystem, is_local, join, list_shards, shard_name
from ...shards.recipes import FILTERS, OwnLayer, Recipe, layer_of
from ...shards.sample import Sample
from ...shards.schema import SPLITS, TWO_OBJECT_KINDS, Provenance, Split, schema_version
from ...shards.sidecars import ATTRIBUTION, SIDECARS, write_sidecars
from ...shards.stage import Stage, member_views
from ...shards.writer import move_aside
from ...sources.derived import origins_of
from ..config import LAYERS, EditOptions, ShardOptions
from ..engine.runner import Damaged
from ..store.families import family_of, planned_kinds, states_of
from ..store.layers import LayerCorrupt, LayerStore
from ..store.plan import Plan, PlanRow
from ..store.storage import FULL, disk_full
from .assemble import members_of, software_versions
from .duplicates import find_duplicates, per_unit, rejected_keys
from .license_filter import find_unlicensed
from .packed_recipes import Packing, write_packing

Packer = Callable[[Callable[["ShardJob"], ShardEntry | Damaged], Sequence["ShardJob"]], list[ShardEntry | Damaged]]
"""Runs a function on every job, in this process or on Ray, and returns the results in order."""


_ADDED_FIELDS: Final = ("own", "supports", "families")
"""Fields of `Recipe` that earlier versions lack."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Accepted samples of one unit and one split, by position. Small: 100,000 units in three splits take 35 MB."""

    unit: int
    first: int
    count: int
    state: str
    """Digest of the unit's records and left-out samples. It changes if one of the unit's layer files is recomputed."""


@dataclass(frozen=True)
class ShardJob:
    """One shard to pack. Small and picklable."""

    plan: Plan
    layers: Mapping[str, str]
    """The folder of each layer in the store."""
    recipe: Recipe
    codec: ImageCodec
    folder: str
    name: str
    split: Split
    slices: tuple[Slice, ...]
    """In the plan's order."""
    left_out: Mapping[int, tuple[str, ...]] = field(default_factory=dict[int, tuple[str, ...]])
    """Keys of accepted samples to leave out, by unit, for the units of the slices. `Slice.state` covers them."""

    @property
    def _recipe_fields(self) -> dict[str, Any]:
        """The recipe's fields, without those that earlier versions lack where they are empty or false, so that shards
        of these versions keep their digests."""
        return {name: part for name, part in asdict(self.recipe).items() if part or name not in _ADDED_FIELDS}

    @property
    def schema_version(self) -> int:
        return schema_version(self.recipe.edits, self.recipe.supports, self.recipe.families)

    @property
    def digest(self) -> str:
        """Digest of everything that determines the shard: equal digests mean equal bytes."""
        inputs = [
            self.plan.hash,
            sorted(self.layers.items()),
            self._recipe_fields,
            self.codec,
            self.name,
            [asdict(part) for part in self.slices],
        ]
        return hashlib.sha256(
            json.dumps([inputs, self.schema_version, INDEX_VERSION, software_versions()]).encode()
        ).hexdigest()


def pack(
    store: LayerStore,
    plan: Plan,
    layers: Mapping[str, str],
    recipe: Recipe,
    options: ShardOptions,
    packer: Packer,
) -> dict[str, Any]:
    """Pack the accepted samples into `OUT/shards/<recipe>/<split>/`.

    A split's manifest is written after its shards, and the files that describe all splits are written last.

    Args:
        recipe: a recipe that the build can fill (`fit_recipe`).
        layers: the folder of each layer of the build.

    Returns:
        A summary: `recipe`, `folder`, `splits` (split: samples, shards, bytes).

    Raises:
        BadInput: no sample is accepted.
        LayerCorrupt: a record or a layer file that a shard needs is damaged. Recompute that unit, then pack again.
    """
    used = {layer: layers[layer] for layer in (*recipe.needs, *FILTERS) if layer in recipe.needs or layer in layers}
    root = join(store.url, "shards", recipe.name)
    splits: dict[str, Any] = {}
    duplicates = find_duplicates(store, plan, layers, options.duplicates)
    unlicensed = find_unlicensed(store, plan, layers["pair"], options.licenses)
    left_out = unlicensed.added_to(duplicates.by_unit)
    chosen = choose_samples(store, plan, used, recipe, left_out)
    if not chosen:
        reason = unlicensed.warning or "`spatialdata status` shows why"
        raise BadInput(f"no sample of {store} is accepted for recipe {recipe.name}: {reason}")
    write_packing(store, recipe.name, Packing(options, tuple(chosen), duplicates.digest))
    for folder in (".made", *SPLITS):  # a killed packing may leave a gigabyte per worker
        store.sweep(f"shards/{recipe.name}/{folder}")
    for split, slices in chosen.items():
        chunks = list(_chunks(slices, options.samples_per_shard))
        folder = join(root, split)
        names = [shard_name(options.name, split, index, len(chunks)) for index in range(len(chunks))]
        jobs = [
            ShardJob(
                plan,
                used,
                recipe,
                options.codecs.image,
                folder,
                name,
                split,
                chunk,
                {part.unit: left_out[part.unit] for part in chunk if part.unit in left_out},
            )
            for name, chunk in zip(names, chunks, strict=True)
        ]
        splits[split] = _pack_split(store, split, jobs, options, packer)
    _drop_other_splits(root, splits)
    write_sidecars(root)
    return {"recipe": recipe.name, "folder": root, "splits": splits}


def fit_recipe(recipe: Recipe, stages: Sequence[Stage], options: EditOptions) -> Recipe:
    """Adapt a recipe to a build: `full` takes everything that the build has; other recipes need all their members.

    Raises BadInput if the recipe needs a layer, a view or an edit that the build lacks.
    """
    edits = planned_kinds(options)
    if not set(recipe.edits) & set(edits):
        raise BadInput(
            f"recipe {recipe.name} takes edits of {', '.join(recipe.edits)}; this build plans none of them "
            f"({', '.join(sorted(edits))}): add one to `edits` in a new build, or choose another recipe"
        )
    # The schema version of a set depends on the kinds that it may have (`shards.schema.schema_version`).
    edit_kinds = tuple(kind for kind in recipe.edits if kind in edits or kind not in TWO_OBJECT_KINDS)
    by_layer = {stage.layer: stage for stage in stages}
    recipe = replace(
        recipe,
        edits=edit_kinds,
        supports=by_layer["pair"].supports,
        families=options.orbit is not None or options.per_scene > 2,
    )
    own = tuple(_own_layer(stage) for stage in stages if stage.layer not in LAYERS)
    if recipe.name == "full":
        members = tuple(name for name in recipe.members if layer_of(name) in by_layer)
        maps = [by_layer[layer] for layer in {layer_of(name) for name in members} - {"pair"}]
        common = tuple(view for view in recipe.views if all(view in member_views(stage) for stage in maps))
        return replace(recipe, members=members, views=common, own=own)
    recipe = replace(recipe, own=tuple(layer for layer in own if not layer.members))
    missing = [layer for layer in recipe.needs if layer not in by_layer]
    if missing:
        raise BadInput(
            f"recipe {recipe.name} needs the layer{'s' * (len(missing) > 1)} {', '.join(missing)}, which this build "
            "lacks: add to `layers` and rerun the build, or choose another recipe"
        )
    for layer in sorted({column.layer for column in recipe.columns} - {"pair"}):
        if not set(recipe.views) <= set(member_views(by_layer[layer])):
            raise BadInput(
                f"recipe {recipe.name} needs maps of {' and '.join(recipe.views)}: set layers.{layer}.views and rerun "
                "the build (only that layer is recomputed)"
            )
    return recipe


def _own_layer(stage: Stage) -> OwnLayer:
    return OwnLayer(stage.layer, stage.member, member_views(stage))


def choose_samples(
    store: LayerStore,
    plan: Plan,
    layers: Mapping[str, str],
    recipe: Recipe,
    left_out: Mapping[int, Sequence[str]],
) -> dict[Split, list[Slice]]:
    """Choose the samples of each split: those of the recipe's edits that no layer rejected.

    Reads the plan and the records, but no layer file: a layer has a row for every planned sample that is no reject.

    Args:
        left_out: keys to leave out, by unit.
    """
    chosen: dict[Split, list[Slice]] = {}
    for unit, (keys, state) in per_unit(store, plan, partial(_excluded_keys, store, layers, left_out)):
        counts = Counter(row.split for row in plan.rows(unit) if _is_included(row, keys, recipe))
        for split in SPLITS:
            if counts[split]:
                chosen.setdefault(split, []).append(Slice(unit, 0, counts[split], state))
    return chosen


def _excluded_keys(
    store: LayerStore, layers: Mapping[str, str], left_out: Mapping[int, Sequence[str]], unit: int
) -> tuple[set[str], str]:
    """Keys of a unit that any layer rejected or that are left out, and the unit's state (`Slice.state`)."""
    rejected, sha256 = rejected_keys(store, layers, unit)
    keys = rejected.union(left_out.get(unit, ()))
    return keys, hashlib.sha256(json.dumps([sha256, sorted(keys)]).encode()).hexdigest()[:16]


def _is_included(row: PlanRow, left_out: set[str], recipe: Recipe) -> bool:
    return row.key not in left_out and row.spec["edit"] in recipe.edits


def _chunks(slices: Sequence[Slice], size: int) -> Iterator[tuple[Slice, ...]]:
    """Divide a split's samples into shards of `size`, which may begin and end within a unit."""
    chunk: list[Slice] = []
    room = size
    for part in slices:
        first = part.first
        while first < part.count:
            count = min(room, part.count - first)
            chunk.append(part if count == part.count else replace(part, first=first, count=count))
            first, room = first + count, room - count
            if room == 0:
                yield tuple(chunk)
                chunk, room = [], size
    if chunk:
        yield tuple(chunk)


def _pack_split(
    store: LayerStore, split: Split, jobs: Sequence[ShardJob], options: ShardOptions, packer: Packer
) -> dict[str, int]:
    first = jobs[0]
    done = {job.name: entry for job in jobs if (entry := _existing_entry(store, job))}
    todo = [job for job in jobs if job.name not in done]
    if todo:
        # Remove the files that list shards first, and write them last: an interrupted packing leaves no outdated list.
        for name in (*SIDECARS, ATTRIBUTION, f"{split}/{MANIFEST}"):
            _remove(join(first.folder.rpartition("/")[0], name))
    for job, packed in zip(todo, packer(pack_one, todo), strict=True):
        if isinstance(packed, Damaged):
            raise LayerCorrupt(packed.message, packed.layer_dir, packed.unit)
        done[job.name] = packed
    _drop_other_shards(first.folder, set(done))
    manifest = write_manifest(
        first.folder,
        name=options.name,
        recipe=first.recipe.name,
        split=split,
        members=first.recipe.fields(first.codec),
        shards=list(done.values()),
        version=first.schema_version,
    )
    return {"samples": manifest.samples, "shards": len(manifest.shards), "bytes": manifest.bytes}


def pack_one(job: ShardJob) -> ShardEntry | Damaged:
    """Pack one shard with its Parquet file, and record its digest. Holds one unit of each layer in memory at a time.

    Returns `Damaged` if a layer file is damaged: an exception would lose its type on the way to the driver. Raises
    SpatialdataError if the disk is full or the shard cannot be written.
    """
    try:
        entry = pack_shard(job.folder, job.name, _samples(job))
    except LayerCorrupt as error:
        return Damaged(error.layer_dir, error.unit, str(error))
    except OSError as error:
        if error.errno in FULL:
            raise disk_full(job.folder, error) from error
        raise SpatialdataError(f"shard {job.name} in {job.folder} cannot be written: {error}") from error
    note = {"digest": job.digest, "entry": entry.model_dump(mode="json")}
    job.plan.store.write_file(_note_name(job), json.dumps(note, sort_keys=True).encode())
    return entry


def _samples(job: ShardJob) -> Iterator[tuple[str, dict[str, bytes]]]:
    plan, store = job.plan, job.plan.store
    layer_names = sorted(job.layers.values())
    versions = software_versions()
    for part in job.slices:
        left_out, _ = _excluded_keys(store, job.layers, job.left_out, part.unit)
        planned = plan.rows(part.unit)
        states = states_of(planned) if job.recipe.families else {}
        rows = [row for row in planned if row.split == job.split and _is_included(row, left_out, job.recipe)]
        columns = {layer: store.read(folder, part.unit) for layer, folder in job.layers.items()}
        for row in rows[part.first : part.first + part.count]:
            missing = next((layer for layer in job.layers if row.key not in columns[layer]), None)
            if missing is not None:
                what = f"layer file {store.path(store.data_name(job.layers[missing], part.unit))} lacks {row.key}"
                raise LayerCorrupt(f"{what}: run `spatialdata build` again", job.layers[missing], part.unit)
            sample = Sample(row.key, row.split, row.spec, {layer: columns[layer][row.key] for layer in job.layers})
            provenance = Provenance(
                plan=plan.hash,
                unit=part.unit,
                seed=int(row.spec.get("seed", plan.seed)),
                layers=layer_names,
                versions=versions,
                derived=row.spec.get("derived", ""),
                origin=" ".join(origins_of(row.spec)),
                **_family(row, states),
            )
            yield row.key, members_of(sample, job.recipe, job.codec, provenance)


def _family(row: PlanRow, states: Mapping[str, tuple[int, int]]) -> dict[str, str]:
    """`family` and `states` of the provenance (`shards.schema.Provenance`), where the states are known."""
    if row.key not in states:
        return {}
    source, target = states[row.key]
    return {"family": family_of(row.key, row.spec), "states": f"{source} {target}"}


def _note_name(job: ShardJob) -> str:
    return f"shards/{job.recipe.name}/.made/{job.name.removesuffix('.tar')}.json"


def _existing_entry(store: LayerStore, job: ShardJob) -> ShardEntry | None:
    """The entry of an existing shard, if it has the same digest and its files look complete; else None."""
    name = _note_name(job)
    if not store.exists(name):
        return None
    try:
        note = json.loads(store.read_file(name))
        entry = ShardEntry.model_validate_json(json.dumps(note["entry"]))
        matches = (note["digest"], entry.name) == (job.digest, job.name)
    except (ValueError, KeyError, TypeError):
        return None
    return entry if matches and is_whole(job.folder, entry) else None


def _drop_other_shards(folder: str, names: set[str]) -> None:
    """Remove tars of an earlier packing with other names, and the files beside them."""
    for url in list_shards(folder):
        if url.rpartition("/")[2] not in names:
            for name in (url, parquet_name(url), offsets_name(url)):
                _remove(name)


def _drop_other_splits(root: str, splits: Mapping[str, Any]) -> None:
    """Remove the folders of splits that have no samples any more."""
    fs, path = filesystem(root)
    for split in SPLITS:
        if split not in splits and fs.exists(join(path, split)):
            fs.rm(join(path, split), recursive=True)


def _remove(url: str) -> None:
    fs, path = filesystem(url)
    if is_local(fs):
        move_aside(Path(path))
    if fs.exists(path):
        fs.rm_file(path)
