"""The values that a gallery shows for one sample, from a layer's columns or from a shard's record.

Only facts that a page shows are copied, not poses and matrices.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from .facts import supports_text
from .families import NO_EDGE, Edge
from .relations import relations_of

State = Literal["accepted", "rejected", "waiting"]
STATES: Final[tuple[State, ...]] = ("accepted", "rejected", "waiting")
_OBJECT: Final = (
    "id",
    "name",
    "category",
    "asset",
    "licence",
    "creator",
    "known",
    "size_m",
    "source_box",
    "target_box",
    "source_visible",
    "target_visible",
    "source_support",
    "target_support",
)


@dataclass
class Entry:
    """One sample in the gallery."""

    key: str
    split: str
    kind: str
    state: State = "waiting"
    because: str = ""
    """`layer: reason` of a rejected sample, or the first `layer` that is not computed; empty if accepted."""
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    """The content of its card; see `add_facts`."""
    scores: dict[str, float] = field(default_factory=dict[str, float])
    """The measured scores."""
    media: list[str] = field(default_factory=list[str])
    """The existing members, such as `source.webp`."""
    edge: Edge = NO_EDGE
    """Its place in its family."""

    @property
    def text(self) -> str:
        return str(self.facts.get("instruction", {}).get("text", ""))

    @property
    def objects(self) -> list[dict[str, Any]]:
        return self.facts.get("objects", [])

    @property
    def category(self) -> str:
        """Category of the edited object; empty for camera edits, and if not known yet."""
        edited = self.facts.get("edit", {}).get("object", 0)
        return next((str(item["category"]) for item in self.objects if item["id"] == edited), "")

    @property
    def support(self) -> str:
        """What the edited object stands on (`facts.supports_text`)."""
        edited = self.facts.get("edit", {}).get("object", 0)
        return next((supports_text(item) for item in self.objects if item["id"] == edited), "")

    def relations(self) -> tuple[str, ...]:
        """What the instruction says of the place of the edited object (`relations.relations_of`)."""
        edit = self.facts.get("edit")
        return relations_of(self.text, edit, self.objects) if edit and self.text else ()

    @property
    def names(self) -> list[str]:
        """Names and categories of the objects, each once."""
        return list(dict.fromkeys(str(item[part]) for item in self.objects for part in ("name", "category")))

    def add_facts(self, facts: Mapping[str, Any]) -> None:
        """Add the facts that `PairFacts` and `SampleRecord` have in common."""
        self.facts["dataset"] = facts["dataset"]
        self.facts["edit"] = facts["edit"]
        self.facts["scene"] = facts.get("scene", "")
        self.facts["objects"] = [{name: item[name] for name in _OBJECT if name in item} for item in facts["objects"]]
        camera = facts["camera"]["target"]
        self.facts["camera"] = {"known": camera["known"], "focal": camera["focal"], "K": camera["K"]}

    def add_scores(self, scores: Mapping[str, Any]) -> None:
        """Add the scores that were measured."""
        self.scores |= {
            name: float(value) for name, value in scores.items() if isinstance(value, int | float) and value != -1
        }

    def card(self) -> dict[str, Any]:
        """Everything that the page of the sample needs."""
        return {**self.facts, "key": self.key, "scores": self.scores, "media": self.media}


def parsed(text: Any) -> dict[str, Any]:
    """Parse a JSON object; empty if the text is empty or not a JSON object."""
    try:
        found = json.loads(str(text)) if text else {}
    except ValueError:
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def map_infos(maps: Mapping[str, Mapping[str, Any]], members: Iterable[str]) -> dict[str, Any]:
    """How to decode the maps among the members."""
    return {name: dict(maps[name]) for name in members if name in maps and maps[name]["estimator"]}
