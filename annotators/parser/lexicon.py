"""Tables of the phrases that the parser knows: those of `spatial`, frames, turns, sizes, and words without meaning.

Invariant: a phrase has one meaning. Words that also occur in names of objects (`left`, `front`, `larger`, `scale`,
`stand`) count as phrases only where no noun can follow. Ambiguous phrases (`turn it to the left`) are in no table.
"""

import re
from typing import Final

from .markers import (
    CLOSED,
    EYE,
    IMAGE,
    MODAL,
    NOT_NAMED,
    NOUN,
    RESTING,
    RESTS,
    SEEN,
    SPACE,
    VIEWER,
    Marker,
    marker,
    markers,
)
from .spatial import directions, parts, relations, supports
from .text import NUMBER


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _frames() -> list[Marker]:
    return [
        *markers(
            "viewer",
            "",
            rf"(?:{SEEN}) (?:the )?{VIEWER}'s (?:own )?{EYE}|(?:{SEEN}) (?:our|your|my) {EYE}",
            rf"(?:as )?(?:seen|viewed) (?:from|by|in) the {VIEWER}|from (?:the camera|where we stand)|in the {IMAGE}",
            rf"(?:as|where) (?:the {VIEWER}|we|you) sees? (?:it|them)|from the viewing direction",
        ),
        *markers(
            "own frame",
            "",
            rf"(?:{SEEN}) (?:{NOUN}'s|its|their) (?:own )?{EYE}",
            rf"(?:as )?(?:seen|viewed) (?:from|by) {NOUN} (?:itself|themselves)|in (?:its|their) own frame",
        ),
    ]


def _turns() -> list[Marker]:
    above = r"above|the top(?! (?:of|shel|level))|overhead|a bird's[- ]eye view"
    side = r"(front|rear|back)(?: (left|right))?(?: side)?|(left|right)(?:-hand)? (?:side|profile)"
    seen = r"(?:(?:as|when|if) )?(?:seen|viewed|looking down|looked at)"
    shown = r"show|reveal|expose|display|see|look(?:ing)? at|view|present"
    us = rf"(?:the )?(?:{VIEWER}|us|you|me)"
    faces = (
        rf"(?:faces?|facing|(?:points?|pointing|turned|oriented|directed|aimed) (?:to|towards|at)|visible to|is towards"
        rf"|(?:looks?|looking|stares?|staring)(?: straight| directly)? (?:at|into)|(?:is|are) facing)"
        rf"(?: straight| directly)? {us}(?! side)"
    )
    beheld = r"(?:so (?:that )?)?(?:we|you) (?:can |may |could )?(?:see|view|look at) (?:it|them)"
    away = rf"(?:faces?|facing|points?|pointing|looks?|looking|turned)(?: directly)? away(?: from {us})?"
    return [
        marker("above", rf"{seen} from (?:{above})|from (?:{above})|looking down"),
        marker("below", rf"{seen} from (?:below|underneath|beneath)|from (?:below|underneath)"),
        marker(
            "turn",
            r"(?:in (?:a|the) )?(counterclockwise|clockwise)"
            r"(?: (?:direction|sense|manner|fashion|motion|turn|rotation(?: of(?= \d))?))?",
            "{1}",
        ),
        *markers(
            "view",
            "{1} {2} {3}",
            rf"(?:to |(?:so|until) (?:that )?(?:we|you)(?: are|'re)? (?:can )?)?(?:{shown}) (?:us )?"
            rf"(?:its|their|the|his|her) (?:own )?(?:{side})(?: view)?",
            rf"(?:until|so that|so|with)? ?(?:its|their|the) (?:own )?(?:{side}) "
            rf"(?:(?:is |are )?{faces}|is (?:visible|in view|seen|shown)|(?:can|may) be seen|comes into view)",
            rf"{beheld} from (?:its|their|the) (?:own )?(?:{side})",
            rf"from (?:its|their) (?:own )?(?:{side})",
        ),
        *markers("view", "front", rf"(?:so (?:that )?(?:it|they) )?(?:to )?(?:{faces})"),
        *markers(
            "view",
            "rear",
            rf"(?:so (?:that )?(?:it|they) )?(?:to )?(?:is |are )?{away}",
            rf"(?:with )?(?:its|their|his|her) back (?:turned )?(?:to|towards|on) {us}",
            rf"{beheld} from behind",
        ),
        *markers(
            "view",
            "{1} side",
            rf"(?:so (?:that )?(?:it|they) )?(?:faces?|facing|looks?|points?|pointing)"
            rf" (?:to(?:wards)? )?(?:the )?(left|right)(?:{CLOSED}|(?: side| edge)? of the {IMAGE})",
        ),
        *markers(
            "whirl",
            "",
            r"(?:so that its [\w-]+ )?(?:points?|faces?|facing)(?: to| in)?(?= 180 degrees)",
            r"in (?:its|their) (?:own )?place|to the side(?= so| until)|on the spot|in place|around",
            r"face another way|facing another way",
        ),
        marker("degrees", rf"(?:(?:by|through|of|with) )?(?:an angle of )?(?:a )?(?:full )?({NUMBER}) degrees", "{1}"),
        marker("axis", r"(?:about|around|on) (?:its|their|the) (?:own )?(?:vertical )?axis"),
    ]


def _sizes() -> list[Marker]:
    larger, smaller = "larger|bigger|greater|up in size", "smaller|tinier|less (?:big|large)"
    words = (
        "of|its|their|the|what|it|is|was|now|original|current|present|initial|former|previous|old|size|width|height"
        "|and width|and height|in (?:every|each) dimension|in all dimensions"
    )
    whole = rf"(?: (?:{words})\b)*"
    side = r"(?:large|big|tall|wide|high|small|size)"
    before = r"as (?:before|now|it (?:is|was)(?: now)?)"
    large = rf"(?: (?:as )?{side})?(?: and (?:as |{NUMBER} times as )?{side})?(?: {before})?"
    return [
        marker("width", rf"(?:by )?(?:about )?({NUMBER}) times (?:its|their) (?:own )?widths?", "{1}"),
        marker(
            "width", r"(?:by )?(?:about )?(?:its|their) (?:own )?width|(?:by )?(?:about )?(?:one|its own|a) width", "1"
        ),
        marker("larger", rf"{NOT_NAMED}(?:much |a lot |slightly |a bit |a little )?(?:{larger}){CLOSED}"),
        marker("smaller", rf"{NOT_NAMED}(?:much |a lot |slightly |a bit |a little )?(?:{smaller}){CLOSED}"),
        marker("times", rf"(?:(to|by) )?({NUMBER}) times(?: as)?{large}{whole}", "{1} {2}"),
        marker("factor", rf"by (?:a )?factor (?:of )?({NUMBER}){whole}|by ({NUMBER})(?= times|$)", "{1}{2}"),
        marker(
            "share",
            rf"(?:down |up )?(?:to|of) (?:about )?({NUMBER}) percent{whole}"
            rf"|({NUMBER}) percent as {side}(?: and (?:as )?{side})? {before}{whole}"
            rf"|(?:(?:is|be|becomes?) )?(?:only |just )?({NUMBER}) percent of(?= (?:its|their|what)\b){whole}",
            "{1}{2}{3}",
        ),
        marker("times", rf"to (0\.\d+) of (?:its|the|their){whole}", "to {1}"),
        marker("more", rf"(?:by )?({NUMBER}) percent", "{1}"),
        marker("becomes larger", rf"into an? (?:\w+ )?(?:{larger}) (?:one|version(?: of (?:itself|it))?)"),
        marker("becomes smaller", rf"into an? (?:\w+ )?(?:{smaller}) (?:one|version(?: of (?:itself|it))?)"),
        marker("size of", r"(?:the )?size of(?= )|in size"),
        marker("grown", rf"(up|down){CLOSED}", "{1}"),
    ]


MARKERS: Final[tuple[Marker, ...]] = (
    *supports(),
    *relations(),
    *directions(),
    *parts(),
    *_frames(),
    *_turns(),
    *_sizes(),
    marker("metres", rf"(?:by )?(?:about |around |roughly |approximately |some )?({NUMBER}) metres", "{1}"),
    marker(
        "gone",
        r"disappears?|vanish(?:es)?|go away|(?:must|should|has to|have to|needs? to) go(?=$| ,| and| please| entirely"
        r"| altogether)|(?:should |is |are )?(?:be )?gone"
        rf"|out of (?:the {SPACE}|here)|(?:should )?no longer be (?:there|seen|visible|in the {IMAGE})",
    ),
    marker("away", rf"away{CLOSED}"),
    marker(
        "that",
        rf"(?:that|which|who) (?:(?:is|are)(?: now| currently)?(?: {RESTING})?|(?:currently )?{RESTS})"
        rf"|(?:currently )?{RESTING}|(?<=, )(?:currently|now|presently)(?= (?:on|in(?! front)|under|inside|beneath)\b)"
        r"|to where (?:it|they) (?:is|are|stands?)"
        rf"|so (?:that )?(?:it|they) (?:is|are|{RESTS}|ends? up|appears?|comes? to (?:stand|rest))(?: {RESTING})?",
    ),
    marker("origin", r"from(?= (?:the (?:left|right)|behind|in front|between|next to|beside|inside)\b)"),
    marker("origin", r"out of(?= )|off(?= the)"),
    marker("beyond", r"(?:to|on|at) the (?:other|opposite|far) side of(?! the (?:room|scene|image|picture|frame)\b)"),
    # Phrases without a meaning here still end a noun phrase.
    marker(
        "open",
        r"(?:above|below|beneath|under|underneath|against|opposite(?: to)?|across from|beyond|past|outside(?: of)?"
        r"|among(?:st)?)(?= (?:the|an?|its|their)\b)",
    ),
    marker(
        "open", r"(?:one|two|three|a) shel(?:f|ves) (?:up|down|higher|lower|above|below)|face (?:up|down)|upside down"
    ),
    marker("out", r"out$"),
    marker("appears", r"(?:should |must |shall )?(?:appear|show up)s?"),
    marker("aux", rf"(?:in)?to the {SPACE}"),
    marker(
        "aux",
        rf"(?:{MODAL})?(?: ?(?:be|been|being|become|becomes|is|are|now|gets?|goes|ends? up|stands|sits|perches"
        rf"|lies|rests|has been|have been|belongs?|go(?= (?:in|on|into|onto|under|back|behind|next|between) )))"
        rf"|(?:{MODAL}|can|may|might) (?:now )?(?:go|sit|stand|lie|rest|end up|come|appear|get|turn out)",
    ),
)
"""At each position the longest match wins; of equally long matches, the first."""

FILLERS: Final = _words(
    """please kindly now just only simply about around roughly approximately slightly somewhat a bit little few over so
    that it they and then also by of to in at on down further centimetres where is are could you would like i we
    want need us both together with the for me scene image picture more much gently carefully entire whole , - ' same
    from straight directly exactly completely entirely fully noticeably considerably significantly diagonally
    horizontally sideways quickly again should must until any whole new instead afterwards too anymore namely
    ok okay yo hey lol thanks maybe perhaps possibly immediately neatly firmly safely softly slowly nicely
    properly already really"""
)
"""Words without meaning if they stand alone between phrases."""
PICTURES: Final = _words("scene image picture")
"""Fillers that may also name an object."""
ARTICLE: Final = re.compile(
    r"^(?:(?:all|both) (?:of )?(?=the |my |your |these |those ))?(?:the|an?|some|another|one more|one(?! (?:closest"
    r"|nearest|farthest|furthest|next|that|which|on|in|by|with)\b)|this|that|these|those|my|your|our|his|her) (?!of )"
)
NEW: Final = re.compile(r"^(?:an?|some|another|one more|one|two|three|four|five|six|several) (?!of )")
NO_NOUN: Final = _words(
    """to off out back forth should must shall would could might be been is are was were has have had does it its they
    their them we you us there here now currently still also that which who what when if because as than closer nearer
    farther further away up not or so until while forward backward towards upside ought"""
)
"""Words that end a noun phrase, unless they are its first word. What they start is not understood."""
SILENT: Final = _words("off forth has have had needs now currently still also to be")
"""Words of `NO_NOUN` that mean nothing if nothing else follows."""
NEAREST: Final = _words("nearest closest farthest furthest next")
"""Words after which a noun phrase continues (`the bottle nearest to the camera`)."""
WHOLE_SCENE: Final = _words("objects things items layout arrangement composition scene image picture photo")
"""Words for the scene as a whole (`rearrange the objects so that the ball is on the left`)."""
NOT_OBJECTS: Final = _words(
    "what whatever whichever whoever everything anything something nothing there one image photo scene frame all "
    "camera viewpoint view"
)
"""Words that never name the edited object."""

TAIL: Final = re.compile(
    r"(?<!nearest)(?<!closest)(?<!farthest) (?:so|until|to|across|along|from|into|onto|by|via|than|in (?:its|their)"
    r"|on the (?:other|opposite)|where)\b.*$"
)
"""What ends a noun phrase although it is no phrase of the lexicon."""
HARMLESS: Final = re.compile(
    r"(?:so(?: that)?|until|where) (?:it|they)|(?:across|along) the (?:floor|room|scene|ground|table)"
    r"|than (?:it|they|before|now)|from (?:its|their|the) (?:\w+ )?(?:place|position|spot|location)|to the (?:space"
    r"|spot|place|area)(?: right)?"
)
"""Tails without meaning of their own."""
