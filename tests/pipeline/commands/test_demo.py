"""The content and output of `make demo`, at a smaller size."""

import json
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from spatialdata_builder.pipeline.commands.demo import DEMO
from spatialdata_builder.pipeline.config import parse_config
from spatialdata_builder.pipeline.planning.scene_rows import plan_scenes
from spatialdata_builder.shards.schema import EDIT_KINDS
from tests.pipeline.releases import spatialdata


def test_the_demo_has_every_kind_of_edit():
    config = parse_config(DEMO)
    assert isinstance(config.samples, int)
    assert config.samples >= 24
    assert config.render.resolution == (256, 256)
    edits = {str(kind): weight for kind, weight in config.edits.weights.items()}
    kinds: Counter[str] = Counter()
    for batch in plan_scenes(config.samples, config.seed, edits, {"train": 1.0}):
        kinds.update(json.loads(spec)["edit"] for spec in batch["spec"].to_pylist())
    assert set(kinds) == set(EDIT_KINDS)
    assert set(config.scene.kinds) == {"open", "room", "tabletop", "garden"}
    assert min(kinds.values()) >= 4


@pytest.mark.blender
def test_it_prints_its_results_and_the_next_commands(tmp_path: Path):
    out = tmp_path / "demo"
    small = ["samples=6", "render.resolution=[64, 64]", "render.samples=1", "source.variants=3"]
    settings = [*small, "shard.splits={train: 1, val: 0, test: 0}", "engine.kind=inline"]
    done = spatialdata("demo", "--out", str(out), *(part for text in settings for part in ("--set", text)))
    assert done.returncode == 0, done.stderr
    picture = out / "contact.png"
    assert str(picture) in done.stdout
    with Image.open(picture) as image:
        assert image.width > 1000
    assert "verified" in done.stdout
    assert done.stdout.endswith(f"{out / 'gallery' / 'index.html'}\n")
    assert (out / "gallery" / "index.html").is_file()
    assert f"spatialdata shard {out} --recipe spatialdiff" in done.stdout
