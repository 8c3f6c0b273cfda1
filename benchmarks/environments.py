"""Scenes in room models of a folder: what the survey finds, contact on the triangles of the rooms, and a contact sheet.

    python benchmarks/environments.py FOLDER [SHEET.png] [--scenes 2] [--side 384] [--samples 16] [--columns 6]
        [--seconds 200]

Prints for each model CPU seconds, area of the free floor and number of surfaces, or why it is left out. Then, for
`--scenes` seeded scenes of procedural objects in each model: whether the first proposal is a scene, the smallest
vertical gap between the base of each object and the triangles below it, and how many objects a triangle of the room
cuts. The last two are measured on the triangles, independently of the height map by which objects are placed. With a
SHEET, the sources are rendered until `--seconds` are over.
"""

import time
from dataclasses import replace
from pathlib import Path

import click
import cv2
import numpy as np
import shapely
from scenes import write_sheet

from spatialdata_builder.shards.geometry import F64
from spatialdata_builder.sources.assets.carriers import AssetSupports
from spatialdata_builder.sources.assets.glb import GlbError
from spatialdata_builder.sources.assets.mesh import read_mesh, read_triangles
from spatialdata_builder.sources.blender.render import Renderer
from spatialdata_builder.sources.edits.proposals import propose
from spatialdata_builder.sources.environments.folder import find_environments
from spatialdata_builder.sources.environments.survey import survey_environment
from spatialdata_builder.sources.procedural import catalog
from spatialdata_builder.sources.procedural.source import MadeModels
from spatialdata_builder.sources.rendered.files import located
from spatialdata_builder.sources.scenes.footprints import footprint, pose_of
from spatialdata_builder.sources.scenes.interior import Interior
from spatialdata_builder.sources.scenes.kinds import Furniture
from spatialdata_builder.sources.scenes.spec import RenderOptions, SceneOptions, SceneSpec

CUT_M = 0.003
"""A triangle so far inside the prism of an object cuts it."""
HARD_M, SOFT_M = 0.001, 0.002
"""Largest gap between an object and a hard and a soft surface."""
BASE_M = 0.002
"""Points so far above the lowest one belong to the base."""


def triangles_of(file: Path, interior: Interior) -> F64:
    """(M, 3, 3) world meters."""
    vertices, faces = read_triangles(file)
    return (vertices * interior.scale + interior.offset)[faces]


def cross(a: F64, b: F64) -> F64:
    """The cross products (n,) of vectors (n, 2)."""
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def height_below(point: F64, triangles: F64) -> float:
    """Height of the highest triangle (M, 3, 3) that a vertical line meets at most 2 mm above a point (3,); or -inf."""
    a, b, c = (triangles[:, corner, :2] for corner in range(3))
    u, v, along = b - a, c - a, point[:2] - a
    area = cross(u, v)
    with np.errstate(divide="ignore", invalid="ignore"):
        v, w = cross(along, v) / area, cross(u, along) / area
        z = triangles[:, 0, 2] * (1 - v - w) + triangles[:, 1, 2] * v + triangles[:, 2, 2] * w
        # Vertical triangles have no height.
        z = np.where(area == 0, -np.inf, z)
        met = (v >= 0) & (w >= 0) & (v + w <= 1) & (z <= point[2] + 0.002)
    return float(z[met].max(initial=-np.inf))


def cuts(outline: shapely.Polygon, low: float, high: float, triangles: F64) -> bool:
    """Whether a triangle is inside a prism."""
    inner = outline.buffer(-CUT_M)
    for corners in triangles[(triangles[:, :, 2].max(axis=1) > low) & (triangles[:, :, 2].min(axis=1) < high)]:
        met = inner.intersection(shapely.convex_hull(shapely.multipoints(corners[:, :2])))
        if met.is_empty:
            continue
        normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
        if abs(normal[2]) < 1e-3 * np.linalg.norm(normal):
            return True
        offset = shapely.get_coordinates(met) - corners[0, :2]
        z = corners[0, 2] - offset @ normal[:2] / normal[2]
        if z.max() > low and z.min() < high:
            return True
    return False


def measure(spec: SceneSpec, triangles: F64, models: MadeModels) -> tuple[list[float], int, int]:
    """Gap of each object, meters, and numbers of objects that do not touch what they stand on, and that are cut."""
    gaps: list[float] = []
    far = cut = 0
    for item in spec.objects:
        place = spec.source.placements[item.id]
        if not place.present:
            continue
        outline = footprint(item.asset, place)
        near = triangles[
            (triangles[:, :, :2].max(axis=1) > outline.min(axis=0)).all(axis=1)
            & (triangles[:, :, :2].min(axis=1) < outline.max(axis=0)).all(axis=1)
        ]
        vertices, _ = read_mesh(item.asset, models.path(item.asset.path))
        pose = pose_of(place)
        world = vertices @ pose[:3, :3].T + pose[:3, 3]
        base = world[world[:, 2] < world[:, 2].min() + BASE_M]
        found = [point[2] - height_below(point, near) for point in base[:: max(1, len(base) // 60)]]
        soft = place.standing is not None and place.standing.kind == "soft"
        gaps.append(min(found, key=abs))
        far += abs(gaps[-1]) > (SOFT_M if soft else HARD_M)
        low, high = place.z + CUT_M, place.z + place.scale * item.asset.size_m[2] - CUT_M
        cut += cuts(shapely.Polygon(outline), low, high, near)
    return gaps, far, cut


def label(picture: np.ndarray, text: str) -> np.ndarray:
    """Draw a text at the top of a picture (H, W, 3)."""
    cv2.putText(picture, text, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 2, cv2.LINE_AA)
    cv2.putText(picture, text, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return picture


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.argument("sheet", type=click.Path(path_type=Path), required=False)
@click.option("--scenes", default=2, show_default=True, help="of each model")
@click.option("--first", default=0, show_default=True, help="the first seed")
@click.option("--only", default="", help="words, separated by commas: models whose names contain one")
@click.option("--side", default=384, show_default=True)
@click.option("--samples", default=16, show_default=True)
@click.option("--columns", default=6, show_default=True)
@click.option("--seconds", default=200.0, show_default=True)
def main(
    folder: Path,
    sheet: Path | None,
    scenes: int,
    first: int,
    only: str,
    side: int,
    samples: int,
    columns: int,
    seconds: float,
) -> None:
    """Survey, compose, measure, render."""
    began = time.monotonic()
    pool, models = catalog(3), MadeModels()
    options = SceneOptions.model_validate({"kinds": {"environment": 1}, "environments": {"root": str(folder)}})
    gaps: list[float] = []
    pictures: list[np.ndarray] = []
    proposed = valid = far = cut = 0
    with Renderer(RenderOptions(resolution=(side, side), samples=samples, device="cpu"), threads=2) as renderer:
        for found in find_environments(folder):
            if only and not any(word in found.name for word in only.split(",")):
                continue
            if time.monotonic() - began > seconds:
                break
            spent = time.process_time()
            try:
                interior = survey_environment(found.path, found.unit_m)
            except GlbError as error:
                click.echo(f"{found.name}: {error}")
                continue
            spent = time.process_time() - spent
            made = Furniture([], lambda _: AssetSupports(), environments={found.name: interior})
            triangles = triangles_of(found.path, interior)
            own_gaps: list[float] = []
            own_valid = own_cut = 0
            for seed in range(first, first + scenes):
                tries = (
                    propose(pool, "translate", options, (side, side), seed, attempt, made) for attempt in range(20)
                )
                number, spec = next((one for one in enumerate(tries) if isinstance(one[1], SceneSpec)), (-1, None))
                own_valid += number == 0
                if not isinstance(spec, SceneSpec) or spec.environment is None:
                    continue
                more, far_here, cut_here = measure(spec, triangles, models)
                own_gaps += more
                far += far_here
                own_cut += cut_here
                if sheet and time.monotonic() - began < seconds:
                    shown = replace(spec, environment=replace(spec.environment, file=str(found.path)))
                    renderer.open(shown, {item.id: located(models.path, item.asset) for item in spec.objects})
                    picture = renderer.render(spec.source).rgb[..., ::-1].copy()
                    pictures.append(label(picture, f"{found.name.removesuffix('.glb')} {seed}"))
                    write_sheet(pictures, columns, sheet)
            click.echo(
                f"{found.name}: {spent:.1f} CPU s, {len(triangles)} triangles, floor {interior.walkable.area:.1f} m2, "
                f"{len(interior.surfaces)} surfaces; {own_valid} of {scenes} first proposals; {len(own_gaps)} objects, "
                f"gap {min(own_gaps, default=0) * 1e3:.2f} to {max(own_gaps, default=0) * 1e3:.2f} mm, {own_cut} cut"
            )
            proposed, valid, cut, gaps = proposed + scenes, valid + own_valid, cut + own_cut, gaps + own_gaps
        spent = renderer.cpu_s / max(len(pictures), 1)
    contact = f"{len(gaps)} objects, {far} do not touch (1 mm, soft 2 mm), {cut} cut"
    click.echo(f"all: {valid} of {proposed} first proposals are scenes; {contact}")
    click.echo(f"{len(pictures)} pictures, {spent:.1f} CPU s each")


if __name__ == "__main__":
    main()
