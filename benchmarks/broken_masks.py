"""Fragmentation of the masks of real models and of random masks, to choose `checks.max_speckle`.

    python benchmarks/broken_masks.py ROOT

ROOT is an Objaverse cache. Renders each model by itself from two sides at 160 pixels, and subsamples its masks to 80,
48 and 32 pixels. Prints the share of single pixels and holes (`annotators.measure.speckle`) of the worst masks and of
random masks, and the number of visible parts of a model (the segments of one object, before small ones are merged).
"""

import sys
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from spatialdata_builder.annotators.measure import hull_fill, speckle
from spatialdata_builder.shards.codecs import Mask
from spatialdata_builder.shards.sample import Row, Sample
from spatialdata_builder.sources.assets.asset import Asset
from spatialdata_builder.sources.blender.render import Renderer, SceneError
from spatialdata_builder.sources.objaverse.cache import read_cache, resolve_root
from spatialdata_builder.sources.rendered.portraits import portrait_options, portrait_scene
from spatialdata_builder.sources.scenes.spec import RenderOptions
from spatialdata_builder.sources.survey.geometry import SurveyAssets

SIDE, SIZES, VIEWS = 160, (160, 80, 48, 32), (0, 135)
LEAST = 32
"""Minimum number of pixels of an evaluated mask."""


def main() -> None:
    root = resolve_root(sys.argv[1])
    stage = SurveyAssets("objaverse", str(root))
    model = stage.setup()
    found: dict[int, list[tuple[float, float, int, str]]] = {size: [] for size in SIZES}
    parts: list[int] = []
    with Renderer(portrait_options(RenderOptions(device="cpu"), SIDE)) as renderer:
        for entry in read_cache(root):
            (row,) = stage(model, [Sample(entry.uid, "train", entry.spec())])
            if not isinstance(row, Row):
                continue
            asset = TypeAdapter(Asset).validate_json(str(row.columns["asset"]))
            spec, states = portrait_scene(asset, SIDE)
            try:
                renderer.open(spec, {1: Path(root, asset.path)})
                views = [renderer.render(states[azimuth]) for azimuth in VIEWS]
            except SceneError as error:
                print(f"{asset.uid}: {error}")
                continue
            for view in views:
                parts.append(len(np.unique(view.parts[view.instances == 1])))
                for size in SIZES:
                    where = ((np.arange(size) + 0.5) * SIDE / size).astype(int)
                    mask: Mask = (view.instances == 1)[np.ix_(where, where)]
                    if mask.sum() >= LEAST:
                        found[size].append((speckle(mask), hull_fill(mask), int(mask.sum()), asset.uid))
    print(f"visible parts of a model: median {np.median(parts):.0f}, maximum {max(parts)}, in {len(parts)} views")
    for size, rows in found.items():
        for kind, chosen in (
            ("fill < 0.7", [r for r in rows if r[1] < 0.7]),
            ("compact", [r for r in rows if r[1] >= 0.7]),
        ):
            worst = ", ".join(f"{s:.2f} ({uid[:8]}, {px} px)" for s, _, px, uid in sorted(chosen, reverse=True)[:4])
            print(f"{size} pixels, {kind}, {len(chosen)} masks: {worst}")
    rng = np.random.default_rng(0)
    random = {share: rng.random((40, 40)) < share for share in (0.1, 0.3, 0.5, 0.7, 0.9)}
    print("random: " + ", ".join(f"{share:.0%} {speckle(np.pad(mask, 9)):.2f}" for share, mask in random.items()))


if __name__ == "__main__":
    main()
