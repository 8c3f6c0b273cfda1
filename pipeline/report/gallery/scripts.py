"""Data as scripts: pages from `file://` may load scripts, but cannot fetch files.

The data contains untrusted metadata. It is written as a JavaScript string in ASCII without `<`, so no text can end the
string, the script or its line. JSON.parse reads it: faster than a literal, and nothing in it is executed.
"""

import json
from typing import Any


def script(function: str, *values: Any) -> bytes:
    """A script that calls `function` with these values."""
    return f"{function}({', '.join(_embedded(value) for value in values)});\n".encode("ascii")


def _embedded(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return f"JSON.parse({json.dumps(text).replace('<', chr(92) + 'u003c')})"
