"""Licenses of models: the filter, its message, and how texts are normalized."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatialdata_builder.pipeline.config import load_config
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.sources.objaverse.cache import read_cache
from spatialdata_builder.sources.survey.licenses import normalize_license, select_licenses
from tests.sources.models import box, glb, make_cache

MODEL = glb(box(1, 1, 1))


def test_the_message_about_unknown_licenses_shows_a_setting_that_works(tmp_path: Path):
    texts = {"a": "MIT", "b": "royalty free", "c": "Free " * 40, "d": "my own"}
    make_cache(tmp_path, dict.fromkeys(texts, MODEL), **{uid: {"license": text} for uid, text in texts.items()})
    entries = list(read_cache(tmp_path))
    with pytest.raises(BadInput) as caught:
        select_licenses(entries)
    message = str(caught.value)
    assert "unknown 4 ('mit', 'royalty free', 'free free" in message and "..." in message and len(message) < 500
    (advice,) = re.findall(r"--set source\.licenses='(\[.*?\])'", message)
    config = load_config(None, [f"source.licenses={advice}"])
    assert [entry.licence for entry in select_licenses(entries, config.source.licenses)][:2] == ["mit", "royalty free"]
    with pytest.raises(BadInput, match=r"'mit' is not allowed; allowed: cc0, .*unknown .*any other text"):
        load_config(None, ["source.licenses=[mit]"])


def test_license_filter(tmp_path: Path):
    make_cache(tmp_path, {"a": MODEL, "b": MODEL, "c": MODEL}, a={"license": "by-nc"}, b={"license": "CC0 1.0"})
    entries = list(read_cache(tmp_path))
    assert [entry.uid for entry in select_licenses(entries)] == ["b", "c"]
    assert [entry.uid for entry in select_licenses(entries, ["CC BY-NC 4.0"])] == ["a"]
    with pytest.raises(BadInput, match=r"no asset is left.*\(by-nd\).*by 1, by-nc 1, cc0 1: allow one of these"):
        select_licenses(entries, ["by-nd"])


@pytest.mark.parametrize(
    ("text", "license"),
    [
        ("by", "by"),
        ("CC BY 4.0", "by"),
        ("CC-BY-SA 3.0 US", "by-sa"),
        ("cc0", "cc0"),
        ("CC0 1.0", "cc0"),
        ("by-nc-sa", "by-nc-sa"),
        ("CC BY-NC-ND 4.0", "by-nc-nd"),
        ("Creative Commons - Attribution - ShareAlike", "by-sa"),
        ("https://creativecommons.org/licenses/by/4.0/", "by"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "cc0"),
        ("CC Attribution-NonCommercial-NoDerivs", "by-nc-nd"),
        ("Attribution-Non-Commercial", "by-nc"),
        ("CC Attribution Non Commercial Share Alike", "by-nc-sa"),
        ("Attribution-NoDerivatives Works 3.0", "by-nd"),
        ("CC BY 4.0 International License", "by"),
        ("Creative Commons Zero v1.0 Universal", "cc0"),
        ("https://creativecommons.org/licenses/by-nc-nd/2.0/de/legalcode", "by-nc-nd"),
        ("by permission of the author", "by permission of the author"),
        ("not cc0", "not cc0"),
        ("CC0 or CC BY-NC", "cc0 or cc by-nc"),
        ("free; by me", "free, by me"),
        ("public domain", "public domain"),
        ("MIT", "mit"),
        ("Standard", "standard"),
        ("", "unknown"),
    ],
)
def test_licenses(text: str, license: str):
    assert normalize_license(text) == license


@given(st.text(max_size=40))
def test_normalizing_is_idempotent(text: str):
    assert normalize_license(normalize_license(text)) == normalize_license(text)
