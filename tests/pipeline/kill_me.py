"""A run of toy stages in a process to be killed: `python -m tests.pipeline.kill_me OUT inline|ray MARKS`."""

import sys

from pipeline.config import EngineOptions
from pipeline.engine import Stopped, run
from pipeline.lock import RunLock
from pipeline.store import LayerStore
from tests.pipeline.toys import Judge, Make, Measure, toy_plan


def main(out: str, kind: str, marks: str) -> None:
    store = LayerStore(out)
    with RunLock(store):
        plan = toy_plan(store, samples=40, unit_size=4)
        stages = [Make(seconds=0.05, marks=marks), Measure(), Judge()]
        try:
            run(stages, store, plan, EngineOptions(kind=kind))  # type: ignore[arg-type]
        except Stopped as error:
            print(error)
            sys.exit(error.exit_code)


if __name__ == "__main__":
    main(*sys.argv[1:])
