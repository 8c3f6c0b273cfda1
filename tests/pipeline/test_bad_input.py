"""Bad input costs one clear line and nothing else: what is there stays, and the same command goes on when mended."""

import contextlib
import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.cli import main
from tests.pipeline.releases import CHECKOUT, build_arguments, files_of, spatialdata, write_release
from tests.sources.objaverse.models import box, glb, make_cache, unpack
from tests.sources.objaverse.models import pack as pack_glb
from tests.sources.object3dit.conftest import pack, pair_files

PROGRESS = ("packed ", "looking at ")


@dataclass(frozen=True)
class Told:
    """What a command said; `errors` is stderr without the lines of progress."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        lines = [line for line in self.err.splitlines() if not line.startswith(PROGRESS)]
        return [line for line in lines if line.startswith("error") or not (" units" in line or " assets " in line)]


def run(*arguments: object) -> Told:
    """The command in this process: all but the interpreter's start is the same."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Told(code, out.getvalue(), err.getvalue())


def refused(told: Told, *words: str, code: int = 2) -> str:
    """Asserts that a command ended with one line that holds `words`; the line."""
    assert told.code == code, told
    assert len(told.errors) == 1, told
    (line,) = told.errors
    assert line.startswith("error: ")
    assert "Traceback" not in told.err
    assert "fault of spatialdata" not in line
    for word in words:
        assert word in line
    return line


def build(root: object, out: object, *settings: str) -> Told:
    return run(*build_arguments(Path(str(root)), Path(str(out)), *settings))


def build_assets(root: Path, out: Path, *settings: str) -> Told:
    chosen = ["source.kind=objaverse", f"source.root={root}", "samples=3", "unit_size=2", "engine.kind=inline"]
    return run("build", "--out", out, *(part for text in (*chosen, *settings) for part in ("--set", text)))


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("release"), 12)


@pytest.fixture(scope="module")
def finished(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished build. Tests that change it take a copy."""
    out = tmp_path_factory.mktemp("finished") / "out"
    assert build(release, out).code == 0
    return out


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished build, to be damaged."""
    return shutil.copytree(finished, tmp_path / "out")


# The source


@pytest.mark.parametrize("kind", ["object3dit", "objaverse"])
@pytest.mark.parametrize("what", ["missing", "empty", "file"])
def test_roots_that_hold_nothing(tmp_path: Path, kind: str, what: str):
    root = tmp_path / "root"
    if what == "empty":
        root.mkdir()
    elif what == "file":
        root.write_text("no folder")
    told = build(root, tmp_path / "out", f"source.kind={kind}", "samples=3")
    assert "give" in refused(told, "source.root", str(root))
    assert not (tmp_path / "out" / "plan.json").exists()


def test_a_root_that_is_not_given(tmp_path: Path):
    told = run("build", "--out", tmp_path / "out", "--set", "source.kind=object3dit", "--set", "engine.kind=inline")
    refused(told, "samples" if "samples" in told.err else "source.root")
    told = build("", tmp_path / "out", "source.root=")
    refused(told, "source.root: give the folder")


@pytest.mark.parametrize("name", ["object-paths.json.gz", "metadata/000-000.json.gz"])
@pytest.mark.parametrize("content", ["cut", "text", "list"])
def test_corrupt_indexes(tmp_path: Path, name: str, content: str):
    root = make_cache(tmp_path / "cache", {"m": glb(box(1, 1, 1))})
    file = root / "hf-objaverse-v1" / name
    whole = file.read_bytes()
    file.write_bytes({"cut": whole[:-9], "text": b"<html>", "list": gzip.compress(b"[1]")}[content])
    refused(build_assets(root, tmp_path / "out"), str(file), "delete it and fetch it again")


def bad_models() -> dict[str, bytes | None]:
    sound = glb(box(1, 1, 1))
    content, binary = unpack(sound)
    content["materials"] = [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}]
    content["textures"] = [{"source": 0}]
    content["images"] = [{"uri": "textures/wood.png"}]
    return {
        "cut": sound[: len(sound) // 2],
        "empty": b"",
        "html": b"<html>404 Not Found</html>" * 9,
        "none": None,
        "paint": pack_glb(content, binary),
    }


def test_bad_models_are_rejected_with_reasons(tmp_path: Path):
    root = make_cache(tmp_path / "cache", bad_models())
    told = build_assets(root, tmp_path / "out")
    refused(told, "none of the 5 assets can be used", "missing_file 1", "missing_textures 1", "unreadable 3")
    sound = {f"box{number}": glb(box(1, 1, 1 + number / 10)) for number in range(12)}
    root = make_cache(tmp_path / "mixed", bad_models() | sound)
    told = build_assets(root, tmp_path / "mixed-out", "render.blender=/nonexistent")
    assert "5 of 17 assets cannot be used: missing_file 1, missing_textures 1, unreadable 3" in told.err
    refused(told, "render.blender: /nonexistent")


def test_a_uid_without_file(tmp_path: Path):
    root = make_cache(tmp_path / "cache", {"here": glb(box(1, 1, 1)), "gone": None})
    told = build_assets(root, tmp_path / "out", "source.uids=[gone, never-heard-of]")
    refused(told, "missing_file 1")
    # What nobody knows has no licence either.
    assert "1 of 2 assets are left out by source.licenses: unknown 1" in told.err


def test_no_asset_is_left_after_the_licence_filter(tmp_path: Path):
    terms = {"a": {"license": "by-nc"}, "b": {"license": "by-nc"}, "c": {"license": ""}}
    root = make_cache(tmp_path / "cache", {uid: glb(box(1, 1, 1)) for uid in terms}, **terms)
    refused(build_assets(root, tmp_path / "out"), "source.licenses", "by-nc 2, unknown 1", "allow one of these")


@pytest.mark.parametrize("blender", ["/nonexistent", "/bin/true", "/bin/cat", "/tmp"])
def test_no_blender(tmp_path: Path, blender: str):
    root = make_cache(tmp_path / "cache", {f"box{n}": glb(box(1, 1, 1 + n / 10)) for n in range(12)})
    told = build_assets(root, tmp_path / "out", f"render.blender={blender}")
    refused(told, f"render.blender: {blender}")
    assert not list((tmp_path / "out").glob("layers/*/*.json")), "a unit was committed without Blender"


def evil(kind: str) -> list[tarfile.TarInfo]:
    info = tarfile.TarInfo("translate/train/t1/extra.png")
    match kind:
        case "traversal":
            info.name, info.size = "../../evil.png", 5
        case "absolute":
            info.name, info.size = "/etc/evil.png", 5
        case "symlink":
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        case "hardlink":
            info.type, info.linkname = tarfile.LNKTYPE, "../../../etc/passwd"
        case "device":
            info.type = tarfile.CHRTYPE
        case _:
            info.size = 33 << 20
            return [info, info]
    return [info]


@pytest.mark.parametrize("kind", ["traversal", "absolute", "symlink", "hardlink", "device", "bomb"])
def test_malicious_archives(tmp_path: Path, kind: str):
    root = tmp_path / "root"
    root.mkdir()
    files = {f"translate/train/t1/{name}": data for name, data in pair_files("translate").items()}
    archive = pack(root / "translate.tar.gz", files, members=evil(kind))
    before = files_of(tmp_path)
    for place in (root,) if kind == "bomb" else (root, archive):
        refused(build(place, tmp_path / "deep" / "out"), str(archive), "refused")
    shutil.rmtree(tmp_path / "deep")
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_damaged_archives(tmp_path: Path, damage: str):
    files = {f"rotate/train/t1/{name}": data for name, data in pair_files("rotate").items()}
    archive = pack(tmp_path / "rotate.tar.gz", files)
    archive.write_bytes({"cut": archive.read_bytes()[:-300], "text": b"text" * 99, "empty": b""}[damage])
    refused(build(tmp_path, tmp_path / "out"), str(archive), "fetch it again")


def test_a_source_that_went_away_rejects_nothing(release: Path, out: Path, tmp_path: Path):
    unit = next(out.glob("layers/pair-*/00000001.json"))
    unit.unlink()
    refused(build(tmp_path / "elsewhere", out), "source.root", "elsewhere")
    (tmp_path / "other").mkdir()
    refused(build(tmp_path / "other", out), "source.root", "holds none of the pairs", "--out")
    assert not unit.exists()
    assert build(release, out).code == 0
    assert unit.exists()
    # What is finished needs no source.
    assert build(tmp_path / "elsewhere", out).code == 0
    assert run("status", out).code == 0
    assert run("shard", out, "--recipe", "spatialedit").code == 0


# The configuration


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("render.sampels=3", ("'render.sampels'", "'samples'", "allowed: blender, denoise")),
        ("layers.depht=exact", ("'layers.depht'", "'depth'", "checks")),
        ("layers.line.veiws=[target]", ("'layers.line.veiws'", "'views'")),
        ("layers.line.views=[left]", ("layers.line.views", "left")),
        ("layers.line=magic", ("layers.line", "magic", "exact")),
        ("layers.depth=exact", ("layers.depth", "holds no exact depth")),
        ("edits={tarnslate: 1}", ("edits.tarnslate", "'translate'")),
        ("edits={translate: 0}", ("edits", "above 0")),
        ("samples=-3", ("samples", "greater than or equal to 1")),
        ("unit_size=0", ("unit_size",)),
        ("engine.kind=dask", ("engine.kind", "ray, inline")),
        ("shard.splits.train=0.5", ("shard.splits", "sum to 0.6")),
        ("shard.recipes=[ful]", ("shard.recipes", "'full'")),
        ("shard.recipes=[spatialdiff]", ("spatialdiff", "depth", "lacks")),
        ("shard.name=Bad Name", ("shard.name",)),
        ("source.root.deep=3", ("source.root.deep=3", "not a section")),
        ("nothing", ("--set nothing", "key=value")),
    ],
)
def test_bad_configuration(release: Path, tmp_path: Path, setting: str, words: Sequence[str]):
    told = build(release, tmp_path / "out", setting)
    refused(told, *words)
    assert not (tmp_path / "out").exists(), "something was written before the configuration was checked"


@pytest.mark.parametrize("content", [None, "a: [1\n b: {", "- a", "\xff\xfe"])
def test_bad_configuration_files(tmp_path: Path, content: str | None):
    file = tmp_path / "build.yaml"
    if content is not None:
        file.write_bytes(content.encode("latin1"))
    refused(run("build", "--config", file, "--out", tmp_path / "out"), str(file))


def test_no_ray_where_it_should_be(release: Path, tmp_path: Path):
    told = build(release, tmp_path / "out", "engine.kind=ray", "engine.address=127.0.0.1:1")
    refused(told, "127.0.0.1:1", "engine.address")


# OUT


@pytest.mark.parametrize("where", ["file", "below a file", "/proc", "/sys"])
def test_out_that_cannot_be_written(release: Path, tmp_path: Path, where: str):
    file = tmp_path / "file"
    file.write_text("mine")
    place = {"file": file, "below a file": file / "out"}.get(where) or Path(where) / "spatialdata"
    refused(build(release, place), str(place), "not writable", "give another folder")
    assert file.read_text() == "mine"


def test_out_of_no_known_kind(release: Path):
    told = run("build", "--out", "nope://x/y", "--set", "source.kind=object3dit", "--set", f"source.root={release}")
    refused(told, "nope://x/y")


def test_out_that_holds_another_plan(release: Path, finished: Path):
    before = files_of(finished)
    refused(build(release, finished, "seed=5", "unit_size=3"), "seed 0 -> 5", "unit_size 4 -> 3", "another --out")
    refused(build(release, finished, "edits={rotate: 1}"), "edits.camera 1.0 -> (none)")
    assert files_of(finished) == before


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Callable[[str], None]]:
    """A disk of `size` at `folder`; gives a function that lets files through a bigger one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small disk here")
    filler = folder / "filler"
    try:
        yield lambda room: _fill(filler, int(room))
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _fill(filler: Path, room: int) -> None:
    """Leave `room` bytes free."""
    filler.unlink(missing_ok=True)
    free = shutil.disk_usage(filler.parent).free
    filler.write_bytes(bytes(max(0, free - room)))


@pytest.mark.parametrize("room", [4096, 100_000, 380_000])
def test_disk_full(release: Path, finished: Path, tmp_path: Path, room: int):
    """Full while planning, within the layers, within the shards."""
    with small_disk(tmp_path / "disk", "4m") as leave:
        out = tmp_path / "disk" / "out"
        leave(str(room))
        line = refused(build(release, out), "the disk is full", str(out), "MB free", "same command", code=1)
        assert "finished units are kept" in line
        assert not list(out.rglob("*.tmp"))
        leave("3000000")
        assert build(release, out).code == 0
        assert files_of(out / "shards") == files_of(finished / "shards")
        leave("4096")
        for told in (
            run("view", out, "--out", tmp_path / "disk" / "sheet.png"),
            run("export", out, "--layout", "object3dit", "--out", tmp_path / "disk" / "export"),
            run("shard", out, "--recipe", "spatialedit"),
        ):
            refused(told, "the disk is full", str(tmp_path / "disk"), code=1)
        assert not (tmp_path / "disk" / "sheet.png").exists()


def test_a_limit_on_the_size_of_files(release: Path, finished: Path, tmp_path: Path):
    """As above where nobody may mount, and in a process of its own."""
    out = tmp_path / "out"
    arguments = build_arguments(release, out)
    limited = "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limited += (
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000)); from pipeline.cli import main; main(sys.argv[1:])"
    )
    told = python("-c", limited, *arguments)
    refused(told, "limit on the size of a file", str(out), "same command", code=1)
    assert build(release, out).code == 0
    assert files_of(out / "shards") == files_of(finished / "shards")


def python(*arguments: str) -> Told:
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run([sys.executable, *arguments], env=env, capture_output=True, text=True, check=False)
    return Told(done.returncode, done.stdout, done.stderr)


# Damage by hand


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flip(data: bytes) -> bytes:
    return data[: len(data) // 3] + bytes([data[len(data) // 3] ^ 255]) + data[len(data) // 3 + 1 :]


def junk(_: bytes) -> bytes:
    return b"junk"


@pytest.mark.parametrize(
    ("layer", "file", "change"),
    [
        ("pair", "parquet", cut),
        ("segment", "parquet", None),
        ("pair", "json", junk),
        ("line", "json", cut),
        ("checks", "json", lambda _: b"[]"),
    ],
)
def test_a_damaged_layer_is_made_again_by_the_next_build(
    release: Path, finished: Path, out: Path, layer: str, file: str, change: Callable[[bytes], bytes] | None
):
    harmed = next(out.glob(f"layers/{layer}-*/00000001.{file}"))
    whole = harmed.read_bytes()
    if change is None:
        harmed.unlink()
    else:
        harmed.write_bytes(change(whole))
    told = run("verify", out)
    assert told.code == 1
    assert f"{harmed.parent.name}/1" in told.out
    assert f"spatialdata verify {out} --repair" in told.out
    told = build(release, out)
    assert told.code == 0, told
    assert "moved aside, computing it again" in told.err
    if file == "parquet":
        assert harmed.read_bytes() == whole
    assert run("verify", out).code == 0
    assert files_of(out / "shards") == files_of(finished / "shards")


def test_a_layer_that_rotted_is_found_when_it_is_read(release: Path, finished: Path, out: Path):
    harmed = next(out.glob("layers/pair-*/00000000.parquet"))
    harmed.write_bytes(flip(harmed.read_bytes()))
    told = run("shard", out, "--recipe", "spatialedit")
    assert told.code == 0, told
    assert "another sha256" in told.err
    assert run("verify", out).code == 0
    assert run("shard", finished, "--recipe", "spatialedit").code == 0
    assert files_of(out / "shards") == files_of(finished / "shards")
    shutil.rmtree(finished / "shards" / "spatialedit")


@pytest.mark.parametrize(
    "change", [cut, junk, lambda _: b"[]", lambda data: data.replace(b'"samples": 16', b'"samples": 17')]
)
def test_a_damaged_plan(release: Path, finished: Path, out: Path, change: Callable[[bytes], bytes]):
    (out / "plan.json").write_bytes(change((out / "plan.json").read_bytes()))
    before = files_of(out)
    for told in (build(release, out), run("status", out), run("verify", out), run("shard", out, "--recipe", "full")):
        refused(told, str(out), "plan.json", "remove plan.json and plan/", code=1)
    assert files_of(out) == before
    (out / "plan.json").unlink()
    shutil.rmtree(out / "plan")
    told = build(release, out)
    assert told.code == 0
    assert "done before: pair 4" in told.err
    assert files_of(out) == files_of(finished)


def test_a_damaged_list_of_units(release: Path, out: Path):
    units = out / "plan" / "units.parquet"
    units.write_bytes(cut(units.read_bytes()))
    # In processes of their own: one process reads the list once.
    told = python("-m", "pipeline.cli", "verify", str(out))
    assert told.code == 1
    assert "plan:" in told.out
    refused(python("-m", "pipeline.cli", *build_arguments(release, out)), "remove plan.json and plan/", code=1)


@pytest.mark.parametrize("change", [junk, lambda _: b"[]", lambda data: data.replace(b'"seed"', b'"sed"')])
def test_a_damaged_build_file(release: Path, finished: Path, out: Path, change: Callable[[bytes], bytes]):
    (out / "build.json").write_bytes(change((out / "build.json").read_bytes()))
    for command in (["status"], ["verify"], ["verify", "--repair"], ["shard", "--recipe", "full"]):
        refused(run(command[0], out, *command[1:]), str(out / "build.json"), "damaged", "spatialdata build")
    assert build(release, out).code == 0
    assert files_of(out) == files_of(finished)


@pytest.mark.parametrize("change", [junk, flip, None])
def test_a_damaged_table_of_assets(tmp_path: Path, change: Callable[[bytes], bytes] | None):
    root = make_cache(tmp_path / "cache", {f"box{n}": glb(box(1, 1, 1 + n / 10)) for n in range(12)})
    out = tmp_path / "out"
    refused(build_assets(root, out, "render.blender=/nonexistent"), "render.blender")
    table = out / "plan" / "assets.parquet"
    whole = table.read_bytes()
    if change is None:
        table.unlink()
    else:
        table.write_bytes(change(whole))
    told = build_assets(root, out, "render.blender=/nonexistent")
    refused(told, "plan/assets.parquet", "remove plan.json and plan/", code=1)
    (out / "plan.json").unlink()
    shutil.rmtree(out / "plan")
    refused(build_assets(root, out, "render.blender=/nonexistent"), "render.blender")
    assert table.read_bytes() == whole


@pytest.mark.parametrize("change", [cut, flip, junk, None])
def test_a_damaged_shard_is_named(out: Path, change: Callable[[bytes], bytes] | None):
    shard = next(out.glob("shards/full/train/*.tar"))
    if change is None:
        shard.unlink()
    else:
        shard.write_bytes(change(shard.read_bytes()))
    told = run("verify", out)
    assert told.code == 1
    assert shard.name in told.out
    told = run("export", out, "--layout", "object3dit", "--out", out.parent / "export")
    if change is not flip:  # a flipped pixel is for verify to find
        assert "spatialdata verify" in refused(told, str(shard.parent), code=told.code)
        assert told.code in (1, 2)


# The other commands

COMMANDS = {
    "status": (),
    "verify": (),
    "verify repair": ("--repair",),
    "view": (),
    "shard": ("--recipe", "full"),
    "export": ("--layout", "spatialedit", "--out", "EXPORT"),
}


@pytest.mark.parametrize("command", list(COMMANDS))
@pytest.mark.parametrize("what", ["missing", "empty", "file"])
def test_commands_on_what_is_no_build(tmp_path: Path, command: str, what: str):
    place, export = tmp_path / "place", tmp_path / "export"
    if what == "empty":
        place.mkdir()
    elif what == "file":
        place.write_text("mine")
    options = [str(export) if option == "EXPORT" else option for option in COMMANDS[command]]
    refused(run(command.split()[0], place, *options), str(place))
    assert not export.exists()
    assert place.exists() == (what != "missing")
    assert what != "empty" or not list(place.iterdir())


def test_shard_before_the_build_is_finished(release: Path, out: Path):
    for file in out.glob("layers/checks-*/00000003.*"):
        file.unlink()
    before = files_of(out)
    refused(run("shard", out, "--recipe", "full"), "3 of 4 units", "run the build again")
    assert files_of(out) == before
    assert build(release, out).code == 0


def test_recipes_that_cannot_be_packed(finished: Path):
    before = files_of(finished)
    refused(run("shard", finished, "--recipe", "ful"), "'ful'", "spatialdiff")
    refused(run("shard", finished, "--recipe", "ildm"), "ildm", "depth, normal", "add to `layers`")
    refused(run("shard", finished, "--recipe", "full", "--set", "seed=4"), "seed=4", "build again")
    refused(
        run("shard", finished, "--recipe", "full", "--set", "shard.sampels=4"), "shard.sampels", "samples_per_shard"
    )
    refused(run("view", finished, "--recipe", "ildm"), "ildm", "full")
    assert files_of(finished) == before


def test_exports_that_have_no_place(finished: Path, tmp_path: Path):
    full, file = tmp_path / "full", tmp_path / "file"
    full.mkdir()
    (full / "thesis.tex").write_text("mine")
    file.write_text("mine")
    for place in (full, file, file / "below"):
        refused(run("export", finished, "--layout", "spatialedit", "--out", place), str(place))
    assert [path.name for path in full.iterdir()] == ["thesis.tex"]
    assert file.read_text() == "mine"


def test_pictures_that_have_no_place(finished: Path, tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    refused(run("view", finished, "--out", tmp_path / "file" / "x.png"), str(tmp_path / "file"))
    refused(run("view", finished, "--out", tmp_path), str(tmp_path), "contact.png")
    refused(run("view", finished, "--out", tmp_path / "x.jpg"), "x.jpg", "contact.png")
    refused(run("view", "s3://bucket/set"), "s3://bucket/set", "--out")


@pytest.mark.parametrize(
    "arguments", [["biuld"], ["build"], ["view", "x", "--tile", "0"], ["view", "x", "--limit", "0"]]
)
def test_wrong_usage(arguments: list[str]):
    told = run(*arguments)
    assert told.code == 2
    assert told.err.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in told.err


def test_json_is_all_that_stands_on_stdout(release: Path, tmp_path: Path):
    out = tmp_path / "out"
    told = spatialdata(*build_arguments(release, out), "--json")
    assert (told.returncode, told.stderr) == (0, "")
    assert json.loads(told.stdout)["accepted"] == 16
    commands = [
        ["shard", out, "--recipe", "spatialedit"],
        ["status", out],
        ["verify", out],
        ["verify", out, "--repair"],
        ["view", out],
        ["export", out, "--layout", "spatialedit", "--out", tmp_path / "export"],
    ]
    for command in commands:
        told = run(*command, "--json")
        assert (told.code, told.err) == (0, ""), command
        assert isinstance(json.loads(told.out), dict)
    told = run("doctor", "--blender", "/bin/true", "--out", tmp_path, "--json")
    assert told.code == 1
    assert isinstance(json.loads(told.out), dict)
    told = spatialdata("status", str(tmp_path / "nowhere"), "--json")
    assert (told.returncode, told.stdout) == (2, "")


def test_paths_in_other_scripts(tmp_path: Path, finished: Path, release: Path):
    place = tmp_path / "größe 数据 [x] #1: *"
    place.mkdir()
    root = shutil.copytree(release, place / "réf #2")
    out = place / "aus gäbe"
    told = build(root, out)
    assert told.code == 0, told
    assert files_of(out / "shards") == files_of(finished / "shards")
    for command in (["status"], ["verify"], ["view"], ["shard", "--recipe", "spatialedit"]):
        told = run(command[0], out, *command[1:])
        assert told.code == 0, told
    assert str(out) in run("status", out).out
    assert run("export", out, "--layout", "spatialedit", "--out", place / "export").code == 0
