"""Speed of the asset survey, compared with a plain `trimesh.load` of the same files.

    python benchmarks/survey.py ROOT

ROOT is an Objaverse cache. Prints assets per CPU second, the slowest asset, and the ratio to the naive loop. Target: 20
assets per second on two cores, so at most 100 CPU ms per asset.
"""

import sys
import time
from pathlib import Path

import trimesh

from spatialdata_builder.shards.sample import Sample
from spatialdata_builder.sources.objaverse.cache import read_cache, resolve_root
from spatialdata_builder.sources.survey.geometry import SurveyAssets


def main() -> None:
    root = resolve_root(sys.argv[1])
    samples = [Sample(entry.uid, "train", entry.spec()) for entry in read_cache(root)]
    stage = SurveyAssets("objaverse", str(root))
    model = stage.setup()
    stage(model, samples[:1])  # warm up: imports happen once per worker
    seconds: list[float] = []
    for sample in samples:
        start = time.process_time()
        stage(model, [sample])
        seconds.append(time.process_time() - start)
    files = [Path(root, sample.spec["path"]) for sample in samples]
    start = time.process_time()
    for file in files:
        trimesh.load(file, force="scene", process=False).to_geometry()
    naive = time.process_time() - start
    total = sum(seconds)
    print(f"{len(samples)} assets: {1e3 * total / len(samples):.1f} CPU ms each, slowest {1e3 * max(seconds):.0f} ms")
    print(f"assets per CPU second: {len(samples) / total:.1f} (target: 10 per core)")
    print(f"survey / trimesh.load: {total / naive:.2f} of its CPU time")


if __name__ == "__main__":
    main()
