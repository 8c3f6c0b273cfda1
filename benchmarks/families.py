"""Cost of a triplet where many edits share a scene, relative to a build with one edit a scene and full renders.

    python benchmarks/families.py [--per-scene 6] [--scenes 4] [--single 8] [--kinds open,tabletop,room,garden]
        [--side 512] [--samples 32] [--assets FOLDER]

Two builds with the same models and kinds of scenes: `edits.per_scene` edits of each scene with `render.partial=on`, and
one edit of each scene with `render.partial=off`. For each: accepted triplets, CPU seconds of the pair stage for each
accepted triplet, the same in plain renders (one render of a whole image, whose cost is measured on the scenes of the
first build), and wall seconds of the whole build.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
from planned import Build, settings_of

from spatialdata_builder.pipeline.config import load_config
from spatialdata_builder.pipeline.planning.samples import pair_arguments
from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.pipeline.store.plan import read_plan
from spatialdata_builder.shards.sample import Sample
from spatialdata_builder.sources.rendered.pairs import RenderPairs

EDITS = ["edits.translate=2", "edits.rotate=2", "edits.scale=1", "edits.remove=1", "edits.insert=1", "edits.camera=1"]


def build(out: Path, settings: list[str]) -> dict[str, float]:
    """Run a build. Returns its accepted triplets, CPU seconds of the pair stage, and wall seconds."""
    given = [part for text in settings for part in ("--set", text)]
    command = [sys.executable, "-m", "spatialdata_builder.pipeline.cli"]
    began = time.perf_counter()
    done = subprocess.run([*command, "build", "--out", str(out), *given], capture_output=True, text=True, check=False)
    wall = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(done.stderr)
    status = subprocess.run([*command, "status", str(out), "--json"], capture_output=True, text=True, check=True)
    notes = [json.loads(note.read_text()) for note in out.glob("layers/pair-*/*.json")]
    found = json.loads(status.stdout)
    return {
        "planned": float(found["samples"]),
        "accepted": float(found["accepted"]),
        "cpu": sum(note["cpu_seconds"] for note in notes),
        "wall": wall,
    }


def plain_render(out: Path, settings: list[str], most: int = 6) -> float:
    """CPU seconds of one render of a whole image, mean over the sources of a build's first scenes."""
    config, store = load_config(None, settings), LayerStore(str(out))
    plan = read_plan(store)
    stage = RenderPairs(**pair_arguments(config, store, plan) | {"threads": 2})
    built = Build(stage, stage.setup())
    costs: list[float] = []
    for row in (row for unit in range(plan.units) for row in plan.rows(unit) if row.spec.get("turn", 0) == 0):
        if "derived" in row.spec or len(costs) == most:
            continue
        found = stage.proposals(built.worker, Sample(row.key, row.split, row.spec), row.spec["seed"], 0, ())
        if isinstance(found, str):
            continue
        renderer = built.worker.renderer
        spec = built.worker.materials.located(found.whole)
        renderer.open(spec, built.files(spec))
        renderer.render(spec.source)  # the first one also measures the exposure
        before = renderer.cpu_s
        renderer.render(spec.source)
        costs.append(renderer.cpu_s - before)
    built.worker.renderer.close()
    return float(np.mean(costs))


@click.command(help=__doc__)
@click.option("--per-scene", default=6, show_default=True)
@click.option("--scenes", default=4, show_default=True, help="scenes with several edits")
@click.option("--single", default=8, show_default=True, help="scenes with one edit")
@click.option("--kinds", default="open,tabletop,room,garden", show_default=True)
@click.option("--side", default=512, show_default=True)
@click.option("--samples", default=32, show_default=True)
@click.option("--assets", default="", help="folder in Objaverse's layout; default: procedural models")
@click.option("--seed", default=0, show_default=True)
def main(per_scene: int, scenes: int, single: int, kinds: str, side: int, samples: int, assets: str, seed: int) -> None:
    mix = ", ".join(f"{kind}: 1" for kind in kinds.split(","))
    shared = [*settings_of(assets), f"seed={seed}", f"scene.kinds={{{mix}}}", "engine.kind=inline", *EDITS]
    shared += [f"render.resolution=[{side},{side}]", f"render.samples={samples}", "render.device=cpu"]
    shared += ["shard.splits={train: 1, val: 0, test: 0}"]
    many = [f"edits.per_scene={per_scene}", f"samples={per_scene * scenes}", f"unit_size={per_scene}"]
    one = [f"samples={single}", "unit_size=1", "render.partial=off"]
    with tempfile.TemporaryDirectory() as folder:
        results = {
            f"{per_scene} edits of a scene": build(Path(folder, "many"), [*shared, *many]),
            "one edit, full renders": build(Path(folder, "one"), [*shared, *one]),
        }
        plain = plain_render(Path(folder, "many"), [*shared, *many])
    click.echo(f"{side} x {side}, {samples} samples, scenes {kinds}; one plain render {plain:.2f} CPU s")
    each: list[float] = []
    for name, found in results.items():
        each.append(found["cpu"] / max(found["accepted"], 1.0))
        click.echo(
            f"{name:24} accepted {found['accepted']:.0f} of {found['planned']:.0f}; for each of them "
            f"{each[-1]:.2f} CPU s, {each[-1] / plain:.2f} plain renders; {found['wall'] / found['accepted']:.2f} s of "
            "the whole build"
        )
    click.echo(f"ratio {each[0] / each[1]:.2f}")


if __name__ == "__main__":
    main()
