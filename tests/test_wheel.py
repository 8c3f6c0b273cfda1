"""The wheel, installed with exactly what it requires, and run from a folder whose names are those of our folders."""

import json
import subprocess
import zipfile
from pathlib import Path

import pytest

import spatialdata_builder
from tests.environments import ROOT, build_wheel, clean, install, run
from tests.pipeline.releases import build_arguments, files_of, write_release

pytestmark = pytest.mark.slow
TAKEN = ("annotators", "evaluation", "pipeline", "sources", "training")
"""Packages of the user; `shards` is a folder of theirs, with data."""
ONLY_BUILD = ("ray", "trimesh", "shapely", "objaverse", "uv", "indexed_gzip", "requests", "torch")
STREAM = """
import json, sys
from spatialdata_builder import read_samples, stream, verify_folder
batch = next(stream("shards/full/train", recipe="full", seed=0).batches(2))
report = verify_folder("shards")
keys = [sample.key for sample in read_samples(sys.argv[1])]
known = ("annotators", "evaluation", "pipeline", "shards", "sources", "training", "torch", "ray", "trimesh")
print(json.dumps([batch["source"].shape, len(report.problems), report.samples, len(keys),
                  [name for name in known if name in sys.modules]]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def base(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment with the base install."""
    return install(wheel, tmp_path_factory.mktemp("base") / "env")


@pytest.fixture(scope="module")
def builder(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment that builds."""
    return install(wheel, tmp_path_factory.mktemp("builder") / "env", ("build",))


@pytest.fixture(scope="module")
def trainer(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment that trains, and cannot build."""
    return install(wheel, tmp_path_factory.mktemp("trainer") / "env", ("train",))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a user, with packages and data of the names of our folders."""
    home = tmp_path_factory.mktemp("home")
    for name in TAKEN:
        (home / name).mkdir()
        (home / name / "__init__.py").write_text(f"raise RuntimeError('{name} is the package of the user')\n")
    (home / "shards").mkdir()
    return home


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("release"), pairs=9)


@pytest.fixture(scope="module")
def built(builder: Path, home: Path, release: Path) -> Path:
    """OUT of an inline build, whose shards are also the data in the user's folder `shards`."""
    out = home / "inline"
    spatialdata(builder, home, *build_arguments(release, out, "shard.recipes=[full]"))
    (home / "shards").rmdir()
    (home / "shards").symlink_to(out / "shards")
    return out


def spatialdata(python: Path, home: Path, *arguments: str) -> str:
    """Run the installed command, with the user's folder first on the path of it and of its workers."""
    return run([str(python.with_name("spatialdata")), *arguments], home, PYTHONPATH=str(home))


def failure(python: Path, home: Path, *arguments: str) -> str:
    """The one line of a command that ends with exit code 2."""
    command = [str(python.with_name("spatialdata")), *arguments]
    done = subprocess.run(command, cwd=home, env=clean(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    return line


def test_the_wheel_adds_one_package(wheel: Path):
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        tops = {name.partition("/")[0] for name in names}
        (about,) = (top for top in tops if top.endswith(".dist-info"))
        told = file.read(f"{about}/METADATA").decode()
    assert tops == {"spatialdata_builder", about}
    assert f"\nVersion: {spatialdata_builder.__version__}\n" in told
    assert "\nRequires-Python: <3.14,>=3.11\n" in told
    held = {name.removeprefix("spatialdata_builder/") for name in names}
    assert {"__init__.py", "py.typed", "shards/__init__.py", "pipeline/build.py"} <= held
    data = {path.relative_to(ROOT).as_posix() for folder in (*TAKEN, "shards") for path in (ROOT / folder).rglob("*")}
    files = {name for name in data if (ROOT / name).is_file() and "__pycache__" not in name}
    assert files <= held  # prompts and pages, too


def test_the_base_install_reads_shards(base: Path, built: Path, home: Path):
    code = f"import importlib.util as u; print([n for n in {ONLY_BUILD!r} if u.find_spec(n)])"
    assert run([str(base), "-c", code], home).strip() == "[]"
    shard = next((built / "shards" / "full" / "train").glob("*.tar"))
    shape, problems, samples, keys, loaded = json.loads(run([str(base), "-c", STREAM, str(shard)], home))
    assert (shape, problems, samples, loaded) == ([2, 64, 64, 3], 0, 12, [])
    assert 0 < keys < samples
    assert json.loads(spatialdata(base, home, "verify", "shards", "--json"))["ok"]
    assert json.loads(spatialdata(base, home, "verify", str(built), "--json"))["ok"]
    for path, out in (("shards/full", "gallery-1"), (str(built), "gallery-2")):
        assert spatialdata(base, home, "view", path, "--out", out)
        assert (home / out / "index.html").is_file()
    assert "12 samples drawn" in spatialdata(base, home, "view", "shards", "--sheet", "sheet.png")
    assert "source" in spatialdata(base, home, "stream", "shards/full/train")


def test_the_base_install_says_what_a_command_needs(base: Path, built: Path, home: Path):
    assert "build" in spatialdata(base, home, "--help")
    build = "pip install 'spatialdata-builder[build]'"
    assert build in failure(base, home, "build", "--out", "never")
    assert build in failure(base, home, "build", "--out", "never", "--set", "engine.kind=inline")
    assert build in failure(base, home, "demo", "--out", "never", "--json")
    assert build in failure(base, home, "orient", "--out", "never")
    assert not (home / "never").exists()
    assert "[train]'" in failure(base, home, "train", "spatialedit", "--shards", "shards/full", "--out", "never")
    assert "pip install 'spatialdata-builder[s3]'" in failure(base, home, "verify", "s3://bucket/set")
    assert "pip install 'spatialdata-builder[gcs]'" in failure(base, home, "stream", "gs://bucket/set")


@pytest.mark.ray
def test_ray_builds_the_same_bytes(builder: Path, built: Path, home: Path, release: Path):
    out = home / "on-ray"
    spatialdata(builder, home, *build_arguments(release, out, "shard.recipes=[full]", "engine.kind=ray"))
    assert files_of(out / "shards") == files_of(built / "shards")


@pytest.mark.blender
def test_blender_renders(builder: Path, home: Path):
    settings = ("source.variants=2", "samples=2", "unit_size=2", "render.resolution=[48, 48]", "render.samples=2")
    given = (*settings, "engine.kind=inline", "shard.recipes=[full]")
    chosen = [part for text in given for part in ("--set", text)]
    spatialdata(builder, home, "build", "--out", "rendered", *chosen)
    assert json.loads(spatialdata(builder, home, "verify", "rendered", "--json"))["samples"] > 0


@pytest.mark.torch
def test_packed_again_and_trained_on(builder: Path, trainer: Path, built: Path, home: Path):
    spatialdata(builder, home, "shard", str(built), "--recipe", "spatialedit")
    settings = ("steps=2", "batch_size=1", "log=none", "recipe.side=32", "validate_every=0")
    chosen = [part for text in settings for part in ("--set", text)]
    given = ["--shards", "shards/spatialedit/train", "--out", "run", "--preset", "tiny", *chosen]
    told = spatialdata(trainer, home, "train", "spatialedit", *given)
    assert told.startswith("trained to step 2")
    code = "import spatialdata_builder.training.cli as cli; print(cli.__file__)"
    assert "site-packages/spatialdata_builder/training" in run([str(trainer), "-c", code], home, PYTHONPATH=str(home))
