"""The loop with a small real recipe: exact resume, processes, accumulation, faults."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from shards.errors import BadInput, SpatialdataError
from shards.recipes import get_recipe
from tests.shards.factory import make_split
from tests.training.linear import Stopped, run
from training.checkpoint import read_facts
from training.metrics import read_metrics

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ("steps=9", "save_every=3", "ema=0.9", "accumulate=2", "recipe.dropout=0.2", "schedule=cosine")


def newest(out: Path) -> Path:
    return max((out / "checkpoints").glob("[0-9]*"), key=lambda path: int(path.name))


def same(one: object, other: object) -> bool:
    """Equal to the last bit, through dicts and lists."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def assert_same_run(one: Path, other: Path) -> None:
    first, second = newest(one), newest(other)
    assert first.name == second.name
    for name in ("model/net.safetensors", "ema/net.safetensors"):
        if (first / name).exists() or (second / name).exists():
            assert (first / name).read_bytes() == (second / name).read_bytes()
    states = [torch.load(folder / "state.pt", weights_only=True) for folder in (first, second)]
    assert same(*states)
    assert read_facts(first) == read_facts(second)
    lines = [
        [(each["step"], each["loss"], each["lr"], each["grad_norm"]) for each in read_metrics(out)]
        for out in (one, other)
    ]
    assert lines[0] == lines[1]


def start(arguments: list[str], processes: int = 1, **env: str) -> subprocess.CompletedProcess[str]:
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"] if processes > 1 else []
    return subprocess.run(
        [sys.executable, *launch, "-m", "tests.training.linear", *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def undisturbed(triplets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    assert run(triplets, out, *SETTINGS).resumed == 0
    return out


def test_a_run_learns_and_says_so(triplets: Path, tmp_path: Path):
    run(triplets, tmp_path, "steps=60", "batch_size=6", "recipe.width=16")
    lines = read_metrics(tmp_path)
    assert [line["step"] for line in lines] == list(range(1, 61))
    assert lines[0].keys() == {"step", "loss", "size", "lr", "grad_norm", "seconds", "waiting"}
    losses = [line["loss"] for line in lines]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    assert all(0 <= line["waiting"] <= 1 for line in lines)
    assert [line["lr"] for line in lines[:4]] == pytest.approx([0, 0.005, 0.01, 0.01])


@pytest.mark.parametrize("step", [1, 3, 5, 8])
def test_stopped_at_any_step_and_started_again_it_is_the_same_run(
    step: int, triplets: Path, tmp_path: Path, undisturbed: Path
):
    with pytest.raises(Stopped):
        run(triplets, tmp_path, *SETTINGS, stop_after=step)
    # Behind step 3 it is stopped before that step's checkpoint.
    assert run(triplets, tmp_path, *SETTINGS).resumed == (step - 1) // 3 * 3
    assert_same_run(undisturbed, tmp_path)


def test_killed_behind_a_step_and_killed_in_a_save_it_is_the_same_run(
    triplets: Path, tmp_path: Path, undisturbed: Path
):
    arguments = [str(triplets), str(tmp_path), *SETTINGS]
    assert start(arguments, KILL_AFTER="5").returncode == -signal.SIGKILL
    assert start(arguments, KILL_IN=".half-6").returncode == -signal.SIGKILL
    assert (tmp_path / "checkpoints" / ".half-6" / "model" / "begun").exists()
    assert newest(tmp_path).name == "3"
    assert run(triplets, tmp_path, *SETTINGS).resumed == 3
    assert_same_run(undisturbed, tmp_path)
    assert not list((tmp_path / "checkpoints").glob(".*"))


def test_two_processes_learn_as_one_with_twice_the_batch(triplets: Path, tmp_path: Path):
    alone, both, turns = tmp_path / "alone", tmp_path / "both", tmp_path / "turns"
    run(triplets, alone, "steps=6", "batch_size=4")
    run(triplets, turns, "steps=6", "batch_size=2", "accumulate=2")
    done = start([str(triplets), str(both), "steps=6", "batch_size=2"], processes=2, ACCELERATE_USE_CPU="true")
    assert done.returncode == 0, done.stderr
    expected = load_file(newest(alone) / "model" / "net.safetensors")
    for out in (both, turns):
        for name in ("loss", "grad_norm"):
            found = [line[name] for line in read_metrics(out)]
            assert found == pytest.approx([line[name] for line in read_metrics(alone)], rel=1e-5)
        for name, value in load_file(newest(out) / "model" / "net.safetensors").items():
            torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)
    # One process goes on with what two began, since a step has the same samples.
    assert run(triplets, both, "steps=8", "batch_size=4").resumed == 6


def test_a_run_that_is_done_stays_as_it_is(triplets: Path, tmp_path: Path):
    run(triplets, tmp_path, "steps=2")
    before = (tmp_path / "metrics.jsonl").read_bytes()
    assert run(triplets, tmp_path, "steps=2").resumed == 2
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    assert run(triplets, tmp_path, "steps=3").step == 3


def test_another_configuration_or_recipe_is_refused_saying_what_differs(triplets: Path, tmp_path: Path):
    run(triplets, tmp_path, "steps=2")
    with pytest.raises(BadInput, match=r"differs in lr \(0\.01, here 0\.02\), recipe\.width \(8, here 9\)"):
        run(triplets, tmp_path, "steps=2", "lr=0.02", "recipe.width=9", "log=none", "keep=1")
    with pytest.raises(BadInput, match=r"batch_size x accumulate x processes \(2, here 3\)"):
        run(triplets, tmp_path, "steps=2", "batch_size=3")


def test_other_shards_are_refused(triplets: Path, tmp_path: Path):
    run(triplets, tmp_path / "out", "steps=2")
    make_split(str(tmp_path / "other"), [[f"c{i}" for i in range(6)]], recipe=get_recipe("spatialdiff"))
    with pytest.raises(BadInput, match="its sets is"):
        run(tmp_path / "other", tmp_path / "out", "steps=4")


def test_a_loss_that_is_no_number_stops_and_names_the_samples(triplets: Path, tmp_path: Path):
    fault = ("recipe.fault=loss", "recipe.fault_key=a3")
    with pytest.raises(SpatialdataError, match=r"the loss of step \d is no finite number; its samples: .*a3") as error:
        run(triplets, tmp_path, "steps=7", "save_every=1", "batch_size=2", "keep=9", *fault)
    stopped = int(str(error.value).split("step ")[1][0])
    assert [line["step"] for line in read_metrics(tmp_path)] == list(range(1, stopped))
    if stopped > 1:
        assert newest(tmp_path).name == str(stopped - 1)
        weights = load_file(newest(tmp_path) / "model" / "net.safetensors")
        assert all(value.isfinite().all() for value in weights.values())


def test_a_gradient_that_is_no_number_stops_it(triplets: Path, tmp_path: Path):
    fault = ("recipe.fault=gradient", "recipe.fault_key=a3")
    with pytest.raises(SpatialdataError, match=r"the gradient of step \d is no finite number; its samples: .*a3"):
        run(triplets, tmp_path, "steps=7", "batch_size=2", *fault)


def test_out_of_memory_names_the_knobs_in_the_order_to_try(triplets: Path, tmp_path: Path):
    settings = ("batch_size=4", "gradient_checkpointing=false", "recipe.fault=memory", "recipe.fault_key=a3")
    with pytest.raises(SpatialdataError, match="out of memory in step") as error:
        run(triplets, tmp_path, "steps=4", *settings)
    text = str(error.value)
    knobs = ("gradient_checkpointing: true", "batch_size: 2 with accumulate: 2", "precision: bf16", "recipe.width")
    places = [text.index(knob) for knob in knobs]
    assert places == sorted(places)


def test_shards_without_the_members_are_named_with_what_to_build(tmp_path: Path):
    make_split(str(tmp_path / "shards"), [["a", "b"]], recipe=get_recipe("spatialedit"))
    with pytest.raises(BadInput, match=r"lacks depth, which recipe spatialdiff needs.*spatialdata shard"):
        run(tmp_path / "shards", tmp_path / "out", "steps=1")


def test_bf16_trains_nearly_alike(triplets: Path, tmp_path: Path):
    run(triplets, tmp_path / "full", "steps=3")
    run(triplets, tmp_path / "half", "steps=3", "precision=bf16")
    full, half = ([line["loss"] for line in read_metrics(tmp_path / name)] for name in ("full", "half"))
    assert full != half
    assert half == pytest.approx(full, rel=0.02)
    assert load_file(newest(tmp_path / "half") / "model" / "net.safetensors")["first.weight"].dtype == torch.float32


def test_averaged_weights_follow_the_trained_ones(triplets: Path, tmp_path: Path):
    run(triplets, tmp_path, "steps=4", "save_every=1", "keep=9", "ema=0.5")
    names = [tmp_path / "checkpoints" / str(step) for step in range(1, 5)]
    trained = [load_file(name / "model" / "net.safetensors")["second.weight"] for name in names]
    average = trained[0]
    for step, value in enumerate(trained[1:], 2):
        decay = min(0.5, step / (9 + step))
        average = decay * average + (1 - decay) * value
    torch.testing.assert_close(load_file(names[-1] / "ema" / "net.safetensors")["second.weight"], average)


def test_validation_pictures_and_logs(triplets: Path, tmp_path: Path):
    run(triplets, tmp_path, "steps=4", "validate_every=2", "validate_samples=3", "log=tensorboard")
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == ["00000002.png", "00000004.png"]
    with Image.open(tmp_path / "samples" / "00000004.png") as picture:
        assert picture.size == (4 * 24 + 3 * 4, 16 + 3 * 24 + 2 * 4)
    assert list(tmp_path.glob("linear/events.out.tfevents.*"))
    # Pictures change nothing of what is learned.
    run(triplets, tmp_path / "without", "steps=4")
    one, other = (newest(out) / "model" / "net.safetensors" for out in (tmp_path, tmp_path / "without"))
    assert one.read_bytes() == other.read_bytes()
