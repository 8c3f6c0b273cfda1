"""A build with HDRIs and texture sets of the user: resumed without their folder, and credited."""

import shutil
from pathlib import Path

import pytest

from tests.needs import needs
from tests.pipeline import scene_builds
from tests.pipeline.command_line import assert_fails, run
from tests.pipeline.scene_builds import changed_shards, without_pairs
from tests.sources.materials.painted_sets import ambientcg, boards, polyhaven, sky, write_hdr

SETTINGS = ("unit_size=2", "scene.kinds={open: 1, room: 1}", "scene.textured=1")
pytestmark = pytest.mark.slow


def arguments(out: Path, user: Path, *more: str) -> list[str]:
    given = (f"scene.light.hdris=[city, {user}]", f"scene.surfaces=[{user}]")
    return scene_builds.arguments(out, (*SETTINGS, *given, *more))


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Path:
    user = tmp_path_factory.mktemp("user") / "private-folder"
    ambientcg(user, "Bricks076", side=128)
    polyhaven(user, "wood_floor_deck", boards, side=128)
    polyhaven(user, "wood_table", boards, side=128)
    write_hdr(user / "sky.hdr", sky(64))
    (user / "surfaces.csv").write_text(
        "name,license,creator,source\nBricks076,CC0,ambientCG,https://ambientcg.com/a/Bricks076\n"
        "wood_floor_deck,CC BY 4.0,Jo | Doe,\nwood_table,CC0,,\n"
    )
    (user / "hdris.csv").write_text("file,license,creator\nsky.hdr,CC0,A. Painter\n")
    return user


@pytest.fixture(scope="module")
@needs("blender")
def out(tmp_path_factory: pytest.TempPathFactory, user: Path) -> Path:
    out = tmp_path_factory.mktemp("materials") / "out"
    done = run(*arguments(out, user))
    assert done.code == 0, done
    assert "scenes also have 1 HDRI and 3 texture sets of plan/materials" in done.err
    return out


def test_card_and_attribution(out: Path, user: Path):
    folder = out / "shards" / "full"
    text = (folder / "ATTRIBUTION.md").read_text()
    _, _, listed = text.partition("## HDRIs and texture sets")
    rows = [line for line in listed.splitlines() if line.startswith("| ") and "---" not in line][1:]
    assert len(rows) == 4
    assert "sky" in rows[0] and "A. Painter" in rows[0] and "CC0" in rows[0]
    assert "ambientCG" in rows[1] and "https://ambientcg.com/a/Bricks076" in rows[1]
    assert "CC BY" in rows[2] and "Jo \\| Doe" in rows[2]
    assert "(not named)" in rows[3]
    card = (folder / "README.md").read_text()
    assert "license: cc-by-4.0" in card and "models, HDRIs and texture sets" in card
    assert "./private-folder" in card and str(user.parent) not in card + text


@pytest.mark.blender
def test_an_unknown_license_is_said_in_the_card(user: Path, tmp_path: Path):
    copy = shutil.copytree(user, tmp_path / "user")
    (copy / "hdris.csv").unlink()
    done = run(*arguments(tmp_path / "out", copy, "samples=2", "scene.kinds={open: 1}"))
    assert done.code == 0, done
    assert "sky.hdr of unknown license, so the dataset has none" in done.err
    card = (tmp_path / "out" / "shards" / "full" / "README.md").read_text()
    assert "license: other" in card and "what has an unknown license gives no permission" in card
    assert "these HDRIs and texture sets have an unknown license: sky" in card
    assert "packs samples that may be shared" not in card


def test_a_build_is_resumed_without_the_folder(out: Path, user: Path, tmp_path: Path):
    copy = without_pairs(out, tmp_path / "out")
    done = run(*arguments(copy, user.parent / "gone"))
    assert done.code == 0, done
    assert "does not exist: using the files in" in done.err
    # The card names the folder that was given.
    assert changed_shards(out, copy) <= {"full/README.md"}


def test_other_materials_are_another_plan(out: Path, user: Path):
    assert_fails(run(*arguments(out, user, "scene.surfaces=[]")), "another --out")
    assert_fails(run(*scene_builds.arguments(out, SETTINGS)), "another --out")


@pytest.mark.parametrize(
    ("setting", "parts"),
    [
        ("scene.light.hdris=[forrest]", ["'forrest'", "did you mean 'forest'?", "./hdris"]),
        ("scene.surfaces=[/no/such/folder]", ["scene.surfaces", "/no/such/folder", "does not exist"]),
        ("scene.textured=2", ["scene.textured", "less than or equal to 1"]),
    ],
)
def test_mistakes(tmp_path: Path, setting: str, parts: list[str]):
    assert_fails(run(*scene_builds.arguments(tmp_path / "out", (*SETTINGS, setting))), *parts)
    assert not (tmp_path / "out" / "plan.json").exists()
