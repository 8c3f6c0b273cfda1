"""Cost of finding supports, and how much slower the asset survey is with them.

    python benchmarks/supports.py ROOT [--variants 2]

ROOT is an Objaverse cache. Prints CPU ms per model, for the models of ROOT and for procedural ones; the size of the
stored supports; and assets per CPU second of the survey (without portraits) with and without supports. Targets: a
median of at most 80 ms, less than 4 kB on average, and at least 10 assets per second on one core. A build finds
supports only of models that may carry others, so the rate is printed for these and as if all were searched.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from pydantic import TypeAdapter

from spatialdata_builder.shards.sample import Row, Sample
from spatialdata_builder.sources.assets.asset import Asset
from spatialdata_builder.sources.assets.carriers import may_carry
from spatialdata_builder.sources.assets.mesh import read_mesh
from spatialdata_builder.sources.assets.supports import Support, find_supports, to_json
from spatialdata_builder.sources.objaverse.cache import read_cache, resolve_root
from spatialdata_builder.sources.procedural import catalog, write_glb
from spatialdata_builder.sources.rendered.supports import FindSupports
from spatialdata_builder.sources.survey.geometry import SurveyAssets

ASSET = TypeAdapter(Asset)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root")
    parser.add_argument("--variants", type=int, default=2)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    root = resolve_root(arguments.root)
    survey, finder = SurveyAssets("objaverse", str(root)), FindSupports(source="objaverse", place=str(root))
    files = finder.setup()
    samples = [Sample(entry.uid, "train", entry.spec()) for entry in read_cache(root)]
    survey(root.joinpath, samples[:1])  # warm up: imports happen once per worker
    surveyed, found, carriers = 0.0, 0.0, 0.0
    models: list[tuple[Asset, Path]] = []
    for sample in samples:
        start = time.process_time()
        (row,) = survey(root.joinpath, [sample])
        surveyed += time.process_time() - start
        if isinstance(row, Row):
            asset = ASSET.validate_json(str(row.columns["asset"]))
            models.append((asset, root / asset.path))
            planned = Sample(sample.key, "train", json.loads(ASSET.dump_json(asset)))
            if len(models) == 1:
                finder(files, [planned])
            start = time.process_time()
            finder(files, [planned])
            spent = time.process_time() - start
            found += spent
            carriers += spent * may_carry(asset.category)
    report(f"{len(models)} models of {root.name}", models)
    with tempfile.TemporaryDirectory() as folder:
        made = [(asset, write_glb(asset.uid, Path(folder))) for asset in catalog(arguments.variants)]
        report(f"{len(made)} procedural models", made)
    searched = sum(may_carry(asset.category) for asset, _ in models)
    print(f"survey without supports: {len(samples) / surveyed:.1f} assets per CPU second")
    for title, spent in ((f"of the {searched} models that may carry", carriers), ("of all models", found)):
        rate, ratio = len(samples) / (surveyed + spent), (surveyed + spent) / surveyed
        print(f"with supports {title}: {rate:.1f} assets per CPU second, {ratio:.2f} x the time")


def report(title: str, models: Sequence[tuple[Asset, Path]]) -> None:
    """Print the cost and the size of the supports of some models."""
    ms: list[float] = []
    supports: list[tuple[Support, ...]] = []
    for asset, file in models:
        vertices, faces = read_mesh(asset, file)
        start = time.process_time()
        supports.append(find_supports(vertices, faces))
        ms.append(1e3 * (time.process_time() - start))
    sizes = [len(to_json(one)) for one in supports]
    having = sum(bool(one) for one in supports)
    print(f"{title}, {having} with supports: CPU ms {spread(ms)}; bytes {spread(sizes)}")


def spread(values: Sequence[float]) -> str:
    return f"median {np.median(values):.0f}, mean {np.mean(values):.0f}, maximum {max(values):.0f}"


if __name__ == "__main__":
    main()
