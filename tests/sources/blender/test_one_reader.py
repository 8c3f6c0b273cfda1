"""The survey and Blender read files the same way: unusual models, and invalid files."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spatialdata_builder.sources.assets.glb import SUPPORTED_EXTENSIONS, GlbError, open_glb
from spatialdata_builder.sources.assets.primitives import count_triangles, read_primitives
from spatialdata_builder.sources.assets.surface_samples import check_images, z_up
from spatialdata_builder.sources.blender.environment import clean_environment
from spatialdata_builder.sources.blender.process import command
from tests.needs import needs
from tests.sources.odd_models import BROKEN, SOUND, UNWANTED

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).parents[1] / "measure_in_blender.py"


def surveyed(path: Path) -> dict[str, Any]:
    """The result of the survey in the form of `measure_in_blender.measure`: bounds and number of triangles."""
    try:
        glb = open_glb(path)
        count_triangles(glb)
        check_images(glb)
        primitives = read_primitives(glb)
    except GlbError as error:
        return {"error": error.detail}
    points = z_up(np.concatenate([primitive.positions for primitive in primitives]))
    triangles = sum(len(primitive.triangles) for primitive in primitives)
    return {"low": points.min(axis=0), "high": points.max(axis=0), "triangles": triangles}


@pytest.fixture(scope="module")
@needs("blender")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The results of the survey and of Blender for each model, by name; and the extensions that Blender supports."""
    folder = tmp_path_factory.mktemp("odd")
    files: dict[str, Path] = {}
    ours: dict[str, Any] = {}
    for number, (name, data) in enumerate((SOUND | BROKEN | UNWANTED).items()):
        files[name] = folder / f"{number}.glb"
        files[name].write_bytes(data)
        ours[name] = surveyed(files[name])
        if "low" in ours[name]:  # loaded as in scenes, with the center of its base at the origin
            low, high = ours[name]["low"], ours[name]["high"]
            offset = -np.array([*(low + high)[:2] / 2, low[2]])
            ours[name] = {"low": low + offset, "high": high + offset, "triangles": ours[name]["triangles"]}
            files[name].with_suffix(".json").write_text(json.dumps(offset.tolist()))
    python = command("")[0]
    done = subprocess.run(
        [python, "-I", str(SCRIPT), str(ROOT), *map(str, files.values())],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    reply = json.loads(done.stdout)
    theirs = {name: reply["files"][str(file)] for name, file in files.items()}
    return {"ours": ours, "theirs": theirs, "extensions": reply["extensions"]}


def test_supported_extensions_are_those_of_blender(both: dict[str, Any]):
    assert sorted(SUPPORTED_EXTENSIONS) == both["extensions"]


@pytest.mark.parametrize("name", SOUND)
def test_survey_and_blender_measure_the_same(both: dict[str, Any], name: str):
    ours, theirs = both["ours"][name], both["theirs"][name]
    assert "error" not in ours and "error" not in theirs, (ours, theirs)
    size = float((ours["high"] - ours["low"]).max())
    for end in ("low", "high"):
        assert np.asarray(theirs[end]) == pytest.approx(ours[end], abs=2e-6 * size), (ours, theirs)
    assert theirs["triangles"] == ours["triangles"]


@pytest.mark.parametrize("name", BROKEN | UNWANTED)
def test_what_blender_cannot_read_is_reported(both: dict[str, Any], name: str):
    detail = both["ours"][name].get("error", "")
    assert 0 < len(detail) < 350 and "\n" not in detail
    assert (name in UNWANTED) or both["theirs"][name]["error"]  # the process survives and reports why
