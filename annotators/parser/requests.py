"""Polite and indirect requests, as rewrites into imperatives and statements with `should`.

Invariant: a rewrite keeps what is asked for, and of which object. A clause about an object that asks for nothing by
itself (`I do not like the lamp on the desk`) becomes `i see ...`, which `parse` reads as a description.
"""

import re
from typing import Final

SPELLINGS: Final = {
    "gonna": "going to",
    "wanna": "want to",
    "gotta": "have to",
    "lemme": "let me",
    "gimme": "give me",
    "u": "you",
    "ur": "your",
    "pls": "please",
    "plz": "please",
    "thx": "thanks",
    "ty": "thanks",
    "teh": "the",
    "dont": "do not",
    "don't": "do not",
    "ccw": "counterclockwise",
    "cw": "clockwise",
    "w/": "with",
    "b/w": "between",
    "&": "and",
    "upon": "on",
}
"""Other spellings of words, and the words that they stand for."""
INDIRECT: Final = re.compile(
    r"\b(?:i|you|we|someone|somebody|anyone|anybody|who|what|how|why|would|could|can|may|might|should|shall|must|will"
    r"|ought|does|do|did|sure|certain|see|check|ensure|take care|mind|the (?:[\w-]+ )?one|my|the (?:suggestion|plan"
    r"|idea|wish|request|task|goal|aim|proposal)|the [\w-]+ (?:has |have |just )*(?:put|placed|forgot)|consider|try"
    r"|feel|so (?:kind|good)|remember|concerning|regarding|as for|after|when|once|if|used to|supposed|meant|intended"
    r"|expected|going to|thing|object|item|not the|chance|there (?:was|were)|over there|perhaps|maybe|look at|(?:away"
    r"|out|off) with|of the (?:two|three|four|five|many)|whichever|imagine|suppose|but|that|is (?:not|unnecessary"
    r"|needed|wanted|required)|are (?:not|unnecessary|needed|wanted|required)|isn|aren|in the way|all the way"
    r"|real quick|at the moment|right now|at present|back where|left (?:an?|the|my)|as (?:big|large|tall|wide) again"
    r"|(?:its|their) (?:overall )?size|is it|be so|no (?:longer any )?(?:need|room|space|place))\b|^\w+ ?,|'(?:s|d"
    r"|re)\b|n't\b|&"
)
"""What every text has to which a row of `REQUESTS` applies. All other texts are requests as they stand."""
_START: Final = r"(?:^|(?<=[.;!?] ))"
"""Matches at the start of a sentence."""
REQUESTS: Final[tuple[tuple[str, str], ...]] = (
    (r"\b(it|we|you|there)'d\b", r"\1 would"),
    (r"\b(is|are|was|were|does|did|should|must|can|could|would)n't\b", r"\1 not"),
    (
        r"\b(?:(?:is|would) it (?:be )?(?:possible|okay|ok|all ?right|fine)|(?:would you be|are you) able|feel free"
        r"|be so (?:kind|good)(?: as)?|(?:may|might|can|could) i (?:ask|trouble|bother|get) you|you may want|i want you"
        r"|i would (?:like|love)(?: for)? you) to\b"
        r"|\b(?:i was (?:hoping|wondering if)|(?:i|we) would (?:appreciate it|be (?:glad|grateful|happy)) if) "
        r"you(?: could| would)?\b",
        "please",
    ),
    (
        r"\b(?:can|could|would|will|should) (?:someone|somebody|anyone|anybody)\b"
        r"|\b(?:someone|somebody) (?:should|must|needs to|has to|ought to)\b",
        "please",
    ),
    (r" ?& ?", " and "),
    (r"\bi should like\b", "i would like"),
    (_START + r"(?:how|what) about (?=an? )", "add "),
    (r"(?<=\w)'s (?=(?:on|in|under|lying|standing|sitting) (?:the|my|your|this|that) )", " is "),
    (r"\bi (?:request|ask|propose|suggest|recommend|wish|insist|demand) that\b", ""),
    (r"\bin the way\b(?= (?:on|in|under)|[.,;!])", ""),
    (r"\bhave (?:someone|somebody) (?=\w+ (?:the|a) )", ""),
    (r"\ball the way\b", ""),
    (r"(?<!\bto )\b(halve|double|triple|reduce|increase|decrease|shrink) (?:its|their) (?:overall )?size\b", r"\1 it"),
    (
        r"\b(?:(?:it would be|would it be)(?: \w+)? (?:better|best|nicer?|great|good|lovely|possible) (?:if|when)"
        r"|it would (?:look|work|be) (?:better|nicer|best) (?:if|when)|what if|(?:i|we) would (?:like|love"
        r"|prefer) it if|(?:i|we) (?:only )?wish(?: that)?|suppose|imagine(?: that)?) ((?:the|that|this|my|a"
        r"|an) (?:[\w-]+ ){1,6}?)(?:were|was|is|stood|stands|sat|sits|went|lay|lies)\b",
        r"\1should be",
    ),
    (
        r"\b(?:it would be (?:\w+ )?(?:better|nice|great|good|lovely) if|what if|(?:i|we) would (?:like|love"
        r"|prefer) it if|(?:i|we) wish) there (?:was|were) (?=an? )|\b(?:i|we) would (?:like|love"
        r"|prefer) (?:for )?there to be (?=an? )",
        "there should be ",
    ),
    (r"\b(?:(?:(?:do|would) you )?mind|(?:how|what) about|i (?:would )?suggest|consider|try) (?=\w+ing\b)", "by "),
    (
        r"\bi would (?:really |very much )?(?:love|like|prefer)(?: (?:to (?:have|see)|for there to be)(?= an? ))?\b"
        r"|\bit (?:would|will) be (?:great|nice|good|lovely|better) (?:to (?:have|see)|if there (?:was|were))(?= (?:an?"
        r"|the|my) )",
        "i would like",
    ),
    (
        r"\b(?:make (?:sure|certain)|see to it|be sure|take care|ensure)(?: that)?\b|\b(?:see|check) that (?=the |my )",
        "",
    ),
    (
        r"\b(?:my|the|our) (?:suggestion|plan|idea|wish|request|task|goal|aim|proposal) (?:is|was|would be)(?: (?:to"
        r"|that|for))?\b",
        "",
    ),
    (
        r"\b(?:what|all) (?:i|we) (?:really |just )?(?:want|need|would like) is (?:for |to have |to see )?(?=the "
        r"|an? |my )",
        "i want ",
    ),
    (r"\blet's (?:see|try|have|get)(?= (?:the|my|an?) )", "i want"),
    (
        r"\b(?:the|that|this) (?:thing|object|item) ((?:on|in|under|by|behind|next to|beside) [^,.;]{1,40}?) ?, "
        r"(?:the|my) ([\w-]+(?: [\w-]+)?)(?=$|[ ,.;!?])",
        r"the \2 \1",
    ),
    (r"\b(?:is|are) (?:supposed|meant|intended|expected|going) to\b", "should"),
    (_START + r"not (?:the|that|my) [^,.;]{1,30}, (?=(?:the|that|my) )", ""),
    (
        r"\bi(?:'m| am| was) (?:wondering|hoping)(?: (?:if|whether|that))? (?=(?:the|that|my|you) )"
        r"|\b(?:is there )?any chance (?:that )?(?=(?:the|that|my|you|we) )",
        "",
    ),
    (r"\bit (?:would|will) (?:be|look) (?:\w+ )?\w+ with (?=(?:the|my|an?) )", "i want "),
    (r"\bit is ((?:the|that|my) [^,.;]{1,40}?) (?:that )?(?:i|we) (?:want|need)\b", r"i want \1"),
    (
        _START + r"((?:the|that|my) [^,.;]{1,40}?) is (?:what|the (?:one|thing)) (?:that )?(?:i|we) (?:want"
        r"|need)\b",
        r"i want \1",
    ),
    (r"\bi would be (?:happier|happy|pleased|glad) (?:with|to see|to have) (?=the |an? |my )", "i want "),
    (_START + r"after \w+ing (?:up )?(?=(?:the|my) )", "take "),
    (_START + r"(?:when|once|after|if|as) (?:you|we|it|that|this|all)\b[^,.;]{0,30}, ?", ""),
    (r"\bthere used to be ", "there is "),
    (r" ?\bover there\b(?= ?,| (?:on|in|under|next|beside|by|behind) )", ""),
    (_START + r"(?:would|i'd) like (?=the |an? |my )", "i would like "),
    (_START + r"(?:have|take) a look at (?=the |my )", "i see "),
    (_START + r"(?:away|out|off) with (?=the |my |that )", "remove "),
    (_START + r"of the (?:two|three|four|five|many) [\w -]{1,30}, ?", ""),
    (r"\bwhichever ([\w-]+(?: [\w-]+)?) (?=(?:is|stands|sits|lies) )", r"the \1 that "),
    (r"\b(?:is|are) (?:needed|wanted|required) (?=(?:on|in|under|next|beside|behind|between|near|to) )", "should be "),
    (
        r"\bwould (?:look|be) (?:better|nicer|best|great|good) if (?:it|they) (?:stood|were|was|sat|lay|went)\b",
        "should be",
    ),
    (r"\b(?:does|do) not belong(?= [^.;!?]{1,80}[.;!?,] \w)", "is misplaced"),
    (r"\bwhy do not (?:you|we)\b", "please"),
    (r"\b(?:can|could|would|will) (?:you|u|we)\b(?: please)?", "please"),
    # `could the box be moved` is `the box should be moved`.
    (
        r"(?:^|(?<=[,.;!?] ))(?:can|could|may|might|should|shall|must|would(?: not)?) "
        r"((?:the|that|this|my) (?:[\w-]+ ){1,8}?)(?:please )?(?=(?:be|go|sit|stand|lie|rest|have|appear|get|swap"
        r"|switch|trade|exchange|change|look|fit|work)\b)",
        r"\1should ",
    ),
    (
        r"\b(?:i (?:really )?(?:do not|no longer) (?:like|want|need)|i(?:'m| am) not (?:happy|pleased) (?:with|about)"
        r"|(?:someone|somebody|who|i|we|(?:the|my) [\w-]+) (?:has |have |just )*(?:left|put|placed|forgot)|i (?:have "
        r"|just )*changed my mind about) (?=the |that |this |my |an? )",
        "i see ",
    ),
    (
        _START + r"(?:as for|regarding|concerning|(?:(?:do )?you )?(?:know|see)|remember|(?:why|what) (?:is"
        r"|are)|(?:what|how) about|maybe) (?=(?:the|that|this|my) [^,.;?!]*[,.;?!]+ \w)",
        "i see ",
    ),
    (_START + r"(?:(?:what|how) about|maybe|perhaps) (?=(?:the|that|this|my) )", "i want "),
    (r"\bthere is no (?:longer any )?(?:need|room|space|place) for (?=the |that |this |my )", "i see "),
    (
        _START + r"((?:[\w-]+ ){1,8}?)(?:is|are) (?:not (?:needed|necessary|required)|unnecessary)\b",
        r"do not \1",
    ),
    (r"\bi (?:rather |really |do |just )*(?:think|guess|believe|reckon|feel like)(?: that)?\b", ""),
    (r"^[a-z]+ ?, (?=(?:the|my|your|this|that|please) )", ""),
    (r" ?,? (?:except|only|but) that (?=the |my |this )", " ; "),
    (
        r", the (?:[\w-]+ )?one (?=(?:on|in|under|by|next to|beside|near|behind|in front of|to the|between) )",
        ", that is ",
    ),
    (r" ?, but (?=(?:the|my|this) )", " ; "),
    (r"\breal quick\b| ?\b(?:at the moment|right now|at present|back where (?:it|they) belongs?)\b", ""),
    (r"\bhalf as (big|large|tall|wide) again\b", r"1.5 times as \1"),
    (
        r"\b(?<!\bit )(?:would|will|might|may|should) (?:look|be|work|fit|go)(?: so)?(?: much| far"
        r"| a lot)? (?:better off|better|best"
        r"|nicer|nice|good|great)\b",
        "should stand",
    ),
    (r"\b(?:there )ought to be\b", "there should be"),
)
"""Patterns of text in lower case, and their replacements, in order."""
