"""The training loop with a small real recipe: exact resume, precision, weight averages, errors."""

import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from spatialdata_builder.shards.errors import BadInput, SpatialdataError
from spatialdata_builder.shards.recipes import get_recipe
from spatialdata_builder.training.metrics import read_metrics
from tests.shards.factory import make_sample, make_split
from tests.training.linear import Stopped, run
from tests.training.runs import SETTINGS, assert_same_run, newest


def test_a_run_learns_and_writes_metrics(triplets: Path, tmp_path: Path):
    run(triplets, tmp_path, "steps=60", "batch_size=6", "recipe.width=16")
    lines = read_metrics(tmp_path)
    assert [line["step"] for line in lines] == list(range(1, 61))
    assert lines[0].keys() == {"step", "loss", "size", "lr", "grad_norm", "seconds", "waiting"}
    losses = [line["loss"] for line in lines]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    assert all(0 <= line["waiting"] <= 1 for line in lines)
    assert [line["lr"] for line in lines[:4]] == pytest.approx([0, 0.005, 0.01, 0.01])


@pytest.mark.parametrize("step", [1, 3, 5, 8])
def test_a_run_stopped_at_any_step_resumes_exactly(step: int, triplets: Path, tmp_path: Path, uninterrupted: Path):
    with pytest.raises(Stopped):
        run(triplets, tmp_path, *SETTINGS, stop_after=step)
    # After step 3 it is stopped before the checkpoint of that step.
    assert run(triplets, tmp_path, *SETTINGS).resumed == (step - 1) // 3 * 3
    assert_same_run(uninterrupted, tmp_path)


def test_a_finished_run_stays_unchanged(triplets: Path, tmp_path: Path):
    run(triplets, tmp_path, "steps=2")
    before = (tmp_path / "metrics.jsonl").read_bytes()
    assert run(triplets, tmp_path, "steps=2").resumed == 2
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    assert run(triplets, tmp_path, "steps=3").step == 3


def test_resuming_with_another_configuration_is_an_error_that_names_the_differences(triplets: Path, tmp_path: Path):
    run(triplets, tmp_path, "steps=2")
    with pytest.raises(BadInput, match=r"differs in lr \(0\.01, here 0\.02\), recipe\.width \(8, here 9\)"):
        run(triplets, tmp_path, "steps=2", "lr=0.02", "recipe.width=9", "log=none", "keep=1")
    with pytest.raises(BadInput, match=r"batch_size x accumulate x processes \(2, here 3\)"):
        run(triplets, tmp_path, "steps=2", "batch_size=3")


def test_resuming_with_other_shards_is_an_error(triplets: Path, tmp_path: Path):
    run(triplets, tmp_path / "out", "steps=2")
    make_split(str(tmp_path / "other"), [[f"c{i}" for i in range(6)]], recipe=get_recipe("spatialdiff"))
    with pytest.raises(
        BadInput, match=r"cannot resume on these shards.*give the same.*or train on the new.*init_from="
    ):
        run(tmp_path / "other", tmp_path / "out", "steps=4")
    # What the message recommends:
    source = tmp_path / "out"
    run(tmp_path / "other", tmp_path / "new", "steps=1", f"init_from={source}", "lr=1e-12")
    assert read_metrics(tmp_path / "new")[0] == {"step": 0, "init_from": str(source), "loaded": ["all weights"]}
    trained, begun = (load_file(newest(out) / "model" / "net.safetensors") for out in (source, tmp_path / "new"))
    assert all(torch.equal(value, begun[name]) for name, value in trained.items())
    with pytest.raises(BadInput, match=r"init_from .*absent does not exist"):
        run(tmp_path / "other", tmp_path / "third", "steps=1", f"init_from={tmp_path / 'absent'}")


def test_a_nonfinite_loss_stops_the_run_and_names_the_samples(triplets: Path, tmp_path: Path):
    fault = ("recipe.fault=loss", "recipe.fault_key=a3")
    with pytest.raises(SpatialdataError, match=r"the loss of step \d is not finite; samples: .*a3") as error:
        run(triplets, tmp_path, "steps=7", "save_every=1", "batch_size=2", "keep=9", *fault)
    stopped = int(str(error.value).split("step ")[1][0])
    assert [line["step"] for line in read_metrics(tmp_path)] == list(range(1, stopped))
    if stopped > 1:
        assert newest(tmp_path).name == str(stopped - 1)
        weights = load_file(newest(tmp_path) / "model" / "net.safetensors")
        assert all(value.isfinite().all() for value in weights.values())


def test_a_nonfinite_gradient_stops_the_run(triplets: Path, tmp_path: Path):
    fault = ("recipe.fault=gradient", "recipe.fault_key=a3")
    with pytest.raises(SpatialdataError, match=r"the gradient of step \d is not finite; samples: .*a3"):
        run(triplets, tmp_path, "steps=7", "batch_size=2", *fault)


@pytest.mark.parametrize(("size", "smaller"), [(4, "2 with accumulate: 2"), (3, "1 with accumulate: 3")])
def test_out_of_memory_lists_the_options_in_the_order_to_try(triplets: Path, tmp_path: Path, size: int, smaller: str):
    settings = ("gradient_checkpointing=false", "ema=0.5", "recipe.fault=memory", "recipe.fault_key=a3")
    with pytest.raises(SpatialdataError, match=r"out of memory in step \d\. Try, in this order: ") as error:
        run(triplets, tmp_path, "steps=4", f"batch_size={size}", *settings)
    knobs = (
        "gradient_checkpointing: true",
        f"batch_size: {smaller}",
        "sharded: true",
        "bf16",
        "ema: 0",
        "recipe.width",
    )
    text = str(error.value)
    places = [text.index(knob) for knob in knobs]
    assert places == sorted(places)
    # Options that need a new run are marked.
    assert text.count("(with another --out)") == 3
    assert text.index("(with another --out)") > text.index("bf16")


@pytest.mark.parametrize(("limit", "what"), [(300, "too large"), (5000, "written"), (30_000, "written")])
def test_a_full_disk_gives_a_one_line_error_and_keeps_the_last_checkpoint(
    triplets: Path, tmp_path: Path, limit: int, what: str
):
    """Limits that are too small for the metrics, for the weights, and for the optimizer state."""
    settings = ("recipe.width=64", "keep=1")
    run(triplets, tmp_path, "steps=2", *settings)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        with pytest.raises(SpatialdataError, match=rf"{what}.* free space and rerun the command") as error:
            run(triplets, tmp_path, "steps=3", *settings)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(error.value)
    assert newest(tmp_path).name == "2"
    assert run(triplets, tmp_path, "steps=3", *settings).resumed == 2


def test_shards_without_the_members_give_an_error_with_what_to_build(tmp_path: Path):
    make_split(str(tmp_path / "shards"), [["a", "b"]], recipe=get_recipe("spatialedit"))
    with pytest.raises(
        BadInput, match=r"lacks depth, which recipe .* needs.*: build depth, then pack.*spatialdata shard"
    ):
        run(tmp_path / "shards", tmp_path / "out", "steps=1")


def test_bf16_gives_nearly_the_same_loss(triplets: Path, tmp_path: Path):
    run(triplets, tmp_path / "full", "steps=3")
    run(triplets, tmp_path / "half", "steps=3", "precision=bf16")
    full, half = ([line["loss"] for line in read_metrics(tmp_path / name)] for name in ("full", "half"))
    assert full != half
    assert half == pytest.approx(full, rel=0.02)
    assert load_file(newest(tmp_path / "half") / "model" / "net.safetensors")["first.weight"].dtype == torch.float32


def test_averaged_weights_follow_the_trained_weights(triplets: Path, tmp_path: Path):
    run(triplets, tmp_path, "steps=4", "save_every=1", "keep=9", "ema=0.5")
    names = [tmp_path / "checkpoints" / str(step) for step in range(1, 5)]
    trained = [load_file(name / "model" / "net.safetensors")["second.weight"] for name in names]
    average = trained[0]
    for step, value in enumerate(trained[1:], 2):
        decay = min(0.5, step / (9 + step))
        average = decay * average + (1 - decay) * value
    torch.testing.assert_close(load_file(names[-1] / "ema" / "net.safetensors")["second.weight"], average)


def logged(folder: Path) -> dict[str, list[int]]:
    """The logged steps of the loss and of the images in tensorboard."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    series = {name: found.Scalars(name) for name in ("loss", "val/loss")} | {"samples": found.Images("samples")}
    return {name: [event.step for event in events] for name, events in series.items()}


def test_validation_images_and_logs(tmp_path: Path):
    recipe = get_recipe("spatialdiff")
    for split, keys in (("train", ["t0", "t1"]), ("val", ["v0", "v1", "v2"])):
        changes = {key: make_sample(key, split=split) for key in keys}
        make_split(str(tmp_path / "set" / split), [keys], split=split, recipe=recipe, changes=changes)
    shards = tmp_path / "set"
    run(shards, tmp_path, "steps=4", "validate_every=2", "validate_samples=3", "log=tensorboard")
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == ["00000002.png", "00000004.png"]
    with Image.open(tmp_path / "samples" / "00000004.png") as picture:
        assert picture.size == (4 * (24 + 4) + 220, 16 + 3 * 24 + 2 * 4)
    assert logged(tmp_path / "linear") == {"loss": [1, 2, 3, 4], "val/loss": [2, 4], "samples": [2, 4]}
    # Validation images do not change the weights.
    run(shards, tmp_path / "without", "steps=4")
    one, other = (newest(out) / "model" / "net.safetensors" for out in (tmp_path, tmp_path / "without"))
    assert one.read_bytes() == other.read_bytes()
