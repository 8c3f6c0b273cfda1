"""The pass that fills the cache: training afterwards finds everything in it."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from torch.nn.modules.module import register_module_forward_pre_hook

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.training.cli import train as cli
from spatialdata_builder.training.command import read_run, run_encode, run_train
from spatialdata_builder.training.loop import train
from tests.shards.factory import make_sample, make_split
from tests.shards.interop.conftest import edited, pack
from tests.training.launched import ROOT, curve
from tests.training.spatialedit.test_pictures import BOXES, pack_boxes

torch.set_num_threads(1)
QUIET = ("steps=3", "log=none", "validate_every=0", "batch_size=2")
SETTINGS = {
    "spatialdiff": ("recipe.width=32", "recipe.height=32", "recipe.text_drop=0.5", "recipe.instruction=any"),
    "ildm": ("recipe.text_drop=0.5", "recipe.views=[source, target]"),
    "spatialedit": ("recipe.side=32", "recipe.text_drop=0.5", "recipe.wording=stored", "recipe.instruction=any"),
}


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    """Five samples of recipe `full`, with variants of their instructions."""
    folder = tmp_path_factory.mktemp("full")
    keys = [f"s-{n}" for n in range(5)]
    changes = {}
    for key in keys:
        members = make_sample(key, side=32)
        record = json.loads(members["json"])
        record["instruction"]["variants"] = [f"Please move {key}.", f"{key} goes right."]
        changes[key] = members | {"json": json.dumps(record).encode()}
    make_split(str(folder), [keys], changes=changes)
    return folder


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Counts the calls of all modules inside, by class name."""
    calls: Counter[str] = Counter()
    handle = register_module_forward_pre_hook(lambda module, _: calls.update([type(module).__name__]))
    try:
        yield calls
    finally:
        handle.remove()


ENCODERS = {
    "spatialdiff": ("Encoder", "T5EncoderModel", "CLIPTextModel"),
    "ildm": ("Encoder", "CLIPTextModel"),
    "spatialedit": ("WanEncoder3d", "Qwen3VLForConditionalGeneration"),
}


@pytest.mark.parametrize("name", ["ildm", "spatialdiff", "spatialedit"])
def test_a_run_after_the_pass_encodes_nothing(name: str, shards: Path, tmp_path: Path):
    """Nor does it load the encoders. Its losses are those of a run without a cache."""
    cache = tmp_path / "cache"
    plain = [*QUIET, *SETTINGS[name]]
    cached = [*plain, f"recipe.cache={cache}"]
    with counted() as calls:
        first = run_encode(name, [str(shards)], tmp_path / "run", preset="tiny", overrides=cached)
    assert all(calls[kind] for kind in ENCODERS[name])
    found = list(cache.rglob("*.safetensors"))
    assert (first.samples, first.encoded, first.cached) == (5, len(found), 0)
    assert first.bytes == sum(path.stat().st_size for path in found)
    with counted() as calls:
        again = run_encode(name, [str(shards)], tmp_path / "run", preset="tiny", overrides=cached)
    assert (again.samples, again.encoded, again.cached, again.bytes) == (5, 0, len(found), 0)
    assert not any(calls[kind] for kind in ENCODERS[name])

    run_train(name, [str(shards)], tmp_path / "plain", preset="tiny", overrides=plain)
    recipe, config = read_run(name, preset="tiny", overrides=[*cached, "recipe.unload_encoders=true"])
    with counted() as calls:
        train(recipe, config, str(shards), tmp_path / "cached")
    assert not any(calls[kind] for kind in ENCODERS[name])
    if name != "ildm":
        pipeline = recipe.frozen.base if name == "spatialdiff" else recipe.pipeline
        assert pipeline.vae is pipeline.text_encoder is None
    assert {*cache.rglob("*.safetensors")} == {*found}
    assert curve(tmp_path / "plain") == curve(tmp_path / "cached")


def test_a_missing_entry_loads_its_encoder_and_says_so(shards: Path, tmp_path: Path, caplog):
    settings = [*QUIET, *SETTINGS["spatialedit"], f"recipe.cache={tmp_path / 'cache'}", "recipe.unload_encoders=true"]
    run_encode("spatialedit", [str(shards)], tmp_path / "run", preset="tiny", overrides=settings)
    caplog.clear()
    run_train("spatialedit", [str(shards)], tmp_path / "whole", preset="tiny", overrides=settings)
    assert not [each for each in caplog.records if "loading" in each.message]
    latents = [path for path in (tmp_path / "cache").rglob("*.safetensors") if "latent" in load_file(path)]
    for path in latents:
        path.unlink()
    recipe, config = read_run("spatialedit", preset="tiny", overrides=settings)
    train(recipe, config, str(shards), tmp_path / "missing")
    assert [each.message for each in caplog.records if "loading" in each.message] == [
        "loading vae: not all that it encodes is in the cache"
    ]
    assert recipe.pipeline.vae is not None
    assert recipe.pipeline.text_encoder is None
    assert curve(tmp_path / "whole") == curve(tmp_path / "missing")


@pytest.mark.parametrize("name", ["spatialdiff", "spatialedit"])
def test_validation_loads_the_decoder_and_unloads_it(name: str, shards: Path, tmp_path: Path):
    settings = [*QUIET, *SETTINGS[name], "steps=1", "validate_every=1", "recipe.sample_steps=1", "validate_samples=1"]
    settings += [f"recipe.cache={tmp_path / 'cache'}", "recipe.unload_encoders=true", "data.validate_split=train"]
    run_encode(name, [str(shards)], tmp_path / "run", preset="tiny", overrides=settings)
    recipe, config = read_run(name, preset="tiny", overrides=settings)
    train(recipe, config, str(shards), tmp_path / "run")
    assert list((tmp_path / "run" / "samples").glob("*.png"))
    pipeline = recipe.frozen.base if name == "spatialdiff" else recipe.pipeline
    assert pipeline.vae is pipeline.text_encoder is None


def test_the_samples_of_the_held_out_loss_are_encoded_too(tmp_path: Path):
    for split in ("train", "val"):
        pack(
            tmp_path / "out",
            {f"{split}-{n}": edited(f"{split}-{n}", "rotate", split) for n in range(4)},
            split,
            "spatialedit",
        )
    shards = str(tmp_path / "out" / "shards" / "spatialedit")
    settings = ["steps=2", "log=none", "batch_size=2", "recipe.side=32", "validate_every=1", "validate_samples=0"]
    settings += ["validate_loss_samples=3", f"recipe.cache={tmp_path / 'cache'}", "recipe.unload_encoders=true"]
    done = run_encode("spatialedit", [shards], tmp_path / "run", preset="tiny", overrides=settings)
    assert done.samples >= 4 + 3
    with counted() as calls:
        run_train("spatialedit", [shards], tmp_path / "run", preset="tiny", overrides=settings)
    assert curve(tmp_path / "run", "val/loss")
    assert not any(calls[kind] for kind in ENCODERS["spatialedit"])


def test_two_processes_share_the_pass(shards: Path, tmp_path: Path):
    settings = [*QUIET, *SETTINGS["spatialedit"]]
    options = [f"--set={each}" for each in (*settings, f"recipe.cache={tmp_path / 'two'}")]
    command = ["spatialedit", "--preset=tiny", f"--shards={shards}", f"--out={tmp_path}", "--encode-only", "--json"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    module = "spatialdata_builder.training.cli"
    ran = subprocess.run(
        [*torchrun, "-m", module, *command, *options], env=env, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    alone = run_encode(
        "spatialedit",
        [str(shards)],
        tmp_path,
        preset="tiny",
        overrides=[*settings, f"recipe.cache={tmp_path / 'one'}"],
    )
    together = json.loads(ran.stdout.splitlines()[-1])
    assert together["samples"] == alone.samples == 5
    assert together["encoded"] == alone.encoded
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / n).rglob("*.safetensors")} for n in ("one", "two")
    )
    assert one == two


def test_red_boxes_and_left_out_samples_are_those_of_training(tmp_path: Path):
    pack_boxes(tmp_path / "set", BOXES)
    settings = (*QUIET, "recipe.side=32", f"recipe.cache={tmp_path / 'cache'}", "recipe.text_drop=0")
    done = run_encode("spatialedit", [str(tmp_path / "set")], tmp_path, preset="tiny", overrides=settings)
    assert done.samples == 3, "the other three lose their box"
    assert done.encoded == 3 + 1 + 3, "three sources, their common target, three texts"


def test_a_pass_that_cannot_be_made_is_an_error(shards: Path, tmp_path: Path):
    arguments = ["spatialedit", "--preset=tiny", f"--shards={shards}", f"--out={tmp_path / 'run'}", "--encode-only"]
    ran = CliRunner().invoke(cli, arguments)
    assert isinstance(ran.exception, BadInput)
    assert str(ran.exception) == (
        "--encode-only fills a cache, but recipe.cache is empty: add --set recipe.cache=FOLDER"
    )
    for name in SETTINGS:
        with pytest.raises(BadInput, match="unload_encoders needs a cache"):
            read_run(name, preset="tiny", overrides=["recipe.unload_encoders=true"])
    settings = ["recipe.phase=vae", f"recipe.cache={tmp_path / 'cache'}"]
    with pytest.raises(BadInput, match="phase vae encodes nothing"):
        run_encode("ildm", [str(shards)], tmp_path, preset="tiny", overrides=settings)


def test_the_command_prints_what_it_did(shards: Path, tmp_path: Path):
    options = [f"--set={each}" for each in (*SETTINGS["spatialdiff"], f"recipe.cache={tmp_path / 'cache'}")]
    arguments = ["spatialdiff", "--preset=tiny", f"--shards={shards}", f"--out={tmp_path / 'run'}", "--encode-only"]
    ran = CliRunner().invoke(cli, [*arguments, *options])
    assert ran.exit_code == 0, ran.output
    count = len(list((tmp_path / "cache").rglob("*.safetensors")))
    assert f"5 samples: {count} entries encoded (" in ran.output
    assert "0 already cached" in ran.output
    assert not (tmp_path / "run").exists()
