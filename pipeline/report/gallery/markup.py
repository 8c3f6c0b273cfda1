"""HTML fragments: escaped text, links into the gallery, bars, tables."""

import html
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlencode

PAGE: Final = "index.html"


def esc(text: object) -> str:
    """Escape text for content and attributes. Characters that cannot be encoded become `?`."""
    return html.escape(str(text).encode("utf-8", "replace").decode(), quote=True)


def plain(text: str) -> str:
    """Escape untrusted text and isolate its writing direction from the surrounding text."""
    return f"<bdi>{esc(text)}</bdi>"


def permalink(**filters: str) -> str:
    """URL of the gallery with filters: the samples that match all of them.

    Filters are those of `page/filters.js`: state, reason (`layer: reason`), edit, split, category, scene, support,
    relation, family.
    """
    return f"{PAGE}#{urlencode(filters)}"


def link(content: str, **filters: str) -> str:
    """A link to the gallery with filters."""
    return f'<a href="{esc(permalink(**filters))}">{content}</a>'


def bar(parts: Iterable[tuple[str, float]]) -> str:
    """A bar of parts: class and share, 0 to 1. Hidden from screen readers, because the numbers are beside it."""
    drawn = "".join(
        f'<i class="{kind}" style="width:{100 * share:.2f}%"></i>' for kind, share in parts if share > 0.00005
    )
    return f'<span class="track" aria-hidden="true">{drawn}</span>'


def table(head: Iterable[str], rows: Iterable[str], *, label: str, kind: str, foot: str = "") -> str:
    """A table in a box that scrolls on narrow screens; `head` and `rows` are HTML."""
    columns = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    tail = f"<tfoot>{foot}</tfoot>" if foot else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{esc(label)}"><table class="{kind}">'
        f"<thead><tr>{columns}</tr></thead><tbody>{''.join(rows)}</tbody>{tail}</table></div>"
    )
