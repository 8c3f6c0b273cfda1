"""Combining licenses, compared with a computation from Creative Commons' chart of adapter's licenses."""

from itertools import combinations

import pytest

from spatialdata_builder.shards.licenses import (
    LICENSES,
    combine,
    hub_name,
    join_licenses,
    label,
    license_url,
    licenses_of,
    to_license_name,
    visible_licenses,
)
from spatialdata_builder.shards.reader import read_record
from tests.shards.factory import make_sample

ADAPTER: dict[str, set[str]] = {
    "cc0": {"cc0", "by", "by-sa", "by-nc", "by-nc-sa"},
    "by": {"by", "by-sa", "by-nc", "by-nc-sa"},
    "by-sa": {"by-sa"},
    "by-nc": {"by-nc", "by-nc-sa"},
    "by-nc-sa": {"by-nc-sa"},
    "by-nd": set(),
    "by-nc-nd": set(),
    "unknown": set(),
}
"""CC's chart of adapter's licenses: the licenses that an adaptation of a work may have."""
FREEST_FIRST = ("cc0", "by", "by-sa", "by-nc", "by-nc-sa")
CHOICES = [choice for size in range(1, len(LICENSES) + 1) for choice in combinations(LICENSES, size)]


def test_the_freest_license_that_all_parts_allow_is_chosen():
    for choice in CHOICES:
        allowed = set.intersection(*(ADAPTER[name] for name in choice))
        freest = next((name for name in FREEST_FIRST if name in allowed), None)
        assert combine(choice).licence == freest, choice
        assert bool(combine(choice).problems) == (freest is None), choice


def test_conflicting_licenses_are_named():
    (problem,) = combine(["by-sa", "by", "by-nc-sa"]).problems
    assert "CC BY-SA and CC BY-NC-SA" in problem
    assert len(combine(["by-sa", "by-nc", "by-nc-sa"]).problems) == 2
    (problem,) = combine(["by-nd", "cc0"]).problems
    assert problem.startswith("CC BY-ND does not allow sharing adaptations")
    assert any("unknown license" in problem for problem in combine(["by", "editorial use"]).problems)


def test_remedies_are_the_largest_subsets_that_can_be_combined():
    for choice in CHOICES:
        for remedy in combine(choice).remedies:
            assert combine(remedy).licence
            more = [name for name in choice if name not in remedy]
            assert not any(combine([*remedy, name]).licence for name in more), (choice, remedy)
    assert combine(["cc0", "by", "by-sa", "by-nc"]).remedies == (("cc0", "by", "by-sa"), ("cc0", "by", "by-nc"))
    assert combine(["unknown"]).remedies == ()


def test_no_parts_give_cc0():
    assert combine([]).licence == "cc0"


@pytest.mark.parametrize(("text", "name"), [("by-sa", "by-sa"), ("", "unknown"), ("CC BY", "unknown")])
def test_only_listed_license_names_are_known(text, name):
    assert to_license_name(text) == name


def test_labels_hub_names_and_deeds():
    assert [label(name) for name in ("cc0", "by-nc-sa", "unknown")] == ["CC0", "CC BY-NC-SA", "unknown"]
    assert (hub_name("cc0"), hub_name("by-nc-sa")) == ("cc0-1.0", "cc-by-nc-sa-4.0")
    assert license_url("cc0").endswith("/publicdomain/zero/1.0/") and license_url("by").endswith("/licenses/by/4.0/")
    assert license_url("unknown") == ""


def test_invisible_objects_do_not_count():
    first, second = read_record(make_sample("a")["json"]).objects
    hidden = {"source_visible": 0.0, "target_visible": 0.0, "source_box": [0] * 4, "target_box": [0] * 4}
    first = first.model_copy(update={"licence": "by"})
    second = second.model_copy(update={"licence": "by-nc"})
    assert visible_licenses([second, first]) == ("by", "by-nc")
    assert visible_licenses([first, second.model_copy(update=hidden)]) == ("by",)
    # Visible fractions are zero where they are unknown; boxes are always known.
    unknown = hidden | {"target_box": [0, 0, 4, 4], "known": False}
    assert visible_licenses([first, second.model_copy(update=unknown)]) == ("by", "by-nc")


def test_all_licenses_of_one_model_count():
    assert join_licenses(["by-nc", "by", "by;cc0", "mit"]) == "by;by-nc;cc0;mit"
    assert licenses_of("by;by-nc;cc0;mit") == ("cc0", "by", "by-nc", "unknown") and licenses_of("") == ("unknown",)
    assert combine(["by;by-nc"]).licence == "by-nc"
    assert combine(["by-sa;by-nc"]).licence is None
    record = read_record(make_sample("a", asset="mug")["json"])
    first = record.objects[0].model_copy(update={"licence": "by;by-nc"})
    assert visible_licenses([first]) == ("by", "by-nc")
