"""Cost of the user's own textures and HDRIs: pairs with and without them, relative.

    python benchmarks/materials.py [--surfaces FOLDER] [--hdris FOLDER] [--kinds room,garden] [--count 4] [--side 192]

The same seeds with procedural surfaces and Blender's HDRIs, with texture sets on all surfaces for which there is one,
and with these sets and HDRIs of the user only. Builds take turns, so that other load affects all alike. Default:
painted sets of 2048 pixels, and one painted sky.
"""

import tempfile
from pathlib import Path

import click
import numpy as np
from planned import KINDS, Build, settings_of
from scenes import render

from tests.sources.materials.painted_sets import ambientcg, boards, polyhaven, sky, tiles, write_hdr


def painted(folder: Path, side: int) -> Path:
    """A folder of texture sets and one HDRI."""
    ambientcg(folder, "Bricks076", side=side)
    polyhaven(folder, "wood_floor_deck", boards, side=side)
    ambientcg(folder, "Tiles012", tiles, side=side)
    polyhaven(folder, "wood_table", boards, side=side)
    polyhaven(folder, "gravel_ground", tiles, side=side)
    write_hdr(folder / "sky.hdr", sky(1024))
    return folder


@click.command(help=__doc__)
@click.option("--surfaces", default="", help="a folder of texture sets; default: painted ones")
@click.option("--hdris", default="", help="a folder of HDRIs; default: a painted one")
@click.option("--kinds", default="room,garden", show_default=True)
@click.option("--count", default=4, show_default=True, help="scenes of each kind")
@click.option("--first", default=0, show_default=True, help="the first seed")
@click.option("--side", default=192, show_default=True)
@click.option("--samples", default=16, show_default=True)
def main(surfaces: str, hdris: str, kinds: str, count: int, first: int, side: int, samples: int) -> None:
    """Render and compare."""
    with tempfile.TemporaryDirectory() as scratch:
        made = painted(Path(scratch, "painted"), 2048) if not (surfaces and hdris) else Path()
        plain = [*settings_of("", 3), f"render.resolution={side}", f"render.samples={samples}"]
        sets = [f"scene.surfaces=[{surfaces or made}]", "scene.textured=1"]
        builds = {
            "own materials of the project": Build.planned(plain, Path(scratch, "plain")),
            "texture sets": Build.planned([*plain, *sets], Path(scratch, "sets")),
            "texture sets and HDRIs": Build.planned(
                [*plain, *sets, f"scene.light.hdris=[{hdris or made}]"], Path(scratch, "both")
            ),
        }
        spent: dict[str, list[float]] = {name: [] for name in builds}
        setup: dict[str, list[float]] = {name: [] for name in builds}
        for kind in (kind for kind in KINDS if kind in kinds.split(",")):
            for seed in range(first, first + count):
                for name, build in builds.items():
                    spec = build.propose(kind, "translate", seed)
                    if spec is None:
                        continue
                    if not spent[name]:  # the first render of a process allocates what later ones reuse
                        render(build, spec, False, False)
                    _, row = render(build, spec, True, False)
                    spent[name].append(row["pair CPU s"])
                    setup[name].append(row["setup CPU s"])
                    click.echo(f"{kind} {seed}, {name}: pair {spent[name][-1]:.2f} CPU s, setup {setup[name][-1]:.2f}")
        base = np.mean(next(iter(spent.values())))
        for name, values in spent.items():
            mean, loading = np.mean(values), np.mean(setup[name])
            click.echo(f"{name}: pair {mean:.2f} CPU s ({mean / base:.3f} x), setup {loading:.2f}, {len(values)} pairs")
        for build in builds.values():
            build.worker.renderer.close()


if __name__ == "__main__":
    main()
