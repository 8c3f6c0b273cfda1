"""Assets are divided among splits, and the candidates of a scene depend only on the seed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.sources.assets.asset import Asset
from spatialdata_builder.sources.assets.table import CANDIDATES, MIN_ASSETS, AssetTable, split_assets, table_of
from spatialdata_builder.sources.registry import get_scene_source


def assets(count: int) -> list[Asset]:
    square = ((-0.1, -0.1), (0.1, -0.1), (0.1, 0.1), (-0.1, 0.1))
    return [
        Asset(f"uid{i:04d}", f"glbs/{i}.glb", "box", "red", "cc0", "me", 1.0, (0, 0, 0), (0.2, 0.2, 0.2), square, 12)
        for i in range(count)
    ]


def fractions(train: float, val: float, test: float) -> dict:
    return {"train": train, "val": val, "test": test}


def test_every_asset_has_one_split_and_every_split_has_enough():
    splits = split_assets(assets(200), fractions(0.8, 0.1, 0.1), 3)
    counts = {split: list(splits.values()).count(split) for split in ("train", "val", "test")}
    assert counts == {"train": 160, "val": 20, "test": 20}
    few = split_assets(assets(12), fractions(0.9, 0.05, 0.05), 3)
    assert sorted(few.values()).count("test") == sorted(few.values()).count("val") == MIN_ASSETS


def test_splits_do_not_depend_on_order_and_few_assets_move():
    whole = assets(300)
    splits = split_assets(whole, fractions(0.8, 0.1, 0.1), 3)
    assert split_assets(list(reversed(whole)), fractions(0.8, 0.1, 0.1), 3) == splits
    assert split_assets(whole, fractions(0.8, 0.1, 0.1), 4) != splits
    fewer = split_assets(whole[:-1], fractions(0.8, 0.1, 0.1), 3)
    assert sum(fewer[uid] != splits[uid] for uid in fewer) <= 3


@pytest.mark.parametrize(
    ("count", "shares", "words"),
    [
        (11, (0.8, 0.1, 0.1), "11 usable assets cannot fill.*12 are needed.*add 1 more, or use one split"),
        (100, (0.02, 0.49, 0.49), "left for train"),
        (3, (1, 0, 0), "3 usable assets cannot fill the split train: at least 4 are needed; add 1 more$"),
        (1, (1, 0, 0), "1 usable asset cannot fill the split train: at least 4 are needed; add 3 more$"),
        (2, (0.5, 0.5, 0), "2 usable assets cannot fill the splits train, val: at least 8 .*add 6 more$"),
        (5, (0, 0.5, 0.5), "splits val, test.*add 3 more, or use one split: --set shard.splits="),
    ],
)
def test_too_few_assets_are_reported(count: int, shares: tuple[float, float, float], words: str):
    with pytest.raises(BadInput, match=words):
        split_assets(assets(count), fractions(*shares), 0)


def test_a_split_with_fraction_zero_gets_no_assets():
    assert set(split_assets(assets(5), fractions(1, 0, 0), 0).values()) == {"train"}
    assert set(split_assets(assets(9), fractions(0, 0.5, 0.5), 0).values()) == {"val", "test"}


def shaped(sizes: list[int], models: int = 1) -> list[Asset]:
    """Families of these sizes, each with at most `models` different models."""
    whole = iter(assets(sum(sizes)))
    return [
        replace(next(whole), family=f"f{number}", model=f"m{number}-{member % models}")
        for number, size in enumerate(sizes)
        for member in range(size)
    ]


@given(
    st.lists(st.integers(1, 12), min_size=2, max_size=40),
    st.sampled_from([(0.9, 0.05, 0.05), (0.5, 0.25, 0.25), (0.6, 0.4, 0), (0, 0.5, 0.5), (1, 0, 0)]),
    st.integers(0, 5),
)
def test_a_family_is_in_one_split_and_no_split_is_empty(sizes: list[int], shares: Any, seed: int):
    whole = shaped(sizes)
    try:
        splits = split_assets(whole, fractions(*shares), seed)
    except BadInput as error:
        assert "usable asset" in str(error) or "are left for" in str(error)
        return
    found: dict[str, set[str]] = {}
    for asset in whole:
        found.setdefault(asset.family, set()).add(splits[asset.uid])
    assert all(len(names) == 1 for names in found.values())
    assert set(splits.values()) == {name for name, share in fractions(*shares).items() if share}


def test_no_split_is_empty_if_half_of_the_assets_are_one_family():
    for seed in range(20):
        splits = split_assets(shaped([100, *[1] * 100]), fractions(0.9, 0.05, 0.05), seed)
        counts = {split: list(splits.values()).count(split) for split in ("train", "val", "test")}
        assert counts == {"train": 180, "val": 10, "test": 10}
        assert splits["uid0000"] == "train"


def test_copies_of_too_few_models_are_reported():
    one = r"12 usable assets are 1 different model of 1 shape, .*add at least 1 of another shape$"
    with pytest.raises(BadInput, match=one):
        split_assets(shaped([12]), fractions(1, 0, 0), 0)
    two = r"16 usable assets are 2 different models of 2 shapes, .* add at least 2 of other shapes, or use one split"
    with pytest.raises(BadInput, match=two):
        split_assets(shaped([8, 8]), fractions(0.5, 0.25, 0.25), 0)
    assert set(split_assets(shaped([12], models=12), fractions(1, 0, 0), 0).values()) == {"train"}
    splits = split_assets(shaped([4, 4, 4, 4]), fractions(0.5, 0.25, 0.25), 0)
    assert sorted(splits.values()) == ["test"] * 4 + ["train"] * 8 + ["val"] * 4


def test_a_model_with_several_uids_is_a_candidate_once(tmp_path: Path):
    whole = shaped([5, 5, 1], models=2)
    pq.write_table(table_of(whole, split_assets(whole, fractions(1, 0, 0), 0)), tmp_path / "assets.parquet")
    drawn = AssetTable.read(str(tmp_path / "assets.parquet")).candidates("train", 0, 0)
    assert [asset.model for asset in drawn] == ["m0-0", "m0-1", "m1-0", "m1-1", "m2-0"]
    assert pq.read_table(tmp_path / "assets.parquet").num_rows == 11


def test_candidates_depend_only_on_the_seed(tmp_path: Path):
    whole = assets(3 * CANDIDATES)
    splits = split_assets(whole, fractions(0.9, 0.1, 0), 1)
    pq.write_table(table_of(whole, splits), tmp_path / "assets.parquet")
    table = AssetTable.read(str(tmp_path / "assets.parquet"))
    chosen = table.candidates("train", 5, 0)
    assert chosen == AssetTable.read(str(tmp_path / "assets.parquet")).candidates("train", 5, 0)
    assert len(chosen) == CANDIDATES
    assert table.candidates("train", 5, 1) != chosen
    assert table.candidates("train", 6, 0) != chosen
    assert all(splits[asset.uid] == "train" and asset in whole for asset in chosen)
    val = table.candidates("val", 5, 0)
    assert [asset.uid for asset in val] == sorted(uid for uid, split in splits.items() if split == "val")


@pytest.mark.slow
def test_procedural_files_are_made_on_the_spot(tmp_path: Path):
    from spatialdata_builder.sources.procedural import catalog

    asset = catalog(1)[0]
    models = get_scene_source("procedural").models("")
    assert models(asset.path).read_bytes()[:4] == b"glTF"
    assert get_scene_source("objaverse").models(str(tmp_path))(assets(1)[0].path) == tmp_path / "glbs/0.glb"
