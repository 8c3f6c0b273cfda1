"""The orientation file, written by users or by `spatialdata orient`, and its effect on assets."""

from dataclasses import replace
from pathlib import Path

import pytest

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.sources.assets.orientations import (
    Orientation,
    apply_orientations,
    encode_orientations,
    front_status,
    orientation_file,
    read_orientations,
)
from tests.sources.pool import synthetic_pool


def test_a_root_without_a_file_has_no_orientations(tmp_path: Path):
    assert orientation_file(tmp_path) == ""
    assert read_orientations("") == {}


def test_degrees_written_by_users(tmp_path: Path):
    (tmp_path / "orientations.csv").write_text("uid,degrees\na,-90\n")
    assert read_orientations(orientation_file(tmp_path))["a"].front_deg == 270.0
    (tmp_path / "orientations.json").write_text('{"b": 405}')
    assert {uid: entry.front_deg for uid, entry in read_orientations(orientation_file(tmp_path)).items()} == {"b": 45.0}
    other = tmp_path / "elsewhere.json"
    other.write_text('{"c": 1}')
    assert list(read_orientations(orientation_file(tmp_path, str(other)))) == ["c"]


def test_encoded_orientations_are_read_back(tmp_path: Path):
    table = {
        "b": Orientation(front_deg=270, name="office chair", colour="red", votes=(270, 270, 270), model="m"),
        "a": Orientation(votes=(0, -1, 45), name="mug", material="ceramic"),
        "c": Orientation(distinguishable=False, votes=(-1, -1, -1)),
    }
    path = tmp_path / "orientations.json"
    path.write_bytes(encode_orientations(table))
    read = read_orientations(str(path))
    assert read == table and list(read) == ["a", "b", "c"]
    assert [front_status(read[uid]) for uid in "abc"] == ["unknown", "known", "undistinguishable"]


@pytest.mark.parametrize(
    "text", ['{"b": "left"}', "[1]", '{"b": {"front": 3}}', '{"b": NaN}', '{"b": null}', '{"b": [1]}', "{", ""]
)
def test_an_invalid_file_is_rejected_by_name(tmp_path: Path, text: str):
    path = tmp_path / "orientations.json"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"orientations\.json: expected a table of uid and degrees"):
        read_orientations(str(path))


def test_a_missing_file_is_reported(tmp_path: Path):
    with pytest.raises(BadInput, match=r"no orientation file .*gone\.json.*spatialdata orient"):
        read_orientations(str(tmp_path / "gone.json"))


def test_only_known_values_change_an_asset():
    first, second, third, *rest = synthetic_pool(6)
    first = replace(first, colour="")
    table = {
        first.uid: Orientation(front_deg=90, name="office chair", colour="blue"),
        second.uid: Orientation(name="teapot"),
        third.uid: Orientation(),
        "somebody else": Orientation(front_deg=1),
    }
    changed = apply_orientations([first, second, third, *rest], table)
    assert (changed[0].front_deg, changed[0].category, changed[0].colour) == (90, "office chair", "blue")
    assert (changed[1].front_deg, changed[1].category, changed[1].colour) == (second.front_deg, "teapot", second.colour)
    assert changed[2:] == [third, *rest]


def test_the_color_of_portraits_has_precedence():
    seen = replace(synthetic_pool(1)[0], colour="red")
    assert apply_orientations([seen], {seen.uid: Orientation(colour="blue")}) == [seen]
