"""Scripts and markup in untrusted metadata are shown as text and never run."""

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import pytest

from spatialdata_builder.pipeline.report.gallery.scripts import script
from spatialdata_builder.shards.reader import read_record
from spatialdata_builder.shards.schema import FAMILY_VERSION
from spatialdata_builder.shards.writer import encode_record
from tests.pipeline.command_line import run
from tests.pipeline.report.gallery.conftest import Look, values_of
from tests.shards.factory import make_sample, make_split, out_of, with_family

PLANTED = [
    "</script><script>window.ran = 1</script>",
    "<img src=x onerror='window.ran = 2'>",
    "\u2028window.ran = 3//\u2029",
    '\\"); window.ran = 4; ("',
    "${window.ran = 5}`+(window.ran = 6)+`",
    "<!--<script>window.ran = 7//-->",
    "数据 é \x00\x1b[31m 😀 javascript:window.ran=8",
]


@pytest.mark.parametrize("text", [*PLANTED, "\ud800"])
def test_data_in_scripts_is_only_data(tmp_path: Path, text: str):
    data = script("spatialdata.cards", 3, [{text: [text, None, True, 1.5]}])
    assert not {b"<", b">script"} & {data[i : i + 1] for i in range(len(data))}
    assert data.count(b"\n") == 1
    (tmp_path / "x.js").write_bytes(data)
    assert values_of(tmp_path / "x.js") == [3, [{text: [text, None, True, 1.5]}]]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of shards in which every text is a script."""
    folder = tmp_path_factory.mktemp("hostile")
    changes: dict[str, dict[str, bytes]] = {}
    for number, text in enumerate(PLANTED):
        key = f"planted-{number}"
        values = json.loads(with_family(key, PLANTED[1], f"0 {number + 1}")["json"])
        values |= {"caption": text, "source_caption": text, "dataset": text}
        values["instruction"] |= {"text": text, "variants": [text, text], "model": text}
        for item in values["objects"]:
            item |= dict.fromkeys(("name", "category", "asset", "licence", "creator"), text)
        values["maps"]["depth"] |= {"estimator": text, "revision": text}
        values["provenance"] |= {"plan": text, "layers": [text], "versions": [text]}
        changes[key] = {"json": encode_record(read_record(json.dumps(values).encode()))}
    make_split(out_of(folder), [list(changes)], changes=changes, version=FAMILY_VERSION)
    assert run("view", folder, "--out", folder / "gallery").code == 0
    return folder / "gallery"


def test_no_text_changes_the_writing_direction_of_others(tmp_path: Path):
    values = json.loads(make_sample("turned")["json"])
    turned = "a \u202egnp.exe\u2066"
    values |= {"caption": turned}
    values["instruction"] |= {"text": turned}
    for item in values["objects"]:
        item |= dict.fromkeys(("name", "category", "creator"), turned)
    changes = {"turned": {"json": encode_record(read_record(json.dumps(values).encode()))}}
    make_split(out_of(tmp_path), [["turned"]], changes=changes)
    assert run("view", tmp_path, "--out", tmp_path / "gallery").code == 0
    data = [values_of(file) for file in sorted((tmp_path / "gallery" / "data").glob("*.js"))]
    text = json.dumps(data, ensure_ascii=False)
    assert "a gnp.exe" in text and not {"\u202e", "\u2066"} & set(text)


def test_nothing_planted_runs(hostile: Path, look: Callable[..., Look]):
    found = look(hostile / "index.html")
    for number, text in enumerate(PLANTED):
        found.page.evaluate("(key) => { location.hash = `#open=${key}`; }", f"planted-{number}")
        found.page.wait_for_function(
            "(key) => document.querySelector('#card .key')?.textContent === key", arg=f"planted-{number}"
        )
        assert found.page.evaluate("document.querySelector('#card .instruction').textContent") == text
        for place in (".rights", ".variants", ".object b"):
            assert text in found.page.evaluate(f"document.querySelector('#card {place}').textContent")
        found.page.keyboard.press("1")
    found.page.keyboard.press("Escape")
    for text in PLANTED:
        found.page.fill("#search", text.split()[0])
        assert found.tiles
    assert found.page.evaluate("window.ran") is None
    assert found.count("script:not([src])") == found.count("#card img[onerror]") == 0


def test_nothing_planted_runs_in_a_family(hostile: Path, look: Callable[..., Look]):
    found = look(hostile / "families.html", f"#{urlencode({'family': PLANTED[1]})}")
    found.page.wait_for_selector("#instructions li")
    assert found.page.locator(".head .key").text_content() == PLANTED[1]
    assert found.page.locator("#instructions h3").all_text_contents() == PLANTED
    for number, text in enumerate(PLANTED):
        assert found.page.locator("#instructions li .text").nth(number).text_content() == text
        assert found.page.locator("figcaption .text").nth(number + 1).text_content() == text
    found.page.evaluate("(key) => { location.hash = new URLSearchParams({ family: key }); }", PLANTED[0])
    found.page.wait_for_selector("#nothing")
    assert PLANTED[0] in found.page.locator("#nothing").text_content()
    assert found.page.evaluate("window.ran") is None
    assert found.count("script:not([src])") == found.count("main img[onerror]") == 0


def test_a_script_in_the_page_would_not_run(hostile: Path, look: Callable[..., Look]):
    """The second protection: the page's content security policy."""
    found = look(hostile / "index.html")
    found.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=data: onerror=\"window.ran = 9\">')")
    found.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.ran = 10' }))"
    )
    found.page.wait_for_timeout(200)
    assert found.page.evaluate("window.ran") is None
    assert len(found.errors) >= 2
    found.errors.clear()
