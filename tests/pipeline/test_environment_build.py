"""A build of scenes in room models of the user: resumed without their folder, and credited."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from spatialdata_builder.shards.codecs import decode_image, decode_mask
from spatialdata_builder.shards.layout import find_shards
from spatialdata_builder.shards.reader import read_record, read_samples
from tests.needs import needs
from tests.pipeline import scene_builds
from tests.pipeline.command_line import assert_fails, run
from tests.pipeline.scene_builds import changed_shards, without_pairs
from tests.sources.environments.rooms import write_room

SETTINGS = ("unit_size=1", "scene.kinds={environment: 1}")
pytestmark = pytest.mark.slow


def arguments(out: Path, user: Path, *more: str) -> list[str]:
    return scene_builds.arguments(out, (*SETTINGS, f"scene.environments.root={user}", *more))


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Path:
    user = tmp_path_factory.mktemp("user") / "private-folder"
    write_room(user / "rooms" / "living.glb", unit=100.0, lift=0.2)
    write_room(user / "attic.glb", flipped=True)
    (user / "environments.csv").write_text(
        "file,license,creator,source\nrooms/living.glb,CC BY 4.0,Jo | Doe,https://example.org/living\nattic.glb,CC0,,\n"
    )
    return user


@pytest.fixture(scope="module")
@needs("blender")
def out(tmp_path_factory: pytest.TempPathFactory, user: Path) -> Path:
    out = tmp_path_factory.mktemp("environments") / "out"
    done = run(*arguments(out, user))
    assert done.code == 0, done
    assert "left out: attic.glb: upside_down" in done.err and "1 room model" in done.err
    return out


def test_samples_in_a_room_model(out: Path):
    stored = [sample for shard in find_shards(str(out), recipe="full") for sample in read_samples(shard)]
    assert len(stored) >= 3
    for sample in stored:
        record = read_record(sample.members["json"])
        assert record.scene == "environment" and record.instruction.verified
        source, target = (decode_image(sample.members[name]) for name in ("source", "target"))
        changed = decode_mask(sample.members["changed"])
        np.testing.assert_array_equal(source[~changed], target[~changed])
        for item in record.objects:
            on = item.source_support
            assert on.object == 0 and on.kind == ("floor" if item.source_pose[11] == 0 else "top")


def test_the_room_is_kept_and_credited(out: Path, user: Path):
    table = json.loads((out / "plan" / "materials.json").read_text())
    (room,) = table["environments"]
    digest = hashlib.sha256((user / "rooms" / "living.glb").read_bytes()).hexdigest()
    assert room["file"] == f"{digest}.glb" and list(table["rejected"]) == ["attic.glb"]
    assert (out / "plan" / "materials" / room["file"]).read_bytes() == (user / "rooms" / "living.glb").read_bytes()
    folder = out / "shards" / "full"
    text = (folder / "ATTRIBUTION.md").read_text()
    _, _, listed = text.partition("## HDRIs, texture sets and room models")
    (row,) = (line for line in listed.splitlines() if line.startswith("| room model"))
    assert "rooms/living.glb" in row and "Jo \\| Doe" in row and "CC BY" in row and "https://example.org/living" in row
    card = (folder / "README.md").read_text()
    assert "license: cc-by-4.0" in card and "./private-folder" in card
    assert str(user.parent) not in card + text


def test_a_build_is_resumed_without_the_folder(out: Path, user: Path, tmp_path: Path):
    copy = without_pairs(out, tmp_path / "out")
    done = run(*arguments(copy, user.parent / "gone"))
    assert done.code == 0, done
    assert "does not exist: using the files in" in done.err
    # The card names the folder that was given.
    assert changed_shards(out, copy) <= {"full/README.md"}


def test_other_rooms_are_another_plan(out: Path, user: Path, tmp_path: Path):
    other = shutil.copytree(user, tmp_path / "user")
    write_room(other / "rooms" / "second.glb")
    assert_fails(run(*arguments(out, other)), "room models (rooms/second.glb)", "another --out")


def test_mistakes(user: Path, tmp_path: Path):
    out = tmp_path / "out"
    plain = scene_builds.arguments(out, SETTINGS)
    assert_fails(run(*plain), "environments.root, a folder of room models")
    assert_fails(run(*arguments(out, tmp_path / "none")), "scene.environments.root", "does not exist")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert_fails(run(*arguments(out, empty)), "has no .glb files")
    write_room(empty / "a.glb", without=("floor", "ceiling"))
    (empty / "LICENSE").write_text("CC0\n")
    assert_fails(run(*arguments(out, empty)), "no room model can be used", "a.glb: no_floor")
    (empty / "environments.csv").write_text("file,unit_m\na.glb,much\n")
    assert_fails(run(*arguments(out, empty)), "environments.csv:2", "unit_m 'much' is not a number")
    (empty / "environments.csv").write_text("file,unit_m\nb.glb,1\n")
    assert_fails(run(*arguments(out, empty)), "there is no room model 'b.glb'", "did you mean 'a.glb'")
    assert not (out / "plan.json").exists()
