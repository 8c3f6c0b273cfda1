"""Galleries of small builds, and a Chromium to open them; tests that need it are skipped without one."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.chromium import find_chromium, open_browser
from tests.needs import needs
from tests.pipeline.command_line import build, run
from tests.pipeline.releases import write_release


@dataclass
class Look:
    """A page of the browser, and its errors."""

    page: Any
    errors: list[str] = field(default_factory=list[str])

    @property
    def tiles(self) -> list[str]:
        """The keys in the grid, row by row."""
        keys = "[...document.querySelectorAll('.tile')].sort((a, b) => a.dataset.rank - b.dataset.rank)"
        return self.page.evaluate(f"{keys}.map((tile) => tile.querySelector('.key').textContent)")

    @property
    def hash(self) -> str:
        return str(self.page.evaluate("location.hash"))

    def count(self, selector: str) -> int:
        return self.page.locator(selector).count()


@pytest.fixture(scope="session")
@needs("browser")
def browser() -> Iterator[Any]:
    if find_chromium() is None:
        pytest.skip("no Chromium on PATH: `make test` installs one where it may")
    with open_browser() as found:
        yield found


@pytest.fixture
def look(browser: Any) -> Iterator[Callable[..., Look]]:
    """Open a page from disk. At the end, assert that no page had an error or requested anything outside its folder."""
    contexts: list[Any] = []
    looks: list[Look] = []

    def open_page(
        index: Path, fragment: str = "", width: int = 1300, scheme: str = "light", ready: str = "html[data-ready]"
    ) -> Look:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page = context.new_page()
        found = Look(page)
        page.on("console", lambda message: message.type in ("error", "warning") and found.errors.append(message.text))
        page.on("pageerror", lambda error: found.errors.append(str(error)))
        page.on("requestfailed", lambda request: found.errors.append(f"failed: {request.url}"))
        page.on(
            "request",
            lambda asked: (
                None
                if asked.url.startswith((index.parent.as_uri(), "data:"))
                else found.errors.append(f"requested {asked.url}")
            ),
        )
        page.goto(index.as_uri() + fragment)
        page.wait_for_selector(ready)
        contexts.append(context)
        looks.append(found)
        return found

    yield open_page
    for context in contexts:
        context.close()
    assert [error for found in looks for error in found.errors] == []


@pytest.fixture(scope="session")
def index_of() -> Callable[[Path], dict[str, Any]]:
    """Read the index of a gallery, which the page loads first."""

    def read(folder: Path) -> dict[str, Any]:
        return values_of(folder / "data" / "index.js")[0]

    return read


def values_of(script: Path) -> list[Any]:
    """The arguments of the function call in a script of data/."""
    text = script.read_text(encoding="ascii").strip()
    inside = text[text.index("(") + 1 : -2]
    parts = [part.removesuffix(")") for part in inside.split("JSON.parse(")[1:]]
    return [json.loads(json.loads(part.removesuffix("), ").removesuffix(", "))) for part in parts]


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OUT with accepted samples, one that was rejected before it had pictures, and unfinished ones."""
    folder = tmp_path_factory.mktemp("mixed")
    root, out = write_release(folder / "release", 12), folder / "out"
    image = root / "translate/train/uid000/2.png"
    image.write_bytes(image.read_bytes()[:300])
    assert build(root, out).code == 0
    for file in out.glob("layers/checks-*/00000003.*"):
        file.unlink()
    for file in out.glob("layers/line-*/00000003.*"):
        file.unlink()
    return out


@pytest.fixture(scope="session")
def gallery(mixed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gallery of `mixed`."""
    place = tmp_path_factory.mktemp("gallery") / "größe #1 数据"
    result = run("view", mixed, "--out", place)
    assert result.code == 0, result
    return place
