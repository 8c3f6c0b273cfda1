"""Kinds of objects: furniture and what belongs to it."""

import numpy as np

from .materials import Material, named
from .model import BLACK, BRASS, CALM, FRONT, STEEL, Model, Part, Rng
from .shapes import (
    Floats,
    Mesh,
    box,
    curve,
    extrude,
    join,
    lathe,
    panel,
    softened,
    sphere,
    sweep,
    torus,
)

GRAIN = 0.5
"""Length of one repeat of a wood texture, meters."""
_SEATS = ("red", "blue", "green", "white", "black", "grey", "yellow", "orange", "turquoise", "dark blue")


def tapered(mesh: Mesh, height: float, foot: float) -> Mesh:
    """A mesh that tapers toward its base: its width at z = 0 is `foot` times the width at `height`."""

    def narrow(points: Floats) -> Floats:
        share = foot + (1 - foot) * points[:, 2:] / height
        return np.concatenate([points[:, :2] * share, points[:, 2:]], axis=1)

    return mesh.warped(narrow)


def leg(height: float, thick: float, foot: float = 0.65) -> Mesh:
    return tapered(box(thick, thick, height, 0.003), height, foot)


def chair(rng: Rng) -> Model:
    width, depth = rng.between(0.4, 0.46), rng.between(0.4, 0.45)
    seat, back = rng.between(0.43, 0.47), rng.between(0.82, 0.98)
    frame, color = rng.wood_or(_SEATS, 0.5)
    thick, style = 0.036, rng.pick(("slats", "bars", "panel"))
    x, y = width / 2 - thick / 2, depth / 2 - thick / 2
    shapes = [leg(seat - 0.03, thick).moved(x=sx * x, y=-y) for sx in (-1, 1)]

    def lean(points: Floats) -> Floats:
        above = np.maximum(points[:, 2:] - seat, 0.0)
        return points + np.concatenate([np.zeros_like(above), 0.16 * above, np.zeros_like(above)], axis=1)

    posts = [box(thick, thick, back, 0.006).moved(x=sx * x, y=y) for sx in (-1, 1)]
    inner = width - 2 * thick
    if style == "slats":
        rails = [
            box(inner + 0.004, 0.018, 0.06, 0.005).moved(y=y, z=z) for z in np.linspace(seat + 0.14, back - 0.075, 3)
        ]
    elif style == "bars":
        rails = [box(inner + 0.004, 0.022, 0.06, 0.006).moved(y=y, z=z) for z in (seat + 0.1, back - 0.065)]
        gap = inner / 5
        rails += [
            box(0.018, 0.014, back - seat - 0.2, 0.004).moved(x=gap * k, y=y, z=seat + 0.15) for k in (-2, -1, 0, 1, 2)
        ]
    else:
        rails = [box(inner + 0.004, 0.02, back - seat - 0.16, 0.008).moved(y=y, z=seat + 0.13)]
    shapes += [mesh.warped(lean) for mesh in (*posts, *rails)]
    apron = [box(width - 2 * thick, 0.018, 0.05, 0.003).moved(y=sy * y, z=seat - 0.08) for sy in (-1, 1)]
    apron += [box(0.018, depth - 2 * thick, 0.05, 0.003).moved(x=sx * x, z=seat - 0.08) for sx in (-1, 1)]
    board = box(width + 0.012, depth - thick + 0.008, 0.03, 0.01).moved(y=-thick / 2 - 0.004, z=seat - 0.03)
    shapes += [*apron, board]
    parts = [Part(join(shapes).textured(GRAIN), frame)]
    if rng.chance(0.4):
        cushion = box(width - 0.03, depth - thick - 0.02, 0.035, 0.016).moved(y=-thick / 2, z=seat - 0.002)
        cloth = rng.pattern("cloth", rng.shade(rng.pick(_SEATS)), roughness=0.95)
        parts.append(Part(cushion.textured(0.12), cloth))
    return Model(parts, color, FRONT)


def table(rng: Rng) -> Model:
    height, thick = rng.between(0.68, 0.76), rng.between(0.025, 0.04)
    style = rng.pick(("dining", "dining", "round", "coffee"))
    material, color = rng.wood_or(("white", "black", "grey", "dark grey", "light blue", "dark green"), 0.6)
    if style == "round":
        radius = rng.between(0.38, 0.55)
        top = lathe(softened([(0, 0), (radius, 0), (radius, thick), (0, thick)], 0.008), 64)
        flat = Mesh(top.vertices, top.normals, top.vertices[:, :2], top.faces).moved(z=height - thick)
        stem = curve([(0.045, 0.03), (0.05, 0.2), (0.035, 0.45), (0.06, height - thick + 0.001)], 20)
        foot = softened([(0, 0), (radius * 0.55, 0), (radius * 0.52, 0.02), (0.07, 0.045), (0.0, 0.05)], 0.01)
        shapes = join([flat.textured(GRAIN), lathe(stem), lathe(foot)])
        return Model([Part(shapes, material)], color, rotatable=material.texture is not None)
    width, depth = rng.between(0.9, 1.4), rng.between(0.6, 0.8)
    if style == "coffee":
        width, depth, height = rng.between(0.75, 1.0), rng.between(0.45, 0.55), rng.between(0.38, 0.45)
    foot = rng.between(0.045, 0.065)
    x, y = width / 2 - foot / 2 - 0.02, depth / 2 - foot / 2 - 0.02
    legs = [leg(height - thick + 0.001, foot).moved(x=sx * x, y=sy * y) for sx in (-1, 1) for sy in (-1, 1)]
    apron = [box(2 * x, 0.02, 0.07, 0.003).moved(y=sy * y, z=height - thick - 0.07) for sy in (-1, 1)]
    apron += [box(0.02, 2 * y, 0.07, 0.003).moved(x=sx * x, z=height - thick - 0.07) for sx in (-1, 1)]
    top = box(width, depth, thick, 0.006).moved(z=height - thick)
    if rng.chance(0.35):
        under = rng.pick((STEEL, BLACK, Material(named("white"), 0.4)))
        return Model([Part(top.textured(GRAIN), material), Part(join([*legs, *apron]), under)], color)
    return Model([Part(join([top, *legs, *apron]).textured(GRAIN), material)], color)


def stool(rng: Rng) -> Model:
    height, radius = rng.between(0.43, 0.68), rng.between(0.15, 0.18)
    material, color = rng.wood_or(_SEATS, 0.5)
    legs_count = rng.pick((3, 4))
    seat = lathe(softened([(0, 0), (radius * 0.94, 0), (radius, 0.012), (radius, 0.035), (0, 0.035)], 0.012))
    seat = Mesh(seat.vertices, seat.normals, seat.vertices[:, :2], seat.faces).textured(GRAIN).moved(z=height - 0.035)
    angles = np.deg2rad(np.arange(legs_count) * 360 / legs_count + 45)
    bare = material if rng.chance(0.6) else rng.pick((STEEL, BLACK))
    legs: list[Mesh] = []
    for angle in angles:
        way = np.array([np.cos(angle), np.sin(angle)])
        low, high = way * radius * 1.05, way * radius * 0.62
        path = np.linspace([*low, 0.0], [*high, height - 0.034], 6)
        legs.append(_grounded(sweep(path, np.linspace(0.012, 0.017, 6), 12)))
    level = 0.35
    ring_radius = radius * (1.05 - (1.05 - 0.62) * level)
    ring = torus(ring_radius, 0.008, level * height)
    return Model([Part(seat, material), Part(join([*legs, ring]), bare)], color)


def _grounded(mesh: Mesh) -> Mesh:
    """A mesh flattened where it would extend below the floor."""
    vertices = mesh.vertices.copy()
    vertices[:, 2] = np.maximum(vertices[:, 2], 0.0)
    return Mesh(vertices, mesh.normals, mesh.uv, mesh.faces)


def shelf(rng: Rng) -> Model:
    width, depth, height = rng.between(0.6, 0.9), rng.between(0.26, 0.32), rng.between(0.8, 1.5)
    board = 0.022
    rows = max(2, round(height / 0.36))
    material, color = rng.wood_or(("white", "black", "dark grey", "light blue", "dark green"), 0.6)
    levels = np.linspace(0.05, height - board, rows + 1)
    shapes = [box(board, depth, height, 0.002).moved(x=sx * (width - board) / 2) for sx in (-1, 1)]
    shapes += [box(width - 2 * board, depth - 0.008, board, 0.002).moved(y=-0.004, z=z) for z in levels]
    shapes.append(box(width - 2 * board, 0.008, height - 0.05, 0.001).moved(y=depth / 2 - 0.004, z=0.05))
    shapes.append(box(width - 2 * board, 0.015, 0.05, 0.002).moved(y=-depth / 2 + 0.03))
    parts = [Part(join(shapes).textured(GRAIN), material)]
    inner, clear = width - 2 * board, float(levels[1] - levels[0]) - board
    for z in levels[:-1]:
        parts += _row_of_books(rng, inner, depth, clear, float(z) + board)
    return Model(parts, color, FRONT)


def _row_of_books(rng: Rng, inner: float, depth: float, clear: float, base: float) -> list[Part]:
    """A row of books on one board, starting at the left; may be empty."""
    parts: list[Part] = []
    at, stop = -inner / 2 + 0.006, -inner / 2 + inner * rng.pick((0.0, 0.5, 0.8, 0.95))
    palette = [rng.coat(rng.pick((*CALM, "red", "orange", "yellow", "green")), 0.6) for _ in range(4)]
    groups: list[list[Mesh]] = [[] for _ in palette]
    while True:
        thick = rng.between(0.018, 0.045)
        if at + thick > stop:
            break
        tall = min(clear - 0.02, rng.between(0.19, 0.28))
        deep = rng.between(0.14, 0.19)
        place = (at + thick / 2, -depth / 2 + deep / 2 + 0.03, base)
        groups[int(rng.pick(range(len(palette))))].append(box(thick - 0.001, deep, tall, 0.002).moved(*place))
        at += thick
    parts.extend(Part(join(group), coat) for group, coat in zip(groups, palette, strict=True) if group)
    return parts


def sofa(rng: Rng) -> Model:
    seats = rng.pick((1, 2, 2, 3))
    each, arm, depth = rng.between(0.55, 0.62), rng.between(0.13, 0.18), rng.between(0.78, 0.88)
    color = rng.pick(
        ("grey", "dark grey", "blue", "dark blue", "red", "green", "beige", "brown", "dark green", "yellow")
    )
    cloth = rng.pattern("cloth", rng.shade(color), roughness=0.95)
    width, seat, back = seats * each + 2 * arm, 0.43, rng.between(0.78, 0.88)
    foot, inner = 0.09, seats * each
    deep = depth - 0.2
    shapes = [
        box(inner, depth - 0.02, 0.2, 0.02).moved(y=0.01, z=foot),
        box(inner, 0.2, back - foot - 0.03, 0.05).moved(y=depth / 2 - 0.1, z=foot),
        *(box(arm, depth, 0.62 - foot, 0.05).moved(x=sx * (width - arm) / 2, z=foot) for sx in (-1, 1)),
    ]
    for k in range(seats):
        x = (k - (seats - 1) / 2) * each
        shapes.append(box(each - 0.006, deep, seat - foot - 0.18, 0.045).moved(x=x, y=-0.1 - 0.005, z=foot + 0.19))
        pillow = box(each - 0.012, 0.16, back - seat + 0.02, 0.06).turned("x", -10)
        shapes.append(pillow.moved(x=x, y=depth / 2 - 0.27, z=seat - 0.01))
    feet = [
        lathe([(0, 0), (0.016, 0), (0.026, foot + 0.01), (0, foot + 0.01)], 16).moved(
            sx * (width / 2 - 0.07), sy * (depth / 2 - 0.07)
        )
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]
    return Model([Part(join(shapes).textured(0.15), cloth), Part(join(feet), rng.pick((BLACK, STEEL)))], color, FRONT)


def lamp(rng: Rng) -> Model:
    if rng.chance(0.35):
        return _desk_lamp(rng)
    height, shade = rng.between(0.38, 0.6), rng.between(0.12, 0.17)
    tall = height * 0.4
    color = rng.pick(("white", "beige", "red", "yellow", "blue", "green", "orange", "black"))
    cone = rng.between(0.62, 0.95)
    low = height - tall
    outside = lathe([(shade, low), (shade * cone, height)])
    inside = lathe([(shade * cone - 0.002, height), (shade - 0.002, low)])
    rims = [torus(shade - 0.001, 0.002, low), torus(shade * cone - 0.001, 0.002, height - 0.002)]
    stand = low + 0.04
    body = rng.pick(
        (
            [(0.4, 0.0), (0.42, 0.05), (0.7, 0.3), (0.65, 0.5), (0.16, 0.8), (0.1, 1.0)],
            [(0.5, 0.0), (0.52, 0.03), (0.1, 0.09), (0.08, 0.5), (0.08, 1.0)],
            [(0.36, 0.0), (0.5, 0.18), (0.2, 0.4), (0.45, 0.62), (0.14, 0.86), (0.1, 1.0)],
        )
    )
    profile = curve(np.array(body) * (shade * 1.05, stand), 36)
    foot = rng.pick((BRASS, STEEL, BLACK, rng.coat(rng.pick(("white", "dark blue", "dark green")), 0.2), rng.wood()))
    bulb = sphere(0.028, 14).moved(z=stand)
    spokes = [
        sweep(
            [
                (0, 0, height - 0.012),
                ((shade * cone - 0.002) * np.cos(a), (shade * cone - 0.002) * np.sin(a), height - 0.002),
            ],
            0.0015,
            6,
        )
        for a in np.deg2rad([90, 210, 330])
    ]
    rod = sweep([(0, 0, stand + 0.01), (0, 0, height - 0.01)], 0.003, 8)
    cloth = rng.coat(color, 0.9)
    return Model(
        [
            Part(join([outside, inside, *rims]), cloth),
            Part(join([lathe(np.concatenate([[(0.0, 0.0)], profile, [(0.0, stand)]])), *spokes, rod]), foot),
            Part(bulb, Material((1.0, 0.97, 0.88), 0.3)),
        ],
        color,
        rotatable=False,
    )


def _desk_lamp(rng: Rng) -> Model:
    color = rng.pick(("red", "blue", "black", "white", "yellow", "green", "orange"))
    coat = rng.coat(color, 0.3)
    reach, height = rng.between(0.14, 0.2), rng.between(0.34, 0.46)
    base = lathe(softened([(0, 0), (0.085, 0), (0.085, 0.018), (0.02, 0.028), (0, 0.028)], 0.006)).moved(y=0.06)
    arm = curve([(0, 0.06, 0.02), (0, 0.1, height * 0.5), (0, 0.02, height), (0, -reach * 0.75, height * 0.96)], 28)
    outer = curve([(0.018, 0.075), (0.026, 0.06), (0.045, 0.045), (0.07, 0.0)], 14)[::-1]
    inner = (outer - (0.002, 0.0))[::-1]
    head = lathe(np.concatenate([outer, [(0.0, 0.08)]]))
    lining = lathe(np.concatenate([[(0.0, 0.07)], inner]))
    tilt = 28.0

    def placed(mesh: Mesh) -> Mesh:
        return mesh.turned("x", -tilt).moved(y=-reach, z=height * 0.96 - 0.05)

    bulb = sphere(0.024, 12).moved(z=0.006)
    return Model(
        [
            Part(join([base, placed(head)]), coat),
            Part(sweep(arm, 0.007, 12), rng.pick((STEEL, BLACK, coat))),
            Part(placed(lining), Material((0.9, 0.9, 0.88), 0.5)),
            Part(placed(bulb), Material((1.0, 0.97, 0.88), 0.3)),
        ],
        color,
        FRONT,
    )


def television(rng: Rng) -> Model:
    width = rng.between(0.7, 1.2)
    height, thick, lift = width * 9 / 16, 0.035, rng.between(0.05, 0.08)
    bezel = 0.012
    case = box(width, thick, height, 0.006).moved(z=lift)
    back = box(width * 0.6, 0.035, height * 0.55, 0.012).moved(y=thick / 2 + 0.012, z=lift + height * 0.12)
    picture = panel(width - 2 * bezel, height - 2 * bezel).moved(y=-thick / 2 - 0.0004, z=lift + bezel)
    if rng.chance(0.5):
        stand = [box(width * 0.35, 0.2, 0.012, 0.005), box(0.08, 0.03, lift + 0.03, 0.005).moved(y=0.015, z=0.008)]
    else:
        path = [(0, -0.12, 0.006), (0, 0, lift + 0.01), (0, 0.12, 0.006)]
        stand = [_grounded(sweep(curve(path, 15), 0.008, 8)).moved(x=sx * width * 0.34) for sx in (-1, 1)]
    coat, color = (BLACK, "black") if rng.chance(0.75) else (STEEL, "")
    screen = rng.pattern("screen", (0.4, 0.6, 0.7), roughness=0.15)
    return Model([Part(join([case, back, *stand]), coat), Part(picture, screen)], color, FRONT)


def laptop(rng: Rng) -> Model:
    width, depth = rng.between(0.31, 0.37), rng.between(0.22, 0.25)
    color = rng.pick(("grey", "black", "white", "light blue", "pink"))
    coat = STEEL if color == "grey" else rng.coat(color, 0.35)
    base = box(width, depth, 0.014, 0.004)
    board = panel(width * 0.88, depth * 0.42).turned("x", -90).moved(y=depth * 0.01, z=0.0143)
    pad = box(width * 0.34, depth * 0.28, 0.0006, 0.0002).moved(y=-depth * 0.31, z=0.0138)
    opened = rng.between(12, 28)

    def lid(mesh: Mesh) -> Mesh:
        return mesh.turned("x", -opened).moved(y=depth / 2 - 0.004, z=0.012)

    tall = depth * 0.97
    back = lid(box(width, 0.007, tall, 0.003))
    frame = lid(panel(width * 0.98, tall * 0.96).moved(y=-0.0037, z=tall * 0.02))
    picture = lid(panel(width * 0.93, tall * 0.84).moved(y=-0.0041, z=tall * 0.09))
    keys = rng.pattern("keys", (0.25, 0.25, 0.27), (0.05, 0.05, 0.06))
    return Model(
        [
            Part(join([base, back]), coat),
            Part(board, keys),
            Part(pad, Material((0.5, 0.5, 0.52), 0.3)),
            Part(frame, BLACK),
            Part(picture, rng.pattern("screen", (0.4, 0.6, 0.7), roughness=0.15)),
        ],
        color,
        FRONT,
    )


def ladder(rng: Rng) -> Model:
    """A folding step ladder."""
    height, width, steps = rng.between(0.9, 1.3), rng.between(0.38, 0.46), rng.pick((3, 4))
    material, color = rng.wood_or(("yellow", "orange", "red", "white", "blue", "green"), 0.35)
    spread = height * 0.32

    def rail(x: float, sign: float, thick: float) -> Mesh:
        path = np.linspace([x, sign * spread, 0.0], [x * 0.82, sign * 0.03, height], 5)
        outline = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (thick / 2, 0.02)
        side = extrude(outline, height)

        def slope(points: Floats) -> Floats:
            share = points[:, 2:] / height
            return points + path[0] * (1 - share) + (path[-1] - (0, 0, height)) * share

        return side.warped(slope)

    x = width / 2
    shapes = [rail(sx * x, sign, 0.024) for sx in (-1, 1) for sign in (-1, 1)]
    for k in range(1, steps + 1):
        share = k / (steps + 0.35)
        across = 2 * x * (1 - 0.18 * share)
        at = -spread * (1 - share) - 0.03 * share
        shapes.append(box(across, 0.085, 0.022, 0.004).moved(y=at, z=share * height - 0.011))
    shapes.append(box(2 * x * 0.82 + 0.03, 0.12, 0.025, 0.004).moved(z=height - 0.012))
    shapes.append(box(2 * x * 0.9, 0.018, 0.03, 0.003).moved(y=spread * 0.55, z=0.42 * height))
    return Model([Part(join(shapes).textured(GRAIN), material)], color, FRONT)
