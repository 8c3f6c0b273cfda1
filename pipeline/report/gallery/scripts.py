"""Data as scripts: pages from `file://` may load scripts, but fetch nothing.

What is in the data comes from anybody's metadata. It stands in a JavaScript string of ASCII without `<`, so no text can
end the string, the script or its line, and it is read with JSON.parse: quicker than a literal, and nothing runs.
"""

import json
from typing import Any


def script(function: str, *values: Any) -> bytes:
    """A script that calls `function` with these values."""
    return f"{function}({', '.join(_embedded(value) for value in values)});\n".encode("ascii")


def _embedded(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return f"JSON.parse({json.dumps(text).replace('<', chr(92) + 'u003c')})"
