"""A build with a judge: its scores are in the shards, its rejects in the records, and no question is asked twice."""

import json
import math
import tarfile
from pathlib import Path

import numpy as np
import pytest

from spatialdata_builder.pipeline.store.layers import LayerStore
from tests.pipeline.command_line import build
from tests.pipeline.vlm_server import serve

MEANT, LOOKS = (8, 9), (9, 4)


def assess(text: str, images: list[np.ndarray]) -> dict[str, object]:
    """Scores: semantic consistency for two images, perceptual quality for one; rotations get a low score."""
    if len(images) == 1:
        return {"reason": "A seam.", "naturalness": LOOKS[0], "artifacts": LOOKS[1]}
    badly = "clockwise" in instruction_in(text)
    return {"reason": "As asked.", "following": 1 if badly else MEANT[0], "preserving": MEANT[1]}


def instruction_in(text: str) -> str:
    return text.partition("<instruction>")[2].partition("</instruction>")[0]


@pytest.mark.slow
def test_scores_of_the_judge_are_kept_for_accepted_and_rejected_samples(release: Path, tmp_path: Path):
    out = tmp_path / "out"
    with serve(assess) as server:
        judge = f"{{stage: viescore, backend: openai, base_url: '{server.url}', model: seer}}"
        strict = "layers.judge.min_semantic_consistency=0.5"
        assert build(release, out, f"layers.judge={judge}", strict).code == 0
        asked = server.answered
        # Another threshold gives another layer, from the same answers.
        assert build(release, out, f"layers.judge={judge}", "layers.judge.min_semantic_consistency=0.6").code == 0
        assert server.answered == asked
    store = LayerStore(str(out))
    folders = sorted(path.name for path in (out / "layers").glob("judge-*"))
    assert len(folders) == 2
    rejects = [reject for record in store.records(folders[0]) for reject in record.rejects]
    assert rejects and all(reject.reason == "low_semantic_consistency" for reject in rejects)
    assert all(reject.scores["semantic_consistency"] == 0.1 for reject in rejects)
    assert all(reject.scores["overall"] == round(math.sqrt(0.1 * 0.4), 6) for reject in rejects)
    records = [json.loads(data) for data in json_members(out)]
    assert records and not {record["key"] for record in records} & {reject.key for reject in rejects}
    for record in records:
        scores = record["scores"]
        assert (scores["semantic_consistency"], scores["perceptual_quality"]) == (0.8, 0.4)
        assert scores["overall"] == round(math.sqrt(0.8 * 0.4), 6)
        assert record["edit"]["kind"] != "rotate"


def json_members(out: Path) -> list[bytes]:
    found: list[bytes] = []
    for path in sorted(out.glob("shards/full/*/*.tar")):
        with tarfile.open(path) as tar:
            found += [
                file.read() for member in tar if member.name.endswith(".json") and (file := tar.extractfile(member))
            ]
    return found
