"""Shards of eight small samples, and the recipe built with tiny random models of the real architectures."""

from types import SimpleNamespace

import pytest
import torch

from spatialdata_builder.shards.index import Manifest, pack_shard, write_manifest
from spatialdata_builder.shards.layout import shard_name
from spatialdata_builder.shards.recipes import get_recipe
from spatialdata_builder.training.recipe import StepRng
from spatialdata_builder.training.spatialedit.options import SpatialEditOptions
from spatialdata_builder.training.spatialedit.recipe import SpatialEdit
from spatialdata_builder.training.spatialedit.tiny import tiny_models
from tests.shards.factory import make_sample

SIDE = 32


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def pack_moves(folder, side=SIDE, kinds=("translate", "rotate"), count=8) -> Manifest:
    """Shards of recipe `spatialedit`; edit kinds alternate."""
    recipe = get_recipe("spatialedit")
    samples = [
        (key, {field: data for field, data in members.items() if field in recipe.fields()})
        for key, members in (
            (f"s-{n}", make_sample(f"s-{n}", kind=kinds[n % len(kinds)], side=side)) for n in range(count)
        )
    ]
    entry = pack_shard(str(folder), shard_name("trial", "train", 0, 1), iter(samples))
    return write_manifest(
        str(folder), name="trial", recipe="spatialedit", split="train", members=recipe.fields(), shards=[entry]
    )


@pytest.fixture(scope="session")
def moves(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("moves") / "shards" / "spatialedit" / "train"
    pack_moves(folder)
    return str(folder)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """The tiny pipeline as a folder in diffusers' layout, with RoPE theta 256."""
    folder = tmp_path_factory.mktemp("checkpoint")
    pipeline = tiny_models(torch.device("cpu"), torch.float32)
    pipeline.transformer.register_to_config(theta=256)
    pipeline.text_encoder.save_pretrained(folder / "text_encoder")
    pipeline.tokenizer.save_pretrained(folder / "tokenizer")
    pipeline.processor.image_processor.save_pretrained(folder / "processor")
    for part in ("vae", "transformer", "scheduler"):
        getattr(pipeline, part).save_pretrained(folder / part)
    return folder


def build(seed=0, **options):
    """A recipe and its module."""
    recipe = SpatialEdit(SpatialEditOptions(**{"model": "tiny", **options}))
    torch.manual_seed(seed)
    module = recipe.build(torch.device("cpu"), torch.float32)
    return recipe, module


def randomize_adapter(module):
    """Randomize the adapter, which is initialized to zero."""
    torch.manual_seed(7)
    for name, parameter in module.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)


@pytest.fixture(scope="module")
def case(moves):
    """The recipe, its module with a random adapter, a batch of 4, and its inputs."""
    recipe, module = build(text_drop=0.0)
    randomize_adapter(module)
    batch = next(opened(recipe, moves, order="stored").batches(4))
    inputs = recipe.prepare(batch, rng_of(batch))
    return SimpleNamespace(recipe=recipe, module=module, batch=batch, inputs=inputs)


def rng_of(batch, step=0) -> StepRng:
    return StepRng(0, step, tuple(batch["key"]))


def opened(recipe, url, split="train", **options):
    """The stream, opened as in the training loop."""
    return recipe.open_stream(str(url), split, {**recipe.stream_options, **options})
