"""Kinds of objects: in the household, the garden and the children's room."""

from itertools import pairwise

import numpy as np

from .materials import Material, named
from .model import BLACK, BRASS, BRIGHT, FRONT, STEEL, Model, Part, Rng, name_of_wood
from .shapes import Floats, Mesh, box, curve, join, lathe, softened, sphere, sweep, torus
from .tableware import hollow

_RUBBER = Material((0.035, 0.035, 0.04), 0.8)
_CHROME = Material((0.8, 0.8, 0.82), 0.18, 1.0)


def crate(rng: Rng) -> Model:
    """A wooden crate, open at the top, that can hold another object."""
    width, depth, height = rng.between(0.42, 0.6), rng.between(0.32, 0.46), rng.between(0.2, 0.3)
    board, rows = 0.016, rng.pick((2, 3))
    material, color = rng.wood_or(("red", "blue", "green", "white", "grey"), 0.75)
    gap = 0.012
    tall = (height - (rows - 1) * gap) / rows
    shapes: list[Mesh] = []
    for row in range(rows):
        z = row * (tall + gap)
        shapes += [box(width, board, tall, 0.002).moved(y=sy * (depth - board) / 2, z=z) for sy in (-1, 1)]
        shapes += [box(board, depth - 2 * board, tall, 0.002).moved(x=sx * (width - board) / 2, z=z) for sx in (-1, 1)]
    post = 0.03
    inner_x, inner_y = width / 2 - board - post / 2, depth / 2 - board - post / 2
    shapes += [
        box(post, post, height - 0.004, 0.002).moved(sx * inner_x, sy * inner_y) for sx in (-1, 1) for sy in (-1, 1)
    ]
    shapes.append(box(width - 2 * board, depth - 2 * board, board, 0.002).moved(z=0.004))
    opening = (round(width - 2 * board - 2 * post, 6), round(depth - 2 * board - 2 * post, 6))
    return Model([Part(join(shapes).textured(0.5), material)], color, supports=round(board + 0.004, 6), opening=opening)


def ball(rng: Rng) -> Model:
    style = rng.pick(("plain", "beach", "beach", "basketball"))
    if style == "basketball":
        material = rng.pattern("basketball", (0.8, 0.38, 0.12), (0.05, 0.04, 0.04), roughness=0.6)
        return Model([Part(sphere(0.121, 32), material)], "orange", symmetry=2)
    radius = rng.between(0.09, 0.17)
    if style == "plain":
        color = rng.pick(BRIGHT)
        return Model([Part(sphere(radius, 32), rng.coat(color, 0.35))], color, rotatable=False)
    color = rng.pick(("red", "blue", "green", "yellow", "orange"))
    other = named("white") if rng.chance(0.6) else named("yellow" if color != "yellow" else "blue")
    gores = rng.pattern("gores", rng.shade(color), other, roughness=0.3)
    return Model([Part(sphere(radius, 32), gores)], "", symmetry=3)


def bucket(rng: Rng) -> Model:
    height, radius = rng.between(0.22, 0.3), rng.between(0.13, 0.16)
    outer = np.array([(0.72, 0.0), (0.75, 0.02), (1.0, 1.0)]) * (radius, height)
    metal = rng.chance(0.3)
    color = "grey" if metal else rng.pick(("red", "blue", "green", "yellow", "white", "black", "orange"))
    coat = Material((0.5, 0.51, 0.53), 0.35, 1.0) if metal else rng.coat(color, 0.4)
    rim = torus(radius, 0.005, height)
    angle = np.linspace(0, np.pi, 26)
    drop = np.deg2rad(rng.between(30, 80))
    reach = radius * 1.03
    lift = reach * np.sin(angle)
    top = height - 0.025
    path = np.stack([reach * np.cos(angle), -lift * np.cos(drop), top + lift * np.sin(drop)], axis=1)
    ears = [sphere(0.011, 8).moved(sx * radius * 1.0, 0, top - 0.011) for sx in (-1, 1)]
    grip = sweep(path[9:17], 0.008, 10)
    return Model(
        [
            Part(join([lathe(hollow(outer, 0.003, 0.006)), rim, *ears]), coat),
            Part(sweep(path, 0.0025, 8), STEEL),
            Part(grip, BLACK if color != "black" else rng.wood()),
        ],
        color,
        symmetry=1,
    )


def barrel(rng: Rng) -> Model:
    height = rng.between(0.7, 0.95)
    radius = height * rng.between(0.3, 0.36)
    outer = curve(np.array([(0.8, 0.0), (0.94, 0.25), (1.0, 0.5), (0.94, 0.75), (0.8, 1.0)]) * (radius, height), 24)
    lid = height - 0.025
    inside = [(outer[-1, 0] - 0.022, height), (outer[-1, 0] - 0.022, lid), (0.0, lid)]
    body = lathe(np.concatenate([[(0.0, 0.0)], outer, inside]))
    hoops: list[Mesh] = []
    for share in (0.06, 0.27, 0.73, 0.94):
        edges = [(share - 0.022) * height, (share + 0.022) * height]
        rows = [(float(np.interp(z, outer[:, 1], outer[:, 0])) + 0.003, z) for z in edges]
        hoops.append(lathe([(rows[0][0] - 0.006, edges[0]), *rows, (rows[1][0] - 0.006, edges[1])]))
    tone = rng.pick(((0.62, 0.42, 0.25), (0.5, 0.32, 0.18), (0.42, 0.26, 0.15)))
    iron = Material((0.22, 0.22, 0.24), 0.5, 0.9) if rng.chance(0.7) else BRASS
    return Model(
        [Part(body, rng.pattern("staves", tone)), Part(join(hoops), iron)], name_of_wood(tone), rotatable=False
    )


def traffic_cone(rng: Rng) -> Model:
    height = rng.between(0.45, 0.72)
    foot = height * 0.55
    color = rng.pick(("orange", "orange", "orange", "red", "yellow", "green"))
    slab = box(foot, foot, 0.025, 0.01)
    low, high = foot * 0.36, height * 0.045

    def radius(share: float) -> float:
        return low + (high - low) * share

    bands = [(0.3, 0.5), (0.62, 0.76)] if rng.chance(0.7) else [(0.42, 0.7)]
    cuts = [0.0, *(edge for band in bands for edge in band), 1.0]
    tall = height - 0.025
    shapes: tuple[list[Mesh], list[Mesh]] = ([], [])
    for number, (start, end) in enumerate(pairwise(cuts)):
        profile = [(radius(start), 0.025 + start * tall), (radius(end), 0.025 + end * tall)]
        if end == 1.0:
            profile += [(high - 0.006, height), (high - 0.006, height - 0.05), (0.0, height - 0.05)]
        shapes[number % 2].append(lathe(profile))
    plastic = rng.coat(color, 0.5)
    base = plastic if rng.chance(0.5) else _RUBBER
    white = Material((0.93, 0.93, 0.92), 0.4)
    return Model([Part(slab, base), Part(join(shapes[0]), plastic), Part(join(shapes[1]), white)], color)


def suitcase(rng: Rng) -> Model:
    width, depth, height = rng.between(0.36, 0.46), rng.between(0.22, 0.28), rng.between(0.5, 0.66)
    color = rng.pick(("red", "blue", "black", "turquoise", "pink", "yellow", "dark green", "orange", "dark blue"))
    coat = rng.coat(color, 0.32)
    lift = 0.045
    shapes = [box(width, depth / 2 - 0.004, height, 0.04).moved(y=sy * (depth / 4 + 0.002), z=lift) for sy in (-1, 1)]
    for x in np.linspace(-0.36, 0.36, 6):
        shapes += [
            box(0.022, 0.012, height - 0.12, 0.0055).moved(x * width, sy * (depth / 2 + 0.001), lift + 0.06)
            for sy in (-1, 1)
        ]
    seam = box(width - 0.01, 0.03, height - 0.01, 0.03).moved(z=lift + 0.005)
    wheels: list[Mesh] = []
    for sx in (-1, 1):
        for sy in (-1, 1):
            disk = lathe(softened([(0, -0.011), (0.022, -0.011), (0.022, 0.011), (0, 0.011)], 0.005), 20).turned(
                "y", 90
            )
            fork = box(0.034, 0.03, 0.03, 0.005).moved(z=0.026)
            wheels += [
                mesh.moved(sx * (width / 2 - 0.05), sy * (depth / 2 - 0.05)) for mesh in (disk.moved(z=0.022), fork)
            ]
    out = rng.pick((0.0, 0.0, 0.22, 0.3))
    top = lift + height
    rods = [box(0.014, 0.012, out + 0.06, 0.003).moved(sx * 0.08, depth / 4, top - 0.04) for sx in (-1, 1)]
    handle = box(0.2, 0.024, 0.026, 0.01).moved(y=depth / 4, z=top + out + 0.012)
    strap = curve([(-0.06, 0, 0), (-0.05, 0, 0.028), (0.05, 0, 0.028), (0.06, 0, 0)], 16)
    strap = strap + np.array([0.0, -depth / 8, top - 0.006])
    return Model(
        [
            Part(join(shapes), coat),
            Part(join([seam, *wheels, handle, sweep(strap, 0.007, 10)]), BLACK),
            Part(join(rods), _CHROME),
        ],
        color,
        FRONT,
    )


def toy_car(rng: Rng) -> Model:
    length, width = rng.between(0.22, 0.34), rng.between(0.1, 0.14)
    wheel = length * rng.between(0.1, 0.12)
    color = rng.pick(("red", "blue", "yellow", "green", "orange", "white", "black", "light blue", "pink"))
    coat = rng.coat(color, 0.18)
    truck = rng.chance(0.3)
    low, tall = wheel * 0.7, length * 0.16
    body = box(width, length, tall, 0.014).moved(z=low)
    cabin_long, cabin_tall = length * (0.36 if truck else 0.52), length * 0.17
    cabin_at = -length * 0.12 if truck else length * 0.06

    def pinch(points: Floats) -> Floats:
        share = np.clip(points[:, 2] / cabin_tall, 0, 1)
        return np.stack([points[:, 0] * (1 - 0.2 * share), points[:, 1] * (1 - 0.3 * share), points[:, 2]], axis=1)

    base = low + tall - 0.004
    glass = box(width * 0.9, cabin_long, cabin_tall, 0.01).warped(pinch).moved(y=cabin_at, z=base)
    roof = box(width * 0.75, cabin_long * 0.73, 0.009, 0.004).moved(y=cabin_at, z=base + cabin_tall - 0.004)
    pillars = [
        box(width * 0.93, 0.012, cabin_tall, 0.004).warped(pinch).moved(y=cabin_at + offset * cabin_long, z=base)
        for offset in (0.06,)
    ]
    shapes = [body, roof, *pillars]
    if truck:
        wall, back = 0.008, length * 0.42
        at, up = length / 2 - back / 2 - 0.006, length * 0.09
        shapes += [box(wall, back, up, 0.002).moved(sx * (width / 2 - wall), at, base) for sx in (-1, 1)]
        shapes += [
            box(width - 2 * wall, wall, up, 0.002).moved(y=at + sy * (back - wall) / 2, z=base) for sy in (-1, 1)
        ]
    tires: list[Mesh] = []
    caps: list[Mesh] = []
    for sx in (-1, 1):
        for sy in (-0.3, 0.3):
            turn = 90.0 * sx
            tire = lathe(softened([(0, 0), (wheel, 0), (wheel, 0.028), (0, 0.028)], 0.006), 28).turned("y", turn)
            cap = lathe(softened([(0, 0), (wheel * 0.55, 0), (wheel * 0.45, 0.005), (0, 0.006)], 0.002), 20).turned(
                "y", turn
            )
            place = (sx * (width / 2 - 0.018), sy * length, wheel)
            tires.append(tire.moved(*place))
            caps.append(cap.moved(place[0] + sx * 0.0278, place[1], place[2]))
    bumpers = [
        box(width * 0.92, 0.014, tall * 0.28, 0.005).moved(y=sy * (length / 2 + 0.001), z=low + 0.004) for sy in (-1, 1)
    ]
    lamp = lathe(softened([(0, 0), (0.011, 0), (0.009, 0.005), (0, 0.006)], 0.002), 16)
    fronts = [lamp.turned("x", 90).moved(sx * width * 0.33, -length / 2 + 0.001, low + tall * 0.62) for sx in (-1, 1)]
    rears = [lamp.turned("x", -90).moved(sx * width * 0.33, length / 2 - 0.001, low + tall * 0.62) for sx in (-1, 1)]
    return Model(
        [
            Part(join(shapes), coat),
            Part(glass, Material((0.05, 0.08, 0.11), 0.08)),
            Part(join(tires), _RUBBER),
            Part(join([*caps, *bumpers]), _CHROME),
            Part(join(fronts), Material((1.0, 0.96, 0.75), 0.15)),
            Part(join(rears), Material((0.75, 0.03, 0.03), 0.2)),
        ],
        color,
        FRONT,
    )


def alarm_clock(rng: Rng) -> Model:
    radius = rng.between(0.05, 0.075)
    thick, color = radius * 0.75, rng.pick(("red", "blue", "green", "black", "white", "yellow", "turquoise"))
    coat = rng.coat(color, 0.25)
    center = radius * 1.22
    rim = radius * 0.9
    profile = [
        (0, -thick / 2),
        (radius * 0.9, -thick / 2),
        (radius, -thick * 0.3),
        (radius, thick / 2),
        (rim, thick / 2),
    ]
    case = lathe(softened([*profile, (rim, thick * 0.4), (0, thick * 0.4)], 0.004), 48).turned("x", 90).moved(z=center)
    face = _disk(rim).moved(y=-thick * 0.4 - 0.0005, z=center)
    legs: list[Mesh] = []
    bells: list[Mesh] = []
    for sx in (-1, 1):
        a, b = (sx * radius * 0.5, 0.0, center - radius * 0.8), (sx * radius * 0.78, 0.0, radius * 0.09)
        legs.append(sweep([a, b], radius * 0.07, 10))
        legs.append(sphere(radius * 0.09, 10).moved(b[0], 0, 0))
        angle = np.arange(0, 91, 10) * np.pi / 180
        dome = np.stack([np.cos(angle), np.sin(angle) * 0.75], axis=1) * radius * 0.42
        bell = lathe(np.concatenate([[(0.0, 0.0)], dome])).moved(z=radius * 1.1).turned("y", sx * 35).moved(z=center)
        bells.append(bell)
        pin = [(sx * radius * 0.5, 0, center + radius * 0.75), (sx * radius * 0.64, 0, center + radius * 0.93)]
        legs.append(sweep(pin, radius * 0.05, 8))
    top = center + radius * 1.6
    loop = curve(
        [
            (-radius * 0.55, 0, top - radius * 0.22),
            (0, 0, top + radius * 0.15),
            (radius * 0.55, 0, top - radius * 0.22),
        ],
        18,
    )
    metal = rng.pick((_CHROME, BRASS))
    ink = named("black")
    return Model(
        [
            Part(case, coat),
            Part(face, rng.pattern("dial", (0.95, 0.94, 0.9), ink, roughness=0.3)),
            Part(join([*legs, *bells, sweep(loop, radius * 0.045, 8)]), metal),
        ],
        color,
        FRONT,
    )


def _disk(radius: float) -> Mesh:
    """A round plate that faces -y, with a planar texture mapping."""
    plate = lathe([(radius, 0.0), (0.0, 0.0)], 48)
    uv = plate.vertices[:, :2] / (2 * radius) + 0.5
    return Mesh(plate.vertices, plate.normals, uv, plate.faces).turned("x", 90)
