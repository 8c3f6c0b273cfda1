"""One recipe's folder with three splits, as written by `spatialdata shard`, and what our own codecs read from it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spatialdata_builder.shards import codecs
from spatialdata_builder.shards.index import read_manifest
from spatialdata_builder.shards.layout import list_shards
from spatialdata_builder.shards.reader import read_record, read_samples
from spatialdata_builder.shards.sidecars import write_sidecars
from spatialdata_builder.shards.writer import encode_record
from tests.readers.pixels import Values, ours
from tests.shards.factory import SIDE, make_sample, make_split

KEYS = {
    "train": [["a-1", "a-2", "a-3", "a-4", "a-5", "a-6"], ["b-1", "b-2"]],
    "val": [["v-1", "v-2"]],
    "test": [["t-1"]],
}


@dataclass(frozen=True)
class Packed:
    """The recipe's folder, and by split and key the decoded members and the records."""

    folder: Path
    values: dict[str, dict[str, Values]]
    records: dict[str, dict[str, Any]]

    def shards(self, split: str) -> list[str]:
        return list_shards(str(self.folder / split))


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    folder = tmp_path_factory.mktemp("readers") / "shards" / "full"
    for split, keys in KEYS.items():
        make_split(str(folder / split), keys, split=split, changes={"a-6": different_sample("a-6")})
    write_sidecars(str(folder))
    values, records = {}, {}
    for split in KEYS:
        samples = [sample for shard in list_shards(str(folder / split)) for sample in read_samples(shard)]
        values[split] = {sample.key: ours(sample) for sample in samples}
        records[split] = {sample.key: json.loads(sample.members["json"]) for sample in samples}
        assert len(samples) == read_manifest(str(folder / split)).samples
    return Packed(folder, values, records)


def different_sample(key: str) -> dict[str, bytes]:
    """A sixth sample, unlike the five from which some readers infer a schema: other list lengths, 16-bit labels."""
    record = read_record(make_sample(key)["json"])
    third = record.objects[0].model_copy(update={"id": 300, "name": "box 300"})
    instruction = record.instruction.model_copy(update={"variants": ["Move it.", "Shift it.", "Push it."]})
    labels = np.zeros((SIDE, SIDE), np.uint16)
    labels[4:12, 2:10], labels[20:, 20:] = 1, 300
    changes = {"objects": [*record.objects, third], "instruction": instruction}
    return {
        "json": encode_record(record.model_copy(update=changes)),
        "source_instances.png": codecs.encode_labels(labels),
    }
