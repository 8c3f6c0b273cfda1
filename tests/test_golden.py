"""What users get stays the same: plans, specs, fingerprints and bytes of three small builds.

They are compared with values in `tests/golden/*.json`; `tests/golden/record.py` says when these may be recorded anew,
and how.
Builds are made with the command, and read from the files under OUT: nothing here imports the product but
`tests/golden/doors.py`.

Three levels. Plans, rows, texts, verdicts, scenes and fingerprints must be equal everywhere. Plan hashes cover the
versions of the pinned packages, and are compared where these are the recorded ones. Rendered pixels may differ between
processors: on another kind of processor than the recorded one (or with another Blender), facts and pictures are
compared with a tolerance, and bytes only where the rendered pixels happen to be equal.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.golden import doors
from tests.golden.inputs import (
    BUILDS,
    CONFIGURATIONS,
    KINDS,
    OLD_BUILD,
    OLD_OUT,
    ORIENT,
    RELEASE,
    TWOS,
    run_build,
    unpack,
    write_inputs,
)
from tests.golden.reading import PRODUCT, PROSE, installed, observe, processor
from tests.golden.record import FOLDER
from tests.pipeline.releases import spatialdata

GOLDEN = Path(os.environ.get("GOLDEN", FOLDER))
Found = Callable[[str], dict[str, Any]]
by_build = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.blender] * build.rendered) for name, build in BUILDS.items()]
)


@cache
def recorded(name: str) -> dict[str, Any]:
    return json.loads((GOLDEN / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("golden")
    write_inputs(folder / "inputs")
    return folder


@pytest.fixture(scope="module")
def found(work: Path) -> Found:
    """What a build gives now, by name; each is built once."""

    @cache
    def build(name: str) -> dict[str, Any]:
        run_build(BUILDS[name], work / name, work / "inputs")
        return observe(work / name)

    return build


def differing(old: Any, new: Any, near: bool = False, place: str = "") -> Iterator[str]:
    """Where two values differ, `a.b: 1 -> 2`.

    Args:
        near: numbers may differ as far as another processor's rounding moves pixels.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            yield from differing(old.get(name), new.get(name), near, f"{place}.{name}" if place else name)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from differing(one, other, near, f"{place}[{index}]")
    elif old != new and not (near and _near(old, new)):
        yield f"{place}: {old!r} -> {new!r}"


def _near(old: Any, new: Any) -> bool:
    if isinstance(old, bool) or not isinstance(old, int | float) or not isinstance(new, int | float):
        return False
    # Whole numbers are pixels.
    return abs(old - new) <= (2 if isinstance(old, int) else max(0.05, 0.05 * abs(old)))


def same(old: Any, new: Any, near: bool = False) -> None:
    found = list(differing(old, new, near))
    assert not found, f"{len(found)} values differ: {'; '.join(found[:8])}"


def other_packages(name: str) -> str:
    """Which packages are not those of the recorded values; empty where all are."""
    versions = recorded(name)["versions"]
    return "; ".join(differing(versions, installed(versions)))


def why_not_strict(name: str, found: Found) -> str:
    """Why pixels may differ from the recorded ones; empty where they must not."""
    if packages := other_packages(name):
        return f"recorded with other packages ({packages})"
    old, new = recorded(name), found(name)
    if BUILDS[name].rendered and old["processor"] != processor():
        return f"rendered on another kind of processor ({old['processor']} -> {processor()})"
    if BUILDS[name].rendered and old["renderer"] != new["renderer"]:
        return f"rendered by another Blender ({old['renderer']} -> {new['renderer']})"
    return ""


def must_be_strict(name: str, found: Found, what: str) -> None:
    """Skips the test where pixels may differ and do: only its comparison is left out."""
    reason = why_not_strict(name, found)
    pixels = [[record["sha256"] for record in side["layers"]["pair"]] for side in (recorded(name), found(name))]
    if reason and (pixels[0] != pixels[1] or other_packages(name)):
        pytest.skip(f"{what} of the build '{name}' not compared: {reason}")


@pytest.mark.slow
@by_build
@pytest.mark.parametrize("part", ["plan", "units", "columns", "names", "rejects", "texts", "croissant"])
def test_what_is_the_same_on_every_machine(name: str, part: str, found: Found):
    """Plan and specs, columns of layers, files of shards, verdicts, instructions and captions, croissant records."""
    same(recorded(name)[part], found(name)[part])


@pytest.mark.slow
@by_build
def test_assets(name: str, found: Found):
    old, new = recorded(name)["assets"], found(name)["assets"]
    same(list(old), list(new))
    if old != new and (reason := why_not_strict(name, found)):
        pytest.skip(f"measures of the assets of the build '{name}' not compared: {reason}")
    same(old, new)


@by_build
def test_hashes_and_folders_of_layers(name: str, found: Found):
    """The plan's hash, which the fingerprints of all layers cover; the folders of the asset survey."""
    if packages := other_packages(name):
        pytest.skip(f"hashes of the build '{name}' not compared: the plan covers versions of packages ({packages})")
    old, new = recorded(name)["hashes"], found(name)["hashes"]
    same(old["survey"], new["survey"])
    same(old["units"], new["units"])
    if recorded(name)["assets"] != found(name)["assets"] and (reason := why_not_strict(name, found)):
        pytest.skip(f"hashes of the build '{name}' not compared: the assets measure otherwise, {reason}")
    for part in ("assets", "plan", "layers"):
        same(old[part], new[part])


@by_build
@pytest.mark.parametrize("part", ["facts", "pictures"])
def test_facts_and_pictures(name: str, part: str, found: Found):
    """Poses, boxes, cameras, measures; and at a glance, the images."""
    old, new = recorded(name)[part], found(name)[part]
    if part == "pictures":
        old, new = (
            {key: [list(bytes.fromhex(one)) for one in views] for key, views in side.items()} for side in (old, new)
        )
    same(old, new, near=bool(why_not_strict(name, found)))


@by_build
@pytest.mark.parametrize("part", ["layers", "shards"])
def test_bytes(name: str, part: str, found: Found):
    """Layer files and records, without times and hosts; members of shards, but the versions that their json names."""
    must_be_strict(name, found, f"bytes ({part})")
    same(recorded(name)[part], found(name)[part])


@by_build
def test_whole_files_of_shards(name: str, found: Found):
    """Tars, parquets, manifests and indexes; not the prose beside them."""
    must_be_strict(name, found, "whole files")
    if installed([PRODUCT]) != recorded(name)["product"]:
        pytest.skip(f"whole files of the build '{name}' not compared: records name another version of {PRODUCT}")
    same(recorded(name)["hashes"]["files"], found(name)["hashes"]["files"])


@pytest.mark.slow
@pytest.mark.blender
def test_sampled_scenes(work: Path, found: Found):
    """Floor, walls, light, camera, placements and edits, before anything is rendered."""
    if found("procedural")["assets"] != recorded("procedural")["assets"]:
        pytest.skip("scenes not compared: they are sampled from other assets (see test_assets)")
    same(recorded("scenes"), doors.proposals(work / "procedural", KINDS, TWOS))


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_fingerprints_of_stages(name: str, tmp_path: Path):
    """Of every stage, models included: they cover names of classes and fields, defaults, versions and prompts."""
    same(recorded("stages")[name], doors.fingerprints(CONFIGURATIONS[name], tmp_path))


@pytest.mark.parametrize("name", ORIENT)
def test_fingerprints_of_orient(name: str, tmp_path: Path):
    same(recorded("stages")[name], doors.orient_fingerprints(ORIENT[name], tmp_path))


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder with `release` and `out`, the OUT of an earlier version."""
    unpack(RELEASE, tmp_path / "release")
    unpack(OLD_OUT, tmp_path / "out")
    versions = json.loads((tmp_path / "out" / "plan.json").read_text())["versions"]
    if packages := "; ".join(differing(versions, installed(versions))):
        pytest.skip(f"a build does not resume with other packages ({packages})")
    return tmp_path


def contents(out: Path) -> dict[str, bytes]:
    """Files of plan, layers and shards, but prose, by path."""
    paths = (path for folder in ("plan", "layers", "shards") for path in sorted((out / folder).rglob("*")))
    kept = [out / "plan.json", *(path for path in paths if path.is_file() and path.name not in PROSE)]
    return {str(path.relative_to(out)): path.read_bytes() for path in kept}


def written(out: Path) -> set[str]:
    """What a rerun wrote of plan, layers and shards, but lists of shards; the archive's files are of 1970."""
    paths = [*out.glob("plan*"), *out.rglob("plan/*"), *out.rglob("layers/*/*"), *out.glob("shards/*/*/*")]
    lists = ("manifest.json", "index.json", *PROSE)
    files = (path for path in paths if path.is_file() and not path.name.startswith(".") and path.name not in lists)
    return {str(path.relative_to(out)) for path in files if path.stat().st_mtime > 0 and ".nv-meta" not in path.parts}


def computed(report: dict[str, Any]) -> dict[str, int]:
    """Units that a run computed, by layer."""
    return {layer: count for layer, told in report["stages"].items() if (count := told["done"] - told["found"])}


@pytest.mark.slow
def test_an_old_out_is_finished(old: Path):
    """Nothing is computed or packed again."""
    before = contents(old / "out")
    assert computed(run_build(OLD_BUILD, old / "out", old)) == {}
    assert contents(old / "out") == before
    assert written(old / "out") == set()
    done = spatialdata("verify", str(old / "out"), "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["problems"] == []


@pytest.mark.slow
def test_an_old_out_resumes(old: Path):
    """Only what is missing is computed: one unit of one layer, and one shard, to the same bytes."""
    out = old / "out"
    before = contents(out)
    (record,) = out.glob("layers/line-*/00000001.json")
    (shard,) = out.glob("shards/full/train/*.tar")
    gone = [record, record.with_suffix(".parquet"), shard]
    for path in gone:
        path.unlink()
    assert computed(run_build(OLD_BUILD, out, old)) == {"line": 1}
    after = contents(out)
    records = [json.loads(side.pop(str(record.relative_to(out)))) for side in (before, after)]
    assert after == before
    told = ("unit", "layer", "rows", "bytes", "sha256", "rejects", "counts", "versions")
    assert {name: records[0][name] for name in told} == {name: records[1][name] for name in told}
    note = out / "shards/full/.made" / f"{shard.stem}.json"
    again = (*gone, shard.with_suffix(".parquet"), shard.with_name(f"{shard.name}.idx"), note)
    assert written(out) == {str(path.relative_to(out)) for path in again}


@pytest.mark.slow
def test_an_old_out_with_changed_options_computes_one_layer(old: Path):
    """Fingerprints of what did not change are found under the names that the earlier version gave."""
    out = shutil.copytree(old / "out", old / "changed")
    changed = type(OLD_BUILD)(
        (*OLD_BUILD.settings, "layers.line.views=[target]", "shard.recipes=[full]"), "release", False
    )
    report = run_build(changed, out, old)
    assert computed(report) == {"line": 3}
