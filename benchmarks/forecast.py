"""`spatialdata plan` against the run that it predicts: a small build, a forecast of a larger one, that build.

    python benchmarks/forecast.py [--samples 12] [--times 10] [--resolution 96] [--render-samples 4] [--scale 1]

Prints the predicted and the real wall time and CPU time of rendering, and their ratios. Asked of the wall time: within
15 %. Other work on the machine falsifies it: run it alone. `--scale 2` doubles the image's sides and the render samples
of the larger run, for the rule by which rates are scaled.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from spatialdata_builder.pipeline.config import load_config
from spatialdata_builder.pipeline.report.forecast.forecast import run_forecast
from spatialdata_builder.pipeline.report.forecast.rates import read_rates

ROOT = Path(__file__).resolve().parents[1]


def built(out: Path, settings: list[str]) -> float:
    """Wall seconds of a build in a process of its own."""
    arguments = [part for setting in settings for part in ("--set", setting)]
    began = time.perf_counter()
    command = [
        sys.executable,
        "-m",
        "spatialdata_builder.pipeline.cli",
        "build",
        "--out",
        str(out),
        "--json",
        *arguments,
    ]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


@click.command()
@click.option("--samples", default=12, show_default=True, help="Of the small run.")
@click.option("--times", default=10, show_default=True, help="Samples of the larger run over those of the small one.")
@click.option("--resolution", default=96, show_default=True)
@click.option("--render-samples", default=4, show_default=True)
@click.option("--scale", default=1, show_default=True, help="Sides and render samples of the larger run, times this.")
def main(samples: int, times: int, resolution: int, render_samples: int, scale: int) -> None:
    """Predict a run and do it."""

    def settings(scale: int) -> list[str]:
        side = scale * resolution
        size = (f"render.resolution=[{side},{side}]", f"render.samples={scale * render_samples}")
        return ["unit_size=2", "source.variants=4", *size]

    count = times * samples
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder, "small"), Path(folder, "large")
        built(small, [*settings(1), f"samples={samples}"])
        told = run_forecast(load_config(None, settings(scale)), str(small), count, 1, None, None, "")
        for note in told["notes"]:
            click.echo(f"note: {note}")
        took = built(large, [*settings(scale), f"samples={count}"])
        rendered = read_rates(str(large)).layers["pair"].cpu_seconds * count
    wall, cpu = told["wall_s"], 3600 * next(stage["cpu_hours"] for stage in told["stages"] if stage["layer"] == "pair")
    click.echo(f"{count} samples: predicted {wall:.1f} s, took {took:.1f} s: {wall / took:.2f} x")
    click.echo(f"CPU time of rendering: predicted {cpu:.0f} s, took {rendered:.0f} s: {cpu / rendered:.2f} x")


if __name__ == "__main__":
    main()
