"""Partial renders of targets: their cost relative to full renders, and how much they differ from them.

    python benchmarks/partial.py [--kinds open,room,tabletop,garden] [--edits translate,rotate,...] [--count 3]
        [--side 512] [--samples 32] [--assets FOLDER]

For the first valid proposal of each seed, kind of scene and kind of edit: CPU seconds of the pair and of its partial
target, relative to a full render of the target; region: share of the image that was rendered again; difference of the
stored targets in levels of 255: largest, and share of pixels above 2. Models are procedural or those of a folder in
Objaverse's layout.
"""

import tempfile
from pathlib import Path

import click
import numpy as np
from planned import KINDS, Build, settings_of, spread

from spatialdata_builder.shards.schema import EDIT_KINDS
from spatialdata_builder.sources.changed_region import find_changed
from spatialdata_builder.sources.scenes.spec import SceneSpec


def measure(build: Build, spec: SceneSpec) -> dict[str, float]:
    """Cost of one pair, and the difference from a full render."""
    renderer = build.worker.renderer
    spent = [renderer.cpu_s]

    def lap() -> float:
        spent.append(renderer.cpu_s)
        return spent[-1] - spent[-2]

    renderer.open(spec, build.files(spec))
    renderer.visibility([spec.source, spec.target])
    setup = lap()
    source = renderer.render(spec.source)
    first = lap()
    part = renderer.render(spec.target, spec.moved)
    partial = lap()
    whole = renderer.render(spec.target)
    plain = lap()
    stored = [find_changed(source, view, spec.moved).target_rgb.astype(int) for view in (part, whole)]
    error = np.abs(stored[0] - stored[1]).max(axis=-1)
    rendered = (part.noisy != source.noisy).any(axis=-1)
    return {
        "pair": (setup + first + partial) / plain,
        "target": partial / plain,
        "region": float(rendered.mean()),
        "largest difference": float(error.max()),
        "above 2, per mille": 1e3 * float((error > 2).mean()),
    }


@click.command(help=__doc__)
@click.option("--kinds", default="open,room,tabletop,garden", show_default=True)
@click.option("--edits", default="translate", show_default=True)
@click.option("--count", default=3, show_default=True, help="scenes of each kind")
@click.option("--side", default=512, show_default=True)
@click.option("--samples", default=32, show_default=True)
@click.option("--first", default=0, show_default=True, help="the first seed")
@click.option("--assets", default="", help="a folder in Objaverse's layout; default: procedural models")
def main(kinds: str, edits: str, count: int, side: int, samples: int, first: int, assets: str) -> None:
    """Render and compare."""
    rows: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        given = [*settings_of(assets), f"render.resolution={side}", f"render.samples={samples}"]
        build = Build.planned(given, Path(scratch))
        warm = False
        with build.worker.renderer:
            for kind in (kind for kind in KINDS if kind in kinds.split(",")):
                for seed in range(first, first + count):
                    for edit in (edit for edit in EDIT_KINDS if edit in edits.split(",")):
                        spec = build.propose(kind, edit, seed)
                        if spec is None:
                            click.echo(f"{kind} {edit} {seed}: no valid proposal")
                            continue
                        if not warm:  # the first render of a process allocates what later ones reuse
                            warm = bool(measure(build, spec))
                        row = measure(build, spec)
                        rows.setdefault(kind, []).append(row)
                        click.echo(f"{kind:9}{edit:10}{seed:<5}" + "  ".join(f"{k} {v:.3g}" for k, v in row.items()))
    for kind, found in rows.items():
        click.echo(f"{kind}, {len(found)} pairs:")
        for name in found[0]:
            click.echo(f"  {name}: {spread([row[name] for row in found])}")


if __name__ == "__main__":
    main()
