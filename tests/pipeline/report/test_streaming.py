"""`spatialdata stream`: options of the stream, and what it says of the samples."""

import json
from pathlib import Path

from tests.pipeline.command_line import assert_fails, run
from tests.shards.factory import make_sample, make_split, with_family


def test_one_sample_of_each_family(tmp_path: Path):
    keys = ["a", "a-inv", "b", "b-inv"]
    make_split(str(tmp_path / "many"), [keys], changes={key: with_family(key, key[0]) for key in keys}, version=6)
    done = run("stream", tmp_path / "many", "--option", "one_per_family=true", "--json")
    assert done.code == 0, done
    found = json.loads(done.out)
    assert (found["samples"], found["epoch"], len(found["keys"])) == (4, 2, 2)
    done = run("stream", tmp_path / "many", "--option", "one_per_family=true")
    assert "4 samples, 2 of them in each epoch, images of 24 x 24; the first batch:" in done.out
    assert "4 samples, images of" in run("stream", tmp_path / "many").out
    record = json.loads(make_sample("a-inv")["json"])
    record["provenance"] |= {"derived": "invert", "origin": "a"}
    make_split(str(tmp_path / "old"), [["a", "a-inv"]], changes={"a-inv": {"json": json.dumps(record).encode()}})
    assert_fails(run("stream", tmp_path / "old", "--option", "one_per_family=true"), "stream without one_per_family")
