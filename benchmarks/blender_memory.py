"""Memory of a Blender process that loads and renders one scene after another.

    python benchmarks/blender_memory.py [--kinds room] [--count 100] [--assets FOLDER]

Prints the resident memory after some of the scenes, also relative to that after the tenth. Until then it grows because
models, shaders and kernels are loaded for the first time.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
from planned import KINDS, Build, settings_of

_TRIES = 10
"""Most proposals for each scene."""
_SHOWN = (1, 10, 20, 50, 75, 100, 150, 200)


def resident_megabytes(build: Build) -> float:
    """Resident memory of the Blender process of a worker, from /proc."""
    process = build.worker.renderer._process
    assert process is not None
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1e3


def report(build: Build, kinds: Sequence[str], count: int) -> None:
    """Render and print."""
    after: dict[int, float] = {}
    chosen = [kind for kind in KINDS if kind in kinds]
    seed = 0
    with build.worker.renderer as renderer:
        while len(after) < count:
            spec = build.propose(chosen[seed % len(chosen)], "translate", seed)
            seed += 1
            if spec is None:
                if seed >= _TRIES * count:
                    raise click.ClickException(f"only {len(after)} of {seed} proposals are valid: use other kinds")
                continue
            renderer.open(spec, build.files(spec))
            renderer.render(spec.source)
            number = len(after) + 1
            after[number] = resident_megabytes(build)
            if number in _SHOWN or number == count:
                ratio = f": {after[number] / after[10]:.2f} x that after 10" if number > 10 else ""
                click.echo(f"after {number} scenes: {after[number]:.0f} MB{ratio}")
    half = count // 2
    first, second = (np.mean([after[n] for n in range(start, start + half)]) for start in (1, count - half + 1))
    click.echo(f"mean of the second half: {second / first:.3f} x that of the first")
    click.echo(f"CPU s a scene: {renderer.cpu_s / count:.2f}")


@click.command(help=__doc__)
@click.option("--kinds", default="room", show_default=True)
@click.option("--count", default=100, show_default=True)
@click.option("--side", default=48, show_default=True)
@click.option("--assets", default="", help="a folder in Objaverse's layout; default: procedural models")
@click.option("--plan", default="", help="folder where the plan is kept for the next run; default: a temporary one")
def main(kinds: str, count: int, side: int, assets: str, plan: str) -> None:
    """Measure."""
    with tempfile.TemporaryDirectory() as scratch:
        # Composed without physics, which Blender does not see.
        given = [*settings_of(assets), f"render.resolution={side}", "render.samples=1", "scene.physics=off"]
        given.append(f"render.scenes_per_process={count}")
        report(Build.planned(given, Path(plan or scratch)), kinds.split(","), count)


if __name__ == "__main__":
    main()
