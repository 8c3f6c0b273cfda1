"""The layers of a configuration become stages with their options, or one error line says why not."""

from pathlib import Path

import pytest

from spatialdata_builder.pipeline.config import load_config
from spatialdata_builder.pipeline.engine.pools import Cluster, plan_pools
from spatialdata_builder.pipeline.engine.runner import tasks_of
from spatialdata_builder.pipeline.planning.samples import pair_arguments
from spatialdata_builder.pipeline.registry import build_stages
from spatialdata_builder.pipeline.store.fingerprints import plain
from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.stage import Stage
from tests.pipeline.command_line import assert_fails, build

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
RELEASED = ("source.kind=object3dit", "source.root=/data", "samples=all")


def stages_of(out: Path, *settings: str) -> dict[str, Stage]:
    config = load_config(None, settings)
    return {stage.layer: stage for stage in build_stages(config, pair_arguments(config, LayerStore(str(out))))}


def test_options_of_the_pair_reach_its_stage(tmp_path: Path):
    assert getattr(stages_of(tmp_path, *RELEASED)["pair"], "unchanged") == "copy"  # noqa: B009
    settings = (*RELEASED, "layers.pair.unchanged=keep")
    assert getattr(stages_of(tmp_path, *settings)["pair"], "unchanged") == "keep"  # noqa: B009


@pytest.mark.slow
def test_options_of_the_pair_reach_its_pixels(release: Path, tmp_path: Path):
    for name, setting in (("copied", "copy"), ("kept", "keep")):
        result = build(release, tmp_path / name, f"layers.pair.unchanged={setting}", "shard.recipes=[]")
        assert result.code == 0, result
    copied, kept = (next((tmp_path / name).glob("layers/pair-*/00000000.parquet")) for name in ("copied", "kept"))
    assert copied.parent.name != kept.parent.name
    assert copied.read_bytes() != kept.read_bytes()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ((*RELEASED, "layers.pair=render"), ("layers.pair", "'object3dit'", "'render'")),
        (("layers.pair=none",), ("layers.pair", "'render'", "'none'")),
        ((*RELEASED, "layers.pair.unchanged=drop"), ("layers.pair.unchanged", "'drop'")),
        ((*RELEASED, "layers.pair.unchange=keep"), ("layers.pair.unchange", "did you mean 'unchanged'")),
        ((*RELEASED, "layers.pair.root=/other"), ("layers.pair.root", "`source`")),
        (("layers.pair.scene={}",), ("layers.pair.scene", "`scene`")),
        (("layers.normal=from_metric",), ("layers.normal", "normals: true")),
        (("layers.normal=from_metric", "layers.metric=metric3d"), ("layers.normal", "normals: true")),
        (("layers.judge={stage: viescore, texts: [a, b, c]}",), ("unknown key 'layers.judge.texts'",)),
    ],
)
def test_wrong_options_of_layers(tmp_path: Path, settings: tuple[str, ...], words: tuple[str, ...]):
    with pytest.raises(BadInput) as caught:
        stages_of(tmp_path, *settings)
    for word in words:
        assert word in str(caught.value)


def test_a_recipe_without_planned_edits_is_an_error_before_work(release: Path, tmp_path: Path):
    result = build(release, tmp_path / "out", "edits={remove: 1}", "shard.recipes=[spatialedit]")
    assert_fails(result, "spatialedit", "translate, rotate, scale, camera", "remove")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("example", "machine"),
    [("h200", Cluster(1, 16, 1, 16, 1)), ("cluster", Cluster(8, 8 * 96, 64, 96, 8))],
)
def test_examples_fit_their_machines(example: str, machine: Cluster, tmp_path: Path):
    """Every option exists, and all workers fit at the same time: no layer waits for resources of another."""
    config = load_config(EXAMPLES / f"{example}.yaml")
    stages = build_stages(config, pair_arguments(config, LayerStore(str(tmp_path))))
    tasks = tasks_of(stages)
    pools = plan_pools(tasks, {task.layer: 1000 for task in tasks}, config.engine, machine)
    asked = config.engine.resources
    for pool in pools:
        if pool.name in asked:
            named = asked[pool.name]  # type: ignore[index]
            assert (pool.actors, pool.gpus) == (named.actors, named.gpus or 0.0), pool
    assert sum(pool.gpus * pool.actors for pool in pools) <= machine.gpus + 1e-9


def test_answers_of_a_model_are_stored_under_out(tmp_path: Path):
    config = load_config(EXAMPLES / "h200.yaml")
    store = LayerStore(str(tmp_path))
    stages = {stage.layer: stage for stage in build_stages(config, pair_arguments(config, store), store.url)}
    assert getattr(stages["instruction"], "answers") == f"{store.url}/answers"  # noqa: B009


def test_old_names_of_options_are_read_and_keep_the_fingerprint(tmp_path: Path):
    server = "stage: qwen3_vl, backend: openai, base_url: 'http://host/v1'"
    old = stages_of(tmp_path, *RELEASED, f"layers.instruction={{{server}, attempts: 2, tries: 4}}")["instruction"]
    new = stages_of(tmp_path, *RELEASED, f"layers.instruction={{{server}, answer_attempts: 2, send_attempts: 4}}")
    assert old == new["instruction"]
    assert plain(old)["attempts"] == 2
    assert "answer_attempts" not in plain(old)
    with pytest.raises(BadInput, match=r"layers\.instruction: attempts is the old name of answer_attempts"):
        stages_of(tmp_path, *RELEASED, f"layers.instruction={{{server}, attempts: 2, answer_attempts: 2}}")
