"""`spatialdata stream`: describe a batch of some shards, or measure the speed of batches."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...shards.streaming.dataset import stream
from ...shards.streaming.measure import measure
from ..config import read_options
from ..terminal import say


def run_stream(
    url: str, recipe: str, *, split: str, size: int, seconds: float, options: Sequence[str]
) -> dict[str, Any]:
    """Describe the first batch or, if `seconds` is above 0, measure the speed for that time.

    Raises BadInput for an unknown option, and the errors of `shards.stream`.
    """
    chosen = read_options(options)
    if seconds:
        return measure(url, recipe, split=split, size=size, seconds=seconds, **chosen)
    opened = stream(url, recipe, split=split, **chosen)
    batch = next(opened.batches(min(size, opened.largest_bucket)))
    return {
        "samples": opened.samples,
        "epoch": opened.length,
        "left_out": dict(opened.left_out),
        "image_sizes": [list(bucket.size) for bucket in opened.choice.buckets if bucket.size],
        "keys": batch["key"],
        "instruction": batch["instruction"],
        "batch": {name: _shape(value) for name, value in batch.items() if isinstance(value, np.ndarray)},
    }


def _shape(array: Any) -> dict[str, Any]:
    return {"shape": list(array.shape), "dtype": str(array.dtype)}


def print_stream(found: dict[str, Any]) -> None:
    """Print the result of `run_stream`."""
    if "batch" in found and isinstance(found["batch"], dict):
        sizes = " and ".join(f"{width} x {height}" for width, height in found["image_sizes"])
        drawn = f", {found['epoch']} of them in each epoch" if found["epoch"] < found["samples"] else ""
        say(f"{found['samples']} samples{drawn}{f', images of {sizes}' if sizes else ''}; the first batch:")
        for name, array in found["batch"].items():
            say(f"  {name:<20}{' x '.join(map(str, array['shape'])):<22}{array['dtype']}")
        for key, text in zip(found["keys"], found["instruction"], strict=True):
            say(f"  {key}: {text}")
        return
    say(f"{found['samples_per_second']:.1f} samples/s in batches of {found['batch']}, {found['threads']} threads")
    times = ", ".join(f"{name} {spent:.2f}" for name, spent in found["milliseconds"].items())
    say(f"milliseconds per sample and thread: {times} ({found['megabytes']:.2f} MB)")
    slowest = sorted(found["decode_milliseconds"].items(), key=lambda item: -item[1])
    say("decoding by member: " + ", ".join(f"{name} {spent:.2f}" for name, spent in slowest))
    for sentence in found["advice"]:
        say(f"- {sentence}")
