"""Markdown renderers show escaped text literally, whatever it contains."""

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
    """The text that a browser shows for a piece of HTML."""
    return html.unescape(re.sub(r"<[^>]*>", "", rendered)).strip()


@pytest.mark.parametrize("text", HOSTILE)
def test_escaped_text_is_shown_literally(text):
    rendered = MARKDOWN.render(escape(text))
    assert set(re.findall(r"</?(\w+)", rendered)) == {"p"}
    assert shown(rendered) == text


@pytest.mark.parametrize("text", HOSTILE)
def test_escaped_text_stays_inside_a_cell_or_a_list_item(text):
    rendered = MARKDOWN.render(table(["a", "b"], [[escape(text), code(text)], ["x", "y"]]))
    assert rendered.count("<tr>") == 3 and rendered.count("<td") == 4
    assert set(re.findall(r"</?(\w+)", rendered)) <= {"table", "thead", "tbody", "tr", "th", "td", "code"}
    cells = [shown(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", rendered)]
    assert cells == [text, text, "x", "y"]
    rendered = MARKDOWN.render(f"- {escape(text)}\n")
    assert set(re.findall(r"</?(\w+)", rendered)) == {"ul", "li"}
    assert shown(rendered) == text


def test_line_breaks_controls_and_directional_marks_are_removed():
    assert escape("two\nlines\r\n\tand\x00more\u2028end") == "two lines and more end"
    assert escape("\u202egnp.exe\u2066") == "gnp.exe"
    assert escape("half \ud83d a pair") == "half ? a pair"


def test_the_text_of_a_link_cannot_change_its_address():
    rendered = MARKDOWN.renderInline(link("a](http://evil.example)", "https://example.org/1"))
    assert re.findall(r'href="([^"]*)"', rendered) == ["https://example.org/1"]
    assert shown(rendered) == "a](http://evil.example)"
    assert link("plain", "") == "plain"


def test_a_code_block_cannot_be_closed_by_its_text():
    rendered = MARKDOWN.render(fenced("a: 1\n```\n<b>\n", "yaml") + "\nafter\n")
    assert shown(rendered) == "a: 1\n```\n<b>\n\nafter"
    assert rendered.count("<pre>") == 1


def test_columns_of_numbers_are_right_aligned():
    assert table(["what", "n"], [["x", 1], ["y", 2.5]]).splitlines()[1] == "| --- | ---: |"
    assert table(["what"], []) == ""
