"""A run of toy stages in a process that tests kill: `python -m tests.pipeline.kill_me OUT inline|ray MARKS [scenes]`.

With `scenes`, two units whose scenes are kept one by one.
"""

import sys

from spatialdata_builder.pipeline.config import EngineOptions
from spatialdata_builder.pipeline.engine.run import Stopped, run
from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.pipeline.store.lock import RunLock
from tests.pipeline.toys import Judge, Make, Measure, Scenes, scenes_plan, toy_plan


def main(out: str, kind: str, marks: str, what: str = "") -> None:
    store = LayerStore(out)
    with RunLock(store):
        plan = scenes_plan(store) if what else toy_plan(store, samples=40, unit_size=4)
        stages = [(Scenes if what else Make)(seconds=0.05, marks=marks), Measure(), Judge()]
        try:
            run(stages, store, plan, EngineOptions(kind=kind))  # type: ignore[arg-type]
        except Stopped as error:
            print(error)
            sys.exit(error.exit_code)


if __name__ == "__main__":
    main(*sys.argv[1:])
