"""The page of the funnel in Chromium: it fits a phone, a choice works without a script, nothing is complained of."""

import shutil
from pathlib import Path

import pytest

from pipeline.report.gallery.funnel_page import write_funnel_page
from tests.pipeline.report.gallery.scenes import write_scenes

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")
def test_in_a_browser(tmp_path: Path):
    write_scenes(tmp_path / "out", 96)
    write_funnel_page(str(tmp_path / "out"), tmp_path / "page")
    complaints: list[str] = []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        colours = set()
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme=scheme)
            page.on("console", lambda message: complaints.append(message.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.goto((tmp_path / "page" / "funnel.html").as_uri())
            colours.add(page.evaluate("getComputedStyle(document.querySelector('rect.accepted')).fill"))
            assert page.evaluate("document.documentElement.scrollWidth") == 390
            assert page.locator(".part:visible").count() == 1
            before = page.locator(".part:visible").inner_text()
            page.locator(".choice label").nth(1).click()
            assert page.locator(".part:visible").count() == 1
            assert page.locator(".part:visible").inner_text() != before
            assert page.locator("rect.accepted").first.bounding_box()["height"] > 1
        browser.close()
    assert complaints == []
    assert len(colours) == 2
