"""Templates of furnished rooms: the project's own are valid, and a mistake in a file is an error that names it."""

from dataclasses import replace
from pathlib import Path

import pytest

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.sources.assets.carriers import AssetSupports, names_of
from spatialdata_builder.sources.assets.supports import Support
from spatialdata_builder.sources.procedural import catalog
from spatialdata_builder.sources.scenes.furnish import impossible
from spatialdata_builder.sources.scenes.spec import BUILTIN
from spatialdata_builder.sources.scenes.template import (
    ROLES,
    Item,
    Templates,
    builtin_templates,
    read_templates,
)

GOOD = """kind: room
size: [[3, 5], [3, 5], [2.4, 2.8]]
focus: a
items:
  - {name: a, role: sofa, place: against wall, needed: true}
"""


def test_the_own_templates_are_valid():
    own = builtin_templates()
    assert {"living", "dining", "office", "bedroom", "kitchen", "hall", "workshop"} <= set(own.rooms)
    assert {item.role for room in own.rooms.values() for item in room.items} <= set(own.roles)
    used = {item.role for room in own.rooms.values() for item in room.items}
    assert used == set(own.roles), "roles that no template uses"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace("role: sofa", "role: throne"), ("throne", "sofa")),
        (GOOD.replace("focus: a", "focus: b"), ("focus 'b'", "needed")),
        (GOOD.replace(", needed: true", ""), ("focus 'a'", "needed")),
        (GOOD + "  - {role: chair, place: around, of: b}\n", ("'b'", "earlier")),
        (GOOD + "  - {role: chair, place: beside, of: z}\n  - {name: z, role: chair, place: anywhere}\n", ("'z'",)),
        (GOOD + "  - {role: chair, place: around}\n", ("around", "`of`")),
        (GOOD + "  - {role: chair, place: in a row}\n", ("in a row", "`of`")),
        (GOOD + "  - {role: chair, place: in a corner, facing: true}\n", ("in a corner", "`of`")),
        (GOOD + "  - {role: chair, place: anywhere, of: a}\n", ("anywhere", "`of`")),
        (GOOD + "  - {role: chair, place: anywhere, facing: true}\n", ("anywhere", "`facing`")),
        (GOOD + "  - {role: chair, place: in, of: a, support: top}\n", ("'in'", "`support`")),
        (GOOD + "  - {role: chair, place: 'on', of: a, support: roof}\n", ("items.1.support", "shelf")),
        (GOOD + "  - {role: chair, place: anywhere, count: [3, 1]}\n", ("[3, 1]",)),
        (GOOD + "  - {name: a, role: chair, place: anywhere}\n", ("two items", "'a'")),
        (GOOD + "  - {role: toy, place: around, of: a, pose: heap}\n", ("heap", "'anywhere'")),
        (GOOD + "  - {role: toy, place: anywhere, pose: floating}\n", ("items.1.pose", "leaning")),
        (GOOD.replace("against wall", "on the moon"), ("items.0.place", "against wall")),
        (GOOD.replace("kind: room", "kind: cave"), ("kind",)),
        (GOOD.replace("focus: a", "focus: a\nsurface: b"), ("surface 'b'",)),
        (GOOD + "  - {role: chair, place: [\n", ("line 7",)),
        (GOOD.replace("[[3, 5], [3", "[[5, 3], [3"), ("size",)),
        (GOOD.replace("[[3, 5], [3", "[[0.5, 1], [3"), ("size",)),
    ],
)
def test_a_mistake_names_the_file_and_what_is_wrong(tmp_path: Path, text: str, words: tuple[str, ...]):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(BadInput) as error:
        read_templates([str(tmp_path)])
    for word in (str(tmp_path / "mine.yaml"), *words):
        assert word in str(error.value)


def test_own_roles_are_known_and_may_be_added_to_and_replaced(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text(GOOD.replace("role: sofa", "role: throne"))
    (tmp_path / ROLES).write_text("throne: {is: [throne], size: [1, 2]}\nsofa: {is: [divan]}\n")
    found = read_templates([str(tmp_path)])
    assert set(found.rooms) == {"mine"}
    assert found.roles["throne"].is_ == ("throne",) and found.roles["sofa"].is_ == ("divan",)
    assert {"throne", "divan", "chair"} <= found.categories and "couch" not in found.categories


def test_own_templates_beside_or_instead_of_the_builtin_ones(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text(GOOD)
    (tmp_path / "living.yaml").write_text(GOOD)
    own = builtin_templates().rooms
    assert set(read_templates([str(tmp_path)]).rooms) == {"mine", "living"}
    both = read_templates([BUILTIN, str(tmp_path)]).rooms
    assert set(both) == {*own, "mine"} and both["living"] != own["living"] and both["dining"] == own["dining"]
    assert read_templates([str(tmp_path), BUILTIN]).rooms["living"] == own["living"]


def test_templates_are_the_same_after_they_were_stored(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text(GOOD)
    found = read_templates([BUILTIN, str(tmp_path)])
    assert Templates.from_json(found.to_json()) == found
    assert Templates.from_json(found.to_json()).to_json() == found.to_json()


def test_folders_that_are_none_or_empty(tmp_path: Path):
    with pytest.raises(BadInput, match="no templates"):
        read_templates([str(tmp_path)])
    with pytest.raises(BadInput, match=r"is no folder.*builtin"):
        read_templates([str(tmp_path / "missing")])


def test_names_of_a_category():
    assert names_of("Small Wooden Table") == {"small wooden table", "wooden table", "table"}
    assert names_of("table with tablecloth") == {"table"}
    assert names_of("of") == {"of"}


def test_roles_go_by_category_and_size():
    role = builtin_templates().roles["coffee table"]
    assert role.fits("wooden table", (0.9, 0.6, 0.4))
    assert not role.fits("wooden table", (0.9, 0.6, 0.75))  # too high
    assert not role.fits("table lamp", (0.4, 0.4, 0.4))
    counter = builtin_templates().roles["counter"]
    assert counter.fits("kitchen cabinet", (0.9, 0.6, 0.9))
    assert not counter.fits("lower corner cabinet", (0.9, 0.9, 0.9))  # one of its exceptions


@pytest.mark.parametrize(("category", "size"), [("hammer", 0.9), ("mug", 0.9), ("drill", 1.2), ("apple", 0.5)])
def test_nothing_small_is_as_large_as_furniture(category: str, size: float):
    roles = builtin_templates().roles
    assert not any(role.fits(category, (size, 0.5 * size, 0.5 * size)) for role in roles.values())


def template(text: str, tmp_path: Path):
    (tmp_path / "mine.yaml").write_text(text)
    found = read_templates([str(tmp_path)])
    return found.rooms["mine"], found.roles


def test_a_template_that_no_model_can_fill(tmp_path: Path):
    room, roles = template(GOOD, tmp_path)
    sofa, chair = (replace(catalog(1)[0], category=name, size_m=(2.0, 0.9, 0.8)) for name in ("sofa", "chair"))

    def none(uid: str) -> AssetSupports:
        return AssetSupports()

    assert impossible(room, roles, [sofa, chair], none) == ""
    fault = impossible(room, roles, [chair], none)
    assert "item 'a' (role 'sofa')" in fault and "couch" in fault
    huge = replace(sofa, size_m=(3.1, 0.9, 0.8))
    small, roles = template(GOOD.replace("[[3, 5], [3, 5]", "[[2.5, 3], [2.5, 3]"), tmp_path)
    assert "larger than the room" in impossible(small, roles, [huge], none)
    assert impossible(small, roles, [huge, sofa], none) == ""


def test_two_needed_items_of_one_role_need_two_models(tmp_path: Path):
    more = "  - {name: twin, role: sofa, place: anywhere, needed: true}\n"
    room, roles = template(GOOD.rstrip("\n") + "\n" + more, tmp_path)
    sofa = replace(catalog(1)[0], category="sofa", size_m=(2.0, 0.9, 0.8))
    other = replace(sofa, uid="other", model="other")

    def none(uid: str) -> AssetSupports:
        return AssetSupports()

    assert "needed 2 times, but only 1 " in impossible(room, roles, [sofa], none)
    assert impossible(room, roles, [sofa, other], none) == ""


def test_a_role_that_carries_needs_a_surface(tmp_path: Path):
    text = GOOD.replace("role: sofa", "role: dining table")
    room, roles = template(text, tmp_path)
    table = replace(catalog(1)[0], category="table", size_m=(1.4, 0.9, 0.75))
    square = ((-0.6, -0.4), (0.6, -0.4), (0.6, 0.4), (-0.6, 0.4))
    top = AssetSupports((Support("top", 0.75, (square,), float("inf"), 0.4),))
    low = AssetSupports((Support("top", 0.3, (square,), float("inf"), 0.4),))
    assert impossible(room, roles, [table], lambda uid: top) == ""
    assert "surface" in impossible(room, roles, [table], lambda uid: low)
    assert "surface" in impossible(room, roles, [table], lambda uid: AssetSupports())


def test_places_that_need_another_item():
    assert Item.model_validate({"role": "chair", "place": "in a corner"}).of == ""
    assert Item.model_validate({"role": "chair", "place": "in a corner", "of": "a", "facing": True}).facing
