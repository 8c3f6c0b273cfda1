"""Depth-Anything-V2: the stage compared with transformers' depth-estimation pipeline on the same images.

    python benchmarks/depth_anything.py [--model-size small] [--images 24] [--side 512] [--rounds 5]
    python benchmarks/depth_anything.py --device cuda --model-size large --batch 32 --images 512 --cpus 16

Random weights at the released sizes (weights do not affect the time). Three variants, interleaved, in one process:
`pipeline` with its defaults: batch size 1, float32, images opened from bytes, maps left as tensors; `stage`, from the
same bytes to encoded maps; `bare model`, the stage's network on the stage's batches, with pixels already on the device.
Targets: 1.3 times as fast as the pipeline on a CPU, 3 times on a GPU; at most 5 % slower than the bare model on a GPU.
"""

import argparse
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil

from spatialdata_builder.annotators.depth_anything import DepthAnything, DepthEstimator, Resizing
from spatialdata_builder.annotators.device import to_device
from spatialdata_builder.shards.codecs import decode_depth, decode_image, encode_image
from spatialdata_builder.shards.sample import Row, Sample
from spatialdata_builder.shards.schema import MapInfo
from tests.annotators.factory import random_facts

INPUT = 518


@dataclass(frozen=True)
class Size:
    """The configuration values in which the released checkpoints differ."""

    width: int
    layers: int
    heads: int
    taps: tuple[int, ...]
    neck: tuple[int, ...]
    fusion: int


SIZES = {
    "small": Size(384, 12, 6, (3, 6, 9, 12), (48, 96, 192, 384), 64),
    "base": Size(768, 12, 12, (3, 6, 9, 12), (96, 192, 384, 768), 128),
    "large": Size(1024, 24, 16, (5, 12, 18, 24), (256, 512, 1024, 1024), 256),
}
PEAK_TFLOPS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0}
"""Dense bfloat16 peak according to the vendors, by part of the device name."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-size", choices=SIZES, default="small")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16", "float16"), default="auto")
    parser.add_argument("--batch", type=int, default=16, help="batch size of the stage, on a GPU")
    parser.add_argument("--pipeline-batch", type=int, default=1)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cpus", type=float, default=2, help="decoding and encoding threads of the stage")
    parser.add_argument(
        "--threads", type=int, default=0, help="torch threads; with 1, other load hardly affects CPU times"
    )
    parser.add_argument("--compile", action="store_true", help="torch.compile in the stage")
    parser.add_argument("--peak-tflops", type=float, default=0.0, help="peak of the device, for its utilization (MFU)")
    parser.add_argument("--profile", action="store_true", help="profile one forward pass of each network")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads or torch.get_num_threads())
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        config = make_checkpoint(Path(folder), arguments.model_size)
        bench(arguments, folder, config)


def make_checkpoint(folder: Path, size: str) -> transformers.DepthAnythingConfig:
    """Write config.json, model.safetensors and preprocessor_config.json as released, but with random weights."""
    torch.manual_seed(0)
    config = released_config(size)
    network = transformers.DepthAnythingForDepthEstimation(config)
    # Keeps depth from being clipped at zero, which would make the maps incomparable.
    torch.nn.init.normal_(network.head.conv3.weight, std=1.0)
    torch.nn.init.constant_(network.head.conv3.bias, 1.0)
    network.save_pretrained(folder)
    DPTImageProcessorPil(
        size={"height": INPUT, "width": INPUT}, keep_aspect_ratio=True, ensure_multiple_of=14, resample=3
    ).save_pretrained(folder)
    return config


def released_config(size: str) -> transformers.DepthAnythingConfig:
    part = SIZES[size]
    backbone = transformers.Dinov2Config(
        hidden_size=part.width,
        num_hidden_layers=part.layers,
        num_attention_heads=part.heads,
        image_size=INPUT,
        patch_size=14,
        out_features=[f"stage{tap}" for tap in part.taps],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    return transformers.DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=part.width,
        neck_hidden_sizes=list(part.neck),
        fusion_hidden_size=part.fusion,
        head_hidden_size=32,
    )


def bench(arguments: argparse.Namespace, folder: str, config: transformers.DepthAnythingConfig) -> None:
    images = [picture(arguments.side, seed) for seed in range(arguments.images)]
    stage = DepthAnything(
        model=folder,
        dtype=arguments.dtype,
        compile=arguments.compile,
        views=("target",),
        batch_size=arguments.batch,
        cpus=arguments.cpus,
        gpus=float(arguments.device == "cuda"),
    )
    model = stage.setup()
    pipeline: Any = transformers.pipeline("depth-estimation", model=folder, device=arguments.device)
    samples = as_samples(images)
    variants: dict[str, Callable[[], object]] = {
        "pipeline": lambda: run_pipeline(pipeline, images, arguments.pipeline_batch),
        "stage": lambda: run_stage(stage, model, samples),
        "bare model": bare_model(stage, model, folder, images),
    }
    print(
        f"Depth-Anything-V2-{arguments.model_size}, {device_name(arguments.device)}, dtype {arguments.dtype}, torch ",
        end="",
    )
    print(f"{torch.__version__}, {torch.get_num_threads()} threads, {len(images)} images of {arguments.side}²")
    print(f"  largest difference of the maps: {disagreement(variants):.1e} of the largest depth")
    seconds = measure(variants, arguments.rounds)
    report(seconds, len(images), arguments, config)
    if arguments.profile:
        profile("pipeline", lambda: run_pipeline(pipeline, images[:1], 1))
        profile("stage", lambda: run_stage(stage, model, samples[:1]))


def picture(side: int, seed: int) -> bytes:
    """Shaded surfaces with texture and a little sensor noise, as lossless WebP like in a layer."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    waves = [np.sin(rng.uniform(5, 60) * x + rng.uniform(5, 60) * y + rng.uniform(0, 6)) for _ in range(3)]
    shade = np.stack([128 + 60 * wave * (1 - 0.5 * y) for wave in waves], axis=-1) + rng.normal(0, 1, (side, side, 3))
    return encode_image(np.clip(shade, 0, 255).astype(np.uint8))


def as_samples(images: list[bytes]) -> list[Sample]:
    facts = random_facts(0).model_dump_json()
    return [Sample(f"a-{i}", "train", {}, {"pair": {"facts": facts, "target": data}}) for i, data in enumerate(images)]


def run_pipeline(pipeline: Any, images: list[bytes], batch: int) -> list[np.ndarray]:
    opened = [Image.open(io.BytesIO(data)) for data in images]
    return [found["predicted_depth"].numpy(force=True) for found in pipeline(opened, batch_size=batch)]


def run_stage(stage: DepthAnything, model: DepthEstimator, samples: list[Sample]) -> list[np.ndarray | Row]:
    rows: list[Any] = []
    for first in range(0, len(samples), stage.samples_per_call):
        rows += stage(model, samples[first : first + stage.samples_per_call])
    return rows


def bare_model(stage: DepthAnything, model: DepthEstimator, folder: str, images: list[bytes]) -> Callable[[], object]:
    device = torch.device("cuda" if stage.gpus else "cpu")
    resizing = Resizing.load(model.checkpoint)
    pixels = [resizing(decode_image(data)) for data in images]
    size = stage.batch_size if device.type == "cuda" else 1
    ready = [to_device(pixels[first : first + size], device) for first in range(0, len(pixels), size)]

    def run() -> None:
        for batch in ready:
            model.predict(batch)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return run


def disagreement(variants: dict[str, Callable[[], Any]]) -> float:
    """Largest difference between the pipeline's maps and the stage's decoded maps, relative to the largest depth. Also
    warms up all variants."""
    worst = 0.0
    for expected, row in zip(variants["pipeline"](), variants["stage"](), strict=True):
        info = MapInfo.model_validate(json.loads(row.columns["maps"])["depth"])
        found = decode_depth(row.columns["depth"], info)
        worst = max(worst, float(np.abs(found - expected).max() / expected.max()))
    variants["bare model"]()
    return worst


def measure(variants: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[tuple[float, float, float]]]:
    """Wall seconds, CPU seconds and peak GiB (GPU memory if there is a GPU, else resident memory) of each round."""
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, variant in variants.items():
            reset_peak()
            wall, cpu = time.perf_counter(), time.process_time()
            variant()
            found[name].append((time.perf_counter() - wall, time.process_time() - cpu, peak_gib()))
    return found


def reset_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    Path("/proc/self/clear_refs").write_text("5")


def peak_gib() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


def report(
    seconds: dict[str, list[tuple[float, float, float]]],
    images: int,
    arguments: argparse.Namespace,
    config: transformers.DepthAnythingConfig,
) -> None:
    medians = {
        name: tuple(statistics.median(values) for values in zip(*rounds, strict=True))
        for name, rounds in seconds.items()
    }
    gpu = arguments.device == "cuda"
    print(f"  {'':12}{'wall s/image':>14}{'CPU s/image':>14}{'images/s':>12}{'peak GiB':>12}")
    for name, (wall, cpu, peak) in medians.items():
        print(f"  {name:12}{wall / images:14.4f}{cpu / images:14.4f}{images / wall:12.2f}{peak:12.2f}")
    target = 3.0 if gpu else 1.3
    (wall, cpu, _), (stage_wall, stage_cpu, _), (bare, bare_cpu, _) = medians.values()
    print(f"  pipeline / stage: {wall / stage_wall:.2f} x wall, {cpu / stage_cpu:.2f} x CPU time (target {target} x)")
    print(f"  stage over its bare model: {stage_wall / bare - 1:+.1%} wall, {stage_cpu / bare_cpu - 1:+.1%} CPU time")
    flops = forward_flops(config)
    print(
        f"  {flops / 1e9:.0f} GFLOP per image; the stage does {flops * images / stage_wall / 1e12:.2f} TFLOP/s", end=""
    )
    named = next((value for part, value in PEAK_TFLOPS.items() if gpu and part in device_name("cuda")), 0.0)
    peak = arguments.peak_tflops or named
    print(f", {flops * images / stage_wall / 1e12 / peak:.1%} of {peak:.0f} (MFU)" if peak else "")


def forward_flops(config: transformers.DepthAnythingConfig) -> float:
    """FLOPs of one forward pass at 518², counted on the meta device."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        network = transformers.AutoModelForDepthEstimation.from_config(config, attn_implementation="eager").eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(pixel_values=torch.zeros(1, 3, INPUT, INPUT))
    return float(counter.get_total_flops())


def device_name(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "CPU")


def profile(name: str, run: Callable[[], object]) -> None:
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as trace

    with trace(
        activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    ) as profiled:
        run()
    print(f"\n{name}, one image")
    print(profiled.key_averages().table(sort_by="self_cpu_time_total", row_limit=14, max_name_column_width=44))


if __name__ == "__main__":
    main()
