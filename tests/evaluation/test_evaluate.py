import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from spatialdata_builder.evaluation.benchmarks import Benchmark
from spatialdata_builder.evaluation.editing import run_editor
from spatialdata_builder.evaluation.editors.registry import open_editor
from spatialdata_builder.evaluation.predictions import open_predictions
from spatialdata_builder.evaluation.report import Pictures
from spatialdata_builder.shards.codecs import encode_image
from tests.evaluation.scenes import scene
from tests.pipeline.command_line import run


def predicted(benchmark: Benchmark, editor: str, folder: Path) -> Path:
    run_editor(benchmark, open_editor(editor, benchmark, timeout_s=60), folder, seed=0)
    return folder


def test_copy_and_oracle_get_their_ends(benchmark: Benchmark, tmp_path: Path):
    copy, oracle = (predicted(benchmark, name, tmp_path / name) for name in ("copy", "oracle"))
    out = tmp_path / "report"
    done = run("evaluate", benchmark.folder, oracle, "--against", copy, "--out", out)
    assert done.code == 0, done.err
    report = json.loads((out / "report.json").read_text())
    first, second = (editor["groups"]["all"]["all"] for editor in report["editors"])
    for name, cell in first.items():
        assert cell["failures_worst"]["mean"] == cell["oracle"], name
        assert second[name]["failures_worst"]["mean"] == second[name]["copy"], name
        if "normalized" in cell:
            assert (cell["normalized"], second[name]["normalized"]) == (1, 0)
    assert len(report["keys"]) == report["benchmark"]["samples"] == len(benchmark.keys)
    assert report["first_minus_second"]["psnr"]["low"] > 0
    assert {"lpips", "depth_abs_rel"} <= report["absent"].keys()
    page = (out / "index.html").read_text()
    assert page.count("<section") == len(benchmark.keys)
    assert all((out / path.split("=")[1]).is_file() for path in page.split() if path.startswith("src=media"))
    assert r"\toprule" in (out / "report.tex").read_text() and "## Kind: rotate" in (out / "report.md").read_text()
    again = run("evaluate", benchmark.folder, oracle, "--out", out)
    assert again.code == 0 and "normalized" in again.out
    assert not list(out.glob("media/*/prediction-1.jpg"))  # of the first report, which had a second editor


def test_every_bad_prediction_is_a_named_failure(benchmark: Benchmark, tmp_path: Path):
    folder = predicted(benchmark, "oracle", tmp_path / "oracle")
    keys = list(benchmark.keys)
    (folder / f"{keys[0]}.png").unlink()
    (folder / f"{keys[1]}.png").write_bytes((folder / f"{keys[1]}.png").read_bytes()[:70])
    (folder / f"{keys[2]}.png").write_bytes(encode_image(np.zeros((30, 50, 3), np.uint8), "png"))
    (folder / f"{keys[3]}.png").write_bytes(b"")
    (folder / f"{keys[4]}.png").unlink()
    open_predictions(folder, benchmark, editor="oracle", seed=0).fail(keys[4], "the server was away")
    shutil.copy(folder / f"{keys[5]}.png", folder / "stranger.png")
    done = run("evaluate", benchmark.folder, folder, "--out", tmp_path / "report", "--json")
    assert done.code == 0, done.err
    (editor,) = json.loads(done.out)["editors"]
    assert editor["failures"] == {"editor_failed": 1, "empty": 1, "missing": 1, "not_an_image": 1, "wrong_aspect": 1}
    assert editor["extra_files"] == ["stranger.png"]
    cell = editor["groups"]["all"]["all"]["psnr"]
    assert cell["failures"] == 5 and cell["failures_left_out"]["mean"] == 99
    assert cell["failures_worst"]["mean"] == pytest.approx(99 * (1 - 5 / len(keys)))
    entries = json.loads((tmp_path / "report/report.json").read_text())["keys"]
    assert "the server was away" in entries[keys[4]]["editors"][0]["detail"]


def test_bad_input_is_one_line(benchmark: Benchmark, tmp_path: Path):
    copy = predicted(benchmark, "copy", tmp_path / "copy")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.doc").write_text("mine")
    for arguments in (
        (tmp_path, copy, "--out", tmp_path / "a"),
        (benchmark.folder, tmp_path, "--out", tmp_path / "b"),
        (benchmark.folder, copy, "--out", tmp_path / "full"),
    ):
        done = run("evaluate", *arguments)
        assert done.code == 2 and len(done.errors) == 1, done.err
    manifest = json.loads((copy / "predictions.json").read_text())
    (copy / "predictions.json").write_text(json.dumps(manifest | {"benchmark": "0" * 64}))
    done = run("evaluate", benchmark.folder, copy, "--out", tmp_path / "c")
    assert done.code == 2 and "another benchmark" in done.err


def test_pictures_of_the_worst_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from spatialdata_builder.evaluation import report
    from tests.evaluation.test_aggregate import item

    monkeypatch.setattr(report, "MAX_SHOWN", 2)
    truth, pictures = scene(), Pictures(tmp_path)
    for key, value in (("good", 1.0), ("bad", 90.0), ("fair", 50.0), ("worse", None)):
        pictures.add(truth, item(key, value), [truth.source, None])
    assert pictures.keys() == ["worse", "bad"]
    assert sorted(path.name for path in (tmp_path / "media").iterdir()) == ["bad", "worse"]
