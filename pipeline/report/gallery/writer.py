"""The files of a gallery: pictures, cards in blocks, and the index that the page filters and sorts.

In memory: the index (about 300 bytes per sample) and the cards of one block; no pictures.
"""

import os
from array import array
from pathlib import Path
from typing import Any, Final, cast

from ....shards import codecs
from ....shards.plain import strip_directional_marks
from ....shards.schema import SPLITS, Scores
from ..palette import label_palette, turbo
from .entry import STATES, Entry
from .families import FAMILIES_PAGE, Edge, family_columns
from .scripts import script

BLOCK: Final = 64
"""Samples whose cards are in one script, and whose pictures are in one folder."""
PAGES: Final = {FAMILIES_PAGE: "Families", "funnel.html": "Funnel"}
"""Pages beside the page of samples; the bar at the top links to those that have content."""
_COLUMNS: Final = ("kind", "split", "state", "because", "category", "scene", "support", "relation", "media")
_MISSING: Final = float("nan")


class _Dictionary:
    """Assigns numbers to texts, in order of appearance."""

    def __init__(self, *texts: str) -> None:
        self.numbers: dict[str, int] = {text: number for number, text in enumerate(texts)}

    def __call__(self, text: str) -> int:
        return self.numbers.setdefault(text, len(self.numbers))


class GalleryWriter:
    """Writes pictures and entries, given in the order of the gallery; `finish` writes the index."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._media, self._data = f"{folder}/media", folder / "data"
        self._data.mkdir()
        self._folders: set[int] = set()
        self._cards: list[dict[str, Any]] = []
        self._keys: list[str] = []
        self._texts: list[str] = []
        self._named: list[list[int]] = []
        self._columns = {name: array("l") for name in _COLUMNS}
        self._edges: list[Edge] = []
        self._scores = {name: array("d") for name in Scores.model_fields}
        self._kinds, self._splits, self._reasons = _Dictionary(), _Dictionary(*SPLITS), _Dictionary("")
        self._categories, self._names, self._fields = _Dictionary(""), _Dictionary(), _Dictionary()
        self._scenes, self._supports, self._relations = _Dictionary(""), _Dictionary(""), _Dictionary()
        self.bytes = 0
        """Size of all pictures."""
        self.size = (1, 1)
        """Width and height of the first picture; tiles have its aspect ratio."""

    @property
    def samples(self) -> int:
        return len(self._keys)

    @property
    def has_families(self) -> bool:
        """Whether the page of families has content."""
        return len(family_columns(self._edges)["families"]) > 1

    def put(self, position: int, key: str, field: str, data: Any) -> None:
        """Write one member of the sample at a position of the gallery: `field` as `source.webp`, data as bytes."""
        if self.size == (1, 1) and field.startswith("source."):
            self.size = codecs.image_size(bytes(data))
        block = position // BLOCK
        if block not in self._folders:
            Path(f"{self._media}/{block:05d}").mkdir(parents=True)
            self._folders.add(block)
        # Direct system calls: creating a file object takes longer than writing the file.
        file = os.open(f"{self._media}/{block:05d}/{key}.{field}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(file, left) :]
        finally:
            os.close(file)
        self.bytes += len(data)

    def add(self, entry: Entry) -> None:
        """Add the next sample, whose pictures are already written."""
        columns = self._columns
        self._keys.append(entry.key)
        self._texts.append(entry.text)
        self._edges.append(entry.edge)
        self._named.append([self._names(name) for name in entry.names])
        columns["kind"].append(self._kinds(entry.kind))
        columns["split"].append(self._splits(entry.split))
        columns["state"].append(STATES.index(entry.state))
        columns["because"].append(self._reasons(entry.because))
        columns["category"].append(self._categories(entry.category))
        columns["scene"].append(self._scenes(str(entry.facts.get("scene", ""))))
        columns["support"].append(self._supports(entry.support))
        columns["relation"].append(sum(1 << self._relations(said) for said in entry.relations()))
        columns["media"].append(sum(1 << self._fields(name) for name in entry.media))
        for name, values in self._scores.items():
            values.append(entry.scores.get(name, _MISSING))
        self._cards.append(entry.card())
        if len(self._cards) == BLOCK:
            self._flush()

    def finish(self, about: dict[str, Any]) -> None:
        """Write the index. `about`: facts about the whole dataset."""
        if self._cards:
            self._flush()
        scores = {name: [_rounded(value) for value in values] for name, values in self._scores.items()}
        index = {
            "about": {
                **about,
                **_colors(),
                "pages": self._pages(),
                "size": self.size,
                "block": BLOCK,
                "samples": self.samples,
            },
            "fields": list(self._fields.numbers),
            "kinds": list(self._kinds.numbers),
            "splits": list(self._splits.numbers),
            "states": STATES,
            "reasons": list(self._reasons.numbers),
            "categories": list(self._categories.numbers),
            "scenes": list(self._scenes.numbers),
            "supports": list(self._supports.numbers),
            "relations": list(self._relations.numbers),
            "names": list(self._names.numbers),
            "key": self._keys,
            "text": self._texts,
            "named": self._named,
            "scores": {name: values for name, values in scores.items() if any(value is not None for value in values)},
            **{name: list(values) for name, values in self._columns.items()},
            **family_columns(self._edges),
        }
        (self._data / "index.js").write_bytes(script("spatialdata.index", _undirected(index)))

    def _pages(self) -> list[dict[str, str]]:
        """The pages that have content."""
        written = [name for name in PAGES if (self._folder / name).is_file()]
        shown = [name for name in written if name != FAMILIES_PAGE or self.has_families]
        return [{"href": name, "title": PAGES[name]} for name in shown]

    def _flush(self) -> None:
        block = (self.samples - 1) // BLOCK
        (self._data / f"{block:05d}.js").write_bytes(script("spatialdata.cards", block, _undirected(self._cards)))
        self._cards = []


def _colors() -> dict[str, str]:
    """The color tables of the page: six hexadecimal digits per color."""
    return {"palette": label_palette(256).tobytes().hex(), "turbo": turbo().tobytes().hex()}


def _undirected(value: Any) -> Any:
    """Plain values without characters that change the writing direction of text beside them on the page."""
    if isinstance(value, str):
        return strip_directional_marks(value)
    if isinstance(value, dict):
        mapping = cast("dict[str, Any]", value)
        return {strip_directional_marks(name): _undirected(part) for name, part in mapping.items()}
    return [_undirected(part) for part in cast("list[Any]", value)] if isinstance(value, list | tuple) else value


def _rounded(value: float) -> float | None:
    """A value with five significant digits; None if not measured."""
    return None if value != value else float(f"{value:.5g}")
