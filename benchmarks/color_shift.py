"""Color shift of objects between their portraits and rendered scenes, due to lighting and view transform.

    python benchmarks/color_shift.py ROOT [SCENES]

ROOT is an Objaverse cache. Renders scenes of its models and of procedural ones (128 x 128, 8 samples), and compares the
median OKLab color of each mask with that of the asset's portrait. Prints percentiles of the shift, the distance of
masks from the region of their own color word, how many correct color words `shards.colors.contradicts` drops, and how
many wrong ones it detects.
"""

import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pydantic import TypeAdapter

from spatialdata_builder.shards.color_words import names_of
from spatialdata_builder.shards.colors import PALETTE, contradicts, distances, to_oklab
from spatialdata_builder.shards.sample import Row, Sample
from spatialdata_builder.sources.assets.asset import Asset
from spatialdata_builder.sources.blender.render import Renderer
from spatialdata_builder.sources.edits.proposals import Rejection, propose
from spatialdata_builder.sources.objaverse.cache import read_cache, resolve_root
from spatialdata_builder.sources.procedural import catalog, write_glb
from spatialdata_builder.sources.scenes.spec import RenderOptions, SceneOptions
from spatialdata_builder.sources.survey.appearance import (
    MeasureAppearance,
    Portrait,
    portrait_options,
    take_portrait,
)
from spatialdata_builder.sources.survey.geometry import SurveyAssets

RENDER = RenderOptions(resolution=(128, 128), samples=8, device="cpu")
LEAST_PX = 40


def main() -> None:
    root = resolve_root(sys.argv[1])
    scenes = int(sys.argv[2]) if len(sys.argv) > 2 else 60
    with TemporaryDirectory() as folder:
        files = dict(surveyed(root))
        files |= {asset: write_glb(asset.uid, Path(folder)) for asset in catalog(4)}
        with Renderer(portrait_options(RenderOptions())) as booth:
            shown = {asset.uid: median(take_portrait(booth, asset, file)) for asset, file in files.items()}
        rows = list(lit(files, scenes))
    shifts = np.array([lab - shown[asset.uid] for asset, pixels in rows for lab in [np.median(pixels, axis=0)]])
    report("lightness", np.abs(shifts[:, 0]))
    report("hue and chroma", np.hypot(shifts[:, 1], shifts[:, 2]))
    named = [(asset, pixels) for asset, pixels in rows if asset.colour]
    dropped = Counter(asset.colour for asset, pixels in named if contradicts(names_of(asset.colour), pixels))
    print(f"{len(rows)} masks in {scenes} scenes, {len(named)} of objects with a color word")
    print(f"correct words dropped: {dropped.total()} of {len(named)}: {dict(dropped)}")
    for word in PALETTE:
        # `dark red` is not a wrong word for a red object.
        others = [pixels for asset, pixels in named if asset.colour.split()[-1] != word.split()[-1]]
        found = sum(contradicts(names_of(word), pixels) for pixels in others)
        own = [
            float(distances(np.median(pixels, axis=0)[None], names_of(word), 1.0, 1.0)[0])
            for asset, pixels in named
            if asset.colour == word
        ]
        tail = f"; objects of this color: {len(own)}, largest distance {max(own):.3f}" if own else ""
        print(f"  {word}: detected as wrong for {found} of {len(others)} other objects{tail}")


def surveyed(root: Path) -> list[tuple[Asset, Path]]:
    first, second = SurveyAssets("objaverse", str(root)), MeasureAppearance("objaverse", str(root))
    folder, booth = first.setup(), second.setup()
    kept: list[tuple[Asset, Path]] = []
    for entry in read_cache(root):
        (row,) = first(folder, [Sample(entry.uid, "train", entry.spec())])
        if isinstance(row, Row):
            (row,) = second(booth, [Sample(entry.uid, "train", entry.spec(), {"survey": row.columns})])
        if isinstance(row, Row):
            asset = TypeAdapter(Asset).validate_json(str(row.columns["asset"]))
            kept.append((asset, root / asset.path))
    booth.renderer.close()
    return kept


def median(portrait: Portrait) -> np.ndarray:
    return np.median(to_oklab(portrait.srgb[portrait.surface]), axis=0)


def lit(files: dict[Asset, Path], scenes: int):
    """Asset and OKLab pixels of the mask, for every object with at least LEAST_PX visible pixels."""
    assets = sorted(files, key=lambda asset: asset.uid)
    with Renderer(RENDER) as renderer:
        for seed in range(scenes):
            spec = propose(assets, "camera", SceneOptions(), RENDER.resolution, seed, 0)
            if isinstance(spec, Rejection):
                continue
            renderer.open(spec, {placed.id: files[placed.asset] for placed in spec.objects})
            view = renderer.render(spec.source)
            for placed in spec.objects:
                mask = view.instances == placed.id
                if mask.sum() >= LEAST_PX:
                    yield placed.asset, to_oklab(view.rgb[mask] / 255)


def report(what: str, values: np.ndarray) -> None:
    shares = ", ".join(f"{share} %: {np.percentile(values, share):.3f}" for share in (50, 90, 95, 99, 100))
    print(f"shift of {what}: {shares}")


if __name__ == "__main__":
    main()
