"""Depth-Anything-V2 on tiny random checkpoints of the real architecture, compared with transformers' own pipeline."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    AutoImageProcessor,
    AutoModelForDepthEstimation,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
)
from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil

from spatialdata_builder.annotators.checkpoint import Checkpoint, digest_of
from spatialdata_builder.annotators.depth_anything import DepthAnything, DepthAnythingMetric, DepthEstimator, Resizing
from spatialdata_builder.annotators.device import to_device
from spatialdata_builder.shards.codecs import U8, decode_confidence, decode_depth, decode_image, encode_image
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.sample import Reject, Row, Sample
from spatialdata_builder.shards.schema import MapInfo
from tests.annotators.factory import random_facts
from tests.annotators.pictures import cut_off

SIDE = 70
SHAPES = ((64, 64), (48, 80), (80, 48), (64, 64), (33, 90), (70, 70))
"""Height and width: several sizes, one of them twice, and one that needs no resizing."""


def make_checkpoint(folder: Path, kind: str, seed: int = 3) -> Path:
    """Save a checkpoint in the released layout: config.json, model.safetensors, preprocessor_config.json."""
    torch.manual_seed(seed)
    backbone = Dinov2Config(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=32,
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=16,
        head_hidden_size=8,
        depth_estimation_type=kind,
        max_depth=20 if kind == "metric" else None,
    )
    network = DepthAnythingForDepthEstimation(config)
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1 or "lambda" in name:
            torch.nn.init.normal_(parameter, std=0.12)
    torch.nn.init.normal_(network.head.conv3.weight, std=2.0)
    torch.nn.init.constant_(network.head.conv3.bias, 0.8)
    network.save_pretrained(folder)
    DPTImageProcessorPil(
        size={"height": SIDE, "width": SIDE},
        keep_aspect_ratio=True,
        ensure_multiple_of=14,
        resample=3,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def relative(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("models") / "tiny-relative-hf", "relative")


@pytest.fixture(scope="module")
def metric(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("models") / "tiny-metric-hf", "metric")


def picture(shape: tuple[int, int], seed: int) -> bytes:
    """Smooth colors with some grain, lossless."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize(
        shape[::-1], Image.Resampling.BICUBIC
    )
    grain = rng.integers(-12, 13, (*shape, 3))
    return encode_image(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8))


def samples() -> list[Sample]:
    facts = random_facts(0, "translate").model_dump_json()
    return [
        Sample(
            f"a-{i}",
            "train",
            {},
            {"pair": {"facts": facts, "source": picture(shape, 2 * i), "target": picture(shape[::-1], 2 * i + 1)}},
        )
        for i, shape in enumerate(SHAPES)
    ]


def reference(folder: Path, image: bytes) -> np.ndarray:
    """Depth by transformers' own processor, model and post-processing: float32 H x W."""
    rgb = decode_image(image)
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    network = AutoModelForDepthEstimation.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        output = network(**processor(images=Image.fromarray(rgb), return_tensors="pt"))
    return processor.post_process_depth_estimation(output, [rgb.shape[:2]])[0]["predicted_depth"].numpy()


def read(row: Row | Reject, member: str) -> tuple[np.ndarray, MapInfo]:
    assert isinstance(row, Row), row
    info = MapInfo.model_validate(json.loads(str(row.columns["maps"]))[member])
    data = row.columns[member]
    assert isinstance(data, bytes)
    return decode_depth(data, info), info


def confidence(row: Row | Reject, member: str) -> tuple[np.ndarray, MapInfo]:
    assert isinstance(row, Row)
    info, data = MapInfo.model_validate(json.loads(str(row.columns["maps"]))[member]), row.columns[member]
    assert isinstance(data, bytes)
    return decode_confidence(data, info), info


@pytest.mark.parametrize("stage", [DepthAnything, DepthAnythingMetric])
def test_the_stage_equals_transformers_processor_model_and_post_processing(
    stage: type[DepthAnything | DepthAnythingMetric], relative: Path, metric: Path
):
    folder = relative if stage is DepthAnything else metric
    asked = stage(model=str(folder), gpus=0, batch_size=2)
    given = samples()
    rows = asked(asked.setup(), given)
    for sample, row in zip(given, rows, strict=True):
        for view, member in (("source", f"source_{stage.layer}"), ("target", stage.layer)):
            image = sample["pair"][view]
            assert isinstance(image, bytes)
            expected = reference(folder, image)
            found, info = read(row, member)
            span = float(np.ptp(expected))
            assert span > 0.05, "the checkpoint gives nearly constant depth"
            assert found.shape == expected.shape and found.dtype == np.float32
            np.testing.assert_allclose(found, expected, rtol=0, atol=info.scale / 2 + 1e-4 * span)
            assert (info.estimator, info.revision) == (folder.name, digest_of(folder))
            assert (info.kind, info.unit) == (
                ("metric", "m") if stage is DepthAnythingMetric else ("relative_inverse", "")
            )
            if stage is DepthAnythingMetric:
                values, info = confidence(row, member.replace("metric", "confidence"))
                assert info.estimator == "known" and (values == (found > 0)).all()


def test_bytes_do_not_depend_on_the_other_samples_of_a_call(relative: Path):
    asked = DepthAnything(model=str(relative), gpus=0, batch_size=16, views=("target",))
    model = asked.setup()
    given = samples()
    together = asked(model, given)
    alone = [asked(model, [sample])[0] for sample in given]
    assert together == alone
    assert all(isinstance(row, Row) and set(row.columns) == {"depth", "maps"} for row in together)


def test_an_unreadable_image_rejects_only_its_sample(relative: Path):
    asked = DepthAnything(model=str(relative), gpus=0)
    given = samples()[:2]
    for damaged in (b"no image", cut_off(given[0]["pair"]["target"])):
        broken = Sample("b-1", "train", {}, {"pair": {**given[0]["pair"], "target": damaged}})
        rows = asked(asked.setup(), [given[0], broken, given[1]])
        assert isinstance(rows[1], Reject) and rows[1].reason == "unreadable_image" and "the target" in rows[1].detail
        assert [rows[0], rows[2]] == asked(asked.setup(), given)


@pytest.mark.parametrize("shape", [*SHAPES, (512, 512), (37, 201), (600, 100)])
@pytest.mark.parametrize("keep", [True, False])
def test_resizing_equals_transformers_pillow_processor(
    shape: tuple[int, int], keep: bool, relative: Path, tmp_path: Path
):
    config = json.loads((relative / "preprocessor_config.json").read_text())
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**config, "keep_aspect_ratio": keep}))
    rgb: U8 = decode_image(picture(shape, 5))
    resizing = Resizing.load(Checkpoint(str(tmp_path), tmp_path, ""))
    pixels = resizing(rgb).astype(np.float64) * resizing.scale + resizing.shift
    expected = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")(images=rgb, return_tensors="np")
    np.testing.assert_allclose(pixels.transpose(2, 0, 1), expected["pixel_values"][0], rtol=0, atol=2e-6)


@pytest.mark.parametrize("switched", [{"do_rescale": False}, {"do_normalize": False}])
def test_switched_off_steps_stay_off(switched: dict[str, bool], relative: Path, tmp_path: Path):
    config = json.loads((relative / "preprocessor_config.json").read_text())
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**config, **switched}))
    rgb = decode_image(picture((40, 40), 1))
    resizing = Resizing.load(Checkpoint(str(tmp_path), tmp_path, ""))
    pixels = resizing(rgb).astype(np.float64) * resizing.scale + resizing.shift
    expected = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")(images=rgb, return_tensors="np")
    np.testing.assert_allclose(pixels.transpose(2, 0, 1), expected["pixel_values"][0], rtol=2e-6, atol=2e-6)


def test_a_very_long_image_keeps_at_least_one_patch(relative: Path):
    resizing = Resizing.load(Checkpoint(str(relative), relative, ""))
    assert resizing.size(100, 2) == (SIDE, 14)


def test_bfloat16_keeps_the_levels_of_float32(relative: Path):
    """Autocast rounds the features before the last layer but not the depth: bfloat16 has 128 levels per power of
    two."""
    rgb = decode_image(picture((64, 64), 9))
    found: dict[str, torch.Tensor] = {}
    for dtype in ("float32", "bfloat16"):
        model = DepthAnything(model=str(relative), gpus=0, dtype=dtype).setup()
        assert isinstance(model, DepthEstimator)
        found[dtype] = model.predict(to_device([Resizing.load(checkpoint(relative))(rgb)], torch.device("cpu")))
    half = found["bfloat16"]
    assert half.dtype == torch.float32
    positive = half[half > 0]
    assert (positive.bfloat16().float() != positive).float().mean() > 0.9
    span = found["float32"].max() - found["float32"].min()
    assert (half - found["float32"]).abs().max() < 0.05 * span


def checkpoint(folder: Path) -> Checkpoint:
    return Checkpoint(str(folder), folder, "")


def test_the_wrong_kind_of_checkpoint_is_rejected_at_setup(relative: Path, metric: Path):
    with pytest.raises(
        BadInput, match=r"layers\.depth\.model: .* estimates metric depth, and layer 'depth' is relative"
    ):
        DepthAnything(model=str(metric), gpus=0).setup()
    with pytest.raises(BadInput, match=r"layers\.metric\.model: .*Depth-Anything-V2-Metric-Indoor-Large-hf"):
        DepthAnythingMetric(model=str(relative), gpus=0).setup()


def copy_of(folder: Path, to: Path) -> Path:
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


def test_damaged_and_foreign_checkpoints_are_one_line(relative: Path, tmp_path: Path):
    folder = copy_of(relative, tmp_path)
    stage = DepthAnything(model=str(folder), gpus=0)
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: value for name, value in weights.items() if "head.conv3" not in name}, folder / "model.safetensors"
    )
    with pytest.raises(BadInput, match=r"lacks 2 weights, such as head\.conv3"):
        stage.setup()
    (folder / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(BadInput, match="cannot be loaded"):
        stage.setup()
    (folder / "config.json").write_text('{"model_type": "dpt"}')
    with pytest.raises(BadInput, match="has model type 'dpt'"):
        stage.setup()
    (folder / "config.json").unlink()
    with pytest.raises(BadInput, match="not a model folder"):
        stage.setup()
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(BadInput, match="no image-processor configuration") as caught:
        stage.setup()
    assert "\n" not in str(caught.value)


def test_a_missing_gpu_is_reported_before_anything_is_loaded(relative: Path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(BadInput, match=r"engine\.resources\.depth\.gpus"):
        DepthAnything(model=str(relative), gpus=0.5).setup()
