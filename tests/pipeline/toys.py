"""Stages for tests of the store and the engine: small, deterministic, with configurable faults."""

import hashlib
import os
import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from spatialdata_builder.pipeline.config import EngineOptions
from spatialdata_builder.pipeline.engine.progress import RunSummary
from spatialdata_builder.pipeline.engine.run import run
from spatialdata_builder.pipeline.planning.scene_rows import plan_scenes
from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.pipeline.store.plan import Plan, write_plan
from spatialdata_builder.shards.errors import SpatialdataError, WorkerLost
from spatialdata_builder.shards.sample import Reject, Result, Row, Sample
from spatialdata_builder.shards.stage import Stage

EDITS = {"translate": 1.0, "remove": 1.0}
SPLITS = {"train": 0.8, "val": 0.1, "test": 0.1}


def key(number: int) -> str:
    return f"scene-{number:08d}"


@dataclass(frozen=True)
class Make(Stage):
    """Layer `pair`: bytes from the seed. `ills`: key -> fault of that sample."""

    layer: ClassVar[str] = "pair"
    needs: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[int] = 1
    own_pool: ClassVar[bool] = True
    size: int = 2000
    batch_size: int = 4
    cpus: float = 1
    gpus: float = 0
    ills: Mapping[str, str] = field(default_factory=dict[str, str], metadata={"fingerprint": False})
    seconds: float = field(default=0.0, metadata={"fingerprint": False})
    marks: str = field(default="", metadata={"fingerprint": False})
    """A folder in which each call creates a file `<key>-<pid>-<ns>`."""
    timeout: float = field(default=0.0, metadata={"fingerprint": False})

    def setup(self) -> str:
        if "setup" in self.ills:
            self._fail("setup", self.ills["setup"])
        return "model"

    def __call__(self, model: str, samples: Sequence[Sample]) -> Sequence[Result]:
        assert model == "model"
        return [self._one(sample) for sample in samples]

    def _one(self, sample: Sample) -> Result:
        if self.marks:
            (Path(self.marks) / f"{sample.key}-{os.getpid()}-{time.monotonic_ns()}").touch()
        time.sleep(self.seconds)
        fault = self.ills.get(sample.key, "")
        if fault == "reject":
            return Reject("too_dark", 0.25, "mean 0.25 of 255", {"tried": 3})
        if fault:
            self._fail(sample.key, fault)
        digest = hashlib.sha256(str(sample.spec["seed"]).encode()).digest()
        image = (digest * (self.size // len(digest) + 1))[: self.size]
        return Row({"image": image, "edit": str(sample.spec["edit"]), "mean": sum(image) / len(image)}, {"tried": 1})

    def _fail(self, name: str, fault: str) -> None:
        if fault == "raise":
            raise ValueError(f"cannot make {name}")
        if fault == "fatal":
            raise SpatialdataError(f"no model for {name}")
        if fault.startswith("lost-once:") and not (mark := Path(fault.partition(":")[2])).exists():
            mark.touch()
            raise WorkerLost(f"no GPU for {name}")
        if fault == "exit":
            os._exit(7)
        if fault == "hang":
            time.sleep(3600)
        if fault.startswith("kill-once:"):
            mark = Path(fault.partition(":")[2])
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Scenes(Make):
    """Like `Make`, a family per call, whose results are kept at once."""

    families: ClassVar[bool] = True
    spills: ClassVar[bool] = True
    batch_size: int = field(default=1, metadata={"fingerprint": False})


@dataclass(frozen=True)
class Measure(Stage):
    """Layer `metric`: a number from `pair`; reads only some of its columns."""

    layer: ClassVar[str] = "metric"
    needs: ClassVar[tuple[str, ...]] = ("pair",)
    version: ClassVar[int] = 1
    factor: int = 1
    batch_size: int = 16
    cpus: float = 1
    gpus: float = 0

    @property
    def columns(self) -> Mapping[str, tuple[str, ...]]:
        return {"pair": ("image",)}

    def __call__(self, model: None, samples: Sequence[Sample]) -> Sequence[Result]:
        return [self._one(sample) for sample in samples]

    def _one(self, sample: Sample) -> Result:
        image = sample["pair"]["image"]
        assert isinstance(image, bytes)
        assert set(sample["pair"]) == {"image"}
        return Row({"sum": self.factor * sum(image)})


@dataclass(frozen=True)
class Judge(Stage):
    """Layer `checks`: rejects samples by the values of two layers."""

    layer: ClassVar[str] = "checks"
    needs: ClassVar[tuple[str, ...]] = ("metric", "pair")
    version: ClassVar[int] = 1
    batch_size: int = 16
    cpus: float = 1
    gpus: float = 0

    def __call__(self, model: None, samples: Sequence[Sample]) -> Sequence[Result]:
        return [
            Row({"ok": True}) if int(sample["metric"]["sum"]) % 5 else Reject("divisible", 5.0) for sample in samples
        ]


def toy_plan(store: LayerStore, samples: int = 40, unit_size: int = 8, seed: int = 1) -> Plan:
    config = {"samples": samples, "edits": EDITS}
    return write_plan(store, config, plan_scenes(samples, seed, EDITS, SPLITS), unit_size, seed)


def scenes_plan(store: LayerStore, scenes: int = 20, unit_size: int = 10) -> Plan:
    """A plan of scenes, each a sample and its inverse."""
    rows = plan_scenes(scenes, 1, EDITS, SPLITS, invert=True)
    return write_plan(store, {"scenes": scenes, "edits": EDITS}, rows, unit_size)


def calls(marks: Path | str) -> Counter[str]:
    """How often each sample was computed."""
    return Counter(file.name.rsplit("-", 2)[0] for file in Path(marks).iterdir())


def toy_run(out: Path | str, stages: Sequence[Stage], kind: str = "inline", samples: int = 40) -> RunSummary:
    store = LayerStore(str(out))
    return run(stages, store, toy_plan(store, samples), EngineOptions(kind=kind))


def hashes(out: Path | str) -> dict[str, str]:
    """sha256 of every layer file and of the plan's rows, by name; equal runs have equal hashes."""
    files = sorted(Path(out).rglob("*.parquet"))
    return {str(file.relative_to(out)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
