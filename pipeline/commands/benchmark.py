"""Make a benchmark set."""

from pathlib import Path
from typing import Any

from ...evaluation.making import make_benchmark
from ...shards.schema import Split
from ..terminal import say


def run_benchmark(
    url: str,
    out: str,
    *,
    name: str,
    preset: str,
    per_kind: int,
    split: Split,
    seed: int,
    with_targets: bool,
) -> dict[str, Any]:
    """Choose samples from the shards under `url` and write the set to `out`. Raises what `make_benchmark` does."""
    manifest, choice = make_benchmark(
        url,
        Path(out),
        name=name,
        preset=preset,
        per_kind=per_kind,
        split=split,
        seed=seed,
        with_targets=with_targets,
    )
    return {
        "out": out,
        "name": name,
        "version": manifest.version,
        "preset": preset,
        "split": split,
        "seed": seed,
        "digest": manifest.digest,
        "samples": len(manifest.keys),
        "counts": {name: dict(values) for name, values in choice.counts.items()},
        "missing": list(choice.missing),
    }


def print_benchmark(found: dict[str, Any]) -> None:
    for name, values in found["counts"].items():
        say(f"{name}: {', '.join(f'{value} {count}' for value, count in values.items())}")
    for line in found["missing"]:
        say(f"missing: {line}")
    say(f"{found['samples']} samples in {found['out']}, digest {found['digest'][:16]}")
    say(f"next: spatialdata edit {found['out']} --with EDITOR --out PRED")
