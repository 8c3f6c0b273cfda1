"""Verifies shards against their manifest and the format: finds every damage and names the sample.

A shard's SHA-256 shows whether anything is wrong. Reading the shard shows what violates the format. The CRC-32s and
offsets in its parquet show which member of which sample changed, also where the tar cannot be read any further.
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
from .layout import SplitFolder, base, find_splits, join, list_shards, missing_reason, open_url
from .recipes import RECIPES
from .schema import KEEPS_ITS_SPLITS, READABLE_VERSIONS, WRITTEN_VERSIONS, Split
from .sidecars import USER_EDITABLE, index_files, read_splits
from .verify_shard import ShardFindings, verify_shard

_DISJOINT_SPLITS: Final[tuple[tuple[Split, Split], ...]] = (("test", "train"), ("test", "val"), ("val", "train"))
"""Pairs of splits that must not share an asset; problems are reported for the first one."""


@dataclass(frozen=True)
class _FirstSample:
    """The first sample of a split that contains an asset, or an asset of a family."""

    shard: str
    key: str
    asset: str = ""
    """Its uid; empty where only the family is known."""


@dataclass
class _SplitContents:
    """Asset uids and families of a split, with the first sample of each."""

    datasets: set[str] = field(default_factory=set[str])
    assets: dict[str, _FirstSample] = field(default_factory=dict[str, _FirstSample])
    families: dict[str, _FirstSample] = field(default_factory=dict[str, _FirstSample])


@dataclass(frozen=True)
class Report:
    """The result of a verification. Clean when `problems` is empty."""

    problems: tuple[Problem, ...]
    shards: int
    samples: int
    bytes: int
    sizes: Mapping[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])
    """Number of samples by width and height of their images."""


def verify_folder(
    url: str,
    *,
    recipe: str | None = None,
    split: str | None = None,
    executor: Executor | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> Report:
    """Check all shards under `url`: OUT, OUT/shards, or the folder of one recipe or one split, on any fsspec URL.

    `executor` (threads or processes) checks shards in parallel; the report does not depend on it. `progress` is called
    with each finished shard's URL and number of samples. If `url` is one split, the parquets of the other splits are
    read to find shared assets, but their shards are not checked. Raises BadInput where there is nothing to check.
    """
    problems: list[Problem] = []
    findings: list[ShardFindings] = []
    contents: dict[str, _SplitContents] = {}
    folders = find_splits(url, recipe=recipe, split=split)
    for folder in folders:
        found, shards = _verify_split(folder, executor, progress)
        problems += [replace(problem, folder=folder.url) for problem in found]
        findings += shards
        contents[folder.url] = _merge(shards)
    for parent in dict.fromkeys(_parent(folder.url) for folder in folders):
        problems += _check_sidecars(parent)
        problems += _find_leaks(parent, contents)
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
        what = f"{MANIFEST} {missing_reason(error)}"
        return None, [Problem("manifest", f"{what}: packing did not finish; run `spatialdata shard`")]
    except SpatialdataError as error:
        return None, [Problem("manifest", str(error))]
    problems: list[Problem] = []
    if manifest.split != folder.split:
        problems.append(Problem("manifest", f"its split is '{manifest.split}', the folder is '{folder.split}'"))
    if manifest.recipe != folder.recipe and folder.recipe in RECIPES:
        problems.append(Problem("manifest", f"its recipe is '{manifest.recipe}', the folder is '{folder.recipe}'"))
    if manifest.schema_version not in READABLE_VERSIONS:
        known = ", ".join(map(str, READABLE_VERSIONS))
        text = f"the samples have schema version {manifest.schema_version}, but this version reads {known}"
        problems.append(Problem("manifest", text))
    if len({shard.name for shard in manifest.shards}) != len(manifest.shards):
        problems.append(Problem("manifest", "a shard is listed twice"))
    for what in ("samples", "bytes"):
        total = sum(getattr(shard, what) for shard in manifest.shards)
        if total != getattr(manifest, what):
            problems.append(Problem("manifest", f"{what} is {getattr(manifest, what)}, its shards have {total}"))
    return manifest, problems


def _check_index(folder: str, manifest: Manifest) -> Iterator[Problem]:
    """Files derived from the manifest must equal what this version would write.

    This version cannot write the JSON Schema of an older schema version, so that file only has to exist.
    """
    written = manifest.schema_version in WRITTEN_VERSIONS
    schema = sample_schema(manifest.schema_version) if written else None
    for name, expected in ((WIDS_INDEX, as_json(wids_index(manifest))), (SAMPLE_SCHEMA, schema)):
        try:
            with open_url(join(folder, name)) as file:
                found = file.read()
        except FileNotFoundError as error:
            yield Problem("index", f"{name} {missing_reason(error)}")
            continue
        if expected is not None and found != expected:
            yield Problem("index", f"{name} does not agree with {MANIFEST} and this version of the schema")


def _check_sidecars(recipe_folder: str) -> Iterator[Problem]:
    """Shard lists for other readers: if one exists, all must exist and agree with the manifests.

    A split that was copied without the others has none. They are not checked where a manifest cannot be read.
    """
    try:
        expected = index_files(read_splits(recipe_folder))
    except (FileNotFoundError, SpatialdataError):
        return
    found: dict[str, bytes] = {}
    unreadable: dict[str, str] = {}
    for name in (*expected, *USER_EDITABLE):
        try:
            with open_url(join(recipe_folder, name)) as file:
                found[name] = file.read()
        except FileNotFoundError as error:
            unreadable[name] = missing_reason(error)
    for name in USER_EDITABLE:
        if name in found and not _is_text(found[name]):
            yield Problem("index", f"{name} is not a text file", folder=recipe_folder)
        elif unreadable.get(name, "is missing") != "is missing":
            yield Problem("index", f"{name} {unreadable[name]}", folder=recipe_folder)
    for name in expected if found else ():
        if name in unreadable:
            yield Problem("index", f"{name} {unreadable[name]}", folder=recipe_folder)
        elif found[name] != expected[name]:
            yield Problem("index", f"{name} does not agree with the manifests of the splits", folder=recipe_folder)


def _is_text(data: bytes) -> bool:
    """Whether a person could have written or edited it: non-empty UTF-8 without NUL."""
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


def _merge(findings: list[ShardFindings]) -> _SplitContents:
    merged = _SplitContents()
    for found in findings:
        merged.datasets |= found.datasets
        for asset, key in found.assets.items():
            merged.assets.setdefault(asset, _FirstSample(found.shard, key, asset))
        for family, (key, asset) in found.families.items():
            merged.families.setdefault(family, _FirstSample(found.shard, key, asset))
    return merged


def _find_leaks(recipe_folder: str, verified: Mapping[str, _SplitContents]) -> Iterator[Problem]:
    """Assets that two splits share: one problem for each shard of the first split of the pair."""
    contents: dict[str, tuple[str, _SplitContents]] = {}
    for folder in find_splits(recipe_folder):
        if _parent(folder.url) == recipe_folder:
            known = verified[folder.url] if folder.url in verified else _contents_from_parquets(folder.url)
            contents[folder.split] = (folder.url, known)
    verified_splits = {split for split, (url, _) in contents.items() if url in verified}
    for split, other in _DISJOINT_SPLITS:
        if {split, other} <= contents.keys() and verified_splits & {split, other}:
            (url, first), (_, second) = contents[split], contents[other]
            if "val" not in (split, other) or KEEPS_ITS_SPLITS.isdisjoint(first.datasets | second.datasets):
                yield from _shared(first, second, other, url)


def _shared(first: _SplitContents, second: _SplitContents, other: str, folder: str) -> Iterator[Problem]:
    by_shard: dict[str, list[tuple[str, _FirstSample, _FirstSample]]] = {}
    shared_uids = first.assets.keys() & second.assets.keys()
    pairs = [(uid, first.assets[uid], second.assets[uid]) for uid in sorted(shared_uids)]
    for family in sorted(first.families.keys() & second.families.keys()):
        here, there = first.families[family], second.families[family]
        if here.asset not in shared_uids:
            named = " and ".join(sorted({place.asset for place in (here, there) if place.asset}))
            pairs.append((f"shape {family}{f' ({named})' * bool(named)}", here, there))
    for name, here, there in pairs:
        by_shard.setdefault(here.shard, []).append((name, here, there))
    for shard, shared in sorted(by_shard.items()):
        name, here, there = shared[0]
        message = f"{len(shared)} assets are also in {other}, such as {name} in {there.key} of {there.shard}"
        yield Problem("leak", message, key=here.key, shard=shard, folder=folder)


def _contents_from_parquets(folder: str) -> _SplitContents:
    """Contents of a split that is not checked itself; a damaged parquet is skipped, verifying that split reports it."""
    contents = _SplitContents()
    for shard in map(base, list_shards(folder)):
        try:
            rows = read_rows(folder, shard)
        except (FileNotFoundError, SpatialdataError):
            continue
        for row in rows:
            contents.datasets.add(str(row["dataset"]))
            for asset in assets_of(row):
                contents.assets.setdefault(asset, _FirstSample(shard, str(row["key"]), asset))
            for family in families_of(row):
                contents.families.setdefault(family, _FirstSample(shard, str(row["key"])))
    return contents


def _parent(url: str) -> str:
    return url.rstrip("/").rpartition("/")[0]
