"""A model that is damaged between survey and render is named in status and why, with the reason."""

import re
from pathlib import Path

import pytest

from tests.pipeline.command_line import run
from tests.sources.models import box, glb, make_cache


@pytest.mark.blender
def test_models_damaged_after_the_survey_are_named(tmp_path: Path):
    root = make_cache(tmp_path / "cache", {f"box{n}": glb(box(0.3, 0.3, 0.3 + n / 20)) for n in range(4)})
    settings = (
        *("source.kind=objaverse", f"source.root={root}", f"source.survey={tmp_path / 'survey'}"),
        *("samples=1", "edits={remove: 1}", "engine.kind=inline"),
        *("render.resolution=[64, 64]", "render.device=cpu", "shard.splits={train: 1, val: 0, test: 0}", "layers={}"),
        *("scene.objects=[2, 2]", "scene.attempts=20", "render.samples=2"),
    )

    given = [part for setting in settings for part in ("--set", setting)]
    assert run("build", "--out", tmp_path / "before", *given).code == 0
    for model in root.rglob("*.glb"):
        model.write_bytes(model.read_bytes()[:-40])
    out = tmp_path / "out"
    again = run("build", "--out", out, *given)
    assert again.code and "Traceback" not in again.err
    result = run("status", out).out
    # Each is sampled once; the last one is not enough for a scene.
    assert "proposals rejected and sampled again: broken_asset 3, too_few_models" in result
    named = re.findall(r"asset not rendered, 1 scene sampled again: (box\d\.glb: truncated): ", result)
    assert len(set(named)) == 3
    why = " ".join(run("why", out, "objaverse-0-00000000").out.split())
    assert "broken_asset" in why and all(name in why for name in named)
    # The same for an unfinished configuration, if another one is finished.
    run("build", "--out", tmp_path / "before", *given, "--set", "render.samples=3")
    result = run("status", tmp_path / "before").out
    assert all(f"unfinished: asset not rendered, 1 scene sampled again: {name}: " in result for name in named)
