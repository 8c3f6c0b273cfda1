"""The page of families in a browser: states, edges, instructions, links, keys, and families that are not there."""

from collections.abc import Callable
from pathlib import Path

import pytest

from spatialdata_builder.pipeline.commands.view import run_gallery
from spatialdata_builder.pipeline.opened import open_build
from spatialdata_builder.pipeline.store.families import states_of
from spatialdata_builder.shards.schema import FAMILY_VERSION
from tests.pipeline.report.gallery.conftest import Look
from tests.pipeline.report.gallery.scenes import Written, write_scenes
from tests.shards.factory import make_split, out_of, with_family

Opens = Callable[..., Look]
FIRST, SECOND = "procedural-0-00000000", "procedural-0-00000006"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("families") / "out"


@pytest.fixture(scope="module")
def written(out: Path) -> dict[str, Written]:
    """Two families of six edits; the second one is not built yet."""
    settings = ["unit_size=6", "edits.per_scene=6"]
    return {one.key: one for one in write_scenes(out, 12, missing=[("pair", 1)], settings=settings)}


@pytest.fixture(scope="module")
def page(out: Path, written: dict[str, Written]) -> Path:
    assert written
    return Path(run_gallery(str(out), quiet=True)["gallery"]).with_name("families.html")


@pytest.fixture(scope="module")
def of_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A family of 33 states, from shards: edges from its source to all others, and between some of them."""
    folder = tmp_path_factory.mktemp("shards")
    ends = {f"s-{state}": f"0 {state}" for state in range(1, 33)} | {"s-comp": "1 2", "s-inv": "2 1"}
    changes = {key: with_family(key, "s-1", states) for key, states in ends.items()}
    make_split(out_of(folder), [list(ends)], changes=changes, version=FAMILY_VERSION)
    return Path(run_gallery(str(folder), str(folder / "g"), quiet=True)["gallery"]).with_name("families.html")


def cells(found: Look) -> dict[tuple[str, str], tuple[str, str, str]]:
    """The matrix: by row and column, the kind of the edge, its state and the key of its sample."""
    script = """() => {
        const heads = [...document.querySelectorAll('.graph thead th')].map((one) => one.textContent);
        return [...document.querySelectorAll('.graph tbody tr')].flatMap((row) =>
            [...row.querySelectorAll('td')].flatMap((cell, column) => [...cell.querySelectorAll('a')].map((edge) => [
                row.querySelector('th').textContent, heads[column], edge.textContent, edge.classList[1],
                new URLSearchParams(new URL(edge.href).hash.slice(1)).get('open')])));
    }"""
    return {(row, column): (kind, state, key) for row, column, kind, state, key in found.page.evaluate(script)}


def edited(one: Written) -> str:
    """What tells the edited object of a sample from those of others."""
    if one.facts is None:
        return "not known"
    number = one.facts.edit.object
    return next((f"{number} {item.asset}" for item in one.facts.objects if item.id == number), one.facts.edit.kind)


def family_of_plan(out: Path, unit: int) -> dict[str, tuple[int, int]]:
    return states_of(open_build(str(out)).plan.rows(unit))


def test_states_and_edges_of_a_build(page: Path, out: Path, written: dict[str, Written], look: Opens):
    found = look(page, f"#family={FIRST}")
    found.page.wait_for_selector("#instructions li")
    planned = family_of_plan(out, 0)
    assert found.page.locator("figcaption .number").all_inner_texts() == [str(state) for state in range(7)]
    captions = found.page.locator("figcaption .text").all_text_contents()
    assert captions[0] == "source of the scene"
    assert captions[1] == written[FIRST].text
    assert cells(found) == {
        (str(source), str(target)): (written[key].kind, written[key].state, key)
        for key, (source, target) in planned.items()
    }
    assert found.count("#instructions li") == len(planned) == 24
    assert found.count(".graph .self") == 7
    rejected = [key for key in planned if written[key].state == "rejected"]
    assert len(rejected) >= 3
    assert f"{24 - len(rejected)} accepted, {len(rejected)} rejected" in found.page.inner_text(".head")
    for key in rejected:
        source, target = planned[key]
        line = found.page.locator("#instructions li", has=found.page.locator(f"a[title={key}]"))
        assert line.locator(".ends").inner_text() == f"{source} → {target}"
        reason = line.locator(".chip.rejected").inner_text()
        assert reason in {f"{layer}: {layer}_is_bad" for layer in ("pair", "screen", "checks")}
        title = found.page.locator(f".edge[href$='open={key}']").get_attribute("title")
        assert f"rejected ({reason})" in title


def test_instructions_are_in_groups_of_the_edited_object(page: Path, written: dict[str, Written], look: Opens):
    found = look(page, f"#family={FIRST}")
    found.page.wait_for_selector("#instructions li")
    script = """() => [...document.querySelectorAll('.group')].map((group) =>
        [group.querySelector('h3').textContent, [...group.querySelectorAll('.ends')].map((one) => one.title)])"""
    groups = found.page.evaluate(script)
    things = [{edited(written[key]) for key in keys} for _, keys in groups]
    assert all(len(same) == 1 for same in things)
    assert len(set().union(*things)) == len(groups) >= 3
    for title, (first, *_) in groups:
        facts = written[first].facts
        names = {item.id: item.name for item in facts.objects} if facts else {}
        assert title == (names.get(facts.edit.object, facts.edit.kind) if facts else "not known")


def test_a_family_that_is_not_built_yet(page: Path, out: Path, look: Opens):
    found = look(page, f"#family={SECOND}")
    found.page.wait_for_selector("#instructions li")
    assert len(cells(found)) == len(family_of_plan(out, 1))
    assert {state for _, state, _ in cells(found).values()} == {"waiting"}
    assert found.count("figure .missing") == 7
    assert "24 not built yet" in found.page.inner_text(".head")
    assert "not finished" in found.page.inner_text("#notes")


def test_images_of_shards(of_shards: Path, look: Opens):
    found = look(of_shards, "#family=s-1")
    found.page.wait_for_selector("#instructions li")
    found.page.wait_for_function(
        "() => [...document.querySelectorAll('figure img')].slice(0, 6).every((one) => one.naturalWidth === 24)"
    )
    assert found.count("figure img") == 33
    paths = found.page.locator("figure img").evaluate_all("(all) => all.map((one) => one.getAttribute('src'))")
    assert paths[:2] == ["media/00000/s-1.source.webp", "media/00000/s-1.target.webp"]
    assert paths[32] == "media/00000/s-32.target.webp"
    assert len(cells(found)) == 34
    assert cells(found)["2", "1"] == ("translate", "accepted", "s-inv")


def test_links_between_cards_and_families(page: Path, written: dict[str, Written], look: Opens):
    found = look(page)
    assert found.count(".tile") == 2
    found.page.locator(".tile").first.click()
    found.page.wait_for_selector("#instructions li")
    found.page.locator(".edge", has_text=written[f"{FIRST}-inv"].kind).first.click()
    found.page.wait_for_selector("#card[open] a.chip")
    key = found.page.inner_text("#card .key")
    assert key in written
    found.page.click("#card a.chip")
    found.page.wait_for_selector("#instructions li")
    assert found.hash == f"#family={FIRST}"
    found.page.keyboard.press("ArrowRight")
    found.page.wait_for_function("(key) => document.querySelector('.head .key').textContent === key", arg=SECOND)
    assert found.page.locator("button[title^=Next]").is_disabled()
    found.page.keyboard.press("ArrowLeft")
    found.page.wait_for_function("(key) => document.querySelector('.head .key').textContent === key", arg=FIRST)
    found.page.locator(".head a", has_text="samples").click()
    found.page.wait_for_selector(".tile .pictures")
    assert found.page.inner_text("#count") == "24 of 48 samples"
    found.page.locator("#pages a", has_text="Families").click()
    found.page.wait_for_selector(".tiles")


def test_a_family_that_is_not_in_the_gallery(page: Path, look: Opens):
    found = look(page, "#family=no-such-family")
    assert "No family no-such-family is in this gallery." in found.page.inner_text("#nothing")
    assert found.count("section") == 0
    found.page.click("#nothing a")
    found.page.wait_for_selector(".tiles")


def test_samples_without_a_family_have_no_link(gallery: Path, look: Opens):
    found = look(gallery / "index.html", "#open=rotate-train-uid001")
    found.page.wait_for_selector("#card[open] .stage")
    assert found.count("#card a.chip") == 0
    assert found.page.locator("#pages").inner_text() == "Funnel"
    found = look(gallery / "families.html")
    assert "No samples of this gallery share a scene." in found.page.inner_text("main")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_large_family_fits_a_phone(of_shards: Path, look: Opens, scheme: str):
    found = look(of_shards, "#family=s-1", width=390, scheme=scheme)
    found.page.wait_for_selector("#instructions li")
    assert found.page.evaluate("document.documentElement.scrollWidth") == 390
    assert found.page.evaluate("document.querySelector('.scroll').scrollWidth") > 1000
