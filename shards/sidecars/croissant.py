"""`croissant.json` of a recipe's folder: the set as Croissant 1.0 JSON-LD, for search engines and MLCommons tools.

Every tar is listed with its SHA-256. The record set `samples` contains the parquets' rows; each member of the tars has
its own record set, with the sample's key.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..index import Manifest, ShardEntry, as_json
from ..layout import IMAGE_CODECS, split_field
from ..schema import FAMILY_VERSION, Scores, Split
from .facts import RecipeFacts

CROISSANT: Final = "croissant.json"
_PARQUETS: Final = "parquets"
_MIME: Final = {
    "webp": "image/webp",
    "png": "image/png",
    "jpg": "image/jpeg",
    "json": "application/json",
    "txt": "text/plain",
}
_ROLES: Final[Mapping[Split, str]] = {"train": "TrainingSplit", "val": "ValidationSplit", "test": "TestSplit"}
_TEXTS: Final = {
    "key": "Identifies the sample in all splits.",
    "dataset": "The source of the pair.",
    "edit": "What changes from source to target.",
    "derived": "How it was made from other samples (invert, compose); empty where it was rendered or released.",
    "category": "Category of the edited object; empty for camera edits.",
    "instruction": "The edit in words.",
    "caption": "One sentence about the target image.",
    "licences": "Licenses of the visible objects, joined by ';'.",
    "assets": "Identifiers of the visible objects, joined by ';'.",
    "families": "Shapes of the visible objects, joined by ';'.",
}
_FAMILY: Final = {"family": "Key of the first of the samples that share its scene."}
"""Column of sets whose scenes have more than two edits."""
_CONTEXT: Final[dict[str, Any]] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant_files(facts: RecipeFacts) -> dict[str, bytes]:
    """`croissant.json` by its path in the recipe's folder."""
    tars = [_tar(split, shard) for split in facts.splits for shard in split.shards]
    samples = _samples(facts.splits[0].schema_version)
    content = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": f"{facts.name}-{facts.recipe}",
        "description": f"{facts.samples} triplets of source image, instruction and target image for spatial editing.",
        "version": _version(facts.splits),
        "license": [licence for licence in facts.licences if licence],
        "distribution": [*tars, _parquets(facts.splits), *_member_files(facts, tars)],
        "recordSet": [_split_names(facts), samples, *(_member(member) for member in facts.members)],
    }
    return {CROISSANT: as_json({name: value for name, value in content.items() if value != []})}


def _version(splits: Sequence[Manifest]) -> str:
    """Changes with the shards, which have no version number of their own."""
    digests = "".join(shard.sha256 for split in splits for shard in split.shards)
    return f"1.0.0+{hashlib.sha256(digests.encode()).hexdigest()[:12]}"


def _tar(split: Manifest, shard: ShardEntry) -> dict[str, Any]:
    path = f"{split.split}/{shard.name}"
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "contentUrl": path,
        "contentSize": f"{shard.bytes} B",
        "encodingFormat": "application/x-tar",
        "sha256": shard.sha256,
    }


def _parquets(splits: Sequence[Manifest]) -> dict[str, Any]:
    """The parquets of all splits as one set of files."""
    return {
        "@type": "cr:FileSet",
        "@id": _PARQUETS,
        "name": _PARQUETS,
        "description": "One row per sample.",
        "encodingFormat": "application/x-parquet",
        "includes": [f"{split.split}/*.parquet" for split in splits],
    }


def _member_files(facts: RecipeFacts, tars: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each member, its files in all tars."""
    return [
        {
            "@type": "cr:FileSet",
            "@id": _files_of(member),
            "name": _files_of(member),
            "containedIn": [{"@id": tar["@id"]} for tar in tars],
            "encodingFormat": _MIME[split_field(member)[1]],
            "includes": f"*.{member}",
        }
        for member in facts.members
    ]


def _files_of(member: str) -> str:
    return f"files-{split_field(member)[0]}"


def _split_names(facts: RecipeFacts) -> dict[str, Any]:
    """Maps our splits to those of MLCommons."""
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [_field("splits/name", "sc:Text"), _field("splits/role", "sc:URL")],
        "data": [
            {"splits/name": split.split, "splits/role": f"http://mlcommons.org/croissant/{_ROLES[split.split]}"}
            for split in facts.splits
        ],
    }


def _samples(version: int) -> dict[str, Any]:
    """The rows of the parquets of sets of this version, without the members' offsets in the tars."""
    texts = _TEXTS | (_FAMILY if version >= FAMILY_VERSION else {})
    split = _column("split", "sc:Text", "train, val or test.") | {"references": {"field": {"@id": "splits/name"}}}
    scores = [
        _column(f"score_{name}", "sc:Float", f"{info.description or name}; -1 where not measured.")
        for name, info in Scores.model_fields.items()
    ]
    return {
        "@type": "cr:RecordSet",
        "@id": "samples",
        "name": "samples",
        "key": {"@id": "samples/key"},
        "field": [*(_column(name, "sc:Text", text) for name, text in texts.items()), split, *scores],
    }


def _member(member: str) -> dict[str, Any]:
    """One member of all samples, with the samples' keys."""
    name = split_field(member)[0]
    files = {"fileSet": {"@id": _files_of(member)}}
    key = {"extract": {"fileProperty": "filename"}, "transform": {"regex": r"^([^.]+)\."}}
    content_type = "sc:ImageObject" if split_field(member)[1] in IMAGE_CODECS else "sc:Text"
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"`<key>.{member}` in the tars.",
        "field": [
            _field(f"{name}/key", "sc:Text") | {"source": files | key},
            _field(f"{name}/content", content_type) | {"source": files | {"extract": {"fileProperty": "content"}}},
        ],
    }


def _column(name: str, data_type: str, text: str) -> dict[str, Any]:
    source = {"fileSet": {"@id": _PARQUETS}, "extract": {"column": name}}
    return _field(f"samples/{name}", data_type) | {"description": text, "source": source}


def _field(name: str, data_type: str) -> dict[str, Any]:
    return {"@type": "cr:Field", "@id": name, "name": name, "dataType": data_type}
