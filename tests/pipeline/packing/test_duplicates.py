"""Which samples are left out of the shards: with synthetic layers, and with builds of a release with planted twins."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

from spatialdata_builder.pipeline.commands.build import run_shard
from spatialdata_builder.pipeline.commands.verify import run_verify
from spatialdata_builder.pipeline.config import DuplicateOptions
from spatialdata_builder.pipeline.packing.duplicates import HASHES, Duplicates, find_duplicates, stored_duplicates
from spatialdata_builder.pipeline.report.status.status import status_of
from spatialdata_builder.pipeline.report.why.why import why_of
from spatialdata_builder.pipeline.store.layers import LayerStore, Record, Rejected
from spatialdata_builder.pipeline.store.plan import Plan, PlanRow, write_plan
from spatialdata_builder.shards.layout import find_shards
from spatialdata_builder.shards.reader import read_samples
from spatialdata_builder.shards.schema import Split
from tests.pipeline.command_line import run
from tests.pipeline.releases import CHECKOUT, build_arguments, files_of, spatialdata, write_release

LAYERS = {"pair": "pair-1", "screen": "screen-1", "checks": "checks-1"}
Hashes = tuple[int, int, int]
"""Hashes of source, target and change, as numbers of 256 bits."""


def write_layers(
    out: Path,
    samples: Iterable[tuple[str, Split, Hashes]],
    rejected: Mapping[str, str] | None = None,
    specs: Mapping[str, Mapping[str, object]] | None = None,
) -> tuple[LayerStore, Plan]:
    """Write a plan with units of two samples, and its layers.

    Args:
        rejected: key of each rejected sample, and the layer that rejects it.
        specs: what the specs of samples also have, by key.
    """
    store, rows = LayerStore(str(out)), list(samples)
    plan = write_plan(
        store,
        {},
        [PlanRow(key, split, {"edit": "translate", **(specs or {}).get(key, {})}) for key, split, _ in rows],
        2,
    )
    for unit in range(plan.units):
        for layer, folder in LAYERS.items():
            part = rows[2 * unit : 2 * unit + 2]
            gone = [key for key, _, _ in part if (rejected or {}).get(key) == layer]
            columns = {
                key: {name: f"{value:064x}" for name, value in zip(HASHES, h, strict=True)}
                for key, _, h in part
                if key not in gone
            }
            rejects = tuple(Rejected(key, "junk") for key in gone)
            store.write(folder, unit, columns, Record(unit, folder, rejects))
    return store, plan


def search(store: LayerStore, plan: Plan, layers: Mapping[str, str] = LAYERS, **options: int) -> Duplicates:
    return find_duplicates(store, plan, layers, DuplicateOptions(**options))


def dropped_rows(found: Duplicates) -> list[tuple[str, str, int, str]]:
    return [(one.key, one.twin, one.distance, one.reason) for one in found.dropped]


def numbers(seed: int) -> Hashes:
    words = np.random.default_rng(seed).bytes(96)
    return tuple(int.from_bytes(words[start : start + 32], "big") for start in (0, 32, 64))


def off(hashes: Hashes, source: int = 0, target: int = 0, change: int = 0) -> Hashes:
    """The hashes with this many bits flipped in each."""
    return tuple(h ^ ((1 << bits) - 1) << 40 for h, bits in zip(hashes, (source, target, change), strict=True))


A, B, C = numbers(1), numbers(2), numbers(3)


@pytest.mark.parametrize(
    ("turns", "kinds", "bits", "expected"),
    [
        ((0, 2), ("scale", "scale"), 3, []),  # the factors differ
        ((0, 2), ("scale", "scale"), 0, ["b"]),
        ((0, 2), ("remove", "remove"), 3, ["b"]),  # a removal has no numbers
        ((0, 1), ("scale", "scale"), 3, ["b"]),  # a scene with two edits, as before
    ],
)
def test_edits_of_a_scene_that_differ_in_their_numbers_are_no_duplicates(
    tmp_path: Path, turns: tuple[int, int], kinds: tuple[str, str], bits: int, expected: list[str]
):
    specs = {
        key: {"edit": kind, "family": "a", "turn": turn}
        for key, kind, turn in zip(("a", "b"), kinds, turns, strict=True)
    }
    samples: list[tuple[str, Split, Hashes]] = [("a", "train", A), ("b", "train", off(A, target=bits))]
    found = search(*write_layers(tmp_path, samples, specs=specs))
    assert [one.key for one in found.dropped] == expected


def test_the_first_sample_of_the_plan_is_kept(tmp_path: Path):
    samples = [("a", "train", A), ("b", "train", B), ("c", "train", off(A, 12, 3, 24)), ("d", "train", A)]
    found = search(*write_layers(tmp_path, samples))
    assert dropped_rows(found) == [("c", "a", 12, "duplicate"), ("d", "a", 0, "duplicate")]
    assert found.by_unit == {1: ("c", "d")}
    assert found.reasons == {"duplicate": 2}


@pytest.mark.parametrize("other", [off(A, 13), off(A, 0, 13), off(A, 0, 0, 25), (A[0], *B[1:]), (B[0], A[1], B[2])])
def test_a_sample_that_differs_in_one_hash_is_no_duplicate(tmp_path: Path, other: Hashes):
    assert dropped_rows(search(*write_layers(tmp_path, [("a", "train", A), ("b", "train", other)]))) == []


def test_a_derived_sample_is_no_duplicate_of_its_origin(tmp_path: Path):
    """Source and target have equal hashes here, so the hashes of a pair and its inverse are equal."""
    store, names = LayerStore(str(tmp_path)), ("a", "a-inv", "b", "b-inv")
    specs = [{"edit": "translate", **({"derived": "invert", "origin": [n[0]]} if "inv" in n else {})} for n in names]
    rows = [PlanRow(name, "train", spec) for name, spec in zip(names, specs, strict=True)]
    plan = write_plan(store, {}, rows, 4)
    for folder in LAYERS.values():
        columns = {name: dict.fromkeys(HASHES, f"{A[0]:064x}") for name in names}
        store.write(folder, 0, columns, Record(0, folder, ()))
    assert dropped_rows(search(store, plan)) == [("b", "a", 0, "duplicate"), ("b-inv", "a-inv", 0, "duplicate")]


def test_held_out_splits_keep_their_samples(tmp_path: Path):
    samples: list[tuple[str, Split, Hashes]] = [
        ("a", "train", A),
        ("b", "train", (C[0], B[1], C[2])),  # its target is an image of val
        ("c", "test", (A[1], C[1], A[2])),  # its source is the target of the first
        ("d", "val", off(B, 4, 4)),
        ("e", "val", (numbers(4)[0], C[1], B[2])),  # its target is an image of test
        ("f", "train", numbers(5)),
    ]
    store, plan = write_layers(tmp_path, samples)
    assert dropped_rows(search(store, plan)) == [
        ("a", "c", 0, "leaks_into_test"),
        ("b", "d", 4, "leaks_into_val"),
        ("e", "c", 0, "leaks_into_test"),
    ]
    assert dropped_rows(search(store, plan, across_splits=False)) == []
    assert dropped_rows(search(store, plan, enabled=False)) == []
    assert dropped_rows(search(store, plan, distance=3)) == [
        ("a", "c", 0, "leaks_into_test"),
        ("e", "c", 0, "leaks_into_test"),
    ]


def test_samples_rejected_by_a_layer_are_not_compared(tmp_path: Path):
    samples = [("a", "train", A), ("b", "train", A), ("c", "train", A)]
    for layer in ("screen", "checks"):
        store, plan = write_layers(tmp_path / layer, samples, {"a": layer})
        assert dropped_rows(search(store, plan)) == [("c", "b", 0, "duplicate")]


def test_the_result_is_stored_and_follows_the_records(tmp_path: Path):
    store, plan = write_layers(tmp_path, [("a", "train", A), ("b", "train", A)])
    digest = stored_duplicates(store, plan, LAYERS, DuplicateOptions())
    assert isinstance(digest, str)
    found = search(store, plan)
    note = tmp_path / f"duplicates-{digest}.json"
    content = note.read_bytes()
    assert stored_duplicates(store, plan, LAYERS, DuplicateOptions()) == found
    note.write_bytes(content[:40])  # as after a crash of the machine
    assert search(store, plan) == found
    assert note.read_bytes() == content
    store.discard("checks-1", 0)
    store.write("checks-1", 0, {"a": {"ok": True}}, Record(0, "checks-1", (Rejected("b", "junk"),)))
    assert search(store, plan).digest != digest
    assert dropped_rows(search(store, plan)) == []


def test_without_layer_screen_there_are_no_duplicates(tmp_path: Path):
    store, plan = write_layers(tmp_path, [("a", "train", A), ("b", "train", A)])
    assert dropped_rows(search(store, plan, {"pair": "pair-1"})) == []
    assert not list(tmp_path.glob("duplicates-*"))


def plant(root: Path, original: str, copy: str, jpeg: bool = False, **metadata: object) -> None:
    """Copy a pair of a release, with changed metadata and, if `jpeg`, with images that were encoded as JPEG."""
    shutil.copytree(root / original, root / copy)
    for name in ("1.png", "2.png") if jpeg else ():
        path = root / copy / name
        coded = cv2.imencode(".jpg", cv2.imread(str(path)), [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
        path.write_bytes(cv2.imencode(".png", cv2.imdecode(coded, cv2.IMREAD_COLOR))[1].tobytes())
    path = root / copy / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | metadata))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_release(tmp_path_factory.mktemp("release"), 12)
    plant(root, "translate/train/uid000", "translate/train/zz-twin")
    plant(root, "rotate/train/uid001", "rotate/train/zz-jpeg", jpeg=True)
    strangers = [{"uid": f"stranger{i}", "category": name} for i, name in enumerate(("mug", "book"))]
    plant(root, "translate/test/unseen/uid006", "translate/train/zz-leak", object_data=strangers)
    # Another edit of the same scene: no duplicate.
    plant(root, "translate/train/uid003", "translate/train/zz-other")
    for kind in ("", "_mask"):
        shutil.copy(root / f"translate/train/uid003/1{kind}.png", root / f"translate/train/zz-other/2{kind}.png")
        shutil.copy(root / f"translate/train/uid003/2{kind}.png", root / f"translate/train/zz-other/1{kind}.png")
    return root


@pytest.fixture(scope="module")
def built(planted: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("built") / "out"
    done = run(*build_arguments(planted, out, "shard.samples_per_shard=3"), "--json")
    assert done.code == 0, done
    return out, json.loads(done.out)


def packed(out: Path) -> set[str]:
    return {sample.key for shard in find_shards(str(out)) for sample in read_samples(shard)}


LEFT_OUT = {"translate-train-zz-twin", "rotate-train-zz-jpeg", "translate-train-zz-leak"}


@pytest.mark.slow
def test_a_build_leaves_out_duplicates_and_leaks(built: tuple[Path, dict]):
    out, summary = built
    (note,) = out.glob("duplicates-*.json")
    dropped = {one["key"]: (one["twin"], one["reason"]) for one in json.loads(note.read_text())["dropped"]}
    assert dropped == {
        "translate-train-zz-twin": ("translate-train-uid000", "duplicate"),
        "rotate-train-zz-jpeg": ("rotate-train-uid001", "duplicate"),
        "translate-train-zz-leak": ("translate-test-unseen-uid006", "leaks_into_test"),
    }
    counted = {"pack: duplicate": 2, "pack: leaks_into_test": 1}
    assert summary["rejects"] == counted
    assert (summary["rejected"], summary["accepted"]) == (3, summary["samples"] - 3)
    keys = packed(out)
    assert not keys & LEFT_OUT
    assert "translate-train-zz-other" in keys
    assert len(keys) == summary["accepted"]
    verified = run_verify(str(out))
    assert (verified["ok"], verified["samples"]) == (True, summary["accepted"])
    status = status_of(str(out))
    assert status["duplicates"] == {"duplicate": 2, "leaks_into_test": 1}
    assert status["accepted"] == summary["accepted"]
    last = status["funnel"][-1]
    assert (last["layer"], last["rejects"]) == ("pack", {"duplicate": 2, "leaks_into_test": 1})
    assert (last["samples_in"], last["samples_out"]) == (summary["samples"], summary["accepted"])
    story = why_of(str(out), "rotate-train-zz-jpeg")
    assert (story["state"], story["shards"]) == ("left out", [])
    assert story["because"].startswith("duplicate: differs from rotate-train-uid001 ")
    assert "left out of the shards: duplicate 2, leaks_into_test 1" in run("status", out).out


def shards_of(out: Path) -> dict[str, bytes]:
    """The files under `shards`, without the records of packing."""
    return {name: data for name, data in files_of(out / "shards").items() if ".made" not in name}


@pytest.mark.slow
def test_packing_with_other_options_and_back(built: tuple[Path, dict], tmp_path: Path):
    out = tmp_path / "out"
    shutil.copytree(built[0], out)
    before = shards_of(out)
    for setting, back in (
        ("shard.duplicates.enabled=false", LEFT_OUT),
        ("shard.duplicates.distance=0", {"rotate-train-zz-jpeg"}),
        ("shard.duplicates.across_splits=false", {"translate-train-zz-leak"}),
    ):
        run_shard(str(out), "full", [setting, "shard.samples_per_shard=3"], quiet=True)
        assert packed(out) & LEFT_OUT == back
        assert run_verify(str(out))["ok"]
    last_packed = shards_of(out)
    next(out.glob("shards/full/train/*.tar")).unlink()
    assert run_verify(str(out), repair=True, quiet=True)["ok"]
    assert shards_of(out) == last_packed, "it was packed as the build says, not as it was packed last"
    run_shard(str(out), "full", quiet=True)
    assert shards_of(out) == before


@pytest.mark.slow
def test_a_killed_packing_resumes_and_produces_identical_output(
    planted: Path, built: tuple[Path, dict], tmp_path: Path
):
    out = tmp_path / "out"
    arguments = build_arguments(planted, out, "shard.samples_per_shard=3")
    driver = subprocess.Popen(
        [sys.executable, "-m", "spatialdata_builder.pipeline.cli", *arguments],
        cwd=CHECKOUT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not list(out.glob("duplicates-*.json")):
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.001)
    driver.send_signal(signal.SIGKILL)
    assert driver.wait() == -signal.SIGKILL
    assert spatialdata(*arguments).returncode == 0
    assert files_of(out / "shards") == files_of(built[0] / "shards")
    assert [path.name for path in out.glob("duplicates-*")] == [path.name for path in built[0].glob("duplicates-*")]


@pytest.mark.slow
def test_without_layer_screen_all_samples_are_packed(planted: Path, built: tuple[Path, dict], tmp_path: Path):
    out = tmp_path / "out"
    done = run(*build_arguments(planted, out, "layers.screen=none"), "--json")
    assert json.loads(done.out)["rejected"] == 0
    assert packed(out) == packed(built[0]) | LEFT_OUT
