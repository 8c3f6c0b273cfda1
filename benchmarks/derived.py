"""Cost of derived samples in the pair stage, relative to the renders that they are derived from. One core, no GPU.

    python benchmarks/derived.py [--resolution 512] [--render-samples 32]

Renders two edits of one scene (the source once), then the same two edits in separate scenes, as without
`edits.compose`. The inverse and the edit between the two targets are computed REPEATS times from the rendered pairs.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from spatialdata_builder.pipeline.config import load_config
from spatialdata_builder.pipeline.planning.samples import pair_arguments, plan_build
from spatialdata_builder.pipeline.registry import build_stages
from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.shards.sample import Reject, Sample
from spatialdata_builder.sources.edits.edits import Limits
from spatialdata_builder.sources.rendered.derived import between, invert
from spatialdata_builder.sources.rendered.pairs import RenderPairs

REPEATS = 20


def seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    found = function()
    return time.perf_counter() - began, found


@click.command()
@click.option("--resolution", default=512, show_default=True)
@click.option("--render-samples", default=32, show_default=True)
@click.option("--kinds", default="translate,translate", show_default=True, help="Kinds of the two edits.")
def main(resolution: int, render_samples: int, kinds: str) -> None:
    """Measure the cost of derived samples."""
    settings = ["samples=8", "unit_size=8", "source.variants=4", "render.device=cpu"]
    size = [f"render.resolution=[{resolution},{resolution}]", f"render.samples={render_samples}"]
    with tempfile.TemporaryDirectory() as folder:
        config, store = load_config(None, [*settings, *size]), LayerStore(folder)
        plan = plan_build(config, store, lambda _: None, True)
        stages = build_stages(config, pair_arguments(config, store, plan), store.url)
        stage = next(stage for stage in stages if isinstance(stage, RenderPairs))
        studio = stage.setup()
        edits = kinds.split(",")

        def make(seed: int, spec: dict[str, Any]) -> Any:
            found = stage._make(studio, Sample("a", "train", {"seed": seed, **spec}))
            if isinstance(found, Reject):
                raise SystemExit(f"{spec}: rejected ({found.reason}): choose other --kinds")
            return found

        make(4, {"edit": edits[0]})  # the first scene starts Blender
        composed_render, pairs = seconds(lambda: make(5, {"edits": edits, "edit": edits[0]}))
        separate = sum(
            seconds(lambda seed=seed, kind=kind: make(seed, {"edit": kind}))[0] for seed, kind in enumerate(edits, 5)
        )
        limits, points = Limits(min_visible=config.scene.min_visible), studio.renderer.points
        inverse = statistics.median(seconds(lambda: invert(pairs[0], limits))[0] for _ in range(REPEATS))
        pairs = make(5, {"edits": edits, "edit": edits[0]})  # so that the renderer holds this scene again
        composed = statistics.median(
            seconds(lambda: between(pairs[0], pairs[1], stage.dataset, points, limits))[0] for _ in range(REPEATS)
        )
        studio.renderer.close()
    click.echo(f"{resolution} x {resolution}, {render_samples} samples, {kinds}")
    click.echo(
        f"two edits of one scene {composed_render:.2f} s, in separate scenes {separate:.2f} s: "
        f"{composed_render / separate:.2f} x"
    )
    for name, cost in (("inverse", inverse), ("composed", composed)):
        click.echo(f"{name:9} {1e3 * cost:6.1f} ms, {2 * cost / separate:.2%} of a rendered pair")


if __name__ == "__main__":
    main()
