"""`README.md` of a recipe's folder: its head gives Hugging Face `datasets` the splits and every column's type.

Without types, `datasets` would guess them from the first five samples of the first shard. The text below the head
contains only counts. A build replaces this card by a longer one with the same head, and adds `ATTRIBUTION.md`
(`pipeline.report.card.card`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml

from ..layout import split_field
from ..markdown import escape, table
from ..schema import record_schema
from .facts import PUBLIC_SPLIT, RecipeFacts

CARD: Final = "README.md"
ATTRIBUTION: Final = "ATTRIBUTION.md"
USAGE: Final = """```python
from datasets import load_dataset

samples = load_dataset("path/of/this/folder", split="train", streaming=True)
```

Beside the tars: a parquet for each (one row per sample, with byte offsets), `index.json` for wids, `.nv-meta/` and
`.tar.idx` for megatron-energon, `_info.json` for timm, `croissant.json`. `sample.schema.json` in a split's folder is
the JSON Schema of `json`.
"""
_SCALARS: Final = {"string": "string", "integer": "int64", "number": "float64", "boolean": "bool"}
_SIZES: Final = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_MEMBERS: Final = {
    "source": "the image before the edit, sRGB",
    "target": "the image after the edit, sRGB",
    "source_instances": "instance labels of the source: 0 background, else `objects[].id`",
    "target_instances": "instance labels of the target: 0 background, else `objects[].id`",
    "changed": "255 where the edit changed the image, else 0",
    "depth": "relative inverse depth, 16-bit: near is large; scale and offset in `maps`",
    "metric": "depth in meters, 16-bit: 0 is no depth; scale and offset in `maps`",
    "confidence": "confidence of `metric`, 16-bit, larger is more certain: 1 where exact, 0 where there is no depth",
    "normal": "normals in the camera frame, rgb = (n + 1) / 2",
    "segment": "segments: 0 background, larger areas first",
    "line": "line drawing, dark on white",
    "json": "the record: edit, instruction, cameras, objects, scores, provenance",
}


_OWN: Final = {"txt": "text", "json": "JSON", "png": "gray pixels", "webp": "an image"}
"""Members of layers that the package does not know, by extension."""


def card_files(facts: RecipeFacts) -> dict[str, bytes]:
    """`README.md` by its path in the recipe's folder."""
    return {CARD: card(head_of(facts), _text(facts))}


def card(head: Mapping[str, Any], text: str) -> bytes:
    """The file: the machine-readable head as YAML between two rules, then the text."""
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n\n{text}".encode()


def features(members: Sequence[str], version: int) -> list[dict[str, Any]]:
    """The columns as `datasets` writes them in a card: members in tar order, then `__key__` and `__url__`.

    `version` is that of the records.
    """
    record = record_schema(version)
    columns = [
        {"name": member, **(_typed(record, record["$defs"]) if member == "json" else {"dtype": _dtype(member)})}
        for member in members
    ]
    return [*columns, *({"name": name, "dtype": "string"} for name in ("__key__", "__url__"))]


def _dtype(member: str) -> str:
    return {"txt": "string", "json": "json"}.get(split_field(member)[1], "image")


def _typed(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON Schema as a `datasets` type: `dtype`, `struct` or `list`."""
    if "$ref" in schema:
        return _typed(definitions[str(schema["$ref"]).rpartition("/")[2]], definitions)
    match schema["type"]:
        case "object":
            items = schema["properties"].items()
            return {"struct": [{"name": name, **_typed(value, definitions)} for name, value in items]}
        case "array":
            item = _typed(schema["items"], definitions)
            return {"list": item["struct"] if "struct" in item else item["dtype"]}
        case scalar:
            return {"dtype": _SCALARS[scalar]}


def head_of(facts: RecipeFacts) -> dict[str, Any]:
    """The metadata that the hub and `datasets` read: names, size, splits, columns."""
    files = [{"split": PUBLIC_SPLIT[split.split], "path": f"{split.split}/*.tar"} for split in facts.splits]
    return {
        "pretty_name": f"{facts.name} ({facts.recipe})",
        "language": ["en"],
        "task_categories": ["image-to-image"],
        "tags": ["image-editing", "spatial-editing", "synthetic", "webdataset"],
        "size_categories": [next((size for limit, size in _SIZES if facts.samples < limit), "n>1M")],
        "configs": [{"config_name": "default", "default": True, "data_files": files}],
        "dataset_info": {"config_name": "default", "features": features(facts.members, facts.splits[0].schema_version)},
    }


def splits_table(facts: RecipeFacts) -> str:
    """Samples, shards and size of each split."""
    rows = [
        [PUBLIC_SPLIT[split.split], split.samples, len(split.shards), round(split.bytes / 2**20, 1)]
        for split in facts.splits
    ]
    return table(["split", "samples", "shards", "MiB"], rows)


def edits_table(facts: RecipeFacts) -> str:
    """Samples of each edit kind by split."""
    kinds = sorted({kind for counts in facts.edits.values() for kind in counts})
    rows = [[kind, *(facts.edits[split.split].get(kind, 0) for split in facts.splits)] for kind in kinds]
    return table(["edit", *(PUBLIC_SPLIT[split.split] for split in facts.splits)], rows)


def members_table(facts: RecipeFacts) -> str:
    """The content of each file of a sample."""
    return table(["member", "holds"], [[f"`{member}`", _meaning(member)] for member in facts.members])


def _text(facts: RecipeFacts) -> str:
    licenses = [
        [escape(license_text) or "(none named)", count, f"{count / facts.samples:.1%}"]
        for license_text, count in facts.licences.items()
    ]
    return "\n".join(
        [
            f"# {facts.name}: {facts.recipe}\n",
            f"{facts.samples} triplets of source image, instruction and target image, in plain WebDataset tars.\n",
            splits_table(facts),
            edits_table(facts),
            "Samples that show an object under a license; one may show objects under several:\n",
            table(["license", "samples", "share"], licenses),
            "Each sample has these members:\n",
            members_table(facts),
            USAGE,
        ]
    )


def _meaning(member: str) -> str:
    name, extension = split_field(member)
    base = name.removeprefix("source_")
    meaning = _MEMBERS.get(name) or _MEMBERS.get(base) or f"{_OWN[extension]} of the layer `{base}`"
    return meaning if name in (*_MEMBERS, base) else f"{meaning} (of the source)"
