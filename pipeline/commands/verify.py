"""Verify and repair a build or its shards."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

from ...shards.errors import BadInput, SpatialdataError
from ...shards.layout import SplitFolder, base, filesystem, find_shards, find_splits, join
from ...shards.recipes import get_recipe
from ...shards.verify import Report, verify_folder
from ..engine.run import session
from ..engine.summaries import summary_matches_records
from ..interrupts import interruptible
from ..opened import Build, done_units, open_build
from ..packing.pack import fit_recipe
from ..packing.packed_recipes import packed_recipes, read_packing
from ..planning.configurations import holds_build
from ..store.layers import LayerCorrupt, LayerStore
from ..store.lock import RunLock
from ..store.plan import check_rows
from .build import compute, pack_recipe

_WRONG_SUMMARY = "is damaged, or disagrees with the records: `status` may be wrong until the build is rerun"
FEW_SHARDS, FEW_BYTES = 8, 64 << 20


def run_verify(path: str, *, repair: bool = False, quiet: bool = False) -> dict[str, Any]:
    """Check the shards under `path` and, if it is OUT, its layers, and that no packed shards are missing.

    With `repair`, damaged or missing files are rebuilt.

    Raises BadInput if there is nothing to check, or `path` has no build to repair from.
    """
    build = open_build(path) if holds_build(LayerStore(path)) else None
    if repair and build is None:
        raise BadInput(f"{path} is not the folder of a build: give OUT, whose layers shards are rebuilt from")
    repaired: list[str] = []
    if repair and build is not None:
        repaired = _repair(build, quiet)
    report = _verify_shards(path) if build is None or _folders(build) else Report((), 0, 0, 0)
    problems = [
        _problem(base(problem.shard or problem.folder), problem.message, problem.key, problem.member)
        for problem in report.problems
    ]
    if build is not None:
        problems += [_problem(f"{error.layer_dir}/{error.unit}", str(error)) for error in _corrupt_layers(build)]
        problems += [_problem(f"summaries/{folder}", _WRONG_SUMMARY) for folder in _wrong_summaries(build)]
        problems += _corrupt_plan(build)
        problems += _missing_shards(build)
    return {
        "path": path,
        "repairable": build is not None,
        "ok": not problems,
        "shards": report.shards,
        "samples": report.samples,
        "bytes": report.bytes,
        "image_sizes": [[*size, count] for size, count in report.sizes.items()],
        "problems": problems,
        "repaired": repaired,
    }


def _problem(where: str, message: str, key: str = "", member: str = "") -> dict[str, str]:
    return {"shard": where, "key": key, "member": member, "message": message}


def _corrupt_plan(build: Build) -> list[dict[str, str]]:
    """Problems of the plan's list of units."""
    try:
        check_rows(build.plan)
    except SpatialdataError as error:
        return [_problem("plan", str(error))]
    return []


def _missing_shards(build: Build) -> list[dict[str, str]]:
    """Splits and recipes that were packed, or should have been, and are missing."""
    present = {(folder.recipe, folder.split) for folder in _folders(build)}
    problems: list[dict[str, str]] = []
    for recipe in packed_recipes(build.store):
        try:
            packing = read_packing(build.store, recipe)
        except BadInput as error:
            problems.append(_problem(recipe, str(error)))
            continue
        splits = packing.splits if packing else ()
        missing = [split for split in splits if (recipe, split) not in present]
        problems += [_problem(f"{recipe}/{split}", "was packed and is missing") for split in missing]
    packed = {recipe for recipe, _ in present}.union(packed_recipes(build.store))
    if done_units(build) == build.plan.units:
        wanted = [recipe for recipe in build.config.shard.recipes if recipe not in packed]
        problems += [_problem(recipe, "is not packed, though `shard.recipes` names it") for recipe in wanted]
    return problems


def _folders(build: Build) -> list[SplitFolder]:
    """The split folders of a build, which may have none."""
    try:
        return find_splits(join(build.store.url, "shards"))
    except BadInput:
        return []


def _verify_shards(path: str) -> Report:
    if _are_few(path):
        return verify_folder(path)
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as executor:
        return verify_folder(path, executor=executor)


def _are_few(path: str) -> bool:
    """Whether starting processes takes longer than checking the shards."""
    shards = find_shards(path)
    if len(shards) > FEW_SHARDS:
        return False
    try:
        return sum(fs.size(name) for fs, name in map(filesystem, shards)) < FEW_BYTES
    except OSError:  # one cannot be read: the check itself reports it
        return True


def _corrupt_layers(build: Build) -> list[LayerCorrupt]:
    """Layer files that disagree with their records."""

    def check(place: tuple[str, int]) -> LayerCorrupt | None:
        try:
            build.store.check(*place)
        except LayerCorrupt as error:
            return error
        return None

    places = [(folder, unit) for folder in build.layers.values() for unit in build.store.done_units(folder)]
    with ThreadPoolExecutor(4) as threads:
        return [error for error in threads.map(check, places) if error is not None]


def _wrong_summaries(build: Build) -> list[str]:
    """Layers whose summary disagrees with their records."""
    found = build.layers.items()
    return [folder for layer, folder in found if not summary_matches_records(build.store, build.plan, layer, folder)]


@interruptible()
def _repair(build: Build, quiet: bool) -> list[str]:
    """Recompute damaged units, then pack every recipe with damaged or missing shards, with its original options.

    Returns the names of rebuilt files. Raises BadInput if the options of a recipe are not known.
    """
    repaired: list[str] = []
    with RunLock(build.store) as lock, session(build.config.engine, stages=build.stages):
        check_rows(build.plan)
        for error in _corrupt_layers(build):
            build.store.set_aside(error.layer_dir, error.unit)
            repaired.append(f"{error.layer_dir}/{error.unit}")
        for folder in _wrong_summaries(build):  # the run rebuilds it
            build.store.remove(build.store.summary_name(folder))
            repaired.append(f"summaries/{folder}")
        compute(build, lock, quiet)
        lost = [problem["shard"] for problem in _missing_shards(build)]
        for recipe in sorted({name.partition("/")[0] for name in lost} | {f.recipe for f in _folders(build)}):
            damaged, broken = _damaged_shards(build, recipe)
            gone = [name for name in lost if name.partition("/")[0] == recipe]
            if broken or gone:
                _pack_again(build, recipe, damaged, quiet)
                repaired += [*gone, *damaged] or [f"{recipe} (its index)"]
    return repaired


def _damaged_shards(build: Build, recipe: str) -> tuple[list[str], bool]:
    """Names of a recipe's damaged shards, and whether its shards have any problem."""
    there = any(folder.recipe == recipe for folder in _folders(build))
    problems = _verify_shards(join(build.store.url, "shards", recipe)).problems if there else ()
    return sorted({base(problem.shard) for problem in problems if problem.shard}), bool(problems)


def _pack_again(build: Build, recipe: str, damaged: Sequence[str], quiet: bool) -> None:
    """Pack a recipe with its last options or, if it was never packed, with those of the build."""
    if packing := read_packing(build.store, recipe):
        build = replace(build, config=build.config.model_copy(update={"shard": packing.options}))
    for shard in damaged:
        build.store.remove(f"shards/{recipe}/.made/{shard.removesuffix('.tar')}.json")
    pack_recipe(build, fit_recipe(get_recipe(recipe), build.stages, build.config.edits), quiet)
