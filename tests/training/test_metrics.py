"""Trackers of metrics and images, in addition to metrics.jsonl."""

import json
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.training.metrics import check_logger, read_metrics
from tests.training.linear import run
from tests.training.test_processes import start

needs_wandb = pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed: it is in the extra wandb")


@needs_wandb
def test_wandb_gets_all_metrics_and_images(triplets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for steps, resumed in ((3, 0), (5, 3)):
        done = run(triplets, tmp_path, "log=wandb", f"steps={steps}", "save_every=3", "validate_every=2")
        assert done.resumed == resumed
    paths = sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    assert len(paths) == 2
    while any(list(records(path))[-1].WhichOneof("record_type") != "exit" for path in paths):
        time.sleep(0.05)  # wandb's own process finishes the files
    logs = [list(records(path)) for path in paths]
    runs = [next(record.run for record in log if record.WhichOneof("record_type") == "run") for log in logs]
    assert runs[0].run_id == runs[1].run_id, "the second start resumes the same run"
    assert {each.display_name for each in runs} == {tmp_path.name}
    assert {item.key: item.value_json for item in runs[0].config.update}["batch_size"] == "2"
    steps = {step: values for log in logs for step, values in history(log).items()}
    lines = read_metrics(tmp_path)
    assert [line["step"] for line in lines] == sorted(steps) == [1, 2, 3, 4, 5]
    for line in lines:
        assert {name: steps[line["step"]][name] for name in line} == pytest.approx(line)
    shown = {step for step, values in steps.items() if "samples/filenames" in values}
    assert shown == {2, 3, 4, 5}, "every second step, and the last step of each start"
    assert len(list(tmp_path.glob("wandb/offline-run-*/files/media/images/samples_*.png"))) == 4


@needs_wandb
def test_wandb_without_login_gives_a_one_line_error(triplets: Path, tmp_path: Path):
    env = {"WANDB_MODE": "online", "WANDB_API_KEY": "", "HOME": str(tmp_path), "NETRC": str(tmp_path / "none")}
    done = start([str(triplets), str(tmp_path / "run"), "log=wandb", "steps=1"], **env)
    (line,) = (line for line in done.stderr.splitlines() if line.startswith(f"{BadInput.__module__}.BadInput: "))
    assert "wandb cannot start (No API key" in line and "`wandb login`, or set WANDB_MODE=offline" in line


@pytest.mark.skipif(find_spec("wandb") is not None, reason="wandb is installed here")
def test_a_missing_logger_gives_a_one_line_error_with_its_extra():
    with pytest.raises(BadInput, match=r"wandb, which is not installed: run `pip install .*\[wandb\]'`"):
        check_logger("wandb")


def history(log: list[Any]) -> dict[int, dict[str, Any]]:
    """The logged values by step."""
    return {
        record.history.step.num: {
            item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item
        }
        for record in log
        if record.WhichOneof("record_type") == "history"
    }


def records(path: Path) -> Iterator[Any]:
    """The records of an offline run's file: LevelDB's log format after a header of seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data = path.read_bytes()
    assert data[:4] == b":W&B"
    at, whole = 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a complete record, or its last fragment
            yield Record.FromString(whole)
            whole = b""
