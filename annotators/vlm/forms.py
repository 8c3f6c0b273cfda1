"""Answers as forms: a pydantic model is the schema that holds the model's answer, and the check of what came.

Invariant: a schema has only keywords that grammar-guided decoding knows (no titles, defaults or references), all fields
required in the order in which they are declared: what is reasoned comes before what is concluded.
"""

from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, Field

Form = TypeVar("Form", bound=BaseModel)

_CHARACTER: Final = "[A-Za-z0-9 ,.;:'()%/-]"
_AT_ONCE: Final = 120
"""xgrammar fails on a pattern that repeats a character more than 128 times: longer texts are made of parts."""


def plain_text(least: int, most: int) -> str:
    """Part of a pattern: `least` (at most 120) to `most` characters of plain ASCII text.

    Patterns rather than lengths: they bound what a model can write, so that an answer ends, and keep it printable.
    """
    first = min(most, _AT_ONCE)
    rest = [min(_AT_ONCE, most - done) for done in range(first, most, _AT_ONCE)]
    return f"{_CHARACTER}{{{least},{first}}}" + "".join(f"{_CHARACTER}{{0,{count}}}" for count in rest)


Sentences = Annotated[str, Field(pattern=f"^{plain_text(1, 400)}$")]
"""Free text."""
_KNOWN: Final = (
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
    """JSON Schema of a flat form, to be changed by the caller as needed."""
    fields: dict[str, dict[str, Any]] = form.model_json_schema()["properties"]
    properties = {name: {key: rule[key] for key in _KNOWN if key in rule} for name, rule in fields.items()}
    return {"type": "object", "properties": properties, "required": list(fields), "additionalProperties": False}


def read_form(form: type[Form], text: str) -> Form:
    """The form that a text holds; a fence or words around the JSON are tolerated. Raises ValueError."""
    return form.model_validate_json(text[text.find("{") : text.rfind("}") + 1])
