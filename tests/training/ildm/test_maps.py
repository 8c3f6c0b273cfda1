import numpy as np
import pytest

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.training.ildm.maps import MapLayout, palette

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 40, (2, 6, 6)).astype(np.uint16)


def batch() -> dict[str, np.ndarray]:
    normal = RANDOM.normal(size=(2, 6, 6, 3)).astype(np.float32)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    normal[:, 0] = 0
    return {
        "depth": RANDOM.random((2, 6, 6), dtype=np.float32),
        "normal": normal,
        "segment": LABELS,
        "line": RANDOM.integers(0, 256, (2, 6, 6), dtype=np.uint8),
    }


def test_packed_maps_are_unpacked_unchanged():
    given = batch()
    layout = MapLayout()
    stack = layout.pack(given, "target")
    assert stack.shape == (2, 8, 6, 6) and stack.dtype == np.float32
    assert stack.min() >= -1 and stack.max() <= 1
    np.testing.assert_allclose(stack[:, 0], given["depth"] * 2 - 1, atol=1e-6)
    np.testing.assert_array_equal(stack[:, 1:4].transpose(0, 2, 3, 1), given["normal"])
    np.testing.assert_allclose(stack[:, 7], given["line"] / 127.5 - 1, atol=1e-6)
    back = layout.unpack(stack)
    np.testing.assert_allclose(back["depth"], given["depth"], atol=1e-6)
    np.testing.assert_allclose(back["normal"], given["normal"], atol=1e-6)
    np.testing.assert_array_equal(back["line"], given["line"])


def test_labels_become_distinct_colors():
    stack = MapLayout().pack(batch(), "target")[:, 4:7].transpose(0, 2, 3, 1)
    for label in np.unique(LABELS):
        colors = np.unique(stack[label == LABELS], axis=0)
        assert len(colors) == 1, "one color per label"
    np.testing.assert_array_equal(palette(3)[0], [-1, -1, -1])
    first = palette(3)[:32].astype(np.float64)
    apart = np.linalg.norm(first[:, None] - first[None], axis=-1)[~np.eye(32, dtype=bool)]
    assert apart.min() > 0.25


def test_colors_are_the_generalized_golden_ratio_sequence():
    golden = (1 + 5**0.5) / 2
    np.testing.assert_allclose(palette(1)[5, 0], (0.5 + 5 / golden) % 1 * 2 - 1, atol=1e-6)
    plastic = 1.2207440846057596  # g^4 = g + 1
    expected = [(0.5 + 7 / plastic**power) % 1 * 2 - 1 for power in (1, 2, 3)]
    np.testing.assert_allclose(palette(3)[7], expected, atol=1e-6)


def test_channels_depend_on_the_configuration():
    layout = MapLayout(("line", "segment"), segment_channels=1)
    assert layout.slices == {"line": slice(0, 1), "segment": slice(1, 2)}
    stack = layout.pack(batch(), "target")
    np.testing.assert_array_equal(stack[:, 1], palette(1)[LABELS][..., 0])
    assert {name: each.shape for name, each in layout.pictures(stack).items()} == {
        "line": (2, 6, 6, 3),
        "segment": (2, 6, 6, 3),
    }


def test_a_missing_map_is_named_with_its_layer():
    with pytest.raises(BadInput, match=r"source_depth: build layer `depth` with views \[source, target\]"):
        MapLayout().pack(batch(), "source")
