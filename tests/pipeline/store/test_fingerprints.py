"""A fingerprint changes exactly when the output may change."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pytest
from pydantic import Field

from spatialdata_builder.pipeline.store.fingerprints import fingerprint, layer_dirs
from spatialdata_builder.shards.errors import SpatialdataError
from spatialdata_builder.shards.options import Options
from spatialdata_builder.shards.sample import Result, Sample
from spatialdata_builder.shards.stage import Stage
from tests.pipeline.toys import Judge, Make, Measure


class Section(Options):
    strength: float = 0.5
    where: str = Field(default="", json_schema_extra={"fingerprint": False})


@dataclass(frozen=True)
class Configured(Stage):
    layer: ClassVar[str] = "depth"
    needs: ClassVar[tuple[str, ...]] = ("pair",)
    version: ClassVar[int] = 1
    options: Section = field(default_factory=Section)
    names: tuple[str, ...] = ("a",)
    folder: str = field(default="", metadata={"fingerprint": False})
    extra: Any = None
    batch_size: int = field(default=1, metadata={"fingerprint": False})
    cpus: float = field(default=1, metadata={"fingerprint": False})
    gpus: float = field(default=0, metadata={"fingerprint": False})

    def __call__(self, model: None, samples: Sequence[Sample]) -> Sequence[Result]:
        raise AssertionError


def of(stage: Configured, pair: str = "0" * 16) -> str:
    return fingerprint(stage, {"pair": pair})


def test_sixteen_hex_digits_and_stable():
    assert re.fullmatch("[0-9a-f]{16}", of(Configured()))
    assert of(Configured()) == of(Configured())


@pytest.mark.parametrize(
    "changed",
    [
        Configured(options=Section(strength=0.6)),
        Configured(names=("a", "b")),
        Configured(extra={"x": [1, 2.0, None, {"y"}]}),
    ],
)
def test_settings_that_affect_the_output_change_it(changed: Configured):
    assert of(changed) != of(Configured())


@pytest.mark.parametrize(
    "changed", [Configured(folder="/data"), Configured(options=Section(where="/data")), Configured(batch_size=8)]
)
def test_other_settings_do_not_change_it(changed: Configured):
    assert of(changed) == of(Configured())


def test_a_needed_layer_and_the_version_change_it(monkeypatch: pytest.MonkeyPatch):
    before = of(Configured())
    assert of(Configured(), pair="1" * 16) != before
    monkeypatch.setattr(Configured, "version", 2)
    assert of(Configured()) != before


def test_only_dependents_change():
    old = layer_dirs([Make(), Measure(), Judge()])
    new = layer_dirs([Make(), Measure(factor=2), Judge()])
    assert old["pair"] == new["pair"]
    assert old["metric"] != new["metric"]
    assert old["checks"] != new["checks"]
    assert list(layer_dirs([Judge(), Measure(), Make()])) == ["pair", "metric", "checks"]


def test_another_plan_is_another_layer():
    old, new = (layer_dirs([Make(), Measure(), Judge()], plan) for plan in ("a" * 64, "b" * 64))
    assert all(old[layer] != new[layer] for layer in old)
    assert layer_dirs([Make()], "a" * 64)["pair"] == old["pair"]


def test_a_value_without_stable_text_is_an_error():
    with pytest.raises(SpatialdataError, match="object"):
        of(Configured(extra=object()))


def test_graph_errors_name_the_layers():
    with pytest.raises(SpatialdataError, match=r"'metric' needs the layer 'pair'"):
        layer_dirs([Measure()])
    with pytest.raises(SpatialdataError, match="two stages"):
        layer_dirs([Make(), replace(Make(), size=1)])


def test_a_cycle_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Make, "needs", ("checks",))
    with pytest.raises(SpatialdataError, match="pair -> checks -> metric -> pair"):
        layer_dirs([Make(), Measure(), Judge()])
