"""Models as `.gltf`: JSON with buffers and images in other files."""

import json
from pathlib import Path

import numpy as np
import pytest

from spatialdata_builder.sources.assets.glb import GlbError, open_glb
from spatialdata_builder.sources.assets.identity import content_of
from spatialdata_builder.sources.assets.primitives import read_primitives
from tests.sources.models import box, glb, write_gltf


def test_it_is_read_like_a_glb(tmp_path: Path):
    data = glb(box(0.4, 0.6, 0.2))
    (tmp_path / "model.glb").write_bytes(data)
    write_gltf(tmp_path / "Model.GLTF", data)
    (one,), (other,) = (read_primitives(open_glb(tmp_path / name)) for name in ("model.glb", "Model.GLTF"))
    assert np.array_equal(one.positions, other.positions) and np.array_equal(one.triangles, other.triangles)


def test_its_content_is_that_of_all_its_files(tmp_path: Path):
    for name, height in (("a", 0.6), ("b", 0.6), ("c", 0.7)):
        (tmp_path / name).mkdir()
        write_gltf(tmp_path / name / "scene.gltf", glb(box(0.4, height, 0.2)))
    same = json.loads((tmp_path / "a/scene.gltf").read_text())
    (tmp_path / "c/scene.gltf").write_text(json.dumps(same))  # the buffer alone differs
    a, b, c = (content_of(tmp_path / name / "scene.gltf") for name in "abc")
    assert a == b != c


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("", "broken glTF"),
        ("\ufeff{}", "broken glTF"),
        ('{"asset": {"version": "1.0"}}', "asset version"),
        ('{"asset": {"version": "2.0"}, "buffers": [{"byteLength": 4, "uri": "gone.bin"}]}', "does not exist"),
        (
            '{"asset": {"version": "2.0"}, "buffers": [{"byteLength": 4, "uri": "../away.bin"}]}',
            "is not in the model's folder",
        ),
    ],
)
def test_a_broken_one_has_a_reason(text: str, detail: str, tmp_path: Path):
    (tmp_path / "away.bin").write_bytes(b"away")
    (tmp_path / "models").mkdir()
    (tmp_path / "models/scene.gltf").write_text(text, encoding="utf-8")
    with pytest.raises(GlbError, match=detail) as caught:
        open_glb(tmp_path / "models/scene.gltf")
    assert caught.value.reason == "unreadable"
