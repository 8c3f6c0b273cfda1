"""Families in a gallery: its columns agree with the specs of the plan and with the records of shards."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spatialdata_builder.pipeline.commands.view import run_gallery
from spatialdata_builder.pipeline.opened import open_build
from spatialdata_builder.pipeline.report.gallery.families import NO_EDGE, Edge, family_columns
from spatialdata_builder.pipeline.store.families import family_of, states_of
from spatialdata_builder.shards.schema import FAMILY_VERSION
from tests.pipeline.command_line import run
from tests.pipeline.report.gallery.scenes import write_scenes
from tests.shards.factory import make_split, out_of, with_family

Index = Callable[[Path], dict[str, Any]]
Edges = dict[str, tuple[str, int, int]]


def edges_of(index: dict[str, Any]) -> Edges:
    """Family and states of each sample, by key."""
    families = [index["families"][number] for number in index["family"]]
    return dict(zip(index["key"], zip(families, index["from"], index["to"], strict=True), strict=True))


def planned_edges(out: Path) -> Edges:
    plan = open_build(str(out)).plan
    found: Edges = {}
    for unit in range(plan.units):
        rows = plan.rows(unit)
        found |= {row.key: (family_of(row.key, row.spec), *states_of(rows)[row.key]) for row in rows}
    return found


def view(path: Path, index_of: Index, limit: int = 10_000) -> dict[str, Any]:
    return index_of(Path(run_gallery(str(path), str(path / "g"), limit=limit, quiet=True)["gallery"]).parent)


def test_families_with_two_states_have_no_page():
    edges = [Edge("a", 0, 1), Edge("a", 1, 0), Edge("b", 0, 1), Edge("b", 1, 2), NO_EDGE]
    assert family_columns(edges) == {
        "families": ["", "b"],
        "family": [0, 0, 1, 1, 0],
        "from": [0, 0, 0, 1, 0],
        "to": [0, 0, 1, 2, 0],
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", ["per_scene: 6", "per_scene: 2, invert: false", "per_scene: 6, pairs_per_scene: 14"]
)
def test_edges_are_those_of_the_specs(options: str, tmp_path: Path, index_of: Index):
    write_scenes(tmp_path, 24, missing=[("pair", 1)], settings=["unit_size=12", f"edits={{{options}}}"])
    index = view(tmp_path, index_of)
    planned = planned_edges(tmp_path)
    assert edges_of(index) == planned
    assert index["families"] == ["", *dict.fromkeys(family for family, *_ in planned.values())]
    assert {"title": "Families", "href": "families.html"} in index["about"]["pages"]
    assert 'href="families.html"' in (tmp_path / "g" / "funnel.html").read_text()


@pytest.mark.slow
def test_a_limit_shows_whole_families(tmp_path: Path, index_of: Index):
    write_scenes(tmp_path, 36, settings=["unit_size=12", "edits.per_scene=6"])
    planned = planned_edges(tmp_path)
    shown = edges_of(view(tmp_path, index_of, limit=48))
    families = {family for family, *_ in shown.values()}
    assert len(families) == 2
    assert shown == {key: edge for key, edge in planned.items() if edge[0] in families}


@pytest.mark.slow
@pytest.mark.parametrize("options", ["invert: false", "invert: true"])
def test_builds_without_several_edits_of_a_scene(options: str, tmp_path: Path, index_of: Index):
    write_scenes(tmp_path, 16, settings=[f"edits={{{options}}}"])
    index = view(tmp_path, index_of)
    assert index["families"] == [""]
    assert index["about"]["pages"] == [{"title": "Funnel", "href": "funnel.html"}]
    assert "families.html" not in (tmp_path / "g" / "funnel.html").read_text()


def test_edges_of_shards_are_those_of_the_records(tmp_path: Path, index_of: Index):
    states = {"a": "0 1", "b": "0 12", "b-inv": "12 0", "c": "1 12", "alone": "0 1", "bad": "0 one"}
    changes = {key: with_family(key, "alone" if key == "alone" else "a", ends) for key, ends in states.items()}
    make_split(out_of(tmp_path), [["a", "b", "alone"], ["b-inv", "c", "bad"]], changes=changes, version=FAMILY_VERSION)
    assert run("view", tmp_path, "--out", tmp_path / "g").code == 0
    assert edges_of(index_of(tmp_path / "g")) == {
        "a": ("a", 0, 1),
        "b": ("a", 0, 12),
        "alone": ("", 0, 0),
        "b-inv": ("a", 12, 0),
        "c": ("a", 1, 12),
        "bad": ("", 0, 0),
    }
