"""The held-out loss, recomputed sample by sample, and the validation images."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from spatialdata_builder.shards import stream
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.recipes import get_recipe
from spatialdata_builder.training.config import load_config
from spatialdata_builder.training.data import own_batch
from spatialdata_builder.training.metrics import read_metrics
from spatialdata_builder.training.recipe import StepRng
from spatialdata_builder.training.validation import first_loss_samples, open_loss_samples
from tests.shards.factory import make_sample, make_split
from tests.training.conftest import HELD_OUT_KINDS
from tests.training.linear import Linear, LinearOptions, run
from tests.training.runs import newest
from tests.training.test_processes import start

TIMES = (0.125, 0.375, 0.625, 0.875)
SETTINGS = ("steps=3", "save_every=3", "validate_every=3", "validate_samples=3", "validate_times=4", "data.threads=1")


def expected(triplets: Path, weights: Path) -> dict[str, float]:
    """The means over samples and times, with one forward pass for each."""
    config = load_config(Linear)
    recipe = Linear(LinearOptions())
    module = recipe.build(torch.device("cpu"), torch.float32)
    recipe.load(module, weights)
    module.eval()
    losses: dict[tuple[str, float], float] = {}
    for batch in stream(triplets / "val", "spatialdiff", images="float").batches(1):
        for time in TIMES:
            x = torch.from_numpy(batch["target"]).movedim(-1, 1)
            noise = StepRng(config.seed, 0, tuple(batch["key"])).normal(x.shape[1:])
            x_t = (1 - time) * x + time * noise
            with torch.no_grad():
                v = module.velocity(x_t, torch.from_numpy(batch["source"]).movedim(-1, 1), torch.tensor([time]))
            losses[batch["key"][0], time] = (v - (noise - x)).square().mean().item()
    assert len(losses) == 20
    found = {"val/loss": np.mean(list(losses.values()))}
    found |= {f"val/loss/t={time:g}": np.mean([losses[f"v{i}", time] for i in range(5)]) for time in TIMES}
    for kind in set(HELD_OUT_KINDS):
        keys = [f"v{i}" for i in range(5) if HELD_OUT_KINDS[i] == kind]
        found[f"val/loss/{kind}"] = np.mean([losses[key, time] for key in keys for time in TIMES])
    return found


def validated(out: Path) -> dict[str, float]:
    return {name: value for name, value in read_metrics(out)[-1].items() if name.startswith("val/")}


@pytest.mark.parametrize("batch", [2, 5])
def test_the_held_out_loss_is_that_of_every_sample_and_time(batch: int, triplets: Path, tmp_path: Path):
    run(triplets, tmp_path, *SETTINGS, f"batch_size={batch}", "recipe.dropout=0.5", "ema=0.5")
    found = validated(tmp_path)
    assert found.pop("val/size") > 0
    assert found == pytest.approx(expected(triplets, newest(tmp_path) / "ema"), rel=1e-5)
    assert "val/loss" not in read_metrics(tmp_path)[0]


def test_validation_is_divided_over_processes_and_changes_nothing(triplets: Path, tmp_path: Path):
    run(triplets, tmp_path / "one", *SETTINGS, "batch_size=4")
    done = start([str(triplets), str(tmp_path / "two"), *SETTINGS, "batch_size=2"], processes=2)
    assert done.returncode == 0, done.stderr
    assert validated(tmp_path / "two") == pytest.approx(validated(tmp_path / "one"), rel=1e-4)
    sheets = [np.asarray(Image.open(tmp_path / name / "samples" / "00000003.png"), int) for name in ("one", "two")]
    assert sheets[0].shape == (16 + 3 * 24 + 2 * 4, 4 * (24 + 4) + 220, 3)
    assert np.abs(sheets[0] - sheets[1]).max() <= 1
    run(triplets, tmp_path / "without", *SETTINGS, "batch_size=4", "validate_every=0")
    one, other = (load_file(newest(tmp_path / name) / "model" / "net.safetensors") for name in ("one", "without"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_fewer_samples_are_the_first_of_a_fixed_shuffle(triplets: Path, tmp_path: Path):
    for samples in (2, 4):
        run(triplets, tmp_path / f"{samples}", *SETTINGS, f"validate_loss_samples={samples}", "batch_size=3")
    order = [batch["edit"][0] for batch in stream(triplets, "spatialdiff", split="val").batches(1)]
    for samples in (2, 4):
        kinds = {name.rpartition("/")[2] for name in validated(tmp_path / f"{samples}")} & set(HELD_OUT_KINDS)
        assert kinds == set(order[:samples])


@pytest.mark.parametrize("folder", [".", "train"])
def test_without_held_out_samples_nothing_is_validated_and_the_log_says_so(
    folder: str, triplets: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    if folder == ".":
        shutil.copytree(triplets / "train", tmp_path / "set" / "train")
    shards = triplets / "train" if folder == "train" else tmp_path / "set"
    with caplog.at_level(logging.WARNING):
        run(shards, tmp_path / "out", *SETTINGS)
    assert "the shards have no split val: there is no held-out loss" in caplog.text
    assert not validated(tmp_path / "out")
    assert not (tmp_path / "out" / "samples").exists()


def test_images_of_chosen_samples_and_of_the_user(triplets: Path, tmp_path: Path):
    Image.new("RGB", (60, 30), (200, 30, 30)).save(tmp_path / "mine.png")
    own = "validate_images=[{image: " + str(tmp_path / "mine.png") + ", instruction: Move it.}]"
    run(triplets, tmp_path / "out", *SETTINGS, "validate_keys=[v3, v1]", own)
    assert sorted(path.name for path in (tmp_path / "out" / "samples").iterdir()) == [
        "00000003-own.png",
        "00000003.png",
    ]
    sheet = np.asarray(Image.open(tmp_path / "out" / "samples" / "00000003.png"))
    for row, key in enumerate(("v3", "v1")):
        batch = next(b for b in stream(triplets / "val", "spatialdiff").batches(1) if b["key"] == [key])
        assert np.array_equal(sheet[16 + row * 28 :][:24, :24], batch["source"][0])
    assert np.asarray(Image.open(tmp_path / "out" / "samples" / "00000003-own.png"))[20, 5].tolist() == [200, 30, 30]
    with pytest.raises(BadInput, match="has no sample a0"):
        run(triplets, tmp_path / "other", *SETTINGS, "validate_keys=[a0]")
    with pytest.raises(BadInput, match=r"validate_images: absent\.png cannot be read as an image"):
        run(triplets, tmp_path / "other", *SETTINGS, "validate_images=[{image: absent.png, instruction: Move it.}]")


def test_own_images_are_upright_and_cover_the_size(tmp_path: Path):
    picture = Image.new("RGB", (40, 20))
    picture.paste((0, 255, 0), (0, 0, 20, 20))  # the left half, which is the top once turned upright
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.png", exif=exif)
    config = load_config(
        Linear, overrides=[f"validate_images=[{{image: {tmp_path / 'turned.png'}, instruction: Turn.}}]"]
    )
    batch = own_batch(config.validate_images, (32, 16))
    assert batch["source"].shape == (1, 32, 16, 3)
    assert batch["source"][0, 4].tolist() == [[0, 255, 0]] * 16
    assert batch["source"][0, -4].tolist() == [[0, 0, 0]] * 16


def test_with_buckets_the_held_out_samples_do_not_depend_on_the_division(tmp_path: Path):
    keys = [f"v{i}" for i in range(9)]
    changes = {key: make_sample(key, split="val", side=24 if i % 3 else 32) for i, key in enumerate(keys)}
    make_split(str(tmp_path / "val"), [keys], split="val", recipe=get_recipe("spatialdiff"), changes=changes)
    recipe = Linear(LinearOptions())
    config = load_config(Linear, overrides=["data.buckets=true", "validate_loss_samples=7"])
    found = []
    for size, world in ((4, 1), (1, 1), (2, 2), (1, 4)):
        seen: set[str] = set()
        counts = set()
        for rank in range(world):
            data = open_loss_samples(recipe, config, str(tmp_path), rank, world)
            drawn = list(first_loss_samples(data, config, size, rank, world))
            counts.add(len(drawn))
            seen |= {key for batch, kept in drawn for key, keep in zip(batch["key"], kept, strict=True) if keep}
        assert len(counts) == 1, "every process makes the same number of calls"
        found.append(seen)
    assert len(found[0]) == 7
    assert all(seen == found[0] for seen in found)


def test_a_stop_at_the_last_step_does_not_skip_its_validation(triplets: Path, tmp_path: Path):
    done = run(triplets, tmp_path, "steps=1", "validate_every=5", "max_hours=1e-9")
    assert done.stopped == ""
    assert validated(tmp_path)
