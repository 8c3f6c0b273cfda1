"""The page in a browser: filters, sorting, cards, comparison, permalinks and keys, without errors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.report.gallery.conftest import Look

Opens = Callable[..., Look]
REJECTED = "translate-train-uid000"
KEY = "rotate-train-uid001"


@pytest.fixture
def look_in(look: Opens, gallery: Path) -> Opens:
    return lambda fragment="", **options: look(gallery / "index.html", fragment, **options)


def value(look: Look, name: str) -> Any:
    return look.page.locator(f".value[data-value={name}]")


def test_all_samples_with_their_pictures(look_in: Opens, index_of: Callable[[Path], dict[str, Any]], gallery: Path):
    found = look_in()
    assert found.tiles == index_of(gallery)["key"]
    assert found.page.inner_text("#count") == "16 samples"
    found.page.wait_for_function(
        "() => [...document.querySelectorAll('.tile img')].every((one) => one.naturalWidth === 64)"
    )
    assert found.count(".tile img") == 30
    rejected = found.page.locator(".tile", has_text=REJECTED)
    assert "unreadable_image" in rejected.inner_text()
    assert "not finished" in found.page.inner_text("#notes")


def test_filters_by_facet_text_and_score(look_in: Opens):
    found = look_in()
    value(found, "rotate").click()
    assert found.tiles == [
        f"rotate-{name}" for name in ("train-uid001", "train-uid004", "train-uid010", "test-unseen-uid007")
    ]
    assert value(found, "rotate").get_attribute("aria-pressed") == "true"
    assert value(found, "translate").inner_text().split() == ["translate", "4"]
    value(found, "test").click()
    assert found.tiles == ["rotate-test-unseen-uid007"]
    assert found.hash == "#edit=rotate&split=test"
    found.page.click("#clear")
    assert len(found.tiles) == 16
    value(found, "rejected").click()
    assert found.tiles == [REJECTED]
    value(found, "waiting").click()
    assert len(found.tiles) == 5
    found.page.click("#clear")
    found.page.fill("#search", "uid001 DEGREES")
    assert found.tiles == [KEY]
    found.page.fill("#search", "nothing like it")
    assert found.page.is_visible("#nothing")
    found.page.fill("#search", "")
    low = found.page.locator(".score-range", has_text="displacement px").locator("input.low")
    low.evaluate("(one) => { one.value = 900; one.dispatchEvent(new Event('input')); }")
    found.page.wait_for_function("() => location.hash.includes('score.displacement_px')")
    assert found.tiles
    assert all(key.startswith("translate") for key in found.tiles)


def test_sorting_puts_missing_scores_last(look_in: Opens, gallery: Path, index_of: Callable[[Path], dict[str, Any]]):
    found = look_in()
    found.page.select_option("#sort", "psnr_unchanged")
    index = index_of(gallery)
    scores = dict(zip(index["key"], index["scores"]["psnr_unchanged"], strict=True))
    measured = [scores[key] for key in found.tiles if scores[key] is not None]
    assert measured == sorted(measured)
    assert len(measured) < 16
    assert all(scores[key] is None for key in found.tiles[len(measured) :])
    found.page.click("#direction")
    assert found.hash == "#sort=-psnr_unchanged"
    again = [scores[key] for key in found.tiles if scores[key] is not None]
    assert again == measured[::-1]
    assert "psnr unchanged" in found.page.locator(".tile").first.inner_text()


def test_permalinks_hold_the_whole_state(look_in: Opens):
    found = look_in(f"#q=mug&edit=rotate%7Cinsert&sort=-displacement_px&open={KEY}")
    found.page.wait_for_selector("#card[open] .stage")
    assert found.page.inner_text("#card .key") == KEY
    assert found.page.input_value("#search") == "mug"
    assert found.page.input_value("#sort") == "displacement_px"
    assert {key.partition("-")[0] for key in found.tiles} == {"rotate", "insert"}
    found.page.keyboard.press("Escape")
    assert not found.page.is_visible("#card")
    assert "open=" not in found.hash
    assert "sort=-displacement_px" in found.hash
    found.page.locator(".tile").nth(1).click()
    found.page.wait_for_selector("#card[open]")
    assert "open=" in found.hash
    found.page.go_back()
    found.page.wait_for_selector("#card[open]", state="hidden")
    other = look_in("#open=no-such-key&sort=__proto__&score.constructor=1..2&edit=none")
    assert "no-such-key" in other.page.inner_text("#nothing")
    assert len(other.tiles) == 16


def at(found: Look, x: float) -> None:
    box = found.page.locator(".stage").bounding_box()
    found.page.mouse.click(box["x"] + x * box["width"], box["y"] + box["height"] / 2)


def test_slider_flicker_and_single_views(look_in: Opens):
    found = look_in(f"#open={KEY}")
    found.page.wait_for_selector(".stage .picture")
    clip = "getComputedStyle(document.querySelector('.side.target')).clipPath"
    at(found, 0.25)
    left = float(found.page.evaluate(clip).split()[-1].rstrip("%)"))
    assert 20 < left < 30
    found.page.keyboard.press("x")
    assert found.page.locator(".side.source").is_visible()
    assert not found.page.locator(".side.target").is_visible()
    found.page.keyboard.press("x")
    assert not found.page.locator(".side.source").is_visible()
    found.page.keyboard.press("x")
    found.page.keyboard.press("f")
    for side in ("target", "source", "target"):
        found.page.wait_for_selector(f".stage[data-mode={side}]")
    found.page.keyboard.press("f")
    assert found.page.get_attribute(".stage", "data-mode") == "slider"


def test_keys_in_grid_and_card(look_in: Opens):
    found = look_in()
    found.page.keyboard.press("?")
    assert found.page.is_visible("#help")
    found.page.keyboard.press("Escape")
    found.page.keyboard.press("/")
    found.page.keyboard.type("rotate")
    assert len(found.tiles) == 4
    found.page.keyboard.press("Escape")
    found.page.keyboard.press("ArrowRight")
    found.page.keyboard.press("ArrowRight")
    found.page.keyboard.press("Enter")
    found.page.wait_for_selector("#card[open]")
    assert found.page.inner_text("#card .key") == "rotate-train-uid004"
    found.page.keyboard.press("ArrowLeft")
    found.page.wait_for_function("() => document.querySelector('#card .key').textContent === 'rotate-train-uid001'")
    found.page.keyboard.press("ArrowLeft")
    assert found.page.inner_text("#card .key") == "rotate-train-uid001"
    found.page.keyboard.press("Escape")
    # The dialog gives the focus back in an event after it has closed.
    focused = "document.activeElement.querySelector('.key')?.textContent"
    found.page.wait_for_function(f"() => {focused} === 'rotate-train-uid001'")


def test_maps_and_overlays(look_in: Opens):
    found = look_in(f"#open={KEY}")
    found.page.wait_for_selector(".stage .picture")
    names = found.page.locator(".map-tile .name").all_inner_texts()
    assert names == ["changed", "instances", "segment", "line"]
    found.page.hover(".map-tile[data-map=segment]")
    shown = found.page.locator(".side.target .map")
    assert shown.is_visible()
    assert shown.get_attribute("src").endswith(f"{KEY}.segment.png")
    assert "url" in shown.evaluate("(one) => one.style.filter")
    assert found.page.locator(".side.source .map").get_attribute("src").endswith(f"{KEY}.source_segment.png")
    found.page.mouse.move(5, 5)
    assert not shown.is_visible()
    found.page.keyboard.press("4")
    assert shown.get_attribute("src").endswith(f"{KEY}.line.png")
    found.page.keyboard.press("4")
    assert not shown.is_visible()
    found.page.keyboard.press("b")
    assert found.count(".side.target .boxes rect") == 2
    found.page.keyboard.press("m")
    assert found.count(".side.source .mask") == found.count(".side.target .mask") == 1
    assert found.page.locator(".object").first.get_attribute("aria-pressed") == "true"
    found.page.locator(".object").nth(1).hover()
    assert found.count(".side.target .mask") == 2


def test_a_rejected_sample_shows_its_reason_and_a_command(look_in: Opens, mixed: Path):
    found = look_in(f"#open={REJECTED}")
    found.page.wait_for_selector("#card[open]")
    result = found.page.inner_text("#card")
    assert "unreadable_image" in result
    assert f"spatialdata why {mixed} {REJECTED}" in result
    found.page.keyboard.press("f")  # no pictures, so nothing to flicker
    found.page.keyboard.press("ArrowRight")
    found.page.wait_for_selector(".stage .picture")
    result = found.page.inner_text("#card")
    assert "verified by geometry" in result
    assert "says translate, is translate" in result


@pytest.mark.parametrize("width", [390, 1300])
def test_nothing_is_wider_than_the_window(look_in: Opens, width: int):
    found = look_in(width=width)
    wide = "document.documentElement.scrollWidth"
    assert found.page.evaluate(wide) <= width
    if width < 500:
        assert not found.page.is_visible("#panel")
        found.page.click("#show-filters")
        assert found.page.is_visible("#panel")
        found.page.click("#show-filters")
    found.page.locator(".tile").nth(1).click()
    found.page.wait_for_selector("#card[open] .stage")
    assert found.page.evaluate("document.getElementById('card').scrollWidth") <= width


def test_light_and_dark(look_in: Opens):
    background = "getComputedStyle(document.documentElement).backgroundColor"
    dark, light = look_in(scheme="dark"), look_in(scheme="light")
    black, white = dark.page.evaluate(background), light.page.evaluate(background)
    assert black != white
    light.page.click("#theme")
    light.page.click("#theme")
    assert light.page.evaluate(background) == black
    light.page.reload()
    light.page.wait_for_selector("html[data-ready]")
    assert light.page.evaluate(background) == black
