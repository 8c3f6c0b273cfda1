"""Beds, cabinets and other objects that only furnished scenes have. A build with open scenes only does not use them."""

import numpy as np

from .furniture import GRAIN, leg
from .materials import Material, named
from .model import BLACK, BRASS, FRONT, STEEL, Model, Part, Rng
from .shapes import Floats, Mesh, box, curve, join, lathe, softened, sphere, sweep

_CLOTHS = ("white", "beige", "grey", "blue", "light blue", "dark blue", "green", "red", "yellow", "pink", "turquoise")
_PAINTS = ("white", "black", "grey", "dark grey", "light blue", "dark green", "dark blue")


def bed(rng: Rng) -> Model:
    """A frame with a headboard, a mattress, a duvet and pillows. The sleeper's feet are at the front."""
    width, length = rng.pick((0.9, 1.2, 1.4, 1.6)) + rng.between(0.0, 0.04), rng.between(2.02, 2.1)
    wood, _ = rng.wood_or(("white", "black", "grey", "dark grey"), 0.65)
    color = rng.pick(_CLOTHS)
    foot, side, mattress = 0.16, rng.between(0.1, 0.14), rng.between(0.16, 0.22)
    deck, head = foot + side - 0.05, rng.between(0.85, 1.05)
    frame = [
        box(0.05, 0.05, foot + 0.01, 0.004).moved(x=sx * (width / 2 - 0.03), y=-length / 2 + 0.05) for sx in (-1, 1)
    ]
    frame += [box(0.03, length - 0.06, side, 0.006).moved(x=sx * (width / 2 - 0.015), z=foot) for sx in (-1, 1)]
    frame.append(box(width, 0.03, side, 0.006).moved(y=-length / 2 + 0.03, z=foot))
    frame.append(box(width - 0.05, length - 0.08, 0.03, 0.002).moved(z=deck - 0.03))
    frame.append(box(width + 0.02, 0.05, head, 0.015).moved(y=length / 2 - 0.025))
    top = deck + mattress
    sheet = box(width - 0.07, length - 0.11, mattress, 0.04).moved(y=-0.01, z=deck)
    covered = length * rng.between(0.62, 0.7)
    duvet = box(width - 0.01, covered, mattress * 0.7, 0.035)
    duvet = duvet.moved(y=-length / 2 + covered / 2 + 0.05, z=top + 0.03 - mattress * 0.7)
    count = 2 if width > 1.3 else 1
    pillows = [
        _pillow(min(0.62, width / count - 0.12), 0.38, 0.13).moved(
            x=(k - (count - 1) / 2) * width / 2, y=length / 2 - 0.29, z=top - 0.01
        )
        for k in range(count)
    ]
    cover = rng.pattern("cloth", rng.shade(color), roughness=0.95)
    linen = rng.coat("white", 0.95)
    return Model(
        [
            Part(join(frame).textured(GRAIN), wood),
            Part(join([sheet, *pillows]).textured(0.2), linen),
            Part(duvet.textured(0.2), cover),
        ],
        color,
        FRONT,
    )


def bench(rng: Rng) -> Model:
    """A garden bench of slats, with a back."""
    width, seat, back = rng.between(1.1, 1.55), rng.between(0.42, 0.46), rng.between(0.8, 0.9)
    depth, thick = 0.44, 0.055
    wood, color = rng.wood_or(("white", "green", "dark green", "blue"), 0.7)
    x, y = width / 2 - 0.06, depth / 2 - thick / 2
    posts = [box(thick, thick, seat - 0.02, 0.005).moved(x=sx * x, y=-y) for sx in (-1, 1)]
    posts += [box(thick, thick, back, 0.005).moved(x=sx * x, y=y) for sx in (-1, 1)]
    rails = [box(0.03, depth - 0.02, 0.06, 0.004).moved(x=sx * x, z=seat - 0.08) for sx in (-1, 1)]
    slats = [box(width, 0.085, 0.022, 0.005).moved(y=-depth / 2 + 0.045 + 0.088 * k, z=seat - 0.022) for k in range(4)]
    backs = [
        box(width, 0.02, 0.08, 0.005).moved(y=y - thick / 2 - 0.008, z=z)
        for z in np.linspace(seat + 0.12, back - 0.09, 3)
    ]
    return Model([Part(join([*posts, *rails, *slats, *backs]).textured(GRAIN), wood)], color, FRONT)


def cabinet(rng: Rng) -> Model:
    """A sideboard with doors or drawers."""
    width, depth, height = rng.between(0.6, 1.4), rng.between(0.38, 0.46), rng.between(0.66, 0.9)
    columns = 2 if width < 1.05 else 3
    return _case(rng, width, depth, height, columns, rng.pick((1, 1, 3)))


def nightstand(rng: Rng) -> Model:
    """A small cabinet with one or two drawers."""
    return _case(rng, rng.between(0.4, 0.52), rng.between(0.36, 0.42), rng.between(0.45, 0.58), 1, rng.pick((1, 2)))


def _case(rng: Rng, width: float, depth: float, height: float, columns: int, rows: int) -> Model:
    """A box on feet with a board on top and fronts with knobs."""
    body, color = rng.wood_or(_PAINTS, 0.55)
    fronts = body if rng.chance(0.6) else rng.coat(rng.pick(("white", "grey", "beige")), 0.45)
    foot, board, gap = rng.between(0.06, 0.14), 0.025, 0.006
    x, y = width / 2 - 0.05, depth / 2 - 0.05
    shapes = [leg(foot + 0.01, 0.04).moved(x=sx * x, y=sy * y) for sx in (-1, 1) for sy in (-1, 1)]
    shapes.append(box(width - 0.012, depth - 0.03, height - foot - board + 0.002, 0.003).moved(y=0.004, z=foot))
    shapes.append(box(width, depth, board, 0.005).moved(z=height - board))
    wide, high = (width - 0.03) / columns, (height - foot - board - 0.02) / rows
    plates: list[Mesh] = []
    knobs: list[Mesh] = []
    for column in range(columns):
        for row in range(rows):
            middle = -(width - 0.03) / 2 + (column + 0.5) * wide
            low = foot + 0.01 + row * high
            plates.append(box(wide - gap, 0.018, high - gap, 0.004).moved(middle, -depth / 2 + 0.014, low + gap / 2))
            aside = 0.0 if rows > 1 or columns == 1 else (0.36 if column % 2 == 0 else -0.36) * wide
            ball = sphere(0.013, 10).turned("x", 90).moved(middle + aside, -depth / 2 + 0.008, low + 0.6 * high)
            knobs.append(ball)
    metal = rng.pick((BRASS, STEEL, BLACK))
    return Model(
        [
            Part(join(shapes).textured(GRAIN), body),
            Part(join(plates).textured(GRAIN), fronts),
            Part(join(knobs), metal),
        ],
        color if fronts is body else "",
        FRONT,
    )


def coffee_table(rng: Rng) -> Model:
    """A low table: of four legs with a lower board, of two side boards, or round."""
    height, thick = rng.between(0.36, 0.45), rng.between(0.022, 0.035)
    material, color = rng.wood_or(("white", "black", "grey", "dark grey", "dark green"), 0.65)
    style = rng.pick(("legs", "legs", "boards", "round"))
    if style == "round":
        radius = rng.between(0.33, 0.45)
        top = lathe(softened([(0, 0), (radius, 0), (radius, thick), (0, thick)], 0.008), 64)
        flat = Mesh(top.vertices, top.normals, top.vertices[:, :2], top.faces).moved(z=height - thick)
        legs: list[Mesh] = []
        for angle in np.deg2rad([90.0, 210.0, 330.0]):
            way = np.array([np.cos(angle), np.sin(angle)])
            path = np.linspace([*way * radius * 0.85, 0.0], [*way * radius * 0.6, height - thick + 0.002], 5)
            tube = sweep(path, np.linspace(0.014, 0.02, 5), 12)
            legs.append(Mesh(tube.vertices.clip(min=(-9, -9, 0)), tube.normals, tube.uv, tube.faces))
        return Model([Part(flat.textured(GRAIN), material), Part(join(legs), rng.pick((material, BLACK)))], color)
    width, depth = rng.between(0.8, 1.15), rng.between(0.45, 0.6)
    top = box(width, depth, thick, 0.006).moved(z=height - thick)
    if style == "boards":
        sides = [
            box(thick, depth - 0.02, height - thick + 0.001, 0.004).moved(x=sx * (width / 2 - 0.06)) for sx in (-1, 1)
        ]
        low = box(width - 0.13, depth - 0.06, 0.018, 0.003).moved(z=0.12)
        return Model([Part(join([top, *sides, low]).textured(GRAIN), material)], color)
    foot = rng.between(0.04, 0.055)
    x, y = width / 2 - foot / 2 - 0.015, depth / 2 - foot / 2 - 0.015
    legs = [leg(height - thick + 0.001, foot, 0.8).moved(x=sx * x, y=sy * y) for sx in (-1, 1) for sy in (-1, 1)]
    apron = [box(2 * x, 0.018, 0.05, 0.003).moved(y=sy * y, z=height - thick - 0.05) for sy in (-1, 1)]
    apron += [box(0.018, 2 * y, 0.05, 0.003).moved(x=sx * x, z=height - thick - 0.05) for sx in (-1, 1)]
    return Model([Part(join([top, *legs, *apron]).textured(GRAIN), material)], color)


def cushion(rng: Rng) -> Model:
    """A square cushion, lying flat."""
    side, color = rng.between(0.36, 0.48), rng.pick(_CLOTHS)
    cloth = rng.pattern("cloth", rng.shade(color), roughness=0.95)
    return Model([Part(_pillow(side, side, rng.between(0.1, 0.14)).textured(0.12), cloth)], color)


def pillow(rng: Rng) -> Model:
    """A pillow for a bed, lying flat."""
    color = rng.pick(("white", "white", "beige", "light blue", "grey", "pink"))
    shape = _pillow(rng.between(0.55, 0.68), rng.between(0.36, 0.44), rng.between(0.11, 0.15))
    return Model([Part(shape.textured(0.2), rng.pattern("cloth", rng.shade(color), roughness=0.95))], color)


def _pillow(width: float, depth: float, thick: float) -> Mesh:
    """A sewn pillow with a flat underside, sides in meters. Texture coordinates are meters, seen from above."""

    def sewn(points: Floats) -> Floats:
        flat, radius = points[:, :2], np.linalg.norm(points[:, :2], axis=1, keepdims=True)
        outline = np.maximum(np.sum(np.abs(flat) ** 5, axis=1, keepdims=True) ** 0.2, 1e-9)
        # Round in the middle, a square with round corners at the edge, and thinner there.
        square = 1 + (radius / outline - 1) * radius**2
        rise = np.sign(points[:, 2:]) * np.abs(points[:, 2:]) * (0.45 + 0.55 * np.abs(points[:, 2:]))
        return np.concatenate([flat * square, rise], axis=1)

    ball = sphere(1.0, 32).moved(z=-1.0)
    mesh = Mesh(ball.vertices, ball.normals, ball.uv, ball.faces).warped(sewn).scaled(width / 2, depth / 2, thick / 1.7)
    low = -0.35 * thick
    vertices = np.maximum(mesh.vertices, (-9.0, -9.0, low)) - (0.0, 0.0, low)
    return Mesh(vertices, mesh.normals, vertices[:, :2], mesh.faces)


def orange(rng: Rng) -> Model:
    """An orange with the button of its stem."""
    radius = rng.between(0.034, 0.042)
    peel = rng.pattern("speckle", rng.shade("orange"), named("orange"), roughness=0.5)
    button = sphere(radius * 0.1, 8).scaled(z=0.4).moved(z=1.9 * radius - 0.0005)
    return Model(
        [Part(sphere(radius).scaled(z=0.95), peel), Part(button, Material(named("dark green"), 0.7))], "orange"
    )


def plate(rng: Rng) -> Model:
    """A flat plate with a low rim."""
    radius = rng.between(0.1, 0.14)
    color = rng.pick(("white", "white", "light blue", "blue", "green", "beige", "grey"))
    rim, flat = 0.018, 0.62 * radius
    upper = curve([(radius, rim), (0.85 * radius, 0.013), (0.72 * radius, 0.009), (flat, 0.006)], 14)
    lower = curve([(0.58 * radius, 0.0), (0.7 * radius, 0.004), (0.86 * radius, 0.0095), (radius, rim - 0.003)], 14)
    profile = np.concatenate([[(0.0, 0.0)], lower, upper, [(0.0, 0.006)]])
    return Model([Part(lathe(profile, 56), rng.coat(color, 0.25))], color, rotatable=False)
