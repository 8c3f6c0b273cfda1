"""An OUT folder as plain values that can be compared: files only, nothing of the product is imported.

What depends on time, host, place or the versions of packages is left out or kept apart (`versions`, `hashes`), so that
the rest compares on every machine.
"""

import hashlib
import io
import json
import platform
import re
import tarfile
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

PRODUCT = "spatialdata-builder"
"""Its version is in the json member of each sample, too."""
# What follows from versions and fingerprints in the json member of a sample; both are compared elsewhere.
_PROVENANCE = (
    (re.compile(rb'("versions":\s*)\[[^\]]*\]'), rb"\1[]"),
    (re.compile(rb'("plan":\s*)"[0-9a-f]{64}"'), rb'\1""'),
    (re.compile(rb"-[0-9a-f]{16}\""), b'-"'),
)
# Prose, and lists of all kinds of edit: these may be rewritten and extended.
PROSE = ("README.md", "ATTRIBUTION.md", "croissant.json", "sample.schema.json")
# Of a croissant file: prose, and what follows from versions.
_LOOSE = ("description", "version", "sha256", "contentSize")
_PLACES = re.compile(r"_(offset|size|crc32)$")
_MAPS = ("metric", "source_metric", "normal", "source_normal")


def digest(data: bytes | str) -> str:
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()[:16]


def processor() -> str:
    """Names the kind of processor: rendered pixels may differ between two of them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    told = {line.partition(":")[0].strip(): line.partition(":")[2].strip() for line in reversed(lines)}
    return f"{told.get('model name', 'unknown')} {digest(' '.join(sorted(told.get('flags', '').split())))}"


def installed(names: Iterable[str]) -> dict[str, str]:
    """Versions of packages, and of Python where `python` is asked for."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {name: python if name == "python" else version(name) for name in names}


def observe(out: Path) -> dict[str, Any]:
    """All that is compared of a finished build."""
    plan = json.loads((out / "plan.json").read_text())
    assert plan["versions"] == installed(plan["versions"])
    folders = {folder.name.rpartition("-")[0]: folder for folder in sorted((out / "layers").iterdir())}
    surveyed = sorted(out.glob("survey/*/layers/*"))
    pairs = _rows(folders["pair"])
    facts = {key: json.loads(row["facts"]) for key, row in pairs.items()}
    found: dict[str, Any] = {
        "versions": plan.pop("versions"),
        "renderer": sorted({facts[key]["source_metric"]["revision"] for key in facts}),
        "hashes": {
            "plan": plan.pop("hash"),
            "units": plan.pop("rows"),
            "assets": plan["config"].pop("assets", ""),
            "layers": {layer: folder.name for layer, folder in folders.items()},
            "survey": [str(folder.relative_to(out / "survey")) for folder in surveyed],
            "files": _files(out / "shards"),
        },
        "plan": plan,
        "units": [
            f"{row['unit']} {row['key']} {row['split']} {row['spec']}"
            for row in pq.read_table(out / "plan/units.parquet").to_pylist()
        ],
        "assets": _assets(out),
        "names": sorted(str(path.relative_to(out / "shards")) for path in _finished(out / "shards")),
        "rejects": {layer: _rejects(folder) for layer, folder in folders.items()},
        "texts": _texts(folders),
        "facts": {key: _plain_facts(value) for key, value in facts.items() if not key.endswith(("-inv", "-comp"))},
        "pictures": {
            key: [_glance(row[view]) for view in ("source", "target")]
            for key, row in pairs.items()
            if not key.endswith(("-inv", "-comp"))
        },
        "layers": {
            layer: [_record(path) for path in sorted(folder.glob("*.json"))] for layer, folder in folders.items()
        },
        "columns": {layer: _columns(folder) for layer, folder in folders.items()},
        "shards": {
            str(path.relative_to(out / "shards")): _shard(path) for path in sorted((out / "shards").rglob("*.tar"))
        },
        "croissant": {
            str(path.parent.relative_to(out / "shards")): digest(json.dumps(_strict(json.loads(path.read_text()))))
            for path in sorted(out.glob("shards/*/croissant.json"))
        },
    }
    return json.loads(json.dumps(found))


def _rows(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()}


def _assets(out: Path) -> dict[str, str]:
    """Each asset of the table (none of released pairs), and each that the survey rejected."""
    found: dict[str, str] = {}
    if (path := out / "plan/assets.parquet").is_file():
        found |= {
            row["uid"]: " ".join([row["split"], row["family"], row["model"], digest(row["asset"])])
            for row in pq.read_table(path).to_pylist()
        }
    if (path := out / "plan/rejected_assets.json").is_file():
        found |= {row["uid"]: f"rejected {row['reason']}" for row in json.loads(path.read_text())}
    return found


def _rejects(folder: Path) -> list[str]:
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return [f"{reject['key']} {reject['reason']}" for record in records for reject in record["rejects"]]


def _record(path: Path) -> dict[str, Any]:
    """What a record says of content: no times, hosts, versions."""
    record = json.loads(path.read_text())
    assert {"seconds", "host", "started", "versions", "attempts"} <= set(record)
    kept = {name: record[name] for name in ("unit", "rows", "bytes", "sha256", "counts")}
    scores = [[reject["key"], reject["score"], reject["scores"]] for reject in record["rejects"]]
    return kept | {"rejects": scores}


def _columns(folder: Path) -> str:
    schema = pq.read_schema(min(folder.glob("*.parquet")))
    return " ".join(f"{field.name}:{field.type}" for field in schema)


def _texts(folders: dict[str, Path]) -> dict[str, Any]:
    """Instructions and captions as parsed values."""
    rows = _rows(folders["instruction"])
    verdicts = {key: json.loads(row["instruction_verdict"])["verdict"] for key, row in _rows(folders["checks"]).items()}
    return {
        key: [
            json.loads(row["instruction"])["text"],
            digest(json.dumps(json.loads(row["instruction"]), sort_keys=True)),
            row["source_caption"],
            row["caption"],
            verdicts.get(key, ""),
        ]
        for key, row in rows.items()
    }


def _plain_facts(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name not in _MAPS}


def _glance(data: bytes) -> str:
    """Mean color of nine parts of an image, as hex digits: what light, floor and camera make of it."""
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.float64)
    parts = [part for band in np.array_split(pixels, 3) for part in np.array_split(band, 3, axis=1)]
    return bytes(round(float(value)) for part in parts for value in part.mean(axis=(0, 1))).hex()


def _shard(path: Path) -> dict[str, Any]:
    """Members by sample and field, how the tar lists them, and the parquet beside it."""
    samples: dict[str, dict[str, str]] = {}
    detailed = "full" in path.parts
    headers: list[Any] = []
    with tarfile.open(path) as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            data = file.read()
            key, _, field = member.name.partition(".")
            if field == "json":
                for pattern, plain in _PROVENANCE:
                    data = pattern.sub(plain, data)
            samples.setdefault(key, {})[field] = digest(data)[:8]
            owner = (member.uid, member.gid, member.uname, member.gname)
            headers.append([member.name, member.mode, member.mtime, member.type.decode(), *owner])
    table = pq.read_table(path.with_suffix(".parquet"))
    kept = [name for name in table.schema.names if not _PLACES.search(name)]
    return {
        # Other recipes hold members of `full` again: a digest of a sample's will do.
        "samples": samples if detailed else {key: digest(json.dumps(found)) for key, found in samples.items()},
        "headers": digest(json.dumps(headers)),
        "columns": digest(json.dumps([f"{field.name}:{field.type}" for field in table.schema])),
        "rows": digest(json.dumps(table.select(kept).to_pylist())),
    }


def _finished(folder: Path) -> list[Path]:
    """Files of the shards but notes of the packing."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and ".made" not in path.parts]


def _files(folder: Path) -> dict[str, str]:
    """Whole files: they hold versions (in the json members), so they are the same for the same packages only."""
    return {
        str(path.relative_to(folder)): digest(path.read_bytes()) for path in _finished(folder) if path.name not in PROSE
    }


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _strict(part) for name, part in sorted(value.items()) if name not in _LOOSE}
    return [_strict(part) for part in value] if isinstance(value, list) else value
