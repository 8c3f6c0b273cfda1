"""Every factory has a category that sizes, supports and rooms know, and an unknown name gets useful advice."""

import pytest

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.sources.assets.sizes import find_size, plausible_range
from spatialdata_builder.sources.infinigen.factories import FACTORIES, LEFT_OUT, choose_factories


@pytest.mark.parametrize("name", FACTORIES)
def test_the_size_of_a_factory_is_kept_by_the_survey(name: str):
    factory = FACTORIES[name]
    low, high = plausible_range(factory.category)
    assert low <= max(factory.size_m) <= high
    found = find_size(factory.size_m, factory.category, factory.size_m)
    assert found.known and found.scale == pytest.approx(1) and not found.note


def test_all_factories_are_chosen_without_names():
    assert choose_factories([]) == list(FACTORIES.values())


def test_names_may_lack_their_suffix_and_be_repeated():
    assert [found.name for found in choose_factories(["chair", "SOFAFACTORY", "ChairFactory"])] == [
        "ChairFactory",
        "SofaFactory",
    ]


def test_a_category_names_all_its_factories():
    assert [found.name for found in choose_factories(["side table"])] == ["SideTableFactory", "SidetableDeskFactory"]
    assert [found.name for found in choose_factories(["chair"])] == ["ChairFactory"]


@pytest.mark.parametrize(
    ("name", "advice"),
    [("ChiarFactory", "did you mean ChairFactory"), ("lamp", "DeskLampFactory"), ("xyzzyq", "--list shows all")],
)
def test_an_unknown_factory_is_an_error_with_near_names(name: str, advice: str):
    with pytest.raises(BadInput, match=f"no factory '{name}'; .*{advice}"):
        choose_factories(["SofaFactory", name])


@pytest.mark.parametrize("name", LEFT_OUT)
def test_a_factory_that_is_left_out_says_why(name: str):
    with pytest.raises(BadInput, match=f"{name} is not used: "):
        choose_factories([name])
