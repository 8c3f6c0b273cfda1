"""What a plan settles beyond its rows: keys that tell builds apart, and the device."""

from pathlib import Path

from pipeline.config import load_config
from pipeline.device import DEVICE
from pipeline.plan import Plan
from pipeline.planning import plan_build
from pipeline.store import LayerStore


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
