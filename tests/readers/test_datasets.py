"""Hugging Face `datasets` loads every split by the card, streaming or not: images decoded, the record typed."""

import shutil

import numpy as np
import pytest
import yaml
from datasets import Features, Image, load_dataset

from tests.readers.pixels import assert_same

pytestmark = pytest.mark.torch
"""The library loads torch when it reads."""

PUBLIC = {"train": "train", "val": "validation", "test": "test"}


def read(dataset):
    found, records = {}, {}
    for row in dataset:
        key = row["__key__"]
        records[key] = row["json"]
        found[key] = {name.partition(".")[0]: np.asarray(value) for name, value in row.items() if "." in name}
    return found, records


@pytest.mark.parametrize("streaming", [True, False])
def test_every_split_by_the_card(packed, tmp_path, streaming):
    loaded = load_dataset(str(packed.folder), streaming=streaming, cache_dir=str(tmp_path))
    assert set(loaded) == set(PUBLIC.values())
    for split, public in PUBLIC.items():
        found, records = read(loaded[public])
        assert_same(found, records, packed.values[split])
        assert records == packed.records[split], "all keys and numbers of the record, none lost to an inferred schema"


@pytest.mark.slow
def test_the_card_has_the_types_that_datasets_infers(packed, tmp_path):
    """The types in the card equal those that `datasets` infers here, so the first five samples do not matter."""
    head = (packed.folder / "README.md").read_text().split("---\n")[1]
    card = Features._from_yaml_list(yaml.safe_load(head)["dataset_info"]["features"])
    files = {"train": str(packed.folder / "train" / "*.tar")}
    inferred = load_dataset(
        "webdataset", data_files=files, split="train", streaming=True, cache_dir=str(tmp_path)
    ).features
    assert card == inferred
    assert card["depth.png"] == Image()
    assert card["json"]["schema"].dtype == "int64"
    assert card["json"]["camera"]["source"]["K"].feature.dtype == "float64"


def test_a_stream_stops_and_resumes(packed, tmp_path):
    stream = load_dataset(str(packed.folder), split="train", streaming=True, cache_dir=str(tmp_path))
    keys = []
    for row in stream:
        keys.append(row["__key__"])
        if len(keys) == 3:
            state = stream.state_dict()
            break
    again = load_dataset(str(packed.folder), split="train", streaming=True, cache_dir=str(tmp_path))
    again.load_state_dict(state)
    assert keys + [row["__key__"] for row in again] == list(packed.values["train"])


def test_a_folder_with_one_split_loads(packed, tmp_path):
    from spatialdata_builder.shards.sidecars import write_sidecars

    folder = tmp_path / "set"
    shutil.copytree(packed.folder / "val", folder / "val")
    write_sidecars(str(folder))
    loaded = load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert {name: len(rows) for name, rows in loaded.items()} == {"validation": 2}
