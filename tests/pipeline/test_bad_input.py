"""Bad input causes one clear error line and no change; after a fix, the same command resumes."""

import contextlib
import gzip
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.pipeline.command_line import assert_fails, build, build_assets, python, run
from tests.pipeline.releases import build_arguments, files_of
from tests.sources.models import box, glb, make_cache, unpack
from tests.sources.models import pack as pack_glb
from tests.sources.object3dit.conftest import pack, pair_files


@pytest.mark.parametrize("kind", ["object3dit", "objaverse"])
@pytest.mark.parametrize("what", ["missing", "empty", "file"])
def test_roots_without_content(tmp_path: Path, kind: str, what: str):
    root = tmp_path / "root"
    if what == "empty":
        root.mkdir()
    elif what == "file":
        root.write_text("no folder")
    result = build(root, tmp_path / "out", f"source.kind={kind}", "samples=3")
    advice = {"object3dit": "set", "objaverse": "use"}[kind]
    assert f" {advice} " in assert_fails(result, "source.root", str(root))
    assert not (tmp_path / "out" / "plan.json").exists()


def test_a_missing_root(tmp_path: Path):
    result = run("build", "--out", tmp_path / "out", "--set", "source.kind=object3dit", "--set", "engine.kind=inline")
    assert_fails(result, "samples" if "samples" in result.err else "source.root")
    result = build("", tmp_path / "out", "source.root=")
    assert_fails(result, "source.root: set it to the folder")


@pytest.mark.parametrize("name", ["object-paths.json.gz", "metadata/000-000.json.gz"])
@pytest.mark.parametrize("content", ["cut", "text", "list"])
def test_corrupt_indexes(tmp_path: Path, name: str, content: str):
    root = make_cache(tmp_path / "cache", {"m": glb(box(1, 1, 1))})
    file = root / "hf-objaverse-v1" / name
    whole = file.read_bytes()
    file.write_bytes({"cut": whole[:-9], "text": b"<html>", "list": gzip.compress(b"[1]")}[content])
    assert_fails(build_assets(root, tmp_path / "out"), str(file), "delete it and fetch it again")


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


@pytest.mark.blender
def test_bad_models_are_rejected_with_reasons(tmp_path: Path):
    root = make_cache(tmp_path / "cache", bad_models())
    result = build_assets(root, tmp_path / "out")
    assert_fails(result, "none of the 5 assets can be used", "missing_file 1", "missing_textures 1", "unreadable 3")
    sound = {f"box{number}": glb(box(1, 1, 1 + number / 10)) for number in range(12)}
    root = make_cache(tmp_path / "mixed", bad_models() | sound)
    result = build_assets(root, tmp_path / "mixed-out", "samples=1", "render.resolution=[32, 32]", "render.samples=1")
    assert "5 of 17 assets cannot be used: missing_file 1, missing_textures 1, unreadable 3" in result.err


def test_a_uid_without_file(tmp_path: Path):
    root = make_cache(tmp_path / "cache", {"here": glb(box(1, 1, 1)), "gone": None})
    result = build_assets(root, tmp_path / "out", "source.uids=[gone, never-heard-of]")
    assert_fails(result, "missing_file 1")
    # An unknown uid has no license either.
    assert "1 of 2 assets are left out by source.licenses: unknown 1" in result.err


def test_no_asset_is_left_after_the_license_filter(tmp_path: Path):
    terms = {"a": {"license": "by-nc"}, "b": {"license": "by-nc"}, "c": {"license": ""}}
    root = make_cache(tmp_path / "cache", {uid: glb(box(1, 1, 1)) for uid in terms}, **terms)
    assert_fails(build_assets(root, tmp_path / "out"), "source.licenses", "by-nc 2, unknown 1", "allow one of these")


@pytest.mark.parametrize("blender", ["/nonexistent", "/bin/true", "/bin/cat", "/tmp"])
def test_no_blender(tmp_path: Path, blender: str):
    root = make_cache(tmp_path / "cache", {f"box{n}": glb(box(1, 1, 1 + n / 10)) for n in range(12)})
    result = build_assets(root, tmp_path / "out", f"render.blender={blender}")
    assert_fails(result, f"render.blender: {blender}")
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


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["traversal", "absolute", "symlink", "hardlink", "device", "bomb"])
def test_malicious_archives(tmp_path: Path, kind: str):
    root = tmp_path / "root"
    root.mkdir()
    files = {f"translate/train/t1/{name}": data for name, data in pair_files("translate").items()}
    archive = pack(root / "translate.tar.gz", files, members=evil(kind))
    before = files_of(tmp_path)
    for place in (root,) if kind == "bomb" else (root, archive):
        assert_fails(build(place, tmp_path / "deep" / "out"), str(archive), "is rejected")
    shutil.rmtree(tmp_path / "deep")
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_damaged_archives(tmp_path: Path, damage: str):
    files = {f"rotate/train/t1/{name}": data for name, data in pair_files("rotate").items()}
    archive = pack(tmp_path / "rotate.tar.gz", files)
    archive.write_bytes({"cut": archive.read_bytes()[:-300], "text": b"text" * 99, "empty": b""}[damage])
    assert_fails(build(tmp_path, tmp_path / "out"), str(archive), "fetch it again")


@pytest.mark.slow
def test_a_missing_source_rejects_nothing(release: Path, out: Path, tmp_path: Path):
    unit = next(out.glob("layers/pair-*/00000001.json"))
    unit.unlink()
    assert_fails(build(tmp_path / "elsewhere", out), "source.root", "elsewhere")
    (tmp_path / "other").mkdir()
    assert_fails(build(tmp_path / "other", out), "source.root", "has none of the pairs", "--out")
    assert not unit.exists()
    assert build(release, out).code == 0
    assert unit.exists()
    # A finished build needs no source.
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
        ("layers.depth=exact", ("layers.depth", "has no exact depth")),
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
    result = build(release, tmp_path / "out", setting)
    assert_fails(result, *words)
    assert not (tmp_path / "out").exists(), "something was written before the configuration was checked"


@pytest.mark.parametrize("content", [None, "a: [1\n b: {", "- a", "\xff\xfe"])
def test_bad_configuration_files(tmp_path: Path, content: str | None):
    file = tmp_path / "build.yaml"
    if content is not None:
        file.write_bytes(content.encode("latin1"))
    assert_fails(run("build", "--config", file, "--out", tmp_path / "out"), str(file))


def test_no_ray_where_it_should_be(release: Path, tmp_path: Path):
    result = build(release, tmp_path / "out", "engine.kind=ray", "engine.address=127.0.0.1:1")
    assert_fails(result, "127.0.0.1:1", "engine.address")


# OUT


@pytest.mark.parametrize("where", ["file", "below a file", "/proc", "/sys"])
def test_out_that_cannot_be_written(release: Path, tmp_path: Path, where: str):
    file = tmp_path / "file"
    file.write_text("mine")
    place = {"file": file, "below a file": file / "out"}.get(where) or Path(where) / "spatialdata"
    assert_fails(build(release, place), str(place), "not writable", "use another folder")
    assert file.read_text() == "mine"


def test_out_with_an_unknown_protocol(release: Path):
    result = run("build", "--out", "nope://x/y", "--set", "source.kind=object3dit", "--set", f"source.root={release}")
    assert_fails(result, "nope://x/y")


@pytest.mark.slow
def test_out_that_holds_another_plan(release: Path, finished: Path):
    before = files_of(finished)
    assert_fails(build(release, finished, "seed=5", "unit_size=3"), "seed 0 -> 5", "unit_size 4 -> 3", "another --out")
    assert_fails(build(release, finished, "edits={rotate: 1}"), "edits.camera 1.0 -> (none)")
    assert files_of(finished) == before


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Callable[[str], None]]:
    """A disk of `size` at `folder`; yields a function that leaves a number of bytes free on it."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small disk here")
    filler = folder / "filler"
    try:
        yield lambda room: _fill(filler, int(room))
    finally:
        # Lazy: this process may still hold the plan's rows open.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _fill(filler: Path, room: int) -> None:
    """Leave `room` bytes free."""
    filler.unlink(missing_ok=True)
    free = shutil.disk_usage(filler.parent).free
    filler.write_bytes(bytes(max(0, free - room)))


@pytest.mark.slow
@pytest.mark.parametrize("room", [4096, 100_000, 380_000])
def test_disk_full(release: Path, finished: Path, tmp_path: Path, room: int):
    """The disk is full during planning, in the layers, or in the shards."""
    with small_disk(tmp_path / "disk", "4m") as leave:
        out = tmp_path / "disk" / "out"
        leave(str(room))
        line = assert_fails(build(release, out), "the disk is full", str(out), "MB free", "rerun the command", code=1)
        assert "finished units are kept" in line
        assert not list(out.rglob("*.tmp"))
        leave("3000000")
        assert build(release, out).code == 0
        assert files_of(out / "shards") == files_of(finished / "shards")
        leave("4096")
        for result in (
            run("view", out, "--sheet", tmp_path / "disk" / "sheet.png"),
            run("export", out, "--layout", "object3dit", "--out", tmp_path / "disk" / "export"),
            run("shard", out, "--recipe", "spatialedit"),
        ):
            assert_fails(result, "the disk is full", str(tmp_path / "disk"), code=1)
        assert not (tmp_path / "disk" / "sheet.png").exists()
        assert_fails(run("view", out), "16 samples take about", "--limit", str(tmp_path / "disk"), code=1)
        assert not (out / "gallery").exists()


@pytest.mark.slow
def test_a_limit_on_the_size_of_files(release: Path, finished: Path, tmp_path: Path):
    """Like a full disk, but needs no right to mount; in a separate process."""
    out = tmp_path / "out"
    arguments = build_arguments(release, out)
    limited = "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limited += "resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000));"
    limited += "from spatialdata_builder.pipeline.cli import main; main(sys.argv[1:])"
    result = python("-c", limited, *arguments)
    assert_fails(result, "limit on the size of a file", str(out), "rerun the command", code=1)
    assert build(release, out).code == 0
    assert files_of(out / "shards") == files_of(finished / "shards")
