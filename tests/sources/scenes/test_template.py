"""Templates of furnished rooms: the project's own are valid, and a mistake in a file is an error that names it."""

import shutil
from pathlib import Path

import pytest

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.sources.assets.carriers import names_of
from spatialdata_builder.sources.scenes.template import FOLDER, ROLES, read_roles, read_templates

GOOD = """kind: room
size: [[3, 5], [3, 5], [2.4, 2.8]]
focus: a
items:
  - {name: a, role: sofa, place: against wall, needed: true}
"""


def test_the_own_templates_are_valid():
    assert {"living", "dining", "office", "bedroom", "kitchen", "hall"} <= set(read_templates())
    assert {item.role for template in read_templates().values() for item in template.items} <= set(read_roles())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(FOLDER / ROLES, tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace("role: sofa", "role: throne"), ("throne", "sofa")),
        (GOOD.replace("focus: a", "focus: b"), ("focus 'b'", "needed")),
        (GOOD.replace(", needed: true", ""), ("focus 'a'", "needed")),
        (GOOD + "  - {role: chair, place: around, of: b}\n", ("'b'", "earlier")),
        (GOOD + "  - {role: chair, place: around}\n", ("around", "`of`")),
        (GOOD + "  - {role: chair, place: anywhere, of: a}\n", ("anywhere", "`of`")),
        (GOOD + "  - {role: chair, place: anywhere, count: [3, 1]}\n", ("[3, 1]",)),
        (GOOD + "  - {name: a, role: chair, place: anywhere}\n", ("two items", "'a'")),
        (GOOD + "  - {role: toy, place: around, of: a, pose: heap}\n", ("heap", "'anywhere'")),
        (GOOD + "  - {role: toy, place: anywhere, pose: floating}\n", ("items.1.pose", "leaning")),
        (GOOD.replace("against wall", "on the moon"), ("items.0.place",)),
        (GOOD.replace("kind: room", "kind: cave"), ("kind",)),
    ],
)
def test_a_mistake_names_the_file_and_what_is_wrong(folder: Path, text: str, words: tuple[str, ...]):
    (folder / "mine.yaml").write_text(text)
    with pytest.raises(BadInput) as error:
        read_templates(folder)
    for word in (str(folder / "mine.yaml"), *words):
        assert word in str(error.value)


def test_a_copied_template_can_be_changed(folder: Path):
    (folder / "mine.yaml").write_text(GOOD)
    (template,) = read_templates(folder).values()
    assert template.items[0].role == template.focus.replace("a", "sofa")


def test_a_folder_without_templates(folder: Path):
    with pytest.raises(BadInput, match="no templates"):
        read_templates(folder)


def test_names_of_a_category():
    assert names_of("Small Wooden Table") == {"small wooden table", "wooden table", "table"}
    assert names_of("table with tablecloth") == {"table"}
    assert names_of("of") == {"of"}


def test_roles_go_by_category_and_size():
    role = read_roles()["coffee table"]
    assert role.fits("wooden table", (0.9, 0.6, 0.4))
    assert not role.fits("wooden table", (0.9, 0.6, 0.75))  # too high
    assert not role.fits("table lamp", (0.4, 0.4, 0.4))
