# pyright: basic
"""The geometry of a room's shell from a `Room` as JSON (sources/scenes/room.py): meshes in world meters, numpy alone.

Everything is made of boxes and sheets, a few thousand triangles in total. Each part belongs to a side of the room, so
that light can pass all parts of one side, and names what it is made of.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

FLOOR_OFFSET_M = 5e-5
"""How much the floor is lower than the objects on it, meters, so that the bottom of an open box hides the floor."""
THICKNESS = 0.22
"""Of the walls, seen in the reveals of windows."""
RUG_M = 0.005
"""Thickness of a rug. Objects that stand on it sink in by this much."""
LEAF_M = 0.012
"""How far a door's leaf stands out from its wall."""
NORMALS = {"+x": (1, 0), "+y": (0, 1), "-x": (-1, 0), "-y": (0, -1)}
_ROUND = 20
"""Sides of what is round."""


class Part(NamedTuple):
    """A mesh of one material."""

    name: str
    side: str
    """A wall, `ceiling`, or `inside` for what stands in the room; the floor is `inside`."""
    material: str
    """`floor`, `wall`, `feature`, `ceiling`, `trim`, `cloth`, `metal`, `mat`, `rug`, `opening<i>`, `frame<i>` and
    `picture<i>` of a picture, `shade<i>` and `bulb<i>` of a lamp."""
    vertices: np.ndarray
    """(N, 3)."""
    faces: list
    """Tuples of three or more indices."""
    smooth: bool = False
    uv: np.ndarray | None = None
    """(N, 2) of each vertex: 0 to 1 on a picture, meters from the middle on a rug."""

    def triangles(self) -> np.ndarray:
        """Vertex indices (M, 3)."""
        return np.array([(face[0], face[i], face[i + 1]) for face in self.faces for i in range(1, len(face) - 1)])


def prism_part(name: str, outline: Sequence[Sequence[float]], low: float, high: float) -> Part:
    """A vertical prism: of a convex outline (x, y), counter-clockwise from above, between two heights, meters."""
    count = len(outline)
    vertices = np.array([(x, y, z) for z in (low, high) for x, y in outline])
    sides = [(i, (i + 1) % count, count + (i + 1) % count, count + i) for i in range(count)]
    ends = [tuple(reversed(range(count))), tuple(range(count, 2 * count))]
    return Part(name, "inside", "", vertices, [*sides, *ends])


class Side:
    """One wall: maps (along, z, out), meters, to the world; `out` grows away from the room."""

    def __init__(self, name: str, size: Sequence[float]) -> None:
        self.name = name
        x, y = NORMALS[name]
        self.normal, self.right = np.array([x, y, 0.0]), np.array([y, -x, 0.0])
        self.half, self.distance = (size[1] / 2, size[0] / 2) if x else (size[0] / 2, size[1] / 2)

    def world(self, points: np.ndarray) -> np.ndarray:
        """World points (N, 3) of (along, z, out)."""
        along, z, out = np.reshape(points, (-1, 3)).T[:, :, None]
        return self.normal * (self.distance + out) + self.right * along + np.array([0.0, 0.0, 1.0]) * z


def shell_parts(room: dict) -> list[Part]:
    """All parts of a room."""
    width, depth, height = room["size"]
    x, y = width / 2 + THICKNESS, depth / 2 + THICKNESS
    parts = [
        _quad(
            "floor",
            "inside",
            "floor",
            [(-x, -y, -FLOOR_OFFSET_M), (x, -y, -FLOOR_OFFSET_M), (x, y, -FLOOR_OFFSET_M), (-x, y, -FLOOR_OFFSET_M)],
        ),
        _quad("ceiling", "ceiling", "ceiling", [(-x, -y, height), (-x, y, height), (x, y, height), (x, -y, height)]),
    ]
    for name in NORMALS:
        side = Side(name, room["size"])
        parts += _wall(room, side)
        for number, opening in enumerate(room["openings"]):
            if opening["wall"] == name:
                parts += (_window if opening["kind"] == "window" else _door)(side, opening, f"opening{number}")
    for number, picture in enumerate(room["pictures"]):
        parts += _picture(Side(picture["wall"], room["size"]), picture, number)
    parts += _curtains(room)
    if room["rug"]:
        parts += _rug(room["rug"])
    for number, lamp in enumerate(room["light"]["lamps"]):
        parts += _lamp(lamp, number, height)
    return parts


def _quad(name: str, side: str, material: str, corners: list) -> Part:
    return Part(name, side, material, np.array(corners, np.float64), [(0, 1, 2, 3)])


_BOX_FACES = ((3, 2, 1, 0), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7))


def _boxes(name: str, side: Side, material: str, boxes: list) -> list[Part]:
    """One part of boxes (along, along, z, z, out, out), each from least to most; none where there is no box."""
    vertices, faces = [], []
    for a0, a1, z0, z1, t0, t1 in boxes:
        start = 8 * len(vertices)
        faces += [tuple(start + i for i in face) for face in _BOX_FACES]
        ring = ((a0, t0), (a1, t0), (a1, t1), (a0, t1))
        vertices.append([(a, z, t) for z in (z0, z1) for a, t in ring])
    return [Part(name, side.name, material, side.world(np.array(vertices)), faces)] if boxes else []


def _span(opening: dict) -> tuple[float, float, float, float]:
    """along, along, z, z."""
    half = opening["width"] / 2
    return (
        opening["along"] - half,
        opening["along"] + half,
        opening["bottom"],
        opening["bottom"] + opening["height"],
    )


def _wall(room: dict, side: Side) -> list[Part]:
    """The inner face with holes for windows, their reveals, skirting and cornice."""
    height, half = room["size"][2], side.half
    mine = [opening for opening in room["openings"] if opening["wall"] == side.name]
    holes = [_span(opening) for opening in mine if opening["kind"] == "window"]
    across = sorted({-half, half, *(value for hole in holes for value in hole[:2])})
    up = sorted({0.0, height, *(value for hole in holes for value in hole[2:])})
    quads = [
        [(a0, z0, 0), (a1, z0, 0), (a1, z1, 0), (a0, z1, 0)]
        for a0, a1 in pairwise(across)
        for z0, z1 in pairwise(up)
        if not any(h[0] <= a0 and a1 <= h[1] and h[2] <= z0 and z1 <= h[3] for h in holes)
    ]
    t = THICKNESS
    for a0, a1, z0, z1 in holes:
        quads += [
            [(a0, z0, 0), (a0, z1, 0), (a0, z1, t), (a0, z0, t)],
            [(a1, z0, 0), (a1, z0, t), (a1, z1, t), (a1, z1, 0)],
            [(a0, z1, 0), (a1, z1, 0), (a1, z1, t), (a0, z1, t)],
            [(a0, z0, 0), (a0, z0, t), (a1, z0, t), (a1, z0, 0)],
        ]
    faces = [tuple(range(4 * i, 4 * i + 4)) for i in range(len(quads))]
    material = "feature" if room["feature"] and room["feature_wall"] == side.name else "wall"
    parts = [Part("wall", side.name, material, side.world(np.array(quads)), faces)]
    cuts = sorted((s[0] - 0.07, s[1] + 0.07) for s in map(_span, mine) if s[2] < room["skirting"])
    ends = [-half, *(value for cut in cuts for value in cut), half]
    skirting = [(a, b, 0.0, room["skirting"], -0.014, 0.0) for a, b in zip(ends[::2], ends[1::2], strict=True) if b > a]
    # A quarter of the height is thinner: the rounded top edge of a board.
    skirting += [(a, b, room["skirting"], room["skirting"] + 0.006, -0.007, 0.0) for a, b, *_ in skirting]
    parts += _boxes("skirting", side, "trim", skirting)
    if room["cornice"]:
        c = room["cornice"]
        steps = [(-half, half, height - c * (1 - k / 3), height, -c * (k + 1) / 3, -c * k / 3) for k in range(3)]
        parts += _boxes("cornice", side, "trim", steps)
    return parts


def _window(side: Side, opening: dict, material: str) -> list[Part]:
    """Frame and bars in the middle of the reveal, and a sill. There is no glass: it would only cost light paths."""
    a0, a1, z0, z1 = _span(opening)
    f, t0, t1 = 0.055, 0.09, 0.15
    across, down = opening["panes"]
    bars = [
        (a0, a1, z0, z0 + f, t0, t1),
        (a0, a1, z1 - f, z1, t0, t1),
        (a0, a0 + f, z0 + f, z1 - f, t0, t1),
        (a1 - f, a1, z0 + f, z1 - f, t0, t1),
    ]
    for i in range(1, across):
        a = a0 + f + (a1 - a0 - 2 * f) * i / across
        bars.append((a - 0.028, a + 0.028, z0 + f, z1 - f, t0 + 0.004, t1 - 0.004))
    for i in range(1, down):
        z = z0 + f + (z1 - z0 - 2 * f) * i / down
        bars.append((a0 + f, a1 - f, z - 0.014, z + 0.014, t0 + 0.012, t1 - 0.012))
    parts = _boxes("window", side, material, bars)
    if z0 > 0.1:
        parts += _boxes("sill", side, "trim", [(a0 - 0.05, a1 + 0.05, z0 - 0.03, z0 + 0.002, -opening["sill"], t0)])
    return parts


def _door(side: Side, opening: dict, material: str) -> list[Part]:
    """Leaf with panels, casing and a handle; the wall behind it has no hole."""
    a0, a1, _, z1 = _span(opening)
    c = 0.07
    casing = [
        (a0 - c, a0, 0.0, z1 + c, -0.022, 0.0),
        (a1, a1 + c, 0.0, z1 + c, -0.022, 0.0),
        (a0, a1, z1, z1 + c, -0.022, 0.0),
    ]
    leaf = [(a0, a1, 0.006, z1, -LEAF_M, 0.0)]
    across, down = opening["panes"]
    margin = 0.11
    w, h = (a1 - a0 - margin * (across + 1)) / across, (z1 - 0.1 - margin * (down + 1)) / down
    for left in (a0 + margin + (w + margin) * i for i in range(across)):
        for low in (0.1 + margin + (h + margin) * k for k in range(down)):
            leaf.append((left, left + w, low, low + h, -LEAF_M - 0.008, -LEAF_M))
    handle = [
        (a0 + 0.05, a0 + 0.17, 1.02, 1.038, -0.07, -0.052),
        (a0 + 0.05, a0 + 0.068, 1.02, 1.038, -0.052, -LEAF_M),
        (a0 + 0.038, a0 + 0.08, 0.94, 1.1, -LEAF_M - 0.006, -LEAF_M),
    ]
    return [
        *_boxes("casing", side, "trim", casing),
        *_boxes("door", side, material, leaf),
        *_boxes("handle", side, "metal", handle),
    ]


def _picture(side: Side, picture: dict, number: int) -> list[Part]:
    """Frame, mat and picture; the picture lies a little behind the frame's front."""
    a, z, w, h, f = (picture[key] for key in ("along", "z", "width", "height", "frame"))
    a0, a1, z0, z1, m = a - w / 2, a + w / 2, z - h / 2, z + h / 2, f + picture["mat"]
    frame = [
        (a0, a0 + f, z0, z1, -0.025, -0.002),
        (a1 - f, a1, z0, z1, -0.025, -0.002),
        (a0 + f, a1 - f, z0, z0 + f, -0.025, -0.002),
        (a0 + f, a1 - f, z1 - f, z1, -0.025, -0.002),
    ]
    parts = _boxes("frame", side, f"frame{number}", frame)
    if picture["mat"]:
        parts += _boxes("mat", side, "mat", [(a0 + f, a1 - f, z0 + f, z1 - f, -0.012, -0.002)])
    corners = [(a0 + m, z0 + m), (a1 - m, z0 + m), (a1 - m, z1 - m), (a0 + m, z1 - m)]
    points = side.world(np.array([(x, y, -0.0135) for x, y in corners]))
    uv = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float64)
    return [*parts, Part("picture", side.name, f"picture{number}", points, [(0, 1, 2, 3)], False, uv)]


def _curtains(room: dict) -> list[Part]:
    """Pleated sheets, and a rod above each window that has any."""
    parts: list[Part] = []
    for panel in room["curtains"]:
        side = Side(panel["wall"], room["size"])
        rng = np.random.default_rng(panel["seed"])
        pleats = max(3, round(panel["width"] / 0.07))
        columns, rows = 6 * pleats + 1, 7
        across, up = np.linspace(0.0, 1.0, columns)[None], np.linspace(0.0, 1.0, rows)[:, None]
        phase, drift = rng.uniform(0, 2 * np.pi, 2), rng.uniform(0.15, 0.4)
        # Pleats are regular at the rod and loosen toward the floor, and the cloth is a little narrower half way.
        bend = drift * (1 - up) * np.sin(3.1 * across + phase[0])
        wave = np.sin(2 * np.pi * (pleats * across + bend)) * (0.026 + 0.012 * (1 - up))
        wave = wave + 0.01 * (1 - up) * np.sin(2 * np.pi * 2.3 * across + phase[1])
        along = panel["along"] + (across - 0.5) * panel["width"] * (1 - 0.07 * np.sin(np.pi * up) ** 2)
        z = panel["bottom"] + up * (panel["top"] - panel["bottom"]) + 0 * across
        points = side.world(np.stack([along, z, wave - 0.085], axis=-1))
        index = np.arange(rows * columns).reshape(rows, columns)
        faces = np.stack([index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]], -1).reshape(-1, 4)
        parts.append(Part("curtain", side.name, "cloth", points, [tuple(face) for face in faces.tolist()], True))
    for window in room["openings"]:
        panels = [p for p in room["curtains"] if p["wall"] == window["wall"]]
        near = [p for p in panels if abs(p["along"] - window["along"]) < window["width"] / 2 + 0.05]
        if near and window["kind"] == "window":
            side, top = Side(window["wall"], room["size"]), near[0]["top"]
            a0 = max(min(p["along"] for p in near) - 0.26, -side.half)
            a1 = min(max(p["along"] for p in near) + 0.26, side.half)
            parts += _boxes("rod", side, "metal", [(a0, a1, top - 0.004, top + 0.018, -0.096, -0.074)])
    return parts


def _rug(rug: dict) -> list[Part]:
    """A thin box; its top has the pattern's coordinates."""
    turn = np.deg2rad(rug["yaw_deg"])
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    flat = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (rug["length"] / 2, rug["width"] / 2)
    plan = flat @ rotation + (rug["x"], rug["y"])
    points = np.concatenate([np.column_stack([plan, np.full(4, z)]) for z in (0.0, RUG_M)])
    faces = [(4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)]
    return [Part("rug", "inside", "rug", points, faces, False, np.concatenate([flat, flat]))]


def _lathe(name: str, side: str, material: str, lamp: dict, outline: list) -> Part:
    """A surface of revolution around the lamp's axis: outline of (radius, z)."""
    angle = 2 * np.pi * np.arange(_ROUND) / _ROUND
    rings = [
        np.stack([lamp["x"] + r * np.cos(angle), lamp["y"] + r * np.sin(angle), 0 * angle + z], -1) for r, z in outline
    ]
    faces = [
        (_ROUND * k + i, _ROUND * k + (i + 1) % _ROUND, _ROUND * (k + 1) + (i + 1) % _ROUND, _ROUND * (k + 1) + i)
        for k in range(len(outline) - 1)
        for i in range(_ROUND)
    ]
    return Part(name, side, material, np.concatenate(rings), faces, True)


def _lamp(lamp: dict, number: int, height: float) -> list[Part]:
    r, z = lamp["radius"], lamp["z"]
    shade, bulb = f"shade{number}", f"bulb{number}"
    if lamp["kind"] == "flush":
        bowl = [(r * np.cos(a), height - 0.02 - (height - 0.02 - z) * np.sin(a)) for a in np.linspace(0, 1.5, 7)]
        rim = [(r + 0.012, height), (r + 0.012, height - 0.022), (r, height - 0.02)]
        return [_lathe("lamp", "ceiling", bulb, lamp, bowl), _lathe("lamp", "ceiling", "metal", lamp, rim)]
    if lamp["kind"] == "pendant":
        cone = [(0.3 * r, z + 0.75 * r), (0.55 * r, z + 0.66 * r), (r, z - 0.1 * r)]
        cord = [(0.004, height), (0.004, z + 0.75 * r), (0.3 * r, z + 0.75 * r)]
        ball = [(0.045 * np.cos(a), z + 0.02 + 0.045 * np.sin(a)) for a in np.linspace(-1.5, 1.5, 7)]
        return [
            _lathe("lamp", "ceiling", shade, lamp, cone),
            _lathe("lamp", "ceiling", "metal", lamp, cord),
            _lathe("lamp", "ceiling", bulb, lamp, ball),
        ]
    foot = [(0.0, 0.025), (0.13, 0.022), (0.135, 0.0)]
    pole = [(0.011, 0.02), (0.011, z - 0.02)]
    drum = [(r, z - 0.14), (0.82 * r, z + 0.14)]
    ball = [(0.035 * np.cos(a), z + 0.01 + 0.035 * np.sin(a)) for a in np.linspace(-1.5, 1.5, 7)]
    return [
        _lathe("lamp", "inside", "metal", lamp, foot),
        _lathe("lamp", "inside", "metal", lamp, pole),
        _lathe("lamp", "inside", shade, lamp, drum),
        _lathe("lamp", "inside", bulb, lamp, ball),
    ]
