"""Kinds of objects: on a table, such as cups, vessels, food, books."""

import numpy as np

from .materials import Material, named
from .model import BRIGHT, FRONT, GLAZES, STEEL, Model, Part, Rng, name_of_wood
from .shapes import Floats, Mesh, box, curve, join, lathe, panel, softened, sphere, sweep, torus


def hollow(outer: Floats, wall: float, floor: float, inner_steps: int = 12) -> Floats:
    """Profile of a vessel: up along `outer` (radius, z), over the rim, and down on the inside."""
    heights = np.linspace(floor, outer[-1, 1], inner_steps)
    order = np.argsort(outer[:, 1], kind="stable")
    inner = np.interp(heights, outer[order, 1], outer[order, 0]) - wall
    rim = [
        [outer[-1, 0] - wall * 0.2, outer[-1, 1] + wall * 0.4],
        [outer[-1, 0] - wall * 0.8, outer[-1, 1] + wall * 0.4],
    ]
    inside = np.stack([inner, heights], axis=1)[::-1]
    return np.concatenate([[[0.0, 0.0]], outer, rim, inside, [[0.0, floor]]])


def mug(rng: Rng) -> Model:
    radius, height = rng.between(0.037, 0.046), rng.between(0.085, 0.11)
    style = rng.pick(("straight", "tapered", "belly"))
    shape = {
        "straight": [(0.94, 0.0), (1.0, 0.06), (1.0, 0.5), (1.0, 1.0)],
        "tapered": [(0.72, 0.0), (0.8, 0.06), (0.9, 0.5), (1.0, 1.0)],
        "belly": [(0.7, 0.0), (0.95, 0.15), (1.06, 0.45), (0.88, 1.0)],
    }[style]
    outer = curve(np.array(shape) * (radius, height), 16)
    color = rng.pick(GLAZES)
    outside = rng.coat(color, 0.22)
    if rng.chance(0.35):
        accent = named("white" if color != "white" else rng.pick(("blue", "red", "black")))
        outside = rng.pattern("bands", outside.rgb, accent, roughness=0.22)
    inside = Material(named("white"), 0.25) if rng.chance(0.5) else Material(outside.rgb, 0.25)
    profile = hollow(outer, 0.0035, 0.006)
    split = len(outer) + 2
    reach = rng.between(0.024, 0.032)

    def at(z: float) -> float:
        return float(np.interp(z * height, outer[:, 1], outer[:, 0])) - 0.0015

    grip = [(at(0.8), 0.8), (at(0.8) + reach * 0.7, 0.84), (radius + reach, 0.55)]
    grip += [(radius + reach * 0.75, 0.3), (at(0.2), 0.2)]
    path = curve([(x, 0.0, z * height) for x, z in grip], 22)
    return Model(
        [
            Part(lathe(profile[:split]), outside),
            Part(lathe(profile[split - 1 :]), inside),
            Part(sweep(path, 0.0042, 12, flat=1.5), Material(outside.rgb, 0.22)),
        ],
        color,
    )


def bottle(rng: Rng) -> Model:
    style = rng.pick(("wine", "beer", "water"))
    radius = {"wine": 0.038, "beer": 0.032, "water": 0.035}[style] * rng.between(0.92, 1.1)
    height = {"wine": 0.31, "beer": 0.24, "water": 0.23}[style] * rng.between(0.92, 1.1)
    neck = {"wine": 0.38, "beer": 0.4, "water": 0.42}[style]
    color = rng.pick({"wine": ("dark green", "black"), "beer": ("brown", "green"), "water": BRIGHT}[style])
    shoulder, thin = 0.58 * height, radius * neck
    body = softened([(0.0, 0.0), (radius, 0.0), (radius, shoulder)], 0.006)
    upper = curve(
        [(radius, shoulder), (radius * 0.86, 0.66 * height), (thin, 0.77 * height), (thin, 0.95 * height)], 20
    )
    cap_color = rng.pick(("red", "white", "black", "yellow"))
    cap = softened([(0, 0), (thin * 1.14, 0), (thin * 1.14, 0.05 * height), (0, 0.05 * height)], 0.002)
    accent = rng.shade(rng.pick(("red", "blue", "orange", "dark green", "black")))
    label = lathe([(radius + 0.0004, 0.16 * height), (radius + 0.0004, 0.46 * height)], 24, (175.0, 365.0))
    return Model(
        [
            Part(lathe(np.concatenate([body, upper, [(0.0, 0.95 * height)]])), rng.coat(color, 0.08)),
            Part(lathe(cap).moved(z=0.945 * height), rng.coat(cap_color, 0.4)),
            Part(label, rng.pattern("label", named("white"), accent, roughness=0.7)),
        ],
        color,
        FRONT,
    )


def bowl(rng: Rng) -> Model:
    radius = rng.between(0.07, 0.14)
    height = radius * rng.between(0.5, 0.75)
    outer = curve(np.array([(0.45, 0.0), (0.47, 0.08), (0.8, 0.4), (1.0, 1.0)]) * (radius, height), 18)
    profile = hollow(outer, 0.005, 0.012)
    split = len(outer) + 2
    if rng.chance(0.25):
        wood = rng.wood()
        return Model([Part(lathe(profile), wood)], name_of_wood(wood.rgb))
    color = rng.pick(GLAZES)
    outside = rng.coat(color, 0.25)
    inside = outside
    if rng.chance(0.4):
        outside = rng.pattern("bands", outside.rgb, named("white" if color != "white" else "blue"), roughness=0.25)
    return Model(
        [Part(lathe(profile[:split]), outside), Part(lathe(profile[split - 1 :]), inside)], color, rotatable=False
    )


def vase(rng: Rng) -> Model:
    height = rng.between(0.2, 0.42)
    radius = height * rng.between(0.22, 0.32)
    shape = rng.pick(
        (
            [(0.5, 0.0), (0.8, 0.15), (1.0, 0.45), (0.5, 0.78), (0.34, 0.88), (0.48, 1.0)],
            [(0.45, 0.0), (0.55, 0.1), (0.75, 0.5), (0.95, 0.85), (0.9, 1.0)],
            [(0.6, 0.0), (0.95, 0.2), (0.9, 0.4), (0.4, 0.62), (0.32, 0.8), (0.6, 1.0)],
            [(0.7, 0.0), (1.0, 0.3), (1.0, 0.5), (0.7, 0.8), (0.55, 0.9), (0.62, 1.0)],
        )
    )
    outer = curve(np.array(shape) * (radius, height), 36)
    color = rng.pick((*GLAZES, "dark blue", "dark green", "beige"))
    surface = rng.coat(color, rng.between(0.12, 0.5))
    if rng.chance(0.5):
        accent = named("white" if color not in ("white", "beige") else "dark blue")
        surface = rng.pattern("bands", surface.rgb, accent, roughness=surface.roughness)
    profile = hollow(outer, 0.005, 0.01, 24)
    split = len(outer) + 2
    parts = [Part(lathe(profile[:split]), surface), Part(lathe(profile[split - 1 :]), Material(surface.rgb, 0.6))]
    return Model(parts, color, rotatable=False)


def teapot(rng: Rng) -> Model:
    radius = rng.between(0.075, 0.1)
    height = radius * rng.between(1.25, 1.5)
    body = curve(np.array([(0.55, 0.0), (0.92, 0.22), (1.0, 0.5), (0.8, 0.82), (0.42, 1.0)]) * (radius, height), 24)
    color = rng.pick(GLAZES)
    glaze = rng.coat(color, 0.18)
    lid = curve(np.array([(0.46, 0.98), (0.44, 1.03), (0.25, 1.1), (0.06, 1.13)]) * (radius, height), 10)
    knob = sphere(radius * 0.12, 12).moved(z=height * 1.12)
    spout = curve(np.array([(0.8, 0.35), (1.3, 0.5), (1.5, 0.85), (1.78, 1.02)]) * (radius, height), 18)
    grip = curve(np.array([(0.84, 0.76), (1.3, 0.95), (1.58, 0.6), (1.3, 0.26), (0.9, 0.26)]) * (-radius, height), 24)
    beak = np.linspace(0.2, 0.1, len(spout)) * radius
    mouth = spout[-1]
    shapes = [
        lathe(np.concatenate([[(0.0, 0.0)], body, [(0.0, height)]])),
        lathe(np.concatenate([[(0.0, 0.98 * height)], lid, [(0.0, 1.13 * height)]])),
        sweep([(x, 0.0, z) for x, z in spout], beak, 14),
        sweep([(x, 0.0, z) for x, z in grip], radius * 0.09, 10, flat=1.4),
    ]
    dark = sphere(radius * 0.075, 8).scaled(z=0.3).turned("y", 45).moved(mouth[0] - 0.001, 0, mouth[1] - 0.001)
    top = Material(glaze.rgb, 0.18) if rng.chance(0.6) else STEEL
    return Model([Part(join(shapes), glaze), Part(knob, top), Part(dark, Material((0.02, 0.02, 0.02), 0.9))], color)


def book(rng: Rng) -> Model:
    width, height, thick = rng.between(0.14, 0.19), rng.between(0.21, 0.26), rng.between(0.03, 0.055)
    board = 0.003
    color = rng.pick(
        ("red", "blue", "green", "dark blue", "dark red", "dark green", "orange", "purple", "black", "yellow")
    )
    cloth = rng.coat(color, 0.6)
    ink = named(
        "white" if color in ("orange", "yellow") and rng.chance(0.5) else rng.pick(("white", "yellow", "beige"))
    )
    if color == "yellow":
        ink = named("dark blue")
    pages = box(width - 0.006, height - 0.01, thick - 2 * board, 0.001).moved(x=0.001, z=board)
    boards = [box(width, height, board, 0.001).moved(z=z) for z in (0.0, thick - board)]
    arc = np.deg2rad(np.linspace(90, 270, 13))
    ridge = np.stack([0.3 * thick * np.cos(arc), thick / 2 * np.sin(arc)], axis=1)
    back = _spine(ridge, height).moved(x=-width / 2 + 0.001, z=thick / 2)
    art = panel(width * 0.96, height * 0.96).turned("x", -90).moved(y=-0.48 * height, z=thick + 0.0003)
    paper = Material((0.93, 0.9, 0.82), 0.9)
    cover = rng.pattern("cover", cloth.rgb, ink, roughness=0.55)
    return Model([Part(join([*boards, back]), cloth), Part(pages, paper), Part(art, cover)], color, symmetry=1)


def _spine(ridge: Floats, height: float) -> Mesh:
    """The rounded back of a book: the outline (x, z) extruded along y."""
    from .shapes import extrude

    inner = ridge[::-1] * (0.75, 0.9)
    return extrude(np.concatenate([ridge, inner]), height).turned("x", 90).moved(y=height / 2)


def apple(rng: Rng) -> Model:
    radius = rng.between(0.034, 0.043)
    shape = [(0.0, 0.1), (0.3, 0.02), (0.62, 0.12), (0.95, 0.75), (0.98, 1.2), (0.7, 1.68), (0.35, 1.75), (0.0, 1.55)]
    body = lathe(curve(np.array(shape) * radius, 40))
    body = body.moved(z=-float(body.vertices[:, 2].min()))
    color = rng.pick(("red", "green", "yellow", "dark red"))
    stem = sweep(
        curve([(0, 0, 1.5 * radius), (0.05 * radius, 0, 1.8 * radius), (0.2 * radius, 0, 2.1 * radius)], 8), 0.0016, 6
    )
    leaf = sweep(
        curve(
            [
                (0.08 * radius, 0, 1.85 * radius),
                (0.45 * radius, 0.2 * radius, 2.1 * radius),
                (radius, 0.4 * radius, 1.95 * radius),
            ],
            9,
        ),
        radius * 0.035 * np.sin(np.linspace(0.12, np.pi, 9)),
        8,
        flat=7.0,
    )
    leafy = Material(named("dark green"), 0.5)
    return Model(
        [Part(body, rng.coat(color, 0.3)), Part(stem, Material(named("dark brown"), 0.8)), Part(leaf, leafy)], color
    )


def candle(rng: Rng) -> Model:
    radius, height = rng.between(0.028, 0.042), rng.between(0.08, 0.16)
    color = rng.pick(("white", "red", "beige", "orange", "purple", "green", "blue"))
    wax = softened([(0, 0), (radius, 0), (radius, height), (radius * 0.8, height), (0, height - 0.006)], 0.004)
    dish = softened(
        [(0, 0), (radius * 1.5, 0), (radius * 1.75, 0.012), (radius * 1.65, 0.012), (radius * 1.4, 0.004), (0, 0.004)],
        0.002,
    )
    wick = sweep(curve([(0, 0, height - 0.008), (0, 0, height + 0.006), (0.003, 0, height + 0.012)], 8), 0.0012, 6)
    metal = rng.pick((STEEL, Material(named("dark grey"), 0.5)))
    ring = torus(radius * 1.72, 0.0015, 0.0115)
    return Model(
        [
            Part(lathe(wax).moved(z=0.004), rng.coat(color, 0.45)),
            Part(join([lathe(dish), ring]), metal),
            Part(wick.moved(z=0.004), Material((0.05, 0.04, 0.04), 0.9)),
        ],
        color,
        rotatable=False,
    )


def pumpkin(rng: Rng) -> Model:
    radius = rng.between(0.1, 0.16)
    squat, ribs = rng.between(0.62, 0.85), rng.pick((9, 10, 11))

    def rib(points: Floats) -> Floats:
        angle = np.arctan2(points[:, 1], points[:, 0])
        out = np.hypot(points[:, 0], points[:, 1])
        level = (points[:, 2] - radius) / radius
        groove = 1 - 0.13 * (1 - np.abs(np.cos(ribs * angle / 2))) ** 2
        dimple = 0.28 * radius * np.exp(-((out / (0.35 * radius)) ** 2)) * np.sign(level)
        return np.stack([points[:, 0] * groove, points[:, 1] * groove, points[:, 2] - dimple], axis=1)

    angle = np.linspace(-np.pi / 2, np.pi / 2, 33)
    profile = np.stack([radius * np.cos(angle), radius * (1 + np.sin(angle))], axis=1)
    profile[[0, -1], 0] = 1e-4
    body = lathe(profile, 12 * ribs).warped(rib).scaled(z=squat)
    body = body.moved(z=-float(body.vertices[:, 2].min()))
    top = 1.72 * radius * squat
    stem = sweep(
        curve([(0, 0, top - 0.02), (0, 0, top + 0.015), (0.02, 0.005, top + 0.04)], 10),
        np.linspace(0.017, 0.009, 10),
        7,
    )
    color = rng.pick(("orange", "orange", "white", "green"))
    return Model(
        [Part(body, rng.coat(color, 0.5)), Part(stem, Material((0.35, 0.4, 0.2), 0.8))], color, rotatable=False
    )


def box_of_card(rng: Rng) -> Model:
    """An open cardboard box with its flaps folded out."""
    width, depth, height = rng.between(0.32, 0.5), rng.between(0.26, 0.38), rng.between(0.2, 0.32)
    wall = 0.005
    card = rng.pattern("speckle", rng.shade("light brown"), (0.55, 0.4, 0.25), roughness=0.85)
    sides = [
        *(box(width, wall, height, 0.001).moved(y=sign * (depth - wall) / 2) for sign in (-1, 1)),
        *(box(wall, depth - 2 * wall, height, 0.001).moved(x=sign * (width - wall) / 2) for sign in (-1, 1)),
        box(width - 2 * wall, depth - 2 * wall, wall, 0.001),
    ]
    fold = rng.between(32, 52)
    flaps = [
        box(width - 0.004, depth * 0.4, wall * 0.8, 0.001)
        .moved(y=-depth * 0.2)
        .turned("x", fold)
        .moved(y=-depth / 2 + wall / 2, z=height),
        box(width - 0.004, depth * 0.4, wall * 0.8, 0.001)
        .moved(y=depth * 0.2)
        .turned("x", -fold)
        .moved(y=depth / 2 - wall / 2, z=height),
    ]
    shapes = join([*sides, *flaps]).textured(0.3)
    tape = box(0.05, 0.0006, height * 0.98, 0.0002)
    tapes = join([tape.moved(y=sign * (depth / 2 + 0.0002)) for sign in (-1, 1)])
    strip = Material((0.72, 0.55, 0.33), 0.35)
    return Model(
        [Part(shapes, card), Part(tapes, strip)],
        "light brown",
        supports=wall,
        opening=(round(width - 2 * wall, 6), round(depth - 2 * wall, 6)),
    )


def gift_box(rng: Rng) -> Model:
    width, depth, height = rng.between(0.14, 0.26), rng.between(0.14, 0.26), rng.between(0.1, 0.2)
    color = rng.pick(("red", "blue", "green", "purple", "yellow", "pink", "white", "turquoise"))
    ribbon_color = rng.pick([name for name in ("red", "yellow", "white", "green") if name != color])
    paper = rng.coat(color, 0.4)
    ribbon = rng.coat(ribbon_color, 0.3)
    lid = 0.25 * height
    body = [
        box(width, depth, height - 0.5 * lid, 0.003),
        box(width + 0.008, depth + 0.008, lid, 0.003).moved(z=height - lid),
    ]
    band, over = 0.026, 0.0095
    bands = [
        box(band, depth + over, height + 0.0008, 0.003),
        box(width + over, band, height + 0.0008, 0.003),
    ]
    loops: list[Mesh] = []
    for turn in (20.0, 160.0, 200.0, 340.0):
        path = curve([(0, 0, 0), (0.045, 0.008, 0.04), (0.075, 0.0, 0.03), (0.045, -0.008, 0.006), (0, 0, 0.002)], 22)
        loops.append(sweep(path, 0.0022, 8, flat=4.0).turned("z", turn).moved(z=height + 0.001))
    knot = sphere(0.011, 10).moved(z=height - 0.002)
    return Model([Part(join(body), paper), Part(join([*bands, *loops, knot]), ribbon)], color)
