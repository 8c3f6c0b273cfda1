"""Phrases about places: supports, relations to other objects, directions, and parts of the image."""

from .markers import CLOSED, DETERMINER, IMAGE, NOT_NAMED, NOUN, SIDE, SPACE, VIEWER, Marker, marker, markers
from .places import CONTAINER, SURFACE


def supports() -> list[Marker]:
    bare = (
        r"(?:[\w-]+ )?(?:table|desk|shelf|bookshelf|bookcase|counter|floor|sofa|couch|bed|chair|armchair|tray"
        r"|windowsill|cabinet|bowl|basket|box)(?=$| [,.]| (?:to|and|next|beside|near|behind|between|in|on|onto|into"
        r"|from|under|larger|bigger|smaller|twice|by)\b)"
    )
    there = rf"(?= (?:(?:{DETERMINER}|it|them)\b|{bare}))"
    not_there = (
        r"(?! (?:the|an?|its|their) (?:(?:[\w-]+ )?(?:walls?(?! (?:shel|rack|unit|cabinet|cupboard))|ceiling|(?:side"
        r"|end)s?(?! tables?\b)|spot|way|axis|angle"
        rf"|{IMAGE})\b|(?:same|opposite|other|far) (?:side|end|spot|place|position|way)\b|{VIEWER}'s|(?:left"
        rf"|right)(?:[- ]hand)?(?! (?:[\w-]+ )?(?:{SURFACE}|{CONTAINER})s?\b)\b)"
        r"| its base\b)"
    )
    carrier = (
        r"(?:(?!(?:behind|beside|between|near|next|in|on|at|under|from|of|to|into|onto|and|with|by|that|which|front"
        r"|back|rear|side(?! table)|space|spot|place|area)\b|(?:left|right) (?:side|of"
        r"|hand)\b)[\w-]+ ){0,4}?(?:level of (?:the|an?) (?:[\w-]+ ){0,4}?)?"
        rf"(?:\w+_)?(?:{SURFACE}|{CONTAINER})s?\b(?!'s (?:own )?(?:left|right))"
    )
    way = r"(?:(?:back|down|up|over|out|away|flat|upright|right|directly|straight) )*"
    carried = r"(?:on top of|on|inside|in|upon|atop|under)(?: and (?:on|in|under))* (?:it|them)(?: (?:too|as well))?"
    carried = rf"(?: [\w-]+){{0,6}}? {carried}"
    printed = (
        r"(?:[\w-]+ ){0,2}(?:logos?|labels?|prints?|patterns?|stickers?|stripes?|dots?|letters|text|designs?|faces?)\b"
    )
    return [
        marker("stand", rf"{way}(?:on|(?:on )?(?:the )?(?:very )?top of|upon|atop){there}{not_there}", "on"),
        marker("onto", rf"{way}(?:onto|on to)(?: (?:the )?top of)?{there}{not_there}", "on"),
        marker("stand", rf"{way}(?:underneath|beneath|under|below){there}{not_there}", "under"),
        marker("stand", rf"{way}in(?= (?:its|my|your|that|this) (?:[\w-]+ ){{0,3}}?{CONTAINER}\b)", "into"),
        marker(
            "off", rf"(?:up )?off(?: of)?{there}|(?:up )?from (?:on|upon|atop|(?:on )?(?:the )?top of){there}", "on"
        ),
        marker("off", rf"(?:out )?from (?:under|underneath|beneath|below){there}", "under"),
        marker("off", rf"out of{there}(?! the {SPACE}\b)|from (?:in|inside|within){there}", "into"),
        marker("from", rf"(?:up )?from(?= (?:{DETERMINER} {carrier}|{bare}))", "from"),
        marker("to", rf"(?<!closest )(?<!nearest )(?<!closer ){way}to(?= (?:{DETERMINER} {carrier}|{bare}))", "to"),
        marker(
            "against",
            r"(?:(?:so (?:that )?|with )?its back (?:is |stands )?)?(?:(?:up|back|flush|right|flat"
            rf"|close) )*against{there}|(?:so (?:that )?|with )?its back (?:touches|touching){there}",
            "against",
        ),
        marker(
            "corner",
            r"(?:in|into|to|inside) (?:the|a) corner(?: of (?:the|this) (?:\w+ )?(?:room|kitchen|bedroom|office|hall))?"
            r"(?! of\b)",
            "corner",
        ),
        marker(
            "riders",
            rf"(?:with|and|including|plus) (?:everything|whatever|anything|all|what){carried}|(?:(?:along"
            rf"|together) )?(?:with|including) (?:the|those|these)(?! {printed}){carried}|(?:(?:along"
            r"|together) )?(?:with|and|including) (?:all )?(?:of )?its contents|(?:(?:along"
            r"|together) )?with all (?:of )?(?:its|their|the) (?:[\w-]+ )?[\w-]+s(?: on it)?|, (?:the "
            r"|an? )?[\w-]+ (?:and all|included)|(?:and )?everything (?:that is |which is )?on it (?:should |must "
            r"|will )?(?:also )?(?:moves?|comes?|goes?|stays?) (?:along|with it|too|on it)(?: with it)?",
        ),
    ]


def relations() -> list[Marker]:
    center = rf"(?! (?:the )?(?:{IMAGE}|centre|center)\b)"
    return [
        *markers(
            "relation",
            "{1}",
            rf"(?:(?:back|down|over) )*(?:(?:to|on|at|onto) )?the (left|right){SIDE} of{center}",
            rf"(?<!\bthe )(left|right) of{center}",
            rf"(?:to|on) (?:your|our|my|the {VIEWER}'s) (left|right){SIDE} of",
        ),
        *markers(
            "relation",
            "front",
            rf"(?:to |at )?(?:the )?(?<!\bcloser )(?<!\bnearer )(?:in )?front of(?! the {SPACE}\b)",
        ),
        *markers(
            "relation",
            "behind",
            rf"(?:right |just |directly )?behind|in back of|(?:to|at|on|in) the (?:rear|back) of(?! the {SPACE}\b)",
        ),
        *markers(
            "relation",
            "between",
            r"(?:mid|half)?way between|in the (?:gap|space|middle) between|(?:in )?between(?: the two ,)?",
        ),
        *markers(
            "relation",
            "next",
            r"(?:right |immediately )?(?:next to|beside)|close to|near(?: to)?|alongside(?: of)?|adjacent to"
            r"|by the side of|in the vicinity of|side by side with",
            rf"(?:over )?by(?= (?:the|my|your) (?!same|side|camera|viewer|{VIEWER})(?:[\w-]+ )?[\w-]+(?:$| [,.]| (?:on"
            r"|in|to|onto|into|under|behind|should|must|needs?|has|ought|and|is|goes|gets)\b))",
        ),
        *markers("relation", "into", r"into|inside(?: of)?|within"),
        *markers("into", "into", rf"(?:back |down |away )*in(?= the (?!{IMAGE}\b|middle\b))"),
        *markers(
            "own", "{2} {1}", rf"(?:to|on|at|onto) (?!the {VIEWER}'s)({NOUN})'s (?:own )?(left|right){SIDE}(?! of)"
        ),
        *markers("itself", "{1}", rf"(?:to|on|at) (?:its|their) (?:own )?(left|right){SIDE}(?! (?:side|faces|face))"),
    ]


def directions() -> list[Marker]:
    eye = rf"the {VIEWER}|us|you|me|the foreground|the front"
    ground = r"(?:in)?to|towards?|in"
    return [
        *markers(
            "direction",
            "{1}",
            rf"(?:over )?to the (left|right){SIDE}(?! of(?! where)){CLOSED}"
            r"(?: of where (?:it|they) (?:is|are)(?: now)?)?",
            rf"{NOT_NAMED}(left|right){CLOSED}",
            r"(left|right)wards?",
            rf"towards? the (left|right|top|bottom)(?: side| edge)? of the {IMAGE}",
            rf"towards? the (left|right){SIDE}(?! of){CLOSED}",
            rf"(?:to|towards?) (?:your|our|my|the {VIEWER}'s) (left|right){SIDE}(?! of)",
            rf"(up|down)(?:wards?)?(?=(?: and to the (?:left|right))? in the {IMAGE})",
            rf"(?:(?<=left and )|(?<=right and ))(up|down)(?= in the {IMAGE})",
        ),
        *markers(
            "direction",
            "towards",
            rf"(?:forwards? , )?(?:towards?|closer to|nearer to|nearer|closer towards) (?:{eye})(?!')",
            r"(?:closer|nearer)(?! to)",
            rf"(?:forwards? )?(?:{ground}) the foreground",
            rf"(?:forwards? )?(?:to|towards?) the front of the {SPACE}",
            rf"in the direction of (?:{eye})(?!')",
        ),
        *markers(
            "direction",
            "away",
            rf"(?:farther |further |deeper |back )*(?:{ground}) the (?:background|distance)",
            rf"(?:to|towards?) the (?:back|rear) of the {SPACE}",
            rf"(?:(?:farther|further|deeper|back) )+in(?:to|side)? the {SPACE}",
            rf"(?:to the back , )?(?:farther |further )?away(?: from (?:{eye}))?(?!')(?! from)",
            rf"(?:farther|further)(?: back)?(?: from (?:{eye}))?(?! (?:to the )?(?:left|right|up|down|forward))"
            rf"|backwards?|back{CLOSED}",
        ),
        *markers("direction", "up", rf"(?:higher|further up|farther up)(?: up)? in the {IMAGE}"),
        *markers("direction", "down", rf"(?:lower|further down|farther down)(?: down)? in the {IMAGE}"),
        *markers("open", "", rf"forwards?{CLOSED}", r"(?:closer|nearer) to|away from|towards?(?= the)"),
    ]


def parts() -> list[Marker]:
    to = r"(?:over )?(?:to|on|in|at|into|onto) (?:the|a)"
    bit = r"(?:side|part|corner|edge|half|third|area|region|hand side|portion)"
    row, side = r"(upper|lower|top|bottom)", r"(left|right|middle|centre|center)"
    return [
        *markers(
            "part",
            "{1} {2}",
            rf"{to} {row}[- ]{side}(?:-hand)?(?: {bit})? of the {IMAGE}",
            rf"{to} {row}[- ]{side}(?: corner| part)?(?! shel)",
        ),
        *markers(
            "part",
            "{1}",
            rf"{to} (?:far |extreme |very )?(left|right|upper|lower|top|bottom)(?:-hand)?(?: {bit})? of the {IMAGE}",
            r"(?:to a spot |a little |slightly |a bit |somewhat )?(left|right) of (?:the )?(?:centre|center) of the "
            rf"{IMAGE}",
            rf"(?:on|in|to) the {IMAGE}'s (left|right){SIDE}",
        ),
        *markers("part", "centre", rf"{to} (?:very )?(?:centre|center|middle) of the {IMAGE}"),
        *markers("onside", "{1}", rf"on the (left|right){SIDE}(?! of){CLOSED}"),
    ]
