"""croissant.json is valid, and mlcroissant loads rows, records and images with it."""

import hashlib
import json

import pytest

from tests.readers.apart import load_pixels, needs_environment, run_apart
from tests.readers.pixels import assert_same

RECOMMENDED = ("citeAs", "datePublished")
"""Recommended properties that are unknown when a set is packed."""


def test_every_tar_is_listed_with_its_digest(packed):
    content = json.loads((packed.folder / "croissant.json").read_bytes())
    listed = {
        entry["contentUrl"]: entry["sha256"] for entry in content["distribution"] if entry["@type"] == "cr:FileObject"
    }
    tars = sorted(packed.folder.glob("*/*.tar"))
    assert listed == {f"{tar.parent.name}/{tar.name}": hashlib.sha256(tar.read_bytes()).hexdigest() for tar in tars}
    assert content["license"] == ["cc0"]


@pytest.mark.readers
@needs_environment
def test_mlcroissant_validates_it_and_loads_everything(packed, tmp_path):
    # mlcroissant's cache of extracted archives uses relative names as keys, so another set could be read from it.
    cache = {"CROISSANT_CACHE": str(tmp_path / "cache")}
    run_apart("croissant_apart", packed.folder, tmp_path / "pixels.npz", tmp_path / "texts.json", env=cache)
    texts = json.loads((tmp_path / "texts.json").read_bytes())
    assert texts["errors"] == []
    assert all(any(name in warning for name in RECOMMENDED) for warning in texts["warnings"]), texts["warnings"]
    found = load_pixels(tmp_path / "pixels.npz")
    for split, samples in found.items():
        assert_same(samples, packed.records[split], packed.values[split])
    records = {key: record for split in packed.records.values() for key, record in split.items()}
    assert texts["records"] == records
    assert {row["key"]: (row["split"], row["edit"], row["instruction"]) for row in texts["rows"]} == {
        key: (record["split"], record["edit"]["kind"], record["instruction"]["text"]) for key, record in records.items()
    }
    assert {row["score_visible_target"] for row in texts["rows"]} == {1.0}
