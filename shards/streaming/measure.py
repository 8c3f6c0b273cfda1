"""Measures how fast a set streams on this machine and which step takes the time: `spatialdata stream --benchmark`."""

import os
import time
from typing import Any, Final

import numpy as np

from .dataset import Stream, stream
from .fetch import Fetched, read_json

_PROBED: Final = 64
"""Number of samples of which each step is timed separately."""
_DOMINANT: Final = 0.5
"""A step that takes more than this share of the time gets advice."""


def measure(
    url: str, recipe: str = "full", *, split: str = "train", size: int = 8, seconds: float = 10.0, **options: Any
) -> dict[str, Any]:
    """Stream for `seconds`, after timing the steps of single samples.

    Returns:
        samples_per_second; `milliseconds` per sample in one thread: read, decode (also by member), collate; `threads`;
        `megabytes` read per sample; `advice`, a list of sentences.

    Raises the errors of `shards.stream`.
    """
    opened = stream(url, recipe, split=split, **options)
    size = min(size, opened.largest_bucket)
    steps = _probe(opened)
    began, count = time.perf_counter(), 0
    run = opened.batches(size, epochs=None)
    next(run)  # wait until the threads have started
    began = time.perf_counter()
    for batch in run:
        count += len(batch["key"])
        if time.perf_counter() - began > seconds:
            break
    rate = count / (time.perf_counter() - began)
    run.close()
    threads = opened.options.threads or len(os.sched_getaffinity(0))
    found = {
        "samples_per_second": round(rate, 2),
        "samples": opened.samples,
        "left_out": dict(opened.left_out),
        "batch": size,
        "threads": threads,
        "members": opened.members,
        **steps,
    }
    return {**found, "advice": _advice(found, opened)}


def _probe(opened: Stream) -> dict[str, Any]:
    numbers = opened.order(min(_PROBED, opened.length))
    opened_shards: set[str] = set()
    read = decode = collate = 0.0
    by_member = dict.fromkeys(opened.arrays, 0.0)
    bytes_read = 0
    for number in numbers:
        began = time.perf_counter()
        sample = opened.fetch(number)
        if sample.shard not in opened_shards:  # repeat, so that opening a shard is not counted
            opened_shards.add(sample.shard)
            began = time.perf_counter()
            sample = opened.fetch(number)
        read += time.perf_counter() - began
        bytes_read += sum(len(data) for data in sample.members.values())
        record = read_json(sample)
        for name in opened.arrays:
            spent, collated = _decode(opened, name, sample, record)
            by_member[name] += spent
            decode += spent
            collate += collated
    each = 1e3 / len(numbers)
    return {
        "milliseconds": {
            "read": round(read * each, 3),
            "decode": round(decode * each, 3),
            "collate": round(collate * each, 3),
        },
        "decode_milliseconds": {name: round(spent * each, 3) for name, spent in by_member.items()},
        "megabytes": round(bytes_read / len(numbers) / 1e6, 3),
    }


def _decode(opened: Stream, name: str, sample: Fetched, record: dict[str, Any]) -> tuple[float, float]:
    began = time.perf_counter()
    pixels = opened.decode(name, sample, record)
    decoded = time.perf_counter()
    slot = np.empty_like(pixels)
    middle = time.perf_counter()
    slot[...] = pixels
    return decoded - began, time.perf_counter() - middle


def _advice(found: dict[str, Any], opened: Stream) -> list[str]:
    steps: dict[str, float] = found["milliseconds"]
    total = sum(steps.values())
    slowest = max(found["decode_milliseconds"], key=lambda name: found["decode_milliseconds"][name])
    cores = len(os.sched_getaffinity(0))
    advice: list[str] = []
    if steps["read"] > _DOMINANT * total:
        advice.append("reading takes most of the time: set cache=FOLDER for a remote set, order='shard' for disks")
        advice.append(f"more threads hide latency: set threads={4 * found['threads']}")
    elif steps["decode"] > _DOMINANT * total:
        share = found["decode_milliseconds"][slowest] / max(steps["decode"], 1e-9)
        advice.append(
            f"decoding takes most of the time, {slowest} {100 * share:.0f} % of it: leave out members that are not used"
        )
        if slowest in ("source", "target") and opened.lossless_images:
            advice.append(
                "jpg images decode about four times faster, but are lossy: `shard --set shard.codecs.image=jpg`"
            )
    if found["threads"] < cores:
        advice.append(f"there are {cores} cores, but only {found['threads']} threads: threads=0 uses all cores")
    return advice
