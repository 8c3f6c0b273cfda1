"""Texture sets by the names of their files, and what tables and license files say about them."""

from pathlib import Path

import pytest

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.sources.materials.credits import Credits
from spatialdata_builder.sources.materials.texture_sets import find_sets, parse_name
from tests.sources.materials.painted_sets import ambientcg, boards, polyhaven, tiles, write


@pytest.mark.parametrize(
    ("stem", "found"),
    [
        ("Bricks076_2K-JPG_Color", ("Bricks076", "color", 2)),
        ("Bricks076_2K_NormalGL", ("Bricks076", "normal_gl", 2)),
        ("PavingStones128_8K-PNG_NormalDX", ("PavingStones128", "normal_dx", 8)),
        ("Metal049A_1K-JPG_Metalness", ("Metal049A", "metalness", 1)),
        ("Wood066_4K-JPG_AmbientOcclusion", ("Wood066", "ao", 4)),
        ("Wood066_Displacement", ("Wood066", "height", 0)),
        ("brick_wall_001_diff_2k", ("brick_wall_001", "color", 2)),
        ("brick_wall_001_diffuse_1k", ("brick_wall_001", "color", 1)),
        ("wood_floor_deck_nor_gl_4k", ("wood_floor_deck", "normal_gl", 4)),
        ("wood_floor_deck_nor_dx_4k", ("wood_floor_deck", "normal_dx", 4)),
        ("wood_floor_deck_rough_2k", ("wood_floor_deck", "roughness", 2)),
        ("wood_floor_deck_arm_2k", ("wood_floor_deck", "arm", 2)),
        ("wood_floor_deck_disp_2k", ("wood_floor_deck", "height", 2)),
        ("Bricks076_2K-JPG", None),
        ("kloppenheim_06_4k", None),
        ("Color", None),
        ("2k_color", None),
        ("", None),
    ],
)
def test_names(stem: str, found: tuple[str, str, int] | None):
    assert parse_name(stem) == found


def test_sets_of_both_namings(tmp_path: Path):
    ambientcg(tmp_path / "Bricks076", "Bricks076", side=16)
    polyhaven(tmp_path / "poly", "wood_floor_deck", boards, side=16)
    polyhaven(tmp_path / "poly", "marble_01", tiles, side=16)
    polyhaven(tmp_path / "poly", "thing", tiles, side=16)
    (tmp_path / "poly" / "notes.txt").write_text("not a map")
    bricks, marble, thing, deck = find_sets(tmp_path)
    assert [one.name for one in (bricks, marble, thing, deck)] == ["Bricks076", "marble_01", "thing", "wood_floor_deck"]
    assert {name: path.name for name, path in bricks.maps.items()} == {
        "color": "Bricks076_2K-JPG_Color.jpg",
        "normal_gl": "Bricks076_2K-JPG_NormalGL.jpg",
        "ao": "Bricks076_2K-JPG_AmbientOcclusion.jpg",
        "roughness": "Bricks076_2K-JPG_Roughness.jpg",
        "metalness": "Bricks076_2K-JPG_Metalness.jpg",
    }
    assert set(deck.maps) == {"color", "normal_gl", "arm"}
    assert (bricks.uses, marble.uses, thing.uses, deck.uses) == (
        ("wall",),
        ("floor", "table"),
        ("floor", "wall"),
        ("floor",),
    )
    assert {one.size_m for one in (bricks, marble, thing, deck)} == {2.0}
    assert bricks.credits == deck.credits == Credits()
    sizes = bricks.originals()
    assert sizes["Bricks076/Bricks076_2K-JPG_Color.jpg"] == bricks.maps["color"].stat().st_size
    assert len(sizes) == 5


def test_the_resolution_that_is_used(tmp_path: Path):
    color, _ = tiles(8)
    for resolution in ("1k", "2k", "4k", "8k"):
        write(tmp_path / f"tiles_diff_{resolution}.png", color)
    write(tmp_path / "big_diff_8k.png", color)
    write(tmp_path / "big_diff_4k.jpg", color)
    write(tmp_path / "tiles_rough_2k.jpg", color)
    write(tmp_path / "tiles_rough_2k.png", color)
    big, tiled = find_sets(tmp_path)
    assert {name: path.name for name, path in tiled.maps.items()} == {
        "color": "tiles_diff_2k.png",
        "roughness": "tiles_rough_2k.png",
    }
    assert big.maps["color"].name == "big_diff_4k.jpg"


def test_what_the_table_says(tmp_path: Path):
    ambientcg(tmp_path, "Bricks076", side=8)
    ambientcg(tmp_path, "Wood051", side=8)
    (tmp_path / "surfaces.csv").write_text(
        "name;license;creator;source;size_m;use\nBricks076;CC0 1.0;ambientCG;https://ambientcg.com/a/Bricks076;1,4;\n"
        "Wood051;;Jo Doe;;;table, wall\n"
    )
    bricks, wood = find_sets(tmp_path)
    assert bricks.credits == Credits("cc0", "ambientCG", "https://ambientcg.com/a/Bricks076")
    assert (bricks.size_m, bricks.uses) == (1.4, ("wall",))
    assert (wood.size_m, wood.uses, wood.credits) == (2.0, ("wall", "table"), Credits(creator="Jo Doe"))


@pytest.mark.parametrize(
    ("text", "license"),
    [
        ("CC0\n", "cc0"),
        ("License: CC0 1.0 Universal\nhttps://creativecommons.org/publicdomain/zero/1.0/\n", "cc0"),
        ("SPDX-License-Identifier: CC-BY-4.0", "by"),
        ("Creative Commons Legal Code\n\nCC0 1.0 Universal\n\n    CREATIVE COMMONS CORPORATION IS NOT ...\n", "cc0"),
        ("Attribution 4.0 International\n\n" + "Creative Commons Corporation is not a law firm.\n" * 200, "by"),
        ("CC0 for the bricks, CC BY for the rest", "see license.txt"),
        ("CC0\nexcept for the bricks, which are CC BY\n", "see license.txt"),
        ("CC0\nCC BY\n", "see license.txt"),
        ("All rights reserved", "see license.txt"),
        ("", "unknown"),
    ],
)
def test_license_files(tmp_path: Path, text: str, license: str):
    """What a file does not clearly say is not guessed."""
    ambientcg(tmp_path / "sets" / "Bricks076", "Bricks076", side=8)
    (tmp_path / "license.txt").write_text("CC0")  # above the given folder
    (tmp_path / "sets" / "license.txt").write_text(text)
    (found,) = find_sets(tmp_path / "sets")
    assert found.credits.license == license


def test_the_nearest_license_file_counts(tmp_path: Path):
    ambientcg(tmp_path / "a", "Bricks076", side=8)
    ambientcg(tmp_path / "b", "Bricks077", side=8)
    (tmp_path / "LICENSE").write_text("CC BY 4.0")
    (tmp_path / "b" / "LICENCE.md").write_text("# CC0\n")
    assert [one.credits.license for one in find_sets(tmp_path)] == ["by", "cc0"]


def test_a_folder_without_sets(tmp_path: Path):
    with pytest.raises(BadInput, match=r"scene\.surfaces: .* has no texture sets: name the maps as ambientCG"):
        find_sets(tmp_path)


def test_a_set_without_a_color_map(tmp_path: Path):
    ambientcg(tmp_path, "Bricks076", side=8)
    (tmp_path / "Bricks076_2K-JPG_Color.jpg").unlink()
    with pytest.raises(BadInput, match=r"'Bricks076' in .* has no color map .*Bricks076_2K-JPG_Roughness\.jpg"):
        find_sets(tmp_path)


def test_two_sets_of_one_name(tmp_path: Path):
    ambientcg(tmp_path / "a", "Bricks076", side=8)
    ambientcg(tmp_path / "b", "Bricks076", side=8)
    with pytest.raises(BadInput, match=r"two sets are named 'Bricks076', in .*a and .*b"):
        find_sets(tmp_path)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("name,colour\n", "unknown header 'colour'"),
        ("license\nCC0\n", "no header 'name'"),
        (
            "name,size_m\nBricks067,1\n",
            r"surfaces\.csv:2: there is no texture set 'Bricks067'.*did you mean 'Bricks076'",
        ),
        ("name\nBricks076\nBricks076\n", r"surfaces\.csv:3: 'Bricks076' has a row already, in line 2"),
        ("name,size_m\nBricks076,two\n", "size_m 'two' is not a number"),
        ("name,size_m\nBricks076,0\n", "size_m 0 is not allowed: give the width of the image in meters"),
        ("name,use\nBricks076,roof\n", "use 'roof' is not allowed; allowed: floor, wall, table, ground"),
    ],
)
def test_mistakes_in_the_table(tmp_path: Path, table: str, message: str):
    ambientcg(tmp_path, "Bricks076", side=8)
    (tmp_path / "surfaces.csv").write_text(table)
    with pytest.raises(BadInput, match=message):
        find_sets(tmp_path)
