"""Complete notes (no verb, keyed lists, no articles), and drop what people add to a request (polite openings,
corrections).

Invariant: a text becomes a whole sentence with the same meaning. A text that is no note, and to which nothing was
added, stays as it is. `Lamp: from desk to floor` becomes `make the lamp from the desk to the floor`, and `could you
maybe put ...` becomes `put ...`.
"""

import re
from functools import cache
from typing import Final, NamedTuple

from .markers import DETERMINER
from .places import CONTAINER, SURFACE

_START: Final = r"(?:^|(?<=[.;:!?,] ))"
"""Matches at the start of a clause."""
_PLEASE: Final = "(?:please |now |just )*"
_CARRIER: Final = rf"(?:(?:{SURFACE}|{CONTAINER})s?)"
_BEFORE_PLACE: Final = r"(?:(?:back|down|up|over|flush|flat|right|straight|just|directly|immediately|now|out) )*"
_PREPOSITION: Final = (
    r"(?:on top of|onto|on|off|from under|from|into|inside|in|out of|underneath|under|beneath|below|atop|upon|behind"
    r"|beside|between|near|next to|close to|(?:left|right|in front) of|against|to)"
)
_AMOUNT: Final = (
    r"(?:by )?(?:\d[\d.]* (?:metres|degrees|percent|times)\b|(?:a bit |a little |much |slightly )?"
    r"(?:bigger|larger|smaller|to the (?:left|right)\b(?! of)|(?:left|right|closer|back|gone)(?=$| [,.\d]| by| a )))"
)
_PLACE: Final = (
    rf"{_BEFORE_PLACE}(?:{_PREPOSITION}(?!(?<=\bto) (?!{DETERMINER}\b|left|right|{_CARRIER}\b|[\w-]+$))"
    r"|by (?=the|my))\b(?! (?:it|them)\b)"
)
_WORD: Final = (
    rf"(?!(?:{_PREPOSITION}|by|at|with|please|and|or|so|is|are|was|were|be|been|it|them|they|you|i|we|there|that|which"
    r"|who|what|where|should|must|shall|will|would|could|can|may|might|to|has|have|had|does|do|not|no|if|as|than|keep"
    rf"|leave|only|without|instead|never|nothing|everything|{DETERMINER[3:-1]})\b)[\w'-]+"
)
"""A word that may be part of a name."""
_NAME: Final = rf"(?:{DETERMINER} )?(?:{_WORD} ){{1,5}}?"
_DETERMINED: Final = re.compile(rf"{DETERMINER}\b|(?:all|both|some|every|each|one|two|three|four|there|please)\b")
_GOES: Final = re.compile(r"\d metres|\b(?:left|right|closer|back)$")
"""What a note says of a move, not of a change of size or of a turn."""
_NEW: Final = re.compile(r"(?:an?|another|some|one more) ")
"""What comes before the name of an object to be inserted."""
_FINITE: Final = re.compile(
    r"\b(?:is|are|was|were|be|been|should|must|shall|will|would|could|can|has|have|it|they|them|i|we|you|goes|go"
    r"|belongs?|stands|sits|lies|rests|stood|sat|lay|fell|needs|need to|wants|ought|gets|had)\b"
)
"""Words that show that a sentence has a finite verb, so that it is no note."""

_Rewrites = tuple[tuple[str, re.Pattern[str], str], ...]
"""A string that the pattern needs, the pattern, and its replacement."""


def _rewrites(*rows: tuple[str, str, str]) -> _Rewrites:
    return tuple((sign, re.compile(pattern), replacement) for sign, pattern, replacement in rows)


def _rewritten(text: str, rewrites: _Rewrites) -> str:
    """Apply rewrites in order."""
    for sign, pattern, replacement in rewrites:
        if sign in text:
            text = pattern.sub(replacement, text)
    return text


_NOTED_PLACE: Final = r"(?: (?:place|position|location|support))? : "
_SIGNS: Final = _rewrites(
    (">", r" ?<[-=]+> ?", " <> "),
    ("\u2194", r" ?\u2194 ?", " <> "),
    (">", r" ?[-=]+> ?", " to "),
    ("\u2192", r" ?\u2192 ?", " to "),
    (" : ", r"^(?:task|request|edit|to ?do|instruction|action|note|my request|change)s? : ", ""),
    (" : ", r"(?<!\bany )(?<!\ban )\b(?:the )?(?:object|item|thing|subject) : ", "the "),
    (" : ", rf"(?: [.,;])? (?:from|origin|source|start|old|current|currently|now){_NOTED_PLACE}", " from "),
    (
        " : ",
        rf"(?: [.,;])? (?:to|destination|target|goal|new|end|should be|then|after|put|place){_NOTED_PLACE}",
        " to ",
    ),
    (" now ", r"(?: :| ,)? now (?=(?:on|in|under|inside|beneath) )(?=.* to )", " from "),
    ("from ", r"\bfrom (?:on|atop) ", "off "),
    ("to on", r"\bto on(?: top of)? ", "onto "),
    ("to ", r"\bto (?=(?:in|inside|under|underneath|beneath|below|behind|beside|next to|near|between|against) )", ""),
)
"""Arrows and keys (`from : tray`), as prepositions."""
_BARE: Final = re.compile(
    rf"\b({_PREPOSITION}) (?!(?<=\bto )(?:stand|book|step|board|pile|stack|deck|bed)\b)(?=(?:(?!top |front |place "
    rf"|half |the )[\w-]+ )?{_CARRIER}(?:$| [,.:;!?]| (?:to|and|next|beside"
    r"|near|behind|between|in|on|onto|into|off|from|under|larger|bigger|smaller|\d|by|please|with|instead|so)\b))"
    rf"(?!{DETERMINER} )"
)
"""A support without an article: `on shelf`, `off coffee table`."""
_NOTED: Final = re.compile(
    rf"\b({_PREPOSITION}|towards|away from|around|to show|to reveal|(?:middle|center|centre|corner|part|side|half|top"
    rf"|edge) of|(?<=front )of) (?!{DETERMINER} |(?:front|top of|half|place|between|size|above|below|behind|under|it"
    r"|them|me|us|here|there|on|in|to|face|faces|show|reveal|be|overhead|left of|right of|reverse|degrees"
    r"|camera rotation|\d[\d.]*)(?: |$))"
)
"""Any noun of a note without an article."""

_ANY_DETERMINER: Final = re.compile(
    rf"\b(?:{DETERMINER[3:-1]}|it|them|they|we|us|everything|nothing|all|both|each|one|two|three|four)\b"
)
_EXCHANGES: Final = re.compile(rf"{_PLEASE}(?:swap|exchange|interchange|switch|trade)\b")
_SECOND: Final = re.compile(r"\b(and|with|for) (?=[a-z])")
"""What comes before the second object of a swap."""
_BARE_OBJECT: Final = re.compile(
    rf"^({_PLEASE}(?:move|shift|slide|put|place|set|push|pull|drag|bring|take|get|rotate|turn|spin|make|scale|shrink"
    r"|enlarge|remove|delete|erase|swap|exchange|switch)) (?=[a-z])(?!(?:up|down|off|out|away|back|left|right|in|on"
    r"|places?|positions?|rid|please|only|over|smaller|larger|bigger)\b)"
)
"""A verb before an object without an article."""
_INTERJECTION: Final = re.compile(
    rf"{_START}(?:(?:hang on|hold on|wait|one moment|oops|sorry|many thanks|thank you|thanks|cheers|hello|hi|hey|yo"
    r"|well|alright|all right|right|ok|okay|so|anyway|oh|um|hmm|yes|yeah|actually|great|perfect|cool|fine|dear|lol"
    r"|pretty please)(?: (?:there|so much|very much|a lot|in advance|everyone|again|a (?:second|moment"
    r"|minute)))?(?: [,.;:!?]+)+ ?)+"
)
"""Words before a request that say nothing of it, with their punctuation."""
_CORRECTION: Final = re.compile(
    r"\b(?:the|my|that) (?:[\w-]+ ){1,4}?(?:[.,-] )*(?:(?:no|sorry|wait|oops|er|uh|or) (?:, )?)*"
    r"(?:i mean|i meant|rather|make that|no|sorry|wait)(?: ,)? (?=(?:the|my|that) )"
    r"|\b(?:on|in|under|to|into|onto|behind|next to|beside) (?:the|my) (?:[\w-]+ ){1,3}(?:[.,-] )+"
    r"(?:(?:no|sorry|wait|i mean|or rather|make that)(?: ,)? )+(?=(?:on|in|under|to|into|onto|behind|next|beside) )"
)
"""`the pendant , i mean` before `the table lamp`."""
_POLITE: Final = (
    r"(?:i|me|you|your|we|us|it|is|was|were|am|are|be|been|would|will|could|can|may|might|shall|should|do|does|did|if"
    r"|whether|that|so|as|to|and|please|kindly|just|now|maybe|perhaps|possibly|only|wondering|wonder|hoping|hope|ask"
    r"|asking|trouble|bother|beg|request|need|want|like|love|prefer|rather|appreciate|glad|grateful|happy|good|kind"
    r"|great|nice|lovely|fine|ok|okay|possible|able|free|feel|mind|favor|favour|think|believe|suggest|help|someone"
    r"|somebody|anyone|here|let|go|going|ahead|have|really|very|much|also|then|next|first|second|finally|lastly|a|an"
    r"|moment|want|time|enough|my|of|out|there|supposed|where|how|about|what)"
)
"""A word of a polite opening."""
_NO_EDITS: Final = (
    "lean|hang|hide|paint|open|close|shut|fill|empty|clean|wash|light|draw|break|tie|tape|glue|nail|fix|fold|cover|wrap"
    "|colou?r|sharpen|blur|hug|hit|kick|lock|plug|pour|spill|cook|iron|switch|turn"
)
"""Verbs that ask for no known edit, so that what follows is no note."""
_EXCHANGE: Final = re.compile(rf"({_NAME})<> (.+)")
"""`sofa <> armchair`."""
_ABSENT: Final = re.compile(rf"no (?:more )?(?={_NAME}{_PLACE})")
"""`no vase on the shelf`."""
_UNWANTED: Final = re.compile(r"i see (.+?) (?:anymore|any longer|any more)")
"""`i do not want the vase anymore`, as `requests` rewrites it."""
_AROUND: Final = re.compile(r"(?: ,)? (?:please|thanks|asap|now)(?: ,)?$|^(?:please|just|and|then|need|want) ")
"""Words around a note that add nothing."""
_SENTENCE_END: Final = re.compile(r" ?([;!?]|(?<!\d)\.(?!\d)) ?")
_CLAUSES: Final = _rewrites(
    # `let us tidy up :`.
    (
        " : ",
        rf"^(?:(?!{DETERMINER}\b)[a-z'-]+ ){{1,4}}: (?=(?:the|my|all) [^:;.]* (?:should|must|go|goes|needs?|is|are|has"
        rf"|have) )",
        "",
    ),
    # `swap the mug for the lamp`.
    (
        " for the ",
        r"^((?:please )?(?:swap|exchange|trade|switch) .+) for (?=the )",
        r"\1 and ",
    ),
    # `show me what it would look like with` before a name.
    (
        "look",
        r"\b(?:(?:show|let|tell) (?:me|us)|(?:let (?:me|us) |i want to )?see)(?: what| how) (?:it|that|this|the (?:room"
        r"|scene|picture|image)) (?:would |will |might )?looks?(?: like)? with (?=(?:the|my|an?) )",
        "have ",
    ),
    # `and the lamp on it moves along`.
    (
        " it",
        r"(?: ,| ;)?(?: and| while)? ((?:the|everything|whatever|all)(?: [\w-]+){0,4}? (?:on|in"
        r"|under)(?: top of)? (?:it|them)) (?:should |will |must |also )*(?:moves?|turns?|comes?|goes|go|rotates?"
        r"|stays?|follows?|travels?)(?: (?:along|with it|too|as well|together|in place|put|there|on it))*(?=$| [,.;])",
        r" with \1",
    ),
    ("whatever is on it", "whatever is on it", "everything on it"),
    # The comma before a second clause about `it`.
    (
        " ,",
        r" ,(?: and| but| so)? (?=(?:it|they) (?:should|must|needs?|has to|have to|belongs?|goes?|is to|are to"
        r"|ought) )",
        " ; ",
    ),
    # `the can was left under the table and needs to be ...` is a statement and a request about it.
    (
        " ",
        r"\b((?:is|are|was|were|has been|have been|had been|stands?|lies?|sits?) [^;.,]{1,60}?) (?:and|but)(?: now)? "
        r"(?=(?:should|must|needs?|has to|have to|ought to|belongs?|is to|are to|goes|wants?) )",
        r"\1 ; it ",
    ),
)
"""Rewrites of the whole text, in order."""
_REORDERED: Final = _rewrites(
    # `arrange it so that` before a clause about an object.
    (
        " so ",
        r"^(?:please )?(?:arrange|edit|change|adjust|fix|modify|alter|set|do|make|organi[sz]e|rearrange) (?:it|this"
        r"|things?|everything|(?:the |this )?(?:image|picture|photo|scene|room))(?: around)? so (?:that )?(?=(?:the|my"
        r"|an?|this|that) )",
        "",
    ),
    # `on the desk , i want the mug`: the place comes first.
    (
        "",
        r"^(?:please )?((?:in|on|under|underneath|beneath|inside|onto|from|next to|beside|behind) (?:the"
        rf"|my) (?:{_WORD} ){{1,4}}?(?:on the (?:[\w-]+ ){{1,3}}?)?)(?:, )?((?:(?:i|we) (?:want|need|would like)"
        r"|there (?:is|are|should|must|could)) .+)$",
        r"\2 \1",
    ),
    # `onto the tray with the glasses`.
    (
        " with ",
        rf"^((?:onto|on|into|in|under|behind|off) (?:the|my) (?:{_WORD} ){{1,4}}?)with ((?:the|my) [\w -]+)$",
        r"put \2 \1",
    ),
    # `on the desk is where the mug should go`.
    (
        " is where ",
        r"^((?:in|on|under|underneath|beneath|inside|next to|beside|behind) (?:the|my) [\w -]{1,30}?) is where ((?:the"
        r"|my|that) [\w -]{1,30}?) (?:(?:should|must|needs? to|has to|ought to) (?:go|stand|lie|be|sit)|belongs?|goes"
        r"|go)$",
        r"\2 should be \1",
    ),
)
"""Rewrites of single sentences, in order."""


class _Patterns(NamedTuple):
    """Patterns that depend on the verbs that may open an instruction."""

    asks: re.Pattern[str]
    """Polite words before such a verb."""
    wish: re.Pattern[str]
    """`i would like to see`, `need`, before a name."""
    note: re.Pattern[str]
    """A name and a place or an amount: `mug on desk`, `chair 20 cm right`."""
    listed: re.Pattern[str]
    """A name with a colon: `mug : shelf to desk`."""
    subject: re.Pattern[str]
    """A name without an article before a finite verb: `mug should go ...`."""
    later: re.Pattern[str]
    """Such a verb in a later clause."""
    opens: re.Pattern[str]
    """Such a verb at the start."""


@cache
def _patterns(verbs: str) -> _Patterns:
    asks = re.compile(
        rf"{_START}(?:{_POLITE}(?: ,)? )*(?:you|to|please|someone|somebody|us|and|kindly|just|now|then|first|next"
        r"|finally|also|can|could|we|i)(?: (?:please|kindly|just|maybe|perhaps|possibly|quickly|also"
        rf"|now))*(?: ,)? (?=(?:{verbs})\b)(?!(?:have|need|i want|i need|i would like)\b)"
    )
    wish = re.compile(
        rf"{_START}(?:{_POLITE} )*(?:(?:want|wants|need|like|love|prefer|please|let (?:me|us)|can we|could we"
        r"|rather)(?: to)? (?:see|have|try|get|picture|imagine)|need|want|prefer)(?= (?:the|that|this|my|an?|another"
        r"|some|one) )(?! (?:the|this) (?:scene|room|picture|image))"
    )
    note = re.compile(rf"(?!(?:{verbs}|{_NO_EDITS})\b(?! :))({_NAME})(?:(?::|,|-) )?((?:{_PLACE}|{_AMOUNT}) ?.*)$")
    listed = re.compile(
        rf"(?!(?:{verbs})\b)({_NAME}): ((?!(?:{verbs})\b)(?:{_WORD} ){{1,4}}?to .+|(?:{_WORD} ){{0,2}}{_CARRIER})$"
    )
    subject = re.compile(
        rf"(?!(?:{verbs})\b)({_NAME})(?=(?:goes|go|belongs?|should|must|shall|needs? to|has to|have to|ought to|to be"
        r"|can go) )"
    )
    later = re.compile(rf"(?:,|and|then|but|:) (?:{verbs})\b")
    opens = re.compile(rf"{_PLEASE}(?:{verbs})\b(?! :)")
    return _Patterns(asks, wish, note, listed, subject, later, opens)


def complete(text: str, verbs: str) -> str:
    """Complete a normalized text.

    Args:
        verbs: regular expression of the verbs that may open an instruction.
    """
    patterns = _patterns(verbs)
    text = _rewritten(text, _SIGNS)
    text = patterns.asks.sub("", _INTERJECTION.sub("", _CORRECTION.sub("", text)))
    text = patterns.wish.sub("i want", text)
    text = _rewritten(text, _CLAUSES)
    parts = _SENTENCE_END.split(text)
    alone = len([part for part in parts[::2] if part]) == 1
    parts[::2] = [_sentence(part, patterns, alone) for part in parts[::2]]
    return re.sub(r" +([;!?.])", r" \1", " ".join(parts)).strip()


def _sentence(text: str, patterns: _Patterns, alone: bool) -> str:
    """Complete one sentence.

    Args:
        alone: whether the text has no other sentence. Only then is it read as a note.
    """
    text = _rewritten(text, _REORDERED)
    if not _ANY_DETERMINER.search(text) and patterns.opens.match(text):
        noted = _noted(text)
        noted = _SECOND.sub(r"\1 the ", noted) if _EXCHANGES.match(text) else noted
        return _BARE_OBJECT.sub(r"\1 the ", noted, count=1)
    text = _BARE.sub(r"\1 the ", text)
    plain = _AROUND.sub("", text).strip(" ,")
    if _FINITE.search(plain) and not _UNWANTED.match(plain):
        found = patterns.subject.match(plain)
        return f"the {plain}" if found and not _DETERMINED.match(plain) else text
    if not alone or patterns.later.search(plain):
        return text
    if found := _EXCHANGE.fullmatch(plain):
        return f"swap {_the(found[1].strip())} and {_the(found[2])}"
    if found := _UNWANTED.fullmatch(plain):
        return f"remove {found[1]}"
    if found := _ABSENT.match(plain):
        return f"remove the {plain[found.end() :]}"
    if found := patterns.listed.match(plain):
        way = "from" if " to " in found[2] else "to"
        return f"make {_the(found[1].strip())} {_noted(f'{way} {found[2]}')}"
    if found := patterns.note.match(plain):
        name, rest = found[1].strip(), _noted(found[2])
        verb = "move" if _GOES.search(rest) else "make"
        return f"add {name} {rest}" if _NEW.match(found[1]) else f"{verb} {_the(name)} {rest}"
    return text


def _noted(text: str) -> str:
    """The places of a note with articles: `on the left behind the sofa`."""
    return _NOTED.sub(r"\1 the ", text)


def _the(name: str) -> str:
    return name if _DETERMINED.match(name) else f"the {name}"
