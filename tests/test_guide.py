"""The guide works as it is written: its commands run in order, its YAML goes into `mine.yaml`, its Python runs.

Only sizes are smaller: the test edits `mine.yaml` further, as a reader may, and gives the trainer the size. What needs
another machine or the network is left out by name.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pipeline.releases import CHECKOUT

GUIDE = CHECKOUT / "docs" / "guide.md"
ELSEWHERE = ("git clone", "make demo", "pip install", "export ", "ray job submit")
"""The demo has a test of its own, and so has a Ray job."""
SMALL = {"samples": 14, "render": {"resolution": [64, 64], "samples": 1}, "source": {"variants": 3}}
SIZE = ("--set", "recipe.width=64", "--set", "recipe.height=64")


def blocks() -> Iterator[tuple[str, str]]:
    """Language (empty: a shell) and text of each code block."""
    yield from re.findall(r"^```(\w*)\n(.*?)^```", GUIDE.read_text(), re.S | re.M)


def merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        key: merged(base[key], value) if isinstance(base.get(key), dict) and isinstance(value, dict) else value
        for key, value in more.items()
    }
    return {**base, **both}


def ran(arguments: list[str], folder: Path) -> str:
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(arguments, cwd=folder, env=env, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, f"{shlex.join(arguments)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.blender
@pytest.mark.ray
@pytest.mark.torch
def test_every_step_of_the_guide_runs(tmp_path: Path):
    (tmp_path / "examples").symlink_to(CHECKOUT / "examples")
    configuration, out = tmp_path / "mine.yaml", tmp_path / "out" / "mine"
    printed: dict[str, str] = {}
    for language, text in blocks():
        if language == "yaml":
            edited = merged(yaml.safe_load(configuration.read_text()), yaml.safe_load(text))
            configuration.write_text(yaml.safe_dump(merged(edited, SMALL)))
        elif language == "python":
            ran([sys.executable, "-c", text], tmp_path)
        else:
            for line in text.splitlines():
                command = line.partition("  #")[0].strip()
                if command.startswith(ELSEWHERE):
                    continue
                if "KEY" in command:
                    command = command.replace("KEY", first_key(out))
                words = shlex.split(command)
                if words[0] == "spatialdata":
                    words = [sys.executable, "-m", "spatialdata_builder.pipeline.cli", *words[1:]]
                trains = command.startswith("spatialdata train spatialdiff")
                printed[command] = ran([*words, *SIZE] if trains else words, tmp_path)
    assert (out / "gallery" / "index.html").is_file()
    assert (out / "shards" / "full" / "ATTRIBUTION.md").is_file()
    assert len(list((out / "layers").glob("line-*"))) == 2
    assert len(list((out / "layers").glob("pair-*"))) == 1
    audited = next(text for command, text in printed.items() if command.startswith("spatialdata audit"))
    assert "line" in audited
    picture = next(text for command, text in printed.items() if command.startswith("spatialdata train sample"))
    assert Path(tmp_path, picture.strip()).is_file()


def first_key(out: Path) -> str:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(out / "plan" / "units.parquet", columns=["key"])["key"][0].as_py()
