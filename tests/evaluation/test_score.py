import cv2
import numpy as np
import pytest

from spatialdata_builder.evaluation.score import PredictionFault, groups_of, read_prediction, score
from spatialdata_builder.shards.codecs import encode_image
from tests.evaluation.scenes import SIDE, scene


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def test_what_is_an_image():
    truth = scene()
    gray = np.full((SIDE, SIDE), 77, np.uint8)
    image, resized = read_prediction(png(gray), truth)
    assert image.shape == truth.target.shape and (image == 77).all() and not resized
    image, _ = read_prediction(png(np.full((SIDE, SIDE, 3), 77 * 257, np.uint16)), truth)
    assert image.dtype == np.uint8 and (image == 77).all()
    image, _ = read_prediction(png(np.dstack([gray, gray, gray, np.zeros_like(gray)])), truth)
    assert (image == 77).all()


def test_other_sizes_of_the_same_shape_are_resized():
    truth = scene()
    twice = cv2.resize(truth.target, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    image, resized = read_prediction(encode_image(twice, "png"), truth)
    assert resized and (image == truth.target).all()
    image, resized = read_prediction(encode_image(truth.target[::2, ::2].copy(), "png"), truth)
    assert resized and image.shape == truth.target.shape


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"sorry", "not_an_image"),
        (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n", "not_an_image"),
        (encode_image(np.zeros((SIDE, SIDE, 3), np.uint8) + np.uint8(9), "png")[:60], "not_an_image"),
        (encode_image(np.zeros((SIDE, SIDE + 8, 3), np.uint8), "png"), "wrong_aspect"),
    ],
)
def test_what_is_none(data: bytes, reason: str):
    with pytest.raises(PredictionFault) as fault:
        read_prediction(data, scene())
    assert fault.value.reason == reason


def test_copy_and_oracle_frame_all_scores():
    truth = scene()
    copy, oracle = score(truth, truth.source).values, score(truth, truth.target).values
    assert copy.keys() == oracle.keys()
    assert None not in oracle.values()
    assert groups_of(truth) == {"kind": "translate", "relation": "direction", "category": "mug"}
