"""The verbs that the parser knows: which edit they ask for, and what they say of size.

Invariant: a verb stands for one kind of edit only, or for none alone (`make`); what turns an object about another axis
than the vertical one (`tilt`, `flip`, `lean`) or changes one dimension alone (`widen`) is no verb of ours.
"""

import re
from collections.abc import Mapping
from typing import Final

from ...shards.schema import EditKind

VERBS: Final[Mapping[EditKind, tuple[str, ...]]] = {
    "translate": (
        "move|shift|slide|push|pull|drag|bring|reposition|relocate|nudge|displace|transfer|carry|send|shove|transport"
        "|park|slot|scoot|roll|haul|translate|tow|guide|steer|hoist|return|rearrange|advance|bump|tuck",
        "moved|shifted|slid|pushed|pulled|dragged|brought|repositioned|relocated|nudged|displaced|transferred|carried"
        "|shoved|transported|parked|sent|translated|rolled|tucked",
    ),
    "rotate": (
        "rotate|turn|spin|pivot|swivel|twist|revolve|reorient|orient|face",
        "rotated|turned|spun|pivoted|swivelled|swiveled|twisted|reoriented|oriented",
    ),
    "scale": (
        "scale(?: up| down)?|upscale|downscale|blow(?: up)?|resize|rescale|enlarge|shrink|grow|magnify|expand|double"
        "|triple|halve|reduce|increase|decrease|inflate|diminish|upsize|downsize|miniaturi[sz]e",
        "scaled(?: up| down)?|upscaled|downscaled|resized|rescaled|enlarged|shrunk|magnified|expanded|doubled|tripled"
        "|halved|reduced|increased|decreased|inflated|diminished",
    ),
    "remove": (
        "remove|delete|erase|eliminate|discard|dispose of|do away with|hide|omit|get rid of|clear|cut|wipe|take out"
        "|take away|strip(?: the (?:picture|image|scene) of)?|throw (?:out|away)|toss out|edit out|crop out|exclude"
        "|subtract|scrub|withdraw",
        "removed|deleted|erased|eliminated|discarded|omitted|hidden|cleared|taken (?:out|away|off)|cut out|wiped"
        "|thrown (?:out|away)|edited out|excluded|withdrawn",
    ),
    "insert": (
        "add|insert|introduce|include|create|bring in|install|incorporate|integrate"
        r"|(?:put in|generate|render|draw|paint)(?= an? )"
        "|there (?:should |must |shall |can |could |needs to )?(?:now |also )?(?:be|is|are)(?= (?:now )?(?:an?|one|some"
        "|another)(?: |$))|let there be|(?:i want|we need|show)(?= an? )",
        "added|inserted|introduced|created|included|generated|installed",
    ),
}
"""Kind of edit: the verbs that ask for it, and their participles."""
PLACING: Final = "put|place|set|position|drop|stand|situate|settle|lay|plant|rest"
"""Of a thing that is there (`the mug`) a move, of a new one (`a mug`) an insertion."""
PLACED: Final = "put|placed|positioned|dropped|standing|situated"
LIGHT: Final = (
    "make|let|have|give|apply|take|get|grab|lift|pick up|edit|leave|change|adjust|alter|modify|perform|carry out"
    "|execute|do|swing|(?:show|present|display)(?! (?:us )?(?:its|their) )|set the size of|i want|i would like|i need"
)
"""They say nothing alone: what follows does (`make it larger`, `have it moved`, `take it away`)."""
NOUNS: Final[Mapping[str, str]] = {
    "translate": "shift|movement|translation|displacement|relocation|repositioning",
    "rotate": "rotation|turn|spin",
    "scale": "scaling|enlargement|reduction|shrinking|increase|decrease",
    "remove": "removal|deletion",
    "insert": "addition|insertion",
}
"""The same as nouns, before `of` (`a clockwise rotation of the fan`)."""
SIZES: Final[Mapping[str, tuple[str, float]]] = {
    "enlarge": ("larger", 0.0),
    "upscale": ("larger", 0.0),
    "upsize": ("larger", 0.0),
    "inflate": ("larger", 0.0),
    "grow": ("larger", 0.0),
    "magnify": ("larger", 0.0),
    "expand": ("larger", 0.0),
    "increase": ("larger", 0.0),
    "blow up": ("larger", 0.0),
    "scale up": ("larger", 0.0),
    "scaled up": ("larger", 0.0),
    "double": ("larger", 2.0),
    "triple": ("larger", 3.0),
    "downscale": ("smaller", 0.0),
    "downsize": ("smaller", 0.0),
    "miniaturise": ("smaller", 0.0),
    "miniaturize": ("smaller", 0.0),
    "diminish": ("smaller", 0.0),
    "shrink": ("smaller", 0.0),
    "shrunk": ("smaller", 0.0),
    "reduce": ("smaller", 0.0),
    "decrease": ("smaller", 0.0),
    "scale down": ("smaller", 0.0),
    "scaled down": ("smaller", 0.0),
    "halve": ("smaller", 0.5),
}
"""What verbs (participles too, less their `d`) say of size: the sense, and the factor where they name one."""


def verb_pattern(words: str) -> re.Pattern[str]:
    """Of alternatives, the longest first where one begins another."""
    return re.compile(rf"(?:{words})(?![\w'-])")


_GOES_ON: Final = (
    r"(?= (?:its|their|to|by|so|until|around|away|towards|clockwise|counterclockwise|the|\d|left|right)\b)"
)
_SOMEWHERE: Final = (
    r"(?=$| (?:,|in|inside|on|to|at|by|behind|between|beside|next|near|right|left|close|closer|alongside|adjacent"
    r"|directly|just|immediately|exactly|half|halfway|midway|away|farther|further|where|there|somewhere|upright"
    r"|against|under|beneath|above|below|opposite|with)\b)"
)
OPENING: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    *((kind, verb_pattern(base)) for kind, (base, _) in VERBS.items()),
    ("place", verb_pattern(PLACING)),
    ("light", verb_pattern(LIGHT)),
)
PARTICIPLES: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    *((kind, verb_pattern(past)) for kind, (_, past) in VERBS.items()),
    *((kind, re.compile(rf"(?:{nouns}) (?:of|in)(?= (?:size of )?(?:the|an?) )")) for kind, nouns in NOUNS.items()),
    ("place", verb_pattern(PLACED)),
)
AFTER_LIGHT: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    ("scale", verb_pattern("shrink|grow")),
    ("place", re.compile(rf"(?:stand|sit|rest|lie){_SOMEWHERE}")),  # not `take the hat stand out`
    ("rotate", re.compile(rf"(?:turn|rotate|spin|pivot|swivel){_GOES_ON}")),
    ("translate", re.compile(rf"(?:move|slide|shift){_GOES_ON}")),
)
"""Verbs behind what they are said of, as in `let the cone stand between them`."""
