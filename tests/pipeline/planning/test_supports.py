"""The table of supports of a plan: written on demand, shared with other builds, repaired."""

import hashlib
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from spatialdata_builder.pipeline.config import Config, load_config
from spatialdata_builder.pipeline.engine.progress import make_progress
from spatialdata_builder.pipeline.planning.request import ASSETS
from spatialdata_builder.pipeline.planning.samples import check_source, plan_build
from spatialdata_builder.pipeline.planning.supports import FILE, held_supports, settle_supports
from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.pipeline.store.plan import PlanDamaged
from spatialdata_builder.shards.errors import BadInput, SpatialdataError
from spatialdata_builder.sources.assets.carriers import AssetSupports
from spatialdata_builder.sources.assets.table import AssetTable
from tests.pipeline.releases import files_of
from tests.sources.models import box, glb, make_cache

SETTINGS = ("engine.kind=inline", "samples=5", "render.device=cpu")


def config_of(*settings: str) -> Config:
    return load_config(None, [*SETTINGS, *settings])


def settle(config: Config, store: LayerStore, planned: str = "", said: list[str] | None = None) -> str:
    return settle_supports(config, store, planned, [].append if said is None else said.append, make_progress(True))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path, str]:
    """A plan of procedural models with its supports, and their digest."""
    out = tmp_path_factory.mktemp("supports") / "out"
    config = config_of("source.variants=1")
    store = LayerStore(str(out))
    plan_build(config, store, lambda _: None, quiet=True)
    assert not (out / FILE).exists() and not (out / "survey").exists()
    return config, out, settle(config, store)


@pytest.mark.slow
def test_supports_of_planned_assets(built: tuple[Config, Path, str]):
    _, out, digest = built
    assert digest == hashlib.sha256((out / FILE).read_bytes()).hexdigest() == held_supports(LayerStore(str(out)))
    table = AssetTable.read(str(out / ASSETS))
    found = {asset.category: table.supports_of(asset.uid) for asset in table.all()}
    assert len(found) == len(table.all()) == 30
    assert {one.kind for one in found["table"].supports} >= {"top"}
    assert (found["shelf"].furniture_front_deg, found["chair"].furniture_front_deg) == (270.0, 270.0)
    assert found["toy car"] == found["apple"] == AssetSupports()
    assert set(pq.read_table(out / FILE)["uid"].to_pylist()) == {
        asset.uid for asset in table.all() if found[asset.category].supports
    }


@pytest.mark.slow
def test_supports_are_found_once_and_a_damaged_table_is_rebuilt(built: tuple[Config, Path, str]):
    config, out, digest = built
    store = LayerStore(str(out))
    (survey,) = (out / "survey").iterdir()
    layer = next((survey / "layers").glob("supports-*/*.parquet"))
    stamp, data = layer.stat().st_mtime_ns, (out / FILE).read_bytes()
    assert settle(config, store, digest) == digest
    (out / FILE).write_bytes(data[:-9])
    said: list[str] = []
    assert settle(config, store, digest, said) == digest
    assert (out / FILE).read_bytes() == data and layer.stat().st_mtime_ns == stamp
    assert any("assets can carry others" in line for line in said)
    with pytest.raises(PlanDamaged, match=r"plan/supports\.parquet is not the table that was planned with"):
        settle(config, store, "0" * 64)


@pytest.mark.slow
def test_another_number_of_samples_gives_the_same_supports(built: tuple[Config, Path, str], tmp_path: Path):
    _, _, digest = built
    config = config_of("source.variants=1", "samples=9")
    store = LayerStore(str(tmp_path / "other"))
    plan_build(config, store, lambda _: None, quiet=True)
    assert settle(config, store) == digest


@pytest.mark.slow
def test_a_plan_without_supports_says_so(tmp_path: Path):
    config = config_of("source.variants=1")
    store = LayerStore(str(tmp_path / "out"))
    plan_build(config, store, lambda _: None, quiet=True)
    table = AssetTable.read(str(tmp_path / "out" / ASSETS))
    with pytest.raises(SpatialdataError, match=r"supports\.parquet does not exist"):
        table.supports_of("procedural-table-0000")


@pytest.mark.slow
@pytest.mark.parametrize("kinds", [("{open: 1}", "{room: 1, garden: 2}"), ("{room: 1}", "{open: 2}")])
def test_open_scenes_and_other_kinds_are_two_plans(tmp_path: Path, kinds: tuple[str, str]):
    """The error is one line about the key that was changed, and the old plan stays as it was."""
    store = LayerStore(str(tmp_path / "out"))
    old, new = (config_of("source.variants=1", f"scene.kinds={one}") for one in kinds)
    plan = plan_build(old, store, lambda _: None, quiet=True)
    before = files_of(tmp_path / "out")
    with pytest.raises(BadInput) as caught:
        plan_build(new, store, lambda _: None, quiet=True)
    line = str(caught.value)
    assert line.startswith("scene.kinds: ") and ", ".join(new.scene.kinds) in line and "another --out" in line
    assert "\n" not in line and files_of(tmp_path / "out") == before
    assert plan_build(old, store, lambda _: None, quiet=True) == plan
    check_source(old, store, plan)


@pytest.mark.slow
def test_another_mix_with_supports_is_the_same_plan(built: tuple[Config, Path, str], tmp_path: Path):
    store = LayerStore(str(shutil.copytree(built[1], tmp_path / "out")))
    (tmp_path / "out" / "plan.json").unlink()
    mixes = ("{room: 1}", "{open: 1, tabletop: 2, garden: 1}")
    first, second = (
        plan_build(config_of("source.variants=1", f"scene.kinds={kinds}"), store, lambda _: None, quiet=True)
        for kinds in mixes
    )
    assert first == second


@pytest.mark.blender
def test_a_model_that_vanished_carries_nothing(tmp_path: Path):
    """It is recorded as a reject of the layer."""
    root = make_cache(tmp_path / "cache", {f"box{n}": glb(box(0.5, 0.5, 0.5 + n / 10)) for n in range(4)})
    config = config_of("source.kind=objaverse", f"source.root={root}", "shard.splits={train: 1, val: 0, test: 0}")
    store = LayerStore(str(tmp_path / "out"))
    plan_build(config, store, lambda _: None, quiet=True)
    next(Path(root).rglob("box2.glb")).unlink()
    settle(config, store)
    table = AssetTable.read(str(tmp_path / "out" / ASSETS))
    carriers = {asset.uid for asset in table.all() if table.supports_of(asset.uid).supports}
    assert carriers == {"box0", "box1", "box3"}
    records = [path.read_text() for path in (tmp_path / "out" / "survey").glob("*/layers/supports-*/*.json")]
    assert any('"reason": "missing_file"' in text for text in records)
