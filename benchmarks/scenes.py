"""Scenes of each kind as a build composes them: yields, cost, contents and, on contact sheets, looks.

    python benchmarks/scenes.py [FOLDER] [--kinds open,room,tabletop,garden,environment] [--count 48] [--side 512]
        [--samples 32] [--assets FOLDER] [--environments FOLDER] [--set scene.physics=off] [--sources] [--no-noise]

Without FOLDER nothing is rendered, and hundreds of seeds take minutes. Models are procedural or those of a folder in
Objaverse's layout; room models those of a folder, or one that is generated.

Composed, of COUNT seeds: how many first proposals are scenes, CPU ms of each; things on, in and under others; scenes in
which something is partly behind what does not carry it (two layers of depth), in the forecast; objects that cut into
each other or into what is around them by more than 2 mm, by rays against their triangles; objects whose size is not
plausible for their category (`sources/assets/sizes.py`).

Rendered, the first valid proposal of each seed with an object translated, one sheet for each kind (FOLDER/room.png):
CPU seconds of a pair (load the scene, cast visibility rays, render source and target) relative to open pairs of the
same seeds. Noise: root mean square of the difference between renders of two seeds, divided by the root of two, in
levels of 255. Blotch: the same after a mean over 9 x 9 pixels. Black: pixels below 10 levels in each channel. Blown:
pixels of surfaces with a channel of at least 254. Kinds take turns, so that other load on the machine affects all
alike. What FOLDER has from an earlier run with the same options is not rendered again, but counted.
"""

import json
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click
import cv2
import numpy as np
from meshes import Solids, surroundings
from planned import KINDS, Build, settings_of, spread

from spatialdata_builder.sources.assets.sizes import plausible_range
from spatialdata_builder.sources.changed_region import find_changed
from spatialdata_builder.sources.edits.proposals import SCENE, generator
from spatialdata_builder.sources.edits.registry import RULES
from spatialdata_builder.sources.scenes.furnished import overlaps
from spatialdata_builder.sources.scenes.kinds import compose_scene
from spatialdata_builder.sources.scenes.layout import Scene
from spatialdata_builder.sources.scenes.spec import SceneKind, SceneSpec


def compose(build: Build, kind: SceneKind, seeds: Sequence[int]) -> list[tuple[Scene | str, float]]:
    """The first proposal of each seed, and its CPU ms."""
    found: list[tuple[Scene | str, float]] = []
    for seed in seeds:
        candidates, furniture = build.candidates(seed)
        settings = (RULES["translate"].needs, build.options(kind), build.stage.render.resolution)
        began = time.process_time()
        scene = compose_scene(generator(seed, 0, SCENE), candidates, furniture, *settings)
        found.append((scene, 1e3 * (time.process_time() - began)))
    return found


def report_composed(build: Build, kinds: Sequence[SceneKind], seeds: Sequence[int]) -> None:
    """Print what first proposals hold."""
    solids = Solids(build.mesh_of)
    rooms = {one.file: Path(build.worker.materials.folder, one.file) for one in build.worker.materials.environments}
    for kind in kinds:
        compose(build, kind, [10**6])  # the first scene of a process imports what later ones reuse
        found = compose(build, kind, seeds)
        scenes = [scene for scene, _ in found if isinstance(scene, Scene)]
        faults = Counter(scene for scene, _ in found if isinstance(scene, str))
        ms = [spent for _, spent in found]
        click.echo(f"{kind}: {len(scenes)} of {len(found)} first proposals are scenes {dict(faults) or ''}")
        click.echo(f"  CPU ms: mean {np.mean(ms):.3g}, {spread(ms)}")
        if not scenes:
            continue
        standing = Counter(
            ("on", "in", "under")[("inside", "under").index(on.kind) + 1 if on.kind in ("inside", "under") else 0]
            for scene in scenes
            for place in scene.placements.values()
            if (on := place.standing)
        )
        things = ", ".join(f"{name} {standing[name] / len(scenes):.2f}" for name in ("on", "in", "under"))
        number = sum(len(scene.objects) for scene in scenes) / len(scenes)
        loose = sum(bool(place.settled) for scene in scenes for place in scene.placements.values()) / len(scenes)
        click.echo(f"  objects {number:.1f} a scene; {things}; settled by physics {loose:.2f}")
        depth = np.mean([overlaps(scene.outlook, scene.placements) for scene in scenes])
        click.echo(f"  something partly behind what does not carry it: {depth:.0%} of the scenes")
        cuts: Counter[str] = Counter()
        odd: Counter[str] = Counter()
        for seed, (scene, _) in zip(seeds, found, strict=True):
            if not isinstance(scene, Scene):
                continue
            room = rooms[scene.environment.file] if scene.environment else None
            if these := solids.cuts(scene, surroundings(scene, room)):
                cuts.update(these)
                click.echo(f"  seed {seed}: {', '.join(these)} cut into each other")
            for placed in scene.objects:
                size = scene.placements[placed.id].scale * max(placed.asset.size_m)
                low, high = plausible_range(placed.asset.category)
                if not low * (1 - 1e-6) <= size <= high * (1 + 1e-6):
                    odd[f"{placed.asset.category} of {size:.2f} m"] += 1
        click.echo(f"  cut into each other: {cuts.total()}; not of a plausible size: {odd.total()} {dict(odd) or ''}")


def render(build: Build, spec: SceneSpec, pair: bool, noise: bool) -> tuple[list[np.ndarray], dict[str, float]]:
    """The images, and what is measured of one scene."""
    renderer, files = build.worker.renderer, build.files(spec)
    before = renderer.cpu_s
    renderer.open(spec, files)
    renderer.visibility([spec.source, spec.target])
    loaded = renderer.cpu_s
    source = renderer.render(spec.source)
    row = {"setup CPU s": loaded - before}
    images = [source.rgb]
    if pair:
        target = renderer.render(spec.target)
        row["pair CPU s"] = renderer.cpu_s - before
        images.append(target.rgb)
        row["changed"] = find_changed(source, target, spec.moved).fraction
    if noise:
        renderer.open(replace(spec, seed=spec.seed + 1), files)
        difference = renderer.render(spec.source).rgb.astype(np.float32) - source.rgb
        row["noise"] = float(np.sqrt(np.mean(difference**2) / 2))
        row["blotch"] = float(np.sqrt(np.mean(cv2.blur(difference, (9, 9)) ** 2) / 2))
    row["black"] = float((source.rgb < 10).all(axis=-1).mean())
    row["blown"] = float(((source.rgb >= 254).any(axis=-1) & (source.depth > 0)).mean())
    return images, row


def write_sheet(pictures: Sequence[np.ndarray], columns: int, path: Path) -> None:
    """Write pictures (H, W, 3) in rows."""
    filled = [*pictures, *[np.zeros_like(pictures[0])] * (-len(pictures) % columns)]
    lines = [np.hstack(filled[i : i + columns]) for i in range(0, len(filled), columns)]
    cv2.imwrite(str(path), np.vstack(lines))


def report_rendered(
    build: Build,
    kinds: Sequence[SceneKind],
    seeds: Sequence[int],
    folder: Path,
    columns: int,
    pair: bool,
    noise: bool,
) -> None:
    """Render what is missing, and print what is measured of the images."""
    folder.mkdir(parents=True, exist_ok=True)
    warm = False
    for seed in seeds:
        for kind in kinds:
            facts = folder / f"{kind}-{seed:05}.json"
            if facts.exists():
                continue
            spec = build.propose(kind, "translate", seed)
            if spec is None:
                click.echo(f"{kind} {seed}: no valid proposal")
                continue
            if not warm:  # the first render of a process allocates what later ones reuse
                warm = bool(render(build, spec, False, False))
            images, row = render(build, spec, pair, noise)
            cv2.imwrite(str(facts.with_suffix(".png")), np.hstack(images)[..., ::-1])
            facts.write_text(json.dumps(row))
            click.echo(f"{kind:12}{seed:<5}{spec.room.light.mood if spec.room else '':8} {_line(row)}")
    report_images(folder, kinds, columns)


def report_images(folder: Path, kinds: Sequence[SceneKind], columns: int) -> None:
    """Write the sheets, and print the means of each kind."""
    tables: dict[SceneKind, dict[str, dict[str, float]]] = {}
    for kind in kinds:
        found = sorted(folder.glob(f"{kind}-*.json"))
        tables[kind] = {file.stem.removeprefix(f"{kind}-"): json.loads(file.read_text()) for file in found}
        if not found:
            continue
        write_sheet([cv2.imread(str(file.with_suffix(".png"))) for file in found], columns, folder / f"{kind}.png")
        values = {
            key: np.array([row[key] for row in tables[kind].values()]) for key in next(iter(tables[kind].values()))
        }
        mean = {key: float(of.mean()) for key, of in values.items()}
        median = {key: float(np.median(of)) for key, of in values.items()}
        click.echo(f"{kind}: {len(found)} scenes, means: {_line(mean)}; medians: {_line(median)}")
        both = sorted(tables[kind].keys() & tables.get("open", {}).keys())
        if kind != "open" and both and "pair CPU s" in mean:
            own, base = (np.array([tables[name][seed]["pair CPU s"] for seed in both]) for name in (kind, "open"))
            click.echo(f"  pair relative to open, {len(both)} seeds: {own.mean() / base.mean():.3f}")


def _line(values: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.3g}" for name, value in values.items())


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--kinds", default=",".join(KINDS), show_default=True)
@click.option("--count", default=48, show_default=True, help="scenes of each kind")
@click.option("--side", default=512, show_default=True)
@click.option("--samples", default=32, show_default=True)
@click.option("--first", default=0, show_default=True, help="the first seed")
@click.option("--columns", default=8, show_default=True)
@click.option("--assets", default="", help="a folder in Objaverse's layout; default: procedural models")
@click.option("--environments", default="", help="a folder of room models; default: a generated one")
@click.option("--set", "settings", multiple=True, help="KEY=VALUE of the configuration, such as scene.physics=off")
@click.option("--plan", default="", help="folder where the plan is kept for the next run; default: a temporary one")
@click.option("--sources", is_flag=True, help="render sources only")
@click.option("--noise/--no-noise", default=True, help="render each source with another seed, too")
def main(
    folder: Path | None,
    kinds: str,
    count: int,
    side: int,
    samples: int,
    first: int,
    columns: int,
    assets: str,
    environments: str,
    settings: tuple[str, ...],
    plan: str,
    sources: bool,
    noise: bool,
) -> None:
    """Compose or render, and measure."""
    chosen = [kind for kind in KINDS if kind in kinds.split(",")]
    seeds = range(first, first + count)
    with tempfile.TemporaryDirectory() as scratch:
        given = [*settings_of(assets), f"render.resolution={side}", f"render.samples={samples}", *settings]
        build = Build.planned(given, Path(plan or scratch), environments)
        with build.worker.renderer:
            if folder is None:
                report_composed(build, chosen, seeds)
            else:
                report_rendered(build, chosen, seeds, folder, columns, not sources, noise)


if __name__ == "__main__":
    main()
