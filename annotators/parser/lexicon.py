"""Tables of the phrases that the parser knows: places, directions, distances, turns and sizes.

Invariant: a phrase has one meaning. Words that also occur in names of objects (`left`, `front`, `larger`, `scale`,
`stand`) count as phrases only where no noun can follow. Ambiguous phrases (`turn it to the left`) are in no table.
"""

import re
from dataclasses import dataclass
from typing import Final

from .places import CONTAINER, SURFACE
from .text import NUMBER

CLOSED: Final = (
    r"(?=$| (?:,|and|by|in|on|as|from|so|until|to|slightly|a bit|a little|at|further|then|\d[\d.]*|along|about|around"
    r"|roughly|approximately|without|when|closer|nearer|towards?|away|farther|up|down|seen|viewed|if|while|of where"
    r"|before|than|should|must|shall|ought|needs?|has|have|is|are|was|will|would|could|gets?|becomes?)(?: |$))"
)
"""What may follow a word that is not an adjective: the end, or a word that starts no noun phrase."""
_NOT_NAMED: Final = r"(?<!\bthe )(?<!\ba )(?<!\ban )(?<!\bits )(?<!\btheir )(?<!\bthis )"
_IMAGE: Final = r"(?:image|picture|frame|photo(?:graph)?|view|shot|scene|screen)"
_VIEWER: Final = r"(?:viewer|camera|observer|photographer|onlooker|spectator|beholder|image|picture|lens)"
_NOUN: Final = r"(?:the|a|an|that|this) (?:[\w-]+ )*?[\w-]+"
_EYE: Final = r"(?:point of view|viewpoint|perspective|view|vantage point|side)"
_SEEN: Final = r"(?:as )?(?:seen|viewed|looked at) (?:from|by)|from|in"
_SIDE: Final = r"(?:[- ]hand)?(?: side)?"
_SPACE: Final = r"(?:scene|image|picture|photo|frame|room|view|shot)"
_DETERMINER: Final = r"(?:the|an?|its|their|his|her|my|your|our|this|that|these|those|another|one of the|each other)"

_RESTS: Final = r"(?:stands?|sits?|lies?|rests?|leans?|hangs?)"
_RESTING: Final = r"(?:standing|sitting|lying|resting|leaning|hanging|located|found|situated|perched|seated|sleeping)"
_MODAL: Final = "should|must|shall|ought to|needs? to|has to|have to|has|is|are|gets?|to|now|will|would|could"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


@dataclass(frozen=True)
class Marker:
    """A phrase and its meaning. `value` may refer to groups of the match: `{1}`."""

    kind: str
    pattern: re.Pattern[str]
    value: str = ""


def _marker(kind: str, pattern: str, value: str = "") -> Marker:
    return Marker(kind, re.compile(rf"(?:{pattern})(?![\w'-])"), value)


def _supports() -> list[Marker]:
    bare = (
        r"(?:[\w-]+ )?(?:table|desk|shelf|bookshelf|bookcase|counter|floor|sofa|couch|bed|chair|armchair|tray|windowsill"
        r"|cabinet|bowl|basket|box)(?=$| [,.]| (?:to|and|next|beside|near|behind|between|in|on|onto|into|from|under)\b)"
    )
    there = rf"(?= (?:(?:{_DETERMINER}|it|them)\b|{bare}))"
    not_there = (
        rf"(?! (?:the|an?|its|their) (?:(?:[\w-]+ )?(?:walls?(?! (?:shel|rack|unit|cabinet|cupboard))|ceiling|(?:side|end)s?(?! tables?\b)|spot|way|axis|angle"
        rf"|{_IMAGE})\b"
        rf"|(?:same|opposite|other|far) (?:side|end|spot|place|position|way)\b|{_VIEWER}'s|(?:left|right)(?:[- ]hand)?(?! (?:[\w-]+ )?(?:{SURFACE}|{CONTAINER})s?\b)\b)"
        r"| its base\b)"
    )
    carrier = (
        r"(?:(?!(?:behind|beside|between|near|next|in|on|at|under|from|of|to|into|onto|and|with|by|that|which|front|back"
        rf"|rear|side(?! table)|space|spot|place|area)\b|(?:left|right) (?:side|of|hand)\b)[\w-]+ ){{0,4}}?(?:\w+_)?(?:{SURFACE}|{CONTAINER})s?\b(?!'s (?:own )?(?:left|right))"
    )
    way = r"(?:(?:back|down|up|over|out|flat|upright|right|directly|straight) )*"
    carried = (
        r"(?:on top of|on|inside|in|upon|atop|under)(?: and (?:on|in|under))* (?:it|them)(?: (?:too|as well))?"
    )
    carried = rf"(?: [\w-]+){{0,6}}? {carried}"
    printed = r"(?:[\w-]+ ){0,2}(?:logos?|labels?|prints?|patterns?|stickers?|stripes?|dots?|letters|text|designs?|faces?)\b"
    return [
        _marker("stand", rf"{way}(?:on|(?:on )?(?:the )?(?:very )?top of|upon|atop){there}{not_there}", "on"),
        _marker("onto", rf"{way}(?:onto|on to)(?: (?:the )?top of)?{there}{not_there}", "on"),
        _marker("stand", rf"{way}(?:underneath|beneath|under|below){there}{not_there}", "under"),
        _marker("stand", rf"{way}in(?= (?:its|my|your|that|this) (?:[\w-]+ ){{0,3}}?{CONTAINER}\b)", "into"),
        _marker("off", rf"(?:up )?off(?: of)?{there}|(?:up )?from (?:on|upon|atop|(?:on )?(?:the )?top of){there}", "on"),
        _marker("off", rf"(?:out )?from (?:under|underneath|beneath|below){there}", "under"),
        _marker("off", rf"out of{there}(?! the {_SPACE}\b)|from (?:in|inside|within){there}", "into"),
        _marker("from", rf"(?:up )?from(?= (?:{_DETERMINER} {carrier}|{bare}))", "from"),
        _marker("to", rf"{way}to(?= (?:{_DETERMINER} {carrier}|{bare}))", "to"),
        _marker("against", rf"(?:(?:so (?:that )?|with )?its back (?:is |stands )?)?(?:(?:up|back|flush|right|flat|close) )*against{there}"
            rf"|(?:so (?:that )?|with )?its back (?:touches|touching){there}", "against"),
        _marker(
            "corner",
            r"(?:in|into|to|inside) (?:the|a) corner(?: of (?:the|this) (?:\w+ )?(?:room|kitchen|bedroom|office|hall))?"
            r"(?! of\b)",
            "corner",
        ),
        _marker(
            "riders",
            rf"(?:with|and|including|plus) (?:everything|whatever|anything|all|what){carried}"
            rf"|(?:(?:along|together) )?(?:with|including) (?:the|those|these)(?! {printed}){carried}"
            r"|(?:(?:along|together) )?(?:with|and|including) (?:all )?(?:of )?its contents"
            r"|, (?:the |an? )?[\w-]+ (?:and all|included)"
            r"|(?:and )?everything (?:that is |which is )?on it (?:should |must |will )?(?:also )?(?:moves?|comes?|goes?|stays?)"
            r" (?:along|with it|too|on it)(?: with it)?",
        ),
    ]


def _relations() -> list[Marker]:
    return [
        _marker(
            "relation",
            rf"(?:(?:to|on|at|onto) )?the (left|right){_SIDE} of(?! (?:the )?(?:{_IMAGE}|centre|center)\b)",
            "{1}",
        ),
        _marker("relation", rf"(?<!\bthe )(left|right) of(?! (?:the )?(?:{_IMAGE}|centre|center)\b)", "{1}"),
        _marker(
            "relation",
            rf"(?:to |at )?(?:the )?(?<!\bcloser )(?<!\bnearer )(?:in )?front of(?! the {_SPACE}\b)",
            "front",
        ),
        _marker(
            "relation",
            rf"(?:right |just |directly )?behind|in back of|(?:to|at|on|in) the (?:rear|back) of(?! the {_SPACE}\b)",
            "behind",
        ),
        _marker(
            "relation",
            r"(?:mid|half)?way between|in the (?:gap|space|middle) between|(?:in )?between(?: the two ,)?",
            "between",
        ),
        _marker(
            "relation",
            r"(?:right |immediately )?(?:next to|beside)|close to|near(?: to)?|alongside(?: of)?|adjacent to"
            r"|by the side of|in the vicinity of|side by side with"
            rf"|(?:over )?by(?= the (?!same|side|camera|viewer|{_VIEWER})(?:[\w-]+ )?[\w-]+(?:$| [,.]| on | in ))",
            "next",
        ),
        _marker("relation", r"into|inside(?: of)?|within", "into"),
        _marker("into", rf"(?:back |down )*in(?= the (?!{_IMAGE}\b|middle\b))", "into"),
        _marker(
            "own", rf"(?:to|on|at|onto) (?!the {_VIEWER}'s)({_NOUN})'s (?:own )?(left|right){_SIDE}(?! of)", "{2} {1}"
        ),
        _marker("itself", rf"(?:to|on|at) (?:its|their) (?:own )?(left|right){_SIDE}(?! (?:side|faces|face))", "{1}"),
    ]


def _directions() -> list[Marker]:
    eye = rf"the {_VIEWER}|us|you|me|the foreground|the front"
    ground = r"(?:in)?to|towards?|in"
    return [
        _marker(
            "direction",
            rf"(?:over )?to the (left|right){_SIDE}(?! of(?! where)){CLOSED}"
            r"(?: of where (?:it|they) (?:is|are)(?: now)?)?",
            "{1}",
        ),
        _marker("direction", rf"{_NOT_NAMED}(left|right){CLOSED}", "{1}"),
        _marker("direction", r"(left|right)wards?", "{1}"),
        _marker("direction", rf"towards? the (left|right|top|bottom)(?: side| edge)? of the {_IMAGE}", "{1}"),
        _marker("direction", rf"towards? the (left|right){_SIDE}(?! of){CLOSED}", "{1}"),
        _marker("open", rf"forwards?{CLOSED}"),
        _marker("direction", rf"to (?:your|our|my|the {_VIEWER}'s) (left|right){_SIDE}(?! of)", "{1}"),
        _marker("direction", rf"towards? (?:your|our|my|the {_VIEWER}'s) (left|right){_SIDE}(?! of)", "{1}"),
        _marker("relation", rf"(?:to|on) (?:your|our|my|the {_VIEWER}'s) (left|right){_SIDE} of", "{1}"),
        _marker(
            "direction",
            rf"(?:forwards? , )?(?:towards?|closer to|nearer to|nearer|closer towards) (?:{eye})(?!')",
            "towards",
        ),
        _marker("direction", r"(?:closer|nearer)(?! to)", "towards"),
        _marker("open", r"(?:closer|nearer) to|away from|towards?(?= the)"),
        _marker("direction", rf"(?:forwards? )?(?:{ground}) the foreground", "towards"),
        _marker("direction", rf"(?:forwards? )?(?:to|towards?) the front of the {_SPACE}", "towards"),
        _marker("direction", rf"in the direction of (?:{eye})(?!')", "towards"),
        _marker("direction", rf"(?:farther |further |deeper |back )*(?:{ground}) the (?:background|distance)", "away"),
        _marker("direction", rf"(?:to|towards?) the (?:back|rear) of the {_SPACE}", "away"),
        _marker("direction", rf"(?:(?:farther|further|deeper|back) )+in(?:to|side)? the {_SPACE}", "away"),
        _marker(
            "direction", rf"(?:to the back , )?(?:farther |further )?away(?: from (?:{eye}))?(?!')(?! from)", "away"
        ),
        _marker(
            "direction",
            rf"(?:farther|further)(?: back)?(?: from (?:{eye}))?(?! (?:to the )?(?:left|right|up|down|forward))"
            rf"|backwards?|back{CLOSED}",
            "away",
        ),
        _marker("direction", rf"(up|down)(?:wards?)?(?=(?: and to the (?:left|right))? in the {_IMAGE})", "{1}"),
        _marker("direction", rf"(?:higher|further up|farther up)(?: up)? in the {_IMAGE}", "up"),
        _marker("direction", rf"(?:lower|further down|farther down)(?: down)? in the {_IMAGE}", "down"),
        _marker("direction", rf"(?<=left and )(up|down)(?= in the {_IMAGE})", "{1}"),
        _marker("direction", rf"(?<=right and )(up|down)(?= in the {_IMAGE})", "{1}"),
    ]


def _parts() -> list[Marker]:
    to = r"(?:over )?(?:to|on|in|at|into|onto) (?:the|a)"
    bit = r"(?:side|part|corner|edge|half|third|area|region|hand side|portion)"
    row, side = r"(upper|lower|top|bottom)", r"(left|right|middle|centre|center)"
    return [
        _marker("part", rf"{to} {row}[- ]{side}(?:-hand)?(?: {bit})? of the {_IMAGE}", "{1} {2}"),
        _marker("part", rf"{to} {row}[- ]{side}(?: corner| part)?(?! shel)", "{1} {2}"),
        _marker(
            "part",
            rf"{to} (?:far |extreme |very )?(left|right|upper|lower|top|bottom)(?:-hand)?(?: {bit})? of the {_IMAGE}",
            "{1}",
        ),
        _marker("part", rf"{to} (?:very )?(?:centre|center|middle) of the {_IMAGE}", "centre"),
        _marker(
            "part",
            r"(?:to a spot |a little |slightly |a bit |somewhat )?(left|right) of (?:the )?(?:centre|center) of the "
            rf"{_IMAGE}",
            "{1}",
        ),
        _marker("part", rf"(?:on|in|to) the {_IMAGE}'s (left|right){_SIDE}", "{1}"),
        _marker("onside", rf"on the (left|right){_SIDE}(?! of){CLOSED}", "{1}"),
    ]


def _frames() -> list[Marker]:
    return [
        _marker("viewer", rf"(?:{_SEEN}) (?:the )?{_VIEWER}'s (?:own )?{_EYE}|(?:{_SEEN}) (?:our|your|my) {_EYE}"),
        _marker(
            "viewer",
            rf"(?:as )?(?:seen|viewed) (?:from|by|in) the {_VIEWER}|from (?:the camera|where we stand)|in the {_IMAGE}",
        ),
        _marker("viewer", rf"(?:as|where) (?:the {_VIEWER}|we|you) sees? (?:it|them)|from the viewing direction"),
        _marker("own frame", rf"(?:{_SEEN}) (?:{_NOUN}'s|its|their) (?:own )?{_EYE}"),
        _marker(
            "own frame",
            rf"(?:as )?(?:seen|viewed) (?:from|by) {_NOUN} (?:itself|themselves)|in (?:its|their) own frame",
        ),
    ]


def _turns() -> list[Marker]:
    above = r"above|the top(?! (?:of|shel))|overhead|a bird's[- ]eye view"
    side = r"(front|rear|back)(?: (left|right))?(?: side)?|(left|right)(?:-hand)? (?:side|profile)"
    seen = r"(?:(?:as|when|if) )?(?:seen|viewed|looking down|looked at)"
    shown = r"show|reveal|expose|display|see|look(?:ing)? at|view|present"
    us = rf"(?:the )?(?:{_VIEWER}|us|you|me)"
    faces = (
        rf"(?:faces?|facing|(?:points?|pointing|turned|oriented|directed|aimed) (?:to|towards|at)|visible to|is towards"
        rf"|(?:looks?|looking|stares?|staring)(?: straight| directly)? (?:at|into)|(?:is|are) facing)"
        rf"(?: straight| directly)? {us}(?! side)"
    )
    beheld = r"(?:so (?:that )?)?(?:we|you) (?:can |may |could )?(?:see|view|look at) (?:it|them)"
    away = rf"(?:faces?|facing|points?|pointing|looks?|looking|turned)(?: directly)? away(?: from {us})?"
    return [
        _marker("above", rf"{seen} from (?:{above})|from (?:{above})|looking down"),
        _marker("below", rf"{seen} from (?:below|underneath|beneath)|from (?:below|underneath)"),
        _marker(
            "turn",
            r"(?:in (?:a|the) )?(counterclockwise|clockwise)"
            r"(?: (?:direction|sense|manner|fashion|motion|turn|rotation(?: of(?= \d))?))?",
            "{1}",
        ),
        _marker(
            "view",
            rf"(?:to |(?:so|until) (?:that )?(?:we|you)(?: are|'re)? (?:can )?)?(?:{shown}) (?:us )?"
            rf"(?:its|their|the|his|her) (?:own )?(?:{side})(?: view)?",
            "{1} {2} {3}",
        ),
        _marker(
            "view",
            rf"(?:until|so that|so|with)? ?(?:its|their|the) (?:own )?(?:{side}) "
            rf"(?:(?:is |are )?{faces}|is (?:visible|in view|seen|shown)|(?:can|may) be seen|comes into view)",
            "{1} {2} {3}",
        ),
        _marker("view", rf"(?:so (?:that )?(?:it|they) )?(?:to )?(?:{faces})", "front"),
        _marker(
            "view",
            rf"(?:so (?:that )?(?:it|they) )?(?:to )?(?:is |are )?{away}",
            "rear",
        ),
        _marker(
            "view",
            rf"(?:so (?:that )?(?:it|they) )?(?:faces?|facing|looks?|points?|pointing)"
            rf" (?:to(?:wards)? )?(?:the )?(left|right)(?:{CLOSED}|(?: side| edge)? of the {_IMAGE})",
            "{1} side",
        ),
        _marker("view", rf"(?:with )?(?:its|their|his|her) back (?:turned )?(?:to|towards|on) {us}", "rear"),
        _marker("view", rf"{beheld} from behind", "rear"),
        _marker("view", rf"{beheld} from (?:its|their|the) (?:own )?(?:{side})", "{1} {2} {3}"),
        _marker(
            "whirl",
            r"(?:so that its [\w-]+ )?(?:points?|faces?|facing)(?: to| in)?(?= 180 degrees)",
        ),
        _marker("whirl", r"in (?:its|their) (?:own )?place|to the side(?= so| until)|on the spot|in place|around"),
        _marker(
            "whirl",
            r"face another way|facing another way",
        ),
        _marker("degrees", rf"(?:(?:by|through|of|with) )?(?:an angle of )?(?:a )?(?:full )?({NUMBER}) degrees", "{1}"),
        _marker("view", rf"from (?:its|their) (?:own )?(?:{side})", "{1} {2} {3}"),
        _marker("axis", r"(?:about|around|on) (?:its|their|the) (?:own )?(?:vertical )?axis"),
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
        _marker("width", rf"(?:by )?(?:about )?({NUMBER}) times (?:its|their) (?:own )?widths?", "{1}"),
        _marker(
            "width", r"(?:by )?(?:about )?(?:its|their) (?:own )?width|(?:by )?(?:about )?(?:one|its own|a) width", "1"
        ),
        _marker("larger", rf"{_NOT_NAMED}(?:much |a lot |slightly |a bit |a little )?(?:{larger}){CLOSED}"),
        _marker("smaller", rf"{_NOT_NAMED}(?:much |a lot |slightly |a bit |a little )?(?:{smaller}){CLOSED}"),
        _marker("times", rf"(?:(to|by) )?({NUMBER}) times(?: as)?{large}{whole}", "{1} {2}"),
        _marker("factor", rf"by (?:a )?factor (?:of )?({NUMBER}){whole}|by ({NUMBER})(?= times|$)", "{1}{2}"),
        _marker(
            "share",
            rf"(?:down |up )?(?:to|of) (?:about )?({NUMBER}) percent{whole}"
            rf"|({NUMBER}) percent as {side}(?: and (?:as )?{side})? {before}{whole}"
            rf"|(?:(?:is|be|becomes?) )?(?:only |just )?({NUMBER}) percent of(?= (?:its|their|what)\b){whole}",
            "{1}{2}{3}",
        ),
        _marker("times", rf"to (0\.\d+) of (?:its|the|their){whole}", "to {1}"),
        _marker("more", rf"(?:by )?({NUMBER}) percent", "{1}"),
        _marker("becomes larger", rf"into an? (?:\w+ )?(?:{larger}) (?:one|version(?: of (?:itself|it))?)"),
        _marker("becomes smaller", rf"into an? (?:\w+ )?(?:{smaller}) (?:one|version(?: of (?:itself|it))?)"),
        _marker("size of", r"(?:the )?size of(?= )|in size"),
        _marker("grown", rf"(up|down){CLOSED}", "{1}"),
    ]


MARKERS: Final[tuple[Marker, ...]] = (
    *_supports(),
    *_relations(),
    *_directions(),
    *_parts(),
    *_frames(),
    *_turns(),
    *_sizes(),
    _marker("metres", rf"(?:by )?(?:about |around |roughly |approximately |some )?({NUMBER}) metres", "{1}"),
    _marker(
        "gone",
        rf"disappears?|vanish(?:es)?|go away|(?:must|should|has to|have to|needs? to) go(?=$| ,| and| please| entirely| altogether)|(?:should |is |are )?(?:be )?gone"
        rf"|out of the {_SPACE}|(?:should )?no longer be (?:there|seen|visible|in the {_IMAGE})",
    ),
    _marker("away", rf"away{CLOSED}"),
    _marker(
        "that",
        rf"(?:that|which|who) (?:(?:is|are)(?: now| currently)?(?: {_RESTING})?|(?:currently )?{_RESTS})"
        rf"|(?:currently )?{_RESTING}|(?<=, )(?:currently|now|presently)(?= (?:on|in(?! front)|under|inside|beneath)\b)|to where (?:it|they) (?:is|are|stands?)"
        rf"|so (?:that )?(?:it|they) (?:is|are|{_RESTS}|ends? up|appears?|comes? to (?:stand|rest))(?: {_RESTING})?",
    ),
    _marker("origin", r"from(?= (?:the (?:left|right)|behind|in front|between|next to|beside|inside)\b)"),
    _marker("origin", r"out of(?= )|off(?= the)"),
    _marker("beyond", r"(?:to|on|at) the (?:other|opposite|far) side of(?! the (?:room|scene|image|picture|frame)\b)"),
    # Phrases without a meaning here still end a noun phrase.
    _marker(
        "open",
        r"(?:above|below|beneath|under|underneath|against|opposite(?: to)?|across from|beyond|past|outside(?: of)?|among(?:st)?)(?= (?:the|an?|its|their)\b)",
    ),
    _marker("open", r"(?:one|two|three|a) shel(?:f|ves) (?:up|down|higher|lower|above|below)|face (?:up|down)|upside down"),
    _marker("out", r"out$"),
    _marker("appears", r"(?:should |must |shall )?(?:appear|show up)s?"),
    _marker("aux", rf"(?:in)?to the {_SPACE}"),
    _marker(
        "aux",
        rf"(?:{_MODAL})?(?: ?(?:be|been|being|become|becomes|is|are|now|gets?|goes|ends? up|stands|sits|perches"
        rf"|lies|rests|has been|have been|belongs?|go(?= (?:in|on|into|onto|under|back|behind|next|between) )))"
        rf"|(?:{_MODAL}|can|may|might) (?:now )?(?:go|sit|stand|lie|rest|end up|come|appear|get|turn out)",
    ),
)
"""At each position the longest match wins; of equally long matches, the first."""

FILLERS: Final = _words(
    """please kindly now just only simply about around roughly approximately slightly somewhat a bit little few over so
    that it they and then also by of to in at on down further centimetres where is are could you would like i we
    want need us both together with the for me scene image picture more much gently carefully entire whole , - ' same
    from straight directly exactly completely entirely fully noticeably considerably significantly diagonally
    horizontally sideways quickly again should must until any whole new instead afterwards too anymore namely ok okay yo hey lol thanks maybe perhaps possibly"""
)
"""Words without meaning if they stand alone between phrases."""
PICTURES: Final = _words("scene image picture")
"""Fillers that may also name an object."""
ARTICLE: Final = re.compile(r"^(?:(?:all|both) (?:of )?(?=the |my |your |these |those ))?(?:the|an?|some|another|one more|one|this|that|these|those|my|your|our|his|her) ")
NEW: Final = re.compile(r"^(?:an?|some|another|one more|one) ")
NO_NOUN: Final = _words(
    """to off back forth should must shall would could might be been is are was were has have had does it its they
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
    "what everything anything something nothing there one image photo scene frame all camera viewpoint view"
)
"""Words that never name the edited object."""

TAIL: Final = re.compile(
    r"(?<!nearest)(?<!closest)(?<!farthest) (?:so|until|to|across|along|from|into|onto|by|via|than|in (?:its|their)"
    r"|on the (?:other|opposite)|where)\b.*$"
)
"""What ends a noun phrase although it is no phrase of the lexicon."""
HARMLESS: Final = re.compile(
    r"(?:so(?: that)?|until|where) (?:it|they)|(?:across|along) the (?:floor|room|scene|ground|table)"
    r"|than (?:it|they|before|now)"
    r"|from (?:its|their|the) (?:\w+ )?(?:place|position|spot|location)|to the (?:space|spot|place|area)(?: right)?"
)
"""Tails without meaning of their own."""
