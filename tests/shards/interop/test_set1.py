import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from spatialdata_builder.shards.interop.set1 import MAX_OBJECTS, SET1, MaskError, draw_mask, read_mask


@given(hnp.arrays(np.uint8, (7, 9), elements=st.integers(0, MAX_OBJECTS)), st.integers(-8, 8))
def test_masks_round_trip_with_shifted_colors(labels, shift):
    drawn = draw_mask(labels)
    shifted = np.clip(drawn.astype(int) + shift, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(read_mask(shifted, MAX_OBJECTS), labels)


def test_a_color_beyond_the_number_of_objects_is_an_error():
    labels = np.zeros((10, 10), np.uint8)
    labels[:2] = 3
    with pytest.raises(MaskError, match="20 of 100 pixels"):
        read_mask(draw_mask(labels), 2)


def test_a_few_stray_pixels_get_the_nearest_color():
    drawn = draw_mask(np.zeros((20, 20), np.uint8))
    drawn[3, 3] = (120, 90, 100)
    assert read_mask(drawn, 2).max() <= 2


def test_the_edited_object_is_blue():
    assert tuple(SET1[1]) == (55, 126, 184)
