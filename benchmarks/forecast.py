"""`spatialdata plan` compared with the run that it predicts: a small build, a forecast of a larger one, that build.

    python benchmarks/forecast.py [--samples 12] [--times 10] [--resolution 96] [--render-samples 4] [--scale 1]

Prints the predicted and the actual wall time and CPU time of rendering, and their ratios. Target for the wall time:
within 15 %. Run it on an otherwise idle machine. `--scale 2` doubles the image sides and the render samples of the
larger run, to test how rates are scaled.
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
    """Wall seconds of a build in a separate process."""
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
@click.option("--samples", default=12, show_default=True, help="Samples of the small run.")
@click.option(
    "--times", default=10, show_default=True, help="Factor from the samples of the small run to those of the larger."
)
@click.option("--resolution", default=96, show_default=True)
@click.option("--render-samples", default=4, show_default=True)
@click.option(
    "--scale", default=1, show_default=True, help="Factor for image sides and render samples of the larger run."
)
def main(samples: int, times: int, resolution: int, render_samples: int, scale: int) -> None:
    """Predict a run, then run it."""

    def settings(scale: int) -> list[str]:
        side = scale * resolution
        size = (f"render.resolution=[{side},{side}]", f"render.samples={scale * render_samples}")
        return ["unit_size=2", "source.variants=4", *size]

    count = times * samples
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder, "small"), Path(folder, "large")
        built(small, [*settings(1), f"samples={samples}"])
        forecast = run_forecast(load_config(None, settings(scale)), str(small), count, 1, None, None, "")
        for note in forecast["notes"]:
            click.echo(f"note: {note}")
        actual = built(large, [*settings(scale), f"samples={count}"])
        rendered = read_rates(str(large)).layers["pair"].cpu_seconds * count
    wall = forecast["wall_s"]
    cpu = 3600 * next(stage["cpu_hours"] for stage in forecast["stages"] if stage["layer"] == "pair")
    click.echo(f"{count} samples: predicted {wall:.1f} s, actual {actual:.1f} s: {wall / actual:.2f} x")
    click.echo(f"CPU time of rendering: predicted {cpu:.0f} s, actual {rendered:.0f} s: {cpu / rendered:.2f} x")


if __name__ == "__main__":
    main()
