"""Known sizes are used if they are plausible in some unit. Others never lead to absurd sizes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatialdata_builder.sources.assets.sizes import LARGEST, TYPICAL_EXTENT, find_size, plausible_range
from tests.sources.models import box, glb
from tests.sources.survey.test_geometry import asset, survey


@pytest.mark.parametrize(
    ("extent", "category", "expected"),
    [
        (0.1, "mug", 0.1),
        (2.0, "mug", 0.1),
        (2.0, "", 2.0),
        (200.0, "", 0.4),
        (90.0, "red chair", 0.8),
        (80, "toy car", 0.2),
    ],
)
def test_sizes(extent: float, category: str, expected: float):
    assert find_size((extent, extent, extent), category, None).scale * extent == pytest.approx(expected)


@pytest.mark.parametrize(
    ("category", "sides", "known", "expected", "word"),
    [
        ("refrigerator", (60, 170, 60), [60, 170, 60], 1.7, "centimeters"),
        ("refrigerator", (0.6, 1.7, 0.6), [600, 1700, 600], 1.7, "millimeters"),
        ("mug", (1, 1.2, 1), [8, 9.6, 8], 0.096, "centimeters"),
        ("mug", (1, 1.2, 1), [80, 96, 80], 0.096, "millimeters"),
        ("toy", (1, 1, 1), [150, 150, 150], 0.15, "millimeters"),
        ("", (60, 170, 60), [60, 170, 60], 1.7, "centimeters"),
        ("", (0.06, 0.17, 0.06), [60, 170, 60], 0.17, "millimeters"),
        ("mug", (1, 1, 1), [3, 3, 3], 0.1, "cannot be"),
        ("mug", (0.09, 0.1, 0.09), [2.7, 3, 2.7], 0.1, "cannot be"),
        ("refrigerator", (6, 17, 6), [0.007, 0.02, 0.007], 1.6, "cannot be"),
        ("", (1, 1, 1), [60000, 60000, 60000], 1.0, "cannot be"),
        ("", (1, 1, 1), [0.001, 0.001, 0.001], 1.0, "cannot be"),
        ("mug", (1, 1, 1), [0.1, 0.1, 2], 0.1, "not of this model"),
        ("chair", (1, 2, 1), [0.5, 1, 0], 2.0, "not of this model"),
        ("chair", (1, 2, 1), [0.5, 0.5, 1], 1.0, ""),
        ("car", (1, 1, 3), [100, 100, 300], 3.0, "centimeters"),
        ("tree", (1, 25, 1), [1, 25, 1], 4.0, "of a thing in a scene"),
        ("whale", (1, 1, 5), [5, 5, 25], 5.0, "of a thing in a scene"),
        ("school bus", (1, 1, 4), [3, 3, 12], 4.0, "of a thing in a scene"),
        ("airplane", (1, 1, 1), [0.3, 0.3, 0.3], 4.0, "of an airplane"),
        ("lego car", (1, 1, 1), [0.2, 0.2, 0.2], 0.2, ""),
    ],
)
def test_known_sizes_are_used_if_plausible(
    category: str, sides: tuple[float, float, float], known: list[float], expected: float, word: str
):
    found = find_size(sides, category, known)
    assert found.scale * max(sides) == pytest.approx(expected)
    assert word in found.note and bool(word) == bool(found.note)
    assert found.known == (word in ("", "centimeters", "millimeters"))


@pytest.mark.parametrize(
    ("category", "extent", "expected", "note"),
    [
        ("chair", 0.9, 0.9, ""),
        ("chair", 90.0, 0.9, "a file in centimeters"),
        ("chair", 900.0, 0.9, "a file in millimeters"),
        ("chair", 9.0, 0.8, ""),
        ("candle", 0.44, 0.44, ""),  # more than twice the typical size, and in the range of candles
        ("candle", 0.9, 0.1, ""),
        ("gizmo", 90.0, 0.9, "a file in centimeters"),
        ("gizmo", 1000.0, 1.0, "a file in millimeters"),
        ("gizmo", 1e6, 0.4, ""),
    ],
)
def test_the_unit_of_a_file_is_guessed(category: str, extent: float, expected: float, note: str):
    found = find_size((extent / 2, extent, extent / 3), category, None, guess_unit=True)
    assert found.scale * extent == pytest.approx(expected)
    assert (found.note, found.known) == (note, False)


def test_the_largest_side_alone_is_a_known_size():
    found = find_size((10, 20, 5), "chair", [0.9])
    assert found.scale * 20 == pytest.approx(0.9) and found.known and not found.note
    found = find_size((10, 20, 5), "chair", [90])
    assert found.scale * 20 == pytest.approx(0.9) and "centimeters" in found.note
    assert "cannot be the size of a chair" in find_size((10, 20, 5), "chair", [0.01]).note


@given(
    st.sampled_from(["", "gizmo", "refrigerator", "mug", "tree", "toy car", "car", "coin", "rug"]),
    st.tuples(*[st.floats(1e-4, 1e6)] * 3),
    st.floats(1e-6, 1e9),
)
def test_sizes_are_always_plausible(category: str, sides: tuple[float, float, float], factor: float):
    known = [side * factor for side in sides]
    for candidate in (None, known, [factor] * 3):
        size = find_size(sides, category, candidate).scale * max(sides)
        low, high = plausible_range(category)
        assert low * 0.99 <= size <= high * 1.01 <= LARGEST * 1.01


def test_every_typical_size_is_plausible():
    for name, extent in TYPICAL_EXTENT.items():
        low, high = plausible_range(name)
        assert low < extent < high <= LARGEST, name
        assert high / low <= 60, name


def test_the_size_note_is_stored_in_the_asset(tmp_path: Path):
    found = asset(survey(tmp_path, glb(box(60, 170, 60)), category="refrigerator", size_m=[60, 170, 60]))
    assert found.size_m == pytest.approx((0.6, 0.6, 1.7))
    assert found.size_note == "size_m 60 x 170 x 60 is in centimeters"
    assert asset(survey(tmp_path, None, category="refrigerator")).size_note == ""
