"""Things that physics lets come to rest: its cost, and the gaps at their contacts, relative to things that stand.

    python benchmarks/physics.py [--kinds room,tabletop,garden] [--count 60] [--assets FOLDER]

Composes scenes with and without physics. CPU seconds of a scene: to compose it, and, if it has groups of loose things,
to settle them (simulation, and contacts on the triangles). Gaps are measured by rays between the triangles, not read
from the scene: of a thing that touches its surface, the least vertical distance to the surface, floor or ground; of two
things that hold each other, the least distance between them. The baseline is the vertical gap of things that stand
upright on surfaces, which needs no physics. A gap below zero is a cut.
"""

import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import trimesh
from meshes import TOUCHES_M, Solids, surroundings
from planned import Build, settings_of, spread
from scenes import compose

from spatialdata_builder.shards.geometry import F64
from spatialdata_builder.sources.scenes import loose
from spatialdata_builder.sources.scenes.layout import Scene
from spatialdata_builder.sources.scenes.physics import Body, Fixed, Plane, Rest, settle
from spatialdata_builder.sources.scenes.spec import SceneKind

_LIFT_M = 0.01
"""Rays start so far above a point, so that they meet a surface that the point is below."""
_STEP_M = 0.004
"""Largest distance between the points of a thing."""


class Clock:
    """Settles things, and keeps the CPU seconds of each group."""

    def __init__(self) -> None:
        self.groups: list[float] = []

    def __call__(self, bodies: Sequence[Body], fixed: Sequence[Fixed], planes: Sequence[Plane]) -> list[Rest]:
        began = time.process_time()
        rests = settle(bodies, fixed, planes)
        self.groups.append(time.process_time() - began)
        return rests


def points_of(mesh: trimesh.Trimesh, low: float) -> F64:
    """Points (n, 3) on the faces of a mesh below a height."""
    faces = mesh.faces[mesh.triangles[:, :, 2].min(axis=1) < low]
    points, _ = trimesh.remesh.subdivide_to_size(mesh.vertices, faces, _STEP_M, max_iter=14)
    return np.array(points[points[:, 2] < low])


def drop(own: trimesh.Trimesh, below: trimesh.Trimesh | None) -> float:
    """The least vertical distance of a mesh to another one below it, or to the floor (None); below zero where it is
    inside; infinite where nothing is below."""
    bottom = float(own.bounds[0, 2])
    points = points_of(own, bottom + 0.5 * float(np.ptp(own.bounds[:, 2])) + 0.002)
    if below is None:
        return bottom
    hits, rays, faces = below.ray.intersects_location(
        points + np.array([0.0, 0.0, _LIFT_M]), np.tile([0.0, 0.0, -1.0], (len(points), 1)), multiple_hits=False
    )
    facing = below.face_normals[faces, 2] > 0.5
    gaps = points[rays[facing], 2] - hits[facing, 2]
    return float(gaps.min()) if len(gaps) else float("inf")


def between(own: trimesh.Trimesh, other: trimesh.Trimesh) -> float:
    """The least distance of two meshes."""
    return min(_nearest(own, other), _nearest(other, own))


def _nearest(one: trimesh.Trimesh, other: trimesh.Trimesh) -> float:
    low, high = other.bounds[0] - 0.02, other.bounds[1] + 0.02
    corners = one.triangles
    near = one.faces[((corners.max(axis=1) > low) & (corners.min(axis=1) < high)).all(axis=1)]
    if not len(near):
        return float("inf")
    points, _ = trimesh.remesh.subdivide_to_size(one.vertices, near, _STEP_M, max_iter=14)
    points = points[((points > low) & (points < high)).all(axis=1)]
    return float(trimesh.proximity.closest_point(other, points)[1].min()) if len(points) else float("inf")


def gaps_of(scene: Scene, solids: Solids) -> dict[str, list[float]]:
    """Gaps in meters: of upright things, of settled ones on surfaces, and of settled ones to what holds them."""
    found: dict[str, list[float]] = defaultdict(list)
    meshes = solids.placed(scene)
    for id, place in scene.placements.items():
        on = place.standing
        if place.settled is None:
            if on and on.object and on.kind != "under":
                found["upright"].append(drop(meshes[id], meshes[on.object]))
            continue
        if place.settled.on_support:
            carrier = meshes[on.object] if on and on.object and on.kind != "under" else None
            found["settled, to its surface"].append(drop(meshes[id], carrier))
        for other in place.settled.held_by:
            found["settled, to what holds it"].append(between(meshes[id], meshes[other]))
    return found


def report(title: str, build: Build, kinds: Sequence[SceneKind], seeds: Sequence[int]) -> None:
    """Compose and print."""
    solids = Solids(build.mesh_of)
    gaps: dict[str, list[float]] = defaultdict(list)
    composed: list[float] = []
    settling: list[float] = []
    groups: list[float] = []
    things: Counter[bool] = Counter()
    cuts: list[str] = []
    for kind in kinds:
        for seed in seeds:
            loose.settle = clock = Clock()  # type: ignore[assignment]
            ((scene, ms),) = compose(build, kind, [seed])
            composed.append(ms / 1e3)
            groups += clock.groups
            if clock.groups:
                settling.append(sum(clock.groups))
            if isinstance(scene, Scene):
                things.update(place.settled is not None for place in scene.placements.values())
                for name, values in gaps_of(scene, solids).items():
                    gaps[name] += values
                cuts += [f"{kind} {seed}: {one}" for one in solids.cuts(scene, surroundings(scene))]
    click.echo(f"{title}: {len(composed)} scenes, {things[True]} settled and {things[False]} other things")
    click.echo(f"  CPU s to compose a scene: mean {np.mean(composed):.3f}, {spread(composed)}")
    if groups:
        click.echo(f"  of it settling, in {len(settling)} scenes: mean {np.mean(settling):.3f}, {spread(settling)}")
        click.echo(f"  a group of things: mean {np.mean(groups):.3f}, {spread(groups)}")
    click.echo(f"  cut into each other: {len(cuts)} {cuts or ''}")
    for name, values in sorted(gaps.items()):
        mm = 1e3 * np.array(values)
        within = np.mean(np.abs(mm) <= 1e3 * TOUCHES_M)
        low, middle, high = np.percentile(mm, (1, 50, 99))
        line = f"  gap, {name}: {len(mm)}, {within:.1%} within {1e3 * TOUCHES_M:g} mm; mm: 1 % {low:.2f}, "
        click.echo(f"{line}median {middle:.2f}, 99 % {high:.2f}, least {mm.min():.2f}, largest {mm.max():.2f}")


@click.command(help=__doc__)
@click.option("--kinds", default="room,tabletop,garden", show_default=True)
@click.option("--count", default=60, show_default=True, help="scenes of each kind")
@click.option("--first", default=0, show_default=True, help="the first seed")
@click.option("--assets", default="", help="a folder in Objaverse's layout; default: procedural models")
def main(kinds: str, count: int, first: int, assets: str) -> None:
    """Compose, with and without physics, and measure."""
    chosen: list[SceneKind] = [kind for kind in ("room", "tabletop", "garden") if kind in kinds.split(",")]
    with tempfile.TemporaryDirectory() as scratch:
        for physics in ("off", "on"):
            settings = [*settings_of(assets), f"scene.physics={physics}"]
            build = Build.planned(settings, Path(scratch, physics))
            report(f"physics {physics}", build, chosen, range(first, first + count))


if __name__ == "__main__":
    main()
