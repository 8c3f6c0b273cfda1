"""What a gallery tells of one sample, from a layer's columns or from a shard's record: plain values.

Only facts that a page shows are kept; poses and matrices stay where they are.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

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
)


@dataclass
class Entry:
    """One sample as the gallery shows it."""

    key: str
    split: str
    kind: str
    state: State = "waiting"
    because: str = ""
    """`layer: reason` of what was refused; the first `layer` that is not made; empty where it is accepted."""
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    """What its card tells; see `tell`."""
    scores: dict[str, float] = field(default_factory=dict[str, float])
    """Those that were measured."""
    media: list[str] = field(default_factory=list[str])
    """The members that there are, as `source.webp`."""

    @property
    def text(self) -> str:
        return str(self.facts.get("instruction", {}).get("text", ""))

    @property
    def objects(self) -> list[dict[str, Any]]:
        return self.facts.get("objects", [])

    @property
    def category(self) -> str:
        """Of the edited object; empty for camera edits, and where it is not known yet."""
        edited = self.facts.get("edit", {}).get("object", 0)
        return next((str(thing["category"]) for thing in self.objects if thing["id"] == edited), "")

    @property
    def names(self) -> list[str]:
        """What the objects may be called, each once."""
        return list(dict.fromkeys(str(thing[part]) for thing in self.objects for part in ("name", "category")))

    def tell(self, facts: Mapping[str, Any]) -> None:
        """Take what `PairFacts` and `SampleRecord` have in common."""
        self.facts["dataset"] = facts["dataset"]
        self.facts["edit"] = facts["edit"]
        self.facts["objects"] = [{name: thing[name] for name in _OBJECT} for thing in facts["objects"]]
        camera = facts["camera"]["target"]
        self.facts["camera"] = {"known": camera["known"], "focal": camera["focal"], "K": camera["K"]}

    def measure(self, scores: Mapping[str, Any]) -> None:
        """Take the scores that were measured."""
        self.scores |= {
            name: float(value) for name, value in scores.items() if isinstance(value, int | float) and value != -1
        }

    def card(self) -> dict[str, Any]:
        """All that the page of the sample needs."""
        return {**self.facts, "key": self.key, "scores": self.scores, "media": self.media}


def parsed(text: Any) -> dict[str, Any]:
    """A JSON object; empty for empty text and for what is none."""
    try:
        found = json.loads(str(text)) if text else {}
    except ValueError:
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def told_maps(maps: Mapping[str, Mapping[str, Any]], members: Iterable[str]) -> dict[str, Any]:
    """How to read the maps that are there."""
    return {name: dict(maps[name]) for name in members if name in maps and maps[name]["estimator"]}
