"""Parse camera moves: yaw, pitch and zoom of an orbit around the scene.

Invariant: only orbits, changes of elevation and changes of distance are parsed. Panning and tilting in place are
reported as not understood. Seen from above, a camera that orbits clockwise moves to the viewer's left.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..claims import Claims
from .text import NUMBER

_CAMERA: Final = (
    r"(?:camera(?: (?:angle|position|view(?:point)?|height|pose))?|viewpoint|view ?point|vantage point|viewing angle"
    r"|point of view|view)"
)
VERBS: Final = (
    "orbit|zoom|raise|lower|swing|walk|circle|dolly|tilt|pan|look|view|show|rise|fly|step|elevate|sink|go|yaw|pitch"
    "|get closer"
)
NO_CLAIMS: Final = Claims(edit="camera")
"""The claims of a text that mentions a camera edit without any move that this module knows."""
_OPENS: Final = re.compile(
    r"(?:please |now |just |only |could you |can you )*(?:"
    rf"(?:orbit|zoom|dolly|circle|walk around|pan around|step (?:closer|back))\b"
    rf"|[\w]+ (?:only |back )?(?:the|your) {_CAMERA}\b(?! (?:{_CAMERA}|bags?|cases?|stand|tripod|lens|strap))"
    r"|(?:show|view|look at|see|capture|photograph|observe|present|render) (?:the )?(?:same |whole )?"
    r"(?:scene|objects|room) (?:as )?(?:seen |viewed )?from\b"
    rf"|(?:the|your) {_CAMERA} (?:should|must|shall|is|has to|needs to|orbits|circles|swings|moves|rises|climbs|ascends"
    r"|sinks|drops|descends|lowers|zooms|goes|comes)\b"
    r"|(?:take|shoot) (?:the|a) (?:same )?(?:picture|photo|photograph|shot|image) from\b"
    r"|(?:pan|tilt|truck|pedestal) (?:left|right|up|down|in|out)\b"
    r"|(?:move|come|get|go|pull) (?:back|(?:in )?(?:closer|nearer)|(?:farther|further) (?:away|back|out))"
    r"(?=$| (?:and|a bit|a little|slightly|,)(?: |$))"
    rf"|get (?:closer|farther away|further away) with the camera\b)"
)
_SIGNED: Final = rf"([-+−]?{NUMBER})\s*°?"
_BENCH: Final = re.compile(
    rf"camera rotation:\s*yaw\s*{_SIGNED}\s*,\s*pitch\s*{_SIGNED}.*?camera zoom:\s*(in|out|unchanged)",
    re.IGNORECASE | re.DOTALL,
)
_PARTS: Final = re.compile(r" ?,(?: and| then| while)* | and then | and | then | while (?=\w+ing\b)")
_DEGREES: Final = re.compile(rf"({NUMBER}) degrees")
_YAW: Final = re.compile(r"\b(left|right|clockwise|counterclockwise)(?:wards?)?\b")
_ANGLE_OF_YAW: Final = re.compile(
    rf"{NUMBER} degrees (?:around )?(?:(?:to|towards) the )?(?:left|right)|(?:left|right) by {NUMBER} degrees"
)
_UP: Final = re.compile(
    r"\b(?:rais(?:e|es|ing)|ris(?:e|es|ing)|lift(?:s|ing)?|climb(?:s|ing)?|ascend(?:s|ing)?|higher|up|elevates?"
    r"|upwards?|increase .*(?:height|elevation))\b"
)
_DOWN: Final = re.compile(
    r"\b(?:lower(?:s|ing)?|sink(?:s|ing)?|drop(?:s|ping)?|dips?|down|downwards?|descend(?:s|ing)?"
    r"|decrease .*(?:height|elevation))\b"
)
_IN: Final = re.compile(r"\b(?:in|closer|nearer|forwards?)\b")
_OUT: Final = re.compile(r"\b(?:out|back|backwards?|farther|further|away|as far)\b")
_ZOOM_IN: Final = re.compile(r"\b(?:zoom|dolly)(?:s|ing)? in\b")
_ZOOM_OUT: Final = re.compile(r"\bzoom(?:s|ing)? out\b")
_SAME: Final = (("zoom", re.compile(r"\b(?:distance|zoom)\b")), ("pitch", re.compile(r"\b(?:height|elevation)\b")))
_AROUND: Final = re.compile(r"\b(?:orbit|circle|around|rotate|walk|swing)\b")
_IN_PLACE: Final = re.compile(r"\b(?:pan(?! around)|tilt)\b")
_ASIDES: Final = re.compile(
    r"(?<=closer )up\b|so that it looks (?:up|down) \w+(?: steeply)?|(?:as )?(?:seen|viewed) from above|from above"
    r"|(?:in|of) the (?:image|scene)|(?:farther|further)(?= (?:to the )?(?:left|right))|(?:in|with) degrees"
    r"|around the \w+(?: \w+)?(?=$| ,| to | by )|in the middle"
)
_DISTANCE: Final = re.compile(
    rf"to ({NUMBER}) percent|(?:by )?(?:a )?factor of ({NUMBER})|({NUMBER}) times(?: as (close|near|far))?"
)


def parse_bench(text: str) -> dict[str, Any] | None:
    """Fields of Claims from an instruction of SpatialEdit's benchmark (four lines); None for any other text."""
    found = _BENCH.search(text)
    if not found:
        return None
    yaw, pitch = (float(found[group].replace("−", "-")) for group in (1, 2))
    return {
        "edit": "camera",
        "yaw": "right" if yaw > 0 else "left" if yaw < 0 else "unchanged",
        "yaw_deg": abs(yaw),
        "pitch": "up" if pitch > 0 else "down" if pitch < 0 else "unchanged",
        "pitch_deg": abs(pitch),
        "zoom": found[3].lower(),
    }


def is_camera_clause(clause: str) -> bool:
    """Whether a normalized clause asks for a camera move."""
    return bool(_OPENS.match(clause))


def read_clauses(clauses: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Return the fields of Claims, and the parts of the clauses that were not understood."""
    fields: dict[str, Any] = {"edit": "camera"}
    rest: list[str] = []
    for clause in clauses:
        for part in _PARTS.split(_ASIDES.sub("", clause.replace("pan around", "orbit"))):
            found = _read_part(part) if part.strip() else {}
            if found is None:
                rest.append(part)
            else:
                fields |= {name: value for name, value in found.items() if name not in fields}
    # In `zoom in , to 68 percent of its distance` the share is in a separate part.
    share = fields.pop("share", 0.0)
    if share and "zoom" in fields and "zoom_factor" not in fields:
        fields["zoom_factor"] = share
    return fields, rest


def unchanged(prohibited: Sequence[str]) -> dict[str, str]:
    """Fields of Claims that prohibiting clauses keep unchanged (`without changing the distance`)."""
    return {name: "unchanged" for name, pattern in _SAME if any(map(pattern.search, prohibited))}


def _read_part(part: str) -> Mapping[str, Any] | None:
    if _IN_PLACE.search(part):
        return None
    degrees = _DEGREES.search(part)
    angle = float(degrees[1]) if degrees else 0.0
    if side := _YAW.search(part):
        pitch = "up" if _UP.search(part) else "down" if _DOWN.search(part) else ""
        if pitch and angle and not _ANGLE_OF_YAW.search(part):
            return None  # the angle may be yaw or pitch
        fields: dict[str, Any] = {"yaw": "left" if side[1] in ("left", "clockwise") else "right"}
        return fields | ({"yaw_deg": angle} if angle else {}) | ({"pitch": pitch} if pitch else {})
    zoom = "in" if _ZOOM_IN.search(part) else "out" if _ZOOM_OUT.search(part) else ""
    if not zoom:
        for pattern, direction in ((_UP, "up"), (_DOWN, "down")):
            if pattern.search(part):
                return {"pitch": direction, "pitch_deg": angle} if angle else {"pitch": direction}
    if angle and _AROUND.search(part):
        return {"yaw_deg": angle}
    zoom = zoom or ("in" if _IN.search(part) else "out" if _OUT.search(part) else "")
    factor = _zoom_factor(part, zoom)
    if zoom:
        return {"zoom": zoom, "zoom_factor": factor} if factor else {"zoom": zoom}
    return {"share": factor} if factor else (None if _means_something(part) else {})


def _zoom_factor(part: str, zoom: str) -> float:
    """Distance before divided by distance after; 0 if the part names none."""
    found = _DISTANCE.search(part)
    if not found:
        return 0.0
    if found[1]:
        return 100 / float(found[1]) if float(found[1]) else 0.0
    value = float(found[2] or found[3])
    if value == 0:
        return 0.0
    if "distance" in part or found[4] == "far":
        return 1 / value
    return 1 / value if zoom == "out" and value > 1 else value


def _means_something(part: str) -> bool:
    """Whether a part without known phrases has words besides those that mean nothing on their own."""
    return not re.fullmatch(
        rf"(?:(?:move|change|turn|rotate|show|the|this|scene|please|same|{_CAMERA})\b ?)*", part.strip()
    )
