"""webdataset reads the tars; wids uses `index.json`."""

import io
import json

import numpy as np
import pytest
import webdataset
import wids

from tests.readers.pixels import assert_same, pillow


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_webdataset(packed, split):
    found, records = {}, {}
    for sample in webdataset.WebDataset(packed.shards(split), shardshuffle=False):
        key = sample["__key__"]
        records[key] = json.loads(sample["json"])
        found[key] = {
            field.partition(".")[0]: pillow(data)
            for field, data in sample.items()
            if field.endswith((".png", ".webp", ".jpg"))
        }
    assert_same(found, records, packed.values[split])


def test_webdataset_decodes_each_member_with_its_own_handler(packed):
    dataset = webdataset.WebDataset(packed.shards("val"), shardshuffle=False).to_tuple(
        "__key__", "source.webp", "depth.png"
    )
    for key, source, depth in dataset.map_tuple(str, pillow, pillow):
        assert np.array_equal(source, packed.values["val"][key]["source"])
        assert depth.dtype == np.uint16


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_wids(packed, split):
    """With the folder itself as cache folder, wids opens the tars in place and copies none."""
    folder = packed.folder / split
    before = sorted(folder.iterdir())
    dataset = wids.ShardListDataset(str(folder / "index.json"), cache_dir=str(folder), transformations=[])
    assert len(dataset) == len(packed.values[split])
    found, records = {}, {}
    for index in reversed(range(len(dataset))):
        sample = dataset[index]
        key = sample["__key__"]
        records[key] = json.load(sample[".json"])
        found[key] = {
            field.split(".")[1]: pillow(stream.read())
            for field, stream in sample.items()
            if isinstance(stream, io.BytesIO) and field != ".json"
        }
    assert_same(found, records, packed.values[split])
    assert sorted(folder.iterdir()) == before
