"""From model files to fronts: real renders, a real server, and a model that detects painted sides."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter

from spatialdata_builder.pipeline.commands.orient import count_fronts, make_vote, run_orient
from spatialdata_builder.pipeline.config import Config, parse_config
from spatialdata_builder.pipeline.opened import open_out
from spatialdata_builder.pipeline.planning.samples import ASSETS, plan_build
from spatialdata_builder.shards.colors import PALETTE
from spatialdata_builder.shards.errors import BadInput, SpatialdataError
from spatialdata_builder.sources.assets.asset import Asset
from spatialdata_builder.sources.assets.orientations import Orientation, read_orientations
from spatialdata_builder.sources.procedural import catalog
from tests.pipeline.vlm_server import Served, serve
from tests.sources.models import box, checkered, glb, make_cache
from tests.sources.painted import painted_box, tinted

FRONTS = {"east": 0, "south": 270, "west": 180}
SIDE = 40


def look(text: str, images: list[np.ndarray]) -> dict[str, object]:
    """The front is the view that shows the red side, the rear the view that shows the blue side."""
    (sheet,) = images
    height, width = sheet.shape[0] // 2, sheet.shape[1] // 4
    panels = [sheet[r * height :, c * width :][:height, :width] for r in range(2) for c in range(4)]
    red, blue = ([tinted(panel, channel) for panel in panels] for channel in (0, 2))
    answer = {"name": "toy block", "colour": "none", "material": "wood", "evidence": "One side is red."}
    if not max(red):
        return answer | {"distinguishable": False, "front": "none", "rear": "none"}
    letters = {"front": "ABCDEFGH"[int(np.argmax(red))], "rear": "ABCDEFGH"[int(np.argmax(blue))]}
    return answer | {"distinguishable": True} | letters


@pytest.fixture
def server() -> Iterator[Served]:
    with serve(look) as served:
        yield served


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three painted cubes, a plain white and blue slab, and a file that is not a model."""
    models: dict[str, bytes | None] = {name: painted_box(front) for name, front in FRONTS.items()}
    models |= {"slab": glb(box(0.4, 0.1, 0.4), material=checkered()), "broken": b"glTF?"}
    return make_cache(tmp_path_factory.mktemp("cache"), models)


def config(root: Path, uids: tuple[str, ...] = (), **more: object) -> Config:
    source = {"kind": "objaverse", "root": str(root), "uids": uids}
    values = {"source": source, "samples": 4, "engine": {"kind": "inline"}, "render": {"device": "cpu"}}
    return parse_config(values | more)


def orient(root: Path, out: Path, server: Served, to: Path, *uids: str) -> dict[str, object]:
    chosen = {"backend": "openai", "base_url": server.url, "model": "seer", "tries": 1}
    return run_orient(config(root, uids, orient=chosen), str(out), to=str(to), side=SIDE, quiet=True)


@pytest.mark.blender
def test_fronts_of_model_files_are_found_and_reach_the_plan(root: Path, tmp_path: Path, server: Served):
    out, to = tmp_path / "out", tmp_path / "found.json"
    result = orient(root, out, server, to)
    assert result["to"] == str(to)
    counts = {"assets": 4, "asked": 4, "known": 3, "unknown": 0, "undistinguishable": 1, "failed": 0}
    assert result.items() >= counts.items() and result["reasons"] == {}
    found = read_orientations(str(to))
    assert {uid: found[uid].front_deg for uid in FRONTS} == FRONTS
    assert found["south"].votes == (270, 270, 270) and found["south"].model == "seer"
    assert found["slab"].front_deg is None and not found["slab"].distinguishable
    assert server.answered == 12

    # As after a kill before the file was written: nothing is rendered or asked again.
    to.unlink()
    again = orient(root, out, server, to)
    assert server.answered == 12 and again["known"] == 3
    # An asset with an entry is not asked about, also with another OUT.
    assert orient(root, tmp_path / "other", server, to)["asked"] == 0
    assert server.answered == 12

    try:
        (root / "orientations.json").write_bytes(to.read_bytes())
        splits = {"splits": {"train": 1, "val": 0, "test": 0}}
        store = open_out(str(out))
        plan_build(config(root, shard=splits), store, lambda _: None, quiet=True)
        rows = pq.read_table(store.path(ASSETS)).to_pylist()
        assets = {row["uid"]: TypeAdapter(Asset).validate_json(row["asset"]) for row in rows}
    finally:
        (root / "orientations.json").unlink()
    assert {uid: assets[uid].front_deg for uid in FRONTS} == FRONTS
    assert {asset.category for asset in assets.values()} == {"toy block"} and assets["slab"].front_deg is None


@pytest.mark.blender
def test_a_run_whose_server_failed_resumes(root: Path, tmp_path: Path, server: Served, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("spatialdata_builder.pipeline.commands.orient.UNIT", 1)
    server.healthy = 5
    out, to = tmp_path / "out", tmp_path / "found.json"
    with pytest.raises(SpatialdataError, match="503"):
        orient(root, out, server, to, "east", "west")
    assert server.answered == 5 and not to.exists()
    rendered = {path: path.stat().st_mtime_ns for path in out.glob("orient/*/layers/portraits-*/*.parquet")}
    server.healthy = 10**9
    assert orient(root, out, server, to, "east", "west")["known"] == 2
    assert server.answered == 6
    assert len(rendered) == 2 and all(path.stat().st_mtime_ns == at for path, at in rendered.items())
    assert len(list((out / "orient").iterdir())) == 1


@pytest.mark.blender
def test_manual_entries_stay(root: Path, tmp_path: Path, server: Served):
    to = tmp_path / "found.json"
    to.write_text(json.dumps({"east": 33, "west": 44, "south": 55}))
    result = orient(root, tmp_path / "out", server, to)
    assert result["asked"] == 1 and server.answered == 3
    assert read_orientations(str(to))["west"].front_deg == 44


@pytest.mark.slow
def test_known_fronts_measure_the_model():
    known = [asset for asset in catalog(1) if asset.front_deg is not None][:4]
    fronts = [asset.front_deg for asset in known]
    table = {
        known[0].uid: Orientation(front_deg=fronts[0]),
        known[1].uid: Orientation(front_deg=(fronts[1] + 45) % 360),
        known[2].uid: Orientation(),
    }
    counts = {"assets": 4, "known": 2, "unknown": 1, "undistinguishable": 0, "failed": 1, "right": 1, "wrong": 1}
    assert count_fronts(known, table) == counts


def test_options_of_the_vote():
    vote = make_vote(Config(), {"backend": "openai", "base_url": "http://x", "votes": 5}, "/out")
    assert (vote.votes, vote.answers, vote.colours) == (5, "/out/answers", tuple(PALETTE))
    with pytest.raises(BadInput, match=r"unknown key 'orient\.vote'; did you mean 'votes'"):
        make_vote(Config(), {"vote": 5}, "/out")
    with pytest.raises(BadInput, match=r"orient\.votes: .*'many'"):
        make_vote(Config(), {"votes": "many"}, "/out")
    with pytest.raises(BadInput, match=r"orient\.base_url must be .*\(got ''\)"):
        make_vote(Config(), {"backend": "openai"}, "/out")


def test_bad_targets_are_errors_before_work(root: Path, tmp_path: Path, server: Served):
    with pytest.raises(BadInput, match=r"--to .*found\.csv: give a path or URL that ends in \.json"):
        orient(root, tmp_path / "out", server, tmp_path / "found.csv")
    (tmp_path / "found.json").write_text("[]")
    with pytest.raises(BadInput, match=r"found\.json: expected a table"):
        orient(root, tmp_path / "out", server, tmp_path / "found.json")
    released = parse_config({"source": {"kind": "object3dit", "root": "/x"}})
    with pytest.raises(BadInput, match=r"source\.kind: object3dit has images, no 3D models"):
        run_orient(released, str(tmp_path / "out"), quiet=True)
    assert server.answered == 0
