"""`spatialdata plan` against the run that it predicts: a small build, a forecast of one ten times its size, that build.

    python benchmarks/forecast.py [--samples 12] [--resolution 96] [--render-samples 4]

Prints both wall times and their ratio. Asked: within 15 %. Other work on the machine falsifies it: run it alone.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipeline.config import load_config
from pipeline.report.forecast import run_forecast

ROOT = Path(__file__).resolve().parents[1]


def built(out: Path, settings: list[str]) -> float:
    """Wall seconds of a build in a process of its own."""
    arguments = [part for setting in settings for part in ("--set", setting)]
    began = time.perf_counter()
    command = [sys.executable, "-m", "pipeline.cli", "build", "--out", str(out), "--json", *arguments]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


@click.command()
@click.option("--samples", default=12, show_default=True, help="Of the small run.")
@click.option("--resolution", default=96, show_default=True)
@click.option("--render-samples", default=4, show_default=True)
def main(samples: int, resolution: int, render_samples: int) -> None:
    """Predict a run and do it."""
    settings = [
        "unit_size=2",
        "source.variants=4",
        f"render.resolution=[{resolution},{resolution}]",
        f"render.samples={render_samples}",
    ]
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder, "small"), Path(folder, "large")
        built(small, [*settings, f"samples={samples}"])
        told = run_forecast(load_config(None, settings), str(small), 10 * samples, 1, None, None, "")
        for note in told["notes"]:
            click.echo(f"note: {note}")
        took = built(large, [*settings, f"samples={10 * samples}"])
    wall = told["wall_s"]
    click.echo(f"{10 * samples} samples: predicted {wall:.1f} s, took {took:.1f} s: {wall / took:.2f} x")


if __name__ == "__main__":
    main()
