from dataclasses import replace

import pytest

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.recipes import RECIPES, Recipe, extension_of, get_recipe, layer_of
from spatialdata_builder.shards.schema import Maps


def test_full_has_images_masks_and_all_maps():
    assert get_recipe("full").fields() == (
        "changed.png",
        "depth.png",
        "json",
        "line.png",
        "metric.png",
        "normal.png",
        "segment.png",
        "source.webp",
        "source_depth.png",
        "source_instances.png",
        "source_line.png",
        "source_metric.png",
        "source_normal.png",
        "source_segment.png",
        "target.webp",
        "target_instances.png",
    )


def test_ildm_has_maps_of_both_views():
    recipe = get_recipe("ildm")
    assert {c.member for c in recipe.columns} == {"source", "target"} | {
        view + name for view in ("", "source_") for name in ("depth", "normal", "segment", "line")
    }
    assert recipe.needs == ("checks", "depth", "instruction", "line", "normal", "pair", "segment")


def test_spatialdiff_needs_only_the_layers_that_it_packs():
    recipe = get_recipe("spatialdiff")
    assert recipe.needs == ("checks", "depth", "instruction", "pair")
    assert recipe.fields("jpg") == ("depth.png", "json", "source.jpg", "target.jpg")
    assert "camera" not in recipe.edits


def test_spatialfusion_takes_confidence_from_the_metric_layer():
    recipe = get_recipe("spatialfusion")
    assert recipe.needs == ("checks", "instruction", "metric", "pair")
    assert recipe.fields() == ("confidence.png", "json", "metric.png", "source.webp", "target.webp")
    assert layer_of("source_confidence") == "metric"


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_each_column_has_one_layer_and_each_map_a_description(recipe):
    both = replace(recipe, views=("source", "target"))
    for column in both.columns:
        assert column.layer == layer_of(column.member)
        if column.layer != "pair":
            assert column.member in Maps.model_fields
    assert list(both.columns) == sorted(both.columns, key=lambda c: c.member)


def test_unknown_names_are_bad_input():
    with pytest.raises(BadInput, match="full, spatialdiff, ildm, spatialedit, spatialfusion"):
        get_recipe("fulll")
    with pytest.raises(BadInput, match="unknown member 'albedo'"):
        Recipe("mine", "", ("source", "albedo"))
    with pytest.raises(BadInput, match="no layer"):
        layer_of("source_albedo")
    assert extension_of("source_depth", "jpg") == "png"
