"""Polite and indirect requests, as rewrites into imperatives and statements with `should`.

Invariant: a rewrite keeps what is asked for, and of which object. A clause about an object that asks for nothing by
itself (`I do not like the lamp on the desk`) becomes `i see ...`, which `parse` reads as a description.
"""

from typing import Final

REQUESTS: Final[tuple[tuple[str, str], ...]] = (
    (r"\b(?:pls|plz)\b", "please"),
    (r"\b(it|we|you|there)'d\b", r"\1 would"),
    (r"\b(is|are|was|were|does|did|should|must|can|could|would)n't\b", r"\1 not"),
    (r"\bteh\b", "the"),
    (
        r"\b(?:(?:is|would) it (?:be )?(?:possible|okay|ok|all ?right|fine)|(?:would you be|are you) able|feel free"
        r"|be so (?:kind|good)(?: as)?|(?:may|might|can|could) i (?:ask|trouble|bother|get) you|you may want|i want you"
        r"|i would (?:like|love)(?: for)? you) to\b"
        r"|\b(?:i was (?:hoping|wondering if)|(?:i|we) would (?:appreciate it|be (?:glad|grateful|happy)) if) "
        r"you(?: could| would)?\b",
        "please",
    ),
    (
        r"^(?:(?:right|ok|okay|all ?right|well|so|hey|hi|hello|oh|um|hmm|yes|actually|fine|great|perfect|cool)[,!]+ )+",
        "",
    ),
    (
        r"\b(?:can|could|would|will|should) (?:someone|somebody|anyone|anybody)\b"
        r"|\b(?:someone|somebody) (?:should|must|needs to|has to|ought to)\b",
        "please",
    ),
    (r" ?& ?", " and "),
    (r"\bdo you think (?:you|we) (?:could|can|would|might)\b", "please"),
    (r"\bi should like\b", "i would like"),
    (r"(?:^|(?<=[.;!?] ))(?:how|what) about (?=an? )", "add "),
    (r" ?, (?:dear|darling|love|mate|honey|thanks|thank you|will you|would you|if possible|okay|ok)(?= ?[.?!]*$)", ""),
    (r"(?<=\w)'s (?=(?:on|in|under|lying|standing|sitting) (?:the|my|your|this|that) )", " is "),
    (r"\bi (?:request|ask|propose|suggest|recommend|wish|insist|demand) that\b", ""),
    (r"\bin the way\b(?= (?:on|in|under)|[.,;!])", ""),
    (r"\bhave (?:someone|somebody) (?=\w+ (?:the|a) )", ""),
    (r"\ball the way\b", ""),
    (r"(?<!\bto )\b(halve|double|triple|reduce|increase|decrease|shrink) (?:its|their) (?:overall )?size\b", r"\1 it"),
    (r"(?<!\bthe )(?<!\ba )\btill(?= )", "until"),
    (
        r"\b(?:(?:it would be|would it be)(?: \w+)? (?:better|best|nicer?|great|good|lovely|possible) (?:if|when)"
        r"|it would (?:look|work|be) (?:better|nicer|best) (?:if|when)|what if|(?:i|we) would (?:like|love|prefer) it if"
        r"|(?:i|we) (?:only )?wish(?: that)?|suppose|imagine(?: that)?) ((?:the|that|this|my|a|an) (?:[\w-]+ ){1,6}?)"
        r"(?:were|was|is|stood|stands|sat|sits|went|lay|lies)\b",
        r"\1should be",
    ),
    (
        r"\b(?:it would be (?:\w+ )?(?:better|nice|great|good|lovely) if|what if|(?:i|we) would (?:like|love|prefer) it if"
        r"|(?:i|we) wish) there (?:was|were) (?=an? )|\b(?:i|we) would (?:like|love|prefer) (?:for )?there to be (?=an? )",
        "there should be ",
    ),
    (r"\b(?:(?:(?:do|would) you )?mind|(?:how|what) about|i (?:would )?suggest|consider|try) (?=\w+ing\b)", "by "),
    (
        r"\bi would (?:really |very much )?(?:love|like|prefer)(?: (?:to (?:have|see)|for there to be)(?= an? ))?\b"
        r"|\bit (?:would|will) be (?:great|nice|good|lovely|better) (?:to (?:have|see)|if there (?:was|were))(?= (?:an?"
        r"|the|my) )",
        "i would like",
    ),
    (r"\b(?:make sure|see to it|ensure)(?: that)?\b", ""),
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
        r"|(?:someone|somebody|who|i|we) (?:has |have |just )*(?:left|put|placed|forgot)|i (?:have "
        r"|just )*changed my mind about) (?=the |that |this |my |an? )",
        "i see ",
    ),
    (
        r"(?:^|(?<=[.;!?] ))(?:as for|regarding|concerning|(?:do )?you (?:know|see)|remember|(?:why|what) (?:is|are)"
        r"|(?:what|how) about|maybe) (?=(?:the|that|this|my) [^,.;?!]*[,.;?!]+ \w)",
        "i see ",
    ),
    (r"(?:^|(?<=[.;!?] ))(?:(?:what|how) about|maybe|perhaps) (?=(?:the|that|this|my) )", "i want "),
    (r"(?<=\bi see )([^,.;?!]*) doing(?= (?:on|in|under) )", r"\1"),
    (r"(?<=\bi see )([^,.;?!]*) ?, (?!which|that|the one)", r"\1 ; "),
    (r"\bthere is no (?:longer any )?need for (?=the |that |this |my )", "i see "),
    (r"\b(?:i|we) (want|need) to (?:see|have)(?= (?:the|an?) )", r"i \1"),
    (r"\bwe (want|would like)(?= (?:the|an?) )", r"i \1"),
    (
        r"(?:^|(?<=[.;!?] ))((?:[\w-]+ ){1,8}?)(?:is|are) (?:not (?:needed|necessary|required)|unnecessary)\b",
        r"do not \1",
    ),
    (r"\bi (?:rather |really |do |just )*(?:think|guess|believe|reckon|feel like)(?: that)?\b", ""),
    (r"\bi (want|need|would like) that (?=the |my |this )", r"i \1 "),
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
        r"\b(?<!\bit )(?:would|will|might|may|should) (?:look|be|work|fit|go)(?: so)?(?: much| far| a lot)? (?:better off|better|best"
        r"|nicer|nice|good|great)\b",
        "should stand",
    ),
    (r"\b(?:there )ought to be\b", "there should be"),
)
"""Patterns of text in lower case, and their replacements, in order."""
