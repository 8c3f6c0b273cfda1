"""Predictions name the set that they are for, and survive what processes and people leave behind."""

import json
from pathlib import Path

import numpy as np
import pytest

from spatialdata_builder.evaluation.benchmarks import Benchmark, read_benchmark
from spatialdata_builder.evaluation.making import make_benchmark
from spatialdata_builder.evaluation.predictions import open_predictions, read_predictions
from spatialdata_builder.shards.codecs import decode_image, encode_image
from spatialdata_builder.shards.errors import BadInput

GRAY = np.full((8, 12, 3), 128, np.uint8)


def test_what_is_written_is_read(benchmark: Benchmark, tmp_path: Path):
    made = open_predictions(tmp_path / "pred", benchmark, editor="me", seed=3)
    first, second, third = benchmark.keys[:3]
    made.add(first, GRAY)
    made.fail(second, "no\nluck " + "x" * 10_000)
    made.fail(third, "later it worked")
    made.add(third, GRAY)
    made.tidy()
    found = read_predictions(tmp_path / "pred", benchmark)
    assert (found.editor, found.seed) == ("me", 3)
    assert [key for key in found.keys if found.has(key)] == [key for key in benchmark.keys if key in (first, third)]
    assert np.array_equal(decode_image(found.path(first).read_bytes()), GRAY)
    assert list(found.errors) == [second]
    assert found.errors[second].startswith("no luck xxx") and len(found.errors[second]) == 600
    lines = (tmp_path / "pred" / "errors.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"key": second, "error": found.errors[second]}]
    content = json.loads((tmp_path / "pred" / "predictions.json").read_text())
    assert content == {
        "format": "spatialdata-predictions-1",
        "benchmark": benchmark.digest,
        "editor": "me",
        "seed": 3,
    }


def test_predictions_for_another_set_are_refused_by_its_digest(out: Path, benchmark: Benchmark, tmp_path: Path):
    make_benchmark(str(out), tmp_path / "set", name="trial", per_kind=1)
    other = read_benchmark(tmp_path / "set")
    open_predictions(tmp_path / "pred", benchmark, editor="me", seed=0)
    for open_again in (read_predictions, lambda *given: open_predictions(*given, editor="me", seed=0)):
        with pytest.raises(BadInput, match=f"{benchmark.digest[:16]}.*{other.digest[:16]}"):
            open_again(tmp_path / "pred", other)


def test_a_process_that_was_killed_at_its_start_is_no_other_content(benchmark: Benchmark, tmp_path: Path):
    (tmp_path / "pred").mkdir()
    (tmp_path / "pred" / ".predictions.json.0123.tmp").touch()
    open_predictions(tmp_path / "pred", benchmark, editor="me", seed=0)


def test_an_error_holds_no_secret(benchmark: Benchmark, tmp_path: Path):
    made = open_predictions(tmp_path / "pred", benchmark, editor="me", seed=0)
    made.fail(benchmark.keys[0], "cannot open https://me:hunter2@host/x")
    assert "hunter2" not in (tmp_path / "pred" / "errors.jsonl").read_text()


def test_another_editor_or_seed_is_refused(benchmark: Benchmark, tmp_path: Path):
    open_predictions(tmp_path / "pred", benchmark, editor="me", seed=0)
    with pytest.raises(BadInput, match="predictions of me, seed 0, not of you, seed 0"):
        open_predictions(tmp_path / "pred", benchmark, editor="you", seed=0)
    with pytest.raises(BadInput, match="not of me, seed 1"):
        open_predictions(tmp_path / "pred", benchmark, editor="me", seed=1)


def test_bad_folders(benchmark: Benchmark, tmp_path: Path):
    with pytest.raises(BadInput, match=r"predictions.json is missing.*spatialdata edit"):
        read_predictions(tmp_path / "none", benchmark)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(BadInput, match="other content"):
        open_predictions(tmp_path, benchmark, editor="me", seed=0)
    with pytest.raises(BadInput, match="other content"):
        open_predictions(tmp_path / "notes.txt", benchmark, editor="me", seed=0)
    (tmp_path / "predictions.json").write_bytes(b'{"format": "x"}')
    with pytest.raises(BadInput, match=r"predictions.json: format"):
        read_predictions(tmp_path, benchmark)


@pytest.mark.parametrize("data", [b"", b"text", encode_image(GRAY, "png")[:-30], b"GIF89a"])
def test_an_image_that_cannot_be_read_does_not_count(benchmark: Benchmark, tmp_path: Path, data: bytes):
    made = open_predictions(tmp_path / "pred", benchmark, editor="me", seed=0)
    made.path(benchmark.keys[0]).write_bytes(data)
    assert not made.has(benchmark.keys[0])


def test_half_a_line_of_a_killed_process_hides_no_other(benchmark: Benchmark, tmp_path: Path):
    made = open_predictions(tmp_path / "pred", benchmark, editor="me", seed=0)
    first, second, third = benchmark.keys[:3]
    made.fail(first, "one")
    with (tmp_path / "pred" / "errors.jsonl").open("a") as file:
        file.write(f'{{"key": "{second}", "err')
    again = open_predictions(tmp_path / "pred", benchmark, editor="me", seed=0)
    again.fail(third, "three")
    assert read_predictions(tmp_path / "pred", benchmark).errors == {first: "one", third: "three"}
