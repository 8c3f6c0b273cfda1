"""Origins of layers: names of models and prompts that are meaningful on another machine."""

import hashlib
from dataclasses import replace

import pytest

from spatialdata_builder.annotators.vlm.prompts import FOLDER
from spatialdata_builder.pipeline.config import parse_config
from spatialdata_builder.pipeline.opened import Build, open_build
from spatialdata_builder.pipeline.registry import build_stages
from spatialdata_builder.pipeline.report.layer_origins import layer_origins, without_place


@pytest.fixture
def opened(finished) -> Build:
    return open_build(str(finished))


def with_layers(opened: Build, **layers: object) -> dict:
    """The origins of the build's layers, with other layers configured."""
    config = parse_config({**opened.config.model_dump(mode="json"), "layers": layers})
    stages = tuple(build_stages(config, {"root": "/release"}))
    return {maker.layer: maker for maker in layer_origins(replace(opened, config=config, stages=stages))}


def test_a_model_its_revision_and_its_prompts(opened):
    found = with_layers(
        opened,
        depth={"stage": "depth_anything_v2", "model": "some/Model-v2", "revision": "abc"},
        instruction={"stage": "qwen3_vl", "mode": "grounded"},
    )
    depth, instruction = found["depth"], found["instruction"]
    assert (depth.stage, depth.model, depth.revision) == ("depth_anything_v2", "some/Model-v2", "abc")
    assert depth.address == "https://huggingface.co/some/Model-v2"
    names = [prompt.name for prompt in instruction.prompts]
    assert names == [f"instruction_{name}_v1.txt" for name in ("system", "grounded", "fields")]
    for prompt in instruction.prompts:
        text = (FOLDER / prompt.name).read_text(encoding="utf-8").strip()
        assert prompt.sha256 == hashlib.sha256(text.encode()).hexdigest()[:16]
        assert prompt.version == "v1"
    assert found["checks"].folder.startswith("checks-") and found["checks"].fingerprint in found["checks"].folder


def test_paths_of_this_machine_are_not_published(opened, tmp_path):
    own = tmp_path / "mine.txt"
    own.write_text("What changed? $facts $fields")
    found = with_layers(
        opened,
        depth={"stage": "depth_anything_v2", "model": "/home/somebody/weights/depth"},
        instruction={"stage": "qwen3_vl", "prompt": str(own)},
    )
    assert (found["depth"].model, found["depth"].address) == ("depth", "")
    (prompt,) = [prompt for prompt in found["instruction"].prompts if not prompt.version]
    assert prompt.name == "mine.txt"
    assert str(tmp_path) not in str(found) and "somebody" not in str(found)
    assert without_place({"a": ["/x/y", "z"], "b": 1}) == {"a": ["y", "z"], "b": 1}
