"""Assemble the members of a sample from its layers. The same layers give the same bytes on any machine."""

import json
from collections.abc import Sequence
from importlib.metadata import version

from ...shards import codecs
from ...shards.codecs import ImageCodec
from ...shards.errors import SpatialdataError
from ...shards.recipes import IMAGE_MEMBERS, Column, Recipe
from ...shards.sample import Columns, Sample
from ...shards.schema import (
    SUPPORT_FIELDS,
    SUPPORT_VERSION,
    TWO_OBJECT_VERSION,
    Instruction,
    MapInfo,
    Maps,
    PairFacts,
    Provenance,
    SampleRecord,
    Scores,
    schema_version,
)
from ...shards.writer import encode_record

PACKAGES = ("spatialdata-builder", "numpy", "opencv-python-headless", "pillow", "pyarrow")
STORED_CODEC: ImageCodec = "webp"
"""Codec of the images in layer `pair`: lossless, so that other codecs can be encoded from it."""


def software_versions() -> list[str]:
    """`name=version` of each package that determines the bytes of a sample, sorted."""
    return sorted(f"{name}={version(name)}" for name in PACKAGES)


def members_of(sample: Sample, recipe: Recipe, codec: ImageCodec, provenance: Provenance) -> dict[str, bytes]:
    """The members of one accepted sample by field (`source.webp`, `json`), as `shards.writer.write_shard` takes them.

    Args:
        sample: a sample with all layers that the recipe needs.
    """
    members: dict[str, bytes] = {}
    for column in recipe.columns:
        data = _read_member(sample, column)
        if column.member in IMAGE_MEMBERS and codec != STORED_CODEC:
            data = codecs.encode_image(codecs.decode_image(data), codec)
        members[recipe.field_of(column.member, codec)] = data
    record = record_of(sample, recipe, provenance)
    return members | {"json": encode_record(record)}


def record_of(sample: Sample, recipe: Recipe, provenance: Provenance) -> SampleRecord:
    """The `json` member: facts of the pair, text, verdict, and how to read the maps of the recipe."""
    facts = PairFacts.model_validate_json(_text(sample["pair"], "facts"))
    instruction = sample["instruction"]
    version = schema_version(recipe.edits, recipe.supports, recipe.families)
    edit, objects, scene = facts.edit, facts.objects, {}
    if version >= TWO_OBJECT_VERSION:  # all samples must have the key, or readers would infer two schemas
        edit = edit.model_copy(update={"second_object": edit.second_object})
    if version >= SUPPORT_VERSION:
        # A build that has open scenes only does not say what its objects stand on.
        scene = {"scene": facts.scene if recipe.supports else "open"}
        objects = [one.model_copy(update={name: getattr(one, name) for name in SUPPORT_FIELDS}) for one in objects]
    return SampleRecord(
        key=sample.key,
        schema=version,
        dataset=facts.dataset,
        split=sample.split,
        caption=_text(instruction, "caption"),
        source_caption=_text(instruction, "source_caption"),
        edit=edit,
        instruction=_instruction(sample),
        camera=facts.camera,
        objects=objects,
        maps=_maps(sample, [column.member for column in recipe.columns]),
        scores=_scores(sample),
        provenance=provenance,
        **scene,
    )


def _instruction(sample: Sample) -> Instruction:
    """The instruction, as rewritten by the checks if they did, and verified if they agree with it."""
    checks = sample["checks"]
    text = str(checks.get("instruction", "")) or _text(sample["instruction"], "instruction")
    instruction = Instruction.model_validate_json(text)
    if "instruction_verdict" not in checks:
        return instruction
    verdict = json.loads(_text(checks, "instruction_verdict"))["verdict"]
    return instruction.model_copy(update={"verified": verdict == "agrees"})


def _scores(sample: Sample) -> Scores:
    """Scores of the checks, and of the judge if the build has one."""
    found = [json.loads(_text(sample[layer], "scores")) for layer in ("checks", "judge") if layer in sample.layers]
    return Scores.model_validate({name: value for scores in found for name, value in scores.items()})


def _maps(sample: Sample, members: Sequence[str]) -> Maps:
    found: dict[str, MapInfo] = {}
    for columns in sample.layers.values():
        if "maps" in columns:
            infos = json.loads(_text(columns, "maps"))
            found |= {name: MapInfo.model_validate(info) for name, info in infos.items() if name in members}
    return Maps(**found)


def _read_member(sample: Sample, column: Column) -> bytes:
    """The bytes of a member; text is encoded as UTF-8. Raises SpatialdataError if the column holds neither."""
    value = sample[column.layer].get(column.column)
    if isinstance(value, str):
        return value.encode()
    if not isinstance(value, bytes):
        what = "no" if value is None else f"a {type(value).__name__} in"
        raise SpatialdataError(
            f"layer '{column.layer}' has {what} column '{column.column}' for sample {sample.key}: its stage must "
            "return bytes or text in this column for each image in its `views`"
        )
    return value


def _text(columns: Columns, name: str) -> str:
    value = columns[name]
    if not isinstance(value, str):
        raise TypeError(f"column {name} holds {type(value).__name__}, not text")
    return value
