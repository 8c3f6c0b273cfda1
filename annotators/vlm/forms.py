"""Answers as forms: a pydantic model gives the JSON Schema of an answer and parses the answer.

Invariant: a schema has only keywords that grammar-guided decoding supports (no titles, defaults or references). All
fields are required, in the order in which they are declared, so that reasoning comes before conclusions.
"""

from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, Field

Form = TypeVar("Form", bound=BaseModel)

_CHARACTER: Final = "[A-Za-z0-9 ,.;:'()%/-]"
_MAX_REPEAT: Final = 120
"""xgrammar fails on a pattern that repeats a character more than 128 times, so longer texts consist of parts."""


def text_pattern(least: int, most: int) -> str:
    """Regular expression of `least` (at most 120) to `most` characters of printable ASCII text.

    A pattern, unlike a length, also restricts decoding: the answer ends, and it is printable.
    """
    first = min(most, _MAX_REPEAT)
    rest = [min(_MAX_REPEAT, most - done) for done in range(first, most, _MAX_REPEAT)]
    return f"{_CHARACTER}{{{least},{first}}}" + "".join(f"{_CHARACTER}{{0,{count}}}" for count in rest)


Sentences = Annotated[str, Field(pattern=f"^{text_pattern(1, 400)}$")]
"""Free text."""
_KEYWORDS: Final = (
    "type",
    "enum",
    "const",
    "pattern",
    "minimum",
    "maximum",
    "items",
    "minItems",
    "maxItems",
    "description",
)


def schema_of(form: type[BaseModel]) -> dict[str, Any]:
    """JSON Schema of a flat form. The caller may change it."""
    fields: dict[str, dict[str, Any]] = form.model_json_schema()["properties"]
    properties = {name: {key: rule[key] for key in _KEYWORDS if key in rule} for name, rule in fields.items()}
    return {"type": "object", "properties": properties, "required": list(fields), "additionalProperties": False}


def read_form(form: type[Form], text: str) -> Form:
    """Parse a form from a text. Other text around the JSON object is ignored. Raises ValueError if it is malformed."""
    return form.model_validate_json(text[text.find("{") : text.rfind("}") + 1])
