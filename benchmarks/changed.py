"""The area of `changed` compared with the visibly changed area: rendered pairs of procedural assets, all edit kinds.

For each pair: the share of the frame in `changed`, the share of pixels that differ by more than six levels between the
two raw renders, and their ratio. Also what the region misses: the largest mean difference of a 9 x 9 patch outside it,
and the largest step of target minus source across its border.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from spatialdata_builder.shards.schema import EditKind
from spatialdata_builder.sources.blender.render import RenderedView, Renderer
from spatialdata_builder.sources.changed_region import Changed, find_changed
from spatialdata_builder.sources.edits.judge import judge
from spatialdata_builder.sources.edits.proposals import propose
from spatialdata_builder.sources.procedural import catalogue, write_glb
from spatialdata_builder.sources.scenes.naming import name_objects
from spatialdata_builder.sources.scenes.spec import RenderOptions, SceneOptions, SceneSpec

SEEN_LEVELS = 6
KINDS: tuple[EditKind, ...] = ("translate", "rotate", "scale", "remove", "insert")


@dataclass(frozen=True)
class Pair:
    spec: SceneSpec
    source: RenderedView
    target: RenderedView


def pairs(count: int, side: int, samples: int, threads: int) -> Iterator[Pair]:
    """Pairs that the sampler proposes and ray casting accepts; edit kinds alternate."""
    assets, seed = catalogue(8, 0), 0
    rendering = RenderOptions(resolution=(side, side), samples=samples, device="cpu")
    with tempfile.TemporaryDirectory() as folder, Renderer(rendering, threads=threads) as made:
        while count:
            spec = propose(assets, KINDS[seed % len(KINDS)], SceneOptions(), (side, side), seed, 0)
            seed += 1
            if not isinstance(spec, SceneSpec) or isinstance(names := name_objects(spec), str):
                continue
            spec = replace(spec, names=names)
            made.open(spec, {placed.id: write_glb(placed.asset.uid, Path(folder)) for placed in spec.objects})
            if judge(spec, *made.visibility([spec.source, spec.target])):
                continue
            yield Pair(spec, made.render(spec.source), made.render(spec.target))
            count -= 1


def figures(pair: Pair, found: Changed) -> dict[str, float]:
    """Shares of the frame, their ratio, and differences in levels of 255."""
    difference = pair.target.rgb.astype(np.float32) - pair.source.rgb
    seen = float((np.abs(difference).max(axis=2) > SEEN_LEVELS).mean())
    left = np.where(found.mask[..., None], 0.0, difference).astype(np.float32)
    return {
        "changed": found.fraction,
        "seen": seen,
        "ratio": found.fraction / max(seen, 1e-6),
        "left_out": float(np.abs(cv2.blur(left, (9, 9))).max()),
        "seam": _seam(pair.source.rgb, found),
    }


def _seam(source: np.ndarray, found: Changed) -> float:
    """The 99th percentile of the step of target minus source between neighboring pixels across the mask's border."""
    step = found.target_rgb.astype(np.float32) - source
    jumps: list[np.ndarray] = []
    for axis in (0, 1):
        border = np.diff(found.mask.astype(np.int8), axis=axis) != 0
        jumps.append(np.abs(np.diff(step, axis=axis)).max(axis=2)[border])
    joined = np.concatenate(jumps)
    return float(np.percentile(joined, 99)) if len(joined) else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--pictures", type=Path, help="folder for images of source, target, difference and region of each pair"
    )
    options = parser.parse_args()
    rows: list[dict[str, float]] = []
    print(f"{'kind':10} {'changed':>8} {'seen':>8} {'ratio':>6} {'left out':>9} {'seam':>6}")
    for number, pair in enumerate(pairs(options.pairs, options.side, options.samples, options.threads)):
        found = find_changed(pair.source, pair.target, pair.spec.edit.edited)
        row = figures(pair, found)
        rows.append(row)
        print(
            f"{pair.spec.edit.kind:10} {row['changed']:8.1%} {row['seen']:8.1%} {row['ratio']:6.2f} "
            f"{row['left_out']:9.2f} {row['seam']:6.2f}",
            flush=True,
        )
        if options.pictures:
            options.pictures.mkdir(parents=True, exist_ok=True)
            difference = np.abs(pair.target.rgb.astype(int) - pair.source.rgb)
            shown = [pair.source.rgb, found.target_rgb, (difference * 8).clip(0, 255).astype(np.uint8)]
            shown.append(np.repeat(found.mask[..., None] * np.uint8(255), 3, axis=2))
            cv2.imwrite(str(options.pictures / f"{number:03}.png"), np.hstack(shown)[..., ::-1])
    names = ("changed", "seen", "ratio", "left_out", "seam")
    median = {name: float(np.median([row[name] for row in rows])) for name in names}
    total = sum(row["changed"] for row in rows) / sum(row["seen"] for row in rows)
    print(
        f"median     {median['changed']:8.1%} {median['seen']:8.1%} {median['ratio']:6.2f} {median['left_out']:9.2f} "
        f"{median['seam']:6.2f}; sum changed / sum seen {total:.2f}, worst ratio {max(r['ratio'] for r in rows):.2f}"
    )


if __name__ == "__main__":
    main()
