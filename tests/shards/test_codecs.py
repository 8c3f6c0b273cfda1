import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from spatialdata_builder.shards import codecs
from spatialdata_builder.shards.errors import BadInput

SHAPES = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)
NAMED = {"estimator": "test", "revision": "1"}


def images():
    return SHAPES.flatmap(lambda shape: arrays(np.uint8, (*shape, 3)))


@pytest.mark.slow
@given(images(), st.sampled_from(["webp", "png"]))
def test_lossless_images_return_their_pixels(rgb, codec):
    data = codecs.encode_image(rgb, codec)
    assert np.array_equal(codecs.decode_image(data), rgb)
    assert codecs.image_size(data) == (rgb.shape[1], rgb.shape[0])
    assert codecs.encode_image(rgb, codec) == data


def test_jpeg_does_not_subsample_chroma():
    rgb = np.zeros((64, 64, 3), np.uint8)
    rgb[:, 32:] = [255, 0, 0]
    decoded = codecs.decode_image(codecs.encode_image(rgb, "jpg")).astype(int)
    assert np.abs(decoded - rgb)[:, :24].max() == 0, "4:4:4 does not bleed beyond its 8-pixel block"
    assert np.abs(decoded - rgb).max() < 40


def test_decoding_ignores_orientation_and_alpha():
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 0] = [10, 20, 30]
    image, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    image.convert("RGBA").save(buffer, "PNG", exif=exif)
    assert np.array_equal(codecs.decode_image(buffer.getvalue()), pixels)


@given(
    st.one_of(
        SHAPES.flatmap(lambda shape: arrays(np.uint8, shape)),
        SHAPES.flatmap(lambda shape: arrays(np.int64, shape, elements=st.integers(0, 65535))),
    )
)
def test_labels_round_trip_in_the_smallest_type(labels):
    decoded = codecs.decode_labels(codecs.encode_labels(labels))
    assert np.array_equal(decoded, labels)
    assert decoded.dtype == (np.uint8 if labels.max() <= 255 else np.uint16)


@pytest.mark.parametrize("wrong", [[[-1]], [[65536]], [[0.5]], [1, 2]])
def test_labels_out_of_range_are_a_codec_error(wrong):
    with pytest.raises(codecs.CodecError):
        codecs.encode_labels(np.array(wrong))


@given(SHAPES.flatmap(lambda shape: arrays(np.int64, shape, elements=st.sampled_from([0, 1, 2, 7, 300, 2**40]))))
def test_relabel_numbers_regions_by_area(labels):
    new = codecs.relabel(labels)
    assert np.array_equal(new == 0, labels == 0)
    areas = np.bincount(new.ravel())[1:]
    assert np.all(areas > 0), "labels are contiguous"
    assert np.all(np.diff(areas) <= 0), "larger areas first"
    pairs = set(zip(labels.ravel().tolist(), new.ravel().tolist(), strict=True))
    assert len(pairs) == len(np.unique(labels)) == len(np.unique(new)), "regions are neither merged nor split"


def test_relabel_breaks_ties_by_the_old_label():
    assert codecs.relabel(np.array([[9, 4, 4, 9, 0, 2]])).tolist() == [[2, 1, 1, 2, 0, 3]]


@given(SHAPES.flatmap(lambda shape: arrays(np.bool_, shape)))
def test_masks_round_trip_as_0_and_255(mask):
    data = codecs.encode_mask(mask)
    assert np.array_equal(codecs.decode_mask(data), mask)
    assert set(np.unique(codecs.decode_labels(data))) <= {0, 255}


def test_a_mask_with_other_values_is_a_codec_error():
    with pytest.raises(codecs.CodecError, match="0 and 255"):
        codecs.decode_mask(codecs.encode_labels(np.array([[0, 1]])))


@given(SHAPES.flatmap(lambda shape: arrays(np.uint8, shape)))
def test_lines_round_trip(lines):
    assert np.array_equal(codecs.decode_lines(codecs.encode_lines(lines)), lines)


DEPTHS = st.one_of(st.floats(2**-10, 10000, width=32), st.sampled_from([0.0, -1.0, float("inf"), float("nan")]))


@given(SHAPES.flatmap(lambda shape: arrays(np.float32, shape, elements=DEPTHS)))
def test_metric_depth_is_exact_within_half_a_step(z):
    data, info = codecs.encode_metric(z, **NAMED)
    decoded = codecs.decode_depth(data, info)
    valid = np.isfinite(z) & (z > 0)
    assert info.kind == "metric" and info.unit == "m" and info.scale > 0
    assert np.all(decoded[~valid] == 0), "no depth stays no depth"
    if valid.any():
        assert (info.min, info.max) == (float(z[valid].min()), float(z[valid].max()))
        rounding = np.spacing(z[valid].max())
        assert np.abs(decoded[valid].astype(float) - z[valid]).max() <= info.scale / 2 + rounding
        assert np.all(decoded[valid] > 0)


@pytest.mark.parametrize("value", [1e-6, 2.7, 1e6])
def test_a_constant_depth_map_is_exact(value):
    z = np.full((3, 4), value, np.float32)
    assert np.array_equal(codecs.decode_depth(*codecs.encode_metric(z, **NAMED)), z)


def test_an_empty_depth_map_stays_empty():
    data, info = codecs.encode_metric(np.full((3, 4), np.inf, np.float32), **NAMED)
    assert not codecs.decode_depth(data, info).any()
    assert (info.min, info.max) == (0, 0)


def test_confidence_keeps_its_values_and_is_not_depth():
    certain = np.array([[1.0, 3.5], [40.25, np.nan]], np.float32)
    data, info = codecs.encode_confidence(certain, **NAMED)
    assert (info.kind, info.unit, info.min, info.max) == ("confidence", "", 0, 40.25)
    found = codecs.decode_confidence(data, info)
    np.testing.assert_allclose(found, np.nan_to_num(certain), atol=info.scale / 2 + 1e-5)
    with pytest.raises(codecs.CodecError, match="kind 'confidence' is not a depth map"):
        codecs.decode_depth(data, info)
    with pytest.raises(codecs.CodecError, match="kind 'metric' is not a confidence map"):
        codecs.decode_confidence(data, info.model_copy(update={"kind": "metric"}))
    metric, _ = codecs.encode_metric(np.array([[0, 2.0], [np.inf, 5]], np.float32), **NAMED)
    known = codecs.decode_confidence(*codecs.encode_default_confidence(metric, **NAMED))
    np.testing.assert_array_equal(known, [[0, 1], [0, 1]])


@given(SHAPES.flatmap(lambda shape: arrays(np.float32, shape, elements=st.floats(-100, 100, width=32))))
def test_relative_depth_keeps_its_values_and_range(inverse):
    data, info = codecs.encode_relative(inverse, **NAMED)
    decoded = codecs.decode_depth(data, info).astype(float)
    assert (info.min, info.max) == (float(inverse.min()), float(inverse.max()))
    assert np.abs(decoded - inverse).max() <= info.scale / 2 + np.spacing(np.float32(100))


def test_another_kind_or_bit_depth_is_not_decoded_as_depth():
    data, info = codecs.encode_metric(np.ones((2, 2), np.float32), **NAMED)
    with pytest.raises(codecs.CodecError, match="not a depth map"):
        codecs.decode_depth(data, codecs.map_info("normal", **NAMED))
    with pytest.raises(codecs.CodecError, match="16-bit"):
        codecs.decode_depth(codecs.encode_labels(np.array([[1]])), info)


@given(SHAPES.flatmap(lambda shape: arrays(np.float64, (*shape, 3), elements=st.floats(-1, 1))))
def test_normals_are_decoded_as_unit_vectors_or_zero(vectors):
    length = np.linalg.norm(vectors, axis=2, keepdims=True)
    normals = np.where(length > 0.1, vectors / np.maximum(length, 1e-9), 0).astype(np.float32)
    decoded = codecs.decode_normals(codecs.encode_normals(normals))
    none = ~normals.any(axis=2)
    assert not decoded[none].any()
    assert np.allclose(np.linalg.norm(decoded[~none], axis=1), 1, atol=1e-5)
    assert np.abs(decoded - normals).max() < 0.011


def test_a_zero_normal_is_the_documented_gray():
    data = codecs.encode_normals(np.zeros((1, 2, 3), np.float32))
    assert codecs.decode_image(data).tolist() == [[[128] * 3] * 2]
    with pytest.raises(codecs.CodecError, match="length one"):
        codecs.encode_normals(np.full((2, 2, 3), 0.1, np.float32))


DECODERS = [
    codecs.decode_image,
    codecs.decode_labels,
    codecs.decode_mask,
    codecs.decode_lines,
    codecs.decode_normals,
    codecs.image_size,
]


@pytest.mark.parametrize("decode", DECODERS)
@given(garbage=st.binary(max_size=200))
def test_garbage_is_a_codec_error(decode, garbage):
    with pytest.raises(codecs.CodecError):
        decode(garbage)


@pytest.mark.parametrize("codec", codecs.IMAGE_CODECS)
def test_truncated_images_are_a_codec_error(codec):
    rgb = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    data = codecs.encode_image(rgb, codec)
    for size in (0, 10, len(data) // 2, len(data) - 9):
        with pytest.raises(codecs.CodecError):
            codecs.decode_image(data[:size])


@given(st.data())
def test_a_changed_byte_of_a_png_is_always_a_codec_error(data):
    encoded = bytearray(codecs.encode_labels(np.arange(64).reshape(8, 8)))
    position = data.draw(st.integers(0, len(encoded) - 1), label="position")
    encoded[position] ^= data.draw(st.integers(1, 255), label="flip")
    with pytest.raises(codecs.CodecError):
        codecs.decode_labels(bytes(encoded))


def test_an_image_with_too_many_pixels_is_not_decoded():
    buffer = io.BytesIO()
    Image.new("1", (9000, 9000)).save(buffer, "PNG")
    with pytest.raises(BadInput, match="too large"):
        codecs.decode_image(buffer.getvalue())
    with pytest.raises(codecs.CodecError):
        codecs.decode_labels(buffer.getvalue())


@pytest.mark.parametrize(
    "encode, array",
    [
        (codecs.encode_image, np.zeros((2, 2), np.uint8)),
        (codecs.encode_image, np.zeros((2, 2, 3), np.float32)),
        (codecs.encode_image, np.zeros((2, 0, 3), np.uint8)),
        (codecs.encode_mask, np.zeros((2, 2), np.uint8)),
        (codecs.encode_lines, np.zeros((2, 2), np.bool_)),
        (codecs.encode_normals, np.zeros((2, 2), np.float32)),
    ],
)
def test_arrays_of_the_wrong_shape_or_type_are_a_codec_error(encode, array):
    with pytest.raises(codecs.CodecError, match="expected"):
        encode(array)
