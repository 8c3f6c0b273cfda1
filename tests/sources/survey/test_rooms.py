"""Titles that describe a room, and titles that only contain a room word."""

import pytest

from spatialdata_builder.sources.survey.geometry import names_room


@pytest.mark.parametrize(
    "text",
    [
        "office bookshelf",
        "Kitchen cabinet",
        "garage door",
        "Bathroom Sink",
        "museum bench",
        "bench in a museum",
        "Chair",
        "shop_counter",
        "Kitchen Cabinets, low poly",
        "classroom chair",
        "living room sofa",
    ],
)
def test_a_title_of_an_object_is_not_a_room(text: str):
    assert not names_room(text)


@pytest.mark.parametrize(
    "text",
    [
        "Cosy bedroom",
        "Kitchen",
        "kitchen interior with table",
        "bedroom of a house",
        "Living Room",
        "Office, desk, chair",
        "Kitchen / dining table",
        "kitchen gizmo",
        "isometric_room",
        "Bathroom and sink",
        "Office Room",
        "Kitchen set",
        "dungeon map",
        "Bedroom small",
        "Office game ready",
    ],
)
def test_a_title_of_a_room_is_a_room(text: str):
    assert names_room(text)
