import pytest

from spatialdata_builder.annotators.phrases import (
    bare,
    counted,
    indefinite,
    is_plural,
    length,
    listed,
    number,
    plural,
    sentence,
)


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("mug", "a mug"),
        ("orange mug", "an orange mug"),
        ("umbrella", "an umbrella"),
        ("unicycle", "a unicycle"),
        ("uninflated balloon", "an uninflated balloon"),
        ("hourglass", "an hourglass"),
        ("house", "a house"),
        ("European car", "a European car"),
        ("urinal", "a urinal"),
        ("urn", "an urn"),
        ("x-ray machine", "an x-ray machine"),
        ("one-eyed doll", "a one-eyed doll"),
        ("scissors", "a pair of scissors"),
        ("red scissors", "a pair of red scissors"),
        ("flowers", "some flowers"),
        ("glass of water", "a glass of water"),
        ("christmas tree", "a christmas tree"),
        ("bus", "a bus"),
        ("sofa 3 seats", "a sofa 3 seats"),
        ("sugar", "some sugar"),
        ("sugar bowl", "a sugar bowl"),
        ("inkjet printer and scanner", "an inkjet printer and scanner"),
    ],
)
def test_indefinite(noun, expected):
    assert indefinite(noun) == expected


@pytest.mark.parametrize(
    ("count", "noun", "expected"),
    [
        (1, "mug", "a mug"),
        (2, "red mug", "two red mugs"),
        (3, "box", "three boxes"),
        (2, "bottle of wine", "two bottles of wine"),
        (2, "bookshelf", "two bookshelves"),
        (4, "cherry", "four cherries"),
        (2, "toy", "two toys"),
        (2, "scissors", "two pairs of scissors"),
        (2, "computer mouse", "two computer mice"),
        (2, "sweet potato", "two sweet potatoes"),
        (3, "snowman", "three snowmen"),
        (12, "ball", "12 balls"),
    ],
)
def test_counted(count, noun, expected):
    assert counted(count, noun) == expected


def test_plurals():
    assert all(map(is_plural, ("scissors", "flowers", "sunglasses", "men", "boots")))
    assert not any(
        map(is_plural, ("mug", "glass", "bus", "chess", "camera lens", "tennis", "canvas", "box of chocolates"))
    )
    assert plural("brush") == "brushes"


def test_small_helpers():
    assert bare(" The  cat. ") == "cat" and bare("an apple") == "apple" and bare("theatre") == "theatre"
    assert listed(["a"]) == "a" and listed(["a", "b"]) == "a and b" and listed(["a", "b", "c"]) == "a, b and c"
    assert sentence("move  it") == "Move it." and sentence("Done.") == "Done."
    assert number(1.5) == "1.5" and number(2.0) == "2" and number(100.0, 0) == "100" and number(0.75) == "0.75"


def test_lengths_are_rounded_within_the_tolerance():
    assert length(0.2) == "20 cm" and length(0.48) == "50 cm" and length(1.37) == "1.4 m" and length(0.034) == "3.4 cm"
    for millimeters in range(5, 5000, 7):
        value, unit = length(millimeters / 1000).split()
        meters = float(value) * (0.01 if unit == "cm" else 1)
        assert abs(meters - millimeters / 1000) <= 0.07 * millimeters / 1000 + 1e-9
