"""Released pairs and their inverses: identical output after kills, resumes and on both engines."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from spatialdata_builder.pipeline.report.why.why import why_of
from spatialdata_builder.sources.edits.registry import inverse_kind
from tests.pipeline.command_line import run
from tests.pipeline.releases import CHECKOUT, build_arguments, files_of, spatialdata, write_release
from tests.pipeline.test_derived_build import inverses, samples_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("release"), 24)


@pytest.fixture(scope="module")
def undisturbed(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    done = run(*build_arguments(release, out, "edits.invert=true"))
    assert done.code == 0, done
    return out


def test_rebuilding_an_inverse_changes_nothing(undisturbed: Path, tmp_path: Path):
    key = next(key for key in samples_of(undisturbed) if key.endswith("-inv"))
    result = run("rebuild", undisturbed, key, "--json")
    assert result.code == 0, result
    assert json.loads(result.out)["changed"] == []


def test_released_pairs_are_inverted(undisturbed: Path):
    built = samples_of(undisturbed)
    for (here, one), (there, other) in inverses(built):
        assert here.members["source"] == there.members["target"]
        assert here.members["target"] == there.members["source"]
        assert here.members["changed"] == there.members["changed"]
        assert other.edit.kind == inverse_kind(one.edit.kind)
        assert other.edit.known == one.edit.known
        assert (other.edit.rotation_deg + one.edit.rotation_deg) % 360 == 0
    # The inverse of a removal is an insertion, which is not planned a second time.
    assert not any(key.startswith("insert-") for key in built)
    assert Counter(record.edit.kind for _, record in built.values())["insert"] > 0


@pytest.mark.slow
def test_a_killed_build_resumes_to_the_same_bytes(release: Path, undisturbed: Path, tmp_path: Path):
    out = tmp_path / "out"
    arguments = build_arguments(release, out, "edits.invert=true", "unit_size=4")
    driver = subprocess.Popen(
        [sys.executable, "-m", "spatialdata_builder.pipeline.cli", *arguments],
        cwd=CHECKOUT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while len(list(out.glob("layers/pair-*/*.json"))) < 2:
        assert driver.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    done = spatialdata(*arguments)
    assert done.returncode == 0, done.stderr
    assert files_of(out / "shards") == files_of(undisturbed / "shards")


@pytest.mark.ray
def test_engines_agree(release: Path, undisturbed: Path, tmp_path: Path):
    done = spatialdata(*build_arguments(release, tmp_path / "out", "edits.invert=true", "engine.kind=ray"))
    assert done.returncode == 0, done.stderr
    assert files_of(tmp_path / "out" / "shards") == files_of(undisturbed / "shards")


def test_a_rejected_origin_rejects_its_derived_samples(release: Path, tmp_path: Path):
    root = write_release(tmp_path / "release", 3)
    image = root / "translate/train/uid000/2.png"
    image.write_bytes(image.read_bytes()[:300])
    done = run(*build_arguments(root, tmp_path / "out", "edits.invert=true"), "--json")
    found = json.loads(done.out)
    assert found["samples"] == 6
    assert found["rejects"]["pair: unreadable_image"] == found["rejects"]["pair: origin_rejected"] == 1
    story = why_of(str(tmp_path / "out"), "translate-train-uid000-inv")
    assert story["because"] == "layer pair: origin_rejected"
    rejected = next(layer["reject"] for layer in story["layers"] if layer["state"] == "rejected")
    assert "translate-train-uid000: unreadable_image" in rejected["detail"]
