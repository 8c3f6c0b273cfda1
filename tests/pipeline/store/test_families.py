"""Samples and their derived samples: rows of the plan, together in one unit; no effect if not configured."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from spatialdata_builder.pipeline.config import load_config
from spatialdata_builder.pipeline.engine.calls import call, calls_of
from spatialdata_builder.pipeline.planning.samples import pair_arguments, plan_build, plan_config
from spatialdata_builder.pipeline.planning.scene_rows import plan_scenes
from spatialdata_builder.pipeline.registry import build_stages
from spatialdata_builder.pipeline.store.families import family_of, planned_kinds, states_of, unit_rows
from spatialdata_builder.pipeline.store.fingerprints import canonical, layer_dirs
from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.pipeline.store.plan import Plan, PlanRow
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.sample import Reject, Result, Row, Sample
from spatialdata_builder.shards.schema import EDIT_KINDS
from spatialdata_builder.shards.stage import Stage
from spatialdata_builder.sources.edits.patterns import group_sizes
from spatialdata_builder.sources.edits.registry import RULES, composed_kind, inverse_kind

COMPOSING = [kind for kind in EDIT_KINDS if RULES[kind].composes]
WEIGHTS = {"translate": 2.0, "rotate": 1.0, "camera": 1.0, "insert": 1.0}
SPLITS = {"train": 0.8, "val": 0.1, "test": 0.1}


def rows(samples: int, **options: int) -> list[dict[str, str]]:
    return pa.Table.from_batches(list(plan_scenes(samples, 5, WEIGHTS, SPLITS, "p-5", **options))).to_pylist()


def planned(out: Path, *settings: str) -> Plan:
    given = ["engine.kind=inline", "samples=5", "unit_size=2", "source.variants=2", "render.device=cpu", *settings]
    return plan_build(load_config(None, given), LayerStore(str(out)), lambda _: None, quiet=True)


def all_rows(plan: Plan) -> list[PlanRow]:
    return [row for unit in range(plan.units) for row in plan.rows(unit)]


def test_plans_without_derived_samples_are_unchanged():
    """Rows and plan are as before derived samples existed."""
    digest = hashlib.sha256(canonical(rows(1000)).encode()).hexdigest()
    assert digest == "aca36228d2db39efa7fd62bf549a469269f6a8ed347b7a9efd353b6658a46f4c"
    config = load_config(None, ["edits={rotate: 2, camera: 1, insert: 0}"])
    assert plan_config(config)["edits"] == {"camera": 1.0, "rotate": 2.0}
    assert config.model_dump(mode="json")["edits"] == {"rotate": 2.0, "camera": 1.0, "insert": 0.0}
    # Stages do not depend on it: with one plan, layers have the same names for any derived samples.
    assert folders() == folders("edits.invert=true", "edits.compose=true")


def folders(*settings: str) -> dict[str, str]:
    config = load_config(None, ["render.device=cpu", "engine.kind=inline", *settings])
    return layer_dirs(build_stages(config, pair_arguments(config, LayerStore("memory://unchanged"))), "plan")


def test_each_sample_is_followed_by_its_inverse():
    rendered, both = rows(300), rows(300, invert=True)
    assert both[::2] == rendered
    for origin, inverse in zip(both[::2], both[1::2], strict=True):
        assert inverse["key"] == f"{origin['key']}-inv"
        assert inverse["split"] == origin["split"]
        here, there = (Sample(row["key"], "train", json.loads(row["spec"])) for row in (origin, inverse))
        assert there.spec == {
            "derived": "invert",
            "edit": inverse_kind(here.spec["edit"]),
            "family": origin["key"],
            "origin": [origin["key"]],
            "seed": here.spec["seed"],
        }
        assert family_of(there.key, there.spec) == family_of(here.key, here.spec) == origin["key"]


@pytest.mark.slow
def test_a_unit_holds_whole_families(tmp_path: Path):
    plan = planned(tmp_path / "both", "edits.invert=true")
    assert (plan.samples, plan.units, plan.unit_size) == (10, 3, 4)
    assert [plan.size(unit) for unit in range(3)] == [4, 4, 2]
    for unit in range(plan.units):
        keys = {row.key for row in plan.rows(unit)}
        assert {family_of(row.key, row.spec) for row in plan.rows(unit)} <= keys
    assert [row for row in all_rows(plan) if "derived" not in row.spec] == all_rows(planned(tmp_path / "alone"))


@pytest.mark.parametrize(
    ("setting", "kinds"),
    [
        ("edits={invert: true}", ["translate", "rotate", "scale", "remove", "insert", "camera"]),
        ("edits={remove: 1, invert: true}", ["remove", "insert"]),
        ("edits={remove: 1}", ["remove"]),
        ("edits={rotate: 1, insert: 0, invert: true}", ["rotate"]),
        ("edits={insert: 1, compose: true}", ["translate", "insert"]),
        ("edits={scale: 1, remove: 1, compose: true}", ["scale", "remove", "insert"]),
        ("edits={insert: 1, compose: true, invert: true}", ["translate", "remove", "insert"]),
    ],
)
def test_kinds_of_a_plan(setting: str, kinds: Sequence[str]):
    config = load_config(None, [setting])
    assert planned_kinds(config.edits) == kinds
    assert unit_rows(config) == 64 * (2 if config.edits.invert else 1) * (3 if config.edits.compose else 2) // 2


@pytest.mark.slow
@pytest.mark.parametrize("invert", [False, True])
def test_two_samples_of_one_scene_and_their_derived_samples(tmp_path: Path, invert: bool):
    flag = f"edits.invert={str(invert).lower()}"
    plan = planned(tmp_path / "out", "samples=61", "unit_size=6", "edits.compose=true", flag)
    each = 2 if invert else 1
    assert plan.unit_size == 9 * each and plan.samples == 91 * each
    for unit in range(plan.units):
        found = {row.key: row for row in plan.rows(unit)}
        for row in found.values():
            first = found[family_of(row.key, row.spec)]
            assert (row.split, row.spec["seed"]) == (first.split, first.spec["seed"])
            if row.spec.get("derived") == "compose":
                one, two = (found[key] for key in row.spec["origin"])
                assert (one.spec["turn"], two.spec["turn"]) == (0, 1)
                assert one.spec["edits"] == two.spec["edits"] == [one.spec["edit"], two.spec["edit"]]
                assert row.spec["edit"] == composed_kind(one.spec["edit"], two.spec["edit"])
                assert row.key == f"{one.key}-comp"
    assert "edits" not in plan.rows(plan.units - 1)[-each].spec


def test_families_do_not_depend_on_the_number_of_samples():
    options = {"invert": True, "per_scene": 2}
    many = rows(40, **options)
    for samples in (2, 4, 10):
        assert rows(samples, **options) == many[: 3 * samples]
    assert [row["key"] for row in rows(1, per_scene=2)] == ["p-5-00000000"]
    assert [row["key"][-4:] for row in rows(3, per_scene=2)] == ["0000", "0001", "comp", "0002"]


@pytest.mark.slow
@pytest.mark.parametrize("weights", [dict.fromkeys(COMPOSING, 1.0), {"remove": 1.0, "scale": 3.0, "camera": 2.5}])
def test_composing_keeps_the_weights(weights: dict[str, float]):
    table = pa.Table.from_batches(list(plan_scenes(4000, 5, weights, SPLITS, per_scene=2))).to_pylist()
    specs = [json.loads(row["spec"]) for row in table]
    kinds = Counter(spec["edit"] for spec in specs if "derived" not in spec)
    for kind, weight in weights.items():
        assert abs(kinds[kind] - 4000 * weight / sum(weights.values())) <= 4
    assert Counter(row["split"] for row in table)["train"] == pytest.approx(0.8 * len(table), abs=6)


@pytest.mark.slow
@pytest.mark.parametrize("per_scene", [3, 4, 6, 8])
@pytest.mark.parametrize("swap", [0.0, 1.0])
def test_edits_of_one_scene(per_scene: int, swap: float):
    """Kinds keep their weights, composed samples are of one group, and each scene has equally many samples."""
    weights = {"translate": 2.0, "rotate": 2.0, "scale": 1.0, "remove": 1.0, "insert": 1.0, "camera": 1.0, "swap": swap}
    scenes = 600
    options = {"invert": True, "per_scene": per_scene}
    table = pa.Table.from_batches(list(plan_scenes(scenes * per_scene, 5, weights, SPLITS, **options))).to_pylist()
    specs = {row["key"]: json.loads(row["spec"]) for row in table}
    assert len(specs) == len(table) and len(table) % scenes == 0
    rendered = {key: spec for key, spec in specs.items() if "derived" not in spec}
    kinds = Counter(spec["edit"] for spec in rendered.values())
    for kind, weight in weights.items():
        assert abs(kinds[kind] - len(rendered) * weight / sum(weights.values())) <= 2 * per_scene
    sizes = group_sizes(per_scene)
    group_of = [group for group, size in enumerate(sizes) for _ in range(size)]
    pairs = Counter[tuple[str, ...]]()
    families = Counter(family_of(key, spec) for key, spec in specs.items())
    assert set(families.values()) == {len(table) // scenes}
    for spec in specs.values():
        if spec.get("derived") == "compose":
            one, two = (specs[key] for key in spec["origin"])
            assert one["family"] == two["family"] == spec["family"] and one["seed"] == two["seed"] == spec["seed"]
            assert one["turn"] < two["turn"] and group_of[one["turn"]] == group_of[two["turn"]]
            assert spec["edit"] == composed_kind(one["edit"], two["edit"])
            pairs[tuple(spec["origin"])] += 1
        elif "derived" in spec:
            assert spec["edit"] == inverse_kind(specs[spec["origin"][0]]["edit"])
    assert max(pairs.values()) == 1
    full = sum(size * (size - 1) // 2 for size in sizes) - (sizes[-1] - 1 if swap else 0)
    assert len(table) == scenes * 2 * (per_scene + full)


def test_a_limit_of_pairs_uses_all_in_turn():
    weights = {"translate": 1.0, "rotate": 1.0}
    options = {"invert": True, "per_scene": 6, "pairs_per_scene": 16}
    table = pa.Table.from_batches(list(plan_scenes(6 * 60, 5, weights, SPLITS, **options))).to_pylist()
    assert len(table) == 60 * 16
    specs = [json.loads(row["spec"]) for row in table]
    turns = {row["key"]: spec.get("turn") for row, spec in zip(table, specs, strict=True)}
    used = Counter(tuple(turns[key] for key in spec["origin"]) for spec in specs if spec.get("derived") == "compose")
    assert len(used) == 6 and set(used.values()) == {20}


@pytest.mark.slow
def test_a_limit_of_pairs_is_in_the_plan(tmp_path: Path):
    settings = ("samples=12", "unit_size=6", "edits={translate: 1, rotate: 1, per_scene: 6, pairs_per_scene: 15}")
    plan = planned(tmp_path / "out", *settings)
    assert (plan.samples, plan.unit_size) == (28, 14)
    assert plan.config["edits"] == {
        "translate": 1.0,
        "rotate": 1.0,
        "invert": True,
        "per_scene": 6,
        "pairs_per_scene": 14,
    }
    assert planned(tmp_path / "out", *settings).hash == plan.hash
    with pytest.raises(BadInput, match=r"unit_size 6 -> 12"):
        planned(tmp_path / "out", *settings, "unit_size=12")


def test_compose_is_another_name_for_two_edits_of_each_scene():
    old, new = (load_config(None, [text]) for text in ("edits.compose=true", "edits={per_scene: 2, invert: false}"))
    assert old.model_dump(mode="json")["edits"] == {**new.model_dump(mode="json")["edits"]}
    assert plan_config(old) == plan_config(new)
    both = load_config(None, ["edits.per_scene=2"])
    assert both.edits.invert and both.edits.derived == {"invert": True, "compose": True}


@pytest.mark.parametrize("options", [{"per_scene": 4, "invert": True}, {"per_scene": 2}, {"invert": True}])
def test_states_of_the_scene_follow_from_the_origins(options: dict[str, int]):
    """0 is the source, i + 1 the target of edit i; an inverse goes back, a composed sample joins two targets."""
    table = rows(12, **options)
    given = [PlanRow(row["key"], "train", json.loads(row["spec"])) for row in table]
    states = states_of(given)
    assert list(states) == [row.key for row in given]
    per_scene = options.get("per_scene", 1)
    for row in given:
        here = states[row.key]
        match row.spec.get("derived"):
            case "invert":
                assert here == states[row.spec["origin"][0]][::-1]
            case "compose":
                assert here == tuple(states[key][1] for key in row.spec["origin"]) and 0 < here[0] < here[1]
            case _:
                assert here == (0, 1 + int(row.key[-8:]) % per_scene)
    first = [states[row.key] for row in given if family_of(row.key, row.spec) == given[0].key]
    assert len(set(first)) == len(first) and max(map(max, first)) == per_scene


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["edits.per_scene=6", "unit_size=64"], ["unit_size must be a multiple of 6", "edits.per_scene", "64"]),
        (["edits.per_scene=6", "unit_size=6", "samples=20"], ["samples must be a multiple of 6", "20"]),
        (["edits.per_scene=33"], ["edits.per_scene", "32"]),
        (["edits={per_scene: 3, pairs_per_scene: 5}"], ["pairs_per_scene must be at least 6", "inverses"]),
        (["edits={per_scene: 4, compose: true}"], ["compose is another name for per_scene: 2", "4"]),
        (
            ["edits={translate: 9, swap: 3, per_scene: 6}", "unit_size=6", "samples=6"],
            ["a scene has at most one swap", "at most 2 (got 3)"],
        ),
        (
            ["edits={translate: 1, remove: 1, per_scene: 3}", "unit_size=3", "samples=3"],
            ["each removal needs 2 other edits", "at least 2 (they sum to 1)"],
        ),
        (["edits={compose: true}", "unit_size=3"], ["unit_size", "3", "even"]),
        (["edits={compose: true, remove: 2, scale: 1}"], ["edits.compose", "remove", "translate, rotate, scale"]),
        (["edits={compose: true}", "source.kind=object3dit"], ["edits.compose", "object3dit"]),
        (["edits={compose: 3}"], ["edits.compose", "boolean"]),
        (["edits={remove: 0, compose: true, invrt: true}"], ["edits.invrt", "did you mean 'invert'"]),
    ],
)
def test_configurations_that_cannot_be_composed_are_errors(settings: list[str], words: list[str]):
    with pytest.raises(BadInput) as caught:
        load_config(None, settings)
    for word in words:
        assert word in str(caught.value)


class Families(Stage):
    """A stage that derives samples from earlier samples of the same call."""

    layer, needs, version, families, batch_size = "pair", (), 1, True, 2

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, model: None, samples: Sequence[Sample]) -> Sequence[Result]:
        self.calls.append([sample.key for sample in samples])
        if "broken" in self.calls[-1]:
            raise ValueError("broken")
        return [Row({"size": len(samples)}) for _ in samples]


def test_a_family_is_in_one_call_and_fails_as_one():
    keys = {"a": 2, "broken": 2, "c": 1, "d": 3}
    samples = [Sample(f"{key}{'-x' * n}", "train", {"family": key}) for key, size in keys.items() for n in range(size)]
    stage = Families()
    wanted = {sample.key for sample in samples}
    results = [result for asked, _ in calls_of(stage, samples, wanted) for result in call(stage, None, asked)]
    assert stage.calls[0] == ["a", "a-x", "broken", "broken-x"]
    assert stage.calls[1:3] == [["a", "a-x"], ["broken", "broken-x"]]
    assert stage.calls[3] == ["c", "d", "d-x", "d-x-x"]
    rejected = [s.key for s, result in zip(samples, results, strict=True) if isinstance(result, Reject)]
    assert rejected == ["broken", "broken-x"]
