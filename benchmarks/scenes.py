"""Seeded scenes of each kind on contact sheets, with their yield, cost, noise and exposure relative to open scenes.

    python benchmarks/scenes.py SHEET.png [--kinds open,room,tabletop] [--count 48] [--side 512] [--samples 32]
        [--assets FOLDER] [--noise] [--sources]

One sheet for each kind: SHEET-room.png, and so on. `room` and `tabletop` are the furnished scenes that a build makes,
from procedural models or from those of a folder in Objaverse's layout (`--assets`); their yield is the share of seeds
whose first proposal is a scene. The other kinds have a few procedural objects that the sampler of open scenes put on
the floor (`open`). They are moved as a whole into an empty room (`bare`) or a garden (`garden`); `same` shows the
scenes of `bare` as open ones, with the same materials, since fine patterns are noise of their own.

A pair: load the scene, cast visibility rays, render source and target. Noise: root mean square of the difference
between renders of two seeds, divided by the root of two, in levels of 255. Blotch: the same after a mean over 9 x 9
pixels. Black: pixels below 10 levels in each channel. Blown: pixels of surfaces with a channel of at least 254.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import click
import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from spatialdata_builder.pipeline.config import load_config
from spatialdata_builder.pipeline.planning.samples import plan_build
from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.shards.geometry import matrix4, to_json_list
from spatialdata_builder.sources.assets.table import AssetTable
from spatialdata_builder.sources.blender.render import RenderedView, Renderer
from spatialdata_builder.sources.changed_region import find_changed
from spatialdata_builder.sources.edits.proposals import SCENE, generator, propose
from spatialdata_builder.sources.edits.registry import RULES
from spatialdata_builder.sources.procedural import catalog
from spatialdata_builder.sources.registry import get_scene_source
from spatialdata_builder.sources.rendered.files import located
from spatialdata_builder.sources.scenes.footprints import footprint
from spatialdata_builder.sources.scenes.garden import sample_garden, sample_sky
from spatialdata_builder.sources.scenes.kinds import Furniture, compose_scene
from spatialdata_builder.sources.scenes.layout import Scene
from spatialdata_builder.sources.scenes.room import dress_room, sample_outlook, sample_room, seen_from
from spatialdata_builder.sources.scenes.spec import (
    CameraOptions,
    CameraPose,
    Placement,
    RenderOptions,
    SceneKind,
    SceneOptions,
    SceneSpec,
    State,
    Wall,
)
from spatialdata_builder.sources.scenes.template import builtin_templates
from spatialdata_builder.sources.source import ModelFiles

MARGIN_M = 0.12
"""Objects and camera stay so far from the walls."""


def proposals(side: int, first: int, options: SceneOptions) -> Iterator[tuple[int, SceneSpec]]:
    """The first valid proposal of each seed from `first`."""
    assets = catalog(6)
    for seed in range(first, first + 1000):
        found = (propose(assets, "translate", options, (side, side), seed, attempt) for attempt in range(60))
        if spec := next((spec for spec in found if isinstance(spec, SceneSpec)), None):
            yield seed, spec


def moved(spec: SceneSpec, turn_deg: float, shift: Sequence[float]) -> SceneSpec:
    """The scene without floor and walls, turned about z, then shifted along the floor."""
    turn = np.deg2rad(turn_deg)
    pose = np.eye(4)
    pose[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    pose[:2, 3] = shift

    def place(placement: Placement) -> Placement:
        x, y = to_json_list(pose[:2, :2] @ (placement.x, placement.y) + pose[:2, 3])
        return replace(placement, x=x, y=y, yaw_deg=round((placement.yaw_deg + turn_deg) % 360.0, 6))

    def state(state: State) -> State:
        camera = CameraPose(state.camera.K, tuple(to_json_list(pose @ matrix4(state.camera.world_from_camera))))
        return State({identity: place(placement) for identity, placement in state.placements.items()}, camera)

    return replace(spec, walls=(), source=state(spec.source), target=state(spec.target))


def furniture(spec: SceneSpec) -> list[tuple[np.ndarray, float]]:
    """Footprints and heights of all objects, before and after the edit."""
    return [
        (footprint(item.asset, state.placements[item.id]), item.asset.size_m[2] * state.placements[item.id].scale)
        for state in (spec.source, spec.target)
        for item in spec.objects
    ]


def in_room(seed: int, spec: SceneSpec) -> SceneSpec | None:
    """The scene in a room, seen toward the wall +y; None where it is too large or too small for one."""
    rng = np.random.default_rng([seed, 11])
    pose = matrix4(spec.source.camera.world_from_camera)
    heading = np.rad2deg(np.arctan2(pose[1, 2], pose[0, 2]))
    spec = moved(spec, float(90.0 + rng.uniform(-38.0, 38.0) - heading), (0.0, 0.0))
    points = np.concatenate([outline for outline, _ in furniture(spec)])
    eyes = np.array([matrix4(state.camera.world_from_camera)[:3, 3] for state in (spec.source, spec.target)])
    everything = np.concatenate([points, eyes[:, :2]])
    low, high = everything.min(axis=0) - MARGIN_M, everything.max(axis=0) + MARGIN_M
    need = high - low
    if need.max() > 6.0 or need[1] < 1.4 or eyes[:, 2].max() > 2.3 or max(h for _, h in furniture(spec)) > 2.2:
        return None
    sizes = tuple((max(3.2, side), max(3.2, side) + 0.9) for side in need)
    room = sample_room(rng, (sizes[0], sizes[1], (2.45, 2.9)))
    width, depth = room.size[:2]
    x = rng.uniform(-width / 2 - low[0], width / 2 - high[0])
    y = depth / 2 - high[1] - rng.uniform(0.0, min(0.5, depth - need[1]))
    spec = moved(spec, 0.0, (x, y))
    room = seen_from(dress_room(rng, room, furniture(spec)), [spec.source.camera, spec.target.camera])
    return replace(spec, floor=room.floor, light=sample_outlook(rng, room.light.mood), room=room)


def same_open(seed: int, spec: SceneSpec) -> SceneSpec | None:
    """The scene of `in_room` as an open one: floor and one wall of the same materials, and the light of today."""
    made = in_room(seed, spec)
    if made is None or made.room is None:
        return None
    wall = Wall(0.0, made.room.size[1] / 2, 270.0, made.room.size[2], made.room.wall)
    return replace(made, room=None, light=spec.light, walls=(wall,))


def in_garden(seed: int, spec: SceneSpec) -> SceneSpec:
    """The scene in a garden."""
    rng = np.random.default_rng([seed, 12])
    spec = moved(spec, 0.0, (0.0, 0.0))
    pads: list[tuple[float, float, float]] = []
    for outline, _ in furniture(spec):
        x, y = outline.mean(axis=0)
        pads.append((x, y, float(np.hypot(*(outline - (x, y)).T).max())))
    garden = sample_garden(rng, pads, [spec.source.camera, spec.target.camera])
    return replace(spec, floor=garden.ground, light=sample_sky(rng), garden=garden)


KINDS = {"open": lambda seed, spec: spec, "same": same_open, "bare": in_room, "garden": in_garden}
FURNISHED: tuple[SceneKind, ...] = ("room", "tabletop")


class Models:
    """The models of a build with furnished scenes: those of a folder in Objaverse's layout, or procedural ones."""

    def __init__(self, folder: str, out: Path) -> None:
        source = ["source.kind=objaverse", f"source.root={folder}"] if folder else ["source.variants=6"]
        splits = "shard.splits={train: 1, val: 0, test: 0}"
        config = load_config(None, [*source, splits, "scene.kinds={room: 1}", "engine.kind=inline", "samples=1"])
        plan_build(config, LayerStore(str(out)), click.echo, quiet=True)
        self.table = AssetTable.read(f"{out}/plan/assets.parquet")
        made = get_scene_source(config.source.kind)
        self.files: ModelFiles = made.models(made.place(config.source, config.render))

    def furniture(self, seed: int) -> Furniture:
        """What the first scene of a seed may draw from."""
        pieces = self.table.of_categories("train", seed, 0, builtin_templates().categories)
        return Furniture(pieces, self.table.supports_of)


def furnished(kind: SceneKind, models: Models, count: int, side: int, first: int) -> list[SceneSpec]:
    """The first scenes of a kind of furnished scene, each with an object translated. Prints the yield."""
    found: list[SceneSpec] = []
    options, size = SceneOptions(kinds={kind: 1}), (side, side)
    valid = seeds = 0
    spent = 0.0
    while len(found) < count:
        seed, furniture = first + seeds, models.furniture(first + seeds)
        began = time.process_time()
        scene = compose_scene(generator(seed, 0, SCENE), [], furniture, RULES["translate"].needs, options, size)
        spent += time.process_time() - began
        seeds += 1
        valid += isinstance(scene, Scene)
        specs = (propose([], "translate", options, size, seed, edit, furniture) for edit in range(5))
        if spec := next((spec for spec in specs if isinstance(spec, SceneSpec)), None):
            found.append(spec)
    click.echo(f"{kind}: {valid} of {seeds} first proposals are scenes, {spent / seeds:.3f} CPU s each")
    return found


def scenes(kind: str, count: int, side: int, first: int) -> list[SceneSpec]:
    """The first scenes of a kind that is not furnished."""
    lens = CameraOptions(elevation_deg=(10.0, 32.0), focal_mm=(22.0, 34.0))
    options = SceneOptions() if kind == "open" else SceneOptions(camera=lens)
    found: list[SceneSpec] = []
    for seed, spec in proposals(side, first, options):
        made = KINDS[kind](seed, spec)
        if made is not None:
            found.append(made)
        if len(found) == count:
            break
    return found


def figures(
    renderer: Renderer, spec: SceneSpec, models: ModelFiles, noise: bool, pair: bool = True
) -> tuple[RenderedView, RenderedView, dict[str, float]]:
    """Source, target (without a pair: the source again) and what is measured of one scene."""
    files = {placed.id: located(models, placed.asset) for placed in spec.objects}
    before = renderer.cpu_s
    renderer.open(spec, files)
    seen = renderer.visibility([spec.source, spec.target])
    loaded = renderer.cpu_s
    source = renderer.render(spec.source)
    target = renderer.render(spec.target) if pair else source
    row = {"pair CPU s" if pair else "CPU s": renderer.cpu_s - before, "setup CPU s": loaded - before}
    if noise:
        renderer.open(replace(spec, seed=spec.seed + 1), files)
        difference = renderer.render(spec.source).rgb.astype(np.float32) - source.rgb
        row["noise"] = float(np.sqrt(np.mean(difference**2) / 2))
        row["blotch"] = float(np.sqrt(np.mean(cv2.blur(difference, (9, 9)) ** 2) / 2))
    row["black"] = float((source.rgb < 10).all(axis=-1).mean())
    row["blown"] = float(((source.rgb >= 254).any(axis=-1) & (source.depth > 0)).mean())
    if pair:
        row["changed"] = find_changed(source, target, spec.edit.edited).fraction
    row["visible"] = float(np.mean([look.visible for look in seen[0].values()]))
    return source, target, row


def blender_megabytes() -> float:
    """Resident memory of the Blender process that this process started, from /proc."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status, command = (folder / "status").read_text(), (folder / "cmdline").read_bytes()
        except OSError:  # it has ended
            continue
        if f"PPid:\t{os.getpid()}\n" in status and b"worker.py" in command:
            return int(status.split("VmRSS:")[1].split()[0]) / 1e3
    raise RuntimeError("no Blender process runs")


def print_memory(count: int, models: Models) -> None:
    """Resident memory of the Blender process while it loads and renders rooms."""
    few = furnished("room", models, 10, 32, 0)
    with Renderer(RenderOptions(resolution=(32, 32), samples=1, device="cpu"), threads=2) as renderer:
        for number in range(count):
            spec = few[number % len(few)]
            renderer.open(spec, {placed.id: located(models.files, placed.asset) for placed in spec.objects})
            renderer.render(spec.source)
            if number + 1 in (10, 20, 50, count):
                click.echo(f"after {number + 1} rooms: {blender_megabytes():.0f} MB")


def write_sheet(pictures: Sequence[np.ndarray], columns: int, path: Path) -> None:
    """Write pictures (H, W, 3) in rows."""
    blank = np.zeros_like(pictures[0])
    filled = [*pictures, *[blank] * (-len(pictures) % columns)]
    lines = [np.hstack(filled[i : i + columns]) for i in range(0, len(filled), columns)]
    cv2.imwrite(str(path), np.vstack(lines)[..., ::-1])


@click.command(help=__doc__)
@click.argument("sheet", type=click.Path(path_type=Path))
@click.option("--kinds", default="open,room,tabletop", show_default=True)
@click.option("--count", default=6, show_default=True, type=click.IntRange(1, 48), help="scenes of each kind")
@click.option("--side", default=192, show_default=True)
@click.option("--samples", default=32, show_default=True)
@click.option("--first", default=0, show_default=True, help="the first seed")
@click.option("--columns", default=8, show_default=True)
@click.option("--assets", default="", help="a folder in Objaverse's layout; default: procedural models")
@click.option("--noise", is_flag=True, help="also render each source with another seed")
@click.option("--memory", default=0, help="first open and render so many rooms at 32 x 32, and print Blender's memory")
@click.option("--targets", is_flag=True, help="show targets beside sources")
@click.option("--sources", is_flag=True, help="render sources only")
def main(
    sheet: Path,
    kinds: str,
    count: int,
    side: int,
    samples: int,
    first: int,
    columns: int,
    assets: str,
    noise: bool,
    memory: int,
    targets: bool,
    sources: bool,
) -> None:
    """Render and measure."""
    options = RenderOptions(resolution=(side, side), samples=samples, device="cpu")
    means: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder, Renderer(options, threads=2) as renderer:
        models = Models(assets, Path(folder, "furniture"))
        shapes = get_scene_source("procedural").models("")
        if memory:
            print_memory(memory, models)
        for kind in kinds.split(","):
            rows: list[dict[str, float]] = []
            pictures: list[np.ndarray] = []
            indoors = next((name for name in FURNISHED if name == kind), None)
            found = furnished(indoors, models, count, side, first) if indoors else scenes(kind, count, side, first)
            for spec in found:
                files = models.files if indoors else shapes
                if not means and not rows:  # the first render of a process allocates what later ones reuse
                    figures(renderer, spec, files, False, False)
                began = time.monotonic()
                source, target, row = figures(renderer, spec, files, noise, not sources)
                rows.append(row)
                pictures += [source.rgb, target.rgb] if targets else [source.rgb]
                mood = spec.room.light.mood if spec.room else ""
                values = "  ".join(f"{name} {value:.3g}" for name, value in row.items())
                click.echo(f"{kind:8}{mood:8} {values}  ({time.monotonic() - began:.0f} s)")
                write_sheet(pictures, columns, sheet.with_stem(f"{sheet.stem}-{kind}"))
            means[kind] = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    for kind, mean in means.items():
        click.echo(f"{kind:16}" + "  ".join(f"{name} {value:.3g}" for name, value in mean.items()))
        if "open" in means and kind != "open" and not sources:
            click.echo(f"{kind} pair / open pair: {mean['pair CPU s'] / means['open']['pair CPU s']:.2f}")


if __name__ == "__main__":
    main()
