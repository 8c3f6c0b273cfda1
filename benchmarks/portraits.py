"""Cost of the portrait of an asset (layer `appearance`), without its survey.

    python benchmarks/portraits.py ROOT

ROOT is an Objaverse cache. Prints CPU seconds per asset in this process and in Blender, with one thread. Excludes the
start of Blender, which happens once per worker.
"""

import sys
import time

from spatialdata_builder.shards.sample import Row, Sample
from spatialdata_builder.sources.objaverse.cache import read_cache, resolve_root
from spatialdata_builder.sources.survey.appearance import MeasureAppearance
from spatialdata_builder.sources.survey.geometry import SurveyAssets


def main() -> None:
    root = resolve_root(sys.argv[1])
    survey, stage = SurveyAssets("objaverse", str(root)), MeasureAppearance("objaverse", str(root), threads=1)
    folder, booth = survey.setup(), stage.setup()
    samples: list[Sample] = []
    for entry in read_cache(root):
        (row,) = survey(folder, [Sample(entry.uid, "train", entry.spec())])
        if isinstance(row, Row):
            samples.append(Sample(entry.uid, "train", entry.spec(), {"survey": row.columns}))
    stage(booth, samples[:1])
    here, blender, wall = time.process_time(), booth.renderer.cpu_s, time.monotonic()
    named = 0
    for sample in samples[1:]:
        (row,) = stage(booth, [sample])
        named += isinstance(row, Row) and '"colour":""' not in str(row.columns["asset"])
    count = len(samples) - 1
    here, blender = time.process_time() - here, booth.renderer.cpu_s - blender
    parts = f"{here / count:.3f} in this process, {blender / count:.3f} in Blender"
    print(f"{count} portraits: {(here + blender) / count:.3f} CPU s each ({parts})")
    print(f"{(time.monotonic() - wall) / count:.3f} s of wall time each; {named} have a color name")
    booth.renderer.close()


if __name__ == "__main__":
    main()
