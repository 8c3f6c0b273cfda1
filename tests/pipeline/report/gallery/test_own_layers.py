"""A user's own layers in the gallery: text is shown as text, images and label maps as pictures."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pipeline.command_line import run
from tests.pipeline.report.gallery.conftest import Look, values_of


@pytest.mark.slow
def test_they_are_in_both_galleries(owned: Path, tmp_path: Path):
    for source, name in ((owned, "build"), (owned / "shards" / "full", "shards")):
        place = tmp_path / name
        result = run("view", source, "--out", place)
        assert result.code == 0, result
        _, cards = values_of(place / "data" / "00000.js")
        own = [card for card in cards if "own" in card]
        assert own
        for card in own:
            assert card["own"]["caption"].startswith("A scene with ")
            assert set(card["own"]) == {"caption", "numbers", "source_numbers"}
            assert {"soft.webp", "source_soft.webp", "bands.png"} <= set(card["media"])
            assert (place / "media" / "00000" / f"{card['key']}.soft.webp").is_file()


def test_the_gallery_shows_them(owned: Path, tmp_path: Path, look: Callable[..., Look]):
    assert run("view", owned, "--out", tmp_path / "gallery").code == 0
    found = look(tmp_path / "gallery" / "index.html", "#open=translate-train-uid000")
    found.page.wait_for_selector("dialog[open] .map-tile[data-map=soft]")
    assert "A scene with " in found.page.locator("dialog section", has_text="Own layers").inner_text()
    found.page.locator(".map-tile[data-map=soft]").click()
    found.page.wait_for_function("() => document.querySelector('.side.target .map').naturalWidth === 64")
    assert found.count(".map-tile[data-map=bands]") == 1
