"""Pieces of HTML: any text as a text, links into the gallery, bars."""

import html
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlencode

PAGE: Final = "index.html"


def esc(text: object) -> str:
    """Any text, fit for content and for attributes. What cannot be encoded becomes `?`."""
    return html.escape(str(text).encode("utf-8", "replace").decode(), quote=True)


def plain(text: str) -> str:
    """A text of strangers: it turns the order of nothing that stands beside it."""
    return f"<bdi>{esc(text)}</bdi>"


def permalink(**filters: str) -> str:
    """Address of the gallery, showing the samples of which all of these hold.

    Filters as `page/filters.js` knows them: state, reason (`layer: reason`), edit, split, category.
    """
    return f"{PAGE}#{urlencode(filters)}"


def link(content: str, **filters: str) -> str:
    """HTML that leads to those samples."""
    return f'<a href="{esc(permalink(**filters))}">{content}</a>'


def bar(parts: Iterable[tuple[str, float]]) -> str:
    """A bar of parts: class and share of the whole, 0 to 1. The numbers stand beside it, so it is not read out."""
    drawn = "".join(
        f'<i class="{kind}" style="width:{100 * share:.2f}%"></i>' for kind, share in parts if share > 0.00005
    )
    return f'<span class="track" aria-hidden="true">{drawn}</span>'


def table(head: Iterable[str], rows: Iterable[str], *, label: str, kind: str, foot: str = "") -> str:
    """A table in a box that scrolls where the screen is narrow; `head` and `rows` are HTML."""
    columns = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    tail = f"<tfoot>{foot}</tfoot>" if foot else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{esc(label)}"><table class="{kind}">'
        f"<thead><tr>{columns}</tr></thead><tbody>{''.join(rows)}</tbody>{tail}</table></div>"
    )
