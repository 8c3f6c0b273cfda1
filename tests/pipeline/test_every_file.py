"""Each file under OUT, damaged or replaced in turn: it is named, and one command restores its bytes."""

import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.pipeline.command_line import CommandResult, build, run
from tests.pipeline.releases import files_of, write_release

pytestmark = pytest.mark.slow

SETTINGS = ("unit_size=2", "shard.samples_per_shard=2", "layers={segment: none, line: none}")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A release, a finished build of it with two recipes, and one of another release with the same keys."""
    base = tmp_path_factory.mktemp("small")
    root = write_release(base / "release", 9)
    for task in ("rotate", "remove"):
        shutil.rmtree(root / task)
    other = shutil.copytree(root, base / "other")
    for image in sorted(other.rglob("1.png")):  # the same names, other pictures
        image.write_bytes(image.with_name("2.png").read_bytes())
    assert build(root, base / "out", *SETTINGS).code == 0
    assert run("shard", base / "out", "--recipe", "spatialedit").code == 0
    assert build(other, base / "foreign", *SETTINGS, "samples=2").code == 0
    return root, base / "out", base / "foreign"


def kinds(out: Path) -> Iterator[Path]:
    """One file of each kind, as a relative path: the first of several units, shards or splits."""
    seen: set[str] = set()
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out)
        if path.is_file() and "runs" not in name.parts:
            kind = re.sub(
                r"(?<=shards/)(full|spatialedit)/|\d{5,}|(?<=/)(train|test)(?=/)|-(train|test)-|-[0-9a-f]{16}",
                "#",
                name.as_posix(),
            )
            if kind not in seen:
                seen.add(kind)
                yield name


def contents(out: Path) -> dict[str, bytes]:
    """All files but records, run files, and files that were set aside."""
    return {name: data for name, data in files_of(out).items() if ".corrupt" not in name}


def sound(result: CommandResult) -> CommandResult:
    """Assert that there is no traceback and no internal error and that, if it failed, a line names a command."""
    assert "Traceback" not in result.err + result.out, result
    assert "internal error" not in result.err, result
    if result.code:
        assert result.code in (1, 2), result
        assert "`spatialdata " in result.err + result.out or "repair with: spatialdata" in result.out, result
    return result


def repair(root: Path, out: Path, result: CommandResult) -> CommandResult:
    """Run the command that a finding names, or a build if there is no finding."""
    if packs := re.search(r"pack again with `(spatialdata shard [^`]*)`", result.out):
        return run(*shlex.split(packs.group(1))[1:])
    if result.code and "repair with: " in result.out and "same `spatialdata build`" not in result.out:
        command = result.out.partition("repair with: ")[2].splitlines()[0]
        return run(*shlex.split(command)[1:])
    if result.code:
        assert "`spatialdata build`" in result.err + result.out, result
    return build(root, out, *SETTINGS)


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside").write_bytes(b"kept")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "emptied": lambda path: path.write_bytes(b""),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "a folder": folder,
    "a loop": loop,
}
TEXTS = ("README.md", "ATTRIBUTION.md", "croissant.json")
"""Users may change these, so any content is valid. `spatialdata card` and each packing write them again."""


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_each_file_is_repaired_by_the_command_that_is_named(
    small: tuple[Path, Path, Path], tmp_path: Path, damage: Callable[[Path], object]
):
    root, finished, _ = small
    before = contents(finished)
    for name in kinds(finished):
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(finished, out)
        damage(out / name)
        sound(run("status", out))
        result = sound(run("verify", out))
        if result.code:
            assert name.name in result.out + result.err, (name, result)
        done = sound(repair(root, out, result))
        assert done.code == 0, (name, done)
        assert sound(run("verify", out)).code == 0, name
        after = contents(out)
        if name.name in TEXTS and after != before:
            assert run("card", out).code == 0
            after = contents(out)
        if "spatialedit" in name.parts and after != before:  # a build packs its own recipes
            assert run("shard", out, "--recipe", "spatialedit").code == 0
            after = contents(out)
        assert {n for n in before if after.get(n) != before[n]} == set(), name
        assert set(after) == set(before), name


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"\x89junk{\xff")], ids=["junk"])
def test_a_build_and_a_packing_over_each_damaged_file(
    small: tuple[Path, Path, Path], tmp_path: Path, damage: Callable[[Path], object]
):
    """Also without a check first, nothing is lost: the file is repaired on the way, or a line names the command."""
    root, finished, _ = small
    before = contents(finished)
    for name in kinds(finished):
        for words in (["build"], ["shard"]):
            out = tmp_path / "out"
            shutil.rmtree(out, ignore_errors=True)
            shutil.copytree(finished, out)
            damage(out / name)
            done = sound(build(root, out, *SETTINGS) if words == ["build"] else run("shard", out, "--recipe", "full"))
            if done.code or sound(run("verify", out)).code:
                done = sound(repair(root, out, run("verify", out)))
            assert done.code == 0, (name, words, done)
            assert run("verify", out).code == 0, (name, words)
            assert {n for n in before if n.startswith("layers/") and contents(out).get(n) != before[n]} == set(), name


def foreign_of(name: Path, out: Path, foreign: Path) -> Iterator[Path]:
    """Files that may be copied over a file by mistake: of another build, unit, layer, split or recipe."""
    pattern = re.sub(r"-[0-9a-f]{16}", "-*", name.as_posix())
    yield from sorted(foreign.glob(pattern))[:1]
    mine = out / name
    alike = [path for path in sorted(out.rglob(f"*{mine.suffix}")) if path.is_file() and path != mine]
    closest = [path for path in alike if path.parent == mine.parent or path.name == mine.name]
    yield from (closest or alike)[:2]
    yield from [path for path in alike if path.parent.parent == mine.parent.parent and path.parent != mine.parent][:1]


def test_each_file_replaced_by_a_similar_one_is_rebuilt(small: tuple[Path, Path, Path], tmp_path: Path):
    root, finished, foreign = small
    before = contents(finished)
    tried = 0
    for name in kinds(finished):
        for other in foreign_of(name, finished, foreign):
            if other.read_bytes() == (finished / name).read_bytes():
                continue
            out = tmp_path / "out"
            shutil.rmtree(out, ignore_errors=True)
            shutil.copytree(finished, out)
            shutil.copyfile(other, out / name)
            result = sound(run("verify", out))
            sound(run("status", out))
            done = sound(repair(root, out, result))
            assert done.code == 0, (name, other, done)
            sound(run("shard", out, "--recipe", "spatialedit"))
            assert run("verify", out).code == 0, (name, other)
            after = contents(out)
            changed = {n for n in before if after.get(n) != before[n]}
            if name.name in TEXTS:
                changed -= {name.as_posix()}
            assert changed == set(), (name, other)
            tried += 1
    assert tried > 40


@pytest.mark.parametrize("unit", ["another unit", "another layer", "another build"])
def test_a_unit_copied_over_another_with_its_record(small: tuple[Path, Path, Path], tmp_path: Path, unit: str):
    root, finished, foreign = small
    out = shutil.copytree(finished, tmp_path / "out")
    checks = next(out.glob("layers/checks-*"))
    place = {
        "another unit": checks / "00000001",
        "another layer": next(out.glob("layers/screen-*")) / "00000000",
        "another build": next(foreign.glob("layers/checks-*")) / "00000000",
    }[unit]
    for suffix in (".parquet", ".json"):
        shutil.copyfile(f"{place}{suffix}", checks / f"00000000{suffix}")
    result = run("verify", out)
    assert result.code == 1
    what = f"is the record of unit {int(place.name)} of {place.parent.name}, not of unit 0 of {checks.name}"
    assert what in result.out
    for command in (["status", out], ["shard", out, "--recipe", "full"]):
        copy = shutil.copytree(out, tmp_path / "copy", dirs_exist_ok=True)
        sound(run(command[0], copy, *command[2:]))
        shutil.rmtree(copy)
    assert build(root, out, *SETTINGS).code == 0
    assert contents(out) == contents(finished)
    assert run("verify", out).code == 0


@pytest.mark.parametrize("settings", [("shard.splits={train: 1, val: 0, test: 0}",), ("seed=7",)])
def test_a_plan_of_other_settings_and_the_same_samples(
    small: tuple[Path, Path, Path], tmp_path: Path, settings: tuple[str, ...]
):
    """The lists of units are equal, so only the finished configuration shows which plan.json belongs to another OUT."""
    root, finished, _ = small
    out = shutil.copytree(finished, tmp_path / "out")
    assert build(root, tmp_path / "foreign", *SETTINGS, *settings).code == 0
    foreign = (tmp_path / "foreign" / "plan.json").read_bytes()
    assert foreign != (out / "plan.json").read_bytes()
    (out / "plan.json").write_bytes(foreign)
    result = run("verify", out)
    assert result.code and "same `spatialdata build`" in result.out + result.err
    other = build(root, out, *SETTINGS, "samples=4")
    assert other.code == 2 and "holds another plan" in other.err
    done = build(root, out, *SETTINGS)
    assert done.code == 0 and "plan.json belonged to another folder: rebuilt" in done.err
    assert contents(out) == contents(finished)
    assert run("verify", out).code == 0
