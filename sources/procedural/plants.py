"""Kinds of objects: plants in pots."""

import numpy as np

from .materials import Material
from .model import Model, Part, Rng
from .shapes import Floats, Mesh, curve, join, lathe, softened, sphere, sweep
from .tableware import hollow


def _pot(rng: Rng, radius: float, height: float) -> list[Part]:
    """A flowerpot with soil."""
    color = rng.pick(("orange", "white", "blue", "grey", "black", "turquoise", "yellow"))
    clay = Material((0.72, 0.38, 0.24), 0.85) if color == "orange" else rng.coat(color, 0.35)
    straight = [(0.72, 0.0), (0.95, 0.8), (1.06, 0.8), (1.08, 1.0)]
    soft = [(0.6, 0.0), (0.85, 0.2), (1.0, 0.6), (0.98, 1.0)]
    outer = softened(np.array(rng.pick((straight, soft))) * (radius, height), 0.005)
    level = 0.9 * height
    soil_radius = float(np.interp(level, outer[:, 1], outer[:, 0])) - 0.005
    soil = lathe([(soil_radius, level), (soil_radius * 0.5, level + 0.006), (0.0, level + 0.008)])
    earth = rng.pattern("speckle", (0.16, 0.1, 0.07), (0.3, 0.22, 0.16), roughness=0.95)
    return [Part(lathe(hollow(outer, 0.006, 0.02)), clay), Part(soil, earth)]


def potted_plant(rng: Rng) -> Model:
    radius = rng.between(0.08, 0.14)
    height = radius * rng.between(1.4, 1.8)
    parts = _pot(rng, radius, height)
    green = rng.coat(rng.pick(("green", "dark green", "dark green")), 0.45)
    style = rng.pick(("arching", "blades", "tree"))
    base = 0.88 * height
    if style == "tree":
        return Model([*parts, *_tree(rng, radius, base)], "green")
    count = rng.pick((14, 18, 22)) if style == "arching" else rng.pick((9, 12))
    leaves: list[Mesh] = []
    for k in range(count):
        turn = 137.508 * k
        if style == "arching":
            long = radius * rng.between(1.6, 2.6) * (1.1 - 0.3 * k / count)
            rise = rng.between(0.5, 1.2)
            spine = [(0.1, 0.0), (0.3, 0.55 * rise), (0.72, 0.8 * rise), (1.0, 0.62 * rise)]
            wide, flat = 0.013, 6.0
        else:
            long = radius * rng.between(2.2, 3.8)
            lean = rng.between(0.06, 0.28)
            spine = [(0.12, 0.0), (0.12 + 0.4 * lean, 0.45), (0.12 + lean, 1.0)]
            wide, flat = 0.009, 5.5
        path = curve([(x * long, 0.0, z * long) for x, z in spine], 14)
        width = wide * long / 0.25 * np.sin(np.linspace(0.25, np.pi - 0.02, 14)) ** 0.8 + 1e-5
        # A path in the xz plane bends about y: `flat` widens the leaf across that plane.
        leaves.append(sweep(path, np.maximum(width, 2e-4) * 0.35, 8, flat=flat).turned("z", turn).moved(z=base))
    return Model([*parts, Part(join(leaves), green)], "green")


def _tree(rng: Rng, radius: float, base: float) -> list[Part]:
    """A trunk and a crown of leaves."""
    tall = radius * rng.between(2.4, 3.4)
    bow = radius * 0.15
    trunk = sweep(
        curve([(0, 0, base), (bow, 0, base + 0.4 * tall), (-bow * 0.5, 0, base + tall)], 14),
        np.linspace(0.016, 0.009, 14),
        9,
    )
    crown = radius * rng.between(0.95, 1.3)
    center = np.array([-bow * 0.5, 0.0, base + tall + crown * 0.45])
    leaves: list[Mesh] = []
    count = 150
    for k in range(count):
        # Fibonacci lattice on the sphere
        z = 1 - 2 * (k + 0.5) / count
        angle = np.deg2rad(137.508 * k)
        way = np.array([np.sqrt(1 - z * z) * np.cos(angle), np.sqrt(1 - z * z) * np.sin(angle), z])
        start = center + way * crown * rng.between(0.45, 0.75) * (1, 1, 0.85)
        droop = np.array([0, 0, -0.25 * crown * rng.between(0.2, 1.0) * np.sqrt(1 - z * z)])
        end = start + way * crown * 0.38 + droop
        middle = (start + end) / 2 + np.array([0, 0, 0.08 * crown])
        width = crown * 0.028 * np.sin(np.linspace(0.3, np.pi - 0.05, 6))
        leaves.append(sweep(curve([start, middle, end], 6), width, 6, flat=4.5))
    bark = Material((0.33, 0.22, 0.14), 0.9)
    return [Part(trunk, bark), Part(join(leaves), rng.coat(rng.pick(("green", "dark green")), 0.5))]


def cactus(rng: Rng) -> Model:
    radius = rng.between(0.06, 0.09)
    height = radius * 1.4
    parts = _pot(rng, radius, height)
    base, thick = 0.86 * height, radius * rng.between(0.42, 0.55)
    tall = radius * rng.between(2.2, 3.4)
    body = _ribbed(thick, tall, 10).moved(z=base)
    arms: list[Mesh] = []
    for side in rng.pick(((1,), (-1, 1), (-1, 1))):
        at = base + tall * rng.between(0.35, 0.6)
        out, up, bend = thick * rng.between(1.9, 2.3), tall * rng.between(0.25, 0.4), 0.8 * thick
        angle = np.linspace(0, np.pi / 2, 12)
        turn = np.stack([out - bend + bend * np.sin(angle), bend * (1 - np.cos(angle))], axis=1)
        rise = np.linspace(bend, max(up, bend + thick * 0.5), 10)[1:]
        bow = np.concatenate([[(thick * 0.6, 0.0)], turn, np.stack([np.full(9, out), rise], axis=1)])
        path = [(side * x, 0.0, at + z) for x, z in bow]
        ends = thick * 0.42 * np.minimum(1, np.sqrt(np.linspace(3.2, 0.05, len(path))))
        arms.append(sweep(path, ends, 14))
    flower = [sphere(thick * 0.28, 10).scaled(z=0.7).moved(z=base + tall - thick * 0.12)] if rng.chance(0.5) else []
    green = rng.coat(rng.pick(("green", "dark green")), 0.6)
    parts.append(Part(join([body, *arms]), green))
    if flower:
        parts.append(Part(join(flower), rng.coat(rng.pick(("pink", "red", "yellow")), 0.5)))
    return Model(parts, "green")


def _ribbed(radius: float, height: float, ribs: int) -> Mesh:
    """A column with ribs and a round top."""
    angle = np.linspace(0, np.pi / 2, 9)
    dome = np.stack([radius * np.cos(angle), height - radius + radius * np.sin(angle)], axis=1)
    dome[-1, 0] = 1e-4
    stem = np.stack([np.full(8, radius), np.linspace(0.0, height - radius, 8)], axis=1)

    def groove(points: Floats) -> Floats:
        turn = np.arctan2(points[:, 1], points[:, 0])
        deep = 1 - 0.14 * (1 - np.abs(np.cos(ribs * turn / 2)))
        return np.stack([points[:, 0] * deep, points[:, 1] * deep, points[:, 2]], axis=1)

    return lathe(np.concatenate([stem, dome[1:]]), ribs * 8).warped(groove)
