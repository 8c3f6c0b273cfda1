"""Decodes members in two ways: with `shards.codecs`, and from another reader's raw pixels only by docs/formats.md."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from spatialdata_builder.shards import codecs
from spatialdata_builder.shards.reader import StoredSample, read_record

Values = dict[str, np.ndarray]
"""By member name without extension."""


def ours(sample: StoredSample) -> Values:
    """Images uint8, labels as stored, masks bool, depth float32, normals unit vectors."""
    maps = read_record(sample.members["json"]).maps.model_dump()
    return {name: _decode(name, data, maps) for name, data in sample.members.items() if name != "json"}


def _decode(name: str, data: bytes, maps: Mapping[str, Any]) -> np.ndarray:
    match name.removeprefix("source_"):
        case "source" | "target":
            return codecs.decode_image(data)
        case "depth" | "metric":
            return codecs.decode_depth(data, codecs.MapInfo(**maps[name]))
        case "normal":
            return codecs.decode_normals(data)
        case "changed":
            return codecs.decode_mask(data)
        case _:
            return codecs.decode_labels(data)


def pillow(data: bytes) -> np.ndarray:
    """The pixels as stored."""
    return np.asarray(Image.open(io.BytesIO(data)))


def theirs(name: str, pixels: np.ndarray, record: Mapping[str, Any]) -> np.ndarray:
    """Decode a member's raw pixels as docs/formats.md describes."""
    match name.removeprefix("source_"):
        case "depth" | "metric":
            assert pixels.dtype == np.uint16, f"{name} has lost its 16 bits: {pixels.dtype}"
            info = record["maps"][name]
            values = (info["offset"] + info["scale"] * pixels.astype(np.float64)).astype(np.float32)
            return np.where(pixels == 0, np.float32(0), values) if info["kind"] == "metric" else values
        case "normal":
            vectors = pixels.astype(np.float64) / 127.5 - 1
            vectors[(pixels == 128).all(axis=2)] = 0
            length = np.linalg.norm(vectors, axis=2, keepdims=True)
            return (vectors / np.where(length > 0, length, 1)).astype(np.float32)
        case "changed":
            return pixels == 255
        case _:
            return pixels


def assert_same(
    found: Mapping[str, Mapping[str, np.ndarray]], records: Mapping[str, Any], expected: Mapping[str, Values]
):
    """Compare a split read by another reader (key: member: raw pixels) with ours: all samples, members and pixels."""
    assert found.keys() == records.keys() == expected.keys()
    for key, members in found.items():
        assert members.keys() == expected[key].keys()
        for name, pixels in members.items():
            values, wanted = theirs(name, pixels, records[key]), expected[key][name]
            assert (values.dtype, values.shape) == (wanted.dtype, wanted.shape), (key, name)
            if values.dtype == np.float32:
                # A step of 16-bit depth is 1e-5 of these maps' range; the order of float operations may differ.
                np.testing.assert_allclose(values, wanted, rtol=1e-6, atol=1e-6, err_msg=f"{key} {name}")
            else:
                assert np.array_equal(values, wanted), (key, name)
