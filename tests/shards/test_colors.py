"""Color names: given where people agree on one, and not at borders between two."""

import numpy as np
import pytest

from spatialdata_builder.shards.color_words import color_first, find_color_words, names_of, without_colors
from spatialdata_builder.shards.colors import NEUTRAL, PALETTE, contradicts, family, name_of_surface, to_oklab

METALS = ("gold", "silver")


def named(*rgb: tuple[int, int, int], metal: bool = False) -> str:
    return name_of_surface(np.array(rgb) / 255, metal)


def test_every_typical_color_has_its_name():
    assert {name: named(rgb, metal=name in METALS) for name, rgb in PALETTE.items()} == {name: name for name in PALETTE}


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((189, 170, 225), "light purple"),
        ((128, 0, 128), "purple"),
        ((98, 76, 118), "purple"),
        ((255, 192, 203), "light pink"),
        ((255, 105, 180), "pink"),
        ((255, 0, 0), "red"),
        ((156, 66, 62), "red"),
        ((128, 0, 0), "dark red"),
        ((255, 140, 0), "orange"),
        ((255, 255, 0), "yellow"),
        ((0, 128, 0), "green"),
        ((86, 122, 84), "green"),
        ((0, 128, 128), "turquoise"),
        ((135, 206, 235), "light blue"),
        ((0, 0, 255), "blue"),
        ((62, 104, 142), "blue"),
        ((0, 0, 128), "dark blue"),
        ((139, 69, 19), "brown"),
        ((255, 250, 240), "white"),
        ((25, 25, 25), "black"),
    ],
)
def test_well_known_colors(rgb: tuple[int, int, int], name: str):
    assert named(rgb) == name


@pytest.mark.parametrize(
    "rgb", [(250, 128, 114), (127, 255, 212), (245, 245, 220), (40, 40, 40), (220, 220, 220), (112, 128, 144)]
)
def test_colors_between_two_names_have_none(rgb: tuple[int, int, int]):
    assert named(rgb) == ""


@pytest.mark.parametrize(("rgb", "wrong"), [((230, 190, 220), "grey"), ((70, 70, 30), "green")])
def test_pale_and_dark_colors_get_no_wrong_name(rgb: tuple[int, int, int], wrong: str):
    assert family(named(rgb)) != wrong


def test_surfaces_of_several_colors():
    blue, light, dark, red = (PALETTE[name] for name in ("blue", "light blue", "dark blue", "red"))
    assert named(blue, blue, dark, dark, dark, dark) == "dark blue"
    assert named(blue, blue, dark, red) == "blue"
    assert named(light, blue, dark) == "", "light and dark together are a pattern"
    assert named(blue, red) == "" and name_of_surface(np.zeros((0, 3))) == ""


def test_metals():
    assert named((255, 198, 73), metal=True) == "gold" and named((255, 198, 73)) != "gold"
    assert named((190, 190, 192), metal=True) == "silver"
    assert named((60, 60, 62), metal=True) == "", "it reflects its surroundings"
    assert named((200, 32, 36), metal=True) == "red"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("red bowl", ["red"]),
        ("RED_BOWL", ["RED"]),
        ("red-brown bowl", ["red-brown"]),
        ("golden cup", ["golden"]),
        ("bluish vase", ["bluish"]),
        ("reddish box", ["reddish"]),
        ("black and white cat", ["black and white"]),
        ("Dark-gray chair", ["Dark-gray"]),
        ("pale pink pillow", ["pale pink"]),
        ("blue-colored mug", ["blue-colored"]),
        ("colorful mug", ["colorful"]),
        ("red-and-white striped pot", ["red-and-white"]),
        ("black&white chair", ["black&white"]),
        ("sky blue chair", ["sky blue"]),
        ("wine red chair", ["wine red"]),
        ("snow-white chair", ["snow-white"]),
        ("rose gold ring", ["rose gold"]),
        ("mint chair", ["mint"]),
        ("blond doll", ["blond"]),
        ("rust-colored chair", ["rust-colored"]),
        ("rainbow chair", ["rainbow"]),
        ("golden retriever", ["golden"]),
        ("black sheep", ["black"]),
        ("green apple", ["green"]),
        ("an orange and a blue bowl", ["blue"]),
        ("the red mug, left of the light blue crate", ["red", "light blue"]),
        *(
            (text, [])
            for text in (
                "orange",
                "orange juice",
                "orange behind the bowl",
                "coral reef",
                "white wine glass",
                "goldfish bowl",
                "redwood table",
                "wooden table",
                "rose vase",
                "cream pitcher",
                "ice cream cone",
                "blackboard",
                "black board",
                "red",
                "bored man",
            )
        ),
    ],
)
def test_color_words_are_found(text: str, expected: list[str]):
    assert [text[run.start : run.end] for run in find_color_words(text)] == expected


def test_color_words_are_removed():
    assert without_colors("big red-brown bowl", lambda _: True) == "big bowl"
    assert without_colors("RED_BOWL", lambda _: True) == "BOWL"
    assert without_colors("sky blue chair", lambda _: True) == "chair"
    assert without_colors("red-and-white striped pot", lambda _: True) == "striped pot"
    assert without_colors("red mug and blue mug", lambda run: names_of("blue") in run.colors) == "red mug and mug"


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("pot red", "red pot"),
        ("bowl_(dark blue)", "dark blue bowl"),
        ("cat black and white", "black and white cat"),
        ("chair in green", "green chair"),
        *((name, name) for name in ("orange", "blood orange", "red", "dark red", "red pot", "rose gold", "")),
    ],
)
def test_a_color_after_its_noun_moves_before_it(name: str, first: str):
    assert color_first(name) == first


def test_color_words_map_to_palette_names():
    assert names_of("blue") == {"blue", "light blue", "dark blue"} and names_of("light blue") == {"light blue"}
    assert names_of("wooden") == frozenset() == names_of("")
    for name in PALETTE:
        assert name in names_of(name)


@pytest.mark.slow
def test_long_texts_take_linear_time():
    assert len(find_color_words("dark " * 20_000)) == 0
    assert find_color_words("red " * 20_000)


@pytest.mark.parametrize("name", [name for name in PALETTE if name not in METALS])
def test_pixels_contradict_only_other_colors(name: str):
    """Pixels with 20 % less lightness, or 10 % less lightness and 40 % less chroma, do not contradict their color."""
    lab = to_oklab(np.array([PALETTE[name]] * 30) / 255)
    for factor in ((1, 1, 1), (0.8, 1, 1), (0.9, 0.6, 0.6)):
        assert not contradicts(names_of(name), lab * factor)
    opposite = (
        "blue"
        if name in ("yellow", "orange", "brown", "dark brown", "light brown", "beige", "red", "pink", "olive")
        else "red"
    )
    assert contradicts(names_of(opposite), lab) == (family(name) != opposite and name != "dark red")
    if name not in NEUTRAL and np.hypot(lab[0, 1], lab[0, 2]) > 0.09:
        assert contradicts(names_of("grey"), lab) and contradicts(names_of("white"), lab)


def test_neutral_pixels_contradict_chromatic_words():
    for neutral in ("white", "black", "grey"):
        lab = to_oklab(np.array([PALETTE[neutral]] * 30) / 255)
        for word in ("red", "blue", "green", "yellow", "purple", "brown"):
            assert contradicts(names_of(word), lab), (neutral, word)
    assert not contradicts(frozenset(), to_oklab(np.zeros((1, 3)))) and not contradicts(
        names_of("red"), np.zeros((0, 3))
    )


def test_pink_pixels_contradict_red():
    salmon, bright = (to_oklab(np.array([rgb] * 9) / 255) for rgb in ((255, 159, 149), (245, 105, 90)))
    assert contradicts(names_of("red"), salmon) and not contradicts(names_of("pink"), salmon)
    assert not contradicts(names_of("red"), bright)
