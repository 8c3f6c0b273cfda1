"""The funnel page in Chromium: it fits a phone, choices work without scripts, links filter the gallery."""

from collections.abc import Callable
from pathlib import Path

import pytest

from spatialdata_builder.pipeline.commands.view import run_gallery
from tests.pipeline.report.gallery.conftest import Look
from tests.pipeline.report.gallery.scenes import write_scenes

DRAWN = "rect.accepted"


@pytest.fixture(scope="module")
def funnel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("funnel") / "out"
    write_scenes(out, 96)
    return Path(run_gallery(str(out), quiet=True)["gallery"]).with_name("funnel.html")


def test_on_a_phone(funnel: Path, look: Callable[..., Look]):
    colors = set()
    for scheme in ("light", "dark"):
        page = look(funnel, width=390, scheme=scheme, ready=DRAWN).page
        colors.add(page.evaluate("getComputedStyle(document.querySelector('rect.accepted')).fill"))
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert page.locator(".part:visible").count() == 1
        before = page.locator(".part:visible").inner_text()
        page.locator(".choice label").nth(1).click()
        assert page.locator(".part:visible").count() == 1
        assert page.locator(".part:visible").inner_text() != before
        assert page.locator("rect.accepted").first.bounding_box()["height"] > 1
    assert len(colors) == 2


def test_its_links_filter_the_gallery(funnel: Path, look: Callable[..., Look]):
    found = look(funnel, ready=DRAWN)
    cell = found.page.locator(".part:visible td a").first
    number = int(cell.inner_text().split()[0])
    cell.click()
    found.page.wait_for_selector(".tile")
    assert found.page.url.startswith(funnel.with_name("index.html").as_uri())
    assert found.page.locator("#count").inner_text().split()[0] == str(number)
    found.page.locator("#pages a", has_text="Funnel").click()
    found.page.wait_for_selector(DRAWN)
