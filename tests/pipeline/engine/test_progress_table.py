"""The pace is the current one, and the table fits a narrow terminal."""

import io

import pytest
from rich.console import Console

from spatialdata_builder.pipeline.engine.progress_table import (
    LEAST,
    WINDOW_S,
    Meter,
    Queue,
    StageView,
    cost,
    count,
    duration,
    left_of,
    pace_of,
    plural,
    rate,
    rejections,
    spent,
    stages_table,
)


def test_the_pace_covers_the_last_two_minutes_only():
    slow = [(10.0 * index, 64) for index in range(100)]
    fast = [(990.0 + index, 64) for index in range(1, 301)]
    assert pace_of(slow + fast, now=1290.0) == pytest.approx(64.0)


def test_slow_steps_count_beyond_the_window():
    commits = [(600.0 * index, 64) for index in range(30)]
    now = commits[-1][0]
    assert now - commits[-2][0] > WINDOW_S
    assert pace_of(commits, now) == pytest.approx(64 / 600)
    assert pace_of(commits[:-1], now) == pytest.approx(64 * (LEAST - 1) / (LEAST * 600))


def test_the_pace_drops_without_steps_and_is_zero_before_the_first():
    commits = [(float(index), 10) for index in range(20)]
    paces = [pace_of(commits, now) for now in (19.0, 60.0, 600.0, 6000.0)]
    assert paces == sorted(paces, reverse=True)
    assert paces[0] == pytest.approx(10.0)
    assert paces[-1] < 0.02
    assert pace_of([(0.0, 0)], 10.0) == pace_of([], 10.0) == 0.0


def test_a_meter_counts_what_is_new():
    meter = Meter([(0.0, 0)])
    for now, done in ((0.0, 100), (10.0, 120), (20.0, 110), (30.0, 130)):
        meter.observe(done, now)
    assert (meter.done, meter.pace(30.0)) == (130, pytest.approx(1.0))
    meter.forget()
    meter.observe(66, 40.0)
    meter.observe(96, 60.0)
    assert (meter.done, meter.pace(60.0)) == (96, pytest.approx(1.0))


def test_time_left():
    going, done = StageView("pair", 100, 40, 6400, 2560, 32.0), StageView("depth", 100, 100, 6400, 6400)
    assert going.left_s == 120.0
    assert left_of([going, done]) == 120.0
    assert left_of([going, StageView("line", 100, 0, 6400, 0)]) is None
    assert left_of([done]) == 0.0


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits(width: int):
    stages = [
        StageView(
            "instruction",
            1_000_000,
            999_500,
            64_000_000,
            63_968_000,
            64.25,
            Queue(412_000, 16),
            {"no_true_wording": 2_100_000},
        ),
        StageView("pair", 1_000_000, 1_000_000, 64_000_000, 64_000_000, queue=Queue(0, 0)),
    ]
    console = Console(file=io.StringIO(), width=width)
    console.print(stages_table(stages, width))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text
    for cell in ("63.97M/64M", "64.2", "8 min 18 s", "412k+16", "2.1M", "done"):
        assert cell in text


def test_rejections_of_all_stages():
    counts = {"pair": {"a": 3, "b": 1}, "checks": {"a": 2, "c": 9}}
    stages = [StageView(layer, 1, 1, 64, 64, rejects=rejects) for layer, rejects in counts.items()]
    assert rejections(stages) == "rejected: checks c 9, pair a 3, checks a 2 and 1 other reason"
    assert rejections(stages[:1], most=2) == "rejected: pair a 3, pair b 1"
    assert rejections([]) == ""


def test_numbers():
    assert [count(value) for value in (0, 99_999, 100_000, 999_500, 64_000_000)] == [
        "0",
        "99,999",
        "100k",
        "999.5k",
        "64M",
    ]
    assert [duration(value) for value in (4.4, 185, 7740, 866 * 86400, 3 * 86400)] == [
        "4 s",
        "3 min 05 s",
        "2 h 09 min",
        "866 d",
        "3 d 00 h",
    ]
    assert [spent(value) for value in (0.0301, 0.45, 1.2, 185)] == ["30 ms", "0.45 s", "1 s", "3 min 05 s"]
    assert [plural(number, "shard") for number in (0, 1, 2000)] == ["0 shards", "1 shard", "2,000 shards"]
    assert [rate(value) for value in (0, 0.01234, 1.234, 12.34, 123.4)] == ["-", "0.0123", "1.23", "12.3", "123"]
    assert [cost(value) for value in (0.0012, 0.45, 12.34)] == ["1.2 ms", "0.45 s", "12.3 s"]
