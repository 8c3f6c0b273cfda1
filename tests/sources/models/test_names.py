"""Names of models from the names of files and folders."""

import pytest

from spatialdata_builder.sources.models.names import name_of


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("SM_Chair_01", "chair"),
        ("chair01a_LOD0", "chair"),
        ("wooden_chair_02_2k", "wooden chair"),
        ("old office chair", "old office chair"),
        ("potted_plant_04", "potted plant"),
        ("chair_wood_brown", "chair"),
        ("tableCoffee", "table"),
        ("SM_TableTennis_27", "table tennis"),
        ("WaterBottle", "water bottle"),
        ("Game Ready Sword", "sword"),
        ("board_game", "board game"),
        ("SK_Excavator", "excavator"),
        ("TV", "tv"),
        ("scene", ""),
        ("Untitled-final_v2 (copy)", ""),
        ("0c0665cb5e552fb92258b05037168065", ""),
        ("St\u00fchle", ""),
        ("one two three four words", ""),
        ("", ""),
    ],
)
def test_names(text: str, name: str):
    assert name_of(text) == name
