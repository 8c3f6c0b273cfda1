"""Cost of a triplet where many edits share a scene, relative to a build with one edit a scene and full renders.

    python benchmarks/families.py [--per-scene 6] [--scenes 4] [--single 8] [--kinds open,tabletop,room,garden]
        [--side 512] [--samples 32] [--assets FOLDER] [--engine inline]

Two builds with the same models and kinds of scenes: `edits.per_scene` edits of each scene with `render.partial=on`, and
one edit of each scene with `render.partial=off`. For each: accepted triplets, CPU seconds of the pair stage for each
accepted triplet, the same in plain renders (one render of a whole image, whose cost is measured on the scenes of the
first build), and wall seconds of the whole build. With `--single 0`, the first build alone.

Of the first build also: pairs of images that occur twice, and resident memory, as the mean of each quarter of the run:
of the driver, of its workers (with `--engine ray`) and of the Blender processes.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import click
import numpy as np
import psutil
import pyarrow.parquet as pq
from planned import Build, settings_of

from spatialdata_builder.pipeline.config import load_config
from spatialdata_builder.pipeline.planning.samples import pair_arguments
from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.pipeline.store.plan import read_plan
from spatialdata_builder.shards.sample import Sample
from spatialdata_builder.sources.rendered.pairs import RenderPairs

_EVERY_S = 0.5
EDITS = ["edits.translate=2", "edits.rotate=2", "edits.scale=1", "edits.remove=1", "edits.insert=1", "edits.camera=1"]


Memory = list[dict[str, float]]
"""Resident megabytes by role, at one time after the other."""


def build(out: Path, settings: list[str]) -> tuple[dict[str, float], Memory]:
    """Run a build. Returns its accepted triplets, CPU seconds of the pair stage, and wall seconds; and its memory."""
    given = [part for text in settings for part in ("--set", text)]
    command = [sys.executable, "-m", "spatialdata_builder.pipeline.cli"]
    began = time.perf_counter()
    memory: Memory = []
    with tempfile.TemporaryFile() as errors:
        running = psutil.Popen([*command, "build", "--out", str(out), *given], stdout=subprocess.DEVNULL, stderr=errors)
        while True:
            try:
                code = running.wait(_EVERY_S)
                break
            except psutil.TimeoutExpired:
                memory.append(resident(running))
        wall = time.perf_counter() - began
        if code:
            errors.seek(0)
            raise SystemExit(errors.read().decode())
    status = subprocess.run([*command, "status", str(out), "--json"], capture_output=True, text=True, check=True)
    notes = [json.loads(note.read_text()) for note in out.glob("layers/pair-*/*.json")]
    found = json.loads(status.stdout)
    numbers = {"planned": found["samples"], "accepted": found["accepted"], "wall": wall}
    return numbers | {"cpu": sum(note["cpu_seconds"] for note in notes)}, memory


def resident(driver: psutil.Process) -> dict[str, float]:
    """Resident megabytes of a build's processes, summed by role."""
    found: dict[str, float] = {}
    with suppress(psutil.NoSuchProcess):
        for process in (driver, *driver.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                line = " ".join(process.cmdline())
                blender = "sources/blender" in line
                role = "driver" if process == driver else "Blender" if blender else "worker" if "Worker" in line else ""
                found[role] = found.get(role, 0.0) + process.memory_info().rss / 1e6
    return found


def repeated(out: Path) -> int:
    """Number of pairs whose source and target images are those of another pair."""
    rows = Counter[tuple[bytes, bytes]]()
    for path in out.glob("layers/pair-*/*.parquet"):
        columns = pq.read_table(path, columns=["source", "target"]).to_pydict()
        rows.update(zip(columns["source"], columns["target"], strict=True))
    return sum(count - 1 for count in rows.values())


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
@click.option("--engine", type=click.Choice(["inline", "ray"]), default="inline", show_default=True)
def main(
    per_scene: int,
    scenes: int,
    single: int,
    kinds: str,
    side: int,
    samples: int,
    assets: str,
    seed: int,
    engine: str,
) -> None:
    mix = ", ".join(f"{kind}: 1" for kind in kinds.split(","))
    shared = [*settings_of(assets), f"seed={seed}", f"scene.kinds={{{mix}}}", f"engine.kind={engine}", *EDITS]
    shared += [f"render.resolution=[{side},{side}]", f"render.samples={samples}", "render.device=cpu"]
    shared += ["shard.splits={train: 1, val: 0, test: 0}"]
    many = [f"edits.per_scene={per_scene}", f"samples={per_scene * scenes}", f"unit_size={per_scene}"]
    one = [f"samples={single}", "unit_size=1", "render.partial=off"]
    with tempfile.TemporaryDirectory() as folder:
        found, memory = build(Path(folder, "many"), [*shared, *many])
        results = {f"{per_scene} edits of a scene": found}
        if single:
            results["one edit, full renders"] = build(Path(folder, "one"), [*shared, *one])[0]
        twice = repeated(Path(folder, "many"))
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
    if single:
        click.echo(f"ratio {each[0] / each[1]:.2f}")
    click.echo(f"pairs that occur twice: {twice}")
    for role in sorted({role for at in memory for role in at if role}):
        quarters = np.array_split([at[role] for at in memory if role in at], 4)
        click.echo(f"{role:8} MB, mean of each quarter: {', '.join(f'{part.mean():.0f}' for part in quarters)}")


if __name__ == "__main__":
    main()
