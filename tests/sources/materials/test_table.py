"""The plan's materials as workers use them: resolved options, files on the node, the choice for a scene."""

import dataclasses
import hashlib
from collections import Counter
from pathlib import Path

import fsspec
import numpy as np
import pytest

from spatialdata_builder.shards.errors import SpatialdataError
from spatialdata_builder.sources.blender.environment import cache_folder
from spatialdata_builder.sources.materials.choice import textured
from spatialdata_builder.sources.materials.credits import Credits
from spatialdata_builder.sources.materials.table import FOLDER, Materials, PlannedHdri, PlannedSet, Use, to_json
from spatialdata_builder.sources.scenes.garden import sample_garden
from spatialdata_builder.sources.scenes.room import dress_room, sample_room
from spatialdata_builder.sources.scenes.spec import Light, SceneOptions, SceneSpec
from spatialdata_builder.sources.scenes.values import TexturedSurface
from tests.sources.small_scenes import WALL, scene

COLOR, HDRI = b"color", b"hdri"
COLOR_FILE, HDRI_FILE = (f"{hashlib.sha256(data).hexdigest()}.png" for data in (COLOR, HDRI))


def planned(name: str, *uses: Use, size_m: float = 2.0) -> PlannedSet:
    return PlannedSet(name, uses, size_m, 0.5, {"color": COLOR_FILE}, {f"{name}_Color.png": 5}, Credits("cc0"))


SETS = (planned("Bricks", "wall"), planned("Boards", "floor"), planned("Lawn", "ground"), planned("Oak", "table"))
SIZES = {HDRI_FILE: len(HDRI), COLOR_FILE: len(COLOR)}
TABLE = Materials((PlannedHdri("sky.hdr", HDRI_FILE, 4, Credits("by", "Jo")),), SETS, SIZES)


def write(url: str) -> str:
    """Publish the table and its files. Returns the URL of the table."""
    fs, path = fsspec.core.url_to_fs(url)
    fs.makedirs(f"{path}/{FOLDER}", exist_ok=True)
    fs.pipe_file(f"{path}/materials.json", to_json(TABLE))
    fs.pipe_file(f"{path}/{FOLDER}/{COLOR_FILE}", COLOR)
    fs.pipe_file(f"{path}/{FOLDER}/{HDRI_FILE}", HDRI)
    return f"{url}/materials.json"


def lit(spec: SceneSpec) -> SceneSpec:
    return dataclasses.replace(spec, light=Light(HDRI_FILE, 0.0, 1.0))


def test_options_without_paths():
    options = SceneOptions.model_validate(
        {"light": {"hdris": ["studio", "/home/me/sky.hdr", "city"]}, "surfaces": ["/home/me/sets"]}
    )
    found = TABLE.resolved(options)
    assert found.light.hdris == ("studio", "city", HDRI_FILE)
    assert found.surfaces == ("Bricks", "Boards", "Lawn", "Oak")
    assert found.light.strength == options.light.strength


@pytest.mark.parametrize("remote", [False, True])
def test_files_on_the_node(remote: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    url = write(f"memory://{tmp_path.name}/plan" if remote else str(tmp_path / "plan"))
    table = Materials.read(url)
    assert table == TABLE
    spec = textured(lit(scene()), table.sets, 1.0, np.random.default_rng(0))
    found = table.located(spec)
    assert isinstance(found.floor, TexturedSurface) and isinstance(found.walls[0].surface, TexturedSurface)
    assert Path(found.light.hdri).read_bytes() == HDRI
    assert (
        Path(found.floor.maps["color"]).read_bytes() == Path(found.walls[0].surface.maps["color"]).read_bytes() == COLOR
    )
    folder = cache_folder() / FOLDER if remote else tmp_path / "plan" / FOLDER
    assert {Path(found.light.hdri).parent, Path(found.floor.maps["color"]).parent} == {folder}
    own = scene()
    assert table.located(own) == own


@pytest.mark.parametrize("remote", [False, True])
def test_missing_and_damaged_files(remote: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = f"memory://{tmp_path.name}/plan" if remote else str(tmp_path / "plan")
    table = Materials.read(write(folder))
    fs, path = fsspec.core.url_to_fs(f"{folder}/{FOLDER}/{HDRI_FILE}")
    if remote:
        fs.pipe_file(path, b"other")
        with pytest.raises(SpatialdataError, match="is damaged: run `spatialdata build` again"):
            table.located(lit(scene()))
    fs.rm_file(path)
    with pytest.raises(SpatialdataError, match="does not exist: run `spatialdata build` again"):
        table.located(lit(scene()))
    assert not remote or not list((cache_folder() / FOLDER).iterdir())


def test_each_surface_takes_what_is_made_for_it():
    rng = np.random.default_rng(1)
    # The objects of this scene are up to 0.84 m wide.
    spec = textured(scene(walls=(WALL, WALL)), SETS, 1.0, rng)
    assert isinstance(spec.floor, TexturedSurface) and spec.floor.texture in ("Boards", "Lawn")
    assert [wall.surface.texture for wall in spec.walls if isinstance(wall.surface, TexturedSurface)] == 2 * ["Bricks"]
    assert spec.walls[0].surface == spec.walls[1].surface
    assert spec.floor.repeat_m == (2.0, 1.0) and spec.walls[0].surface.rotation_deg == 0.0
    room = dress_room(rng, sample_room(rng), [])
    inside = textured(dataclasses.replace(scene(walls=()), floor=room.floor, room=room), SETS, 1.0, rng)
    assert inside.room and inside.floor == inside.room.floor
    assert {
        surface.texture for surface in (inside.floor, inside.room.wall) if isinstance(surface, TexturedSurface)
    } == {
        "Boards",
        "Bricks",
    }
    assert inside.room.openings == room.openings and inside.room.light == room.light
    garden = sample_garden(rng, [(0.0, 0.0, 0.5)], [spec.source.camera])
    outside = textured(dataclasses.replace(scene(walls=()), floor=garden.ground, garden=garden), SETS, 1.0, rng)
    assert isinstance(outside.floor, TexturedSurface) and outside.floor.texture == "Lawn"
    assert outside.garden and outside.garden.ground == outside.floor


def test_tables_and_small_things():
    rng = np.random.default_rng(2)
    spec = scene(walls=())
    small = tuple(
        dataclasses.replace(one, asset=dataclasses.replace(one.asset, size_m=(0.1, 0.1, 0.1))) for one in spec.objects
    )
    found = textured(dataclasses.replace(spec, objects=small), SETS, 1.0, rng)
    assert isinstance(found.floor, TexturedSurface) and found.floor.texture == "Oak"
    assert all(one.top is None for one in found.objects)
    named = zip(spec.objects, ("coffee table", "table lamp", "desk"), strict=True)
    tables = tuple(dataclasses.replace(one, asset=dataclasses.replace(one.asset, category=name)) for one, name in named)
    found = textured(dataclasses.replace(spec, objects=tables), SETS, 1.0, rng)
    assert [one.top.texture if one.top else "" for one in found.objects] == ["Oak", "", "Oak"]


def test_the_share_and_the_seed():
    spec = scene()
    found = [textured(spec, SETS, 0.3, np.random.default_rng(seed)).floor for seed in range(400)]
    counts = Counter(one.texture if isinstance(one, TexturedSurface) else "" for one in found)
    assert counts.keys() == {"", "Boards", "Lawn"}
    assert 0.24 < 1 - counts[""] / 400 < 0.36 and 0.4 < counts["Boards"] / (400 - counts[""]) < 0.6
    assert found[:9] == [textured(spec, SETS, 0.3, np.random.default_rng(seed)).floor for seed in range(9)]
    assert textured(spec, SETS, 0.0, np.random.default_rng(0)) == spec
