"""Whatever a text holds, a reader of Markdown shows the text, and nothing else."""

import html
import re

import pytest
from markdown_it import MarkdownIt
from spatialdata_builder.shards.markdown import code, escape, fenced, link, table

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "![pixel](http://tracker.example/p.png)",
    "</td></tr></table><h1>owned</h1>",
    "a | b | c",
    "`code` *bold* __bold__ ~~gone~~ $x$",
    "# heading",
    "- item",
    "+ item",
    "1. item",
    "2) item",
    "===",
    "---",
    "> quote",
    "&lt;b&gt; &#60; &amp;",
    "back\\slash\\",
    "http://evil.example www.evil.example who@evil.example",
    "[ref]: http://evil.example",
    "日本語のモデル — façade ✓",
    "שלום",
]
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def shown(rendered: str) -> str:
    """The text that a browser shows of a piece of HTML."""
    return html.unescape(re.sub(r"<[^>]*>", "", rendered)).strip()


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_is_shown_as_it_is(text):
    rendered = MARKDOWN.render(escape(text))
    assert set(re.findall(r"</?(\w+)", rendered)) == {"p"}
    assert shown(rendered) == text


@pytest.mark.parametrize("text", HOSTILE)
def test_a_cell_and_an_item_hold_it(text):
    rendered = MARKDOWN.render(table(["a", "b"], [[escape(text), code(text)], ["x", "y"]]))
    assert rendered.count("<tr>") == 3 and rendered.count("<td") == 4
    assert set(re.findall(r"</?(\w+)", rendered)) <= {"table", "thead", "tbody", "tr", "th", "td", "code"}
    cells = [shown(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", rendered)]
    assert cells == [text, text, "x", "y"]
    rendered = MARKDOWN.render(f"- {escape(text)}\n")
    assert set(re.findall(r"</?(\w+)", rendered)) == {"ul", "li"}
    assert shown(rendered) == text


def test_lines_controls_and_turned_text_stay_in_line():
    assert escape("two\nlines\r\n\tand\x00more\u2028end") == "two lines and more end"
    assert escape("\u202egnp.exe\u2066") == "gnp.exe"
    assert escape("half \ud83d a pair") == "half ? a pair"


def test_a_link_is_to_its_address_alone():
    rendered = MARKDOWN.renderInline(link("a](http://evil.example)", "https://example.org/1"))
    assert re.findall(r'href="([^"]*)"', rendered) == ["https://example.org/1"]
    assert shown(rendered) == "a](http://evil.example)"
    assert link("plain", "") == "plain"


def test_a_block_of_code_ends_where_it_should():
    rendered = MARKDOWN.render(fenced("a: 1\n```\n<b>\n", "yaml") + "\nafter\n")
    assert shown(rendered) == "a: 1\n```\n<b>\n\nafter"
    assert rendered.count("<pre>") == 1


def test_numbers_stand_at_the_right():
    assert table(["what", "n"], [["x", 1], ["y", 2.5]]).splitlines()[1] == "| --- | ---: |"
    assert table(["what"], []) == ""
