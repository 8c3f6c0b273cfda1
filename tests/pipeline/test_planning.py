"""What a plan settles beyond its rows: keys that tell builds apart, and the device."""

import json
from pathlib import Path

import pytest

from pipeline.config import load_config
from pipeline.device import DEVICE
from pipeline.plan import PLAN, Plan
from pipeline.planning import REJECTED_ASSETS, plan_build, rejected_assets
from pipeline.store import LayerStore
from shards.errors import BadInput
from tests.sources.objaverse.models import box, glb, make_cache
from tests.sources.objaverse.odd_models import required


def planned(out: Path, *settings: str) -> Plan:
    given = ["engine.kind=inline", "samples=5", "source.variants=2", "render.device=cpu", *settings]
    return plan_build(load_config(None, given), LayerStore(str(out)), lambda _: None, quiet=True)


def test_keys_of_two_builds_differ(tmp_path: Path):
    keys = {row.key for seed in (7, 8) for row in planned(tmp_path / str(seed), f"seed={seed}").rows(0)}
    assert len(keys) == 10
    assert "procedural-7-00000004" in keys
    longest = planned(tmp_path / "long", f"seed={2**63 - 1}").rows(0)[0].key
    assert longest == "procedural-9223372036854775807-00000000"


def test_planning_settles_the_device(tmp_path: Path):
    named = planned(tmp_path / "named")
    assert not named.store.exists(DEVICE)
    auto = planned(tmp_path / "auto", "render.device=auto", "engine.resources.pair.gpus=1")
    assert auto.store.read_file(DEVICE) == b'{"device": "gpu"}'


@pytest.mark.parametrize("damaged", ["appearance-*/*.parquet", "appearance-*/*.json", "survey-*/*.json"])
def test_a_damaged_survey_is_looked_at_again(damaged: str, tmp_path: Path):
    root = make_cache(tmp_path / "cache", {f"box{n}": glb(box(1, 1, 1 + n / 10)) for n in range(4)})
    settings = (
        "source.kind=objaverse",
        f"source.root={root}",
        f"source.survey={tmp_path / 'shared'}",
        "shard.splits={train: 1, val: 0, test: 0}",
    )
    first = planned(tmp_path / "one", *settings)
    (file,) = (tmp_path / "shared").glob(f"*/layers/{damaged}")
    file.write_bytes(file.read_bytes()[:-9])
    assert planned(tmp_path / "two", *settings).hash == first.hash
    assert file.with_name(f"{file.name}.corrupt").exists()


def test_a_shared_survey_of_other_packages_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = make_cache(tmp_path / "cache", {f"box{n}": glb(box(1, 1, 1 + n / 10)) for n in range(4)})
    shared = tmp_path / "shared"
    settings = (
        "source.kind=objaverse",
        f"source.root={root}",
        f"source.survey={shared}",
        "shard.splits={train: 1, val: 0, test: 0}",
    )
    assert planned(tmp_path / "one", *settings).samples == 5
    (held,) = shared.iterdir()
    assert not (held / "run.lock").exists()
    monkeypatch.setattr(
        "pipeline.planning.versions", lambda: json.loads((held / PLAN).read_text())["versions"] | {"numpy": "9"}
    )
    with pytest.raises(BadInput, match=r"source\.survey: .*\(numpy .* -> 9\): remove that folder") as caught:
        planned(tmp_path / "two", *settings)
    assert str(held) in str(caught.value)
    assert "--out" not in str(caught.value)


def test_what_the_survey_rejects_is_listed_by_name(tmp_path: Path):
    models = {f"box{n}": glb(box(1, 1, 1 + n / 10)) for n in range(4)} | {"broken": b"glTF", "vendor": required("X_y")}
    root = make_cache(tmp_path / "cache", models)
    settings = ("source.kind=objaverse", f"source.root={root}", "shard.splits={train: 1, val: 0, test: 0}")
    store = planned(tmp_path / "out", *settings).store
    listed = rejected_assets(store)
    assert [(asset["uid"], asset["reason"]) for asset in listed] == [("broken", "unreadable"), ("vendor", "unreadable")]
    assert listed[1]["detail"] == "it requires the extension X_y, which Blender does not have"
    data = store.read_file(REJECTED_ASSETS)
    again = planned(tmp_path / "again", *settings, "engine.kind=inline").store
    assert again.read_file(REJECTED_ASSETS) == data


def test_a_cache_without_a_sound_model_names_some(tmp_path: Path):
    root = make_cache(tmp_path / "cache", {"broken": b"glTF", "vendor": required("X_y")})
    with pytest.raises(BadInput, match="vendor: it requires the extension X_y") as caught:
        planned(tmp_path / "out", "source.kind=objaverse", f"source.root={root}")
    assert "\n" not in str(caught.value)
