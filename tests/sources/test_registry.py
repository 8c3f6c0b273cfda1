"""Every source is complete. An incomplete one is an error, with what it lacks, when a configuration is read."""

from typing import Any

import pytest
from pydantic import Field

from spatialdata_builder.pipeline.config import load_config
from spatialdata_builder.shards.errors import BadInput, SpatialdataError
from spatialdata_builder.sources.procedural.source import Procedural
from spatialdata_builder.sources.registry import (
    SOURCES,
    all_sources,
    get_scene_source,
    get_source,
    missing_parts,
    source_options,
)
from spatialdata_builder.sources.source import PairSource, SceneSource, SourceOptions
from tests.sources.png_pairs.source import PngPairs

OF_PAIRS = (
    *("check_root", "citation", "kind", "layers", "not_exact", "options", "pair_arguments", "pair_class"),
    *("pair_stage", "planned", "root", "rows", "summary", "terms"),
)
OF_SCENES = (
    *("assets", "check_root", "citation", "kind", "models", "options", "orientations", "planned", "root"),
    *("summary", "terms"),
)


def without(base: Any, source: Any, part: str) -> Any:
    """A source that lacks only one part."""
    return type("Lacking", (base,), {name: value for name, value in vars(source).items() if name != part})


Lacking = without(PairSource, PngPairs, "citation")


class OtherOptions(SourceOptions):
    variants: str = Field(default="", description="not what the procedural source means by it")


class Other(PngPairs):
    kind = "other"
    options = OtherOptions
    planned = ()


def test_each_registered_source_is_complete():
    assert [source.kind for source in all_sources()] == list(SOURCES)
    for kind in SOURCES:
        assert missing_parts(kind, type(get_source(kind))) == ""


@pytest.mark.parametrize(
    ("base", "source", "part"),
    [
        *((PairSource, PngPairs, part) for part in OF_PAIRS),
        *((SceneSource, Procedural, part) for part in OF_SCENES),
    ],
)
def test_a_part_that_is_missing_is_named(base: Any, source: Any, part: str):
    assert missing_parts(source.kind, without(base, source, "")) == ""
    assert missing_parts(source.kind, without(base, source, part)) == f"it lacks {part}"


def test_an_incomplete_source_ends_every_command_before_work(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(SOURCES, "png_pairs", "tests.sources.test_registry:Lacking")
    with pytest.raises(SpatialdataError, match=r"source 'png_pairs' \(tests.*Lacking\): it lacks citation"):
        load_config(None)


@pytest.mark.parametrize(
    ("kind", "place", "words"),
    [
        ("pngs", "tests.sources.png_pairs.source:PngPairs", "its kind is 'png_pairs'"),
        ("pngs", "tests.sources.png_pairs.source:PngOptions", "neither a PairSource nor a SceneSource"),
        ("other", "tests.sources.test_registry:Other", "source.variants is a key of .* and of OtherOptions"),
    ],
)
def test_a_class_that_is_not_a_source_is_an_error(kind: str, place: str, words: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(SOURCES, kind, place)
    with pytest.raises(SpatialdataError, match=words):
        load_config(None)


def test_a_configuration_has_the_keys_of_all_sources_in_one_order():
    keys = [
        "kind",
        "root",
        "licenses",
        "variants",
        "uids",
        "survey_folder",
        "orientations",
        "fetch",
        "license",
        "creator",
        "cache",
    ]
    assert list(source_options().model_fields) == keys
    assert list(load_config(None).source.model_dump()) == keys
    assert all(isinstance(load_config(None).source, source.options) for source in all_sources())


def test_a_registered_source_adds_its_keys(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(BadInput, match="'png_pairs' is not allowed"):
        load_config(None, ["source.kind=png_pairs"])
    with pytest.raises(BadInput, match=r"unknown key 'source\.pattern'"):
        load_config(None, ["source.pattern=a"])
    monkeypatch.setitem(SOURCES, "png_pairs", "tests.sources.png_pairs.source:PngPairs")
    config = load_config(None, ["source.kind=png_pairs", "source.pattern=mug-*", "samples=all"])
    assert getattr(config.source, "pattern") == "mug-*"  # noqa: B009
    with pytest.raises(BadInput, match=r"unknown key 'source\.patern'; did you mean 'pattern'\?; allowed: cache"):
        load_config(None, ["source.patern=a"])
    with pytest.raises(BadInput, match=r"samples: 'all' needs source\.kind object3dit or png_pairs"):
        load_config(None, ["samples=all"])
    with pytest.raises(BadInput, match=r"edits\.compose: png_pairs has one edit per scene"):
        load_config(None, ["source.kind=png_pairs", "edits={compose: true}"])


def test_pairs_have_no_models():
    with pytest.raises(SpatialdataError, match="'object3dit' has no 3D models"):
        get_scene_source("object3dit")
