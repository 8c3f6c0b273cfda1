"""A phrase with its meaning, and the parts of patterns that several phrases share."""

import re
from dataclasses import dataclass
from typing import Final

CLOSED: Final = (
    r"(?=$| (?:,|and|by|in|on|as|from|so|until|to|slightly|a bit|a little|at|further|then|\d[\d.]*|along|about|around"
    r"|roughly|approximately|without|when|closer|nearer|towards?|away|farther|up|down|seen|viewed|if|while|of where"
    r"|before|than|with|should|must|shall|ought|needs?|has|have|is|are|was|will|would|could|gets?|becomes?)(?: |$))"
)
"""What may follow a word that is not an adjective: the end, or a word that starts no noun phrase."""
NOT_NAMED: Final = r"(?<!\bthe )(?<!\ba )(?<!\ban )(?<!\bits )(?<!\btheir )(?<!\bthis )"
IMAGE: Final = r"(?:image|picture|frame|photo(?:graph)?|view|shot|scene|screen)"
VIEWER: Final = r"(?:viewer|camera|observer|photographer|onlooker|spectator|beholder|image|picture|lens)"
NOUN: Final = r"(?:the|a|an|that|this) (?:[\w-]+ )*?[\w-]+"
EYE: Final = r"(?:point of view|viewpoint|perspective|view|vantage point|side)"
SEEN: Final = r"(?:as )?(?:seen|viewed|looked at) (?:from|by)|from|in"
SIDE: Final = r"(?:[- ]hand)?(?: side)?"
SPACE: Final = r"(?:scene|image|picture|photo|frame|room|view|shot)"
DETERMINER: Final = r"(?:the|an?|its|their|his|her|my|your|our|this|that|these|those|another|one of the|each other)"

RESTS: Final = r"(?:stands?|sits?|lies?|rests?|leans?|hangs?)"
RESTING: Final = (
    r"(?:standing|sitting|lying|resting|leaning|hanging|located|found|situated|perched|seated|sleeping)"
    r"(?: (?:open|flat|upright|around|alone|idle|unused|abandoned|face down|upside down|sideways))?"
)
MODAL: Final = "should|must|shall|ought to|needs? to|has to|have to|has|is|are|gets?|to|now|will|would|could"


@dataclass(frozen=True)
class Marker:
    """A phrase and its meaning. `value` may refer to groups of the match: `{1}`."""

    kind: str
    pattern: re.Pattern[str]
    value: str = ""


def marker(kind: str, pattern: str, value: str = "") -> Marker:
    """A phrase given as a regular expression, which ends at the end of a word."""
    return Marker(kind, re.compile(rf"(?:{pattern})(?![\w'-])"), value)


def markers(kind: str, value: str, *patterns: str) -> list[Marker]:
    """Phrases of one kind and meaning."""
    return [marker(kind, pattern, value) for pattern in patterns]
