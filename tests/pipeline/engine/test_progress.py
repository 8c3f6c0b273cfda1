"""Progress counts finished samples; logs stay short."""

import io
import json

import pytest

from spatialdata_builder.pipeline.engine.progress import PlainProgress, Progress, TerminalProgress, make_progress
from spatialdata_builder.pipeline.engine.progress_table import Queue
from spatialdata_builder.pipeline.engine.runner import UnitSummary


def feed(progress: Progress) -> None:
    """Two units are found and three committed, one of the found ones is lost, and 12 samples are in parts."""
    progress.start(10, 631, {"pair": 2, "depth": 0}, {"pair": 128, "depth": 0})
    for unit in range(3):
        progress.committed(UnitSummary("pair", unit, 60, 1000, {"too_dark": 3, "error": 1}, 2.0, 1.5))
        progress.tick({"pair": Queue(5, 2), "depth": Queue(0, 1)}, {"pair": 140 + 64 * (unit + 1), "depth": 0})
    progress.quarantined("pair", "scene-7", "it kills its worker")
    progress.reopened("pair")
    progress.tick({"pair": Queue(5, 2), "depth": Queue(0, 1)}, {"pair": 268, "depth": 0})


def test_plain_lines_are_few_and_complete():
    stream = io.StringIO()
    progress = PlainProgress(stream)
    feed(progress)
    progress.stop()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "631 samples in 10 units; already done: pair 128, depth 0"
    assert lines[1] == "sample scene-7 is quarantined from layer pair: it kills its worker"
    assert lines[2].startswith("after 0 s: pair 268/631 samples (4/10 units), ")
    assert "samples/s" in lines[2]
    assert "left, 5 ready, 2 in progress, 12 rejected (9 too_dark, 3 error); depth 0/631 samples (0/10" in lines[2]
    assert len(lines) == 3


def test_the_first_line_explains_what_is_counted():
    stream = io.StringIO()
    PlainProgress(stream).start(10, 631, {"pair": 2}, {"pair": 128}, "a note")
    (line,) = stream.getvalue().splitlines()
    assert line == "631 samples in 10 units; already done: pair 128; a note"


def test_the_pace_and_the_time_left_are_those_of_samples():
    """A unit that is committed adds the samples that its parts had not, even if the parts are gone a moment before."""
    progress = Progress()
    progress.start(2, 128, {"pair": 0}, {"pair": 4})
    busy = {"pair": Queue(1, 1)}
    for done in (4, 24, 44, 0, 64):
        progress.tick(busy, {"pair": done})
        assert progress.views()[0].samples_done == (done or 44)
    (view,) = progress.views()
    assert (view.done, view.units, view.samples_done, view.samples) == (0, 2, 64, 128)
    assert view.left_s is not None
    assert view.left_s * view.pace == pytest.approx(64)


def test_stages_with_equal_counts_share_an_entry():
    stream = io.StringIO()
    progress = PlainProgress(stream)
    none = {"pair": 0, "depth": 0, "line": 0, "screen": 0}
    progress.start(2, 128, none, none)
    for layer in ("pair", "depth", "line"):
        progress.committed(UnitSummary(layer, 0, 64, 1000, {}, 2.0, 1.5))
    progress.committed(UnitSummary("screen", 0, 63, 1000, {"too_dark": 1}, 2.0, 1.5))
    idle = Queue(0, 0)
    progress.tick({"pair": Queue(0, 1), "depth": idle, "line": idle, "screen": idle}, dict.fromkeys(none, 64))
    progress.stop()
    parts = stream.getvalue().splitlines()[-1].split("; ")
    assert [part.partition(" units)")[0] for part in parts] == [
        "after 0 s: pair 64/128 samples (1/2",
        "depth, line 64/128 samples (1/2",
        "screen 64/128 samples (1/2",
    ]


def test_every_tick_can_print_a_line():
    stream = io.StringIO()
    progress = PlainProgress(stream, every_s=0)
    feed(progress)
    assert len(stream.getvalue().splitlines()) == 6


def test_the_summary_is_json():
    progress = Progress()
    feed(progress)
    found = json.loads(json.dumps(progress.stop().to_json()))
    assert found["stages"]["pair"] == {
        "units": 10,
        "done": 4,
        "found": 1,
        "samples_planned": 631,
        "samples_done": 268,
        "samples": 180,
        "bytes": 3000,
        "seconds": 6.0,
        "cpu_seconds": 4.5,
        "rejects": {"error": 3, "too_dark": 9},
    }
    assert found["quarantined"] == ["pair/scene-7"]
    assert len(found["notes"]) == 1


def test_a_table_is_drawn(capsys: pytest.CaptureFixture[str]):
    progress = TerminalProgress()
    feed(progress)
    progress.stop()
    captured = capsys.readouterr()
    assert captured.out == ""
    (row,) = [line for line in captured.err.splitlines() if line.startswith("pair ")]
    assert row.split()[1] == "268/631" or row.split()[2] == "268/631"
    assert row.split()[-2:] == ["5+2", "12"]
    assert "rejected: pair too_dark 9, pair error 3" in captured.err


def test_the_kind_of_progress_without_a_terminal():
    assert type(make_progress(quiet=True)) is Progress
    assert isinstance(make_progress(), PlainProgress)
