"""SAM 2's everything mode: the stage compared with transformers' mask-generation pipeline, same images, same grid.

    python benchmarks/sam2.py [--size tiny] [--grid 8] [--masks smooth noisy] [--images 2] [--rounds 3]
    python benchmarks/sam2.py --device cuda --dtype bfloat16 --size large --grid 32 --masks smooth --images 16

Random weights at the released sizes. The masks that they produce determine the time of the pipeline, which converts
every mask that passes its filters to run lengths in Python. `noisy` masks are those of unmodified random weights, in
which every other pixel differs: the worst case (a grid of 32 did not finish in 10 minutes). For `smooth` masks,
high-resolution features are disabled and upscaling is equal for the four pixels of a block, so outlines are as long as
real ones (the number of runs per mask at image size is printed). In both cases, logits are scaled to a standard
deviation of 10, the mask threshold covers a sixth of the image, half of the masks pass the predicted IoU, and two
thirds of those are stable.

The pipeline's image processor for SAM 2 needs torchvision, which a CPU build of torch may lack. Here its Pillow-based
parent is used with SAM 2's sizes. Run lengths, filters, boxes and loops are the library's own; non-maximum suppression,
which the library takes from torchvision, is OpenCV's. The pipeline decodes 64 points at once by default; on a CPU,
fewer are faster (`--points-per-batch 4`). Target: 5 times as fast as the pipeline. On a busy machine, compare the CPU
time of one thread (`--threads 1`), since threads that wait for each other use CPU time.
"""

import argparse
import io
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
from transformers.image_processing_backends import PilBackend
from transformers.models.sam import image_processing_pil_sam as sam
from transformers.models.sam2 import Sam2HieraDetConfig

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from spatialdata_builder.annotators.device import autocast
from spatialdata_builder.annotators.sam2 import Sam2Segments
from spatialdata_builder.annotators.sam2_masks import box_nms, grid_points, paint, stability_scores
from spatialdata_builder.shards.codecs import decode_labels, encode_image
from spatialdata_builder.shards.sample import Sample
from tests.annotators.factory import random_facts

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {},
    "small": {"blocks_per_stage": [1, 2, 11, 2], "global_attention_blocks": [7, 10, 13]},
    "large": {
        "hidden_size": 144,
        "num_attention_heads": 2,
        "blocks_per_stage": [2, 6, 36, 4],
        "embed_dim_per_stage": [144, 288, 576, 1152],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "window_size_per_stage": [8, 4, 16, 8],
        "global_attention_blocks": [23, 33, 43],
    },
}
COVERED, GOOD, STABLE = 1 / 6, 1 / 2, 2 / 3


@dataclass(frozen=True)
class Thresholds:
    """Thresholds for the masks of random weights, with the names that pipeline and stage use."""

    mask_threshold: float
    pred_iou_thresh: float
    stability_score_thresh: float


class Sam2ProcessorPil(sam.SamImageProcessorPil):
    """SAM 2's image processor without torchvision: resizes to a square without padding, and interpolates masks once
    instead of twice."""

    size = {"height": 1024, "width": 1024}  # noqa: RUF012
    mask_size = {"height": 256, "width": 256}  # noqa: RUF012
    do_pad = False

    def resize(self, image: Any, size: Any, resample: Any = None, **kwargs: Any) -> Any:
        return PilBackend.resize(self, image, size=size, resample=resample, **kwargs)

    def post_process_masks(self, masks: Any, original_sizes: Any, *_: Any, **__: Any) -> list[torch.Tensor]:
        return [
            torch.nn.functional.interpolate(mask, tuple(size), mode="bilinear", align_corners=False)
            for mask, size in zip(masks, original_sizes, strict=True)
        ]

    def post_process_for_mask_generation(self, all_masks: Any, all_scores: Any, all_boxes: Any, threshold: float):
        keep = np.flatnonzero(box_nms(all_boxes.numpy(force=True), all_scores.numpy(force=True), threshold))
        runs = [all_masks[index] for index in keep]
        # The library's own function: pixels from run lengths, one by one.
        return [sam._rle_to_mask(run) for run in runs], all_scores[keep], runs, all_boxes[keep]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="autocast dtype of both")
    parser.add_argument("--grid", type=int, default=8, help="points per side")
    parser.add_argument("--masks", nargs="+", choices=("smooth", "noisy"), default=["smooth", "noisy"])
    parser.add_argument("--side", type=int, default=512, help="side of the images")
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--points-per-batch", type=int, default=64, help="of the pipeline; the stage uses its default")
    parser.add_argument("--threads", type=int, default=0, help="torch threads on the CPU; 0: all cores")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    print(
        f"SAM 2.1-{arguments.size}, {arguments.device}, {arguments.dtype}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads, {arguments.images} images of {arguments.side}², grid {arguments.grid}²"
    )
    for masks in arguments.masks:
        with tempfile.TemporaryDirectory() as folder:
            bench(arguments, masks, folder)


def bench(arguments: argparse.Namespace, masks: str, folder: str) -> None:
    images = [picture(arguments.side, seed) for seed in range(arguments.images)]
    thresholds = make_checkpoint(folder, arguments.size, images[0], smooth=masks == "smooth")
    stage = Sam2Segments(
        model=folder,
        dtype=arguments.dtype,
        views=("target",),
        points_per_side=arguments.grid,
        gpus=float(arguments.device == "cuda"),
        **vars(thresholds),
    )
    model = stage.setup()
    samples = as_samples(images)
    generator: Any = transformers.pipeline(
        "mask-generation",
        model=transformers.Sam2Model.from_pretrained(folder, dtype="float32"),
        image_processor=Sam2ProcessorPil(),
        device=arguments.device,
    )
    options = {
        "points_per_batch": arguments.points_per_batch,
        "points_per_crop": arguments.grid,
        "crops_nms_thresh": stage.box_nms_thresh,
        "output_rle_mask": True,
        **vars(thresholds),
    }

    def pipeline() -> list[dict[str, Any]]:
        with autocast(torch.device(arguments.device), arguments.dtype):
            return [generator(Image.open(io.BytesIO(data)), **options) for data in images]

    variants: dict[str, Callable[[], Any]] = {"pipeline": pipeline, "stage": lambda: stage(model, samples)}
    print(f"\n{masks} masks")
    compare(variants["pipeline"](), variants["stage"](), arguments.side)
    report(measure(variants, arguments.rounds), arguments.images)


def compare(found: list[dict[str, Any]], rows: list[Any], side: int) -> None:
    """Print the number of masks, and how well the segments of both sides agree. Also warms up both."""
    runs = [len(run["counts"]) for image in found for run in image["rle_mask"]]
    kept = statistics.mean(len(image["masks"]) for image in found)
    theirs = [paint([np.asarray(mask, bool) for mask in image["masks"]], (side, side)) for image in found]
    ours = [decode_labels(row.columns["segment"]) for row in rows]
    same = statistics.mean(agreement(a, b) for a, b in zip(theirs, ours, strict=True))
    segments = [statistics.mean(int(labels.max()) for labels in side) for side in (theirs, ours)]
    print(
        f"  the pipeline keeps {kept:.0f} masks per image; median runs per mask: {statistics.median(runs or [0]):.0f}"
    )
    print(f"  segments per image: pipeline {segments[0]:.0f}, stage {segments[1]:.0f}; ", end="")
    print(f"{same:.2%} of the pixels are in corresponding segments")


def agreement(theirs: np.ndarray, ours: np.ndarray) -> float:
    """Share of pixels in corresponding segments: for each segment of `theirs`, the one of `ours` that overlaps most."""
    both = np.zeros((int(theirs.max()) + 1, int(ours.max()) + 1), int)
    np.add.at(both, (theirs, ours), 1)
    return float(both.max(axis=1).sum() / theirs.size)


def measure(variants: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[tuple[float, float, float]]]:
    """Wall seconds, CPU seconds and peak GiB (GPU memory if there is a GPU, else resident memory) of each round."""
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, variant in variants.items():
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            Path("/proc/self/clear_refs").write_text("5")
            wall, cpu = time.perf_counter(), time.process_time()
            variant()
            found[name].append((time.perf_counter() - wall, time.process_time() - cpu, peak_gib()))
    return found


def peak_gib() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 2**20


def report(rounds: dict[str, list[tuple[float, float, float]]], images: int) -> None:
    medians = {name: [statistics.median(part) for part in zip(*each, strict=True)] for name, each in rounds.items()}
    print(f"  {'':10}{'wall s/image':>14}{'CPU s/image':>14}{'peak GiB':>10}")
    for name, (wall, cpu, peak) in medians.items():
        print(f"  {name:10}{wall / images:14.2f}{cpu / images:14.2f}{peak:10.2f}")
    theirs, ours = medians.values()
    ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
    print(
        f"  pipeline / stage: {ratios[0]:.2f} x wall, {ratios[1]:.2f} x CPU time, {ratios[2]:.2f} x memory (target 5 x)"
    )


def make_checkpoint(folder: str, size: str, image: bytes, *, smooth: bool) -> Thresholds:
    """Write random weights that produce usable masks; returns thresholds that pass the shares COVERED, GOOD, STABLE."""
    torch.manual_seed(0)
    backbone = Sam2HieraDetConfig(**SIZES[size])
    vision = transformers.Sam2VisionConfig(
        backbone_config=backbone, backbone_channel_list=backbone.embed_dim_per_stage[::-1]
    )
    model = transformers.Sam2Model(transformers.Sam2Config(vision_config=vision)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(std=weight[0].numel() ** -0.5)
        decoder = model.mask_decoder
        if smooth:
            for convolution in (decoder.upscale_conv1, decoder.upscale_conv2):
                convolution.weight[:] = convolution.weight.mean(dim=(2, 3), keepdim=True) * 2
            for skip in (decoder.conv_s0, decoder.conv_s1):
                skip.weight.zero_()
        thresholds = calibrate(model, image)
    model.save_pretrained(folder)
    return thresholds


def calibrate(model: Any, image: bytes) -> Thresholds:
    """Scale the mask logits in place, and find thresholds on a grid of 4 x 4 points."""
    square = Image.open(io.BytesIO(image)).resize((1024, 1024), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.asarray(square, np.float32).transpose(2, 0, 1)[None] / 127.5 - 1)
    points = torch.from_numpy(grid_points(4) * 1024)[None, :, None]
    output = model(pixels, input_points=points)
    logits, ious = output.pred_masks[0].flatten(0, 1), output.iou_scores[0].flatten()
    gain = float(10 / logits.std())
    for head in model.mask_decoder.output_hypernetworks_mlps:
        head.proj_out.weight *= gain
        head.proj_out.bias *= gain
    logits = logits * gain
    threshold = float(logits.flatten()[::101].quantile(1 - COVERED))
    good = ious > ious.quantile(1 - GOOD)
    stable = stability_scores(logits[good], threshold, 1.0).quantile(1 - STABLE)
    return Thresholds(threshold, float(ious.quantile(1 - GOOD)), float(stable))


def picture(side: int, seed: int) -> bytes:
    """Shaded surfaces, as lossless WebP like in a layer."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    waves = [np.sin(rng.uniform(2, 8) * x + rng.uniform(2, 8) * y + rng.uniform(0, 6)) for _ in range(3)]
    return encode_image(np.clip(np.stack([128 + 60 * wave for wave in waves], axis=-1), 0, 255).astype(np.uint8))


def as_samples(images: list[bytes]) -> list[Sample]:
    facts = random_facts(0).model_dump_json()
    return [Sample(f"a-{i}", "train", {}, {"pair": {"facts": facts, "target": data}}) for i, data in enumerate(images)]


if __name__ == "__main__":
    main()
