"""Speed of the shard writer, including digests, compared with tarfile and webdataset's TarWriter without digests.

    python benchmarks/packing.py [--megabytes 500] [--folder /tmp]

Measures CPU time, so that disk speed does not matter. Budget: 150 MB/s on one core with SHA-256 (measured with MD5 and
CRC-32 as well).
"""

import argparse
import io
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import webdataset

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from spatialdata_builder.shards.layout import split_field
from spatialdata_builder.shards.reader import read_samples
from spatialdata_builder.shards.recipes import get_recipe
from spatialdata_builder.shards.writer import write_shard

BUDGET_MB = 150.0
_KIB = {"source": 410, "target": 400, "metric": 124, "depth": 169, "normal": 17, "json": 4}
"""Member sizes in KiB at 512², from benchmarks/codecs.py; 3 KiB for all other members."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    fields = get_recipe("full").fields()
    noise = np.random.default_rng(0).bytes(1 << 20)
    members = {field: noise[: _KIB.get(split_field(field)[0], 3) * 1024] for field in fields}
    size = sum(map(len, members.values()))
    count = max(1, arguments.megabytes * 1_000_000 // size)

    def samples() -> Iterator[tuple[str, dict[str, bytes]]]:
        for index in range(count):
            yield f"sample-{index:08d}", members

    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / "shard.tar"
        ours = _speed(lambda: write_shard(path, samples()), count * size)
        read = _speed(lambda: sum(1 for _ in read_samples(str(path))), count * size)
        plain = _speed(lambda: _tarfile(path, samples()), count * size)
        theirs = _speed(lambda: _webdataset(path, samples()), count * size)
    print(f"{count} samples of {size / 1e6:.2f} MB in {len(fields)} members, CPU MB/s")
    print(
        f"  write_shard (sha256, md5, crc32)  {ours:7.0f}   {ours / BUDGET_MB:.2f} of the budget ({BUDGET_MB:.0f} MB/s)"
    )
    print(f"  tarfile, no digest                {plain:7.0f}   write_shard / this: {ours / plain:.2f}")
    print(f"  webdataset TarWriter, no digest   {theirs:7.0f}   write_shard / this: {ours / theirs:.2f}")
    print(f"  read_samples                      {read:7.0f}")


def _speed(work: Callable[[], object], size: int) -> float:
    start = time.process_time()
    work()
    return size / 1e6 / (time.process_time() - start)


def _tarfile(path: Path, samples: Iterator[tuple[str, dict[str, bytes]]]) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for key, members in samples:
            for field, data in members.items():
                info = tarfile.TarInfo(f"{key}.{field}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def _webdataset(path: Path, samples: Iterator[tuple[str, dict[str, bytes]]]) -> None:
    with webdataset.TarWriter(str(path), mtime=0) as writer:
        for key, members in samples:
            writer.write({"__key__": key, **members})


if __name__ == "__main__":
    main()
