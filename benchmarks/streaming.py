"""Our reader compared with webdataset, wids, litdata and Hugging Face datasets on the same samples. Prints ratios, or
JSON.

    python benchmarks/streaming.py --samples 2000 --side 512

Every reader gives shuffled batches of stacked arrays of recipe spatialdiff (source, target, depth), decoded by the same
functions, with its best number of workers (threads for ours). Files are in the page cache. The limit is a plain thread
pool that decodes the same bytes without order or batches. litdata reads its own format, converted before the
measurement. Readers that are not installed are listed as absent.

    pip install webdataset wids litdata datasets
"""

import importlib.util
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from spatialdata_builder.shards import codecs, stream
from spatialdata_builder.shards.index import pack_shard, write_manifest
from spatialdata_builder.shards.layout import shard_name
from spatialdata_builder.shards.recipes import get_recipe
from spatialdata_builder.shards.streaming.decode import decoder_of
from tests.shards.factory import make_sample

MEMBERS = ("depth", "source", "target")
BATCH = 16
UNIQUE = 32
"""Number of distinct images, repeated under different keys; all fit into the page cache."""


def picture(side: int, seed: int) -> Any:
    """A photograph-like image: noise at every scale, and a little sensor noise."""
    random = np.random.default_rng(seed)
    total = np.zeros((side, side, 3))
    import cv2

    for scale in (4, 8, 16, 32, 64, 128):
        coarse = random.normal(0, 1, (scale, scale, 3))
        total += cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC) * 40 / np.sqrt(scale)
    return np.clip(128 + total + random.normal(0, 1.5, total.shape), 0, 255).astype(np.uint8)


def inverse_depth(side: int, seed: int) -> Any:
    """Like a renderer's depth: a floor with spheres on it."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    depth = 2 + 6 * (1 - y)
    for near in random.uniform(1.5, 6, 5):
        across, down, radius = random.uniform((0.1, 0.4, 0.06), (0.9, 0.9, 0.18))
        inside = radius**2 - (x - across) ** 2 - (y - down) ** 2
        depth = np.where(inside > 0, np.minimum(depth, near - np.sqrt(np.maximum(inside, 0))), depth)
    return (1 / depth).astype(np.float32)


def make_set(folder: Path, samples: int, side: int, codec: str, per_shard: int) -> None:
    recipe = get_recipe("spatialdiff")
    fields = recipe.fields(codec)  # type: ignore[arg-type]
    unique: list[dict[str, bytes]] = []
    for i in range(min(UNIQUE, samples)):
        members = make_sample("template", side=side)
        for name in ("source", "target"):
            members[f"{name}.{codec}"] = codecs.encode_image(picture(side, 2 * i + (name == "target")), codec)  # type: ignore[arg-type]
        depth, info = codecs.encode_relative(inverse_depth(side, i), estimator="renderer", revision="1")
        members["depth.png"] = depth
        record = json.loads(members["json"])
        record["maps"]["depth"] = info.model_dump()
        members["json"] = json.dumps(record, separators=(",", ":")).encode()
        unique.append({field: members[field] for field in fields})

    def of_shard(first: int) -> Iterator[tuple[str, dict[str, bytes]]]:
        for i in range(first, min(first + per_shard, samples)):
            key, members = f"s-{i:07d}", unique[i % len(unique)]
            yield key, members | {"json": members["json"].replace(b'"key":"template"', f'"key":"{key}"'.encode())}

    firsts = range(0, samples, per_shard)
    entries = [
        pack_shard(str(folder), shard_name("bench", "train", i, len(firsts)), of_shard(first))
        for i, first in enumerate(firsts)
    ]
    write_manifest(str(folder), name="bench", recipe=recipe.name, split="train", members=fields, shards=entries)


def decode(members: dict[str, bytes]) -> dict[str, Any]:
    """Decode the bytes of a sample, keyed by member name without extension; used by every reader."""
    maps = json.loads(members["json"])["maps"]
    return {name: decoder_of(name, "uint8").decode(members[name], maps.get(name, {}), None) for name in MEMBERS}


def named(sample: dict[str, Any]) -> dict[str, bytes]:
    """`source.webp` -> `source`; drops entries that the reader adds."""
    return {name.lstrip(".").partition(".")[0]: data for name, data in sample.items() if isinstance(data, bytes)}


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    import torch

    return {name: torch.from_numpy(np.stack([sample[name] for sample in samples])) for name in MEMBERS}


def rate(batches: Iterable[dict[str, Any]], limit_s: float) -> float:
    """Samples per second, from the second batch on."""
    run = iter(batches)
    next(run)
    began, count = time.perf_counter(), 0
    for batch in run:
        count += len(batch["source"])
        if time.perf_counter() - began > limit_s:
            break
    return count / (time.perf_counter() - began)


def ours(folder: Path, workers: int, limit_s: float) -> float:
    opened = stream(str(folder), "spatialdiff", threads=max(1, workers))
    return rate(opened.batches(BATCH, epochs=None), limit_s)


def webdataset(folder: Path, workers: int, limit_s: float) -> float:
    import webdataset as wds

    urls = sorted(str(path) for path in folder.glob("*.tar"))
    data = wds.WebDataset(urls, shardshuffle=100, nodesplitter=wds.split_by_node).shuffle(1000, initial=100)
    data = data.map(named).map(decode).batched(BATCH, collation_fn=collate, partial=False).repeat()
    return rate(wds.WebLoader(data, batch_size=None, num_workers=workers), limit_s)


def wids(folder: Path, workers: int, limit_s: float) -> float:
    import wids as package
    from torch.utils.data import DataLoader

    data = package.ShardListDataset(str(folder / "index.json"), keep=True, cache_dir=tempfile.mkdtemp())
    data.transformations = [lambda sample: decode(named({k: _bytes(v) for k, v in sample.items()}))]
    sampler = package.DistributedChunkedSampler(data, chunksize=1000, shuffle=True, num_replicas=1, rank=0)
    loader = DataLoader(data, batch_size=BATCH, sampler=sampler, num_workers=workers, collate_fn=collate)
    return rate(_repeat(loader), limit_s)


def _bytes(value: Any) -> Any:
    return value.read() if hasattr(value, "read") else value


def litdata(folder: Path, workers: int, limit_s: float) -> float:
    import litdata as package

    data = package.StreamingDataset(str(folder / "litdata"), shuffle=True, transform=decode)
    loader = package.StreamingDataLoader(data, batch_size=BATCH, num_workers=workers, collate_fn=collate, shuffle=True)
    return rate(_repeat(loader), limit_s)


def prepare_litdata(folder: Path) -> None:
    import litdata as package

    shards = sorted(str(path) for path in folder.glob("*.tar"))
    package.optimize(_of_shard, shards, str(folder / "litdata"), chunk_bytes="128MB", num_workers=1, verbose=False)


def _of_shard(shard: str) -> Iterator[dict[str, bytes]]:
    from spatialdata_builder.shards.reader import read_samples

    for sample in read_samples(shard):
        yield {name: sample.members[name] for name in (*MEMBERS, "json")}


def datasets(folder: Path, workers: int, limit_s: float) -> float:
    import datasets as package
    from torch.utils.data import DataLoader

    files = sorted(str(path) for path in folder.glob("*.tar"))
    data: Any = package.load_dataset("webdataset", data_files={"train": files}, split="train", streaming=True)
    for name, feature in (data.features or {}).items():
        if isinstance(feature, package.Image):
            data = data.cast_column(name, package.Image(decode=False))
    data = data.shuffle(buffer_size=1000, seed=0)

    def of_row(row: dict[str, Any]) -> dict[str, Any]:
        members = {
            name.partition(".")[0]: value["bytes"]
            for name, value in row.items()
            if isinstance(value, dict) and "bytes" in value
        }
        maps = row["json"]["maps"]
        return {name: decoder_of(name, "uint8").decode(members[name], maps.get(name) or {}, None) for name in MEMBERS}

    loader = DataLoader(
        data, batch_size=BATCH, num_workers=workers, collate_fn=lambda rows: collate([of_row(row) for row in rows])
    )
    return rate(_repeat(loader), limit_s)


def _repeat(loader: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    while True:
        yield from loader


def bare(folder: Path, workers: int, limit_s: float) -> float:
    """The limit: the same bytes, decoded in a pool and discarded."""
    opened = stream(str(folder), "spatialdiff")
    held = [opened.fetch(number).members for number in opened.order(256)]
    began, count = time.perf_counter(), 0
    with ThreadPoolExecutor(max(1, workers)) as pool:
        while time.perf_counter() - began < limit_s:
            count += sum(1 for _ in pool.map(decode, held))
    return count / (time.perf_counter() - began)


READERS: dict[str, Callable[[Path, int, float], float]] = {
    "ours": ours,
    "webdataset": webdataset,
    "wids": wids,
    "litdata": litdata,
    "datasets": datasets,
    "limit": bare,
}


def compare(folder: Path, workers: Sequence[int], limit_s: float) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if importlib.util.find_spec("litdata"):
        prepare_litdata(folder)
    for name, reader in READERS.items():
        if name not in ("ours", "limit") and importlib.util.find_spec(name) is None:
            found[name] = "absent"
            continue
        rates = {count: in_fresh_process(reader, folder, count, limit_s) for count in workers}
        best = max(rates, key=lambda count: rates[count])
        found[name] = {"samples_per_second": round(rates[best], 1), "workers": best}
    return found


def in_fresh_process(reader: Callable[[Path, int, float], float], folder: Path, workers: int, limit_s: float) -> float:
    """The rate, measured in a fresh process, since readers leave threads and workers behind. 0 if the reader fails with
    this number of workers."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def work() -> None:
        sender.send(reader(folder, workers, limit_s))
        sender.close()
        os._exit(0)

    process = context.Process(target=work)
    process.start()
    sender.close()
    try:
        return receiver.recv() if receiver.poll(limit_s * 10 + 120) else 0.0
    except EOFError:
        return 0.0
    finally:
        process.kill()
        process.join()


@click.command()
@click.option("--samples", default=2000, show_default=True)
@click.option("--side", default=512, show_default=True)
@click.option("--per-shard", default=250, show_default=True)
@click.option("--seconds", default=10.0, show_default=True, help="Length of each measurement.")
@click.option("--workers", default="1,2", show_default=True, help="Numbers of workers (threads) to try.")
@click.option("--json", "as_json", is_flag=True)
def main(samples: int, side: int, per_shard: int, seconds: float, workers: str, as_json: bool) -> None:
    """Compare readers."""
    counts = [int(count) for count in workers.split(",")]
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for layout, codec in (("lossless", "webp"), ("JPEG", "jpg")):
            folder = Path(temporary) / codec / "train"
            folder.mkdir(parents=True)
            make_set(folder, samples, side, codec, per_shard)
            found[layout] = compare(folder, counts, seconds)
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    for layout, readers in found.items():
        mine = readers["ours"]["samples_per_second"]
        click.echo(f"{layout}, {samples} samples at {side} x {side}:")
        for name, result in readers.items():
            if result == "absent":
                click.echo(f"  {name:<12}absent")
                continue
            speed = result["samples_per_second"]
            ratio = f"ours is {mine / speed:.2f} x" if speed else "failed"
            click.echo(f"  {name:<12}{speed:8.1f} samples/s with {result['workers']} workers; {ratio}")


if __name__ == "__main__":
    main()
