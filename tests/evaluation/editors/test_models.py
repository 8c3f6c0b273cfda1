"""Runs of our trainers and pipelines of diffusers as editors, on tiny models."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from spatialdata_builder.evaluation.benchmarks import Benchmark
from spatialdata_builder.evaluation.editing import run_editor, seed_of
from spatialdata_builder.evaluation.editors.editor import Editor, Task
from spatialdata_builder.evaluation.editors.registry import open_editor
from spatialdata_builder.evaluation.editors.vae import encode_and_decode, resized
from spatialdata_builder.shards.codecs import U8, decode_image
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.training.checkpoint import EMA, MODEL, Checkpoints, Facts
from spatialdata_builder.training.spatialdiff.tiny import tiny_base
from spatialdata_builder.training.spatialedit.pictures import to_benchmark_style
from spatialdata_builder.training.spatialedit.pipeline import edit
from spatialdata_builder.training.spatialedit.tiny import tiny_models
from tests.training.spatialdiff import factory as spatialdiff
from tests.training.spatialedit import conftest as spatialedit
from tests.training.spatialfusion import factory as spatialfusion

CPU = torch.device("cpu")


@pytest.fixture
def task(benchmark: Benchmark) -> Callable[..., Task]:
    """The task of the first sample of a kind."""

    def of(kind: str) -> Task:
        key = next(key for key in benchmark.keys if key.startswith(kind))
        path = benchmark.item(key, "source.png")
        record = benchmark.record(key)
        image = decode_image(path.read_bytes())
        return Task(key, image, record.instruction.text, seed_of(0, key), path, record)

    return of


def editor(benchmark: Benchmark, text: object) -> Editor:
    found = open_editor(str(text), benchmark, timeout_s=1)
    found.setup()
    return found


def checkpoint(
    run: Path, step: int, recipe: str, save: Callable[[Path], None], ema: Any = None, **options: Any
) -> None:
    facts = Facts(recipe, {"recipe": options}, 1, step, {})
    with Checkpoints(run, keep=9).writing(facts) as folder:
        save(folder / MODEL)
        if ema:
            ema(folder / EMA)


def test_a_run_is_its_newest_checkpoint_with_averaged_weights(benchmark: Benchmark, task, tmp_path: Path):
    recipe, net = spatialdiff.built()

    def save(folder: Path) -> None:
        spatialdiff.perturb(net)
        recipe.save(net, folder)

    checkpoint(tmp_path / "run", 9, "spatialdiff", save)
    checkpoint(tmp_path / "run", 10, "spatialdiff", save, ema=save)
    newest = tmp_path / "run" / "checkpoints" / "10"
    given = task("translate")
    expected = editor(benchmark, newest / EMA).edit(given)
    for text in (tmp_path / "run", newest):
        found = editor(benchmark, text)
        assert np.array_equal(found.edit(given), expected)
        assert "spatialdiff of step 10" in found.description
    assert not np.array_equal(editor(benchmark, newest / MODEL).edit(given), expected)


def test_spatialdiff_edits_as_its_pipeline(benchmark: Benchmark, task, tmp_path: Path):
    from spatialdata_builder.training.spatialdiff.pipeline import SpatialDiffPipeline

    recipe, net = spatialdiff.built()
    spatialdiff.perturb(net)
    recipe.save(net, tmp_path / "out")
    given = task("rotate")
    pipeline = SpatialDiffPipeline(net, recipe.frozen)
    expected = pipeline(Image.fromarray(given.image), given.instruction, seed=given.seed)
    found = editor(benchmark, tmp_path / "out")
    assert np.array_equal(found.edit(given), np.asarray(expected))
    assert not np.array_equal(found.edit(replace(given, seed=given.seed + 1)), np.asarray(expected))


def test_spatialfusion_edits_as_its_pipeline(benchmark: Benchmark, task, tmp_path: Path):
    from spatialdata_builder.training.spatialfusion.pipeline import SpatialFusionPipeline

    recipe, net = spatialfusion.built()
    spatialfusion.perturb(net)
    recipe.save(net, tmp_path / "out")
    given = task("remove")
    expected = SpatialFusionPipeline(net, recipe.frozen)(
        Image.fromarray(given.image), given.instruction, seed=given.seed
    )
    found = editor(benchmark, tmp_path / "out")
    assert np.array_equal(found.edit(given), np.asarray(expected.image))
    with pytest.raises(BadInput, match="has no VAE that can be used"):
        editor(benchmark, f"roundtrip:{tmp_path / 'out'}")


@pytest.mark.parametrize("wording", ["bench", "stored"])
def test_spatialedit_gets_the_wording_that_it_was_trained_with(
    benchmark: Benchmark, task, tmp_path: Path, wording: str
):
    recipe, module = spatialedit.build()
    spatialedit.randomize_adapter(module)
    options = {"model": "tiny", "sample_steps": 2, "guidance": 3.0, "wording": wording, "side": 32}
    checkpoint(tmp_path / "run", 1, "spatialedit", lambda folder: recipe.save(module, folder), **options)
    given = task("translate")
    found = editor(benchmark, tmp_path / "run").edit(given)
    source, words = given.image, given.instruction
    if wording == "bench":
        source, words = to_benchmark_style(source, given.record.model_dump(mode="json", by_alias=True))
        assert "red box" in words and not np.array_equal(source, given.image)
    recipe.pipeline.transformer = module.transformer.merge_and_unload()
    small = resized(source, (32, 32))
    expected = edit(recipe.pipeline, small, words, steps=2, guidance=3.0, generator=given.seed)
    assert found.shape == given.image.shape
    difference = np.abs(found.astype(int) - resized(expected, (64, 64)).astype(int))
    assert difference.max() <= 1


@pytest.fixture(scope="module")
def kontext(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny FLUX.1-Kontext, as a folder of diffusers."""
    folder = tmp_path_factory.mktemp("kontext")
    tiny_base().save_pretrained(folder)
    return folder


def test_a_pipeline_of_diffusers_keeps_its_defaults(benchmark: Benchmark, task, kontext: Path):
    from diffusers.pipelines.flux.pipeline_flux_kontext import FluxKontextPipeline

    opened = editor(benchmark, kontext)
    pipeline = opened._pipeline  # type: ignore[attr-defined]
    assert isinstance(pipeline, FluxKontextPipeline)
    calls: list[dict[str, Any]] = []

    class Recorded(FluxKontextPipeline):
        def __call__(self, **given: Any) -> Any:
            calls.append(given)
            # Its defaults, 28 steps at 1024 x 1024, take minutes on a CPU.
            return super().__call__(**given, num_inference_steps=1, height=32, width=32, max_area=32 * 32)

    pipeline.__class__ = Recorded
    given = task("translate")
    found = opened.edit(given)
    assert found.dtype == np.uint8 and found.shape[2] == 3
    assert set(calls[0]) == {"image", "prompt", "generator"}
    assert np.array_equal(np.asarray(calls[0]["image"]), given.image)
    assert calls[0]["prompt"] == given.instruction
    assert calls[0]["generator"].initial_seed() == given.seed
    assert np.array_equal(opened.edit(given), found)


def test_a_pipeline_that_does_not_edit_is_refused(benchmark: Benchmark, kontext: Path, tmp_path: Path):
    from diffusers.pipelines.flux.pipeline_flux import FluxPipeline

    parts = tiny_base().components
    FluxPipeline(**parts).save_pretrained(tmp_path / "flux")
    with pytest.raises(BadInput, match="FluxPipeline takes no image"):
        editor(benchmark, tmp_path / "flux")
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(BadInput, match="diffusers cannot load it"):
        editor(benchmark, tmp_path)


def roundtrips(vae: Any, image: U8) -> U8:
    """Recomputed: whole images only, whose sides are multiples of 32."""
    pixels = torch.tensor(image).movedim(-1, 0)[None] / 127.5 - 1
    with torch.no_grad():
        if vae.config.get("temperal_downsample"):
            decoded = vae.decode(vae.encode(pixels[:, :, None]).latent_dist.mean).sample[:, :, 0]
        else:
            decoded = vae.decode(vae.encode(pixels).latent_dist.mean).sample
    return ((decoded[0].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).movedim(0, -1).numpy()


@pytest.mark.parametrize("which", ["images", "video"])
def test_a_roundtrip_is_the_mode_of_the_vae_in_the_same_size(which: str):
    vae = tiny_base().vae if which == "images" else tiny_models(CPU, torch.float32).vae
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    assert np.array_equal(encode_and_decode(vae, image), roundtrips(vae, image))
    odd = image[:50, :75]
    padded = np.pad(odd, ((0, 14), (0, 21), (0, 0)), mode="edge")
    assert np.array_equal(encode_and_decode(vae, odd), roundtrips(vae, padded)[:50, :75])


def test_roundtrips_of_runs_and_pipelines(benchmark: Benchmark, task, kontext: Path, tmp_path: Path):
    recipe, net = spatialdiff.built()
    recipe.save(net, tmp_path / "diff")
    other, module = spatialedit.build()
    other.save(module, tmp_path / "edit")
    image = task("translate").image
    small = resized(image, (spatialdiff.SIDE, spatialdiff.SIDE))
    expected = {
        str(kontext): roundtrips(tiny_base().vae, image),
        str(tmp_path / "diff"): resized(roundtrips(recipe.frozen.base.vae, small), (64, 64)),
        str(tmp_path / "edit"): roundtrips(other.pipeline.vae, image),
    }
    for text, values in expected.items():
        found = editor(benchmark, f"roundtrip:{text}")
        assert found.description.startswith("roundtrip of ")
        assert np.array_equal(found.edit(task("translate")), values)
    made = run_editor(benchmark, open_editor(f"roundtrip:{kontext}", benchmark, timeout_s=1), tmp_path / "pred")
    assert made.complete


def test_a_run_that_does_not_edit_is_refused(benchmark: Benchmark, tmp_path: Path):
    checkpoint(tmp_path / "run", 1, "ildm", lambda folder: folder.mkdir())
    with pytest.raises(BadInput, match="recipe ildm does not edit images"):
        open_editor(str(tmp_path / "run"), benchmark, timeout_s=1)
