# pyright: basic
"""The geometry of a garden from a `Garden` as JSON (sources/scenes/garden.py): meshes in world meters, numpy alone."""

from itertools import pairwise

import numpy as np

from .shell import FLOOR_OFFSET_M, Part

LINES = 150
"""Lines of the ground's grid in each direction, dense in the middle."""
EDGE_M = 60.0
"""Half of the ground's side."""
LEVEL_M = 0.6
"""Distance from a pad or a path over which the ground becomes uneven."""
FLAT_FROM_M, FLAT_M = 9.0, 18.0
"""The ground's waves fade between these distances from the middle, where its grid becomes too coarse for them."""
MOWN_M = 0.007
"""Height of the grass on pads: the bottom of most boxes and bowls is thicker."""
TERRACE_OFFSET_M = FLOOR_OFFSET_M / 2
"""The top of a terrace lies so far below z = 0, where objects stand, and above the ground around it."""
BLADE_M = 0.0032
"""Width of a blade; far ones are wider, as there are fewer of them."""


class Ground:
    """The height of the ground at any place."""

    def __init__(self, garden: dict) -> None:
        rng = np.random.default_rng(garden["seed"])
        self.pads = np.array(garden["pads"])
        self.middle = self.pads[:, :2].mean(axis=0)
        self.path = garden["path"]
        lengths, turns = rng.uniform((5.0, 2.2, 0.9), (9.0, 3.5, 1.5)), rng.uniform(0, 2 * np.pi, 3)
        self.waves = np.stack([np.cos(turns), np.sin(turns)]) * 2 * np.pi / lengths
        self.phases = rng.uniform(0, 2 * np.pi, 3)
        self.amplitudes = garden["relief"] * np.array([1.0, 0.6, 0.25])

    def height(self, points: np.ndarray) -> np.ndarray:
        """z (N,) of points (N, 2)."""
        z = np.sin(points @ self.waves + self.phases) @ self.amplitudes
        level = np.ones(len(points))
        for x, y, radius in self.pads:
            level = np.minimum(level, (np.hypot(points[:, 0] - x, points[:, 1] - y) - radius) / LEVEL_M)
        if self.path:
            level = np.minimum(level, (self.from_path(points) - self.path["width"] / 2 - 0.05) / LEVEL_M)
        far = (FLAT_M - np.hypot(*(points - self.middle).T)) / (FLAT_M - FLAT_FROM_M)
        return z * _smooth(level) * _smooth(far) - FLOOR_OFFSET_M

    def from_path(self, points: np.ndarray) -> np.ndarray:
        """Distance (N,) of points (N, 2) from the middle line of the path."""
        line = np.array(self.path["points"])
        best = np.full(len(points), np.inf)
        for a, b in pairwise(line):
            t = np.clip((points - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
            best = np.minimum(best, np.hypot(*(points - a - t[:, None] * (b - a)).T))
        return best


def _smooth(t: np.ndarray) -> np.ndarray:
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def garden_parts(garden: dict) -> list[Part]:
    """All parts of a garden; materials `ground`, `grass`, `path`, `terrace`, `fence`, `hedge` and, inside of a hedge,
    `core`."""
    ground = Ground(garden)
    parts = [_ground(ground), _grass(garden, ground)]
    if garden["path"]:
        parts.append(_path(garden, ground))
    if garden["terrace"]:
        parts.append(_terrace(garden["terrace"]))
    if garden["border"]:
        parts += {"fence": _fence, "hedge": _hedge}[garden["border"]["kind"]](garden, ground)
    return parts


def _ground(ground: Ground) -> Part:
    steps = np.linspace(-1.0, 1.0, LINES)
    lines = EDGE_M * np.sinh(4.2 * steps) / np.sinh(4.2)
    x, y = np.meshgrid(lines + ground.middle[0], lines + ground.middle[1], indexing="ij")
    plan = np.stack([x, y], -1).reshape(-1, 2)
    index = np.arange(LINES * LINES).reshape(LINES, LINES)
    faces = np.stack([index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]], -1).reshape(-1, 4)
    points = np.column_stack([plan, ground.height(plan)])
    return Part("ground", "inside", "ground", points, faces.tolist(), True)


def _grass(garden: dict, ground: Ground) -> Part:
    """Blades of two quads and a tip; denser in clumps and near the camera."""
    grass = garden["grass"]
    rng = np.random.default_rng([garden["seed"], 1])
    count = grass["blades"]
    distance = grass["reach"] * rng.uniform(0.03, 1.0, count) ** 1.2
    turn = np.deg2rad(grass["heading_deg"] + grass["spread_deg"] * rng.uniform(-1, 1, count))
    place = np.stack([np.cos(turn), np.sin(turn)], -1) * distance[:, None] + (grass["x"], grass["y"])
    x, y = place.T
    clumps = np.sin(2.1 * x + 1) * np.sin(1.7 * y) + 0.6 * np.sin(5.3 * x) * np.sin(6.1 * y + 2)
    keep = clumps + rng.uniform(-1.2, 1.2, count) > -0.5
    # The lawn has no edge where the blades end: they thin out.
    keep &= rng.random(count) < 1.6 * (1 - distance / grass["reach"])
    if garden["path"]:
        stones = garden["path"]["stones"]
        keep &= ground.from_path(place) > garden["path"]["width"] * (0.3 if stones else 0.5) * rng.uniform(
            0.9, 1.05, count
        )
    if terrace := garden["terrace"]:
        keep &= (np.abs(place) > np.array([terrace["width"], terrace["depth"]]) / 2 + 0.01).any(axis=1)
    place, distance = place[keep], distance[keep]
    x, y = place.T
    count = len(place)
    wide = np.maximum(1.0, distance / 2.5)
    height = grass["height"] * rng.uniform(0.5, 1.2, count) * (1 + 0.9 * rng.random(count) ** 4) * wide**0.25
    # Bald pads would show where an object is going to stand. On them, the lawn is mown short.
    free = np.min([np.hypot(x - px, y - py) - radius for px, py, radius in ground.pads], axis=0)
    height = np.minimum(height, MOWN_M + (height - MOWN_M) * _smooth(free / 0.12))
    turn, lean = rng.uniform(0, 2 * np.pi, count), rng.uniform(0.1, 0.9, count) * height
    out = np.stack([np.cos(turn), np.sin(turn), 0 * turn], -1)
    side = np.stack([-np.sin(turn), np.cos(turn), 0 * turn], -1) * (BLADE_M / 2 * wide)[:, None]
    base = np.column_stack([place, ground.height(place) - 0.004])
    up = np.array([0.0, 0.0, 1.0])
    middle = base + out * (0.3 * lean)[:, None] + up * (0.6 * height)[:, None]
    tip = base + out * lean[:, None] + up * height[:, None]
    points = np.stack([base - side, base + side, middle + 0.75 * side, middle - 0.75 * side, tip], 1).reshape(-1, 3)
    first = np.arange(count)[:, None] * 5
    faces = [*(first + np.arange(4)).tolist(), *(first + np.array([3, 2, 4])).tolist()]
    return Part("grass", "inside", "grass", points, faces, True)


def _terrace(terrace: dict) -> Part:
    """A slab whose top is the floor of the objects, just above the ground."""
    x, y = terrace["width"] / 2, terrace["depth"] / 2
    corners = np.array([[-x, -y], [x, -y], [x, y], [-x, y]])
    points = np.concatenate([np.column_stack([corners, np.full(4, z)]) for z in (-0.06, -TERRACE_OFFSET_M)])
    return Part("terrace", "inside", "terrace", points, [list(face) for face in _BOX])


def _path(garden: dict, ground: Ground) -> Part:
    path = garden["path"]
    rng = np.random.default_rng([garden["seed"], 2])
    line = np.array(path["points"])
    if path["stones"]:
        return _stones(rng, line, path["width"], ground)
    along = np.gradient(line, axis=0)
    across = np.stack([along[:, 1], -along[:, 0]], -1) / np.linalg.norm(along, axis=1)[:, None]
    # The edges dip below the ground.
    profile = ((-0.5, -0.03), (-0.47, 0.006), (0.0, 0.012), (0.47, 0.006), (0.5, -0.03))
    rows = []
    for share, rise in profile:
        plan = line + across * share * path["width"] * (1 + 0.04 * rng.normal(size=(len(line), 1)))
        rows.append(np.column_stack([plan, ground.height(plan) + rise]))
    index = np.arange(len(profile) * len(line)).reshape(len(profile), len(line))
    faces = np.stack([index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]], -1).reshape(-1, 4)
    return Part("path", "inside", "path", np.concatenate(rows), faces.tolist())


def _stones(rng: np.random.Generator, line: np.ndarray, width: float, ground: Ground) -> Part:
    """Irregular slabs, a step apart."""
    lengths = np.append(0.0, np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1)))
    points, faces = [], []
    for at in np.arange(0.0, lengths[-1], 0.62):
        x, y = (np.interp(at, lengths, line[:, axis]) + rng.normal(0, 0.03) for axis in (0, 1))
        corners = int(rng.integers(6, 10))
        turn = 2 * np.pi * (np.arange(corners) + rng.uniform(-0.25, 0.25, corners)) / corners
        radius = min(0.5 * width, 0.27) * rng.uniform(0.85, 1.15, corners)
        plan = np.stack([x + radius * np.cos(turn), y + radius * np.sin(turn)], -1)
        z = float(ground.height(np.array([[x, y]]))[0]) + 0.016
        start = sum(len(p) for p in points)
        points.append(np.column_stack([plan, np.full(corners, z)]))
        points.append(np.column_stack([plan + 0.01 * (plan - (x, y)), np.full(corners, z - 0.06)]))
        faces.append(tuple(range(start, start + corners)))
        faces += [
            (start + i, start + corners + i, start + corners + (i + 1) % corners, start + (i + 1) % corners)
            for i in range(corners)
        ]
    return Part("path", "inside", "path", np.concatenate(points), faces)


def _along(border: dict, ground: Ground, s: np.ndarray, t: np.ndarray, z: np.ndarray) -> np.ndarray:
    """World points of positions along and across a border, and of heights above the ground."""
    turn = np.deg2rad(border["yaw_deg"])
    along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    plan = np.array([border["x"], border["y"]]) + s[:, None] * along + t[:, None] * across
    return np.column_stack([plan, ground.height(plan) + z])


_BOX = ((3, 2, 1, 0), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7))


def _box_mesh(border: dict, ground: Ground, boxes: np.ndarray) -> tuple[np.ndarray, list]:
    """Boxes (N, 6) of s, s, t, t, z, z."""
    s = boxes[:, [0, 1, 1, 0, 0, 1, 1, 0]].ravel()
    t = boxes[:, [2, 2, 3, 3, 2, 2, 3, 3]].ravel()
    z = boxes[:, [4, 4, 4, 4, 5, 5, 5, 5]].ravel()
    faces = (np.arange(len(boxes))[:, None, None] * 8 + np.array(_BOX)).reshape(-1, 4)
    return _along(border, ground, s, t, z), faces.tolist()


def _fence(garden: dict, ground: Ground) -> list[Part]:
    """Upright boards of slightly different heights, rails and posts."""
    border = garden["border"]
    rng = np.random.default_rng([garden["seed"], 3])
    half, height, width = border["length"] / 2, border["height"], border["surface"]["scale_m"]
    starts = np.arange(-half, half, width + 0.012)
    tops = height + rng.normal(0, 0.006, len(starts))
    ones = np.ones_like(starts)
    boards = np.stack([starts, starts + width, -0.012 * ones, 0.008 * ones, 0.04 * ones, tops], -1)
    rails = np.array([[-half, half, 0.008, 0.045, z - 0.04, z + 0.04] for z in (0.25 * height, 0.8 * height)])
    posts = np.array([[s - 0.045, s + 0.045, 0.008, 0.1, -0.1, height + 0.05] for s in np.arange(-half, half, 1.9)])
    points, faces = _box_mesh(border, ground, np.concatenate([boards, rails, posts]))
    return [Part("fence", "inside", "fence", points, faces)]


def _hedge(garden: dict, ground: Ground) -> list[Part]:
    """A dark core and leaves around it."""
    border = garden["border"]
    rng = np.random.default_rng([garden["seed"], 3])
    half, height, thick = border["length"] / 2, border["height"], 0.7
    count = 24_000
    # Leaves lie near the front, the back and the top.
    s, depth = rng.uniform(-half, half, count), rng.exponential(0.06, count)
    face = rng.choice(3, count, p=[0.62, 0.13, 0.25])
    up, across = rng.uniform(0.02, 1.0, count), rng.uniform(-0.5, 0.5, count)
    bulge = 0.06 * (np.sin(2.3 * s) + np.sin(5.1 * s + 7 * up))
    # The front, with most leaves, is where t is positive: toward the camera.
    t = np.select([face == 0, face == 1], [thick / 2 - depth + bulge, -thick / 2 + depth - bulge], across * thick)
    z = np.where(face == 2, height - depth + bulge, up * height)
    centers = _along(border, ground, s, t, z)
    first, second = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in rng.normal(size=(2, count, 3)))
    second = np.cross(first, second)
    second /= np.linalg.norm(second, axis=1, keepdims=True)
    length = rng.uniform(0.035, 0.075, count)[:, None]
    points = np.stack(
        [
            centers + first * length,
            centers + second * length * 0.55,
            centers - first * length,
            centers - second * length * 0.55,
        ],
        1,
    )
    leaves = Part(
        "hedge", "inside", "hedge", points.reshape(-1, 3), (np.arange(count)[:, None] * 4 + np.arange(4)).tolist()
    )
    core = np.array([[-half, half, -thick / 2 + 0.1, thick / 2 - 0.1, -0.1, height - 0.1]])
    return [leaves, Part("core", "inside", "core", *_box_mesh(border, ground, core))]
