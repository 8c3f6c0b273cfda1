"""Shards, checked against their manifest and themselves: every damage is found, and named down to the sample.

A shard's SHA-256 tells whether anything is wrong; reading it tells what breaks the format; the CRC-32s and places in
its parquet tell which member of which sample changed, also where the tar can no longer be walked.
Memory: one sample, one shard's parquet, and the keys, asset uids and families of the folder.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from .errors import SpatialdataError
from .index import (
    MANIFEST,
    SAMPLE_SCHEMA,
    WIDS_INDEX,
    Manifest,
    as_json,
    assets_of,
    families_of,
    read_manifest,
    read_rows,
    sample_schema,
    wids_index,
)
from .inspection import Problem
from .layout import SplitFolder, absent, base, find_splits, join, list_shards, open_url
from .recipes import RECIPES
from .schema import READABLE_VERSIONS, SCHEMA_VERSION, Split
from .sidecars import READ_BY_PEOPLE, index_files, read_splits
from .verify_shard import ShardFindings, verify_shard

KEEPS_ITS_SPLITS: Final = "object3dit"
"""The dataset whose val is the release's own, which shares objects with train and test by design."""
_APART: Final[tuple[tuple[Split, Split], ...]] = (("test", "train"), ("test", "val"), ("val", "train"))
"""Splits that may not share an asset; the first is told."""


@dataclass(frozen=True)
class _Place:
    """The first sample of a split that holds an asset, or one of a family."""

    shard: str
    key: str
    asset: str = ""
    """Its uid; empty where only the family is known."""


@dataclass
class _Held:
    """What a split holds: asset uids and families, and where each is first."""

    datasets: set[str] = field(default_factory=set[str])
    assets: dict[str, _Place] = field(default_factory=dict[str, _Place])
    families: dict[str, _Place] = field(default_factory=dict[str, _Place])


@dataclass(frozen=True)
class Report:
    """What was found. Clean when `problems` is empty."""

    problems: tuple[Problem, ...]
    shards: int
    samples: int
    bytes: int
    sizes: Mapping[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])
    """Samples by width and height of their images."""


def verify_folder(
    url: str,
    *,
    recipe: str | None = None,
    split: str | None = None,
    executor: Executor | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> Report:
    """Check all shards under `url`: OUT, OUT/shards, one recipe's or one split's folder, on any fsspec URL.

    `executor` (threads or processes) checks shards side by side; the report does not depend on it. `progress` is
    called with each finished shard's URL and number of samples. Splits beside a given one are read for the assets
    that both hold, without checking their shards. Raises BadInput where there is nothing to check.
    """
    problems: list[Problem] = []
    findings: list[ShardFindings] = []
    held: dict[str, _Held] = {}
    folders = find_splits(url, recipe=recipe, split=split)
    for folder in folders:
        found, shards = _verify_split(folder, executor, progress)
        problems += [replace(problem, folder=folder.url) for problem in found]
        findings += shards
        held[folder.url] = _merge(shards)
    for parent in dict.fromkeys(_parent(folder.url) for folder in folders):
        problems += _check_sidecars(parent)
        problems += _find_leaks(parent, held)
    sizes: Counter[tuple[int, int]] = Counter()
    for found in findings:
        sizes.update(found.sizes)
    counts = (len(findings), sum(f.samples for f in findings), sum(f.bytes for f in findings))
    return Report(tuple(problems), *counts, dict(sorted(sizes.items(), reverse=True)))


def _verify_split(
    folder: SplitFolder, executor: Executor | None, progress: Callable[[str, int], None] | None
) -> tuple[list[Problem], list[ShardFindings]]:
    manifest, problems = _load_manifest(folder)
    names = [base(shard) for shard in list_shards(folder.url)]
    entries = {shard.name: shard for shard in manifest.shards} if manifest else {}
    if manifest:
        problems += _check_index(folder.url, manifest)
        problems += [
            Problem("missing_shard", "in the manifest, not in the folder", shard=name)
            for name in sorted(entries.keys() - set(names))
        ]
        problems += [
            Problem("unexpected_shard", "in the folder, not in the manifest", shard=name)
            for name in sorted(set(names) - entries.keys())
        ]
        names = [name for name in names if name in entries]
    check = partial(
        verify_shard, folder.url, split=folder.split, fields=frozenset(manifest.members) if manifest else None
    )
    jobs = [(name, entries.get(name)) for name in names]
    findings: list[ShardFindings] = []
    for found in (executor.map if executor else map)(check, jobs):
        findings.append(found)
        problems += found.problems
        if progress:
            progress(join(folder.url, found.shard), found.samples)
    return problems + list(_find_duplicates(findings)), findings


def _load_manifest(folder: SplitFolder) -> tuple[Manifest | None, list[Problem]]:
    try:
        manifest = read_manifest(folder.url)
    except FileNotFoundError as error:
        what = f"{MANIFEST} {absent(error)}"
        return None, [Problem("manifest", f"{what}: packing was not finished; run `spatialdata shard`")]
    except SpatialdataError as error:
        return None, [Problem("manifest", str(error))]
    problems: list[Problem] = []
    if manifest.split != folder.split:
        problems.append(Problem("manifest", f"its split is '{manifest.split}', the folder is '{folder.split}'"))
    if manifest.recipe != folder.recipe and folder.recipe in RECIPES:
        problems.append(Problem("manifest", f"its recipe is '{manifest.recipe}', the folder is '{folder.recipe}'"))
    if manifest.schema_version not in READABLE_VERSIONS:
        known = ", ".join(map(str, READABLE_VERSIONS))
        text = f"the samples have schema version {manifest.schema_version}, this program reads {known}"
        problems.append(Problem("manifest", text))
    if len({shard.name for shard in manifest.shards}) != len(manifest.shards):
        problems.append(Problem("manifest", "a shard is listed twice"))
    for what in ("samples", "bytes"):
        total = sum(getattr(shard, what) for shard in manifest.shards)
        if total != getattr(manifest, what):
            problems.append(Problem("manifest", f"{what} is {getattr(manifest, what)}, its shards have {total}"))
    return manifest, problems


def _check_index(folder: str, manifest: Manifest) -> Iterator[Problem]:
    """The files that follow from the manifest must be as they would be written today.

    The JSON Schema of an older version is not written any more: it must be there.
    """
    schema = sample_schema() if manifest.schema_version == SCHEMA_VERSION else None
    for name, expected in ((WIDS_INDEX, as_json(wids_index(manifest))), (SAMPLE_SCHEMA, schema)):
        try:
            with open_url(join(folder, name)) as file:
                found = file.read()
        except FileNotFoundError as error:
            yield Problem("index", f"{name} {absent(error)}")
            continue
        if expected is not None and found != expected:
            yield Problem("index", f"{name} does not agree with {MANIFEST} and this version of the schema")


def _check_sidecars(recipe_folder: str) -> Iterator[Problem]:
    """Lists of all shards that other readers go by: where one is, all must be, and agree with the manifests.

    A split that was copied alone has none; of splits whose manifests cannot be read, they are not asked.
    """
    try:
        expected = index_files(read_splits(recipe_folder))
    except (FileNotFoundError, SpatialdataError):
        return
    found: dict[str, bytes] = {}
    lacking: dict[str, str] = {}
    for name in (*expected, *READ_BY_PEOPLE):
        try:
            with open_url(join(recipe_folder, name)) as file:
                found[name] = file.read()
        except FileNotFoundError as error:
            lacking[name] = absent(error)
    for name in READ_BY_PEOPLE:
        if name in found and not _is_text(found[name]):
            yield Problem("index", f"{name} holds no text", folder=recipe_folder)
        elif lacking.get(name, "is missing") != "is missing":
            yield Problem("index", f"{name} {lacking[name]}", folder=recipe_folder)
    for name in expected if found else ():
        if name in lacking:
            yield Problem("index", f"{name} {lacking[name]}", folder=recipe_folder)
        elif found[name] != expected[name]:
            yield Problem("index", f"{name} does not agree with the manifests of the splits", folder=recipe_folder)


def _is_text(data: bytes) -> bool:
    """Whether a person could have written it, or changed it."""
    try:
        return bool(data.decode().strip()) and b"\0" not in data
    except UnicodeDecodeError:
        return False


def _find_duplicates(findings: list[ShardFindings]) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for found in findings:
        for key in found.keys:
            if first.setdefault(key, found.shard) != found.shard:
                yield Problem("duplicate_key", f"the key is also in {first[key]}", key=key, shard=found.shard)


def _merge(findings: list[ShardFindings]) -> _Held:
    merged = _Held()
    for found in findings:
        merged.datasets |= found.datasets
        for asset, key in found.assets.items():
            merged.assets.setdefault(asset, _Place(found.shard, key, asset))
        for family, (key, asset) in found.families.items():
            merged.families.setdefault(family, _Place(found.shard, key, asset))
    return merged


def _find_leaks(recipe_folder: str, verified: Mapping[str, _Held]) -> Iterator[Problem]:
    """Objects that two splits share: one problem for each shard of the split that is told."""
    held: dict[str, tuple[str, _Held]] = {}
    for folder in find_splits(recipe_folder):
        if _parent(folder.url) == recipe_folder:
            known = verified[folder.url] if folder.url in verified else _held_by_parquets(folder.url)
            held[folder.split] = (folder.url, known)
    looked_at = {split for split, (url, _) in held.items() if url in verified}
    for split, other in _APART:
        if {split, other} <= held.keys() and looked_at & {split, other}:
            (url, ours), (_, theirs) = held[split], held[other]
            if "val" not in (split, other) or KEEPS_ITS_SPLITS not in ours.datasets | theirs.datasets:
                yield from _shared(ours, theirs, other, url)


def _shared(ours: _Held, theirs: _Held, other: str, folder: str) -> Iterator[Problem]:
    by_shard: dict[str, list[tuple[str, _Place, _Place]]] = {}
    both = ours.assets.keys() & theirs.assets.keys()
    alike = [(uid, ours.assets[uid], theirs.assets[uid]) for uid in sorted(both)]
    for family in sorted(ours.families.keys() & theirs.families.keys()):
        one, another = ours.families[family], theirs.families[family]
        if one.asset not in both:
            named = " and ".join(sorted({place.asset for place in (one, another) if place.asset}))
            alike.append((f"shape {family}{f' ({named})' * bool(named)}", one, another))
    for name, one, another in alike:
        by_shard.setdefault(one.shard, []).append((name, one, another))
    for shard, shared in sorted(by_shard.items()):
        name, one, another = shared[0]
        message = f"{len(shared)} assets are also in {other}, such as {name} in {another.key} of {another.shard}"
        yield Problem("leak", message, key=one.key, shard=shard, folder=folder)


def _held_by_parquets(folder: str) -> _Held:
    """Of a split that is not being checked itself; a damaged parquet there is that split's own finding."""
    held = _Held()
    for shard in map(base, list_shards(folder)):
        try:
            rows = read_rows(folder, shard)
        except (FileNotFoundError, SpatialdataError):
            continue
        for row in rows:
            held.datasets.add(str(row["dataset"]))
            for asset in assets_of(row):
                held.assets.setdefault(asset, _Place(shard, str(row["key"]), asset))
            for family in families_of(row):
                held.families.setdefault(family, _Place(shard, str(row["key"])))
    return held


def _parent(url: str) -> str:
    return url.rstrip("/").rpartition("/")[0]
