"""CPU time of a pair with all passes, relative to one plain Cycles render of the same scene and samples.

    python benchmarks/rendering.py [--side 256,512,1024] [--samples 32] [--scenes 2] [--repeat 1] [--threads 0]
        [--kinds open] [--assets FOLDER] [--candidates NAMES [--seeds 2]] [--denoisers [--reference 128]]

A pair: load the scene, cast visibility rays, render source and target with all passes. Limits: 2.1 plain renders, and
scene setup under 15 % of the pair. CPU time grows if the machine does other work (shared caches and cores): use
--repeat; the minimum of each part counts. Models are procedural or those of a folder in Objaverse's layout.

For each side, the parts of the pair of a build, whose target is rendered in part: shares of its CPU time, as Cycles
reports its steps. `load`: model files and textures; `scene build`: materials, surroundings, passes; `sync`: from
Blender's data to those of Cycles; `readback`: passes and colors, to the builder; `encode`: the row of the layer.

`--candidates` measures settings instead (comma-separated, or `all`): CPU time of a render without denoising, its noise
(differences between seeds, as they appear), the same of denoised images, and what the same noise costs: CPU time x
noise squared, relative to the default. `mean` and `blocks`: change of the whole image and of the means of 16 x 16
pixels (RMS), levels of 255. `default again` shows how much of a figure is chance.

`--denoisers` measures OpenImageDenoise: CPU time, error against images of --reference samples, and the samples
(relative) and CPU time of a render (relative) that lead to the default's error.
"""

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from planned import KINDS, Build, settings_of

from spatialdata_builder.sources.blender.environment import clean_environment, python_of
from spatialdata_builder.sources.blender.process import SCRIPT
from spatialdata_builder.sources.rendered.facts import pair_columns
from spatialdata_builder.sources.scenes.spec import SceneSpec, to_json

PLAIN = Path(__file__).with_name("plain_render.py")
PARTS = Path(__file__).with_name("render_parts.py")
PAIR = ("open", "visibility", "source", "target")
"""What a pair with full renders consists of."""
CANDIDATES: dict[str, dict[str, Any]] = {
    "default": {},
    "default again": {},
    "light tree off": {"cycles.use_light_tree": False},
    "no samples of paths for lights": {"cycles.direct_light_sampling_type": "NEXT_EVENT_ESTIMATION"},
    "map of 256": {"world.cycles.sampling_method": "MANUAL", "world.cycles.sample_map_resolution": 256},
    "blue noise": {"cycles.sampling_pattern": "BLUE_NOISE"},
    "adaptive 0.1": {
        "cycles.use_adaptive_sampling": True,
        "cycles.adaptive_threshold": 0.1,
        "cycles.adaptive_min_samples": 8,
    },
    "adaptive 0.03": {
        "cycles.use_adaptive_sampling": True,
        "cycles.adaptive_threshold": 0.03,
        "cycles.adaptive_min_samples": 8,
    },
    "two diffuse bounces": {"cycles.diffuse_bounces": 2},
    "two glossy bounces": {"cycles.glossy_bounces": 2},
    "four bounces": {"cycles.max_bounces": 4},
    "spatial splits": {"cycles.debug_use_spatial_splits": True},
    "no persistent data": {"render.use_persistent_data": False},
    "tiles of 128": {"cycles.use_auto_tile": True, "cycles.tile_size": 128},
    "one thread": {"render.threads_mode": "FIXED", "render.threads": 1},
    "two threads": {"render.threads_mode": "FIXED", "render.threads": 2},
    "no guides of the denoiser": {"view_layers[0].cycles.denoising_store_passes": False},
}
"""Properties of the scene, by their paths."""


def pair_seconds(built: Build, spec: SceneSpec) -> dict[str, float]:
    """CPU seconds of a pair with full renders, and of what this process does for the pair of a build."""
    renderer, stage = built.worker.renderer, built.stage
    before = renderer.cpu_s

    def lap() -> float:
        nonlocal before
        spent, before = renderer.cpu_s - before, renderer.cpu_s
        return spent

    found: dict[str, float] = {}
    began = time.process_time()
    renderer.open(spec, built.files(spec))
    found["open"] = lap()
    first, second = renderer.visibility([spec.source, spec.target])
    found["visibility"] = lap()
    source = renderer.render(spec.source)
    found["source"] = lap()
    target = renderer.render(spec.target, spec.moved)
    found["partial target"] = lap()
    found["readback"] = time.process_time() - began
    began = time.process_time()
    pair_columns(spec, stage.dataset, stage.supports, (source, target), (first, second), renderer)
    found["encode"] = time.process_time() - began
    renderer.render(spec.target)
    found["target"] = lap()
    return found


def measured(script: Path, spec: SceneSpec, files: Mapping[int, Path], job: dict[str, Any], folder: Path) -> Any:
    """What a script of this folder that runs inside Blender prints for a job."""
    path = folder / "job.json"
    content = {"spec": to_json(spec), "files": {str(id): str(file) for id, file in files.items()}}
    path.write_text(json.dumps(content | job))
    done = subprocess.run(
        [python_of(SCRIPT), "-I", script, path], env=clean_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    # Blender prints lines of its own, also at its end.
    return json.loads(next(line for line in reversed(done.stdout.splitlines()) if line.startswith("{")))


def least(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The minimum of each part over repeated runs."""
    return {key: min(run.get(key, 0.0) for run in runs) for key in {key: None for run in runs for key in run}}


def mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each part over scenes."""
    return {key: float(np.mean([row.get(key, 0.0) for row in rows])) for key in {k: None for row in rows for k in row}}


def pairs(built: Build, specs: Sequence[SceneSpec], job: dict[str, Any], repeat: int, folder: Path) -> dict[str, Any]:
    """Cost of pairs relative to plain renders, and the shares of their parts."""
    rows: list[dict[str, float]] = []
    shares: list[dict[str, float]] = []
    # Warm up: the first render of a process compiles and allocates what later ones reuse.
    built.worker.renderer.open(specs[0], built.files(specs[0]))
    built.worker.renderer.render(specs[0].source)
    for spec in specs:
        files = {id: Path(shutil.copy(file, folder)) for id, file in built.files(spec).items()}
        runs: list[dict[str, float]] = []
        parts: list[dict[str, float]] = []
        for _ in range(repeat):  # interleaved, so that other load affects all parts equally
            runs.append(pair_seconds(built, spec))
            runs[-1]["plain"] = measured(PLAIN, spec, files, job, folder)["all"]
            runs[-1]["plain, not denoised"] = measured(PLAIN, spec, files, job | {"denoise": False}, folder)["all"]
            parts.append(measured(PARTS, spec, files, job | {"edited": sorted(spec.moved)}, folder))
        rows.append(least(runs))
        shares.append(least(parts))
        shares[-1]["readback"] += rows[-1].pop("readback")
        shares[-1]["encode"] = rows[-1].pop("encode")
    spent, divided = mean(rows), mean(shares)
    spent["pair"] = sum(spent[part] for part in PAIR)
    pair = sum(divided.values())
    return {
        "cpu_seconds": {key: round(value, 3) for key, value in spent.items()},
        "pair_over_plain": round(spent["pair"] / spent["plain"], 3),
        "pair_over_plain_not_denoised": round(spent["pair"] / spent["plain, not denoised"], 3),
        "set_up_share": round((spent["open"] + spent["visibility"]) / spent["pair"], 4),
        "partial_pair_over_plain": round(pair / spent["plain"], 3),
        "parts": {key: round(value, 3) for key, value in divided.items()},
        "shares": {key: round(value / pair, 4) for key, value in divided.items()},
    }


def show_pairs(found: Mapping[str, Any]) -> None:
    for key, value in found["cpu_seconds"].items():
        click.echo(f"  {key:22}{value:9.2f}")
    click.echo(f"pair / plain render           {found['pair_over_plain']:.2f}   (limit 2.1)")
    click.echo(f"pair / plain, not denoised    {found['pair_over_plain_not_denoised']:.2f}")
    click.echo(f"scene setup / pair            {100 * found['set_up_share']:.1f} %  (limit 15 %)")
    click.echo(f"pair with a partial target / plain render  {found['partial_pair_over_plain']:.2f}; its parts:")
    for key, share in found["shares"].items():
        click.echo(f"  {key:22}{found['parts'][key]:9.2f}  {100 * share:5.1f} %")


def show_candidates(scene: str, found: Mapping[str, Mapping[str, float]]) -> dict[str, tuple[float, ...]]:
    """Print one scene. Returns for each candidate CPU time, noise, noise of denoised images, cost at equal noise."""
    base = found["default"]
    ratios: dict[str, tuple[float, ...]] = {}
    for name, row in found.items():
        cpu, noise, left = (row[key] / base[key] for key in ("cpu", "noise", "denoised"))
        ratios[name] = cpu, noise, left, cpu * noise**2
        click.echo(
            f"{scene:12}{name:32}CPU {row['cpu']:6.2f} s, {cpu:.3f} x; noise {row['noise']:.2f}, {noise:.3f} x; "
            f"denoised {row['denoised']:.2f}, {left:.3f} x; equal noise {ratios[name][3]:.3f} x; "
            f"mean {row['mean']:.2f}, blocks {row['blocks']:.2f}" + ("; the same bits" if row["equal"] else "")
        )
    return ratios


@click.command(help=__doc__)
@click.option("--side", "sides", default="256,512,1024", show_default=True)
@click.option("--samples", default=32, show_default=True)
@click.option("--scenes", "number", default=2, show_default=True, help="scenes of each kind")
@click.option("--first", default=0, show_default=True, help="the first seed")
@click.option("--repeat", default=1, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--kinds", default="open", show_default=True)
@click.option("--assets", default="", help="a folder in Objaverse's layout; default: procedural models")
@click.option("--candidates", default="", help=f"all, or some of: {', '.join(CANDIDATES)}")
@click.option("--seeds", default=2, show_default=True, help="renders of each candidate")
@click.option("--denoisers", is_flag=True)
@click.option("--reference", default=128, show_default=True, help="samples")
@click.option("--json", "as_json", is_flag=True)
def main(
    sides: str,
    samples: int,
    number: int,
    first: int,
    repeat: int,
    threads: int,
    kinds: str,
    assets: str,
    candidates: str,
    seeds: int,
    denoisers: bool,
    reference: int,
    as_json: bool,
) -> None:
    """Measure pairs, settings or denoisers at each side."""
    given = list(CANDIDATES) if candidates == "all" else candidates.split(",") if candidates else []
    chosen = {name: CANDIDATES[name] for name in dict.fromkeys(["default", *given])} if given else {}
    everything: dict[str, Any] = {}
    for side in map(int, sides.split(",")):
        with tempfile.TemporaryDirectory() as scratch:
            settings = [*settings_of(assets, 3), f"render.resolution={side}", f"render.samples={samples}"]
            built = Build.planned([*settings, "scene.physics=off"], Path(scratch), threads=threads)
            folder = Path(scratch, "jobs")
            folder.mkdir()
            names: list[str] = []
            specs: list[SceneSpec] = []
            for kind in (kind for kind in KINDS if kind in kinds.split(",")):
                for seed in range(first, first + number):
                    if (spec := built.propose(kind, "translate", seed)) is not None:
                        names.append(f"{kind} {seed}")
                        specs.append(spec)
            options = {"samples": samples, "denoise": True, "light_tree": True}
            job = {**options, "options": options, "threads": threads}
            click.echo(f"{len(specs)} scenes, {side} x {side}, {samples} samples, CPU seconds", err=as_json)
            with built.worker.renderer:
                if not (chosen or denoisers):
                    found = everything[str(side)] = pairs(built, specs, job, repeat, folder)
                    if not as_json:
                        show_pairs(found)
                    continue
                extra = {"reference": reference} if denoisers else {"candidates": chosen, "seeds": seeds}
                everything[str(side)] = {
                    name: measured(PARTS, spec, built.files(spec), job | extra, folder)
                    for name, spec in zip(names, specs, strict=True)
                }
            if not as_json:
                (show_denoisers if denoisers else show_settings)(everything[str(side)])
    if as_json:
        click.echo(json.dumps(everything, indent=1))


def show_settings(scenes: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    """Print candidates, and their geometric means over scenes."""
    ratios = [show_candidates(scene, found) for scene, found in scenes.items()]
    for name in ratios[0]:
        cpu, noise, left, cost = np.exp(np.log([row[name] for row in ratios]).mean(axis=0))
        click.echo(
            f"{'all':12}{name:32}CPU {cpu:.3f} x; noise {noise:.3f} x; denoised {left:.3f} x; equal noise {cost:.3f} x"
        )


def show_denoisers(scenes: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    for scene, found in scenes.items():
        for name, row in found.items():
            click.echo(f"{scene:12}{name:28}" + "  ".join(f"{key} {value:.3f}" for key, value in row.items()))


if __name__ == "__main__":
    main()
