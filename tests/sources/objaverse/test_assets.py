"""Splits are by asset; a scene's candidates depend on the seed alone."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from shards.errors import BadInput
from sources.objaverse.assets import CANDIDATES, FEWEST, AssetFiles, AssetTable, divide, table_of
from sources.objaverse.spec import Asset


def assets(count: int) -> list[Asset]:
    square = ((-0.1, -0.1), (0.1, -0.1), (0.1, 0.1), (-0.1, 0.1))
    return [
        Asset(f"uid{i:04d}", f"glbs/{i}.glb", "box", "red", "cc0", "me", 1.0, (0, 0, 0), (0.2, 0.2, 0.2), square, 12)
        for i in range(count)
    ]


def fractions(train: float, val: float, test: float) -> dict:
    return {"train": train, "val": val, "test": test}


def test_every_asset_has_one_split_and_every_split_enough():
    splits = divide(assets(200), fractions(0.8, 0.1, 0.1), 3)
    counts = {split: list(splits.values()).count(split) for split in ("train", "val", "test")}
    assert counts == {"train": 160, "val": 20, "test": 20}
    few = divide(assets(12), fractions(0.9, 0.05, 0.05), 3)
    assert sorted(few.values()).count("test") == sorted(few.values()).count("val") == FEWEST


def test_no_order_and_few_moves():
    whole = assets(300)
    splits = divide(whole, fractions(0.8, 0.1, 0.1), 3)
    assert divide(list(reversed(whole)), fractions(0.8, 0.1, 0.1), 3) == splits
    assert divide(whole, fractions(0.8, 0.1, 0.1), 4) != splits
    fewer = divide(whole[:-1], fractions(0.8, 0.1, 0.1), 3)
    assert sum(fewer[uid] != splits[uid] for uid in fewer) <= 3


@pytest.mark.parametrize(
    ("count", "shares", "words"),
    [(11, (0.8, 0.1, 0.1), "11 usable assets cannot fill"), (100, (0.02, 0.49, 0.49), "left for train")],
)
def test_too_few_assets_are_named(count: int, shares: tuple[float, float, float], words: str):
    with pytest.raises(BadInput, match=words):
        divide(assets(count), fractions(*shares), 0)


def test_a_split_that_is_not_wanted_gets_nothing():
    assert set(divide(assets(5), fractions(1, 0, 0), 0).values()) == {"train"}
    assert set(divide(assets(9), fractions(0, 0.5, 0.5), 0).values()) == {"val", "test"}


def test_candidates_follow_from_the_seed(tmp_path: Path):
    whole = assets(3 * CANDIDATES)
    splits = divide(whole, fractions(0.9, 0.1, 0), 1)
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


def test_procedural_files_are_made_on_the_spot():
    from sources.procedural import catalogue

    asset = catalogue(1)[0]
    files = AssetFiles("procedural", "")
    assert files.path(asset).read_bytes()[:4] == b"glTF"
    assert AssetFiles("objaverse", "/data").path(assets(1)[0]) == Path("/data/glbs/0.glb")
