"""CPU time of a pair with all passes, relative to one plain Cycles render of the same scene and samples.

    python benchmarks/rendering.py [--side 512] [--samples 32] [--scenes 2] [--repeat 1] [--threads 0]

A pair: load the scene, cast visibility rays, render source and target with all passes. Limits: 2.1 plain renders, and
scene setup under 15 % of the pair. Scenes have four procedural objects. CPU time grows if the machine does other work
(shared caches and cores): use --repeat; the minimum of each part counts.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from spatialdata_builder.sources.blender.environment import clean_environment, python_of
from spatialdata_builder.sources.blender.process import SCRIPT
from spatialdata_builder.sources.blender.render import Renderer
from spatialdata_builder.sources.edits.proposals import propose
from spatialdata_builder.sources.procedural import catalogue, write_glb
from spatialdata_builder.sources.scenes.spec import RenderOptions, SceneOptions, SceneSpec, to_json

PLAIN = Path(__file__).with_name("plain_render.py")


def scenes(number: int, side: int) -> list[SceneSpec]:
    """The first valid proposal of each seed."""
    assets, options = catalogue(), SceneOptions(objects=(4, 4))
    found: list[SceneSpec] = []
    for seed in range(number):
        proposals = (propose(assets, "translate", options, (side, side), seed, attempt) for attempt in range(200))
        found.append(next(spec for spec in proposals if isinstance(spec, SceneSpec)))
    return found


def pair_seconds(renderer: Renderer, spec: SceneSpec, files: dict[int, Path]) -> dict[str, float]:
    """CPU seconds of the parts of a pair."""

    def cost(work: Callable[[], object]) -> float:
        before = renderer.cpu_s
        work()
        return renderer.cpu_s - before

    return {
        "open": cost(lambda: renderer.open(spec, files)),
        "visibility": cost(lambda: renderer.visibility([spec.source, spec.target])),
        "source": cost(lambda: renderer.render(spec.source)),
        "target": cost(lambda: renderer.render(spec.target)),
    }


def plain_seconds(
    spec: SceneSpec, files: dict[int, Path], options: RenderOptions, denoise: bool, threads: int, folder: Path
) -> float:
    """CPU seconds of loading the scene and rendering it once, color only."""
    job = folder / "job.json"
    content = {
        "spec": to_json(spec),
        "files": {str(id): str(path) for id, path in files.items()},
        "samples": options.samples,
        "denoise": denoise,
        "threads": threads,
    }
    job.write_text(json.dumps(content))
    done = subprocess.run(
        [python_of(SCRIPT), "-I", PLAIN, job], env=clean_environment(), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])["all"]


@click.command(help=__doc__)
@click.option("--side", default=512, show_default=True)
@click.option("--samples", default=32, show_default=True)
@click.option("--scenes", "number", default=2, show_default=True)
@click.option("--repeat", default=1, show_default=True)
@click.option("--threads", default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(side: int, samples: int, number: int, repeat: int, threads: int, as_json: bool) -> None:
    """Measure pairs."""
    options = RenderOptions(resolution=(side, side), samples=samples, device="cpu")
    rows: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as name, Renderer(options, threads) as renderer:
        folder = Path(name)
        specs = scenes(number, side)
        files = [{placed.id: write_glb(placed.asset.uid, folder) for placed in spec.objects} for spec in specs]
        # Warm up: the first render of a process compiles and allocates what later ones reuse.
        renderer.open(specs[0], files[0])
        renderer.render(specs[0].source)
        for spec, paths in zip(specs, files, strict=True):
            runs: list[dict[str, float]] = []
            for _ in range(repeat):  # interleaved, so that other load affects all parts equally
                runs.append(pair_seconds(renderer, spec, paths))
                runs[-1]["plain"] = plain_seconds(spec, paths, options, True, threads, folder)
                runs[-1]["plain, not denoised"] = plain_seconds(spec, paths, options, False, threads, folder)
            row = {key: min(run[key] for run in runs) for key in runs[0]}
            row["pair"] = sum(row[key] for key in ("open", "visibility", "source", "target"))
            rows.append(row)
    mean = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    found = {
        "cpu_seconds": {key: round(value, 3) for key, value in mean.items()},
        "pair_over_plain": round(mean["pair"] / mean["plain"], 3),
        "pair_over_plain_not_denoised": round(mean["pair"] / mean["plain, not denoised"], 3),
        "set_up_share": round((mean["open"] + mean["visibility"]) / mean["pair"], 4),
    }
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    click.echo(f"{number} scenes, {side} x {side}, {samples} samples, CPU seconds")
    for key, value in mean.items():
        click.echo(f"  {key:22}{value:9.2f}")
    click.echo(f"pair / plain render           {found['pair_over_plain']:.2f}   (limit 2.1)")
    click.echo(f"pair / plain, not denoised    {found['pair_over_plain_not_denoised']:.2f}")
    click.echo(f"scene setup / pair            {100 * found['set_up_share']:.1f} %  (limit 15 %)")


if __name__ == "__main__":
    main()
